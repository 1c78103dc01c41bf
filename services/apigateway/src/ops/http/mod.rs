//! Operations of the room `apigatewayv2`.

pub mod api;
pub mod deployment;
pub mod integration;
pub mod route;
pub mod stage;
pub mod tag;

use crate::api::apigatewayv2;
use crate::error::Error;
use crate::model::http::HttpApi;
use crate::ops;
use crate::room::{ApiGateway, HttpRoom, forward};
use async_trait::async_trait;
use squall_protocol::ServiceError;
use squall_service::Ctx;
use std::sync::Arc;

forward! {
    HttpRoom, apigatewayv2,
    create_api(CreateApiInput) -> CreateApiOutput = ops::http::api::create_api;
    create_deployment(CreateDeploymentInput) -> CreateDeploymentOutput = ops::http::deployment::create_deployment;
    create_integration(CreateIntegrationInput) -> CreateIntegrationOutput = ops::http::integration::create_integration;
    create_route(CreateRouteInput) -> CreateRouteOutput = ops::http::route::create_route;
    create_stage(CreateStageInput) -> CreateStageOutput = ops::http::stage::create_stage;
    delete_api(DeleteApiInput) -> DeleteApiOutput = ops::http::api::delete_api;
    delete_cors_configuration(DeleteCorsConfigurationInput) -> DeleteCorsConfigurationOutput = ops::http::api::delete_cors_configuration;
    delete_deployment(DeleteDeploymentInput) -> DeleteDeploymentOutput = ops::http::deployment::delete_deployment;
    delete_integration(DeleteIntegrationInput) -> DeleteIntegrationOutput = ops::http::integration::delete_integration;
    delete_route(DeleteRouteInput) -> DeleteRouteOutput = ops::http::route::delete_route;
    delete_stage(DeleteStageInput) -> DeleteStageOutput = ops::http::stage::delete_stage;
    get_api(GetApiInput) -> GetApiOutput = ops::http::api::get_api;
    get_apis(GetApisInput) -> GetApisOutput = ops::http::api::get_apis;
    get_deployment(GetDeploymentInput) -> GetDeploymentOutput = ops::http::deployment::get_deployment;
    get_deployments(GetDeploymentsInput) -> GetDeploymentsOutput = ops::http::deployment::get_deployments;
    get_integration(GetIntegrationInput) -> GetIntegrationOutput = ops::http::integration::get_integration;
    get_integrations(GetIntegrationsInput) -> GetIntegrationsOutput = ops::http::integration::get_integrations;
    get_route(GetRouteInput) -> GetRouteOutput = ops::http::route::get_route;
    get_routes(GetRoutesInput) -> GetRoutesOutput = ops::http::route::get_routes;
    get_stage(GetStageInput) -> GetStageOutput = ops::http::stage::get_stage;
    get_stages(GetStagesInput) -> GetStagesOutput = ops::http::stage::get_stages;
    get_tags(GetTagsInput) -> GetTagsOutput = ops::http::tag::get_tags;
    tag_resource(TagResourceInput) -> TagResourceOutput = ops::http::tag::tag_resource;
    untag_resource(UntagResourceInput) -> UntagResourceOutput = ops::http::tag::untag_resource;
    update_api(UpdateApiInput) -> UpdateApiOutput = ops::http::api::update_api;
    update_integration(UpdateIntegrationInput) -> UpdateIntegrationOutput = ops::http::integration::update_integration;
    update_route(UpdateRouteInput) -> UpdateRouteOutput = ops::http::route::update_route;
    update_stage(UpdateStageInput) -> UpdateStageOutput = ops::http::stage::update_stage;
}

/// The page size of a list: 100 unless said otherwise, at most 500.
fn limit(given: Option<&String>) -> Result<Option<usize>, Error> {
    match given.map(|text| text.parse::<usize>()) {
        None => Ok(Some(100)),
        Some(Ok(n @ 1..)) => Ok(Some(n.min(500))),
        Some(_) => Err(Error::bad("Invalid value for maxResults")),
    }
}

impl ApiGateway {
    /// An API of the request's region.
    pub(crate) fn http_api(&self, ctx: &Ctx, id: &str) -> Result<Arc<HttpApi>, Error> {
        let found = self.http.by_id(id).filter(|d| d.head.region == ctx.region.as_str());
        found.ok_or_else(|| Error::no_api(ctx.account.as_str(), id))
    }

    /// Changes an API of the request's region; stages that deploy by themselves follow in the same commit.
    async fn change_http<T>(
        &self,
        ctx: &Ctx,
        id: &str,
        f: impl FnOnce(&mut HttpApi) -> Result<T, Error>,
    ) -> Result<(Arc<HttpApi>, T), Error> {
        let missing = || Error::no_api(ctx.account.as_str(), id);
        let edit = |def: &mut HttpApi| {
            let before = def.clone();
            let answer = f(def)?;
            if def.differs(&before) {
                self.auto_deploy(def, |_| true);
            }
            Ok(answer)
        };
        self.http.change(ctx.region.as_str(), id, missing, edit).await
    }

    /// Deploys to the stages that deploy by themselves and are chosen.
    fn auto_deploy(&self, def: &mut HttpApi, chosen: impl Fn(&str) -> bool) {
        let names: Vec<String> =
            def.head.stages.iter().filter(|(n, s)| s.auto_deploy && chosen(n)).map(|(n, _)| n.clone()).collect();
        if names.is_empty() {
            return;
        }
        let (id, now) = (self.new_id(6, |id| def.deployments.contains_key(id)), self.now_ms());
        for name in names {
            if let Some(stage) = def.head.stages.get_mut(&name) {
                stage.deployment = Some(id.clone());
                stage.updated_ms = now;
            }
        }
        let description = "Automatic deployment triggered by changes to the Api configuration";
        def.deploy(id, Some(description.into()), true, now);
    }
}
