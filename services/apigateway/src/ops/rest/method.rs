//! Methods of resources.

use super::no_method;
use crate::api::apigateway::*;
use crate::error::Error;
use crate::model::rest::Method as Held;
use crate::ops::patch::{self, Op, Patch};
use crate::room::ApiGateway;
use crate::rules;
use crate::view::rest as view;
use squall_service::Ctx;
use std::collections::BTreeMap;

/// Creates a method.
pub async fn put_method(room: &ApiGateway, ctx: &Ctx, input: PutMethodInput) -> Result<PutMethodOutput, Error> {
    let held = Held {
        auth: rules::auth(&input.authorization_type)?,
        operation_name: input.operation_name,
        request_parameters: input.request_parameters,
        request_models: input.request_models,
        ..Held::default()
    };
    rules::none("authorizerId", input.authorizer_id.filter(|a| !a.is_empty()))?;
    rules::none("authorizationScopes", input.authorization_scopes.filter(|s| !s.is_empty()))?;
    rules::none("requestValidatorId", input.request_validator_id.filter(|v| !v.is_empty()))?;
    api_key(input.api_key_required.unwrap_or(false))?;
    parameters(held.request_parameters.as_ref())?;
    models(held.request_models.as_ref())?;
    let name = input.http_method;
    let made = held.clone();
    room.change_resource(ctx, &input.rest_api_id, &input.resource_id, |resource| {
        rules::rest_method(&name)?;
        if resource.methods.contains_key(&name) {
            return Err(Error::Conflict("Method already exists for this resource".into()));
        }
        resource.methods.insert(name.clone(), held);
        Ok(())
    })
    .await?;
    Ok(view::method(&name, &made))
}

fn api_key(required: bool) -> Result<(), Error> {
    if required { Err(Error::unserved("apiKeyRequired")) } else { Ok(()) }
}

fn parameter(name: &str) -> Result<(), Error> {
    let rest = name.strip_prefix("method.request.").unwrap_or_default();
    match rest.split_once('.') {
        Some(("path" | "querystring" | "header" | "multivaluequerystring" | "multivalueheader", n))
            if !n.is_empty() =>
        {
            Ok(())
        }
        _ => Err(Error::bad(format!(
            "Invalid mapping expression specified: Validation Result: warnings : [], errors : [Invalid mapping expression \
             specified: {name}]"
        ))),
    }
}

fn parameters(given: Option<&BTreeMap<String, bool>>) -> Result<(), Error> {
    given.into_iter().flatten().try_for_each(|(name, _)| parameter(name))
}

/// The models that every API has; others cannot be made here.
pub fn models(given: Option<&BTreeMap<String, String>>) -> Result<(), Error> {
    match given.into_iter().flatten().find(|(_, model)| !matches!(model.as_str(), "Empty" | "Error")) {
        Some((_, model)) => Err(Error::bad(format!("Invalid model identifier specified: {model}"))),
        None => Ok(()),
    }
}

/// Shows a method.
pub async fn get_method(room: &ApiGateway, ctx: &Ctx, input: GetMethodInput) -> Result<GetMethodOutput, Error> {
    let resource = room.resource(ctx, &input.rest_api_id, &input.resource_id)?;
    let method = resource.methods.get(&input.http_method).ok_or_else(no_method)?;
    Ok(view::method(&input.http_method, method))
}

/// Removes a method.
pub async fn delete_method(
    room: &ApiGateway,
    ctx: &Ctx,
    input: DeleteMethodInput,
) -> Result<DeleteMethodOutput, Error> {
    room.change_resource(ctx, &input.rest_api_id, &input.resource_id, |resource| {
        resource.methods.remove(&input.http_method).map(|_| ()).ok_or_else(no_method)
    })
    .await?;
    Ok(DeleteMethodOutput {})
}

/// Changes a method.
pub async fn update_method(
    room: &ApiGateway,
    ctx: &Ctx,
    input: UpdateMethodInput,
) -> Result<UpdateMethodOutput, Error> {
    let at = (input.rest_api_id.as_str(), input.resource_id.as_str(), input.http_method.as_str());
    let held = room
        .change_method(ctx, at, |method| {
            patch::read(input.patch_operations)?.iter().try_for_each(|p| apply(method, p))?;
            Ok(method.clone())
        })
        .await?;
    Ok(view::method(&input.http_method, &held))
}

fn apply(method: &mut Held, patch: &Patch) -> Result<(), Error> {
    match patch.keys().as_slice() {
        ["authorizationType"] => {
            patch.replaces()?;
            method.auth = rules::auth(&patch.value)?;
        }
        ["apiKeyRequired"] => {
            patch.replaces()?;
            api_key(patch.is_true())?;
        }
        ["operationName"] => {
            patch.replaces()?;
            method.operation_name = patch.text();
        }
        ["authorizerId"] if patch.text().is_none() => {}
        ["authorizerId"] => return Err(Error::unserved("authorizerId")),
        ["requestValidatorId"] if patch.text().is_none() => {}
        ["requestValidatorId"] => return Err(Error::bad("Invalid Request Validator identifier specified")),
        ["requestParameters", name] => {
            let held = method.request_parameters.get_or_insert_default();
            if patch.op == Op::Remove {
                if held.remove(*name).is_none() {
                    return Err(Error::missing("Invalid parameter name specified"));
                }
            } else {
                parameter(name)?;
                held.insert((*name).to_owned(), patch.is_true());
            }
            method.request_parameters.take_if(|p| p.is_empty());
        }
        ["requestModels", content_type] => {
            let held = method.request_models.get_or_insert_default();
            if patch.op == Op::Remove {
                if held.remove(*content_type).is_none() {
                    return Err(Error::missing("Content-Type specified was not found"));
                }
            } else {
                held.insert((*content_type).to_owned(), patch.value.clone());
            }
            models(method.request_models.as_ref())?;
            method.request_models.take_if(|p| p.is_empty());
        }
        _ => return Err(patch.bad_path()),
    }
    Ok(())
}
