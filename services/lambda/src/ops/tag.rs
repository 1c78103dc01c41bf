//! Tags of functions and event source mappings.

use super::event_source;
use crate::api::*;
use crate::error::Error;
use crate::names::Name;
use crate::room::Lambda;
use crate::rules;
use squall_service::Ctx;
use std::collections::BTreeMap;

fn function(room: &Lambda, ctx: &Ctx, arn: &str) -> Result<Name, Error> {
    if !arn.contains(":function:") {
        return Err(Error::NotFound(format!("Resource not found: {arn}")));
    }
    let name = room.name(ctx, arn, None)?;
    if name.qualifier.is_some() {
        return Err(Error::invalid(
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        ));
    }
    Ok(name)
}

/// Sets tags.
pub async fn tag_resource(room: &Lambda, ctx: &Ctx, input: TagResourceInput) -> Result<TagResourceOutput, Error> {
    if let Some(mapping) = event_source::tagged(room, ctx, &input.resource)? {
        event_source::change_tags(room, &mapping.mapping.uuid, |tags| tags.extend(input.tags)).await?;
        return Ok(TagResourceOutput::default());
    }
    let name = function(room, ctx, &input.resource)?;
    let id = room.new_id();
    room.registry
        .change(
            ctx.region.as_str(),
            &name.name,
            || room.missing(ctx, &name),
            |record, _, _| {
                record.tags.extend(input.tags);
                record.latest.revision_id = id;
                rules::tags(&record.tags)
            },
        )
        .await?;
    Ok(TagResourceOutput::default())
}

/// Removes tags.
pub async fn untag_resource(room: &Lambda, ctx: &Ctx, input: UntagResourceInput) -> Result<UntagResourceOutput, Error> {
    if let Some(mapping) = event_source::tagged(room, ctx, &input.resource)? {
        let keep = |tags: &mut BTreeMap<String, String>| tags.retain(|k, _| !input.tag_keys.contains(k));
        event_source::change_tags(room, &mapping.mapping.uuid, keep).await?;
        return Ok(UntagResourceOutput::default());
    }
    let name = function(room, ctx, &input.resource)?;
    let id = room.new_id();
    room.registry
        .change(
            ctx.region.as_str(),
            &name.name,
            || room.missing(ctx, &name),
            |record, _, _| {
                record.tags.retain(|k, _| !input.tag_keys.contains(k));
                record.latest.revision_id = id;
                Ok(())
            },
        )
        .await?;
    Ok(UntagResourceOutput::default())
}

/// Shows tags.
pub async fn list_tags(room: &Lambda, ctx: &Ctx, input: ListTagsInput) -> Result<ListTagsOutput, Error> {
    if let Some(mapping) = event_source::tagged(room, ctx, &input.resource)? {
        return Ok(ListTagsOutput { tags: Some(mapping.tags.clone()) });
    }
    let name = function(room, ctx, &input.resource)?;
    let entry = room.find(ctx, &name)?;
    Ok(ListTagsOutput { tags: Some(entry.record.tags.clone()) })
}
