//! Requests to REST APIs.

use super::answer::{self, Reader};
use super::auth::{self, Refusal};
use super::call::{Call, Failure};
use super::{event1, mock, text};
use crate::model::Target;
use crate::model::rest::{Action, Deployment, Endpoint, RestApi};
use crate::room::ApiGateway;
use squall_protocol::Reply;
use squall_service::{HttpRequest, Principal};

/// Serves one request.
pub async fn serve(room: &ApiGateway, api: &RestApi, request: HttpRequest) -> Reply {
    let (name, below) = split(&request.path);
    let stage = api.head.stages.get_key_value(name);
    let (name, variables) = stage.map_or((name, None), |(name, s)| (name.as_str(), s.variables.as_ref()));
    let call = Call::new(room, &request, (&api.head.id, &api.head.region), name, variables);
    let deployment = stage.and_then(|(_, s)| api.deployments.get(&s.deployment));
    let mut reply = match deployment {
        Some(deployment) if !deployment.disable_endpoint => routed(room, &call, deployment, below).await,
        _ => refused(403, "ForbiddenException", "Forbidden"),
    };
    reply.headers.push(("x-amzn-requestid".into(), request.request_id.clone()));
    reply.headers.push(("x-amz-apigw-id".into(), call.gateway_id));
    reply
}

/// Stage and the path below it; slashes before the stage do not count.
fn split(path: &str) -> (&str, &str) {
    let path = path.trim_start_matches('/');
    path.find('/').map_or((path, ""), |at| path.split_at(at))
}

async fn routed(room: &ApiGateway, call: &Call<'_>, deployment: &Deployment, below: &str) -> Reply {
    // Matching forgives slashes at both ends; functions see the one at the end.
    let path = format!("/{}", below.trim_start_matches('/'));
    let matched = format!("/{}", below.trim_matches('/'));
    let Some(found) = deployment.router().find(&call.request.method, &matched) else {
        return missing_token();
    };
    let endpoint = found.target;
    let tail = format!("{}{matched}", call.request.method);
    let principal = match auth::authorise(room, call, endpoint.auth, &tail).await {
        Ok(principal) => principal,
        Err(Refusal::Unsigned) => return missing_token(),
        Err(Refusal::Invalid(code, text)) => return refused(403, code, &text),
        Err(Refusal::Denied(text)) => return denied(&text),
    };
    match &endpoint.action {
        Action::Broken => internal(500),
        Action::Mock(mock) => match mock::answer(mock, call) {
            Ok(reply) => reply,
            Err(mock::Failure::UnsupportedType) => refused(415, "BadRequestException", "Unsupported Media Type"),
            Err(mock::Failure::Broken) => internal(500),
        },
        Action::Lambda(target) => {
            let seen = Seen { deployment, endpoint, params: &found.params, path: &path, below, principal };
            let mut reply = lambda(room, call, target, &seen).await;
            reply.headers.push(("x-amzn-trace-id".into(), call.answered_trace(room)));
            reply
        }
    }
}

/// What routing found out.
struct Seen<'a> {
    deployment: &'a Deployment,
    endpoint: &'a Endpoint,
    params: &'a [(&'a str, String)],
    path: &'a str,
    below: &'a str,
    principal: Option<&'a Principal>,
}

async fn lambda(room: &ApiGateway, call: &Call<'_>, target: &Target, seen: &Seen<'_>) -> Reply {
    let (request, account) = (call.request, room.deps.account.as_str());
    let binary = &seen.deployment.binary_media_types;
    let media_type = match call.media_type() {
        kind if kind.is_empty() => "application/json".to_owned(),
        kind => kind,
    };
    let body = (!request.body.is_empty()).then(|| text::body(&request.body, text::is_binary(binary, &media_type)));
    let parts = event1::Parts {
        version: None,
        resource: &seen.endpoint.path,
        resource_id: &seen.endpoint.resource_id,
        path: seen.path,
        context_path: &format!("/{}{}", call.stage, seen.below),
        params: seen.params,
        deployment: Some(&seen.deployment.id),
        principal: seen.principal,
        account,
        body,
    };
    let source = call.source_arn(account, &format!("{}{}", request.method, seen.endpoint.path));
    let payload = match call.run(room, target, event1::event(call, &parts), source).await {
        Ok(payload) => payload,
        Err(Failure::TimedOut) => return refused(504, "InternalServerErrorException", "Endpoint request timed out"),
        Err(Failure::TooLarge) => return refused(413, "RequestTooLargeException", "Request Too Long"),
        Err(Failure::Function) => return internal(502),
        Err(Failure::Throttled | Failure::Refused) => return internal(500),
    };
    // The first type that the caller accepts decides, as on AWS.
    let accept = call.header("accept").and_then(|a| a.split(',').next()).map(text::media_type).unwrap_or_default();
    let reader = Reader::Rest { is_binary: text::is_binary(binary, &accept) };
    answer::version_1(&payload, reader).unwrap_or_else(|| {
        tracing::warn!(api = call.api, request_id = request.request_id, "malformed proxy response of a function");
        internal(502)
    })
}

fn refused(status: u16, code: &str, text: &str) -> Reply {
    let mut reply = text::message(status, text);
    reply.headers.push(("x-amzn-errortype".into(), code.to_owned()));
    reply
}

fn denied(text: &str) -> Reply {
    let mut reply = refused(403, "AccessDeniedException", text);
    reply.body = serde_json::json!({ "Message": text }).to_string().into();
    reply
}

fn missing_token() -> Reply {
    refused(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
}

fn internal(status: u16) -> Reply {
    refused(status, "InternalServerErrorException", "Internal server error")
}
