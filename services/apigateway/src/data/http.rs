//! Requests to HTTP APIs.

use super::answer::{self, Reader};
use super::call::{Call, Failure, header};
use super::{auth, cors, event1, event2, text};
use crate::model::Target;
use crate::model::http::{DEFAULT, Deployment, Endpoint, HttpApi, Payload};
use crate::room::ApiGateway;
use squall_protocol::Reply;
use squall_service::{HttpRequest, Principal};

/// Serves one request.
pub async fn serve(room: &ApiGateway, api: &HttpApi, request: HttpRequest) -> Reply {
    // HTTP APIs work on the decoded path: routes, rawPath and parameters.
    let path = text::decode(&request.path);
    let (name, below) = stage(api, &path);
    let held = api.head.stages.get(name).filter(|_| !api.head.disable_endpoint);
    let call = Call::new(room, &request, (&api.head.id, &api.head.region), name, held.map(|s| &s.variables));
    let deployment = held.and_then(|s| api.deployments.get(s.deployment.as_ref()?));
    let mut reply = match deployment {
        Some(deployment) => crossed(room, &call, deployment, (&path, below)).await,
        None => text::message(404, "Not Found"),
    };
    reply.headers.push(("apigw-requestid".into(), call.gateway_id));
    reply
}

/// The stage that the path begins with, else `$default`; and the path below it.
fn stage<'a>(api: &'a HttpApi, path: &'a str) -> (&'a str, &'a str) {
    let rest = path.strip_prefix('/').unwrap_or(path);
    let at = rest.find('/').unwrap_or(rest.len());
    let (first, below) = rest.split_at(at);
    match api.head.stages.get_key_value(first).filter(|(name, _)| *name != DEFAULT) {
        Some((name, _)) => (name, if below.is_empty() { "/" } else { below }),
        None => (DEFAULT, path),
    }
}

/// Answers with the deployment's CORS around it.
async fn crossed(room: &ApiGateway, call: &Call<'_>, deployment: &Deployment, paths: (&str, &str)) -> Reply {
    let origin = header(call.request, "origin");
    let (Some(settings), Some(origin)) = (&deployment.cors, origin) else {
        return routed(room, call, deployment, paths).await;
    };
    if cors::is_preflight(call.request) {
        return cors::preflight(settings, call.request);
    }
    let mut reply = routed(room, call, deployment, paths).await;
    cors::add(settings, origin, &mut reply);
    reply
}

async fn routed(room: &ApiGateway, call: &Call<'_>, deployment: &Deployment, (raw, below): (&str, &str)) -> Reply {
    let Some(found) = deployment.router().find(&call.request.method, below) else {
        return text::message(404, "Not Found");
    };
    let endpoint = found.target;
    let tail = format!("{}{below}", call.request.method);
    let Ok(principal) = auth::authorise(room, call, endpoint.auth, &tail).await else {
        return text::message(403, "Forbidden");
    };
    let Some(target) = &endpoint.target else { return internal() };
    let event = event(room, call, endpoint, &Seen { raw, params: &found.params, principal });
    let tail = endpoint
        .key
        .split_once(' ')
        .map_or_else(|| DEFAULT.to_owned(), |(_, template)| format!("{}{template}", call.request.method));
    run(room, call, (target, endpoint.payload), event, &tail).await
}

/// What routing found out.
struct Seen<'a> {
    raw: &'a str,
    params: &'a [(&'a str, String)],
    principal: Option<&'a Principal>,
}

fn event(room: &ApiGateway, call: &Call<'_>, endpoint: &Endpoint, seen: &Seen<'_>) -> String {
    let request = call.request;
    let is_binary = !text::is_text(&call.media_type()) || std::str::from_utf8(&request.body).is_err();
    let body = (!request.body.is_empty()).then(|| text::body(&request.body, is_binary));
    let account = room.deps.account.as_str();
    let (params, principal) = (seen.params, seen.principal);
    match endpoint.payload {
        Payload::V2 => {
            let parts =
                event2::Parts { route_key: &endpoint.key, raw_path: seen.raw, params, principal, account, body };
            event2::event(call, &parts)
        }
        Payload::V1 => {
            let parts = event1::Parts {
                version: Some("1.0"),
                resource: endpoint.key.split_once(' ').map_or(DEFAULT, |(_, path)| path),
                resource_id: &endpoint.key,
                path: seen.raw,
                context_path: seen.raw,
                params,
                deployment: None,
                principal,
                account,
                body,
            };
            event1::event(call, &parts)
        }
    }
}

async fn run(
    room: &ApiGateway,
    call: &Call<'_>,
    (target, payload): (&Target, Payload),
    event: String,
    tail: &str,
) -> Reply {
    let source = call.source_arn(room.deps.account.as_str(), tail);
    let answer = match call.run(room, target, event, source).await {
        Ok(answer) => answer,
        Err(Failure::TimedOut | Failure::Throttled) => return text::message(503, "Service Unavailable"),
        Err(Failure::TooLarge) => return text::message(413, "Request Entity Too Large"),
        Err(Failure::Function | Failure::Refused) => return internal(),
    };
    let reply = match payload {
        Payload::V1 => answer::version_1(&answer, Reader::Http),
        Payload::V2 => answer::version_2(&answer),
    };
    reply.unwrap_or_else(|| {
        tracing::warn!(api = call.api, request_id = call.request.request_id, "malformed proxy response of a function");
        internal()
    })
}

fn internal() -> Reply {
    text::message(500, "Internal Server Error")
}
