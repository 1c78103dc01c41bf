//! Provisioned concurrency of versions and aliases.

use super::concurrency::taken_by_others;
use super::function::unsigned;
use crate::api::*;
use crate::error::Error;
use crate::model::{Provision, Record};
use crate::names::{LATEST, Name, version_number};
use crate::provisioned::wanted;
use crate::registry::Entry;
use crate::room::Lambda;
use crate::snap_start::check_unprovisioned;
use crate::view;
use squall_service::Ctx;
use squall_types::Millis;

const PAGE_MAX: usize = 50;
/// What AWS keeps for functions without a reservation.
const UNRESERVED_MIN: u32 = 100;

/// The function, if the qualifier names one of its published versions or aliases.
fn find(room: &Lambda, ctx: &Ctx, function: &str, qualifier: &str) -> Result<(Name, Entry), Error> {
    let name = room.name(ctx, function, Some(qualifier))?;
    if qualifier == LATEST {
        return Err(unpublished());
    }
    let entry = room.registry.find(ctx.region.as_str(), &name.name).ok_or_else(|| room.missing(ctx, &name))?;
    let known = match version_number(qualifier) {
        Some(number) => entry.versions.contains_key(&number),
        None => entry.record.aliases.contains_key(qualifier),
    };
    if !known {
        let arn = view::arn(ctx.account.as_str(), &entry.record, Some(qualifier));
        return Err(Error::NotFound(match version_number(qualifier) {
            Some(_) => format!("Function not found: {arn}"),
            None => format!("Cannot find alias arn: {arn}"),
        }));
    }
    Ok((name, entry))
}

fn unpublished() -> Error {
    Error::invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
}

fn check_target(record: &Record, qualifier: &str) -> Result<(), Error> {
    let config_of = |q: &str| record.provisioned.contains_key(q);
    match record.aliases.get(qualifier) {
        Some(alias) if alias.version == LATEST => Err(unpublished()),
        Some(alias) if !alias.weights.is_empty() => {
            Err(Error::invalid("Alias with weights can not be used with Provisioned Concurrency"))
        }
        Some(alias) => {
            let others = record.aliases.iter().filter(|(n, a)| n.as_str() != qualifier && a.version == alias.version);
            if config_of(&alias.version) || others.into_iter().any(|(n, _)| config_of(n)) {
                let text =
                    "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version";
                return Err(Error::invalid(text));
            }
            Ok(())
        }
        None if record.aliases.iter().any(|(n, a)| a.version == qualifier && config_of(n)) => {
            Err(Error::invalid("Version is pointed by a Provisioned Concurrency alias"))
        }
        None => Ok(()),
    }
}

fn check_room(room: &Lambda, record: &Record, qualifier: &str, count: u32) -> Result<(), Error> {
    let others: u32 = record.provisioned.iter().filter(|(q, _)| *q != qualifier).map(|(_, p)| p.count).sum();
    let total = others.saturating_add(count);
    if let Some(reserved) = record.reserved {
        if total > reserved {
            let text = "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function";
            return Err(Error::Reservation(text.into()));
        }
        return Ok(());
    }
    let free = room.options.concurrency.saturating_sub(taken_by_others(room, &record.region, &record.name));
    let minimum = UNRESERVED_MIN.min(room.options.concurrency);
    if total > free {
        return Err(Error::Reservation(format!(
            "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{free}]."
        )));
    }
    if free - total < minimum {
        return Err(Error::Reservation(format!(
            "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum \
             value of [{minimum}]."
        )));
    }
    Ok(())
}

/// Sets the provisioned concurrency of a published version or an alias. Instances start at once; the answer is `IN_PROGRESS`.
///
/// # Errors
/// `ResourceNotFoundException`; `InvalidParameterValueException` for `$LATEST`, aliases with weights, versions provisioned
/// otherwise, and more than the reservation or the account has.
pub async fn put_provisioned_concurrency_config(
    room: &Lambda,
    ctx: &Ctx,
    input: PutProvisionedConcurrencyConfigInput,
) -> Result<PutProvisionedConcurrencyConfigOutput, Error> {
    let (name, _) = find(room, ctx, &input.function_name, &input.qualifier)?;
    let count = unsigned(Some(input.provisioned_concurrent_executions)).unwrap_or_default();
    let config = Provision { count, modified_ms: ctx.time.0 };
    let qualifier = input.qualifier.clone();
    let (entry, ()) = room
        .registry
        .change(
            ctx.region.as_str(),
            &name.name,
            || room.missing(ctx, &name),
            |record, before, _| {
                check_target(record, &input.qualifier)?;
                let version = record.aliases.get(&input.qualifier).map_or(&input.qualifier, |a| &a.version);
                check_unprovisioned(before, version)?;
                check_room(room, record, &input.qualifier, count)?;
                record.provisioned.insert(input.qualifier, config);
                Ok(())
            },
        )
        .await?;
    let shown = shown(room, ctx, &entry.record, &qualifier, config);
    Ok(PutProvisionedConcurrencyConfigOutput {
        requested_provisioned_concurrent_executions: shown.requested_provisioned_concurrent_executions,
        // As AWS answers: nothing is allocated in the moment of asking.
        available_provisioned_concurrent_executions: Some(0),
        allocated_provisioned_concurrent_executions: Some(0),
        status: Some("IN_PROGRESS".into()),
        status_reason: None,
        last_modified: shown.last_modified,
    })
}

