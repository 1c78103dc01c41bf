//! Operations of `apigatewayv2`.

use super::*;

#[tokio::test]
async fn apis_are_created_listed_and_removed() {
    let w = World::new().await;
    let (status, api) = w.call("POST", "/v2/apis", json!({ "name": "a", "protocolType": "HTTP" })).await;
    let id = text(&api, "apiId");
    let expected = json!({
        "apiEndpoint": format!("http://{id}.execute-api.us-east-1.localhost:4566"), "apiId": id,
        "apiKeySelectionExpression": "$request.header.x-api-key", "createdDate": "2026-01-31T12:00:00Z",
        "disableExecuteApiEndpoint": false, "ipAddressType": "ipv4", "name": "a", "protocolType": "HTTP",
        "routeSelectionExpression": "$request.method $request.path", "tags": {},
    });
    assert_eq!((status, &api), (201, &expected));
    assert_eq!(w.ok("GET", &format!("/v2/apis/{id}"), Json::Null).await, expected);
    let cors = json!({ "allowOrigins": ["*"], "allowMethods": ["GET"], "maxAge": 5 });
    let patched = w.ok("PATCH", &format!("/v2/apis/{id}"), json!({ "name": "b", "corsConfiguration": cors })).await;
    assert_eq!((text(&patched, "name"), &patched["corsConfiguration"]), ("b".into(), &cors));
    assert_eq!(w.call("DELETE", &format!("/v2/apis/{id}/cors"), Json::Null).await.0, 204);
    w.ok("POST", "/v2/apis", json!({ "name": "c", "protocolType": "HTTP" })).await;
    let first = w.ok("GET", "/v2/apis?maxResults=1", Json::Null).await;
    let second =
        w.ok("GET", &format!("/v2/apis?maxResults=1&nextToken={}", text(&first, "nextToken")), Json::Null).await;
    assert_eq!((first["items"].as_array().map(Vec::len), second.get("nextToken")), (Some(1), None));
    assert_eq!(w.call("DELETE", &format!("/v2/apis/{id}"), Json::Null).await.0, 204);
    let gone = format!("NotFoundException 404 Invalid API identifier specified {ACCOUNT}:{id}");
    assert_eq!(w.fails("GET", &format!("/v2/apis/{id}"), Json::Null).await, gone);
}

#[tokio::test]
async fn quick_create_makes_a_whole_api() {
    let w = World::new().await;
    let api = w.ok("POST", "/v2/apis", json!({ "name": "a", "protocolType": "HTTP", "target": FUNCTION })).await;
    let id = text(&api, "apiId");
    let items = async |what: &str| w.ok("GET", &format!("/v2/apis/{id}/{what}"), Json::Null).await["items"][0].clone();
    let integration = items("integrations").await;
    let integration_id = text(&integration, "integrationId");
    let expected = json!({
        "apiGatewayManaged": true, "connectionType": "INTERNET", "integrationId": integration_id, "integrationMethod": "POST",
        "integrationType": "AWS_PROXY", "integrationUri": FUNCTION, "payloadFormatVersion": "2.0", "timeoutInMillis": 30000,
    });
    assert_eq!(integration, expected);
    let route = items("routes").await;
    let expected = json!({
        "apiGatewayManaged": true, "apiKeyRequired": false, "authorizationType": "NONE", "routeId": text(&route, "routeId"),
        "routeKey": "$default", "target": format!("integrations/{integration_id}"),
    });
    assert_eq!(route, expected);
    let stage = items("stages").await;
    assert_eq!((text(&stage, "stageName"), &stage["autoDeploy"]), ("$default".into(), &json!(true)));
    let message = format!("Successfully deployed stage with deployment ID '{}'", text(&stage, "deploymentId"));
    assert_eq!(text(&stage, "lastDeploymentStatusMessage"), message);
    assert_eq!(seen(&w.get(&id, "/anything").await), (200, "ok".into()));
}

#[tokio::test]
async fn what_is_not_served_is_refused() {
    let w = World::new().await;
    let api = w.http_api(&[], "2.0").await;
    let at = format!("/v2/apis/{api}");
    let unserved = |what: &str| format!("BadRequestException 400 {what} is not supported by this version of Squall");
    let websocket =
        json!({ "name": "a", "protocolType": "WEBSOCKET", "routeSelectionExpression": "$request.body.action" });
    let integration = |name: &str, value: Json| {
        let mut input =
            json!({ "integrationType": "AWS_PROXY", "integrationUri": FUNCTION, "payloadFormatVersion": "2.0" });
        merge(&mut input, json!({ name: value }));
        input
    };
    for (uri, input, expected) in [
        ("/v2/apis".to_owned(), websocket, "The protocol type WEBSOCKET"),
        (
            format!("{at}/routes"),
            json!({ "routeKey": "GET /", "authorizationType": "JWT", "authorizerId": "x" }),
            "authorizerId",
        ),
        (
            format!("{at}/routes"),
            json!({ "routeKey": "GET /", "authorizationType": "CUSTOM" }),
            "Authorization type CUSTOM",
        ),
        (
            format!("{at}/integrations"),
            integration("integrationType", json!("HTTP_PROXY")),
            "integrationType \"HTTP_PROXY\"",
        ),
        (format!("{at}/integrations"), integration("connectionType", json!("VPC_LINK")), "connectionType \"VPC_LINK\""),
        (
            format!("{at}/integrations"),
            integration("integrationUri", json!("https://x")),
            "The integration type HTTP_PROXY",
        ),
        (
            format!("{at}/stages"),
            json!({ "stageName": "s", "defaultRouteSettings": { "throttlingBurstLimit": 1 } }),
            "throttlingBurstLimit",
        ),
        (
            format!("{at}/stages"),
            json!({ "stageName": "s", "accessLogSettings": { "format": "x" } }),
            "accessLogSettings",
        ),
    ] {
        assert_eq!(w.fails("POST", &uri, input).await, unserved(expected));
    }
    for (uri, input) in [
        (format!("{at}/routes"), json!({ "routeKey": "GET" })),
        (format!("{at}/routes"), json!({ "routeKey": "GET /{a+}/b" })),
        (format!("{at}/integrations"), integration("payloadFormatVersion", json!("3.0"))),
        (format!("{at}/integrations"), integration("timeoutInMillis", json!(30_001))),
        (format!("{at}/integrations"), integration("integrationUri", json!("f"))),
        (format!("{at}/stages"), json!({ "stageName": "a b" })),
        (format!("{at}/stages"), json!({ "stageName": "s", "stageVariables": { "k": "ä" } })),
    ] {
        assert!(w.fails("POST", &uri, input).await.starts_with("BadRequestException 400"), "{uri}");
    }
}

