//! What survives a restart, and what a crash may leave.

use super::*;
use crate::tables::{self, Sort};
use squall_store::{StateExt as _, Txn};

#[tokio::test]
async fn everything_survives_a_restart() {
    let mut w = World::new().await;
    let rest = w.rest_api(&["GET /users/{id}", "ANY /{proxy+}"]).await;
    let http = w.http_api(&["GET /a", "$default"], "2.0").await;
    let uris = [
        format!("/restapis/{rest}"),
        format!("/restapis/{rest}/resources?embed=methods&limit=500"),
        format!("/restapis/{rest}/stages"),
        format!("/restapis/{rest}/deployments"),
        format!("/v2/apis/{http}"),
        format!("/v2/apis/{http}/routes"),
        format!("/v2/apis/{http}/integrations"),
        format!("/v2/apis/{http}/stages"),
        format!("/v2/apis/{http}/deployments"),
    ];
    let mut before = Vec::new();
    for uri in &uris {
        before.push(w.ok("GET", uri, Json::Null).await);
    }
    w.reopen().await;
    for (uri, before) in uris.iter().zip(before) {
        assert_eq!(w.ok("GET", uri, Json::Null).await, before, "{uri}");
    }
    assert_eq!(w.get(&rest, "/dev/users/1").await.status, 200);
    assert_eq!(w.last().0["pathParameters"], json!({ "id": "1" }));
    assert_eq!(w.get(&http, "/a").await.status, 200);
    // Changes go on from the stored versions.
    w.ok("POST", &format!("/v2/apis/{http}/routes"), json!({ "routeKey": "GET /b" })).await;
    w.ok("DELETE", &format!("/restapis/{rest}"), Json::Null).await;
    w.reopen().await;
    assert_eq!(w.call("GET", &format!("/restapis/{rest}"), Json::Null).await.0, 404);
    let left = w.deps.state.all(tables::api(Sort::Rest, &rest), 1000).await.expect("a readable state");
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn large_deployments_take_several_rows() {
    let mut w = World::new().await;
    let api = w.rest_api(&["GET /a"]).await;
    let method = format!("{}/GET", w.method(&api, "POST", "/a", json!({})).await.trim_end_matches("/POST"));
    w.ok("PUT", &format!("{}/integration", method.replace("/GET", "/POST")), proxy()).await;
    let parameters: serde_json::Map<String, Json> =
        (0..5000).map(|n| (format!("method.request.header.{n:0200}"), json!(false))).collect();
    let at = w.method(&api, "PUT", "/a", json!({ "requestParameters": parameters })).await;
    w.ok("PUT", &format!("{at}/integration"), proxy()).await;
    w.ok("POST", &format!("/restapis/{api}/deployments"), json!({ "stageName": "dev" })).await;
    w.ok("DELETE", &at, Json::Null).await;
    w.reopen().await;
    assert_eq!(w.ask(&api, request("PUT", "/dev/a")).await.status, 200);
    assert_eq!(w.call("GET", &at, Json::Null).await.0, 404);
}

#[tokio::test]
async fn an_interrupted_deletion_is_finished_at_start() {
    let mut w = World::new().await;
    let api = w.rest_api(&["GET /a"]).await;
    w.deps.state.commit(Txn::new().delete(tables::head(Sort::Rest, &api))).await.expect("the head goes");
    w.reopen().await;
    assert_eq!(w.call("GET", &format!("/restapis/{api}"), Json::Null).await.0, 404);
    let left = w.deps.state.all(tables::api(Sort::Rest, &api), 1000).await.expect("a readable state");
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_change_that_lost_a_race_is_a_conflict() {
    let w = World::new().await;
    let api = w.rest_api(&["GET /a"]).await;
    let head = tables::head(Sort::Rest, &api);
    let row = w.deps.state.get(head.clone()).await.expect("readable").expect("the head");
    // Another node writes the same API.
    w.deps.state.commit(Txn::new().put(head, row.value)).await.expect("a commit");
    let patch = json!({ "patchOperations": [{ "op": "replace", "path": "/name", "value": "b" }] });
    let found = w.fails("PATCH", &format!("/restapis/{api}"), patch).await;
    assert!(found.starts_with("ConflictException 409"), "{found}");
    assert_eq!(text(&w.ok("GET", &format!("/restapis/{api}"), Json::Null).await, "name"), "a");
}

#[tokio::test]
async fn old_deployments_are_forgotten() {
    let w = World::new().await;
    let api = w.rest_api(&["GET /a"]).await;
    let kept = w.ok("GET", &format!("/restapis/{api}/stages/dev"), Json::Null).await;
    for _ in 0..120 {
        w.clock.advance(Duration::from_secs(1));
        w.ok("POST", &format!("/restapis/{api}/deployments"), json!({})).await;
    }
    let all = w.ok("GET", &format!("/restapis/{api}/deployments?limit=500"), Json::Null).await;
    let ids: Vec<String> =
        all["item"].as_array().map(|a| a.iter().map(|d| text(d, "id")).collect()).unwrap_or_default();
    assert_eq!(ids.len(), 101);
    assert!(ids.contains(&text(&kept, "deploymentId")));
}