/// Shows a configuration and where it stands.
///
/// # Errors
/// `ProvisionedConcurrencyConfigNotFoundException`, `ResourceNotFoundException`.
pub async fn get_provisioned_concurrency_config(
    room: &Lambda,
    ctx: &Ctx,
    input: GetProvisionedConcurrencyConfigInput,
) -> Result<GetProvisionedConcurrencyConfigOutput, Error> {
    let (_, entry) = find(room, ctx, &input.function_name, &input.qualifier)?;
    let config = entry.record.provisioned.get(&input.qualifier).ok_or(Error::NoProvision)?;
    let shown = shown(room, ctx, &entry.record, &input.qualifier, *config);
    Ok(GetProvisionedConcurrencyConfigOutput {
        requested_provisioned_concurrent_executions: shown.requested_provisioned_concurrent_executions,
        available_provisioned_concurrent_executions: shown.available_provisioned_concurrent_executions,
        allocated_provisioned_concurrent_executions: shown.allocated_provisioned_concurrent_executions,
        status: shown.status,
        status_reason: shown.status_reason,
        last_modified: shown.last_modified,
    })
}

/// Ends provisioned concurrency; an absent configuration is fine.
///
/// # Errors
/// `ResourceNotFoundException`.
pub async fn delete_provisioned_concurrency_config(
    room: &Lambda,
    ctx: &Ctx,
    input: DeleteProvisionedConcurrencyConfigInput,
) -> Result<DeleteProvisionedConcurrencyConfigOutput, Error> {
    let (name, _) = find(room, ctx, &input.function_name, &input.qualifier)?;
    let missing = || room.missing(ctx, &name);
    room.registry
        .change(ctx.region.as_str(), &name.name, missing, |record, _, _| {
            record.provisioned.remove(&input.qualifier);
            Ok(())
        })
        .await?;
    Ok(DeleteProvisionedConcurrencyConfigOutput::default())
}

/// Lists the configurations of a function.
///
/// # Errors
/// `ResourceNotFoundException`.
pub async fn list_provisioned_concurrency_configs(
    room: &Lambda,
    ctx: &Ctx,
    input: ListProvisionedConcurrencyConfigsInput,
) -> Result<ListProvisionedConcurrencyConfigsOutput, Error> {
    let name = room.name(ctx, &input.function_name, None)?;
    let record = room.find(ctx, &name)?.record;
    let limit = input.max_items.and_then(|n| usize::try_from(n).ok()).map_or(PAGE_MAX, |n| n.clamp(1, PAGE_MAX));
    let after = input.marker.unwrap_or_default();
    let mut page: Vec<_> = record.provisioned.iter().filter(|(q, _)| q.as_str() > after.as_str()).collect();
    let more = page.len() > limit;
    page.truncate(limit);
    let next_marker = page.last().map(|(q, _)| (*q).clone()).filter(|_| more);
    let items = page.into_iter().map(|(qualifier, config)| shown(room, ctx, &record, qualifier, *config)).collect();
    Ok(ListProvisionedConcurrencyConfigsOutput { provisioned_concurrency_configs: Some(items), next_marker })
}

fn shown(
    room: &Lambda,
    ctx: &Ctx,
    record: &Record,
    qualifier: &str,
    config: Provision,
) -> ProvisionedConcurrencyConfigListItem {
    let version = record.aliases.get(qualifier).map_or(qualifier, |a| a.version.as_str());
    let account = ctx.account.as_str();
    let state = room.runtime.provisioned(&view::arn(account, record, Some(version)));
    // The runtime may not have heard of the newest change yet: what it has is then not this.
    let is_told = wanted(record).get(version) == Some(&state.wanted);
    let (status, reason) = match state {
        s if is_told && s.ready >= config.count => ("READY", None),
        s if is_told && s.has_failed => ("FAILED", Some("FUNCTION_ERROR_INIT_FAILURE")),
        _ => ("IN_PROGRESS", None),
    };
    let ready = i32::try_from(if status == "READY" { state.ready.min(config.count) } else { 0 }).ok();
    // Without milliseconds here.
    let modified = view::time_text(Millis(config.modified_ms));
    let modified = modified.split_once('.').map(|(seconds, _)| format!("{seconds}+0000"));
    ProvisionedConcurrencyConfigListItem {
        function_arn: Some(view::arn(account, record, Some(qualifier))),
        requested_provisioned_concurrent_executions: i32::try_from(config.count).ok(),
        available_provisioned_concurrent_executions: ready,
        allocated_provisioned_concurrent_executions: ready,
        status: Some(status.into()),
        status_reason: reason.map(str::to_owned),
        last_modified: modified,
    }
}
