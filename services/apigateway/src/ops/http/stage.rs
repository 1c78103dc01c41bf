//! Stages of HTTP APIs.

use super::deployment::no_deployment;
use crate::api::apigatewayv2::*;
use crate::error::Error;
use crate::model::http::{DEFAULT, HttpApi as Def, Stage as Held};
use crate::room::ApiGateway;
use crate::rules;
use crate::view::http as view;
use squall_service::Ctx;
use std::collections::BTreeMap;

/// Most stages of an API.
const STAGES_MAX: usize = 100;

/// `Invalid stage identifier specified`.
pub fn no_stage() -> Error {
    Error::missing("Invalid stage identifier specified")
}

/// Accepts what describes this server: no metrics, logs or throttling by route.
fn settings(given: &RouteSettings) -> Result<(), Error> {
    rules::only("dataTraceEnabled", given.data_trace_enabled.as_ref(), &false)?;
    rules::only("detailedMetricsEnabled", given.detailed_metrics_enabled.as_ref(), &false)?;
    rules::only("loggingLevel", given.logging_level.as_deref(), "OFF")?;
    rules::none("throttlingBurstLimit", given.throttling_burst_limit)?;
    rules::none("throttlingRateLimit", given.throttling_rate_limit)
}

macro_rules! refuse {
    ($input:ident) => {{
        rules::none("accessLogSettings", $input.access_log_settings.as_ref())?;
        rules::none("clientCertificateId", $input.client_certificate_id.as_ref())?;
        $input.default_route_settings.as_ref().map_or(Ok(()), settings)?;
        rules::none("routeSettings", $input.route_settings.as_ref().filter(|r| !r.is_empty()))?;
        rules::variables($input.stage_variables.as_ref().unwrap_or(&BTreeMap::new()))?;
    }};
}

fn known(def: &Def, deployment: Option<&String>) -> Result<(), Error> {
    match deployment {
        Some(id) if !def.deployments.contains_key(id) => Err(no_deployment()),
        _ => Ok(()),
    }
}

/// Creates a stage.
pub async fn create_stage(room: &ApiGateway, ctx: &Ctx, input: CreateStageInput) -> Result<CreateStageOutput, Error> {
    refuse!(input);
    let (name, tags) = (input.stage_name, input.tags.unwrap_or_default());
    if name != DEFAULT {
        rules::stage_name(&name)?;
    }
    rules::tags(&tags)?;
    let now = room.now_ms();
    let auto_deploy = input.auto_deploy.unwrap_or(false);
    if auto_deploy && input.deployment_id.is_some() {
        return Err(Error::bad("Deployment ID cannot be set on a stage with AutoDeploy enabled"));
    }
    let held = Held {
        deployment: input.deployment_id,
        auto_deploy,
        description: input.description.filter(|d| !d.is_empty()),
        variables: input.stage_variables.unwrap_or_default(),
        tags,
        created_ms: now,
        updated_ms: now,
        managed: false,
    };
    let (def, ()) = room
        .change_http(ctx, &input.api_id, |def| {
            known(def, held.deployment.as_ref())?;
            if def.head.stages.contains_key(&name) {
                return Err(Error::Conflict("Stage already exists".into()));
            }
            if def.head.stages.len() >= STAGES_MAX {
                return Err(Error::Limit("Maximum number of Stages for this API has been reached.".into()));
            }
            def.head.stages.insert(name.clone(), held);
            room.auto_deploy(def, |n| n == name);
            Ok(())
        })
        .await?;
    Ok(view::created_stage(shown(&def, &name)?))
}

fn shown(def: &Def, name: &str) -> Result<Stage, Error> {
    def.head.stages.get(name).map(|s| view::stage(name, s)).ok_or_else(no_stage)
}

/// Shows a stage.
pub async fn get_stage(room: &ApiGateway, ctx: &Ctx, input: GetStageInput) -> Result<GetStageOutput, Error> {
    let def = room.http_api(ctx, &input.api_id)?;
    Ok(view::got_stage(shown(&def, &input.stage_name)?))
}

/// Lists stages.
pub async fn get_stages(room: &ApiGateway, ctx: &Ctx, input: GetStagesInput) -> Result<GetStagesOutput, Error> {
    let def = room.http_api(ctx, &input.api_id)?;
    let all = def.head.stages.iter().map(|(name, s)| (name.clone(), view::stage(name, s)));
    let (items, next_token) = rules::page(all, input.next_token.as_deref(), super::limit(input.max_results.as_ref())?)?;
    Ok(GetStagesOutput { items: Some(items), next_token })
}

/// Changes a stage.
pub async fn update_stage(room: &ApiGateway, ctx: &Ctx, input: UpdateStageInput) -> Result<UpdateStageOutput, Error> {
    refuse!(input);
    let (name, now) = (input.stage_name, room.now_ms());
    let (def, ()) = room
        .change_http(ctx, &input.api_id, |def| {
            known(def, input.deployment_id.as_ref())?;
            let held = def.head.stages.get_mut(&name).ok_or_else(no_stage)?;
            let is_auto = input.auto_deploy.unwrap_or(held.auto_deploy);
            let was_auto = std::mem::replace(&mut held.auto_deploy, is_auto);
            if let Some(id) = input.deployment_id {
                if held.auto_deploy {
                    return Err(Error::bad("Deployment ID cannot be set on a stage with AutoDeploy enabled"));
                }
                held.deployment = Some(id);
            }
            if let Some(text) = input.description {
                held.description = Some(text).filter(|t| !t.is_empty());
            }
            if let Some(variables) = input.stage_variables {
                // An empty value removes a variable, as on AWS.
                held.variables.extend(variables);
                held.variables.retain(|_, v| !v.is_empty());
            }
            held.updated_ms = now;
            if held.auto_deploy && !was_auto {
                room.auto_deploy(def, |n| n == name);
            }
            Ok(())
        })
        .await?;
    Ok(view::updated_stage(shown(&def, &name)?))
}

/// Removes a stage.
pub async fn delete_stage(room: &ApiGateway, ctx: &Ctx, input: DeleteStageInput) -> Result<DeleteStageOutput, Error> {
    room.change_http(ctx, &input.api_id, |def| {
        def.head.stages.remove(&input.stage_name).ok_or_else(no_stage)?;
        def.prune();
        Ok(())
    })
    .await?;
    Ok(DeleteStageOutput {})
}
