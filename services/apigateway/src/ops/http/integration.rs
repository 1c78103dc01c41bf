//! Integrations of HTTP APIs: functions.

use crate::api::apigatewayv2::*;
use crate::error::Error;
use crate::model::http::{HttpApi as Def, Integration as Held, Payload};
use crate::room::ApiGateway;
use crate::rules;
use crate::view::http as view;
use squall_service::Ctx;
use std::sync::Arc;

/// Longest time that an answer may take.
const TIMEOUT_MS_MAX: i32 = 30_000;
/// Most integrations of an API.
const INTEGRATIONS_MAX: usize = 2_000;

/// `Invalid Integration identifier specified`.
pub fn no_integration() -> Error {
    Error::missing("Invalid Integration identifier specified")
}

/// An integration with a function.
///
/// # Errors
/// `BadRequestException` when the URI names none.
pub fn make(id: String, uri: String, payload: Payload, managed: bool) -> Result<Held, Error> {
    check_uri(&uri)?;
    let method = Some("POST".to_owned());
    Ok(Held { id, description: None, method, uri, payload, timeout_ms: TIMEOUT_MS_MAX, managed })
}

fn check_uri(uri: &str) -> Result<(), Error> {
    if uri.starts_with("http://") || uri.starts_with("https://") {
        return Err(Error::unserved("The integration type HTTP_PROXY"));
    }
    rules::function_of_uri(uri)
        .map(|_| ())
        .ok_or_else(|| Error::bad(format!("Invalid integration URI specified: {uri}")))
}

fn payload(text: &str) -> Result<Payload, Error> {
    match text {
        "1.0" => Ok(Payload::V1),
        "2.0" => Ok(Payload::V2),
        _ => Err(Error::bad("PayloadFormatVersion must be 1.0 or 2.0")),
    }
}

/// What both operations refuse: the settings of WebSocket APIs, private links, service integrations and mappings.
macro_rules! refuse {
    ($input:ident) => {{
        rules::only("connectionType", $input.connection_type.as_deref(), "INTERNET")?;
        rules::none("connectionId", $input.connection_id.as_ref())?;
        rules::none("contentHandlingStrategy", $input.content_handling_strategy.as_ref())?;
        rules::none("credentialsArn", $input.credentials_arn.as_ref())?;
        rules::only("integrationMethod", $input.integration_method.as_deref(), "POST")?;
        rules::none("integrationSubtype", $input.integration_subtype.as_ref())?;
        rules::none("passthroughBehavior", $input.passthrough_behavior.as_ref())?;
        rules::none(
            "requestParameters of an integration",
            $input.request_parameters.as_ref().filter(|p| !p.is_empty()),
        )?;
        rules::none("requestTemplates", $input.request_templates.as_ref().filter(|p| !p.is_empty()))?;
        rules::none(
            "responseParameters of an integration",
            $input.response_parameters.as_ref().filter(|p| !p.is_empty()),
        )?;
        rules::none("templateSelectionExpression", $input.template_selection_expression.as_ref())?;
        rules::none("tlsConfig", $input.tls_config.as_ref())?;
    }};
}

/// Creates an integration.
pub async fn create_integration(
    room: &ApiGateway,
    ctx: &Ctx,
    input: CreateIntegrationInput,
) -> Result<CreateIntegrationOutput, Error> {
    rules::only("integrationType", Some(input.integration_type.as_str()), "AWS_PROXY")?;
    refuse!(input);
    let Some(version) = input.payload_format_version.as_deref() else {
        return Err(Error::bad(
            "PayloadFormatVersion is a required parameter for integration with the protocol type HTTP",
        ));
    };
    let uri =
        input.integration_uri.ok_or_else(|| Error::bad("IntegrationUri is a required parameter for AWS_PROXY"))?;
    let mut held = make(String::new(), uri, payload(version)?, false)?;
    held.description = input.description.filter(|d| !d.is_empty());
    held.timeout_ms = rules::timeout_ms(input.timeout_in_millis, TIMEOUT_MS_MAX)?;
    let edit = |def: &mut Def| {
        if def.integrations.len() >= INTEGRATIONS_MAX {
            return Err(Error::Limit("Maximum number of Integrations for this API has been reached.".into()));
        }
        held.id = room.new_id(7, |id| def.integrations.contains_key(id));
        def.integrations.insert(held.id.clone(), Arc::new(held.clone()));
        Ok(held)
    };
    let (_, held) = room.change_http(ctx, &input.api_id, edit).await?;
    Ok(view::created_integration(view::integration(&held)))
}

/// Shows an integration.
pub async fn get_integration(
    room: &ApiGateway,
    ctx: &Ctx,
    input: GetIntegrationInput,
) -> Result<GetIntegrationOutput, Error> {
    let def = room.http_api(ctx, &input.api_id)?;
    let held = def.integrations.get(&input.integration_id).ok_or_else(no_integration)?;
    Ok(view::got_integration(view::integration(held)))
}

/// Lists integrations.
pub async fn get_integrations(
    room: &ApiGateway,
    ctx: &Ctx,
    input: GetIntegrationsInput,
) -> Result<GetIntegrationsOutput, Error> {
    let def = room.http_api(ctx, &input.api_id)?;
    let all = def.integrations.values().map(|i| (i.id.clone(), view::integration(i)));
    let (items, next_token) = rules::page(all, input.next_token.as_deref(), super::limit(input.max_results.as_ref())?)?;
    Ok(GetIntegrationsOutput { items: Some(items), next_token })
}

/// Changes an integration.
pub async fn update_integration(
    room: &ApiGateway,
    ctx: &Ctx,
    input: UpdateIntegrationInput,
) -> Result<UpdateIntegrationOutput, Error> {
    rules::only("integrationType", input.integration_type.as_deref(), "AWS_PROXY")?;
    refuse!(input);
    let (_, held) = room
        .change_http(ctx, &input.api_id, |def| {
            let held = Arc::make_mut(def.integrations.get_mut(&input.integration_id).ok_or_else(no_integration)?);
            if let Some(text) = input.description {
                held.description = Some(text).filter(|t| !t.is_empty());
            }
            if let Some(uri) = input.integration_uri {
                check_uri(&uri)?;
                held.uri = uri;
            }
            if let Some(version) = input.payload_format_version {
                held.payload = payload(&version)?;
            }
            held.timeout_ms = rules::timeout_ms(input.timeout_in_millis.or(Some(held.timeout_ms)), TIMEOUT_MS_MAX)?;
            Ok(held.clone())
        })
        .await?;
    Ok(view::updated_integration(view::integration(&held)))
}

/// Removes an integration that no route names.
pub async fn delete_integration(
    room: &ApiGateway,
    ctx: &Ctx,
    input: DeleteIntegrationInput,
) -> Result<DeleteIntegrationOutput, Error> {
    let id = &input.integration_id;
    room.change_http(ctx, &input.api_id, |def| {
        let users: Vec<&str> =
            def.routes.values().filter(|r| r.integration.as_ref() == Some(id)).map(|r| r.id.as_str()).collect();
        if !users.is_empty() {
            return Err(Error::Conflict(format!(
                "Cannot delete Integration because it is referenced by the following Routes with Ids: [{}]",
                users.join(", ")
            )));
        }
        def.integrations.remove(id).map(|_| ()).ok_or_else(no_integration)
    })
    .await?;
    Ok(DeleteIntegrationOutput {})
}
