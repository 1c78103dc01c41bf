//! Integrations of methods.

use super::{no_integration, no_method};
use crate::api::apigateway::*;
use crate::error::Error;
use crate::model::rest::{Integration as Held, IntegrationKind};
use crate::ops::patch::{self, Op, Patch};
use crate::room::ApiGateway;
use crate::rules;
use crate::view::rest as view;
use squall_service::Ctx;
use std::collections::BTreeMap;

/// Longest time that an answer may take.
const TIMEOUT_MS_MAX: i32 = 29_000;

/// Sets a method's integration.
pub async fn put_integration(
    room: &ApiGateway,
    ctx: &Ctx,
    input: PutIntegrationInput,
) -> Result<PutIntegrationOutput, Error> {
    let at = (input.rest_api_id.clone(), input.resource_id.clone(), input.http_method.clone());
    let held = room
        .change_method(ctx, (&at.0, &at.1, &at.2), |method| {
            refuse(&input)?;
            let mut held = read(input)?;
            check(&mut held)?;
            credentials(&held, ctx.account.as_str())?;
            // As on AWS, what was mapped before stays when only the integration is put again.
            held.responses = method.integration.take().map(|i| i.responses).unwrap_or_default();
            method.integration = Some(held.clone());
            Ok(held)
        })
        .await?;
    Ok(view::integration(&held))
}

fn refuse(input: &PutIntegrationInput) -> Result<(), Error> {
    rules::only("connectionType", input.connection_type.as_ref(), &"INTERNET".to_owned())?;
    rules::none("connectionId", input.connection_id.as_ref().filter(|c| !c.is_empty()))?;
    rules::none("requestParameters of an integration", input.request_parameters.as_ref().filter(|p| !p.is_empty()))?;
    rules::none("cacheKeyParameters", input.cache_key_parameters.as_ref().filter(|p| !p.is_empty()))?;
    rules::none("tlsConfig", input.tls_config.as_ref())?;
    rules::only("responseTransferMode", input.response_transfer_mode.as_ref(), &"BUFFERED".to_owned())?;
    rules::none("integrationTarget", input.integration_target.as_ref())
}

fn read(input: PutIntegrationInput) -> Result<Held, Error> {
    let kind = match input.r#type.as_str() {
        "AWS_PROXY" => IntegrationKind::AwsProxy,
        "MOCK" => IntegrationKind::Mock,
        other => return Err(Error::unserved(&format!("The integration type {other}"))),
    };
    Ok(Held {
        kind,
        http_method: input.integration_http_method,
        uri: input.uri,
        connection_type: input.connection_type,
        credentials: input.credentials.filter(|c| !c.is_empty()),
        passthrough: input.passthrough_behavior.unwrap_or_else(|| "WHEN_NO_MATCH".into()),
        templates: input.request_templates,
        content_handling: input.content_handling,
        timeout_ms: rules::timeout_ms(input.timeout_in_millis, TIMEOUT_MS_MAX)?,
        cache_namespace: input.cache_namespace.unwrap_or(input.resource_id),
        responses: BTreeMap::new(),
    })
}

/// The role that a function is called with.
fn credentials(held: &Held, account: &str) -> Result<(), Error> {
    let Some(arn) = held.credentials.as_deref() else { return Ok(()) };
    if held.kind == IntegrationKind::Mock {
        return Err(Error::unserved("credentials of a MOCK integration"));
    }
    if arn == "arn:aws:iam::*:user/*" {
        return Err(Error::unserved("Calling a function with the caller's credentials"));
    }
    let role = arn.strip_prefix("arn:aws:iam::").and_then(|rest| rest.split_once(":role/"));
    match role {
        Some((owner, name)) if owner == account && !name.is_empty() => Ok(()),
        Some((owner, _)) if owner.len() == 12 && owner.bytes().all(|b| b.is_ascii_digit()) && owner != account => {
            Err(Error::bad("Cross-account pass role is not allowed."))
        }
        _ => Err(Error::bad("Invalid ARN specified in the request")),
    }
}

