//! Operations of `apigateway`.

use super::*;

#[tokio::test]
async fn apis_are_created_listed_and_removed() {
    let w = World::new().await;
    let (status, api) = w.call("POST", "/restapis", json!({ "name": "a", "description": "d", "version": "v1" })).await;
    assert_eq!(status, 201);
    let (id, root) = (text(&api, "id"), text(&api, "rootResourceId"));
    let expected = json!({
        "id": id, "name": "a", "description": "d", "createdDate": api["createdDate"], "version": "v1", "apiKeySource": "HEADER",
        "endpointConfiguration": { "types": ["EDGE"], "ipAddressType": "ipv4" }, "disableExecuteApiEndpoint": false,
        "rootResourceId": root,
    });
    assert_eq!(api, expected);
    assert_eq!((id.len(), root.len()), (10, 10));
    assert_eq!(w.ok("GET", &format!("/restapis/{id}"), Json::Null).await["tags"], json!({}));
    w.ok("POST", "/restapis", json!({ "name": "b", "tags": { "k": "v" } })).await;
    let first = w.ok("GET", "/restapis?limit=1", Json::Null).await;
    let second = w.ok("GET", &format!("/restapis?limit=1&position={}", text(&first, "position")), Json::Null).await;
    let names: Vec<String> = [&first, &second].map(|p| text(&p["item"][0], "name")).to_vec();
    assert_eq!((names.len(), second.get("position")), (2, None));
    assert_eq!(w.call_in("eu-west-1", "GET", "/restapis", Json::Null).await.1, json!({ "item": [] }));
    assert_eq!(w.call_in("eu-west-1", "GET", &format!("/restapis/{id}"), Json::Null).await.0, 404);
    assert_eq!(w.call("DELETE", &format!("/restapis/{id}"), Json::Null).await.0, 202);
    let gone = format!("NotFoundException 404 Invalid API identifier specified {ACCOUNT}:{id}");
    assert_eq!(w.fails("GET", &format!("/restapis/{id}"), Json::Null).await, gone);
    assert_eq!(w.fails("DELETE", &format!("/restapis/{id}"), Json::Null).await, gone);
}

#[tokio::test]
async fn settings_that_are_not_served_are_refused() {
    let w = World::new().await;
    for (name, value, expected) in [
        ("description", json!(""), "Description cannot be an empty string"),
        ("minimumCompressionSize", json!(-1), "Invalid minimum compression size, must be between 0 and 10485760"),
        ("minimumCompressionSize", json!(10), "minimumCompressionSize is not supported by this version of Squall"),
        ("apiKeySource", json!("AUTHORIZER"), "apiKeySource \"AUTHORIZER\" is not supported by this version of Squall"),
        ("policy", json!("{}"), "A resource policy of a REST API is not supported by this version of Squall"),
        ("cloneFrom", json!("x"), "cloneFrom is not supported by this version of Squall"),
        (
            "endpointConfiguration",
            json!({ "types": [] }),
            "REGIONAL Configuration and EDGE Configuration cannot be both DISABLED.",
        ),
        (
            "endpointConfiguration",
            json!({ "types": ["EDGE", "REGIONAL"] }),
            "Cannot create an api with multiple Endpoint Types.",
        ),
        (
            "endpointConfiguration",
            json!({ "types": ["PRIVATE"] }),
            "The endpoint type PRIVATE is not supported by this version of Squall",
        ),
    ] {
        let found = w.fails("POST", "/restapis", json!({ "name": "a", name: value })).await;
        assert_eq!(found, format!("BadRequestException 400 {expected}"), "{name}");
    }
}

