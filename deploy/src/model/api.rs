//! Events of all functions, gathered to the two APIs.

use std::collections::BTreeMap;

use super::{HttpApi, Method, RestApi, Route};
use crate::config::{Cors, Event, Service};
use crate::error::{Error, at};

/// The REST API of the `http` events.
pub(super) fn rest(service: &Service, stage: &str) -> Result<Option<RestApi>, Error> {
    let mut methods: Vec<Method> = Vec::new();
    let mut wanted: BTreeMap<String, Cors> = BTreeMap::new();
    for function in &service.functions {
        for event in &function.events {
            let Event::Http { method, path, cors, at: pos } = event else { continue };
            if let Some(other) = methods.iter().find(|m| m.method == *method && m.path == *path) {
                let text = format!("`{method} {path}` is already a route of `{}`", other.function);
                return Err(at(pos, text));
            }
            conflict(&methods, path).map_or(Ok(()), |text| Err(at(pos, text)))?;
            if let Some(cors) = cors {
                merge(wanted.entry(path.clone()).or_default(), cors);
            }
            methods.push(Method { method: method.clone(), path: path.clone(), function: function.key.clone() });
        }
    }
    if methods.is_empty() {
        return Ok(None);
    }
    methods.sort_by(|a, b| (&a.path, &a.method).cmp(&(&b.path, &b.method)));
    let preflights = preflights(wanted, &methods);
    let options = &service.provider.rest_api;
    let default =
        if options.service_first { format!("{}-{stage}", service.name) } else { format!("{stage}-{}", service.name) };
    Ok(Some(RestApi {
        name: options.name.clone().unwrap_or(default),
        stage: stage.to_owned(),
        description: options.description.clone().unwrap_or_default(),
        binary_media_types: options.binary_media_types.clone(),
        methods,
        preflights,
    }))
}

/// API Gateway has one parameter per place: `users/{id}` and `users/{name}` cannot both be.
fn conflict(methods: &[Method], path: &str) -> Option<String> {
    let is_parameter = |s: &str| s.starts_with('{') && !s.ends_with("+}");
    for other in methods {
        for (a, b) in path.split('/').zip(other.path.split('/')) {
            if a == b {
                continue;
            }
            if is_parameter(a) && is_parameter(b) {
                return Some(format!("`{path}` and `{}` name the same place `{a}` and `{b}`", other.path));
            }
            break;
        }
    }
    None
}

/// Several events of one path: the union of what they allow.
fn merge(into: &mut Cors, more: &Cors) {
    let join = |into: &mut Vec<String>, more: &[String]| {
        for item in more {
            if !into.contains(item) {
                into.push(item.clone());
            }
        }
    };
    if into.origins.is_empty() || more.origins.iter().any(|o| o == "*") {
        into.origins.clone_from(&more.origins);
    }
    join(&mut into.headers, &more.headers);
    join(&mut into.methods, &more.methods);
    into.credentials |= more.credentials;
    into.max_age_s = into.max_age_s.max(more.max_age_s);
}

/// Preflight answers, unless a function answers OPTIONS itself.
fn preflights(wanted: BTreeMap<String, Cors>, methods: &[Method]) -> BTreeMap<String, Cors> {
    let mut out = BTreeMap::new();
    for (path, mut cors) in wanted {
        let here: Vec<&str> = methods.iter().filter(|m| m.path == path).map(|m| m.method.as_str()).collect();
        if here.contains(&"OPTIONS") {
            continue;
        }
        if cors.methods.is_empty() {
            let all = ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"];
            let listed: Vec<&str> = if here.contains(&"ANY") { all.to_vec() } else { here };
            cors.methods = std::iter::once("OPTIONS").chain(listed).map(str::to_owned).collect();
        }
        out.insert(path, cors);
    }
    out
}

/// The HTTP API of the `httpApi` events.
pub(super) fn http(service: &Service, stage: &str) -> Result<Option<HttpApi>, Error> {
    let options = &service.provider.http_api;
    let mut routes: Vec<Route> = Vec::new();
    for function in &service.functions {
        for event in &function.events {
            let Event::HttpApi { route, at: pos } = event else { continue };
            if let Some(other) = routes.iter().find(|r| r.key == *route) {
                return Err(at(pos, format!("`{route}` is already a route of `{}`", other.function)));
            }
            let payload = function.payload.unwrap_or(options.payload);
            routes.push(Route { key: route.clone(), function: function.key.clone(), payload });
        }
    }
    if routes.is_empty() {
        return Ok(None);
    }
    let mut cors = options.cors.clone();
    if let Some(cors) = cors.as_mut().filter(|c| c.methods.is_empty()) {
        cors.methods = route_methods(&routes);
    }
    Ok(Some(HttpApi {
        name: options.name.clone().unwrap_or_else(|| format!("{stage}-{}", service.name)),
        cors,
        routes,
    }))
}

fn route_methods(routes: &[Route]) -> Vec<String> {
    let mut methods = vec!["OPTIONS".to_owned()];
    for route in routes {
        let method = route.key.split(' ').next().unwrap_or_default();
        let listed: &[&str] = match method {
            "$default" | "ANY" => &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"],
            _ => &[],
        };
        let one = if listed.is_empty() { vec![method] } else { listed.to_vec() };
        for method in one {
            if !methods.iter().any(|m| m == method) {
                methods.push(method.to_owned());
            }
        }
    }
    methods
}
