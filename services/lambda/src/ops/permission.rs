//! The resource policies of functions.

use crate::api::*;
use crate::error::Error;
use crate::model::{Policy, Record};
use crate::names::{LATEST, Name};
use crate::room::Lambda;
use crate::rules::{Grant, policy_document};
use crate::view;
use squall_policy::{DocumentKind, Policy as Parsed};
use squall_service::Ctx;

const POLICY_BYTES_MAX: usize = 20 * 1024;

fn no_policy() -> Error {
    Error::NotFound("The resource you requested does not exist.".into())
}

fn check_revision(given: Option<&str>, policy: Option<&Policy>) -> Result<(), Error> {
    match (given, policy) {
        (Some(g), Some(p)) if g != p.revision_id => Err(Error::Precondition(
            "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision \
             Id"
                .into(),
        )),
        _ => Ok(()),
    }
}

fn check_exists(room: &Lambda, ctx: &Ctx, name: &Name) -> Result<(), Error> {
    let entry = room.find(ctx, name)?;
    room.resolve(&entry, name, 1.0).map(|_| ()).ok_or_else(|| room.missing(ctx, name))
}

fn key(name: &Name) -> String {
    name.version().to_owned()
}

/// Adds a statement.
///
/// # Errors
/// `ResourceConflictException` when the statement id is taken, `InvalidParameterValueException` for principals that are none.
pub async fn add_permission(room: &Lambda, ctx: &Ctx, input: AddPermissionInput) -> Result<AddPermissionOutput, Error> {
    let name = room.name(ctx, &input.function_name, input.qualifier.as_deref())?;
    if name.qualifier.as_deref() == Some(LATEST) {
        return Err(Error::invalid("We currently do not support adding policies for $LATEST."));
    }
    check_exists(room, ctx, &name)?;
    let entry = room.find(ctx, &name)?;
    let grant = Grant {
        sid: &input.statement_id,
        action: &input.action,
        principal: &input.principal,
        resource: &view::arn(ctx.account.as_str(), &entry.record, name.qualifier.as_deref()),
        source_arn: input.source_arn.as_deref(),
        source_account: input.source_account.as_deref(),
        organisation: input.principal_org_id.as_deref(),
        url_auth: input.function_url_auth_type.as_deref(),
        via_url: input.invoked_via_function_url,
        token: input.event_source_token.as_deref(),
    };
    let statement = grant.statement();
    let id = room.new_id();
    let add = |record: &mut Record| {
        let held = record.policies.get(&key(&name));
        check_revision(input.revision_id.as_deref(), held)?;
        let mut statements = held.map(|p| p.statements.clone()).unwrap_or_default();
        if statements.iter().any(|s| s["Sid"] == input.statement_id.as_str()) {
            return Err(Error::Conflict(format!(
                "The statement id ({}) provided already exists. Please provide a new statement id, or remove the existing \
                 statement.",
                input.statement_id
            )));
        }
        statements.push(statement.clone());
        let document = policy_document(&statements);
        Parsed::parse(&document, DocumentKind::Resource).map_err(|_| {
            Error::invalid("The provided principal was invalid. Please check the principal and try again.")
        })?;
        if document.len() > POLICY_BYTES_MAX {
            return Err(Error::PolicyLength(document.len()));
        }
        record.policies.insert(key(&name), Policy { revision_id: id, statements });
        Ok(())
    };
    room.registry
        .change(ctx.region.as_str(), &name.name, || room.missing(ctx, &name), |record, _, _| add(record))
        .await?;
    Ok(AddPermissionOutput { statement: Some(statement.to_string()) })
}

/// Removes a statement.
pub async fn remove_permission(
    room: &Lambda,
    ctx: &Ctx,
    input: RemovePermissionInput,
) -> Result<RemovePermissionOutput, Error> {
    let name = room.name(ctx, &input.function_name, input.qualifier.as_deref())?;
    check_exists(room, ctx, &name)?;
    let id = room.new_id();
    let remove = |record: &mut Record| {
        let Some(policy) = record.policies.get_mut(&key(&name)) else {
            return Err(Error::NotFound("No policy is associated with the given resource.".into()));
        };
        check_revision(input.revision_id.as_deref(), Some(policy))?;
        let before = policy.statements.len();
        policy.statements.retain(|s| s["Sid"] != input.statement_id.as_str());
        if policy.statements.len() == before {
            return Err(Error::NotFound(format!("Statement {} is not found in resource policy.", input.statement_id)));
        }
        policy.revision_id = id;
        if policy.statements.is_empty() {
            record.policies.remove(&key(&name));
        }
        Ok(())
    };
    room.registry
        .change(ctx.region.as_str(), &name.name, || room.missing(ctx, &name), |record, _, _| remove(record))
        .await?;
    Ok(RemovePermissionOutput::default())
}

/// Shows the policy.
pub async fn get_policy(room: &Lambda, ctx: &Ctx, input: GetPolicyInput) -> Result<GetPolicyOutput, Error> {
    let name = room.name(ctx, &input.function_name, input.qualifier.as_deref())?;
    let entry = room.find(ctx, &name)?;
    let policy = entry.record.policies.get(&key(&name)).ok_or_else(no_policy)?;
    Ok(GetPolicyOutput {
        policy: Some(policy_document(&policy.statements)),
        revision_id: Some(policy.revision_id.clone()),
    })
}
