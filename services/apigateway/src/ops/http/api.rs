//! HTTP APIs themselves, and their CORS.

use super::{integration, route};
use crate::api::apigatewayv2::*;
use crate::error::Error;
use crate::model::http::{Cors as HeldCors, DEFAULT, Head, HttpApi as Def, Payload, Stage};
use crate::room::ApiGateway;
use crate::rules;
use crate::view::http as view;
use squall_service::Ctx;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most HTTP APIs of a region.
const APIS_MAX: usize = 10_000;
const ROUTE_SELECTION: &str = "$request.method $request.path";
const KEY_SELECTION: &str = "$request.header.x-api-key";

fn shown(room: &ApiGateway, def: &Def) -> ApiShape {
    view::api(def, room.endpoint(&def.head.region, &def.head.id))
}

/// Creates an API; with `target` also an integration, a route and the stage `$default` (quick create).
pub async fn create_api(room: &ApiGateway, ctx: &Ctx, input: CreateApiInput) -> Result<CreateApiOutput, Error> {
    if input.protocol_type != "HTTP" {
        return Err(Error::unserved(&format!("The protocol type {}", input.protocol_type)));
    }
    rules::only("routeSelectionExpression", input.route_selection_expression.as_deref(), ROUTE_SELECTION)?;
    rules::only("apiKeySelectionExpression", input.api_key_selection_expression.as_deref(), KEY_SELECTION)?;
    rules::only("disableSchemaValidation", input.disable_schema_validation.as_ref(), &false)?;
    rules::none("credentialsArn", input.credentials_arn)?;
    name(&input.name)?;
    let cors = input.cors_configuration.map(cors).transpose()?;
    let tags = input.tags.unwrap_or_default();
    rules::tags(&tags)?;
    if room.http.list(ctx.region.as_str(), "").len() >= APIS_MAX {
        return Err(Error::Limit("Maximum number of HTTP APIs for this account has been reached.".into()));
    }
    let head = Head {
        id: room.new_api_id(),
        region: ctx.region.to_string(),
        name: input.name,
        description: input.description.filter(|d| !d.is_empty()),
        version: input.version.filter(|v| !v.is_empty()),
        created_ms: room.now_ms(),
        cors,
        disable_endpoint: input.disable_execute_api_endpoint.unwrap_or(false),
        ip_address_type: input.ip_address_type.unwrap_or_else(|| "ipv4".into()),
        tags,
        stages: BTreeMap::new(),
    };
    let mut def = Def { head, routes: BTreeMap::new(), integrations: BTreeMap::new(), deployments: BTreeMap::new() };
    match (input.target, input.route_key) {
        (Some(target), key) => quick(room, &mut def, target, key)?,
        (None, Some(_)) => return Err(Error::bad("A route key can only be specified together with a target")),
        (None, None) => {}
    }
    let def = room.http.create(def).await?;
    Ok(view::created_api(shown(room, &def)))
}

fn quick(room: &ApiGateway, def: &mut Def, target: String, key: Option<String>) -> Result<(), Error> {
    let integration = integration::make(room.new_id(7, |_| false), target, Payload::V2, true)?;
    let mut route = route::make(room.new_id(7, |_| false), key.unwrap_or_else(|| DEFAULT.into()))?;
    (route.managed, route.integration) = (true, Some(integration.id.clone()));
    def.routes.insert(route.id.clone(), Arc::new(route));
    def.integrations.insert(integration.id.clone(), Arc::new(integration));
    let now = def.head.created_ms;
    let stage = Stage {
        deployment: None,
        auto_deploy: true,
        description: None,
        variables: BTreeMap::new(),
        tags: BTreeMap::new(),
        created_ms: now,
        updated_ms: now,
        managed: true,
    };
    def.head.stages.insert(DEFAULT.into(), stage);
    room.auto_deploy(def, |_| true);
    Ok(())
}

fn name(name: &str) -> Result<(), Error> {
    match name.chars().count() {
        1..=128 => Ok(()),
        _ => Err(Error::bad("Name must have 1 to 128 characters")),
    }
}

