//! Tests of the rooms through their wire formats, with a fake function runtime and the state in memory.

mod events;
mod fuzz;
mod http_apis;
mod http_requests;
mod rest_apis;
mod rest_requests;
mod rest_responses;
mod rest_roles;
mod restart;

use crate::ApiGateway;
use crate::room::{HttpRoom, RestRoom};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use squall_engine_files::MemoryObjects;
use squall_protocol::{Head, Reply, ServiceError, constraint, decode, encode, encode_error, route};
use squall_service::{
    Access, AccessDenied, Caller, Credential, CredentialError, Ctx, Deps, Front as _, HttpRequest, Identity,
    Invocation, Invoke, Invoker, Outcome, Principal, RoleCheck, Room, SessionCredentials,
};
use squall_types::{AccountId, ManualClock, Millis, Random, Region};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const ACCOUNT: &str = "000000000000";
const FUNCTION: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

/// What the fake function does next.
#[derive(Clone)]
enum Behaviour {
    Answer(String),
    Fail,
    Refuse(ServiceError),
    Hang,
}

/// Functions that record their events.
struct Functions {
    behaviour: Mutex<Behaviour>,
    calls: Mutex<Vec<Invocation>>,
}

#[async_trait]
impl Invoke for Functions {
    async fn invoke(&self, invocation: Invocation) -> Result<Outcome, ServiceError> {
        self.calls.lock().push(invocation);
        let behaviour = self.behaviour.lock().clone();
        let outcome = |payload: String, function_error| Outcome {
            status: 200,
            payload: payload.into(),
            function_error,
            executed_version: "$LATEST".into(),
            log_tail: None,
        };
        match behaviour {
            Behaviour::Answer(payload) => Ok(outcome(payload, None)),
            Behaviour::Fail => Ok(outcome(r#"{"errorMessage":"x"}"#.into(), Some("Unhandled"))),
            Behaviour::Refuse(e) => Err(e),
            Behaviour::Hang => std::future::pending().await,
        }
    }
}

/// Lets the user `good` do what it records.
#[derive(Default)]
struct Users(Mutex<Vec<Access>>);

#[async_trait]
impl Identity for Users {
    async fn credential(&self, key: &str, token: Option<&str>) -> Result<Credential, CredentialError> {
        let role = token.filter(|_| key == "ASIA").ok_or(CredentialError::Unknown)?;
        let name = role.rsplit('/').next().unwrap_or_default();
        let principal = Principal::Session {
            // Named so that `authorise` lets the role `good` pass.
            arn: format!("arn:aws:sts::{ACCOUNT}:assumed-role/session/{name}"),
            role_arn: role.into(),
            user_id: "AROA:session".into(),
            policy: None,
        };
        Ok(Credential { secret: String::new(), principal })
    }

    async fn authorise(&self, ctx: &Ctx, accesses: &[Access], _: &[Option<String>]) -> Result<(), AccessDenied> {
        self.0.lock().extend_from_slice(accesses);
        if ctx.principal.arn().ends_with("/good") {
            return Ok(());
        }
        let resource = accesses.first().map(|a| a.resource.as_str()).unwrap_or_default();
        let message = format!(
            "User: {} is not authorized to perform: execute-api:Invoke on resource: {resource}",
            ctx.principal.arn()
        );
        Err(AccessDenied { message })
    }

    async fn role_check(&self, role: &str, service: &str) -> RoleCheck {
        assert_eq!(service, "apigateway.amazonaws.com");
        if role.ends_with("/foreign") { RoleCheck::NotTrusted } else { RoleCheck::Trusted }
    }

    async fn session(&self, role: &str, _: &str, _: Duration) -> Option<SessionCredentials> {
        Some(SessionCredentials {
            access_key_id: "ASIA".into(),
            secret_access_key: String::new(),
            session_token: role.into(),
            expires: Millis(i64::MAX),
        })
    }
}

/// A random source that always says the same (splitmix64), so that golden files stay as they are.
#[derive(Default)]
struct Repeating(AtomicU64);

impl Random for Repeating {
    fn fill(&self, buf: &mut [u8]) {
        for part in buf.chunks_mut(8) {
            let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            part.iter_mut().zip((z ^ (z >> 31)).to_le_bytes()).for_each(|(to, from)| *to = from);
        }
    }
}

/// A cloud with the rooms of this crate only.
struct World {
    deps: Deps,
    clock: Arc<ManualClock>,
    functions: Arc<Functions>,
    users: Arc<Users>,
    room: Arc<ApiGateway>,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Millis(1_769_860_800_123)));
        let deps = Deps {
            state: squall_testkit_state::state(clock.clone()),
            objects: Arc::new(MemoryObjects::default()),
            clock: clock.clone(),
            random: Arc::new(Repeating::default()),
            account: AccountId::parse(ACCOUNT).expect("twelve digits"),
            region: Region::parse("us-east-1").expect("a region"),
        };
        let behaviour = Mutex::new(Behaviour::Answer(r#"{"statusCode":200,"body":"ok"}"#.into()));
        let functions = Arc::new(Functions { behaviour, calls: Mutex::default() });
        let users = Arc::new(Users::default());
        let room = open(&deps, &functions, &users).await;
        Self { deps, clock, functions, users, room }
    }

    /// The same state opened again, as after a restart.
    async fn reopen(&mut self) {
        self.room = open(&self.deps, &self.functions, &self.users).await;
    }

    fn ctx(&self, region: &str) -> Ctx {
        Ctx {
            account: self.deps.account.clone(),
            region: Region::parse(region).expect("a region"),
            principal: Principal::Root { account: ACCOUNT.into() },
            request_id: "id".into(),
            time: self.deps.clock.now(),
            source_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            user_agent: String::new(),
            host: String::new(),
            trace_header: None,
        }
    }

    /// One API call through the codecs.
    async fn call_in(&self, region: &str, method: &str, uri: &str, body: Json) -> (u16, Json) {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let head = Head { method: method.into(), path: path.into(), query: query.into(), ..Head::default() };
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let rooms: [Arc<dyn Room>; 2] = [Arc::new(RestRoom(self.room.clone())), Arc::new(HttpRoom(self.room.clone()))];
        let found = rooms.iter().find_map(|r| Some((r, route(r.service(), &head, &body).ok()?)));
        let (room, routed) = found.unwrap_or_else(|| panic!("no operation for {method} {uri}"));
        let service = room.service();
        let run = async {
            let input = decode(service, &routed, &head, &body)?;
            if let Some(shape) = routed.op.input {
                constraint::check(service, shape, &input)
                    .map_err(|m| ServiceError::client("BadRequestException", 400, m))?;
            }
            room.call(&self.ctx(region), routed.op, input).await
        };
        let reply = match run.await {
            Ok(value) => encode(service, routed.op, value, "id"),
            Err(e) => encode_error(service, &e, "id"),
        };
        let code = header(&reply, "x-amzn-errortype").map(str::to_owned);
        let mut json: Json = serde_json::from_slice(&reply.body).unwrap_or(Json::Null);
        if let (Some(code), Json::Object(map)) = (code, &mut json) {
            map.insert("code".into(), json!(code));
        }
        (reply.status, json)
    }

    async fn call(&self, method: &str, uri: &str, body: Json) -> (u16, Json) {
        self.call_in("us-east-1", method, uri, body).await
    }

    /// A call that must succeed.
    async fn ok(&self, method: &str, uri: &str, body: Json) -> Json {
        let (status, json) = self.call(method, uri, body).await;
        assert!(status < 300, "{method} {uri}: {status} {json}");
        json
    }

    /// A call that must fail, as `CODE STATUS MESSAGE`.
    async fn fails(&self, method: &str, uri: &str, body: Json) -> String {
        let (status, json) = self.call(method, uri, body).await;
        assert!(status >= 400, "{method} {uri}: {status} {json}");
        format!("{} {status} {}", text(&json, "code"), text(&json, "message"))
    }

    fn behave(&self, behaviour: Behaviour) {
        *self.functions.behaviour.lock() = behaviour;
    }

    fn answers(&self, payload: Json) {
        self.behave(Behaviour::Answer(payload.to_string()));
    }

    /// A request to a deployed API.
    async fn ask(&self, api: &str, request: HttpRequest) -> Reply {
        self.room.serve(api, "us-east-1", request).await
    }

    async fn get(&self, api: &str, path: &str) -> Reply {
        self.ask(api, request("GET", path)).await
    }

    /// The event and source ARN of the last call.
    fn last(&self) -> (Json, String) {
        let calls = self.functions.calls.lock();
        let call = calls.last().expect("a function was called");
        let Invoker::Service { principal, source_arn } = &call.invoker else { panic!("called as {:?}", call.invoker) };
        assert_eq!(principal, "apigateway.amazonaws.com");
        (serde_json::from_slice(&call.payload).expect("events are JSON"), source_arn.clone())
    }

    /// An HTTP API whose stage `$default` deploys by itself, with routes to the function.
    async fn http_api(&self, routes: &[&str], payload: &str) -> String {
        let api = text(&self.ok("POST", "/v2/apis", json!({ "name": "a", "protocolType": "HTTP" })).await, "apiId");
        self.ok("POST", &format!("/v2/apis/{api}/stages"), json!({ "stageName": "$default", "autoDeploy": true }))
            .await;
        let integration =
            json!({ "integrationType": "AWS_PROXY", "integrationUri": FUNCTION, "payloadFormatVersion": payload });
        let made = self.ok("POST", &format!("/v2/apis/{api}/integrations"), integration).await;
        let target = format!("integrations/{}", text(&made, "integrationId"));
        for key in routes {
            self.ok("POST", &format!("/v2/apis/{api}/routes"), json!({ "routeKey": key, "target": target })).await;
        }
        api
    }

    /// A REST API with methods to the function, deployed to `dev`.
    async fn rest_api(&self, methods: &[&str]) -> String {
        let api = text(&self.ok("POST", "/restapis", json!({ "name": "a" })).await, "id");
        for method in methods {
            let (verb, path) = method.split_once(' ').expect("METHOD /path");
            let at = self.method(&api, verb, path, json!({})).await;
            self.ok("PUT", &format!("{at}/integration"), proxy()).await;
        }
        self.ok("POST", &format!("/restapis/{api}/deployments"), json!({ "stageName": "dev" })).await;
        api
    }

    /// Makes the resources of a path and a method; gives the method's URI.
    async fn method(&self, api: &str, verb: &str, path: &str, settings: Json) -> String {
        let mut at = text(&self.ok("GET", &format!("/restapis/{api}"), Json::Null).await, "rootResourceId");
        for part in path.split('/').filter(|p| !p.is_empty()) {
            let all = self.ok("GET", &format!("/restapis/{api}/resources?limit=500"), Json::Null).await;
            let items = all.get("item").and_then(Json::as_array).cloned().unwrap_or_default();
            let known = items.iter().find(|r| text(r, "parentId") == at && text(r, "pathPart") == part);
            at = match known {
                Some(resource) => text(resource, "id"),
                None => {
                    let made =
                        self.ok("POST", &format!("/restapis/{api}/resources/{at}"), json!({ "pathPart": part })).await;
                    text(&made, "id")
                }
            };
        }
        let uri = format!("/restapis/{api}/resources/{at}/methods/{verb}");
        let mut input = json!({ "authorizationType": "NONE" });
        merge(&mut input, settings);
        self.ok("PUT", &uri, input).await;
        uri
    }
}

async fn open(deps: &Deps, functions: &Arc<Functions>, users: &Arc<Users>) -> Arc<ApiGateway> {
    ApiGateway::open(deps.clone(), functions.clone(), users.clone(), None, 4566).await.expect("the state is readable")
}

fn proxy() -> Json {
    let uri = format!("arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{FUNCTION}/invocations");
    json!({ "type": "AWS_PROXY", "httpMethod": "POST", "uri": uri })
}

fn merge(into: &mut Json, from: Json) {
    if let (Json::Object(into), Json::Object(from)) = (into, from) {
        into.extend(from);
    }
}

fn text(json: &Json, name: &str) -> String {
    json.get(name).and_then(Json::as_str).unwrap_or_default().to_owned()
}

fn request(method: &str, uri: &str) -> HttpRequest {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    HttpRequest {
        method: method.into(),
        path: path.into(),
        query: query.into(),
        headers: vec![("host".into(), "x.localhost:4566".into()), ("user-agent".into(), "test/1".into())],
        body: Bytes::new(),
        host: "x.localhost:4566".into(),
        protocol: "HTTP/1.1".into(),
        source_ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        time: Millis(1_769_860_800_123),
        request_id: "11111111-2222-4333-8444-555555555555".into(),
        caller: Caller::Anonymous,
    }
}

fn with_headers(mut request: HttpRequest, headers: &[(&str, &str)]) -> HttpRequest {
    request.headers.extend(headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
    request
}

fn with_body(mut request: HttpRequest, content_type: &str, body: impl Into<Bytes>) -> HttpRequest {
    request.body = body.into();
    with_headers(request, &[("content-type", content_type)])
}

fn signed(mut request: HttpRequest, user: &str) -> HttpRequest {
    let arn = format!("arn:aws:iam::{ACCOUNT}:user/{user}");
    request.caller = Caller::Signed(Principal::User { arn, name: user.into(), id: format!("AIDA{user}") });
    request
}

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    reply.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
}

/// Status and body.
fn seen(reply: &Reply) -> (u16, String) {
    (reply.status, String::from_utf8_lossy(&reply.body).into_owned())
}
