//! AWS API calls: find the room, read, authenticate, decode, check, authorise, call, encode.

use crate::auth::{self, Found, Refusal};
use crate::request::BodyError;
use crate::server::Gateway;
use bytes::Bytes;
use hyper::body::Incoming;
use squall_protocol::codec::{decode, encode, encode_error};
use squall_protocol::route::{Route, RouteError, route};
use squall_protocol::sigv4::{self, Family};
use squall_protocol::{Head, Operation, Protocol, Reply, Service, ServiceError, Value, constraint};
use squall_service::{Ctx, Principal, Room};
use std::net::IpAddr;
use std::sync::Arc;

/// Longest trace header that is passed on.
const TRACE_BYTES_MAX: usize = 1024;

/// Answers one call.
pub async fn call(g: &Gateway, head: Head, body: Incoming, ip: IpAddr) -> Reply {
    let request_id = g.parts.random.uuid();
    let rooms = candidates(g, &head);
    let Some(room) = choose(&rooms, &head) else {
        return unknown_service(&head, &request_id);
    };
    let service = room.service();
    match answer(g, room, head, body, ip, &request_id).await {
        Ok((op, value)) => encode(service, op, value, &request_id),
        Err(e) => {
            if e.status >= 500 {
                tracing::warn!(
                    request_id,
                    service = service.name,
                    code = e.code,
                    message = e.message,
                    "answered with an error"
                );
            }
            encode_error(service, &e, &request_id)
        }
    }
}

type Answer = (&'static Operation, Value);

async fn answer(
    g: &Gateway,
    room: &dyn Room,
    head: Head,
    body: Incoming,
    ip: IpAddr,
    request_id: &str,
) -> Result<Answer, ServiceError> {
    let service = room.service();
    let early = early_route(service, &head);
    let limit = room.body_limit(early.as_ref().map(|r| r.op));
    let body = match g.intake.read(body, &head, limit.bytes_max).await {
        Ok(body) => body,
        Err(BodyError::TooLarge) => return Err((limit.error)()),
        Err(BodyError::Broken) => {
            return Err(ServiceError::client("RequestAbortedException", 400, "The request body did not arrive whole"));
        }
    };
    let found = auth::authenticate(g, &head, &body).await.map_err(|r| refused(service, r))?;
    let routed = match early {
        Some(r) => r,
        None => route(service, &head, &body).map_err(|e| e.into_error(service))?,
    };
    if !found.signed && !routed.op.unauthenticated {
        return Err(refused(service, sigv4::Error::MissingAuthenticationToken.into()));
    }
    let ctx = context(g, &head, found, ip, request_id);
    let input = checked_input(room, &routed, &head, &body)?;
    authorise(g, room, &ctx, routed.op, &input).await?;
    let output = room.call(&ctx, routed.op, input).await?;
    Ok((routed.op, output))
}

/// REST and JSON requests name their operation in the head: its body limit is known before the body is read.
fn early_route(service: &'static Service, head: &Head) -> Option<Route> {
    match service.protocol {
        Protocol::Query => None,
        Protocol::Json | Protocol::RestJson | Protocol::RestXml => route(service, head, &Bytes::new()).ok(),
    }
}

fn checked_input(room: &dyn Room, routed: &Route, head: &Head, body: &Bytes) -> Result<Value, ServiceError> {
    let input = decode(room.service(), routed, head, body)?;
    if let (Some(shape), false) = (routed.op.input, room.validates_itself(routed.op)) {
        constraint::check(room.service(), shape, &input)
            .map_err(|message| ServiceError::client(validation_code(room.service()), 400, message))?;
    }
    Ok(input)
}

/// The code that a service gives to broken constraints.
fn validation_code(service: &Service) -> &'static str {
    match service.name {
        "logs" => "InvalidParameterException",
        "iam" | "sts" => "ValidationError",
        "apigatewayv2" => "BadRequestException",
        _ => "ValidationException",
    }
}

