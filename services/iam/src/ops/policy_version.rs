//! Versions of managed policies.

use super::policy::{changeable, of_aws};
use crate::api::iam::*;
use crate::error::Error;
use crate::model::{ManagedPolicy, Version};
use crate::room::Iam;
use crate::{rules, view};
use squall_service::Ctx;

fn no_version(arn: &str, id: &str) -> Error {
    Error::NoSuchEntity(format!("Policy {arn} version {id} does not exist or is not attachable."))
}

/// The number in `v3` or `v3.…`.
fn number(arn: &str, id: &str) -> Result<u32, Error> {
    let digits = id.strip_prefix('v').map(|rest| rest.split('.').next().unwrap_or(rest));
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| no_version(arn, id))
}

/// Adds a version.
///
/// # Errors
/// `NoSuchEntity`, `LimitExceeded` beyond five versions, `MalformedPolicyDocument`.
pub async fn create_policy_version(
    iam: &Iam,
    ctx: &Ctx,
    input: CreatePolicyVersionInput,
) -> Result<CreatePolicyVersionOutput, Error> {
    let name = changeable(iam, ctx, "CreatePolicyVersion", &input.policy_arn)?;
    rules::managed(&input.policy_document)?;
    let made = Version { document: input.policy_document, created: iam.now_secs() };
    let change = iam.registry.change::<ManagedPolicy, _>(&name, |policy, _| {
        if policy.versions.len() >= rules::VERSIONS_MAX {
            let text = "A managed policy can have up to 5 versions. Before you create a new version, you must delete an \
                        existing version.";
            return Err(Error::Limit(text.to_owned()));
        }
        policy.last = policy.last.saturating_add(1);
        policy.updated = made.created;
        if input.set_as_default.unwrap_or(false) {
            policy.default = policy.last;
        }
        policy.versions.insert(policy.last, made.clone());
        Ok(())
    });
    let (policy, ()) = change.await?;
    let shown = view::version(policy.last, &made, policy.default, false);
    Ok(CreatePolicyVersionOutput { policy_version: Some(shown) })
}

/// Shows a version with its document.
pub async fn get_policy_version(
    iam: &Iam,
    ctx: &Ctx,
    input: GetPolicyVersionInput,
) -> Result<GetPolicyVersionOutput, Error> {
    let (arn, id) = (input.policy_arn.as_str(), input.version_id.as_str());
    let shown = match of_aws(arn) {
        Some(aws) if aws.default_version_id == id => view::aws_version(aws, true),
        Some(_) => return Err(no_version(arn, id)),
        None => {
            let policy = find(iam, ctx, arn)?;
            let number = number(arn, id)?;
            let version = policy.versions.get(&number).ok_or_else(|| no_version(arn, id))?;
            view::version(number, version, policy.default, true)
        }
    };
    Ok(GetPolicyVersionOutput { policy_version: Some(shown) })
}

fn find(iam: &Iam, ctx: &Ctx, arn: &str) -> Result<std::sync::Arc<ManagedPolicy>, Error> {
    let name = changeable(iam, ctx, "GetPolicy", arn)?;
    Ok(iam.registry.get::<ManagedPolicy>(&name)?.record.clone())
}

/// Lists versions, newest first, without documents.
pub async fn list_policy_versions(
    iam: &Iam,
    ctx: &Ctx,
    input: ListPolicyVersionsInput,
) -> Result<ListPolicyVersionsOutput, Error> {
    let shown: Vec<PolicyVersion> = match of_aws(&input.policy_arn) {
        Some(aws) => vec![view::aws_version(aws, false)],
        None => {
            let policy = find(iam, ctx, &input.policy_arn)?;
            let newest_first = policy.versions.iter().rev();
            newest_first.map(|(number, version)| view::version(*number, version, policy.default, false)).collect()
        }
    };
    let shown = shown.into_iter().enumerate().map(|(i, version)| (i.to_string(), version));
    let page = rules::page(shown, input.marker.as_deref(), input.max_items)?;
    Ok(ListPolicyVersionsOutput { is_truncated: page.is_truncated(), versions: Some(page.items), marker: page.marker })
}

/// Removes a version that is not in force.
///
/// # Errors
/// `NoSuchEntity`, `DeleteConflict`.
pub async fn delete_policy_version(
    iam: &Iam,
    ctx: &Ctx,
    input: DeletePolicyVersionInput,
) -> Result<DeletePolicyVersionOutput, Error> {
    let (arn, id) = (input.policy_arn.as_str(), input.version_id.as_str());
    let name = changeable(iam, ctx, "DeletePolicyVersion", arn)?;
    let number = number(arn, id)?;
    let change = iam.registry.change::<ManagedPolicy, _>(&name, |policy, _| {
        if policy.default == number {
            return Err(Error::DeleteConflict("Cannot delete the default version of a policy."));
        }
        policy.versions.remove(&number).map(|_| ()).ok_or_else(|| no_version(arn, id))
    });
    change.await?;
    Ok(DeletePolicyVersionOutput {})
}

/// Puts a version in force, for everybody who holds the policy.
pub async fn set_default_policy_version(
    iam: &Iam,
    ctx: &Ctx,
    input: SetDefaultPolicyVersionInput,
) -> Result<SetDefaultPolicyVersionOutput, Error> {
    let (arn, id) = (input.policy_arn.as_str(), input.version_id.as_str());
    let name = changeable(iam, ctx, "SetDefaultPolicyVersion", arn)?;
    let (number, now) = (number(arn, id)?, iam.now_secs());
    let change = iam.registry.change::<ManagedPolicy, _>(&name, |policy, _| {
        if !policy.versions.contains_key(&number) {
            return Err(no_version(arn, id));
        }
        policy.default = number;
        policy.updated = now;
        Ok(())
    });
    change.await?;
    Ok(SetDefaultPolicyVersionOutput {})
}