#[tokio::test]
async fn apis_are_patched() {
    let w = World::new().await;
    let id = text(&w.ok("POST", "/restapis", json!({ "name": "a" })).await, "id");
    let uri = format!("/restapis/{id}");
    let patch =
        |op: &str, path: &str, value: &str| json!({ "patchOperations": [{ "op": op, "path": path, "value": value }] });
    w.ok("PATCH", &uri, patch("replace", "/name", "b")).await;
    w.ok("PATCH", &uri, patch("add", "/binaryMediaTypes/image~1png", "")).await;
    w.ok("PATCH", &uri, patch("add", "/binaryMediaTypes/a~1b", "")).await;
    w.ok("PATCH", &uri, patch("remove", "/binaryMediaTypes/a~1b", "")).await;
    w.ok("PATCH", &uri, patch("replace", "/endpointConfiguration/types/EDGE", "REGIONAL")).await;
    let api = w.ok("PATCH", &uri, patch("replace", "/disableExecuteApiEndpoint", "true")).await;
    assert_eq!(api["binaryMediaTypes"], json!(["image/png"]));
    assert_eq!((text(&api, "name"), &api["disableExecuteApiEndpoint"]), ("b".into(), &json!(true)));
    assert_eq!(api["endpointConfiguration"]["types"], json!(["REGIONAL"]));
    for (op, path, value, expected) in [
        ("add", "/binaryMediaTypes", "x", "Invalid patch path /binaryMediaTypes"),
        ("replace", "/nothing", "x", "Invalid patch path /nothing"),
        ("add", "/name", "x", "Invalid patch operation specified. Must be one of: [replace]"),
        ("replace", "/endpointConfiguration/ipAddressType", "x", "ipAddressType must be either ipv4 or dualstack."),
        ("replace", "/policy", "{}", "The patch path /policy is not supported by this version of Squall"),
    ] {
        let found = w.fails("PATCH", &uri, patch(op, path, value)).await;
        assert_eq!(found, format!("BadRequestException 400 {expected}"), "{op} {path}");
    }
    let missing = w.fails("PATCH", "/restapis/nope", patch("replace", "/name", "b")).await;
    assert_eq!(missing, format!("NotFoundException 404 Invalid API identifier specified {ACCOUNT}:nope"));
}

#[tokio::test]
async fn resources_form_a_tree() {
    let w = World::new().await;
    let api = w.ok("POST", "/restapis", json!({ "name": "a" })).await;
    let (root, at) = (text(&api, "rootResourceId"), format!("/restapis/{}/resources", text(&api, "id")));
    let make =
        async |parent: &str, part: &str| w.call("POST", &format!("{at}/{parent}"), json!({ "pathPart": part })).await;
    let (status, pets) = make(&root, "pets").await;
    let pets_id = text(&pets, "id");
    assert_eq!(status, 201);
    assert_eq!(pets, json!({ "id": pets_id, "parentId": root, "pathPart": "pets", "path": "/pets" }));
    let pet = text(&make(&pets_id, "{id}").await.1, "id");
    let sub = make(&pet, "toys").await.1;
    assert_eq!(text(&sub, "path"), "/pets/{id}/toys");
    let message = async |parent: &str, part: &str| text(&make(parent, part).await.1, "message");
    assert_eq!(message(&root, "pets").await, "Another resource with the same parent already has this name: pets");
    assert_eq!(
        message(&pets_id, "{other}").await,
        "A sibling ({id}) of this resource already has a variable path part -- only one is allowed"
    );
    assert_eq!(message("nope", "x").await, "Invalid Resource identifier specified");
    let proxy = text(&make(&root, "{proxy+}").await.1, "id");
    assert_eq!(message(&proxy, "x").await, "Cannot create a child of a resource with a greedy path variable: {proxy+}");
    assert!(message(&root, "a/b").await.starts_with("Resource's path part only allow a-zA-Z0-9._-:"));
    // Moving a resource moves what is under it.
    let patch =
        |path: &str, value: &str| json!({ "patchOperations": [{ "op": "replace", "path": path, "value": value }] });
    let moved = w.ok("PATCH", &format!("{at}/{pets_id}"), patch("/pathPart", "animals")).await;
    assert_eq!(text(&moved, "path"), "/animals");
    let toys = w.ok("GET", &format!("{at}/{}", text(&sub, "id")), Json::Null).await;
    assert_eq!(text(&toys, "path"), "/animals/{id}/toys");
    let cyclical = w.fails("PATCH", &format!("{at}/{pets_id}"), patch("/parentId", &pet)).await;
    assert_eq!(cyclical, "BadRequestException 400 Resources cannot be cyclical.");
    let bad = w.fails("PATCH", &format!("{at}/{pets_id}"), patch("/invalid", "x")).await;
    let expected = "Invalid patch path  '/invalid' specified for op 'replace'. Must be one of: [/parentId, /pathPart]";
    assert_eq!(bad, format!("BadRequestException 400 {expected}"));
    // Removing one removes what is under it.
    assert_eq!(w.call("DELETE", &format!("{at}/{pets_id}"), Json::Null).await.0, 202);
    assert_eq!(
        w.fails("DELETE", &format!("{at}/{pet}"), Json::Null).await,
        "NotFoundException 404 Invalid Resource identifier specified"
    );
    let left = w.ok("GET", &at, Json::Null).await;
    assert_eq!(left["item"].as_array().map(Vec::len), Some(2), "root and proxy: {left}");
}

