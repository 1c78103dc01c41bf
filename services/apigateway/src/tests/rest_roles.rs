//! Integrations that call with a role.

use super::*;

fn role(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}")
}

fn with_role(arn: &str) -> Json {
    let mut integration = proxy();
    merge(&mut integration, json!({ "credentials": arn }));
    integration
}

#[tokio::test]
async fn functions_are_called_with_the_integrations_role() {
    let w = World::new().await;
    let api = w.rest_api(&["GET /plain"]).await;
    for name in ["good", "bad", "foreign"] {
        let at = w.method(&api, "GET", &format!("/{name}"), json!({})).await;
        let held = w.ok("PUT", &format!("{at}/integration"), with_role(&role(name))).await;
        assert_eq!(text(&held, "credentials"), role(name));
        let shown = w.ok("GET", &format!("{at}/integration"), Json::Null).await;
        assert_eq!(text(&shown, "credentials"), role(name));
    }
    w.ok("POST", &format!("/restapis/{api}/deployments"), json!({ "stageName": "dev" })).await;

    assert_eq!(seen(&w.get(&api, "/dev/good").await), (200, "ok".into()));
    let invoker = w.functions.calls.lock().last().map(|c| c.invoker.clone());
    assert!(matches!(invoker, Some(Invoker::Authorised)), "the role's policies decided: {invoker:?}");
    assert_eq!(*w.users.0.lock(), [Access::new("lambda:InvokeFunction", FUNCTION)]);

    // A role that may not call, and one that does not trust API Gateway.
    for name in ["bad", "foreign"] {
        assert_eq!(w.get(&api, &format!("/dev/{name}")).await.status, 500, "{name}");
    }
    assert_eq!(w.functions.calls.lock().len(), 1);
    assert_eq!(w.get(&api, "/dev/plain").await.status, 200);
    w.last();
}

#[tokio::test]
async fn roles_must_be_of_this_account() {
    let w = World::new().await;
    let api = w.rest_api(&["GET /a"]).await;
    let at = w.method(&api, "GET", "/b", json!({})).await;
    let unserved = |what: &str| format!("{what} is not supported by this version of Squall");
    for (arn, expected) in [
        ("arn:aws:iam::111122223333:role/r", "Cross-account pass role is not allowed.".to_owned()),
        ("nonsense", "Invalid ARN specified in the request".to_owned()),
        (&format!("arn:aws:iam::{ACCOUNT}:user/u"), "Invalid ARN specified in the request".to_owned()),
        (&format!("arn:aws:iam::{ACCOUNT}:role/"), "Invalid ARN specified in the request".to_owned()),
        ("arn:aws:iam::*:user/*", unserved("Calling a function with the caller's credentials")),
    ] {
        let found = w.fails("PUT", &format!("{at}/integration"), with_role(arn)).await;
        assert_eq!(found, format!("BadRequestException 400 {expected}"), "{arn}");
    }
    let mock = json!({ "type": "MOCK", "credentials": role("r") });
    let found = w.fails("PUT", &format!("{at}/integration"), mock).await;
    assert_eq!(found, format!("BadRequestException 400 {}", unserved("credentials of a MOCK integration")));
    let held = w.ok("PUT", &format!("{at}/integration"), with_role("")).await;
    assert_eq!(held.get("credentials"), None);
}

#[tokio::test]
async fn whoever_puts_a_role_must_be_allowed_to_pass_it() {
    let w = World::new().await;
    let room = RestRoom(w.room.clone());
    let uri = "/restapis/a/resources/b/methods/GET/integration";
    let seen = |body: Json| {
        let head = Head { method: "PUT".into(), path: uri.into(), ..Head::default() };
        let body = Bytes::from(body.to_string());
        let routed = route(room.service(), &head, &body).expect("an operation");
        let input = decode(room.service(), &routed, &head, &body).expect("a decodable request");
        room.access(&w.ctx("us-east-1"), routed.op, &input)
    };
    assert_eq!(seen(proxy()).len(), 1);
    assert_eq!(seen(with_role("")).len(), 1);
    let accesses = seen(with_role(&role("r")));
    let mut pass = Access::new("iam:PassRole", role("r"));
    pass.context.push(("iam:PassedToService".into(), vec!["apigateway.amazonaws.com".into()]));
    assert_eq!(accesses.get(1..), Some(&[pass][..]));
}
