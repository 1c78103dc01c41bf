//! Tags of APIs and stages.

use super::stage::no_stage;
use crate::api::apigateway::*;
use crate::error::Error;
use crate::model::rest::RestApi as Def;
use crate::room::ApiGateway;
use crate::rules;
use squall_service::Ctx;
use std::collections::BTreeMap;

/// API and stage that an ARN names: `arn:aws:apigateway:REGION::/restapis/ID[/stages/NAME]`.
fn target<'a>(ctx: &Ctx, arn: &'a str) -> Result<(&'a str, Option<&'a str>), Error> {
    let prefix = format!("arn:aws:apigateway:{}::/restapis/", ctx.region);
    let bad = || Error::bad(format!("Invalid ARN specified: {arn}"));
    let words: Vec<&str> = arn.strip_prefix(prefix.as_str()).ok_or_else(bad)?.split('/').collect();
    match words.as_slice() {
        [api] => Ok((api, None)),
        [api, "stages", stage] => Ok((api, Some(stage))),
        _ => Err(bad()),
    }
}

fn tags<'d>(def: &'d mut Def, stage: Option<&str>) -> Result<&'d mut BTreeMap<String, String>, Error> {
    match stage {
        None => Ok(&mut def.head.tags),
        Some(name) => def.head.stages.get_mut(name).map(|s| &mut s.tags).ok_or_else(no_stage),
    }
}

/// Sets tags.
pub async fn tag_resource(room: &ApiGateway, ctx: &Ctx, input: TagResourceInput) -> Result<TagResourceOutput, Error> {
    let (api, stage) = target(ctx, &input.resource_arn)?;
    room.change_rest(ctx, api, |def| {
        let held = tags(def, stage)?;
        held.extend(input.tags);
        rules::tags(held)
    })
    .await?;
    Ok(TagResourceOutput {})
}

/// Removes tags.
pub async fn untag_resource(
    room: &ApiGateway,
    ctx: &Ctx,
    input: UntagResourceInput,
) -> Result<UntagResourceOutput, Error> {
    let (api, stage) = target(ctx, &input.resource_arn)?;
    room.change_rest(ctx, api, |def| {
        tags(def, stage)?.retain(|k, _| !input.tag_keys.contains(k));
        Ok(())
    })
    .await?;
    Ok(UntagResourceOutput {})
}

/// Shows tags.
pub async fn get_tags(room: &ApiGateway, ctx: &Ctx, input: GetTagsInput) -> Result<GetTagsOutput, Error> {
    let (api, stage) = target(ctx, &input.resource_arn)?;
    let def = room.rest_api(ctx, api)?;
    let held = match stage {
        None => &def.head.tags,
        Some(name) => def.head.stages.get(name).map(|s| &s.tags).ok_or_else(no_stage)?,
    };
    Ok(GetTagsOutput { tags: Some(held.clone()) })
}
