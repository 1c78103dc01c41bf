//! Routes of HTTP APIs.

use crate::api::apigatewayv2::*;
use crate::error::Error;
use crate::model::Auth;
use crate::model::http::{HttpApi as Def, Route as Held};
use crate::room::ApiGateway;
use crate::rules;
use crate::view::http as view;
use squall_service::Ctx;
use std::sync::Arc;

/// Most routes of an API.
const ROUTES_MAX: usize = 2_000;

fn no_route() -> Error {
    Error::missing("Invalid Route identifier specified")
}

/// A route to nothing yet.
///
/// # Errors
/// `BadRequestException` for a key that is none.
pub fn make(id: String, key: String) -> Result<Held, Error> {
    rules::route_key(&key)?;
    Ok(Held { id, key, auth: Auth::None, integration: None, operation_name: None, managed: false })
}

/// What both operations refuse: the settings of WebSocket APIs, authorizers and API keys.
macro_rules! refuse {
    ($input:ident) => {{
        rules::only("apiKeyRequired", $input.api_key_required.as_ref(), &false)?;
        rules::none("authorizationScopes", $input.authorization_scopes.as_ref().filter(|s| !s.is_empty()))?;
        rules::none("authorizerId", $input.authorizer_id.as_ref().filter(|a| !a.is_empty()))?;
        rules::none("modelSelectionExpression", $input.model_selection_expression.as_ref())?;
        rules::none("requestModels", $input.request_models.as_ref().filter(|p| !p.is_empty()))?;
        rules::none("requestParameters of a route", $input.request_parameters.as_ref().filter(|p| !p.is_empty()))?;
        rules::none("routeResponseSelectionExpression", $input.route_response_selection_expression.as_ref())?;
    }};
}

/// Writes the settings that were given.
fn set(
    def: &Def,
    held: &mut Held,
    auth: Option<&String>,
    operation_name: Option<String>,
    target: Option<String>,
) -> Result<(), Error> {
    if let Some(text) = auth {
        held.auth = rules::auth(text)?;
    }
    if let Some(text) = operation_name {
        held.operation_name = Some(text).filter(|t| !t.is_empty());
    }
    if let Some(target) = target {
        let id = target.strip_prefix("integrations/").unwrap_or_default();
        if !def.integrations.contains_key(id) {
            return Err(Error::missing(format!("Unable to find Integration by target {target}")));
        }
        held.integration = Some(id.to_owned());
    }
    let taken = |r: &&Arc<Held>| r.id != held.id && r.key == held.key;
    match def.routes.values().find(taken) {
        Some(_) => Err(Error::Conflict(format!("Route with key {} already exists for this API", held.key))),
        None => Ok(()),
    }
}

/// Creates a route.
pub async fn create_route(room: &ApiGateway, ctx: &Ctx, input: CreateRouteInput) -> Result<CreateRouteOutput, Error> {
    refuse!(input);
    let mut held = make(String::new(), input.route_key)?;
    let (_, held) = room
        .change_http(ctx, &input.api_id, |def| {
            set(def, &mut held, input.authorization_type.as_ref(), input.operation_name, input.target)?;
            if def.routes.len() >= ROUTES_MAX {
                return Err(Error::Limit("Maximum number of Routes for this API has been reached.".into()));
            }
            held.id = room.new_id(7, |id| def.routes.contains_key(id));
            def.routes.insert(held.id.clone(), Arc::new(held.clone()));
            Ok(held)
        })
        .await?;
    Ok(view::created_route(view::route(&held)))
}

/// Shows a route.
pub async fn get_route(room: &ApiGateway, ctx: &Ctx, input: GetRouteInput) -> Result<GetRouteOutput, Error> {
    let def = room.http_api(ctx, &input.api_id)?;
    let held = def.routes.get(&input.route_id).ok_or_else(no_route)?;
    Ok(view::got_route(view::route(held)))
}

/// Lists routes.
pub async fn get_routes(room: &ApiGateway, ctx: &Ctx, input: GetRoutesInput) -> Result<GetRoutesOutput, Error> {
    let def = room.http_api(ctx, &input.api_id)?;
    let all = def.routes.values().map(|r| (r.id.clone(), view::route(r)));
    let (items, next_token) = rules::page(all, input.next_token.as_deref(), super::limit(input.max_results.as_ref())?)?;
    Ok(GetRoutesOutput { items: Some(items), next_token })
}

/// Changes a route.
pub async fn update_route(room: &ApiGateway, ctx: &Ctx, input: UpdateRouteInput) -> Result<UpdateRouteOutput, Error> {
    refuse!(input);
    let (_, held) = room
        .change_http(ctx, &input.api_id, |def| {
            let mut held = Held::clone(def.routes.get(&input.route_id).ok_or_else(no_route)?);
            if let Some(key) = input.route_key {
                rules::route_key(&key)?;
                held.key = key;
            }
            set(def, &mut held, input.authorization_type.as_ref(), input.operation_name, input.target)?;
            def.routes.insert(held.id.clone(), Arc::new(held.clone()));
            Ok(held)
        })
        .await?;
    Ok(view::updated_route(view::route(&held)))
}

/// Removes a route.
pub async fn delete_route(room: &ApiGateway, ctx: &Ctx, input: DeleteRouteInput) -> Result<DeleteRouteOutput, Error> {
    room.change_http(ctx, &input.api_id, |def| def.routes.remove(&input.route_id).map(|_| ()).ok_or_else(no_route))
        .await?;
    Ok(DeleteRouteOutput {})
}
