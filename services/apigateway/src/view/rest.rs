//! REST APIs as the API shows them.

use crate::api::apigateway as api;
use crate::model::rest::{
    Deployment, Integration, IntegrationKind, IntegrationResponse, Method, MethodResponse, Resource, RestApi, Stage,
};
use std::collections::BTreeMap;

/// Whether empty tags are shown: AWS leaves them out of the answers to creations and of lists.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tags {
    /// `{}` is shown.
    Always,
    /// Left out when there are none.
    WhenAny,
}

/// An API.
#[must_use]
pub fn rest_api(def: &RestApi, tags: Tags) -> api::RestApi {
    let head = &def.head;
    api::RestApi {
        id: Some(head.id.clone()),
        name: Some(head.name.clone()),
        description: head.description.clone(),
        created_date: Some(super::seconds(head.created_ms)),
        version: head.version.clone(),
        binary_media_types: Some(head.binary_media_types.clone()).filter(|b| !b.is_empty()),
        api_key_source: Some("HEADER".into()),
        endpoint_configuration: Some(api::EndpointConfiguration {
            types: Some(vec![head.endpoint_type.clone()]),
            ip_address_type: Some(head.ip_address_type.clone()),
            ..Default::default()
        }),
        tags: Some(head.tags.clone()).filter(|t| tags == Tags::Always || !t.is_empty()),
        disable_execute_api_endpoint: Some(head.disable_endpoint),
        root_resource_id: Some(head.root_id.clone()),
        ..Default::default()
    }
}

/// A resource; its methods in full when `embed` asks for them.
#[must_use]
pub fn resource(resource: &Resource, embed: bool) -> api::Resource {
    let method = |(name, m): (&String, &Method)| {
        (name.clone(), if embed { self::method(name, m) } else { api::Method::default() })
    };
    api::Resource {
        id: Some(resource.id.clone()),
        parent_id: resource.parent.clone(),
        path_part: resource.part.clone(),
        path: Some(resource.path.clone()),
        resource_methods: Some(resource.methods.iter().map(method).collect())
            .filter(|m: &BTreeMap<_, _>| !m.is_empty()),
    }
}

/// A method.
#[must_use]
pub fn method(name: &str, method: &Method) -> api::Method {
    let responses = method.responses.iter().map(|(status, r)| (status.clone(), method_response(status, r)));
    api::Method {
        http_method: Some(name.to_owned()),
        authorization_type: Some(method.auth.as_str().into()),
        api_key_required: Some(false),
        operation_name: method.operation_name.clone(),
        request_parameters: method.request_parameters.clone(),
        request_models: method.request_models.clone(),
        method_responses: Some(responses.collect()).filter(|r: &BTreeMap<_, _>| !r.is_empty()),
        method_integration: method.integration.as_ref().map(integration),
        ..Default::default()
    }
}

/// A declared response.
#[must_use]
pub fn method_response(status: &str, response: &MethodResponse) -> api::MethodResponse {
    api::MethodResponse {
        status_code: Some(status.to_owned()),
        response_parameters: response.parameters.clone(),
        response_models: response.models.clone(),
    }
}

/// An integration.
#[must_use]
pub fn integration(integration: &Integration) -> api::Integration {
    let responses = integration.responses.iter().map(|(status, r)| (status.clone(), integration_response(status, r)));
    api::Integration {
        r#type: Some(
            match integration.kind {
                IntegrationKind::AwsProxy => "AWS_PROXY",
                IntegrationKind::Mock => "MOCK",
            }
            .into(),
        ),
        http_method: integration.http_method.clone(),
        uri: integration.uri.clone(),
        connection_type: integration.connection_type.clone(),
        credentials: integration.credentials.clone(),
        request_templates: integration.templates.clone(),
        passthrough_behavior: Some(integration.passthrough.clone()),
        content_handling: integration.content_handling.clone(),
        timeout_in_millis: Some(integration.timeout_ms),
        cache_namespace: Some(integration.cache_namespace.clone()),
        cache_key_parameters: Some(Vec::new()),
        integration_responses: Some(responses.collect()).filter(|r: &BTreeMap<_, _>| !r.is_empty()),
        ..Default::default()
    }
}

/// A mapped response.
#[must_use]
pub fn integration_response(status: &str, response: &IntegrationResponse) -> api::IntegrationResponse {
    api::IntegrationResponse {
        status_code: Some(status.to_owned()),
        selection_pattern: response.selection_pattern.clone(),
        response_parameters: response.parameters.clone(),
        response_templates: response.templates.clone(),
        content_handling: response.content_handling.clone(),
    }
}

/// A deployment; with a summary of its methods when `embed` asks for it.
#[must_use]
pub fn deployment(deployment: &Deployment, embed: bool) -> api::Deployment {
    let snapshot = |m: &Method| api::MethodSnapshot {
        authorization_type: Some(m.auth.as_str().into()),
        api_key_required: Some(false),
    };
    let summary = deployment
        .resources
        .iter()
        .filter(|r| !r.methods.is_empty())
        .map(|r| (r.path.clone(), r.methods.iter().map(|(name, m)| (name.clone(), snapshot(m))).collect()));
    api::Deployment {
        id: Some(deployment.id.clone()),
        description: deployment.description.clone(),
        created_date: Some(super::seconds(deployment.created_ms)),
        api_summary: embed.then(|| summary.collect()),
    }
}

/// A stage.
#[must_use]
pub fn stage(name: &str, stage: &Stage) -> api::Stage {
    api::Stage {
        deployment_id: Some(stage.deployment.clone()),
        stage_name: Some(name.to_owned()),
        description: stage.description.clone(),
        cache_cluster_enabled: Some(false),
        cache_cluster_status: Some("NOT_AVAILABLE".into()),
        method_settings: Some(BTreeMap::new()),
        variables: stage.variables.clone(),
        tracing_enabled: Some(false),
        tags: Some(stage.tags.clone()).filter(|t| !t.is_empty()),
        created_date: Some(super::seconds(stage.created_ms)),
        last_updated_date: Some(super::seconds(stage.updated_ms)),
        ..Default::default()
    }
}
