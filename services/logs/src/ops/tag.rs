//! Tags of groups, by name and by ARN.

use crate::api::*;
use crate::catalog::Group;
use crate::error::Error;
use crate::room::{Logs, group_name};
use squall_service::Ctx;
use std::collections::BTreeMap;
use std::sync::Arc;

const TAGS_MAX: usize = 50;

fn by_arn(room: &Logs, ctx: &Ctx, arn: &str) -> Result<Arc<Group>, Error> {
    if !arn.contains(":log-group:") {
        return Err(Error::invalid("Invalid resource ARN: only log groups have tags here"));
    }
    room.group(ctx, group_name(arn))
}

async fn set(room: &Logs, group: &Group, tags: BTreeMap<String, String>) -> Result<(), Error> {
    room.catalog
        .change(group, |r| {
            r.tags.extend(tags);
            if r.tags.len() > TAGS_MAX {
                return Err(Error::invalid("A resource can only have up to 50 tags."));
            }
            Ok(())
        })
        .await
}

async fn remove(room: &Logs, group: &Group, keys: &[String]) -> Result<(), Error> {
    room.catalog
        .change(group, |r| {
            r.tags.retain(|k, _| !keys.contains(k));
            Ok(())
        })
        .await
}

/// Sets tags of a group by name.
pub async fn tag_log_group(room: &Logs, ctx: &Ctx, input: TagLogGroupInput) -> Result<TagLogGroupOutput, Error> {
    let group = room.group(ctx, &input.log_group_name)?;
    set(room, &group, input.tags).await?;
    Ok(TagLogGroupOutput::default())
}

/// Removes tags of a group by name.
pub async fn untag_log_group(room: &Logs, ctx: &Ctx, input: UntagLogGroupInput) -> Result<UntagLogGroupOutput, Error> {
    let group = room.group(ctx, &input.log_group_name)?;
    remove(room, &group, &input.tags).await?;
    Ok(UntagLogGroupOutput::default())
}

/// Tags of a group by name.
pub async fn list_tags_log_group(
    room: &Logs,
    ctx: &Ctx,
    input: ListTagsLogGroupInput,
) -> Result<ListTagsLogGroupOutput, Error> {
    let group = room.group(ctx, &input.log_group_name)?;
    let tags = group.record.read().tags.clone();
    Ok(ListTagsLogGroupOutput { tags: Some(tags) })
}

/// Sets tags by ARN.
pub async fn tag_resource(room: &Logs, ctx: &Ctx, input: TagResourceInput) -> Result<TagResourceOutput, Error> {
    let group = by_arn(room, ctx, &input.resource_arn)?;
    set(room, &group, input.tags).await?;
    Ok(TagResourceOutput::default())
}

/// Removes tags by ARN.
pub async fn untag_resource(room: &Logs, ctx: &Ctx, input: UntagResourceInput) -> Result<UntagResourceOutput, Error> {
    let group = by_arn(room, ctx, &input.resource_arn)?;
    remove(room, &group, &input.tag_keys).await?;
    Ok(UntagResourceOutput::default())
}

/// Tags by ARN.
pub async fn list_tags_for_resource(
    room: &Logs,
    ctx: &Ctx,
    input: ListTagsForResourceInput,
) -> Result<ListTagsForResourceOutput, Error> {
    let group = by_arn(room, ctx, &input.resource_arn)?;
    let tags = group.record.read().tags.clone();
    Ok(ListTagsForResourceOutput { tags: Some(tags) })
}