fn cors(given: Cors) -> Result<HeldCors, Error> {
    let held = HeldCors {
        credentials: given.allow_credentials,
        headers: given.allow_headers,
        methods: given.allow_methods,
        origins: given.allow_origins,
        expose: given.expose_headers,
        max_age_s: given.max_age,
    };
    for origin in held.origins.iter().flatten() {
        let host = origin.split_once("://").map(|(_, host)| host);
        if origin != "*" && host.is_none_or(|h| h.is_empty() || h.contains('/')) {
            return Err(Error::bad(format!("Invalid value for allowOrigins: {origin}")));
        }
    }
    let is_token = |text: &String| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b',');
    let words = [&held.headers, &held.methods, &held.expose];
    if let Some(bad) = words.into_iter().flatten().flatten().find(|w| !is_token(w)) {
        return Err(Error::bad(format!("Invalid value in the CORS configuration: {bad}")));
    }
    let any = |list: &Option<Vec<String>>| list.iter().flatten().any(|w| w == "*");
    if held.credentials == Some(true) && any(&held.origins) {
        return Err(Error::bad("allowOrigins must not contain * when allowCredentials is true"));
    }
    if held.max_age_s.is_some_and(|s| !(-1..=86_400).contains(&s)) {
        return Err(Error::bad("maxAge must be between -1 and 86400"));
    }
    Ok(held)
}

/// Shows an API.
pub async fn get_api(room: &ApiGateway, ctx: &Ctx, input: GetApiInput) -> Result<GetApiOutput, Error> {
    Ok(view::got_api(shown(room, &*room.http_api(ctx, &input.api_id)?)))
}

/// Lists APIs.
pub async fn get_apis(room: &ApiGateway, ctx: &Ctx, input: GetApisInput) -> Result<GetApisOutput, Error> {
    let all = room.http.list(ctx.region.as_str(), input.next_token.as_deref().unwrap_or_default());
    let all = all.iter().map(|d| (d.head.id.clone(), shown(room, d)));
    let (items, next_token) = rules::page(all, None, super::limit(input.max_results.as_ref())?)?;
    Ok(GetApisOutput { items: Some(items), next_token })
}

/// Removes an API with everything in it.
pub async fn delete_api(room: &ApiGateway, ctx: &Ctx, input: DeleteApiInput) -> Result<DeleteApiOutput, Error> {
    let missing = || Error::no_api(ctx.account.as_str(), &input.api_id);
    room.http.remove(ctx.region.as_str(), &input.api_id, missing).await?;
    Ok(DeleteApiOutput {})
}

/// Changes an API's settings.
pub async fn update_api(room: &ApiGateway, ctx: &Ctx, input: UpdateApiInput) -> Result<UpdateApiOutput, Error> {
    rules::only("routeSelectionExpression", input.route_selection_expression.as_deref(), ROUTE_SELECTION)?;
    rules::only("apiKeySelectionExpression", input.api_key_selection_expression.as_deref(), KEY_SELECTION)?;
    rules::only("disableSchemaValidation", input.disable_schema_validation.as_ref(), &false)?;
    rules::none("credentialsArn", input.credentials_arn)?;
    rules::none("Changing the target of quick create; UpdateIntegration works: target", input.target)?;
    rules::none("Changing the route key of quick create; UpdateRoute works: routeKey", input.route_key)?;
    input.name.as_deref().map_or(Ok(()), name)?;
    let cors = input.cors_configuration.map(cors).transpose()?;
    let (def, ()) = room
        .change_http(ctx, &input.api_id, |def| {
            let head = &mut def.head;
            head.name = input.name.unwrap_or_else(|| std::mem::take(&mut head.name));
            head.cors = cors.or(head.cors.take());
            head.disable_endpoint = input.disable_execute_api_endpoint.unwrap_or(head.disable_endpoint);
            if let Some(text) = input.description {
                head.description = Some(text).filter(|t| !t.is_empty());
            }
            if let Some(text) = input.version {
                head.version = Some(text).filter(|t| !t.is_empty());
            }
            if let Some(kind) = input.ip_address_type {
                head.ip_address_type = kind;
            }
            Ok(())
        })
        .await?;
    Ok(view::updated_api(shown(room, &def)))
}

/// Removes an API's CORS configuration.
pub async fn delete_cors_configuration(
    room: &ApiGateway,
    ctx: &Ctx,
    input: DeleteCorsConfigurationInput,
) -> Result<DeleteCorsConfigurationOutput, Error> {
    room.change_http(ctx, &input.api_id, |def| {
        def.head.cors = None;
        Ok(())
    })
    .await?;
    Ok(DeleteCorsConfigurationOutput {})
}
