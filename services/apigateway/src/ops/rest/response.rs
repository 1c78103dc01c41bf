//! Declared responses of methods, and mapped responses of integrations.

use super::{method::models, no_integration, no_method, no_status};
use crate::api::apigateway::*;
use crate::error::Error;
use crate::model::rest::{
    IntegrationKind, IntegrationResponse as HeldMapped, Method as HeldMethod, MethodResponse as Held,
};
use crate::ops::patch::{self, Op, Patch};
use crate::room::ApiGateway;
use crate::rules;
use crate::view::rest as view;
use squall_service::Ctx;
use std::collections::BTreeMap;

const HEADER: &str = "method.response.header.";

/// Declares a response.
pub async fn put_method_response(
    room: &ApiGateway,
    ctx: &Ctx,
    input: PutMethodResponseInput,
) -> Result<PutMethodResponseOutput, Error> {
    let at = (input.rest_api_id.as_str(), input.resource_id.as_str(), input.http_method.as_str());
    let held = Held { parameters: input.response_parameters, models: input.response_models };
    let status = input.status_code.as_str();
    held.parameters.iter().flatten().try_for_each(|(name, _)| parameter(name))?;
    models(held.models.as_ref())?;
    let made = held.clone();
    room.change_method(ctx, at, |method| {
        if method.responses.contains_key(status) {
            return Err(Error::Conflict("Response already exists for this resource".into()));
        }
        method.responses.insert(status.to_owned(), held);
        Ok(())
    })
    .await?;
    Ok(view::method_response(status, &made))
}

/// A header that a method declares: `method.response.header.NAME`.
fn parameter(name: &str) -> Result<(), Error> {
    match name.strip_prefix(HEADER) {
        Some(header) if is_header(header) => Ok(()),
        _ => Err(Error::bad(format!("Invalid mapping expression parameter specified: {name}"))),
    }
}

fn is_header(name: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(token)
}

/// Shows a declared response.
pub async fn get_method_response(
    room: &ApiGateway,
    ctx: &Ctx,
    input: GetMethodResponseInput,
) -> Result<GetMethodResponseOutput, Error> {
    let resource = room.resource(ctx, &input.rest_api_id, &input.resource_id)?;
    let method = resource.methods.get(&input.http_method).ok_or_else(no_method)?;
    let held = method.responses.get(&input.status_code).ok_or_else(no_status)?;
    Ok(view::method_response(&input.status_code, held))
}

/// Changes a declared response.
pub async fn update_method_response(
    room: &ApiGateway,
    ctx: &Ctx,
    input: UpdateMethodResponseInput,
) -> Result<UpdateMethodResponseOutput, Error> {
    let at = (input.rest_api_id.as_str(), input.resource_id.as_str(), input.http_method.as_str());
    let status = input.status_code.as_str();
    let held = room
        .change_method(ctx, at, |method| {
            let held = method.responses.get_mut(status).ok_or_else(no_status)?;
            patch::read(input.patch_operations)?.iter().try_for_each(|p| declare(held, p))?;
            models(held.models.as_ref())?;
            Ok(held.clone())
        })
        .await?;
    Ok(view::method_response(status, &held))
}

fn declare(held: &mut Held, patch: &Patch) -> Result<(), Error> {
    match patch.keys().as_slice() {
        ["responseParameters", name] => {
            let missing = || Error::missing("Invalid parameter name specified");
            if patch.op == Op::Add {
                parameter(name)?;
            }
            patch.put(&mut held.parameters, name, patch.is_true(), missing)
        }
        ["responseModels", content_type] => {
            patch.put(&mut held.models, content_type, patch.value.clone(), no_content_type)
        }
        _ => Err(patch.bad_path()),
    }
}

/// `Content-Type specified was not found`.
fn no_content_type() -> Error {
    Error::missing("Content-Type specified was not found")
}

/// Removes a declared response.
pub async fn delete_method_response(
    room: &ApiGateway,
    ctx: &Ctx,
    input: DeleteMethodResponseInput,
) -> Result<DeleteMethodResponseOutput, Error> {
    let at = (input.rest_api_id.as_str(), input.resource_id.as_str(), input.http_method.as_str());
    let status = &input.status_code;
    room.change_method(ctx, at, |m| m.responses.remove(status).map(|_| ()).ok_or_else(no_status)).await?;
    Ok(DeleteMethodResponseOutput {})
}

/// Maps a response of the backend.
pub async fn put_integration_response(
    room: &ApiGateway,
    ctx: &Ctx,
    input: PutIntegrationResponseInput,
) -> Result<PutIntegrationResponseOutput, Error> {
    let at = (input.rest_api_id.as_str(), input.resource_id.as_str(), input.http_method.as_str());
    let status = input.status_code.as_str();
    let held = HeldMapped {
        selection_pattern: input.selection_pattern,
        parameters: input.response_parameters,
        templates: input.response_templates,
        content_handling: input.content_handling,
    };
    let made = held.clone();
    room.change_method(ctx, at, |method| {
        check(method, status, &held)?;
        let integration = method.integration.as_mut().ok_or_else(no_integration)?;
        integration.responses.insert(status.to_owned(), held);
        Ok(())
    })
    .await?;
    Ok(view::integration_response(status, &made))
}

