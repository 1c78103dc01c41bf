//! Deployments of HTTP APIs.

use super::stage::no_stage;
use crate::api::apigatewayv2::*;
use crate::error::Error;
use crate::room::ApiGateway;
use crate::rules;
use crate::view::http as view;
use squall_service::Ctx;

/// `Invalid Deployment identifier specified`.
pub fn no_deployment() -> Error {
    Error::missing("Invalid Deployment identifier specified")
}

/// Takes a snapshot, and points a stage at it where one is named.
pub async fn create_deployment(
    room: &ApiGateway,
    ctx: &Ctx,
    input: CreateDeploymentInput,
) -> Result<CreateDeploymentOutput, Error> {
    let now = room.now_ms();
    let (_, made) = room
        .change_http(ctx, &input.api_id, |def| {
            if def.routes.is_empty() {
                return Err(Error::bad("Unable to deploy API because no routes exist in this API"));
            }
            let id = room.new_id(6, |id| def.deployments.contains_key(id));
            if let Some(name) = input.stage_name {
                let stage = def.head.stages.get_mut(&name).ok_or_else(no_stage)?;
                if stage.auto_deploy {
                    return Err(Error::bad("Cannot deploy to a stage with AutoDeploy enabled"));
                }
                stage.deployment = Some(id.clone());
                stage.updated_ms = now;
            }
            def.deploy(id.clone(), input.description.filter(|d| !d.is_empty()), false, now);
            def.deployments.get(&id).cloned().ok_or_else(no_deployment)
        })
        .await?;
    Ok(view::created_deployment(view::deployment(&made)))
}

/// Shows a deployment.
pub async fn get_deployment(
    room: &ApiGateway,
    ctx: &Ctx,
    input: GetDeploymentInput,
) -> Result<GetDeploymentOutput, Error> {
    let def = room.http_api(ctx, &input.api_id)?;
    let held = def.deployments.get(&input.deployment_id).ok_or_else(no_deployment)?;
    Ok(view::got_deployment(view::deployment(held)))
}

/// Lists deployments.
pub async fn get_deployments(
    room: &ApiGateway,
    ctx: &Ctx,
    input: GetDeploymentsInput,
) -> Result<GetDeploymentsOutput, Error> {
    let def = room.http_api(ctx, &input.api_id)?;
    let all = def.deployments.values().map(|d| (d.id.clone(), view::deployment(d)));
    let (items, next_token) = rules::page(all, input.next_token.as_deref(), super::limit(input.max_results.as_ref())?)?;
    Ok(GetDeploymentsOutput { items: Some(items), next_token })
}

/// Removes a deployment that no stage names.
pub async fn delete_deployment(
    room: &ApiGateway,
    ctx: &Ctx,
    input: DeleteDeploymentInput,
) -> Result<DeleteDeploymentOutput, Error> {
    let id = &input.deployment_id;
    room.change_http(ctx, &input.api_id, |def| {
        if def.head.stages.values().any(|s| s.deployment.as_ref() == Some(id)) {
            return Err(Error::bad("Active stages pointing to this deployment must be moved or deleted"));
        }
        def.deployments.remove(id).map(|_| ()).ok_or_else(no_deployment)
    })
    .await?;
    Ok(DeleteDeploymentOutput {})
}
