//! Temporary credentials of a role.

use crate::api::sts::*;
use crate::decide::{self, Subject};
use crate::error::Error;
use crate::model::Role;
use crate::room::Iam;
use crate::{names, rules};
use squall_policy::{Decision, ResourcePolicy, access_denied, access_denied_short};
use squall_service::{Access, Ctx, Principal};
use std::time::Duration;

/// Characters of session policies together.
const POLICY_BYTES_MAX: usize = 2_048;
/// Managed session policies.
const POLICY_ARNS_MAX: usize = 10;
const SESSION_SECS_DEFAULT: i32 = 3_600;
/// Longest session of a role that was assumed by a role's session.
const CHAINED_SECS_MAX: i32 = 3_600;

/// Assumes a role.
///
/// Decided by the trust policy and the caller's own policies: a trust policy that names the caller is enough, one that names
/// the account leaves it to the caller's policies.
///
/// # Errors
/// `AccessDenied` (also for a role that does not exist), `ValidationError`, `MalformedPolicyDocument`,
/// `PackedPolicyTooLarge`, `InvalidParameterValue` for settings that are not served.
///
/// Source: STS API model 2011-06-15. Differs: the root may assume roles that trust its account, where AWS refuses it always.
pub async fn assume_role(iam: &Iam, ctx: &Ctx, input: AssumeRoleInput) -> Result<AssumeRoleOutput, Error> {
    refuse_unserved(&input)?;
    if !names::is_arn(&input.role_arn) {
        return Err(Error::Validation(format!("{} is invalid", input.role_arn)));
    }
    let role = decide(iam, ctx, &input)?;
    let valid = valid_secs(ctx, &input, &role)?;
    let (policy, policy_arns) = session_policies(iam, &input)?;
    let packed_policy_size = packed(policy.as_deref(), &policy_arns)?;
    let made = iam.issue(&role, &input.role_session_name, valid, policy, policy_arns)?;
    Ok(AssumeRoleOutput {
        credentials: Some(Credentials {
            access_key_id: made.access_key_id,
            secret_access_key: made.secret_access_key,
            session_token: made.session_token,
            expiration: made.expires,
        }),
        assumed_role_user: Some(AssumedRoleUser {
            assumed_role_id: format!("{}:{}", role.holder.id, input.role_session_name),
            arn: names::session_arn(ctx.account.as_str(), &role.holder.name, &input.role_session_name),
        }),
        packed_policy_size,
        source_identity: None,
    })
}

fn refuse_unserved(input: &AssumeRoleInput) -> Result<(), Error> {
    let settings = [
        ("Tags", input.tags.as_ref().is_some_and(|tags| !tags.is_empty())),
        ("TransitiveTagKeys", input.transitive_tag_keys.as_ref().is_some_and(|keys| !keys.is_empty())),
        ("SerialNumber", input.serial_number.is_some()),
        ("TokenCode", input.token_code.is_some()),
        ("SourceIdentity", input.source_identity.is_some()),
        ("ProvidedContexts", input.provided_contexts.as_ref().is_some_and(|contexts| !contexts.is_empty())),
    ];
    match settings.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => Err(Error::unserved(name)),
        None => Ok(()),
    }
}

fn decide(iam: &Iam, ctx: &Ctx, input: &AssumeRoleInput) -> Result<std::sync::Arc<Role>, Error> {
    let subject = Subject::find(&iam.registry, &iam.compiler, &ctx.principal)?;
    let mut access = Access::new("sts:AssumeRole", input.role_arn.as_str());
    access.context.push(("sts:RoleSessionName".to_owned(), vec![input.role_session_name.clone()]));
    if let Some(id) = &input.external_id {
        access.context.push(("sts:ExternalId".to_owned(), vec![id.clone()]));
    }
    let entry = iam.role(&input.role_arn);
    for (key, value) in entry.iter().flat_map(|entry| &entry.record.holder.tags) {
        access.context.push((format!("aws:ResourceTag/{key}"), vec![value.clone()]));
        access.context.push((format!("iam:ResourceTag/{key}"), vec![value.clone()]));
    }
    let context = decide::context(&decide::globals(ctx), &access);
    let request = subject.request(&access, &context);
    let short = || Error::Denied(access_denied_short(&request));
    let entry = entry.ok_or_else(short)?;
    let decision = subject.decide(&access, &context, ResourcePolicy::Trust(&entry.compiled.trust));
    match decision {
        Decision::Allow => Ok(entry.record.clone()),
        Decision::Deny { explicit: false, .. } => Err(short()),
        Decision::Deny { .. } => Err(access_denied(&request, decision).map_or_else(short, Error::Denied)),
    }
}

fn valid_secs(ctx: &Ctx, input: &AssumeRoleInput, role: &Role) -> Result<Duration, Error> {
    let secs = input.duration_seconds.unwrap_or(SESSION_SECS_DEFAULT);
    if matches!(ctx.principal, Principal::Session { .. }) && secs > CHAINED_SECS_MAX {
        let text = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining";
        return Err(Error::Validation(text.to_owned()));
    }
    if secs > role.session_secs_max {
        let text = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
        return Err(Error::Validation(text.to_owned()));
    }
    Ok(Duration::from_secs(secs.max(0).unsigned_abs().into()))
}

fn session_policies(iam: &Iam, input: &AssumeRoleInput) -> Result<(Option<String>, Vec<String>), Error> {
    if let Some(document) = &input.policy {
        rules::inline(document)?;
    }
    let given = input.policy_arns.iter().flatten();
    let arns: Vec<String> = given.filter_map(|descriptor| descriptor.arn.clone()).collect();
    if arns.len() > POLICY_ARNS_MAX {
        return Err(Error::Validation(format!("A session has at most {POLICY_ARNS_MAX} managed policies")));
    }
    iam.registry.look(|world| {
        let missing = arns.iter().find(|arn| world.in_force(arn).is_none());
        missing.map_or(Ok(()), |arn| {
            Err(Error::Malformed(format!("The policy {arn} does not exist or is not attachable.")))
        })
    })?;
    Ok((input.policy.clone(), arns))
}

/// The share of the allowed size that the session policies take, in percent.
fn packed(policy: Option<&str>, arns: &[String]) -> Result<Option<i32>, Error> {
    let bytes = policy.map_or(0, str::len) + arns.iter().map(String::len).sum::<usize>();
    match bytes {
        0 => Ok(None),
        1..=POLICY_BYTES_MAX => Ok(i32::try_from((bytes * 100).div_ceil(POLICY_BYTES_MAX)).ok()),
        _ => Err(Error::PackedPolicy((bytes * 100).div_ceil(POLICY_BYTES_MAX))),
    }
}
