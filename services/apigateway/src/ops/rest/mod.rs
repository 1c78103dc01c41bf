//! Operations of the room `apigateway`.

pub mod api;
pub mod deployment;
pub mod integration;
pub mod method;
pub mod resource;
pub mod response;
pub mod stage;
pub mod tag;

use crate::api::apigateway;
use crate::error::Error;
use crate::model::rest::{Method, Resource, RestApi};
use crate::ops;
use crate::room::{ApiGateway, RestRoom, forward};
use async_trait::async_trait;
use squall_protocol::ServiceError;
use squall_service::Ctx;
use std::sync::Arc;

forward! {
    RestRoom, apigateway,
    create_deployment(CreateDeploymentInput) -> CreateDeploymentOutput = ops::rest::deployment::create_deployment;
    create_resource(CreateResourceInput) -> CreateResourceOutput = ops::rest::resource::create_resource;
    create_rest_api(CreateRestApiInput) -> CreateRestApiOutput = ops::rest::api::create_rest_api;
    create_stage(CreateStageInput) -> CreateStageOutput = ops::rest::stage::create_stage;
    delete_deployment(DeleteDeploymentInput) -> DeleteDeploymentOutput = ops::rest::deployment::delete_deployment;
    delete_integration(DeleteIntegrationInput) -> DeleteIntegrationOutput = ops::rest::integration::delete_integration;
    delete_integration_response(DeleteIntegrationResponseInput) -> DeleteIntegrationResponseOutput = ops::rest::response::delete_integration_response;
    delete_method(DeleteMethodInput) -> DeleteMethodOutput = ops::rest::method::delete_method;
    delete_method_response(DeleteMethodResponseInput) -> DeleteMethodResponseOutput = ops::rest::response::delete_method_response;
    delete_resource(DeleteResourceInput) -> DeleteResourceOutput = ops::rest::resource::delete_resource;
    delete_rest_api(DeleteRestApiInput) -> DeleteRestApiOutput = ops::rest::api::delete_rest_api;
    delete_stage(DeleteStageInput) -> DeleteStageOutput = ops::rest::stage::delete_stage;
    get_deployment(GetDeploymentInput) -> GetDeploymentOutput = ops::rest::deployment::get_deployment;
    get_deployments(GetDeploymentsInput) -> GetDeploymentsOutput = ops::rest::deployment::get_deployments;
    get_integration(GetIntegrationInput) -> GetIntegrationOutput = ops::rest::integration::get_integration;
    get_integration_response(GetIntegrationResponseInput) -> GetIntegrationResponseOutput = ops::rest::response::get_integration_response;
    get_method(GetMethodInput) -> GetMethodOutput = ops::rest::method::get_method;
    get_method_response(GetMethodResponseInput) -> GetMethodResponseOutput = ops::rest::response::get_method_response;
    get_resource(GetResourceInput) -> GetResourceOutput = ops::rest::resource::get_resource;
    get_resources(GetResourcesInput) -> GetResourcesOutput = ops::rest::resource::get_resources;
    get_rest_api(GetRestApiInput) -> GetRestApiOutput = ops::rest::api::get_rest_api;
    get_rest_apis(GetRestApisInput) -> GetRestApisOutput = ops::rest::api::get_rest_apis;
    get_stage(GetStageInput) -> GetStageOutput = ops::rest::stage::get_stage;
    get_stages(GetStagesInput) -> GetStagesOutput = ops::rest::stage::get_stages;
    get_tags(GetTagsInput) -> GetTagsOutput = ops::rest::tag::get_tags;
    put_integration(PutIntegrationInput) -> PutIntegrationOutput = ops::rest::integration::put_integration;
    put_integration_response(PutIntegrationResponseInput) -> PutIntegrationResponseOutput = ops::rest::response::put_integration_response;
    put_method(PutMethodInput) -> PutMethodOutput = ops::rest::method::put_method;
    put_method_response(PutMethodResponseInput) -> PutMethodResponseOutput = ops::rest::response::put_method_response;
    tag_resource(TagResourceInput) -> TagResourceOutput = ops::rest::tag::tag_resource;
    untag_resource(UntagResourceInput) -> UntagResourceOutput = ops::rest::tag::untag_resource;
    update_integration(UpdateIntegrationInput) -> UpdateIntegrationOutput = ops::rest::integration::update_integration;
    update_integration_response(UpdateIntegrationResponseInput) -> UpdateIntegrationResponseOutput = ops::rest::response::update_integration_response;
    update_method(UpdateMethodInput) -> UpdateMethodOutput = ops::rest::method::update_method;
    update_method_response(UpdateMethodResponseInput) -> UpdateMethodResponseOutput = ops::rest::response::update_method_response;
    update_resource(UpdateResourceInput) -> UpdateResourceOutput = ops::rest::resource::update_resource;
    update_rest_api(UpdateRestApiInput) -> UpdateRestApiOutput = ops::rest::api::update_rest_api;
    update_stage(UpdateStageInput) -> UpdateStageOutput = ops::rest::stage::update_stage;
}

