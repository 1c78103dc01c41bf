//! Inline and attached policies of users.

use super::held;
use crate::api::iam::*;
use crate::error::Error;
use crate::model;
use crate::room::Iam;
use squall_service::Ctx;

/// Adds or replaces an inline policy.
///
/// # Errors
/// `NoSuchEntity`, `MalformedPolicyDocument`, `LimitExceeded`.
pub async fn put_user_policy(iam: &Iam, _ctx: &Ctx, input: PutUserPolicyInput) -> Result<PutUserPolicyOutput, Error> {
    held::put::<model::User>(&iam.registry, &input.user_name, input.policy_name, input.policy_document).await?;
    Ok(PutUserPolicyOutput {})
}

/// Shows an inline policy.
pub async fn get_user_policy(iam: &Iam, _ctx: &Ctx, input: GetUserPolicyInput) -> Result<GetUserPolicyOutput, Error> {
    let (user_name, policy_document) = held::get::<model::User>(&iam.registry, &input.user_name, &input.policy_name)?;
    Ok(GetUserPolicyOutput { user_name, policy_name: input.policy_name, policy_document })
}

/// Removes an inline policy.
pub async fn delete_user_policy(
    iam: &Iam,
    _ctx: &Ctx,
    input: DeleteUserPolicyInput,
) -> Result<DeleteUserPolicyOutput, Error> {
    held::delete::<model::User>(&iam.registry, &input.user_name, &input.policy_name).await?;
    Ok(DeleteUserPolicyOutput {})
}

/// Lists inline policies by name.
pub async fn list_user_policies(
    iam: &Iam,
    _ctx: &Ctx,
    input: ListUserPoliciesInput,
) -> Result<ListUserPoliciesOutput, Error> {
    let page = held::list::<model::User>(&iam.registry, &input.user_name, input.marker.as_deref(), input.max_items)?;
    Ok(ListUserPoliciesOutput { is_truncated: page.is_truncated(), policy_names: page.items, marker: page.marker })
}

/// Attaches a managed policy.
///
/// # Errors
/// `NoSuchEntity` for the user or the policy, `InvalidInput`, `LimitExceeded`.
pub async fn attach_user_policy(
    iam: &Iam,
    _ctx: &Ctx,
    input: AttachUserPolicyInput,
) -> Result<AttachUserPolicyOutput, Error> {
    held::attach::<model::User>(&iam.registry, &input.user_name, input.policy_arn).await?;
    Ok(AttachUserPolicyOutput {})
}

/// Detaches a managed policy.
pub async fn detach_user_policy(
    iam: &Iam,
    _ctx: &Ctx,
    input: DetachUserPolicyInput,
) -> Result<DetachUserPolicyOutput, Error> {
    held::detach::<model::User>(&iam.registry, &input.user_name, &input.policy_arn).await?;
    Ok(DetachUserPolicyOutput {})
}

/// Lists attached policies in the order in which they were attached.
pub async fn list_attached_user_policies(
    iam: &Iam,
    _ctx: &Ctx,
    input: ListAttachedUserPoliciesInput,
) -> Result<ListAttachedUserPoliciesOutput, Error> {
    let (prefix, marker) = (input.path_prefix.as_deref(), input.marker.as_deref());
    let page = held::attached::<model::User>(&iam.registry, &input.user_name, prefix, marker, input.max_items)?;
    Ok(ListAttachedUserPoliciesOutput {
        is_truncated: page.is_truncated(),
        attached_policies: Some(page.items),
        marker: page.marker,
    })
}
