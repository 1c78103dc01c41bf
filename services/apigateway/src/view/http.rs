//! HTTP APIs as the API shows them.

use crate::api::apigatewayv2 as api;
use crate::model::http::{Cors, Deployment, HttpApi, Integration, Route, Stage};
use std::collections::BTreeMap;

/// CORS settings.
#[must_use]
pub fn cors(cors: &Cors) -> api::Cors {
    api::Cors {
        allow_credentials: cors.credentials,
        allow_headers: cors.headers.clone(),
        allow_methods: cors.methods.clone(),
        allow_origins: cors.origins.clone(),
        expose_headers: cors.expose.clone(),
        max_age: cors.max_age_s,
    }
}

/// An API; `endpoint` is its address.
#[must_use]
pub fn api(def: &HttpApi, endpoint: String) -> api::ApiShape {
    let head = &def.head;
    api::ApiShape {
        api_endpoint: Some(endpoint),
        api_gateway_managed: None,
        api_id: Some(head.id.clone()),
        api_key_selection_expression: Some("$request.header.x-api-key".into()),
        cors_configuration: head.cors.as_ref().map(cors),
        created_date: Some(super::seconds(head.created_ms)),
        description: head.description.clone(),
        disable_schema_validation: None,
        disable_execute_api_endpoint: Some(head.disable_endpoint),
        import_info: None,
        ip_address_type: Some(head.ip_address_type.clone()),
        name: head.name.clone(),
        protocol_type: "HTTP".into(),
        route_selection_expression: "$request.method $request.path".into(),
        tags: Some(head.tags.clone()),
        version: head.version.clone(),
        warnings: None,
    }
}

/// The same members under the types of other outputs.
macro_rules! as_output {
    ($name:ident, $from:ty, $to:ty, [$($same:ident)*], [$($wrap:ident)*]) => {
        /// The same as the output of another operation.
        #[must_use]
        pub fn $name(v: $from) -> $to {
            let mut out = <$to>::default();
            $(out.$same = v.$same;)*
            $(out.$wrap = Some(v.$wrap);)*
            out
        }
    };
}

macro_rules! api_output {
    ($($name:ident -> $to:ty;)*) => {$(
        as_output!($name, api::ApiShape, $to,
            [api_endpoint api_gateway_managed api_id api_key_selection_expression cors_configuration created_date description
             disable_execute_api_endpoint ip_address_type tags version],
            [name protocol_type route_selection_expression]);
    )*};
}

api_output! {
    created_api -> api::CreateApiOutput;
    got_api -> api::GetApiOutput;
    updated_api -> api::UpdateApiOutput;
}

/// A route.
#[must_use]
pub fn route(route: &Route) -> api::Route {
    api::Route {
        api_gateway_managed: route.managed.then_some(true),
        api_key_required: Some(false),
        authorization_scopes: None,
        authorization_type: Some(route.auth.as_str().into()),
        authorizer_id: None,
        model_selection_expression: None,
        operation_name: route.operation_name.clone(),
        request_models: None,
        request_parameters: None,
        route_id: Some(route.id.clone()),
        route_key: route.key.clone(),
        route_response_selection_expression: None,
        target: route.integration.as_ref().map(|id| format!("integrations/{id}")),
    }
}

macro_rules! route_output {
    ($($name:ident -> $to:ty;)*) => {$(
        as_output!($name, api::Route, $to,
            [api_gateway_managed api_key_required authorization_type operation_name route_id target], [route_key]);
    )*};
}

route_output! {
    created_route -> api::CreateRouteOutput;
    got_route -> api::GetRouteOutput;
    updated_route -> api::UpdateRouteOutput;
}

/// An integration.
#[must_use]
pub fn integration(integration: &Integration) -> api::Integration {
    api::Integration {
        api_gateway_managed: integration.managed.then_some(true),
        connection_type: Some("INTERNET".into()),
        description: integration.description.clone(),
        integration_id: Some(integration.id.clone()),
        integration_method: integration.method.clone(),
        integration_type: Some("AWS_PROXY".into()),
        integration_uri: Some(integration.uri.clone()),
        payload_format_version: Some(integration.payload.as_str().into()),
        timeout_in_millis: Some(integration.timeout_ms),
        ..Default::default()
    }
}

macro_rules! integration_output {
    ($($name:ident -> $to:ty;)*) => {$(
        as_output!($name, api::Integration, $to,
            [api_gateway_managed connection_type description integration_id integration_method integration_type
             integration_uri payload_format_version timeout_in_millis], []);
    )*};
}

integration_output! {
    created_integration -> api::CreateIntegrationOutput;
    got_integration -> api::GetIntegrationOutput;
    updated_integration -> api::UpdateIntegrationOutput;
}

/// A stage.
#[must_use]
pub fn stage(name: &str, stage: &Stage) -> api::Stage {
    let status = stage.deployment.as_ref().filter(|_| stage.auto_deploy);
    api::Stage {
        access_log_settings: None,
        api_gateway_managed: stage.managed.then_some(true),
        auto_deploy: stage.auto_deploy.then_some(true),
        client_certificate_id: None,
        created_date: Some(super::seconds(stage.created_ms)),
        default_route_settings: Some(api::RouteSettings {
            detailed_metrics_enabled: Some(false),
            ..Default::default()
        }),
        deployment_id: stage.deployment.clone(),
        description: stage.description.clone(),
        last_deployment_status_message: status
            .map(|id| format!("Successfully deployed stage with deployment ID '{id}'")),
        last_updated_date: Some(super::seconds(stage.updated_ms)),
        route_settings: Some(BTreeMap::new()),
        stage_name: name.to_owned(),
        stage_variables: Some(stage.variables.clone()),
        tags: Some(stage.tags.clone()),
    }
}

macro_rules! stage_output {
    ($($name:ident -> $to:ty;)*) => {$(
        as_output!($name, api::Stage, $to,
            [api_gateway_managed auto_deploy created_date default_route_settings deployment_id description
             last_deployment_status_message last_updated_date route_settings stage_variables tags], [stage_name]);
    )*};
}

stage_output! {
    created_stage -> api::CreateStageOutput;
    got_stage -> api::GetStageOutput;
    updated_stage -> api::UpdateStageOutput;
}

/// A deployment.
#[must_use]
pub fn deployment(deployment: &Deployment) -> api::Deployment {
    api::Deployment {
        auto_deployed: Some(deployment.auto),
        created_date: Some(super::seconds(deployment.created_ms)),
        deployment_id: Some(deployment.id.clone()),
        deployment_status: Some("DEPLOYED".into()),
        deployment_status_message: None,
        description: deployment.description.clone(),
    }
}

macro_rules! deployment_output {
    ($($name:ident -> $to:ty;)*) => {$(
        as_output!($name, api::Deployment, $to,
            [auto_deployed created_date deployment_id deployment_status description], []);
    )*};
}

deployment_output! {
    created_deployment -> api::CreateDeploymentOutput;
    got_deployment -> api::GetDeploymentOutput;
}