/// The page size of a list: 25 unless said otherwise, at most 500.
fn limit(given: Option<i32>) -> Result<Option<usize>, Error> {
    match given {
        None => Ok(Some(25)),
        Some(n @ 1..) => Ok(Some(usize::try_from(n).unwrap_or(500).min(500))),
        Some(_) => Err(Error::bad("Invalid limit specified. Limit must be between 1 and 500")),
    }
}

/// `Invalid Resource identifier specified`.
fn no_resource() -> Error {
    Error::missing("Invalid Resource identifier specified")
}

/// `Invalid Method identifier specified`.
fn no_method() -> Error {
    Error::missing("Invalid Method identifier specified")
}

/// `Invalid Integration identifier specified`.
fn no_integration() -> Error {
    Error::missing("Invalid Integration identifier specified")
}

/// `Invalid Response status code specified`.
fn no_status() -> Error {
    Error::missing("Invalid Response status code specified")
}

impl ApiGateway {
    /// An API of the request's region.
    pub(crate) fn rest_api(&self, ctx: &Ctx, id: &str) -> Result<Arc<RestApi>, Error> {
        let found = self.rest.by_id(id).filter(|d| d.head.region == ctx.region.as_str());
        found.ok_or_else(|| Error::no_api(ctx.account.as_str(), id))
    }

    /// Changes an API of the request's region.
    async fn change_rest<T>(
        &self,
        ctx: &Ctx,
        id: &str,
        f: impl FnOnce(&mut RestApi) -> Result<T, Error>,
    ) -> Result<(Arc<RestApi>, T), Error> {
        let missing = || Error::no_api(ctx.account.as_str(), id);
        self.rest.change(ctx.region.as_str(), id, missing, f).await
    }

    /// A resource; AWS names only the resource even when the API is what is missing.
    fn resource(&self, ctx: &Ctx, api: &str, id: &str) -> Result<Arc<Resource>, Error> {
        let def = self.rest_api(ctx, api).map_err(|_| no_resource())?;
        def.resources.get(id).cloned().ok_or_else(no_resource)
    }

    /// Changes a resource.
    async fn change_resource<T>(
        &self,
        ctx: &Ctx,
        api: &str,
        id: &str,
        f: impl FnOnce(&mut Resource) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let edit = |def: &mut RestApi| {
            let held = def.resources.get_mut(id).ok_or_else(no_resource)?;
            f(Arc::make_mut(held))
        };
        self.rest.change(ctx.region.as_str(), api, no_resource, edit).await.map(|(_, answer)| answer)
    }

    /// Changes a method.
    async fn change_method<T>(
        &self,
        ctx: &Ctx,
        (api, resource, method): (&str, &str, &str),
        f: impl FnOnce(&mut Method) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.change_resource(ctx, api, resource, |r| f(r.methods.get_mut(method).ok_or_else(no_method)?)).await
    }
}
