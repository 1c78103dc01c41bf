//! Events of payload format 2.0.

use super::call::Call;
use super::text::{clf_time, joined_values, query};
use serde_json::{Map, Value, json};
use squall_service::Principal;

/// What routing found out.
pub struct Parts<'a> {
    /// Route key.
    pub route_key: &'a str,
    /// Path with the stage, unless it is `$default`.
    pub raw_path: &'a str,
    /// Path parameters.
    pub params: &'a [(&'a str, String)],
    /// Who signed, where the route asks for it.
    pub principal: Option<&'a Principal>,
    /// Account.
    pub account: &'a str,
    /// Body and whether it is base64.
    pub body: Option<(String, bool)>,
}

/// The event.
pub fn event(call: &Call<'_>, parts: &Parts<'_>) -> String {
    let request = call.request;
    let headers = call.headers(true);
    let cookies: Vec<&str> = headers
        .iter()
        .filter(|(n, _)| *n == "cookie")
        .flat_map(|(_, v)| v.split(';'))
        .map(str::trim)
        .filter(|c| !c.is_empty())
        .collect();
    let mut event = Map::new();
    event.insert("version".into(), json!("2.0"));
    event.insert("routeKey".into(), json!(parts.route_key));
    event.insert("rawPath".into(), json!(parts.raw_path));
    event.insert("rawQueryString".into(), json!(request.query));
    if !cookies.is_empty() {
        event.insert("cookies".into(), json!(cookies));
    }
    let shown = headers.iter().filter(|(n, _)| *n != "cookie").map(|(n, v)| (*n, v.as_str()));
    event.insert("headers".into(), Value::Object(joined_values(shown)));
    let pairs = query(&request.query);
    if !pairs.is_empty() {
        let pairs = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        event.insert("queryStringParameters".into(), Value::Object(joined_values(pairs)));
    }
    event.insert("requestContext".into(), context(call, parts));
    if !parts.params.is_empty() {
        let params = parts.params.iter().map(|(n, v)| ((*n).to_owned(), json!(v)));
        event.insert("pathParameters".into(), Value::Object(params.collect()));
    }
    if let Some(variables) = call.variables.filter(|v| !v.is_empty()) {
        event.insert("stageVariables".into(), json!(variables));
    }
    if let Some((text, _)) = &parts.body {
        event.insert("body".into(), json!(text));
    }
    event.insert("isBase64Encoded".into(), json!(parts.body.as_ref().is_some_and(|(_, b)| *b)));
    Value::Object(event).to_string()
}

fn context(call: &Call<'_>, parts: &Parts<'_>) -> Value {
    let request = call.request;
    let mut context = Map::new();
    context.insert("accountId".into(), json!(parts.account));
    context.insert("apiId".into(), json!(call.api));
    if let Some(principal) = parts.principal {
        let id = super::auth::user_id(principal, parts.account);
        let iam = json!({
            // The gateway verifies signatures and hands on who signed, not the key.
            "accessKey": null,
            "accountId": parts.account,
            "callerId": id,
            "cognitoIdentity": null,
            "principalOrgId": null,
            "userArn": principal.arn(),
            "userId": id,
        });
        context.insert("authorizer".into(), json!({ "iam": iam }));
    }
    context.insert("domainName".into(), json!(call.domain()));
    context.insert("domainPrefix".into(), json!(call.api));
    let http = json!({
        "method": request.method,
        "path": parts.raw_path,
        "protocol": request.protocol,
        "sourceIp": request.source_ip.to_string(),
        "userAgent": call.header("user-agent").unwrap_or_default(),
    });
    context.insert("http".into(), http);
    context.insert("requestId".into(), json!(call.gateway_id));
    context.insert("routeKey".into(), json!(parts.route_key));
    context.insert("stage".into(), json!(call.stage));
    context.insert("time".into(), json!(clf_time(request.time)));
    context.insert("timeEpoch".into(), json!(request.time.0));
    Value::Object(context)
}
