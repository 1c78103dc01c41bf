//! Published versions: immutable copies of `$LATEST`.

use super::function::{listed, unsigned};
use super::update::check_revision;
use crate::api::*;
use crate::error::Error;
use crate::model::Phase;
use crate::names::{LATEST, Name};
use crate::room::Lambda;
use crate::view;
use squall_service::Ctx;

const PAGE_MAX: usize = 50;

/// Publishes `$LATEST` under the next number. Nothing happens when it has not changed since the last one.
///
/// # Errors
/// `PreconditionFailedException`, `InvalidParameterValueException` when the code's SHA-256 is another one,
/// `ResourceConflictException` while the function is being created.
pub async fn publish_version(
    room: &Lambda,
    ctx: &Ctx,
    input: PublishVersionInput,
) -> Result<PublishVersionOutput, Error> {
    if input.publish_to.is_some() {
        return Err(Error::unserved("PublishTo"));
    }
    let name = room.name(ctx, &input.function_name, None)?;
    let entry = room.find(ctx, &name)?;
    let latest = &entry.record.latest;
    check_revision(input.revision_id.as_deref(), &latest.revision_id)?;
    if let Some(sha) = input.code_sha256.filter(|s| !s.is_empty() && *s != latest.code_sha256) {
        let held = &latest.code_sha256;
        return Err(Error::invalid(format!(
            "CodeSHA256 ({sha}) is different from current CodeSHA256 in $LATEST ({held}). Please try again with the CodeSHA256 in \
             $LATEST."
        )));
    }
    if latest.state == Phase::Pending {
        return Err(Error::Conflict(format!(
            "The operation cannot be performed at this time. The function is currently in the following state: Pending: {}",
            view::arn(ctx.account.as_str(), &entry.record, None)
        )));
    }
    publish(room, ctx, &name, input.description).await
}

/// Publishes whatever `$LATEST` is.
pub async fn publish(
    room: &Lambda,
    ctx: &Ctx,
    name: &Name,
    description: Option<String>,
) -> Result<FunctionConfiguration, Error> {
    let (id, latest_id, missing) = (room.new_id(), room.new_id(), || room.missing(ctx, name));
    let (entry, number) = room
        .registry
        .change(ctx.region.as_str(), &name.name, missing, |record, before, extra| {
            let last = before.versions.get(&record.last_version);
            let same = last.is_some_and(|v| {
                let mut again = record.latest.clone();
                again.version.clone_from(&v.version);
                again.revision_id.clone_from(&v.revision_id);
                // Only the description of `$LATEST` counts, not the one that a version was given.
                let described = record.published_as.as_ref() == Some(&again.description);
                again.description.clone_from(&v.description);
                again.state.clone_from(&v.state);
                again.update.clone_from(&v.update);
                again.is_optimized = v.is_optimized;
                again.modified_ms = v.modified_ms;
                described && again == **v
            });
            if same {
                return Ok(record.last_version);
            }
            record.last_version += 1;
            record.published_as = Some(record.latest.description.clone());
            let mut version = record.latest.clone();
            version.version = record.last_version.to_string();
            version.revision_id = id;
            version.modified_ms = ctx.time.0;
            if version.update == Phase::Pending || version.snap_start {
                version.state = Phase::Pending;
            }
            version.update = Phase::Done;
            // Publishing is a change of `$LATEST` too.
            record.latest.revision_id = latest_id;
            if let Some(description) = description {
                version.description = description;
            }
            extra.publish = Some(version);
            Ok(record.last_version)
        })
        .await?;
    crate::snap_start::finish(room, &entry.record.region, &entry.record.name);
    let version = entry.versions.get(&number).ok_or_else(|| room.missing(ctx, name))?;
    Ok(view::configuration(ctx.account.as_str(), &entry.record, version, None))
}

/// Lists `$LATEST` and the versions by number.
pub async fn list_versions_by_function(
    room: &Lambda,
    ctx: &Ctx,
    input: ListVersionsByFunctionInput,
) -> Result<ListVersionsByFunctionOutput, Error> {
    let name = room.name(ctx, &input.function_name, None)?;
    let entry = room.find(ctx, &name)?;
    let account = ctx.account.as_str();
    let limit = unsigned(input.max_items).map_or(PAGE_MAX, |n| (n as usize).clamp(1, PAGE_MAX));
    let after: Option<u32> = input.marker.as_deref().map(|m| m.parse().unwrap_or(0));
    let mut all = Vec::new();
    if after.is_none() {
        all.push(listed(view::configuration(account, &entry.record, &entry.record.latest, Some(LATEST))));
    }
    let from = after.map_or(0, |n| n + 1);
    let numbered =
        entry.versions.range(from..).map(|(_, v)| listed(view::configuration(account, &entry.record, v, None)));
    all.extend(numbered);
    let more = all.len() > limit;
    all.truncate(limit);
    let last = all.last().and_then(|c| c.version.clone()).map(|v| if v == LATEST { "0".to_owned() } else { v });
    Ok(ListVersionsByFunctionOutput { next_marker: last.filter(|_| more), versions: Some(all) })
}
