//! Events of payload format 1.0, which REST APIs send always and HTTP APIs on demand.

use super::call::Call;
use super::text::{all_values, capitalised, clf_time, last_values, query};
use serde_json::{Map, Value, json};
use squall_service::Principal;

/// What routing found out.
pub struct Parts<'a> {
    /// `1.0` for HTTP APIs; REST APIs do not say.
    pub version: Option<&'static str>,
    /// Path template, or `$default`.
    pub resource: &'a str,
    /// Id of the resource, or the route key.
    pub resource_id: &'a str,
    /// Path as the function sees it.
    pub path: &'a str,
    /// Path with the stage.
    pub context_path: &'a str,
    /// Path parameters.
    pub params: &'a [(&'a str, String)],
    /// Deployment, for REST APIs.
    pub deployment: Option<&'a str>,
    /// Who signed, where the method asks for it.
    pub principal: Option<&'a Principal>,
    /// Account.
    pub account: &'a str,
    /// Body and whether it is base64.
    pub body: Option<(String, bool)>,
}

/// The event.
pub fn event(call: &Call<'_>, parts: &Parts<'_>) -> String {
    let request = call.request;
    let headers = call.headers(parts.version.is_some());
    let headers = || headers.iter().map(|(n, v)| (capitalised(n), v.as_str()));
    let pairs = query(&request.query);
    let pairs = || pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    let mut event = Map::new();
    if let Some(version) = parts.version {
        event.insert("version".into(), json!(version));
    }
    event.insert("resource".into(), json!(parts.resource));
    event.insert("path".into(), json!(parts.path));
    event.insert("httpMethod".into(), json!(request.method));
    event.insert("headers".into(), last_values(headers()));
    event.insert("multiValueHeaders".into(), all_values(headers()));
    event.insert("queryStringParameters".into(), last_values(pairs()));
    event.insert("multiValueQueryStringParameters".into(), all_values(pairs()));
    event.insert("pathParameters".into(), last_values(parts.params.iter().map(|(n, v)| (*n, v.as_str()))));
    let variables = call.variables.into_iter().flatten().map(|(n, v)| (n.as_str(), v.as_str()));
    event.insert("stageVariables".into(), last_values(variables));
    event.insert("requestContext".into(), context(call, parts));
    let (body, is_base64) = match &parts.body {
        Some((text, is_base64)) => (json!(text), *is_base64),
        None => (Value::Null, false),
    };
    event.insert("body".into(), body);
    event.insert("isBase64Encoded".into(), json!(is_base64));
    Value::Object(event).to_string()
}

fn context(call: &Call<'_>, parts: &Parts<'_>) -> Value {
    let request = call.request;
    let is_http = parts.version.is_some();
    let mut context = json!({
        "resourceId": parts.resource_id,
        "resourcePath": parts.resource,
        "httpMethod": request.method,
        "extendedRequestId": call.gateway_id,
        "requestTime": clf_time(request.time),
        "path": parts.context_path,
        "accountId": parts.account,
        "protocol": request.protocol,
        "stage": call.stage,
        "domainPrefix": call.api,
        "requestTimeEpoch": request.time.0,
        "requestId": if is_http { &call.gateway_id } else { &request.request_id },
        "identity": identity(call, parts),
        "domainName": call.domain(),
        "apiId": call.api,
    });
    if let (Some(id), Value::Object(map)) = (parts.deployment, &mut context) {
        map.insert("deploymentId".into(), json!(id));
    }
    context
}

fn identity(call: &Call<'_>, parts: &Parts<'_>) -> Value {
    let arn = parts.principal.map(Principal::arn);
    let id = parts.principal.map(|p| super::auth::user_id(p, parts.account));
    json!({
        "cognitoIdentityPoolId": null,
        "accountId": parts.principal.map(|_| parts.account),
        "cognitoIdentityId": null,
        "caller": id,
        "sourceIp": call.request.source_ip.to_string(),
        "principalOrgId": null,
        // The gateway verifies signatures and hands on who signed, not the key.
        "accessKey": null,
        "cognitoAuthenticationType": null,
        "cognitoAuthenticationProvider": null,
        "userArn": arn,
        "userAgent": call.header("user-agent"),
        "user": id,
    })
}