#[tokio::test]
async fn methods_and_integrations_are_kept() {
    let w = World::new().await;
    let api = text(&w.ok("POST", "/restapis", json!({ "name": "a" })).await, "id");
    let at =
        w.method(&api, "GET", "/x", json!({ "requestParameters": { "method.request.querystring.q": true } })).await;
    let resource = at.rsplit('/').nth(2).unwrap_or_default().to_owned();
    assert_eq!(
        w.fails("PUT", &at, json!({ "authorizationType": "NONE" })).await,
        "ConflictException 409 Method already exists for this resource"
    );
    assert_eq!(
        w.fails("GET", &format!("{at}/integration"), Json::Null).await,
        "NotFoundException 404 Invalid Integration identifier specified"
    );
    let (status, made) = w.call("PUT", &format!("{at}/integration"), proxy()).await;
    assert_eq!(status, 201);
    let expected = json!({
        "type": "AWS_PROXY", "httpMethod": "POST", "uri": proxy()["uri"], "passthroughBehavior": "WHEN_NO_MATCH",
        "timeoutInMillis": 29000, "cacheNamespace": resource, "cacheKeyParameters": [],
    });
    assert_eq!(made, expected);
    let (status, declared) = w
        .call("PUT", &format!("{at}/responses/200"), json!({ "responseModels": { "application/json": "Empty" } }))
        .await;
    assert_eq!((status, text(&declared, "statusCode")), (201, "200".into()));
    let method = w.ok("GET", &at, Json::Null).await;
    let expected = json!({
        "httpMethod": "GET", "authorizationType": "NONE", "apiKeyRequired": false,
        "requestParameters": { "method.request.querystring.q": true },
        "methodResponses": { "200": { "statusCode": "200", "responseModels": { "application/json": "Empty" } } },
        "methodIntegration": made,
    });
    assert_eq!(method, expected);
    let patch =
        |op: &str, path: &str, value: &str| json!({ "patchOperations": [{ "op": op, "path": path, "value": value }] });
    let patched = w.ok("PATCH", &at, patch("replace", "/authorizationType", "AWS_IAM")).await;
    assert_eq!(text(&patched, "authorizationType"), "AWS_IAM");
    let patched = w.ok("PATCH", &format!("{at}/integration"), patch("replace", "/timeoutInMillis", "1000")).await;
    assert_eq!(patched["timeoutInMillis"], json!(1000));
    assert_eq!(w.call("DELETE", &format!("{at}/responses/200"), Json::Null).await.0, 204);
    assert_eq!(w.call("DELETE", &format!("{at}/integration"), Json::Null).await.0, 204);
    assert_eq!(w.call("DELETE", &at, Json::Null).await.0, 204);
    for (uri, expected) in [
        (at.clone(), "Invalid Method identifier specified"),
        (format!("{at}/integration"), "Invalid Method identifier specified"),
        (at.replace(&resource, "nope"), "Invalid Resource identifier specified"),
        (at.replace(&api, "nope"), "Invalid Resource identifier specified"),
    ] {
        assert_eq!(w.fails("GET", &uri, Json::Null).await, format!("NotFoundException 404 {expected}"), "{uri}");
    }
}

