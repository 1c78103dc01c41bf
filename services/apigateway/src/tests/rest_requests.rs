//! Requests to REST APIs.

use super::*;

const MISSING: &str = r#"{"message":"Missing Authentication Token"}"#;

#[tokio::test]
async fn requests_are_routed_by_stage_path_and_method() {
    let w = World::new().await;
    let api = w.rest_api(&["GET /users/{id}", "POST /users", "ANY /files/{proxy+}"]).await;
    let reply = w.get(&api, "/dev/users/7").await;
    assert_eq!(seen(&reply), (200, "ok".into()));
    assert_eq!(header(&reply, "content-type"), Some("application/json"));
    assert_eq!(header(&reply, "x-amzn-requestid"), Some("11111111-2222-4333-8444-555555555555"));
    assert_eq!(header(&reply, "x-amz-apigw-id").map(str::len), Some(16));
    assert!(header(&reply, "x-amzn-trace-id").is_some_and(|t| t.starts_with("Root=1-697deec0-")), "{reply:?}");
    assert_eq!(w.last().1, format!("arn:aws:execute-api:us-east-1:{ACCOUNT}:{api}/dev/GET/users/{{id}}"));
    for (method, path, expected) in [
        ("GET", "/dev/users", (403, MISSING)),
        ("GET", "/dev", (403, MISSING)),
        ("GET", "/dev/nope", (403, MISSING)),
        ("GET", "/other/users/7", (403, r#"{"message":"Forbidden"}"#)),
        ("GET", "/", (403, r#"{"message":"Forbidden"}"#)),
        ("POST", "/dev/users", (200, "ok")),
        ("DELETE", "/dev/files/a/b", (200, "ok")),
    ] {
        let reply = w.ask(&api, request(method, path)).await;
        assert_eq!(seen(&reply), (expected.0, expected.1.to_owned()), "{method} {path}");
        let is_error = reply.status != 200;
        assert_eq!(header(&reply, "x-amzn-errortype").is_some(), is_error);
    }
}

#[tokio::test]
async fn paths_arrive_as_sent() {
    let w = World::new().await;
    let api = w.rest_api(&["GET /{proxy+}", "GET /hardcoded"]).await;
    for (sent, path, proxy, context) in [
        ("/dev/v", "/v", Some("v"), "/dev/v"),
        ("/dev/v/", "/v/", Some("v"), "/dev/v/"),
        ("/dev/v//w", "/v//w", Some("v//w"), "/dev/v//w"),
        ("//dev/v", "/v", Some("v"), "/dev/v"),
        ("/dev//v", "/v", Some("v"), "/dev//v"),
        ("/dev/v/a%2Bb@c/d+e", "/v/a%2Bb@c/d+e", Some("v/a%2Bb@c/d+e"), "/dev/v/a%2Bb@c/d+e"),
        ("/dev//hardcoded", "/hardcoded", None, "/dev//hardcoded"),
    ] {
        assert_eq!(w.get(&api, sent).await.status, 200, "{sent}");
        let (event, _) = w.last();
        let params = proxy.map_or(Json::Null, |p| json!({ "proxy": p }));
        assert_eq!((text(&event, "path"), &event["pathParameters"]), (path.into(), &params), "{sent}");
        assert_eq!(text(&event["requestContext"], "path"), context, "{sent}");
    }
}

#[tokio::test]
async fn deployments_are_snapshots() {
    let w = World::new().await;
    let api = w.rest_api(&["GET /a"]).await;
    let at = w.method(&api, "GET", "/b", json!({})).await;
    w.ok("PUT", &format!("{at}/integration"), proxy()).await;
    assert_eq!(w.get(&api, "/dev/b").await.status, 403);
    let two = w.ok("POST", &format!("/restapis/{api}/deployments"), json!({})).await;
    assert_eq!(w.get(&api, "/dev/b").await.status, 403);
    let stage = json!({ "stageName": "next", "deploymentId": two["id"] });
    w.ok("POST", &format!("/restapis/{api}/stages"), stage).await;
    assert_eq!((w.get(&api, "/next/b").await.status, w.get(&api, "/dev/b").await.status), (200, 403));
    let resource = at.split("/methods").next().unwrap_or_default();
    w.ok("DELETE", resource, Json::Null).await;
    assert_eq!(w.get(&api, "/next/b").await.status, 200);
    w.ok("POST", &format!("/restapis/{api}/deployments"), json!({ "stageName": "next" })).await;
    assert_eq!(w.get(&api, "/next/b").await.status, 403);
}

#[tokio::test]
async fn stage_variables_choose_functions() {
    let w = World::new().await;
    let api = text(&w.ok("POST", "/restapis", json!({ "name": "a" })).await, "id");
    let at = w.method(&api, "GET", "/", json!({})).await;
    let mut integration = proxy();
    let uri = text(&integration, "uri").replace(":function:f", ":function:${stageVariables.fn}");
    merge(&mut integration, json!({ "uri": uri }));
    w.ok("PUT", &format!("{at}/integration"), integration).await;
    w.ok("POST", &format!("/restapis/{api}/deployments"), json!({ "stageName": "dev", "variables": { "fn": "g" } }))
        .await;
    assert_eq!(w.get(&api, "/dev").await.status, 200);
    assert_eq!(w.functions.calls.lock()[0].function, "arn:aws:lambda:us-east-1:000000000000:function:g");
    assert_eq!(w.last().0["stageVariables"], json!({ "fn": "g" }));
}

#[tokio::test]
async fn failures_are_answered_as_rest_apis_do() {
    let w = World::new().await;
    let api = w.rest_api(&["GET /a"]).await;
    let internal = r#"{"message": "Internal server error"}"#.replace(": ", ":");
    let denied = ServiceError::client("AccessDeniedException", 403, "no");
    let large = ServiceError::client("RequestEntityTooLargeException", 413, "no");
    for (behaviour, expected) in [
        (Behaviour::Fail, (502, internal.as_str())),
        (Behaviour::Refuse(denied), (500, internal.as_str())),
        (Behaviour::Refuse(large), (413, r#"{"message":"Request Too Long"}"#)),
        (Behaviour::Answer("{}".into()), (502, internal.as_str())),
        (Behaviour::Answer(r#""text""#.into()), (502, internal.as_str())),
        (Behaviour::Answer(r#"{"statusCode":200,"extra":1}"#.into()), (502, internal.as_str())),
    ] {
        w.behave(behaviour);
        let reply = w.get(&api, "/dev/a").await;
        assert_eq!(seen(&reply), (expected.0, expected.1.to_owned()));
        assert!(header(&reply, "x-amzn-errortype").is_some());
    }
    // Lambda is called by POST only: AWS accepts another method and fails when it is used.
    let at = w.method(&api, "GET", "/broken", json!({})).await;
    let mut integration = proxy();
    merge(&mut integration, json!({ "httpMethod": "GET" }));
    w.ok("PUT", &format!("{at}/integration"), integration).await;
    w.ok("POST", &format!("/restapis/{api}/deployments"), json!({ "stageName": "dev" })).await;
    assert_eq!(seen(&w.get(&api, "/dev/broken").await), (500, internal));
}

#[tokio::test(start_paused = true)]
async fn late_answers_are_not_waited_for() {
    let w = World::new().await;
    let api = w.rest_api(&["GET /a"]).await;
    w.behave(Behaviour::Hang);
    let before = tokio::time::Instant::now();
    assert_eq!(seen(&w.get(&api, "/dev/a").await), (504, r#"{"message":"Endpoint request timed out"}"#.into()));
    assert_eq!(before.elapsed().as_secs(), 29);
}

#[tokio::test]
async fn binary_media_types_decide_on_base64() {
    let w = World::new().await;
    let api = w.rest_api(&["POST /a"]).await;
    let patch = json!({ "patchOperations": [{ "op": "add", "path": "/binaryMediaTypes/image~1png" }] });
    w.ok("PATCH", &format!("/restapis/{api}"), patch).await;
    w.answers(json!({ "statusCode": 200, "body": "aGk=", "isBase64Encoded": true }));
    let ask = async |accept: &str| {
        let headers = [("accept", accept)];
        w.ask(&api, with_headers(with_body(request("POST", "/dev/a"), "image/png", &b"\x89"[..]), &headers)).await
    };
    // The setting belongs to the deployment.
    assert_eq!(seen(&ask("image/png").await).1, "aGk=");
    assert_eq!(w.last().0["isBase64Encoded"], json!(false));
    w.ok("POST", &format!("/restapis/{api}/deployments"), json!({ "stageName": "dev" })).await;
    assert_eq!(seen(&ask("image/png").await).1, "hi");
    assert_eq!((text(&w.last().0, "body"), &w.last().0["isBase64Encoded"]), ("iQ==".into(), &json!(true)));
    assert_eq!(seen(&ask("text/html, image/png").await).1, "aGk=");
}

#[tokio::test]
async fn preflights_are_answered_by_mock_integrations() {
    let w = World::new().await;
    let api = w.rest_api(&["GET /a"]).await;
    let at = w.method(&api, "OPTIONS", "/a", json!({})).await;
    let mock = json!({ "type": "MOCK", "requestTemplates": { "application/json": "{statusCode:200}" }, "contentHandling": "CONVERT_TO_TEXT" });
    w.ok("PUT", &format!("{at}/integration"), mock).await;
    let origin = "method.response.header.Access-Control-Allow-Origin";
    let mapped = json!({ "responseParameters": { origin: "'*'" }, "responseTemplates": { "application/json": "" } });
    let undeclared = w.fails("PUT", &format!("{at}/integration/responses/200"), mapped.clone()).await;
    assert_eq!(undeclared, "NotFoundException 404 Invalid Response status code specified");
    w.ok(
        "PUT",
        &format!("{at}/responses/200"),
        json!({ "responseParameters": { origin: true }, "responseModels": {} }),
    )
    .await;
    w.ok("PUT", &format!("{at}/integration/responses/200"), mapped).await;
    let dynamic = json!({ "responseParameters": { origin: "integration.response.header.x" } });
    assert!(w.fails("PUT", &format!("{at}/integration/responses/200"), dynamic).await.contains("is not supported"));
    let vtl = json!({ "responseTemplates": { "application/json": "$input.body" } });
    assert!(w.fails("PUT", &format!("{at}/integration/responses/200"), vtl).await.contains("is not supported"));
    w.ok("POST", &format!("/restapis/{api}/deployments"), json!({ "stageName": "dev" })).await;
    let reply = w.ask(&api, request("OPTIONS", "/dev/a")).await;
    assert_eq!((seen(&reply), header(&reply, "access-control-allow-origin")), ((200, String::new()), Some("*")));
    assert!(w.functions.calls.lock().is_empty());
}

#[tokio::test]
async fn mock_statuses_choose_answers() {
    let w = World::new().await;
    let api = w.rest_api(&["GET /a"]).await;
    let at = w.method(&api, "POST", "/m", json!({})).await;
    w.ok("PUT", &format!("{at}/integration"), json!({ "type": "MOCK", "passthroughBehavior": "WHEN_NO_TEMPLATES" }))
        .await;
    for (status, pattern, body) in [("200", "", "{\"fine\":true}"), ("400", "4\\d{2}", "bad")] {
        w.ok("PUT", &format!("{at}/responses/{status}"), json!({})).await;
        let mapped = json!({ "selectionPattern": pattern, "responseTemplates": { "application/json": body } });
        w.ok("PUT", &format!("{at}/integration/responses/{status}"), mapped).await;
    }
    w.ok("POST", &format!("/restapis/{api}/deployments"), json!({ "stageName": "dev" })).await;
    let ask = async |body: &'static str| {
        seen(&w.ask(&api, with_body(request("POST", "/dev/m"), "application/json", body)).await)
    };
    assert_eq!(ask("{\"statusCode\": 200}").await, (200, "{\"fine\":true}".into()));
    assert_eq!(ask("{\"statusCode\": 404}").await, (400, "bad".into()));
    assert_eq!(ask("{\"statusCode\": 500}").await, (200, "{\"fine\":true}".into()));
    assert_eq!(ask("nonsense").await.0, 500);
}

#[tokio::test]
async fn signed_methods_ask_for_permission() {
    let w = World::new().await;
    let api = text(&w.ok("POST", "/restapis", json!({ "name": "a" })).await, "id");
    let at = w.method(&api, "GET", "/u/{id}", json!({ "authorizationType": "AWS_IAM" })).await;
    w.ok("PUT", &format!("{at}/integration"), proxy()).await;
    w.ok("POST", &format!("/restapis/{api}/deployments"), json!({ "stageName": "dev" })).await;
    assert_eq!(seen(&w.get(&api, "/dev/u/1").await), (403, MISSING.into()));
    let mut broken = request("GET", "/dev/u/1");
    broken.caller = Caller::Refused(
        Some(CredentialError::Unknown),
        "The security token included in the request is invalid.".into(),
    );
    let reply = w.ask(&api, broken).await;
    assert_eq!(seen(&reply), (403, r#"{"message":"The security token included in the request is invalid."}"#.into()));
    assert_eq!(header(&reply, "x-amzn-errortype"), Some("UnrecognizedClientException"));
    let reply = w.ask(&api, signed(request("GET", "/dev/u/1"), "bad")).await;
    let expected = format!(
        "{{\"Message\":\"User: arn:aws:iam::{ACCOUNT}:user/bad is not authorized to perform: execute-api:Invoke on resource: \
         arn:aws:execute-api:us-east-1:********0000:{api}/dev/GET/u/1\"}}"
    );
    assert_eq!(seen(&reply), (403, expected));
    assert_eq!(w.ask(&api, signed(request("GET", "/dev/u/1"), "good")).await.status, 200);
    let identity = w.last().0["requestContext"]["identity"].clone();
    assert_eq!((text(&identity, "user"), text(&identity, "accountId")), ("AIDAgood".into(), ACCOUNT.into()));
    let mut root = request("GET", "/dev/u/1");
    root.caller = Caller::Signed(Principal::Root { account: ACCOUNT.into() });
    assert_eq!(w.ask(&api, root).await.status, 200);
}

#[tokio::test]
async fn a_disabled_endpoint_is_forbidden_once_deployed() {
    let w = World::new().await;
    let api = w.rest_api(&["GET /a"]).await;
    let patch =
        json!({ "patchOperations": [{ "op": "replace", "path": "/disableExecuteApiEndpoint", "value": "true" }] });
    w.ok("PATCH", &format!("/restapis/{api}"), patch).await;
    assert_eq!(w.get(&api, "/dev/a").await.status, 200);
    w.ok("POST", &format!("/restapis/{api}/deployments"), json!({ "stageName": "dev" })).await;
    assert_eq!(seen(&w.get(&api, "/dev/a").await), (403, r#"{"message":"Forbidden"}"#.into()));
}

#[tokio::test]
async fn traces_go_on_and_name_a_parent() {
    let w = World::new().await;
    let api = w.rest_api(&["GET /a"]).await;
    let root = "Root=1-00000000-000000000000000000000001";
    let ask = async |given: &str| {
        let reply = w.ask(&api, with_headers(request("GET", "/dev/a"), &[("x-amzn-trace-id", given)])).await;
        let sent = text(&w.last().0["headers"], "X-Amzn-Trace-Id");
        (sent, header(&reply, "x-amzn-trace-id").unwrap_or_default().to_owned())
    };
    let whole = format!("{root};Parent=0000000000000002;Sampled=1");
    assert_eq!(ask(&whole).await, (whole.clone(), whole));
    let (sent, answered) = ask(root).await;
    assert_eq!(sent, root);
    let words: Vec<&str> = answered.split(';').collect();
    let [first, parent, "Sampled=0"] = words.as_slice() else { panic!("{answered}") };
    assert_eq!((*first, parent.len()), (root, "Parent=".len() + 16));
    let (_, answered) = ask(&format!("{root};Sampled=1")).await;
    assert!(answered.starts_with(&format!("{root};Parent=")) && answered.ends_with(";Sampled=1"), "{answered}");
}
