//! Inline and attached policies of roles.

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
pub async fn put_role_policy(iam: &Iam, _ctx: &Ctx, input: PutRolePolicyInput) -> Result<PutRolePolicyOutput, Error> {
    held::put::<model::Role>(&iam.registry, &input.role_name, input.policy_name, input.policy_document).await?;
    Ok(PutRolePolicyOutput {})
}

/// Shows an inline policy.
pub async fn get_role_policy(iam: &Iam, _ctx: &Ctx, input: GetRolePolicyInput) -> Result<GetRolePolicyOutput, Error> {
    let (role_name, policy_document) = held::get::<model::Role>(&iam.registry, &input.role_name, &input.policy_name)?;
    Ok(GetRolePolicyOutput { role_name, policy_name: input.policy_name, policy_document })
}

/// Removes an inline policy.
pub async fn delete_role_policy(
    iam: &Iam,
    _ctx: &Ctx,
    input: DeleteRolePolicyInput,
) -> Result<DeleteRolePolicyOutput, Error> {
    held::delete::<model::Role>(&iam.registry, &input.role_name, &input.policy_name).await?;
    Ok(DeleteRolePolicyOutput {})
}

/// Lists inline policies by name.
pub async fn list_role_policies(
    iam: &Iam,
    _ctx: &Ctx,
    input: ListRolePoliciesInput,
) -> Result<ListRolePoliciesOutput, Error> {
    let page = held::list::<model::Role>(&iam.registry, &input.role_name, input.marker.as_deref(), input.max_items)?;
    Ok(ListRolePoliciesOutput { is_truncated: page.is_truncated(), policy_names: page.items, marker: page.marker })
}

/// Attaches a managed policy.
///
/// # Errors
/// `NoSuchEntity` for the role or the policy, `InvalidInput`, `LimitExceeded`.
pub async fn attach_role_policy(
    iam: &Iam,
    _ctx: &Ctx,
    input: AttachRolePolicyInput,
) -> Result<AttachRolePolicyOutput, Error> {
    held::attach::<model::Role>(&iam.registry, &input.role_name, input.policy_arn).await?;
    Ok(AttachRolePolicyOutput {})
}

/// Detaches a managed policy.
pub async fn detach_role_policy(
    iam: &Iam,
    _ctx: &Ctx,
    input: DetachRolePolicyInput,
) -> Result<DetachRolePolicyOutput, Error> {
    held::detach::<model::Role>(&iam.registry, &input.role_name, &input.policy_arn).await?;
    Ok(DetachRolePolicyOutput {})
}

/// Lists attached policies in the order in which they were attached.
pub async fn list_attached_role_policies(
    iam: &Iam,
    _ctx: &Ctx,
    input: ListAttachedRolePoliciesInput,
) -> Result<ListAttachedRolePoliciesOutput, Error> {
    let (prefix, marker) = (input.path_prefix.as_deref(), input.marker.as_deref());
    let page = held::attached::<model::Role>(&iam.registry, &input.role_name, prefix, marker, input.max_items)?;
    Ok(ListAttachedRolePoliciesOutput {
        is_truncated: page.is_truncated(),
        attached_policies: Some(page.items),
        marker: page.marker,
    })
}