/// The rules of an integration as a whole, whether it was put or patched.
fn check(held: &mut Held) -> Result<(), Error> {
    if !matches!(held.passthrough.as_str(), "WHEN_NO_MATCH" | "WHEN_NO_TEMPLATES" | "NEVER") {
        return Err(Error::bad("Invalid passthroughBehavior specified"));
    }
    rules::timeout_ms(Some(held.timeout_ms), TIMEOUT_MS_MAX)?;
    match held.kind {
        IntegrationKind::AwsProxy => {
            if held.http_method.as_deref().unwrap_or_default().is_empty() {
                return Err(Error::bad("Enumeration value for HttpMethod must be non-empty"));
            }
            rules::rest_lambda_uri(held.uri.as_deref())?;
            rules::none("contentHandling of an AWS_PROXY integration", held.content_handling.as_ref())?;
            rules::none(
                "requestTemplates of an AWS_PROXY integration",
                held.templates.as_ref().filter(|t| !t.is_empty()),
            )
        }
        IntegrationKind::Mock => {
            // The Serverless Framework sends it for CORS; bodies are text here anyway.
            rules::only("contentHandling", held.content_handling.as_ref(), &"CONVERT_TO_TEXT".to_owned())?;
            held.uri = None;
            for template in held.templates.iter().flatten().map(|(_, t)| t) {
                if rules::mock_status(template).is_none() {
                    return Err(Error::unserved("A request template other than {\"statusCode\": NNN}"));
                }
            }
            Ok(())
        }
    }
}

/// Shows an integration.
pub async fn get_integration(
    room: &ApiGateway,
    ctx: &Ctx,
    input: GetIntegrationInput,
) -> Result<GetIntegrationOutput, Error> {
    let resource = room.resource(ctx, &input.rest_api_id, &input.resource_id)?;
    let method = resource.methods.get(&input.http_method).ok_or_else(no_method)?;
    Ok(view::integration(method.integration.as_ref().ok_or_else(no_integration)?))
}

/// Removes an integration.
pub async fn delete_integration(
    room: &ApiGateway,
    ctx: &Ctx,
    input: DeleteIntegrationInput,
) -> Result<DeleteIntegrationOutput, Error> {
    let at = (input.rest_api_id.as_str(), input.resource_id.as_str(), input.http_method.as_str());
    room.change_method(ctx, at, |m| m.integration.take().map(|_| ()).ok_or_else(no_integration)).await?;
    Ok(DeleteIntegrationOutput {})
}

/// Changes an integration.
pub async fn update_integration(
    room: &ApiGateway,
    ctx: &Ctx,
    input: UpdateIntegrationInput,
) -> Result<UpdateIntegrationOutput, Error> {
    let at = (input.rest_api_id.as_str(), input.resource_id.as_str(), input.http_method.as_str());
    let held = room
        .change_method(ctx, at, |method| {
            let held = method.integration.as_mut().ok_or_else(no_integration)?;
            patch::read(input.patch_operations)?.iter().try_for_each(|p| apply(held, p))?;
            check(held)?;
            Ok(held.clone())
        })
        .await?;
    Ok(view::integration(&held))
}

fn apply(held: &mut Held, patch: &Patch) -> Result<(), Error> {
    let keys = patch.keys();
    if let ["requestTemplates", content_type] = keys.as_slice() {
        let templates = held.templates.get_or_insert_default();
        match patch.op {
            Op::Remove => {
                templates
                    .remove(*content_type)
                    .ok_or_else(|| Error::missing("Content-Type specified was not found"))?;
            }
            Op::Add | Op::Replace => {
                templates.insert((*content_type).to_owned(), patch.value.clone());
            }
        }
        held.templates.take_if(|t| t.is_empty());
        return Ok(());
    }
    patch.replaces()?;
    match keys.as_slice() {
        ["uri"] => held.uri = patch.text(),
        ["httpMethod"] => held.http_method = patch.text(),
        ["passthroughBehavior"] => held.passthrough = patch.value.clone(),
        ["contentHandling"] => held.content_handling = patch.text(),
        ["cacheNamespace"] => held.cache_namespace = patch.value.clone(),
        ["timeoutInMillis"] => {
            let bad = |_| Error::bad(format!("Invalid timeout {}", patch.value));
            held.timeout_ms = patch.value.parse().map_err(bad)?;
        }
        ["connectionType"] => rules::only("connectionType", Some(&patch.value), &"INTERNET".to_owned())?,
        ["type" | "credentials" | "connectionId" | "tlsConfig" | "responseTransferMode" | "integrationTarget", ..]
        | ["requestParameters" | "cacheKeyParameters", ..] => {
            return Err(Error::unserved(&format!("The patch path {}", patch.path)));
        }
        _ => return Err(patch.bad_path()),
    }
    Ok(())
}