async fn authorise(
    g: &Gateway,
    room: &dyn Room,
    ctx: &Ctx,
    op: &'static Operation,
    input: &Value,
) -> Result<(), ServiceError> {
    if matches!(ctx.principal, Principal::Root { .. }) || op.unauthenticated {
        return Ok(());
    }
    let accesses = room.access(ctx, op, input);
    let mut policies = Vec::with_capacity(accesses.len());
    for access in &accesses {
        policies.push(room.resource_policy(ctx, access).await);
    }
    let denied = match g.parts.identity.authorise(ctx, &accesses, &policies).await {
        Ok(()) => return Ok(()),
        Err(denied) => denied,
    };
    Err(match room.service().protocol {
        Protocol::Json => ServiceError::client("AccessDeniedException", 400, denied.message).upper(),
        Protocol::RestJson => ServiceError::client("AccessDeniedException", 403, denied.message).upper(),
        Protocol::Query | Protocol::RestXml => ServiceError::client("AccessDenied", 403, denied.message),
    })
}

/// The circumstances of a request.
pub fn context(g: &Gateway, head: &Head, found: Found, ip: IpAddr, request_id: &str) -> Ctx {
    Ctx {
        account: g.options.account.clone(),
        region: found.region,
        principal: found.principal,
        request_id: request_id.to_owned(),
        time: g.parts.clock.now(),
        source_ip: ip,
        user_agent: head.header("user-agent").unwrap_or_default().to_owned(),
        host: head.header("host").unwrap_or_default().to_owned(),
        trace_header: head.header("x-amzn-trace-id").filter(|t| t.len() <= TRACE_BYTES_MAX).map(str::to_owned),
    }
}

fn refused(service: &Service, refusal: Refusal) -> ServiceError {
    let family = match service.protocol {
        Protocol::Json => Family::Json,
        Protocol::RestJson => Family::RestJson,
        Protocol::Query => Family::Query,
        Protocol::RestXml => Family::S3,
    };
    let answer = refusal.error.answer(family);
    ServiceError::client(answer.code, answer.status, answer.message)
}

/// Rooms that the request may be for: those of the credential scope's service, else of the target header, else all.
fn candidates<'a>(g: &'a Gateway, head: &Head) -> Vec<&'a Arc<dyn Room>> {
    let rooms = &g.parts.rooms;
    if let Some(scope) = auth::scope_service(head) {
        return rooms.iter().filter(|r| r.service().signing_name == scope).collect();
    }
    if let Some((prefix, _)) = head.header("x-amz-target").and_then(|t| t.rsplit_once('.')) {
        return rooms.iter().filter(|r| r.service().target_prefix == prefix).collect();
    }
    rooms.iter().collect()
}

/// Of services that share a signing name (apigateway and apigatewayv2), the one whose operation matches; unsigned requests
/// to REST paths find their room the same way.
fn choose<'a>(rooms: &[&'a Arc<dyn Room>], head: &Head) -> Option<&'a dyn Room> {
    if let &[one] = rooms {
        return Some(one.as_ref());
    }
    let knows = |r: &&&Arc<dyn Room>| {
        early_route(r.service(), head).is_some()
            || matches!(route(r.service(), head, &Bytes::new()), Err(RouteError::Unserved(_)))
    };
    let found = rooms.iter().find(knows).or_else(|| auth::scope_service(head).and(rooms.first()));
    found.map(|&r| r.as_ref())
}

fn unknown_service(head: &Head, request_id: &str) -> Reply {
    let (status, code, message) = match auth::scope_service(head) {
        Some(name) => {
            // The name is the caller's: only what service names consist of is repeated.
            let name: String =
                name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')).take(64).collect();
            (501, "NotImplementedException", format!("The service {name} is not served by this cloud"))
        }
        None => (403, "MissingAuthenticationToken", "Missing Authentication Token".to_owned()),
    };
    // A form body is the query protocol, whose clients read XML.
    let is_query = head.header("content-type").is_some_and(|t| t.starts_with("application/x-www-form-urlencoded"));
    let (kind, body) = if is_query {
        let kind = if status < 500 { "Sender" } else { "Receiver" };
        let error = format!("<Error><Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message></Error>");
        ("text/xml", format!("<ErrorResponse>{error}<RequestId>{request_id}</RequestId></ErrorResponse>"))
    } else {
        ("application/json", serde_json::json!({ "__type": code, "message": message }).to_string())
    };
    Reply {
        status,
        headers: vec![
            ("content-type".into(), kind.into()),
            ("x-amzn-errortype".into(), code.into()),
            ("x-amzn-requestid".into(), request_id.to_owned()),
        ],
        body: body.into(),
    }
}
