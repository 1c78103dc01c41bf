//! Function URLs: HTTP requests become events of payload format 2.0, answers become HTTP again.

use crate::model::{Cors, Url};
use crate::names::{LATEST, Name};
use crate::registry::Entry;
use crate::room::Lambda;
use crate::rules::policy_document;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use squall_policy::{Context, DocumentKind, Policy, PolicySets, Principal, Request, ResourcePolicy, evaluate};
use squall_protocol::Reply;
use squall_service::{Access, Caller, Ctx, Front, HttpRequest, Invocation, InvocationKind, Invoker, Principal as Who};
use squall_types::Region;
use time::OffsetDateTime;
use time::macros::format_description;

impl Lambda {
    /// The address that clients use: under the operator's domain where there is one, else on `localhost`.
    pub(crate) fn url_address(&self, region: &str, id: &str) -> String {
        match &self.options.domain {
            Some(domain) => format!("https://{id}.lambda-url.{region}.{domain}/"),
            None => format!("http://{id}.lambda-url.{region}.localhost:{}/", self.options.port),
        }
    }
}

#[async_trait]
impl Front for Lambda {
    fn body_bytes_max(&self) -> usize {
        6 * 1024 * 1024
    }

    async fn serve(&self, id: &str, region: &str, request: HttpRequest) -> Reply {
        if id == crate::download::ID {
            return self.download(&request).await;
        }
        let found = self.registry.by_url(id).filter(|(e, _)| region.is_empty() || e.record.region == region);
        let Some((entry, qualifier)) = found else { return unknown() };
        let Some(url) = entry.record.urls.get(&qualifier) else { return unknown() };
        let origin = header(&request, "origin").map(str::to_owned);
        let cors = url.cors.as_ref();
        if let (Some(cors), true, Some(origin)) = (cors, is_preflight(&request), &origin) {
            return preflight(cors, origin, &request);
        }
        let mut reply = match self.may_call(&entry, url, &qualifier, &request).await {
            Err(reply) => reply,
            Ok(()) => self.call_url(&entry, &qualifier, id, request).await,
        };
        if let (Some(cors), Some(origin)) = (cors, origin) {
            add_cors(cors, &origin, &mut reply);
        }
        reply
    }
}

impl Lambda {
    async fn may_call(&self, entry: &Entry, url: &Url, qualifier: &str, request: &HttpRequest) -> Result<(), Reply> {
        let account = self.deps.account.as_str();
        let resource = crate::view::url_function_arn(account, &entry.record, qualifier);
        let policy = entry.record.policies.get(qualifier).map(|p| policy_document(&p.statements));
        let allowed = match (&request.caller, url.auth_type.as_str()) {
            (_, "NONE") => policy.is_some_and(|p| anybody_may(&p, &resource)),
            (Caller::Signed(principal), _) => {
                let ctx = self.url_ctx(entry, principal.clone(), request);
                let mut access = Access::new("lambda:InvokeFunctionUrl", resource);
                access.context.push(("lambda:FunctionUrlAuthType".into(), vec!["AWS_IAM".into()]));
                *principal == (Who::Root { account: account.to_owned() })
                    || self.identity.authorise(&ctx, &[access], &[policy]).await.is_ok()
            }
            (Caller::Anonymous | Caller::Refused(..), _) => false,
        };
        if allowed {
            return Ok(());
        }
        let mut reply = message_upper(
            403,
            "Forbidden. For troubleshooting Function URL authorization issues, see: https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html",
        );
        reply.headers.push(("x-amzn-errortype".into(), "AccessDeniedException".into()));
        Err(reply)
    }

    fn url_ctx(&self, entry: &Entry, principal: Who, request: &HttpRequest) -> Ctx {
        Ctx {
            account: self.deps.account.clone(),
            region: Region::parse(&entry.record.region).unwrap_or_else(|| self.deps.region.clone()),
            principal,
            request_id: request.request_id.clone(),
            time: request.time,
            source_ip: request.source_ip,
            user_agent: header(request, "user-agent").unwrap_or_default().to_owned(),
            host: request.host.clone(),
            trace_header: header(request, "x-amzn-trace-id").map(str::to_owned),
        }
    }

