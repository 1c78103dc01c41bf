//! PutResourcePolicy, GetResourcePolicy and DeleteResourcePolicy: policies on tables and streams.

use crate::api;
use crate::error::Error;
use crate::features::ResourcePolicy;
use crate::policy::table_name;
use crate::room::DynamoDb;
use crate::table::Table;
use squall_policy::{DocumentKind, Policy};
use squall_service::{Access, Ctx};

/// Most bytes of a policy.
const BYTES_MAX: usize = 20 * 1024;
/// The revision that stands for the absence of a policy.
const NO_POLICY: &str = "NO_POLICY";

/// Checks a policy's text.
///
/// # Errors
/// `ValidationException`, `LimitExceededException` for one that is too long.
pub(super) fn check(text: &str) -> Result<(), Error> {
    if text.len() > BYTES_MAX {
        return Err(Error::LimitExceeded(format!("Resource-based policies have at most {BYTES_MAX} bytes")));
    }
    Policy::parse(text, DocumentKind::Resource)
        .map(drop)
        .map_err(|e| Error::validation(format!("Invalid policy document: {}", e.message())))
}

/// Puts a policy in the place of another, `None` to remove it; gives the revision that is then valid.
fn replace(
    held: &mut Option<ResourcePolicy>,
    text: Option<&str>,
    expected: Option<&str>,
    now: i64,
) -> Result<Option<String>, Error> {
    let current = held.as_ref().map_or(NO_POLICY, |p| p.revision.as_str());
    if expected.is_some_and(|e| e != current) {
        return Err(Error::PolicyNotFound(format!(
            "The provided ExpectedRevisionId does not match the current revision of the policy: {}",
            expected.unwrap_or_default()
        )));
    }
    match (text, &held) {
        (Some(text), Some(old)) if old.text == text => return Ok(Some(old.revision.clone())),
        (None, None) => return Ok(None),
        _ => {}
    }
    let after = held.as_ref().and_then(|p| p.revision.parse::<i64>().ok()).map_or(now, |last| now.max(last + 1));
    *held = text.map(|text| ResourcePolicy { text: text.to_owned(), revision: after.to_string() });
    Ok(Some(after.to_string()))
}

/// The policy that an ARN of a table or of its newest stream names.
fn place<'a>(table: &'a mut Table, arn: &str) -> Option<&'a mut Option<ResourcePolicy>> {
    if table.arn == arn {
        return Some(&mut table.policy);
    }
    table.stream.as_mut().filter(|s| s.arn == arn && s.closed.is_none()).map(|s| &mut s.policy)
}

fn not_found(arn: &str) -> Error {
    Error::ResourceNotFound(format!("Requested resource not found: ResourceArn: {arn} not found"))
}

impl DynamoDb {
    async fn change_policy(
        &self,
        ctx: &Ctx,
        arn: &str,
        text: Option<&str>,
        expected: Option<&str>,
    ) -> Result<Option<String>, Error> {
        if !arn.starts_with("arn:") {
            return Err(Error::validation(format!("Invalid ResourceArn: {arn}")));
        }
        let now = self.deps.clock.now().0;
        let revision = parking_lot::Mutex::new(None);
        let change = |table: &mut Table| {
            *revision.lock() = replace(place(table, arn).ok_or_else(|| not_found(arn))?, text, expected, now)?;
            Ok(())
        };
        self.catalog.get(ctx.region.as_str(), table_name(arn)).ok_or_else(|| not_found(arn))?;
        self.redefine(ctx, table_name(arn), change).await?;
        Ok(revision.into_inner())
    }

    /// Puts a policy on a table or stream.
    ///
    /// # Errors
    /// `ResourceNotFoundException`, `ValidationException`, `PolicyNotFoundException` for another revision than expected.
    pub(crate) async fn put_resource_policy(
        &self,
        ctx: &Ctx,
        input: api::PutResourcePolicyInput,
    ) -> Result<api::PutResourcePolicyOutput, Error> {
        check(&input.policy)?;
        let expected = input.expected_revision_id.as_deref();
        let revision_id = self.change_policy(ctx, &input.resource_arn, Some(&input.policy), expected).await?;
        Ok(api::PutResourcePolicyOutput { revision_id })
    }

    /// The policy of a table or stream.
    ///
    /// # Errors
    /// `ResourceNotFoundException`, `PolicyNotFoundException`.
    pub(crate) fn get_resource_policy(
        &self,
        ctx: &Ctx,
        input: api::GetResourcePolicyInput,
    ) -> Result<api::GetResourcePolicyOutput, Error> {
        let arn = &input.resource_arn;
        let table = self.catalog.get(ctx.region.as_str(), table_name(arn)).ok_or_else(|| not_found(arn))?;
        let held = place(&mut table.table.clone(), arn).ok_or_else(|| not_found(arn))?.take();
        let policy = held.ok_or_else(|| {
            Error::PolicyNotFound(format!("Resource-based policy not found for the provided ResourceArn: {arn}"))
        })?;
        Ok(api::GetResourcePolicyOutput { policy: Some(policy.text), revision_id: Some(policy.revision) })
    }

    /// Removes the policy of a table or stream; nothing happens when there is none.
    ///
    /// # Errors
    /// `ResourceNotFoundException`, `PolicyNotFoundException` for another revision than expected.
    pub(crate) async fn delete_resource_policy(
        &self,
        ctx: &Ctx,
        input: api::DeleteResourcePolicyInput,
    ) -> Result<api::DeleteResourcePolicyOutput, Error> {
        let expected = input.expected_revision_id.as_deref();
        let revision_id = self.change_policy(ctx, &input.resource_arn, None, expected).await?;
        Ok(api::DeleteResourcePolicyOutput { revision_id })
    }

    /// The policy that guards an access: a table's also guards its indexes, a stream has its own.
    pub(crate) fn policy_of(&self, ctx: &Ctx, access: &Access) -> Option<String> {
        let resource = access.resource.as_str();
        if resource.contains("/stream/") {
            return self.streams.get(resource)?.policy.as_ref().map(|p| p.text.clone());
        }
        let table = self.catalog.get(ctx.region.as_str(), table_name(resource))?;
        let of_table = resource == table.arn || resource.strip_prefix(&table.arn)?.starts_with("/index/");
        table.policy.as_ref().filter(|_| of_table).map(|p| p.text.clone())
    }
}