#[tokio::test]
async fn routes_and_integrations_change() {
    let w = World::new().await;
    let api = w.http_api(&["GET /a"], "2.0").await;
    let at = format!("/v2/apis/{api}");
    let again = w.fails("POST", &format!("{at}/routes"), json!({ "routeKey": "GET /a" })).await;
    assert_eq!(again, "ConflictException 409 Route with key GET /a already exists for this API");
    let route = w.ok("GET", &format!("{at}/routes"), Json::Null).await["items"][0].clone();
    let (route_id, target) = (text(&route, "routeId"), text(&route, "target"));
    let changed = w.ok("PATCH", &format!("{at}/routes/{route_id}"), json!({ "routeKey": "GET /b" })).await;
    assert_eq!((text(&changed, "routeKey"), text(&changed, "target")), ("GET /b".into(), target.clone()));
    assert_eq!((w.get(&api, "/a").await.status, w.get(&api, "/b").await.status), (404, 200));
    let integration = target.replace("integrations/", "");
    let used = w.fails("DELETE", &format!("{at}/integrations/{integration}"), Json::Null).await;
    let expected =
        format!("Cannot delete Integration because it is referenced by the following Routes with Ids: [{route_id}]");
    assert_eq!(used, format!("ConflictException 409 {expected}"));
    let changed = w.ok("PATCH", &format!("{at}/integrations/{integration}"), json!({ "timeoutInMillis": 50 })).await;
    assert_eq!(changed["timeoutInMillis"], json!(50));
    assert_eq!(w.call("DELETE", &format!("{at}/routes/{route_id}"), Json::Null).await.0, 204);
    assert_eq!(w.call("DELETE", &format!("{at}/integrations/{integration}"), Json::Null).await.0, 204);
    for (what, expected) in [
        ("routes", "Invalid Route identifier specified"),
        ("integrations", "Invalid Integration identifier specified"),
        ("stages", "Invalid stage identifier specified"),
        ("deployments", "Invalid Deployment identifier specified"),
    ] {
        let found = w.fails("GET", &format!("{at}/{what}/nope"), Json::Null).await;
        assert_eq!(found, format!("NotFoundException 404 {expected}"));
    }
    let lost =
        w.fails("POST", &format!("{at}/routes"), json!({ "routeKey": "GET /c", "target": "integrations/nope" })).await;
    assert!(lost.starts_with("NotFoundException 404"), "{lost}");
}

#[tokio::test]
async fn automatic_deployments_replace_each_other() {
    let w = World::new().await;
    let api = w.http_api(&["GET /a", "GET /b", "GET /c"], "2.0").await;
    let deployments = w.ok("GET", &format!("/v2/apis/{api}/deployments"), Json::Null).await;
    let items = deployments["items"].as_array().cloned().unwrap_or_default();
    assert_eq!(items.len(), 1, "{deployments}");
    assert_eq!((&items[0]["autoDeployed"], text(&items[0], "deploymentStatus")), (&json!(true), "DEPLOYED".into()));
    let busy = w.fails("POST", &format!("/v2/apis/{api}/deployments"), json!({ "stageName": "$default" })).await;
    assert!(busy.starts_with("BadRequestException 400"), "{busy}");
}

#[tokio::test]
async fn tags_are_kept_on_apis_and_stages() {
    let w = World::new().await;
    let api = w.http_api(&[], "2.0").await;
    for arn in [format!("/apis/{api}"), format!("/apis/{api}/stages/$default")] {
        let uri = format!("/v2/tags/arn%3Aaws%3Aapigateway%3Aus-east-1%3A%3A{}", arn.replace('/', "%2F"));
        assert_eq!(w.call("POST", &uri, json!({ "tags": { "a": "1", "b": "2" } })).await.0, 201);
        assert_eq!(w.call("DELETE", &format!("{uri}?tagKeys=a"), Json::Null).await.0, 204);
        assert_eq!(w.ok("GET", &uri, Json::Null).await["tags"], json!({ "b": "2" }));
    }
}