    async fn call_url(&self, entry: &Entry, qualifier: &str, id: &str, request: HttpRequest) -> Reply {
        let qualifier = Some(qualifier).filter(|q| *q != LATEST).map(str::to_owned);
        let name = Name { name: entry.record.name.clone(), qualifier };
        let Some(target) = self.resolve(entry, &name, self.roll()) else { return unknown() };
        let event = event(self.deps.account.as_str(), id, self.options.port, &request);
        let invocation = Invocation {
            function: name.name,
            qualifier: name.qualifier,
            region: entry.record.region.clone(),
            payload: Bytes::from(event.to_string()),
            kind: InvocationKind::RequestResponse,
            log_tail: false,
            client_context: None,
            trace_header: header(&request, "x-amzn-trace-id").map(str::to_owned),
            invoker: Invoker::Authorised,
            request_id: request.request_id.clone(),
        };
        let outcome = match self.run(entry, &target, invocation).await {
            Ok(outcome) => outcome,
            Err(e) if e.status == 429 => return message(429, "Too Many Requests"),
            Err(e) if e.status < 500 => return message(e.status, "Bad Request"),
            Err(_) => return failed(),
        };
        if outcome.function_error.is_some() {
            return failed();
        }
        let mut reply = answer(&outcome.payload).unwrap_or_else(failed);
        reply.headers.push(("x-amzn-requestid".into(), request.request_id));
        reply
    }
}

/// A URL without authentication still needs a policy that lets everybody in; `AddPermission` makes it.
fn anybody_may(policy: &str, resource: &str) -> bool {
    let Ok(policy) = Policy::parse(policy, DocumentKind::Resource) else { return false };
    let context =
        Context::new().with("lambda:FunctionUrlAuthType", "NONE").with("lambda:InvokedViaFunctionUrl", "true");
    let caller = Principal::anonymous();
    let request = Request { principal: &caller, action: "lambda:InvokeFunctionUrl", resource, context: &context };
    evaluate(&request, &PolicySets { resource: ResourcePolicy::Additive(&policy), ..PolicySets::default() })
        .is_allowed()
}

fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

fn message(status: u16, text: &str) -> Reply {
    json_reply(status, &json!({ "message": text }))
}

fn message_upper(status: u16, text: &str) -> Reply {
    json_reply(status, &json!({ "Message": text }))
}

/// There is no such URL.
fn unknown() -> Reply {
    json_reply(404, &json!({ "Message": null }))
}

/// The function failed, or answered what is no response: bare text under the type of JSON, as AWS has it.
fn failed() -> Reply {
    let headers = vec![("content-type".into(), "application/json".into())];
    Reply { status: 502, headers, body: Bytes::from_static(b"Internal Server Error") }
}

fn json_reply(status: u16, body: &Value) -> Reply {
    Reply { status, headers: vec![("content-type".into(), "application/json".into())], body: body.to_string().into() }
}