#[tokio::test]
async fn methods_and_integrations_that_are_not_served_are_refused() {
    let w = World::new().await;
    let api = text(&w.ok("POST", "/restapis", json!({ "name": "a" })).await, "id");
    let at = w.method(&api, "GET", "/", json!({})).await;
    let other = at.replace("/GET", "/POST");
    let unserved = |what: &str| format!("BadRequestException 400 {what} is not supported by this version of Squall");
    for (name, value, expected) in [
        ("authorizationType", json!("CUSTOM"), "Authorization type CUSTOM"),
        ("authorizationType", json!("COGNITO_USER_POOLS"), "Authorization type COGNITO_USER_POOLS"),
        ("apiKeyRequired", json!(true), "apiKeyRequired"),
        ("requestValidatorId", json!("x"), "requestValidatorId"),
    ] {
        let mut input = json!({ "authorizationType": "NONE" });
        merge(&mut input, json!({ name: value }));
        assert_eq!(w.fails("PUT", &other, input).await, unserved(expected));
    }
    let mock = json!({ "type": "MOCK", "requestTemplates": { "application/json": "#set($a = 1)" } });
    for (input, expected) in [
        (json!({ "type": "HTTP_PROXY", "httpMethod": "GET", "uri": "http://x" }), "The integration type HTTP_PROXY"),
        (json!({ "type": "AWS" }), "The integration type AWS"),
        (mock, "A request template other than {\"statusCode\": NNN}"),
    ] {
        assert_eq!(w.fails("PUT", &format!("{at}/integration"), input).await, unserved(expected));
    }
    for (name, value, expected) in [
        ("uri", json!("arn:aws:apigateway:us-east-1:lambda:path/x"), "Invalid lambda function"),
        ("uri", json!("f"), "Invalid ARN specified in the request"),
        ("httpMethod", json!(""), "Enumeration value for HttpMethod must be non-empty"),
        ("timeoutInMillis", json!(30_000), "Timeout should be between 50 ms and 29000 ms"),
    ] {
        let mut input = proxy();
        merge(&mut input, json!({ name: value }));
        assert_eq!(
            w.fails("PUT", &format!("{at}/integration"), input).await,
            format!("BadRequestException 400 {expected}")
        );
    }
    let (status, _) = w.call("PUT", &at.replace("/GET", "/FETCH"), json!({ "authorizationType": "NONE" })).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn stages_name_deployments() {
    let w = World::new().await;
    let api = text(&w.ok("POST", "/restapis", json!({ "name": "a" })).await, "id");
    let at = format!("/restapis/{api}");
    let empty = w.fails("POST", &format!("{at}/deployments"), json!({})).await;
    assert_eq!(empty, "BadRequestException 400 The REST API doesn't contain any methods");
    let method = w.method(&api, "GET", "/", json!({})).await;
    let half = w.fails("POST", &format!("{at}/deployments"), json!({})).await;
    assert_eq!(half, "BadRequestException 400 No integration defined for method");
    w.ok("PUT", &format!("{method}/integration"), proxy()).await;
    let (status, one) = w.call("POST", &format!("{at}/deployments"), json!({ "description": "d" })).await;
    let one_id = text(&one, "id");
    assert_eq!((status, &one), (201, &json!({ "id": one_id, "description": "d", "createdDate": one["createdDate"] })));
    let input = json!({ "stageName": "s1", "deploymentId": one_id, "variables": { "k": "v" } });
    let (status, stage) = w.call("POST", &format!("{at}/stages"), input.clone()).await;
    let expected = json!({
        "deploymentId": one_id, "stageName": "s1", "cacheClusterEnabled": false, "cacheClusterStatus": "NOT_AVAILABLE",
        "methodSettings": {}, "variables": { "k": "v" }, "tracingEnabled": false, "createdDate": stage["createdDate"],
        "lastUpdatedDate": stage["lastUpdatedDate"],
    });
    assert_eq!((status, stage), (201, expected));
    assert_eq!(w.fails("POST", &format!("{at}/stages"), input).await, "ConflictException 409 Stage already exists");
    let two = text(&w.ok("POST", &format!("{at}/deployments"), json!({ "stageName": "s2" })).await, "id");
    let filtered = w.ok("GET", &format!("{at}/stages?deploymentId={two}"), Json::Null).await;
    assert_eq!(
        filtered["item"].as_array().map(|s| s.iter().map(|s| text(s, "stageName")).collect::<Vec<_>>()),
        Some(vec!["s2".into()])
    );
    let active = w.fails("DELETE", &format!("{at}/deployments/{one_id}"), Json::Null).await;
    assert_eq!(active, "BadRequestException 400 Active stages pointing to this deployment must be moved or deleted");
    let patch = json!({ "patchOperations": [
        { "op": "replace", "path": "/deploymentId", "value": two },
        { "op": "replace", "path": "/variables/k", "value": "w" },
        { "op": "add", "path": "/variables/l", "value": "1" },
    ] });
    let stage = w.ok("PATCH", &format!("{at}/stages/s1"), patch).await;
    assert_eq!((text(&stage, "deploymentId"), &stage["variables"]), (two, &json!({ "k": "w", "l": "1" })));
    assert_eq!(w.call("DELETE", &format!("{at}/deployments/{one_id}"), Json::Null).await.0, 202);
    let patch = json!({ "patchOperations": [{ "op": "replace", "path": "/*/*/throttling/rateLimit", "value": "1" }] });
    assert!(
        w.fails("PATCH", &format!("{at}/stages/s1"), patch)
            .await
            .ends_with("is not supported by this version of Squall")
    );
    assert_eq!(
        w.fails("GET", &format!("{at}/stages/nope"), Json::Null).await,
        "NotFoundException 404 Invalid stage identifier specified"
    );
    assert_eq!(w.call("DELETE", &format!("{at}/stages/s1"), Json::Null).await.0, 202);
    let summary = w
        .ok(
            "GET",
            &format!("{at}/deployments/{}?embed=apisummary", text(&filtered["item"][0], "deploymentId")),
            Json::Null,
        )
        .await;
    assert_eq!(
        summary["apiSummary"],
        json!({ "/": { "GET": { "authorizationType": "NONE", "apiKeyRequired": false } } })
    );
}

#[tokio::test]
async fn tags_are_kept_on_apis_and_stages() {
    let w = World::new().await;
    let api = w.rest_api(&["GET /"]).await;
    for arn in [format!("/restapis/{api}"), format!("/restapis/{api}/stages/dev")] {
        let uri = format!("/tags/arn%3Aaws%3Aapigateway%3Aus-east-1%3A%3A{}", arn.replace('/', "%2F"));
        assert_eq!(w.call("PUT", &uri, json!({ "tags": { "a": "1", "b": "2" } })).await.0, 204);
        assert_eq!(w.call("DELETE", &format!("{uri}?tagKeys=a"), Json::Null).await.0, 204);
        assert_eq!(w.ok("GET", &uri, Json::Null).await["tags"], json!({ "b": "2" }));
    }
    assert!(w.fails("GET", "/tags/arn%3Aaws%3As3%3A%3A%3Ax", Json::Null).await.starts_with("BadRequestException 400"));
}

#[tokio::test]
async fn policies_see_methods_on_paths() {
    let w = World::new().await;
    let rooms = w.room.rooms();
    for (method, uri, expected) in [
        ("GET", "/restapis", "apigateway:GET arn:aws:apigateway:us-east-1::/restapis"),
        (
            "PUT",
            "/restapis/a/resources/b/methods/GET",
            "apigateway:PUT arn:aws:apigateway:us-east-1::/restapis/a/resources/b/methods/GET",
        ),
        (
            "PATCH",
            "/v2/apis/a/stages/$default",
            "apigateway:PATCH arn:aws:apigateway:us-east-1::/apis/a/stages/$default",
        ),
        ("GET", "/v2/tags/arn%3Ax", "apigateway:GET arn:aws:apigateway:us-east-1::/tags/arn%3Ax"),
    ] {
        let head = Head { method: method.into(), path: uri.into(), ..Head::default() };
        let body = Bytes::from_static(b"{}");
        let found = rooms.iter().find_map(|r| Some((r, route(r.service(), &head, &body).ok()?)));
        let (room, routed) = found.expect("an operation");
        let input = decode(room.service(), &routed, &head, &body).expect("a decodable request");
        let accesses = room.access(&w.ctx("us-east-1"), routed.op, &input);
        let shown: Vec<String> = accesses.iter().map(|a| format!("{} {}", a.action, a.resource)).collect();
        assert_eq!(shown, [expected]);
    }
}
