//! Aliases: names for versions.

use super::update::check_revision;
use crate::api::*;
use crate::error::Error;
use crate::model::{Alias, Record};
use crate::names::{LATEST, Name, version_number};
use crate::registry::Entry;
use crate::room::Lambda;
use crate::view;
use squall_service::Ctx;
use std::collections::BTreeMap;

fn not_found(ctx: &Ctx, name: &Name, alias: &str) -> Error {
    Error::NotFound(format!("Cannot find alias arn: {}", ctx.arn("lambda", &format!("function:{}:{alias}", name.name))))
}

fn check_version(ctx: &Ctx, name: &Name, before: &Entry, version: &str) -> Result<(), Error> {
    let known = version == LATEST || version_number(version).is_some_and(|n| before.versions.contains_key(&n));
    if known {
        return Ok(());
    }
    let arn = ctx.arn("lambda", &format!("function:{}:{version}", name.name));
    Err(Error::NotFound(format!("Function not found: {arn}")))
}

fn weights(
    ctx: &Ctx,
    name: &Name,
    before: &Entry,
    version: &str,
    routing: Option<AliasRoutingConfiguration>,
) -> Result<Option<BTreeMap<String, f64>>, Error> {
    let Some(weights) = routing.map(|r| r.additional_version_weights.unwrap_or_default()) else { return Ok(None) };
    if weights.len() > 1 {
        return Err(Error::invalid("Number of items in AdditionalVersionWeights cannot be greater than 1"));
    }
    for (other, weight) in &weights {
        if !(0.0..=1.0).contains(weight) {
            return Err(Error::Validation(format!(
                "1 validation error detected: Value '{{{other}={weight}}}' at 'routingConfig.additionalVersionWeights' failed to \
                 satisfy constraint: Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member \
                 must have value greater than or equal to 0.0]"
            )));
        }
        if other == LATEST || version == LATEST {
            return Err(Error::invalid("$LATEST is not supported for an alias pointing to more than 1 version"));
        }
        if other == version {
            return Err(Error::invalid(format!(
                "Invalid function version {other}. Function version {version} is already included in routing configuration."
            )));
        }
        check_version(ctx, name, before, other)?;
    }
    Ok(Some(weights))
}

fn shown(ctx: &Ctx, record: &Record, alias: &str) -> Result<AliasConfiguration, Error> {
    let found = record.aliases.get(alias).ok_or_else(|| Error::internal("show an alias", "it vanished"))?;
    Ok(view::alias(ctx.account.as_str(), record, alias, found))
}

/// Creates an alias.
pub async fn create_alias(room: &Lambda, ctx: &Ctx, input: CreateAliasInput) -> Result<CreateAliasOutput, Error> {
    let name = room.name(ctx, &input.function_name, None)?;
    let id = room.new_id();
    let alias = input.name.clone();
    let (entry, ()) = room
        .registry
        .change(
            ctx.region.as_str(),
            &name.name,
            || room.missing(ctx, &name),
            |record, before, _| {
                check_version(ctx, &name, before, &input.function_version)?;
                let weights = weights(ctx, &name, before, &input.function_version, input.routing_config)?;
                if record.aliases.contains_key(&input.name) {
                    let arn = view::arn(ctx.account.as_str(), record, Some(&input.name));
                    return Err(Error::Conflict(format!("Alias already exists: {arn}")));
                }
                let made = Alias {
                    version: input.function_version,
                    description: input.description.unwrap_or_default(),
                    weights: weights.unwrap_or_default(),
                    revision_id: id,
                };
                record.aliases.insert(input.name, made);
                Ok(())
            },
        )
        .await?;
    shown(ctx, &entry.record, &alias)
}

/// Shows an alias.
pub async fn get_alias(room: &Lambda, ctx: &Ctx, input: GetAliasInput) -> Result<GetAliasOutput, Error> {
    let name = room.name(ctx, &input.function_name, None)?;
    let entry =
        room.registry.find(ctx.region.as_str(), &name.name).ok_or_else(|| not_found(ctx, &name, &input.name))?;
    let alias = entry.record.aliases.get(&input.name).ok_or_else(|| not_found(ctx, &name, &input.name))?;
    Ok(view::alias(ctx.account.as_str(), &entry.record, &input.name, alias))
}

/// Changes an alias.
pub async fn update_alias(room: &Lambda, ctx: &Ctx, input: UpdateAliasInput) -> Result<UpdateAliasOutput, Error> {
    let name = room.name(ctx, &input.function_name, None)?;
    let id = room.new_id();
    let alias = input.name.clone();
    let (entry, ()) = room
        .registry
        .change(
            ctx.region.as_str(),
            &name.name,
            || not_found(ctx, &name, &input.name),
            |record, before, _| {
                let mut held =
                    record.aliases.get(&input.name).cloned().ok_or_else(|| not_found(ctx, &name, &input.name))?;
                check_revision(input.revision_id.as_deref(), &held.revision_id)?;
                if let Some(version) = input.function_version.clone() {
                    check_version(ctx, &name, before, &version)?;
                    if record.provisioned.contains_key(&input.name) {
                        crate::snap_start::check_unprovisioned(before, &version)?;
                    }
                    held.version = version;
                }
                if let Some(weights) = weights(ctx, &name, before, &held.version, input.routing_config)? {
                    if !weights.is_empty() && record.provisioned.contains_key(&input.name) {
                        return Err(Error::invalid("Alias with weights can not be used with Provisioned Concurrency"));
                    }
                    held.weights = weights;
                }
                if let Some(description) = input.description.clone() {
                    held.description = description;
                }
                held.revision_id = id;
                record.aliases.insert(input.name.clone(), held);
                Ok(())
            },
        )
        .await?;
    shown(ctx, &entry.record, &alias)
}

/// Deletes an alias; an absent one is fine.
pub async fn delete_alias(room: &Lambda, ctx: &Ctx, input: DeleteAliasInput) -> Result<DeleteAliasOutput, Error> {
    let name = room.name(ctx, &input.function_name, None)?;
    room.registry
        .change(
            ctx.region.as_str(),
            &name.name,
            || not_found(ctx, &name, &input.name),
            |record, _, _| {
                record.aliases.remove(&input.name);
                record.provisioned.remove(&input.name);
                record.urls.remove(&input.name);
                record.policies.remove(&input.name);
                Ok(())
            },
        )
        .await?;
    Ok(DeleteAliasOutput::default())
}

/// Lists aliases by name.
pub async fn list_aliases(room: &Lambda, ctx: &Ctx, input: ListAliasesInput) -> Result<ListAliasesOutput, Error> {
    let name = room.name(ctx, &input.function_name, None)?;
    let entry = room.find(ctx, &name)?;
    let limit = input.max_items.and_then(|n| usize::try_from(n).ok()).map_or(50, |n| n.clamp(1, 50));
    let after = input.marker.unwrap_or_default();
    let version = input.function_version;
    let mut all: Vec<AliasConfiguration> = entry
        .record
        .aliases
        .iter()
        .filter(|(n, a)| n.as_str() > after.as_str() && version.as_ref().is_none_or(|v| a.version == *v))
        .map(|(n, a)| view::alias(ctx.account.as_str(), &entry.record, n, a))
        .collect();
    let more = all.len() > limit;
    all.truncate(limit);
    let next_marker = all.last().and_then(|a| a.name.clone()).filter(|_| more);
    Ok(ListAliasesOutput { next_marker, aliases: Some(all) })
}
