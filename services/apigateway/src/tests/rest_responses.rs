//! Declared and mapped responses, and how they are changed.

use super::*;

fn patch(op: &str, path: &str, value: &str) -> Json {
    json!({ "patchOperations": [{ "op": op, "path": path, "value": value }] })
}

/// A method with a MOCK integration; gives the API and the method's URI.
async fn mocked(w: &World) -> (String, String) {
    let api = text(&w.ok("POST", "/restapis", json!({ "name": "a" })).await, "id");
    let at = w.method(&api, "GET", "/m", json!({})).await;
    let mock = json!({ "type": "MOCK", "requestTemplates": { "application/json": "{\"statusCode\": 200}" } });
    w.ok("PUT", &format!("{at}/integration"), mock).await;
    (api, at)
}

#[tokio::test]
async fn declared_responses_are_patched() {
    let w = World::new().await;
    let (_, at) = mocked(&w).await;
    let uri = format!("{at}/responses/200");
    let (status, empty) = w.call("PUT", &uri, json!({ "responseParameters": {}, "responseModels": {} })).await;
    assert_eq!(status, 201);
    assert_eq!(empty, json!({ "statusCode": "200", "responseParameters": {}, "responseModels": {} }));
    let header = "method.response.header.x-a";
    w.ok("PATCH", &uri, patch("add", &format!("/responseParameters/{header}"), "true")).await;
    let changed = w.ok("PATCH", &uri, patch("add", "/responseModels/application~1json", "Empty")).await;
    let expected = json!({
        "statusCode": "200", "responseParameters": { header: true }, "responseModels": { "application/json": "Empty" },
    });
    assert_eq!(changed, expected);
    assert_eq!(w.ok("GET", &uri, Json::Null).await, expected);
    for (op, path, value, expected) in [
        ("replace", "/responseParameters/wrong", "true", "NotFoundException 404 Invalid parameter name specified"),
        ("remove", "/responseParameters/wrong", "", "NotFoundException 404 Invalid parameter name specified"),
        ("replace", "/responseModels/wrong", "Empty", "NotFoundException 404 Content-Type specified was not found"),
        ("remove", "/responseModels/wrong", "", "NotFoundException 404 Content-Type specified was not found"),
        (
            "add",
            "/responseParameters/wrong",
            "true",
            "BadRequestException 400 Invalid mapping expression parameter specified: wrong",
        ),
        ("add", "/responseModels/a~1b", "X", "BadRequestException 400 Invalid model identifier specified: X"),
        ("replace", "/statusCode", "201", "BadRequestException 400 Invalid patch path /statusCode"),
    ] {
        assert_eq!(w.fails("PATCH", &uri, patch(op, path, value)).await, expected, "{op} {path}");
    }
    let missing = w.fails("PATCH", &format!("{at}/responses/404"), patch("add", "/responseModels/a~1b", "Empty")).await;
    assert_eq!(missing, "NotFoundException 404 Invalid Response status code specified");
    let removed = w.ok("PATCH", &uri, patch("remove", &format!("/responseParameters/{header}"), "")).await;
    assert_eq!(removed["responseParameters"], json!({}));
    // Operations are named in the order of the service.
    let wrong = w.fails("PATCH", &uri, patch("wrong", "/responseModels/a~1b", "Empty")).await;
    assert!(wrong.ends_with("[add, remove, move, test, replace, copy]"), "{wrong}");
}

#[tokio::test]
async fn mapped_responses_are_patched_and_deployed_anew() {
    let w = World::new().await;
    let (api, at) = mocked(&w).await;
    w.ok("PUT", &format!("{at}/responses/200"), json!({})).await;
    let uri = format!("{at}/integration/responses/200");
    let mapped = json!({ "selectionPattern": "", "responseTemplates": { "application/json": "one" } });
    w.ok("PUT", &uri, mapped).await;
    w.ok("POST", &format!("/restapis/{api}/deployments"), json!({ "stageName": "dev" })).await;
    assert_eq!(seen(&w.get(&api, "/dev/m").await), (200, "one".into()));
    let changed = w.ok("PATCH", &uri, patch("replace", "/responseTemplates/application~1json", "two")).await;
    assert_eq!(
        changed,
        json!({ "statusCode": "200", "selectionPattern": "", "responseTemplates": { "application/json": "two" } })
    );
    assert_eq!(seen(&w.get(&api, "/dev/m").await), (200, "one".into()));
    w.ok("POST", &format!("/restapis/{api}/deployments"), json!({ "stageName": "dev" })).await;
    assert_eq!(seen(&w.get(&api, "/dev/m").await), (200, "two".into()));
    for (op, path, value, expected) in [
        ("replace", "/responseTemplates/a~1b", "x", "NotFoundException 404 Content-Type specified was not found"),
        ("remove", "/responseParameters/x", "", "NotFoundException 404 Invalid parameter name specified"),
        (
            "add",
            "/responseParameters/method.response.header.x",
            "'y'",
            "BadRequestException 400 Invalid mapping expression parameter specified: method.response.header.x",
        ),
        ("replace", "/selectionPattern", "(", "BadRequestException 400 Invalid selection pattern specified: ("),
        ("replace", "/nothing", "x", "BadRequestException 400 Invalid patch path /nothing"),
    ] {
        assert_eq!(w.fails("PATCH", &uri, patch(op, path, value)).await, expected, "{op} {path}");
    }
    let template = patch("replace", "/responseTemplates/application~1json", "$input.body");
    assert!(w.fails("PATCH", &uri, template).await.contains("is not supported"));
    let kept = w.ok("GET", &uri, Json::Null).await;
    assert_eq!(kept["responseTemplates"]["application/json"], "two", "a refused change leaves nothing behind");
}

#[tokio::test]
async fn undeclared_statuses_may_be_mapped_but_not_answered() {
    let w = World::new().await;
    let (api, at) = mocked(&w).await;
    let mapped = json!({ "responseTemplates": { "application/json": "fine" } });
    w.ok("PUT", &format!("{at}/integration/responses/200"), mapped).await;
    w.ok("POST", &format!("/restapis/{api}/deployments"), json!({ "stageName": "dev" })).await;
    assert_eq!(w.get(&api, "/dev/m").await.status, 500);
    w.ok("PUT", &format!("{at}/responses/200"), json!({})).await;
    w.ok("POST", &format!("/restapis/{api}/deployments"), json!({ "stageName": "dev" })).await;
    assert_eq!(seen(&w.get(&api, "/dev/m").await), (200, "fine".into()));
}

#[tokio::test]
async fn words_and_errors_are_the_services() {
    let w = World::new().await;
    let (api, _) = mocked(&w).await;
    let at = w.method(&api, "GET", "/n", json!({ "authorizationType": "none" })).await;
    assert_eq!(text(&w.ok("GET", &at, Json::Null).await, "authorizationType"), "NONE");
    let both = json!({ "name": "a", "description": "", "minimumCompressionSize": -1 });
    let first = "BadRequestException 400 Description cannot be an empty string";
    assert_eq!(w.fails("POST", "/restapis", both).await, first);
    let types = json!({ "name": "a", "endpointConfiguration": { "types": ["wrong"] } });
    assert!(w.fails("POST", "/restapis", types).await.ends_with("enum value set: [PRIVATE, EDGE, REGIONAL]]"));
}
