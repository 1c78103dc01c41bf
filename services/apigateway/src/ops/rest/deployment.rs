//! Deployments: snapshots of an API.

use super::stage::{no_deployment, refuse_cache};
use crate::api::apigateway::*;
use crate::error::Error;
use crate::model::rest::{Deployment as Held, RestApi as Def, Stage as HeldStage};
use crate::room::ApiGateway;
use crate::rules;
use crate::view::rest as view;
use squall_service::Ctx;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Takes a snapshot, and points a stage at it where one is named.
pub async fn create_deployment(
    room: &ApiGateway,
    ctx: &Ctx,
    input: CreateDeploymentInput,
) -> Result<CreateDeploymentOutput, Error> {
    rules::none("canarySettings", input.canary_settings.as_ref())?;
    refuse_cache(input.cache_cluster_enabled, input.cache_cluster_size.as_ref(), input.tracing_enabled)?;
    let now = room.now_ms();
    let (_, made) = room
        .change_rest(ctx, &input.rest_api_id, |def| {
            complete(def)?;
            let id = room.new_id(6, |id| def.deployments.contains_key(id));
            def.deploy(id.clone(), input.description, now);
            if let Some(name) = input.stage_name.filter(|n| !n.is_empty()) {
                point(def, &name, &id, input.stage_description, input.variables, now)?;
            }
            def.deployments.get(&id).cloned().ok_or_else(no_deployment)
        })
        .await?;
    Ok(view::deployment(&made, false))
}

/// Whether there is something to deploy.
fn complete(def: &Def) -> Result<(), Error> {
    let mut methods = def.resources.values().flat_map(|r| r.methods.values()).peekable();
    if methods.peek().is_none() {
        return Err(Error::bad("The REST API doesn't contain any methods"));
    }
    if methods.any(|m| m.integration.is_none()) {
        return Err(Error::bad("No integration defined for method"));
    }
    Ok(())
}

fn point(
    def: &mut Def,
    name: &str,
    id: &str,
    description: Option<String>,
    variables: Option<BTreeMap<String, String>>,
    now: i64,
) -> Result<(), Error> {
    rules::variables(variables.as_ref().unwrap_or(&BTreeMap::new()))?;
    if let Some(stage) = def.head.stages.get_mut(name) {
        id.clone_into(&mut stage.deployment);
        stage.updated_ms = now;
        stage.description = description.or(stage.description.take());
        if let Some(variables) = variables {
            stage.variables.get_or_insert_default().extend(variables);
        }
        return Ok(());
    }
    let stage = HeldStage {
        deployment: id.to_owned(),
        description,
        variables,
        tags: BTreeMap::new(),
        created_ms: now,
        updated_ms: now,
    };
    super::stage::add(def, name, stage)
}

fn find(def: &Def, id: &str) -> Result<Arc<Held>, Error> {
    def.deployments.get(id).cloned().ok_or_else(no_deployment)
}

/// Shows a deployment.
pub async fn get_deployment(
    room: &ApiGateway,
    ctx: &Ctx,
    input: GetDeploymentInput,
) -> Result<GetDeploymentOutput, Error> {
    let found = find(&*room.rest_api(ctx, &input.rest_api_id)?, &input.deployment_id)?;
    let embed = input.embed.iter().flatten().any(|e| e.eq_ignore_ascii_case("apisummary"));
    Ok(view::deployment(&found, embed))
}

/// Lists deployments.
pub async fn get_deployments(
    room: &ApiGateway,
    ctx: &Ctx,
    input: GetDeploymentsInput,
) -> Result<GetDeploymentsOutput, Error> {
    let def = room.rest_api(ctx, &input.rest_api_id)?;
    let all = def.deployments.values().map(|d| (d.id.clone(), view::deployment(d, false)));
    let (items, position) = rules::page(all, input.position.as_deref(), super::limit(input.limit)?)?;
    Ok(GetDeploymentsOutput { position, items: Some(items) })
}

/// Removes a deployment that no stage names.
pub async fn delete_deployment(
    room: &ApiGateway,
    ctx: &Ctx,
    input: DeleteDeploymentInput,
) -> Result<DeleteDeploymentOutput, Error> {
    room.change_rest(ctx, &input.rest_api_id, |def| {
        find(def, &input.deployment_id)?;
        if def.head.stages.values().any(|s| s.deployment == input.deployment_id) {
            return Err(Error::bad("Active stages pointing to this deployment must be moved or deleted"));
        }
        def.deployments.remove(&input.deployment_id);
        Ok(())
    })
    .await?;
    Ok(DeleteDeploymentOutput {})
}