/// The event of payload format 2.0.
fn event(account: &str, id: &str, port: u16, request: &HttpRequest) -> Value {
    // Clients join the URL, which ends in a slash, with paths that begin with one: AWS takes them for one.
    let path = format!("/{}", percent_decode(&request.path).trim_start_matches('/'));
    let mut headers = Map::new();
    let mut cookies = Vec::new();
    for (name, value) in &request.headers {
        if name == "connection" {
            // Between the client and this server only.
            continue;
        }
        if name == "cookie" {
            cookies.extend(value.split(';').map(|c| json!(c.trim())));
            continue;
        }
        match headers.get_mut(name) {
            Some(Value::String(held)) => {
                held.push(',');
                held.push_str(value);
            }
            _ => {
                headers.insert(name.clone(), json!(value));
            }
        }
    }
    // Behind what a proxy says stands who really asks: callers can write this header themselves.
    let source_ip = request.source_ip.to_string();
    let forwarded = match headers.get("x-forwarded-for").and_then(Value::as_str) {
        Some(given) => format!("{given}, {source_ip}"),
        None => source_ip,
    };
    headers.insert("x-forwarded-for".into(), json!(forwarded));
    headers.entry("x-forwarded-port").or_insert_with(|| json!(port.to_string()));
    headers.entry("x-forwarded-proto").or_insert_with(|| json!("http"));
    let at = OffsetDateTime::from_unix_timestamp(request.time.secs()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let clf = format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": {
            "accountId": if matches!(request.caller, Caller::Signed(_)) { account } else { "anonymous" },
            "apiId": id,
            "domainName": request.host,
            "domainPrefix": id,
            "http": {
                "method": request.method,
                "path": path,
                "protocol": request.protocol,
                "sourceIp": request.source_ip.to_string(),
                "userAgent": header(request, "user-agent").unwrap_or_default(),
            },
            "requestId": request.request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": at.format(&clf).unwrap_or_default(),
            "timeEpoch": request.time.0,
        },
        "isBase64Encoded": false,
    });
    let Value::Object(map) = &mut event else { return event };
    if !cookies.is_empty() {
        map.insert("cookies".into(), Value::Array(cookies));
    }
    let query = query_parameters(&request.query);
    if !query.is_empty() {
        map.insert("queryStringParameters".into(), Value::Object(query));
    }
    if let (Caller::Signed(who), Some(Value::Object(context))) = (&request.caller, map.get_mut("requestContext")) {
        let user = match who {
            Who::User { id, .. } => id.clone(),
            Who::Session { user_id, .. } => user_id.clone(),
            _ => account.to_owned(),
        };
        let iam = json!({
            "accountId": account, "userArn": who.arn(), "callerId": user, "userId": user, "accessKey": null,
            "cognitoIdentity": null, "principalOrgId": null,
        });
        context.insert("authorizer".into(), json!({ "iam": iam }));
    }
    if !request.body.is_empty() {
        let (text, base64) = body_text(header(request, "content-type"), &request.body);
        map.insert("body".into(), json!(text));
        map.insert("isBase64Encoded".into(), json!(base64));
    }
    event
}

/// Text types go as text, everything else (and text that is not UTF-8) as base64.
fn body_text(content_type: Option<&str>, body: &[u8]) -> (String, bool) {
    let kind = content_type.unwrap_or_default().to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let textual = kind.starts_with("text/")
        || matches!(
            kind,
            "" | "application/json"
                | "application/javascript"
                | "application/xml"
                | "application/x-www-form-urlencoded"
        )
        || kind.ends_with("+json")
        || kind.ends_with("+xml");
    match std::str::from_utf8(body) {
        Ok(text) if textual => (text.to_owned(), false),
        _ => (STANDARD.encode(body), true),
    }
}

fn query_parameters(query: &str) -> Map<String, Value> {
    let mut out = Map::new();
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (percent_decode(&name.replace('+', " ")), percent_decode(&value.replace('+', " ")));
        match out.get_mut(&name) {
            Some(Value::String(held)) => {
                held.push(',');
                held.push_str(&value);
            }
            _ => {
                out.insert(name, json!(value));
            }
        }
    }
    out
}

fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let rest = bytes.clone();
        let digits: Option<Vec<u8>> =
            rest.take(2).map(|d| char::from(d).to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
        match digits.as_deref() {
            Some([high, low]) => {
                out.push(high << 4 | low);
                bytes.nth(1);
            }
            _ => out.push(b),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// An answer of payload format 2.0: an object with `statusCode`, or anything else as a JSON body of a 200.
fn answer(payload: &Bytes) -> Option<Reply> {
    let value: Value = serde_json::from_slice(payload).ok()?;
    let json_type = || vec![("content-type".to_owned(), "application/json".to_owned())];
    let Some(status) = value.get("statusCode") else {
        let body = match value {
            Value::String(text) => Bytes::from(text),
            // Written anew, without the blanks that Python's encoder puts in.
            value => Bytes::from(value.to_string()),
        };
        return Some(Reply { status: 200, headers: json_type(), body });
    };
    let status = status.as_u64().or_else(|| status.as_str()?.parse().ok()).and_then(|s| u16::try_from(s).ok())?;
    if !(200..600).contains(&status) {
        return None;
    }
    let mut reply = Reply { status, headers: Vec::new(), body: Bytes::new() };
    for (name, v) in value.get("headers").and_then(Value::as_object).into_iter().flatten() {
        reply.headers.push((name.to_ascii_lowercase(), text_of(v)));
    }
    for cookie in value.get("cookies").and_then(Value::as_array).into_iter().flatten() {
        reply.headers.push(("set-cookie".into(), text_of(cookie)));
    }
    if !reply.headers.iter().all(|(n, v)| is_header(n, v)) {
        return None;
    }
    if !reply.headers.iter().any(|(n, _)| n == "content-type") {
        reply.headers.extend(json_type());
    }
    let body = match value.get("body") {
        None | Some(Value::Null) => String::new(),
        Some(v) => text_of(v),
    };
    reply.body = if value.get("isBase64Encoded").and_then(Value::as_bool) == Some(true) {
        STANDARD.decode(body).ok()?.into()
    } else {
        body.into()
    };
    Some(reply)
}

/// Whether HTTP can carry it: a token, and a value without control characters.
fn is_header(name: &str, value: &str) -> bool {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(is_token) && !value.bytes().any(|b| b.is_ascii_control() && b != b'\t')
}

fn text_of(v: &Value) -> String {
    v.as_str().map_or_else(|| v.to_string(), str::to_owned)
}

fn is_preflight(request: &HttpRequest) -> bool {
    request.method == "OPTIONS" && header(request, "access-control-request-method").is_some()
}

fn allows_origin(cors: &Cors, origin: &str) -> bool {
    cors.origins.iter().flatten().any(|o| o == "*" || o == origin)
}

fn add_cors(cors: &Cors, origin: &str, reply: &mut Reply) {
    if !allows_origin(cors, origin) {
        return;
    }
    let any = cors.origins.iter().flatten().any(|o| o == "*") && cors.credentials != Some(true);
    let shown = if any { "*" } else { origin };
    // What the function says itself gives way: the configuration decides.
    reply.headers.retain(|(n, _)| !n.starts_with("access-control-allow-origin") && n != "vary");
    reply.headers.push(("access-control-allow-origin".into(), shown.to_owned()));
    reply.headers.push(("vary".into(), "Origin".into()));
    if cors.credentials == Some(true) {
        reply.headers.push(("access-control-allow-credentials".into(), "true".into()));
    }
    if let Some(expose) = cors.expose.as_ref().filter(|e| !e.is_empty()) {
        reply.headers.push(("access-control-expose-headers".into(), expose.join(",")));
    }
}

fn preflight(cors: &Cors, origin: &str, request: &HttpRequest) -> Reply {
    let mut reply = Reply { status: 200, ..Reply::default() };
    let method = header(request, "access-control-request-method").unwrap_or_default();
    let methods = cors.methods.clone().unwrap_or_default();
    if !allows_origin(cors, origin) || !methods.iter().any(|m| m == "*" || m == method) {
        return reply;
    }
    add_cors(cors, origin, &mut reply);
    reply.headers.push(("access-control-allow-methods".into(), methods.join(",")));
    if let Some(headers) = cors.headers.as_ref().filter(|h| !h.is_empty()) {
        reply.headers.push(("access-control-allow-headers".into(), headers.join(",")));
    }
    if let Some(age) = cors.max_age_s {
        reply.headers.push(("access-control-max-age".into(), age.to_string()));
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_become_http() {
        let cases: [(&str, Option<(u16, &str)>); 6] = [
            (r#"{"statusCode":201,"body":"x"}"#, Some((201, "x"))),
            (r#"{"statusCode":"200","body":"aGk=","isBase64Encoded":true}"#, Some((200, "hi"))),
            (r#"{"a":1}"#, Some((200, r#"{"a":1}"#))),
            (r#""plain""#, Some((200, "plain"))),
            (r#"{"statusCode":"x"}"#, None),
            ("nonsense", None),
        ];
        for (payload, expected) in cases {
            let found = answer(&Bytes::from(payload)).map(|r| (r.status, String::from_utf8(r.body.to_vec()).unwrap()));
            assert_eq!(found.as_ref().map(|(s, b)| (*s, b.as_str())), expected, "{payload}");
        }
    }

    #[test]
    fn percent_signs_that_encode_nothing_stay() {
        for (text, expected) in [("a%20b", "a b"), ("100%", "100%"), ("%zz", "%zz"), ("%C3%A9", "é")] {
            assert_eq!(percent_decode(text), expected);
        }
    }

    #[test]
    fn wildcard_origins_are_named_with_credentials() {
        let cors = Cors { origins: Some(vec!["*".into()]), credentials: Some(true), ..Cors::default() };
        let mut reply = Reply::default();
        add_cors(&cors, "https://a.example", &mut reply);
        assert!(reply.headers.contains(&("access-control-allow-origin".into(), "https://a.example".into())));
    }
}