fn check(method: &HeldMethod, status: &str, held: &HeldMapped) -> Result<(), Error> {
    let integration = method.integration.as_ref().ok_or_else(no_integration)?;
    // A status that the method does not declare may be mapped as long as no parameters are; requests that end there are
    // answered with 500.
    if let Some(given) = held.parameters.as_ref().filter(|p| !p.is_empty()) {
        let declared = method.responses.get(status).ok_or_else(no_status)?;
        parameters(declared.parameters.as_ref(), given)?;
    }
    for (content_type, template) in held.templates.iter().flatten() {
        if !content_type.contains('/') {
            return Err(Error::bad(format!(
                "Validation Result: warnings : [], errors : [Invalid content type specified: {content_type}]"
            )));
        }
        // A proxy integration never looks at its mapped responses, here as on AWS.
        if integration.kind == IntegrationKind::Mock && !rules::is_static(template) {
            return Err(Error::unserved("A response template with variables or directives"));
        }
    }
    rules::only("contentHandling", held.content_handling.as_ref(), &"CONVERT_TO_TEXT".to_owned())?;
    match held.selection_pattern.as_deref() {
        Some(text) if !text.is_empty() && rules::selection(text).is_none() => {
            Err(Error::bad(format!("Invalid selection pattern specified: {text}")))
        }
        _ => Ok(()),
    }
}

fn parameters(declared: Option<&BTreeMap<String, bool>>, given: &BTreeMap<String, String>) -> Result<(), Error> {
    for (name, value) in given {
        if !declared.is_some_and(|d| d.contains_key(name)) {
            return Err(Error::bad(format!("Invalid mapping expression parameter specified: {name}")));
        }
        parameter(name)?;
        if rules::quoted(value).is_none() {
            return Err(Error::unserved(&format!(
                "The response parameter {value}, other than static text in single quotes,"
            )));
        }
    }
    Ok(())
}

/// Shows a mapped response.
pub async fn get_integration_response(
    room: &ApiGateway,
    ctx: &Ctx,
    input: GetIntegrationResponseInput,
) -> Result<GetIntegrationResponseOutput, Error> {
    let resource = room.resource(ctx, &input.rest_api_id, &input.resource_id)?;
    let method = resource.methods.get(&input.http_method).ok_or_else(no_method)?;
    let integration = method.integration.as_ref().ok_or_else(no_integration)?;
    let held = integration.responses.get(&input.status_code).ok_or_else(no_status)?;
    Ok(view::integration_response(&input.status_code, held))
}

/// Changes a mapped response.
pub async fn update_integration_response(
    room: &ApiGateway,
    ctx: &Ctx,
    input: UpdateIntegrationResponseInput,
) -> Result<UpdateIntegrationResponseOutput, Error> {
    let at = (input.rest_api_id.as_str(), input.resource_id.as_str(), input.http_method.as_str());
    let status = input.status_code.as_str();
    let held = room
        .change_method(ctx, at, |method| {
            let held = method.integration.as_ref().ok_or_else(no_integration)?.responses.get(status);
            let mut held = held.cloned().ok_or_else(no_status)?;
            patch::read(input.patch_operations)?.iter().try_for_each(|p| remap(&mut held, p))?;
            check(method, status, &held)?;
            let integration = method.integration.as_mut().ok_or_else(no_integration)?;
            integration.responses.insert(status.to_owned(), held.clone());
            Ok(held)
        })
        .await?;
    Ok(view::integration_response(status, &held))
}

fn remap(held: &mut HeldMapped, patch: &Patch) -> Result<(), Error> {
    match patch.keys().as_slice() {
        ["responseParameters", name] => {
            let missing = || Error::missing("Invalid parameter name specified");
            patch.put(&mut held.parameters, name, patch.value.clone(), missing)
        }
        ["responseTemplates", content_type] => {
            patch.put(&mut held.templates, content_type, patch.value.clone(), no_content_type)
        }
        ["selectionPattern"] => {
            patch.replaces()?;
            held.selection_pattern = Some(patch.value.clone());
            Ok(())
        }
        ["contentHandling"] => {
            patch.replaces()?;
            held.content_handling = patch.text();
            Ok(())
        }
        _ => Err(patch.bad_path()),
    }
}

/// Removes a mapped response.
pub async fn delete_integration_response(
    room: &ApiGateway,
    ctx: &Ctx,
    input: DeleteIntegrationResponseInput,
) -> Result<DeleteIntegrationResponseOutput, Error> {
    room.change_resource(ctx, &input.rest_api_id, &input.resource_id, |resource| {
        let method = resource.methods.get_mut(&input.http_method);
        let integration = method.and_then(|m| m.integration.as_mut()).ok_or_else(no_integration)?;
        integration.responses.remove(&input.status_code).map(|_| ()).ok_or_else(no_status)
    })
    .await?;
    Ok(DeleteIntegrationResponseOutput {})
}
