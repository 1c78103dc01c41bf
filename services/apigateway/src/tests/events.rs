//! Whole events against golden files. `UPDATE_GOLDEN=1 cargo test -p squall-apigateway` writes them anew.

use super::*;

fn golden(name: &str, event: &Json) {
    let path = format!("{}/src/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let found = format!("{event:#}\n");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &found).expect("write the golden file");
    }
    let expected = std::fs::read_to_string(&path).expect("read the golden file");
    assert_eq!(found, expected, "{name}");
}

fn rich(path: &str) -> HttpRequest {
    let headers = [
        ("accept", "application/json"),
        ("x-custom", "1"),
        ("x-custom", "2"),
        ("cookie", "a=1; b=2"),
        ("content-length", "15"),
        ("connection", "keep-alive"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-amzn-trace-id", "Root=1-00000000-000000000000000000000000"),
    ];
    let request = with_body(request("POST", path), "application/json", &b"{\"hello\":\"you\"}"[..]);
    with_headers(request, &headers)
}

#[tokio::test]
async fn rest_apis_send_format_1() {
    let w = World::new().await;
    let api = w.rest_api(&["POST /users/{id}/posts/{proxy+}"]).await;
    let patch = json!({ "patchOperations": [{ "op": "add", "path": "/variables/table", "value": "t1" }] });
    w.ok("PATCH", &format!("/restapis/{api}/stages/dev"), patch).await;
    w.ask(&api, rich("/dev/users/a%20b/posts/1/2?q=1&q=two&r=%C3%A9")).await;
    golden("rest-1.0", &w.last().0);
}

#[tokio::test]
async fn rest_apis_send_nulls_for_what_is_not_there() {
    let w = World::new().await;
    let api = w.rest_api(&["GET /"]).await;
    w.get(&api, "/dev").await;
    golden("rest-1.0-empty", &w.last().0);
}

#[tokio::test]
async fn http_apis_send_format_1_on_demand() {
    let w = World::new().await;
    let api = w.http_api(&["POST /users/{id}"], "1.0").await;
    w.ask(&api, rich("/users/7?q=1&q=two")).await;
    golden("http-1.0", &w.last().0);
}

#[tokio::test]
async fn http_apis_send_format_2() {
    let w = World::new().await;
    let api = w.http_api(&["POST /users/{id}"], "2.0").await;
    let stage = json!({ "stageName": "dev", "autoDeploy": true, "stageVariables": { "table": "t1" } });
    w.ok("POST", &format!("/v2/apis/{api}/stages"), stage).await;
    w.ask(&api, rich("/dev/users/7?q=1&q=two&r=%C3%A9")).await;
    golden("http-2.0", &w.last().0);
}

#[tokio::test]
async fn format_2_leaves_out_what_is_not_there() {
    let w = World::new().await;
    let api = w.http_api(&["$default"], "2.0").await;
    w.get(&api, "/").await;
    golden("http-2.0-empty", &w.last().0);
}
