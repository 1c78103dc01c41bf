//! Stages: names under which deployments are served.

use crate::api::apigateway::*;
use crate::error::Error;
use crate::model::rest::{RestApi as Def, Stage as Held};
use crate::ops::patch::{self, Op, Patch};
use crate::room::ApiGateway;
use crate::rules;
use crate::view::rest as view;
use squall_service::Ctx;
use std::collections::BTreeMap;

/// Most stages of an API.
const STAGES_MAX: usize = 100;

/// `Invalid Deployment identifier specified`.
pub fn no_deployment() -> Error {
    Error::missing("Invalid Deployment identifier specified")
}

/// `Invalid stage identifier specified`.
pub fn no_stage() -> Error {
    Error::missing("Invalid stage identifier specified")
}

/// Refuses caches and traces.
///
/// # Errors
/// `BadRequestException`.
pub fn refuse_cache(enabled: Option<bool>, size: Option<&String>, tracing: Option<bool>) -> Result<(), Error> {
    rules::only("cacheClusterEnabled", enabled.as_ref(), &false)?;
    rules::none("cacheClusterSize", size)?;
    rules::only("tracingEnabled", tracing.as_ref(), &false)
}

/// Adds a stage.
///
/// # Errors
/// `BadRequestException`, `ConflictException`, `LimitExceededException`.
pub fn add(def: &mut Def, name: &str, stage: Held) -> Result<(), Error> {
    rules::stage_name(name)?;
    if def.head.stages.contains_key(name) {
        return Err(Error::Conflict("Stage already exists".into()));
    }
    if def.head.stages.len() >= STAGES_MAX {
        return Err(Error::Limit("Maximum number of stages for this API has been reached.".into()));
    }
    def.head.stages.insert(name.to_owned(), stage);
    Ok(())
}

/// Creates a stage.
pub async fn create_stage(room: &ApiGateway, ctx: &Ctx, input: CreateStageInput) -> Result<CreateStageOutput, Error> {
    rules::none("canarySettings", input.canary_settings.as_ref())?;
    rules::none("documentationVersion", input.documentation_version.as_ref())?;
    refuse_cache(input.cache_cluster_enabled, input.cache_cluster_size.as_ref(), input.tracing_enabled)?;
    rules::variables(input.variables.as_ref().unwrap_or(&BTreeMap::new()))?;
    let tags = input.tags.unwrap_or_default();
    rules::tags(&tags)?;
    let now = room.now_ms();
    let stage = Held {
        deployment: input.deployment_id,
        description: input.description,
        variables: input.variables,
        tags,
        created_ms: now,
        updated_ms: now,
    };
    let made = stage.clone();
    room.change_rest(ctx, &input.rest_api_id, |def| {
        if !def.deployments.contains_key(&stage.deployment) {
            return Err(Error::bad("Deployment id does not exist"));
        }
        add(def, &input.stage_name, stage)
    })
    .await?;
    Ok(view::stage(&input.stage_name, &made))
}

/// Shows a stage.
pub async fn get_stage(room: &ApiGateway, ctx: &Ctx, input: GetStageInput) -> Result<GetStageOutput, Error> {
    let def = room.rest_api(ctx, &input.rest_api_id)?;
    let stage = def.head.stages.get(&input.stage_name).ok_or_else(no_stage)?;
    Ok(view::stage(&input.stage_name, stage))
}

/// Lists stages.
pub async fn get_stages(room: &ApiGateway, ctx: &Ctx, input: GetStagesInput) -> Result<GetStagesOutput, Error> {
    let def = room.rest_api(ctx, &input.rest_api_id)?;
    let wanted = |s: &Held| input.deployment_id.as_ref().is_none_or(|d| *d == s.deployment);
    let item = def.head.stages.iter().filter(|(_, s)| wanted(s)).map(|(name, s)| view::stage(name, s)).collect();
    Ok(GetStagesOutput { item: Some(item) })
}

/// Removes a stage.
pub async fn delete_stage(room: &ApiGateway, ctx: &Ctx, input: DeleteStageInput) -> Result<DeleteStageOutput, Error> {
    room.change_rest(ctx, &input.rest_api_id, |def| {
        def.head.stages.remove(&input.stage_name).map(|_| ()).ok_or_else(no_stage)
    })
    .await?;
    Ok(DeleteStageOutput {})
}

/// Changes a stage.
pub async fn update_stage(room: &ApiGateway, ctx: &Ctx, input: UpdateStageInput) -> Result<UpdateStageOutput, Error> {
    let now = room.now_ms();
    let (_, held) = room
        .change_rest(ctx, &input.rest_api_id, |def| {
            let mut stage = def.head.stages.get(&input.stage_name).cloned().ok_or_else(no_stage)?;
            for patch in patch::read(input.patch_operations)? {
                apply(def, &mut stage, &patch)?;
            }
            stage.updated_ms = now;
            def.head.stages.insert(input.stage_name.clone(), stage.clone());
            Ok(stage)
        })
        .await?;
    Ok(view::stage(&input.stage_name, &held))
}

fn apply(def: &Def, stage: &mut Held, patch: &Patch) -> Result<(), Error> {
    match patch.keys().as_slice() {
        ["deploymentId"] => {
            patch.replaces()?;
            if !def.deployments.contains_key(&patch.value) {
                return Err(Error::bad("Deployment id does not exist"));
            }
            stage.deployment = patch.value.clone();
        }
        ["description"] => {
            patch.replaces()?;
            stage.description = patch.text();
        }
        ["variables", name] => {
            let held = stage.variables.get_or_insert_default();
            match patch.op {
                Op::Remove => {
                    held.remove(*name);
                }
                Op::Add | Op::Replace => {
                    held.insert((*name).to_owned(), patch.value.clone());
                }
            }
            rules::variables(held)?;
            stage.variables.take_if(|v| v.is_empty());
        }
        ["tracingEnabled" | "cacheClusterEnabled"] => {
            patch.replaces()?;
            rules::only(patch.path.trim_start_matches('/'), Some(&patch.is_true()), &false)?;
        }
        _ => return Err(Error::unserved(&format!("The patch path {}", patch.path))),
    }
    Ok(())
}
