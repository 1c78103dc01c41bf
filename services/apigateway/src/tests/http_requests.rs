//! Requests to HTTP APIs.

use super::*;

#[tokio::test]
async fn the_stage_is_the_first_part_of_the_path_or_default() {
    let w = World::new().await;
    let api = w.http_api(&["GET /a/{id}"], "2.0").await;
    let stage = json!({ "stageName": "dev", "autoDeploy": true, "stageVariables": { "k": "v" } });
    w.ok("POST", &format!("/v2/apis/{api}/stages"), stage).await;
    for (path, stage, raw) in [("/a/1", "$default", "/a/1"), ("/dev/a/1", "dev", "/dev/a/1")] {
        assert_eq!(w.get(&api, path).await.status, 200, "{path}");
        let (event, source) = w.last();
        assert_eq!((text(&event, "rawPath"), text(&event["requestContext"], "stage")), (raw.into(), stage.into()));
        assert_eq!(event["pathParameters"], json!({ "id": "1" }));
        assert_eq!(event.get("stageVariables").is_some(), stage == "dev");
        assert_eq!(source, format!("arn:aws:execute-api:us-east-1:{ACCOUNT}:{api}/{stage}/GET/a/{{id}}"));
    }
    let missing = (404, r#"{"message":"Not Found"}"#.to_owned());
    for path in ["/", "/a", "/other/a/1", "/a/1/", "/dev"] {
        assert_eq!(seen(&w.get(&api, path).await), missing, "{path}");
    }
    assert_eq!(seen(&w.get("nope", "/a/1").await), missing);
    assert_eq!(w.room.serve(&api, "eu-west-1", request("GET", "/a/1")).await.status, 404);
    assert_eq!(w.room.serve(&api, "", request("GET", "/a/1")).await.status, 200);
    w.ok("PATCH", &format!("/v2/apis/{api}"), json!({ "disableExecuteApiEndpoint": true })).await;
    assert_eq!(seen(&w.get(&api, "/a/1").await), missing);
}

#[tokio::test]
async fn paths_and_parameters_arrive_decoded() {
    let w = World::new().await;
    let api = w.http_api(&["GET /f/{name}", "ANY /{proxy+}"], "2.0").await;
    w.get(&api, "/f/a%20b%C3%A9?x=%20y&x=2&z=").await;
    let (event, _) = w.last();
    assert_eq!((text(&event, "rawPath"), &event["pathParameters"]), ("/f/a bé".into(), &json!({ "name": "a bé" })));
    assert_eq!(text(&event, "rawQueryString"), "x=%20y&x=2&z=");
    assert_eq!(event["queryStringParameters"], json!({ "x": " y,2", "z": "" }));
    w.ask(&api, request("PUT", "/deep/er//path")).await;
    let (event, source) = w.last();
    assert_eq!(event["pathParameters"], json!({ "proxy": "deep/er//path" }));
    assert!(source.ends_with("/$default/PUT/{proxy+}"), "{source}");
}

#[tokio::test]
async fn without_automatic_deployment_a_stage_serves_a_snapshot() {
    let w = World::new().await;
    let api = w.http_api(&["GET /a"], "2.0").await;
    let at = format!("/v2/apis/{api}");
    w.ok("POST", &format!("{at}/stages"), json!({ "stageName": "dev" })).await;
    assert_eq!(w.get(&api, "/dev/a").await.status, 404);
    w.ok("POST", &format!("{at}/deployments"), json!({ "stageName": "dev" })).await;
    assert_eq!(w.get(&api, "/dev/a").await.status, 200);
    let route = w.ok("GET", &format!("{at}/routes"), Json::Null).await["items"][0].clone();
    w.ok("PATCH", &format!("{at}/routes/{}", text(&route, "routeId")), json!({ "routeKey": "GET /b" })).await;
    assert_eq!((w.get(&api, "/dev/a").await.status, w.get(&api, "/dev/b").await.status), (200, 404));
    assert_eq!((w.get(&api, "/a").await.status, w.get(&api, "/b").await.status), (404, 200));
    w.ok("POST", &format!("{at}/deployments"), json!({ "stageName": "dev" })).await;
    assert_eq!((w.get(&api, "/dev/a").await.status, w.get(&api, "/dev/b").await.status), (404, 200));
}

#[tokio::test]
async fn failures_are_answered_as_http_apis_do() {
    let w = World::new().await;
    let api = w.http_api(&["GET /a"], "2.0").await;
    let internal = r#"{"message":"Internal Server Error"}"#;
    let denied = ServiceError::client("AccessDeniedException", 403, "no");
    let throttled = ServiceError::client("TooManyRequestsException", 429, "no");
    let large = ServiceError::client("RequestEntityTooLargeException", 413, "no");
    for (behaviour, expected) in [
        (Behaviour::Fail, (500, internal)),
        (Behaviour::Refuse(denied), (500, internal)),
        (Behaviour::Refuse(throttled), (503, r#"{"message":"Service Unavailable"}"#)),
        (Behaviour::Refuse(large), (413, r#"{"message":"Request Entity Too Large"}"#)),
        (Behaviour::Answer(r#"{"statusCode":"x"}"#.into()), (500, internal)),
    ] {
        w.behave(behaviour);
        let reply = w.get(&api, "/a").await;
        assert_eq!(seen(&reply), (expected.0, expected.1.to_owned()));
        assert_eq!(header(&reply, "apigw-requestid").map(str::len), Some(16));
    }
    let lonely = w.ok("POST", &format!("/v2/apis/{api}/routes"), json!({ "routeKey": "GET /lonely" })).await;
    assert_eq!(lonely.get("target"), None);
    assert_eq!(seen(&w.get(&api, "/lonely").await), (500, internal.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn late_answers_are_not_waited_for() {
    let w = World::new().await;
    let api = w.http_api(&["GET /a"], "2.0").await;
    w.behave(Behaviour::Hang);
    let before = tokio::time::Instant::now();
    assert_eq!(seen(&w.get(&api, "/a").await), (503, r#"{"message":"Service Unavailable"}"#.into()));
    assert_eq!(before.elapsed().as_secs(), 30);
}

#[tokio::test]
async fn bodies_are_text_or_base64_by_their_type() {
    let w = World::new().await;
    let api = w.http_api(&["POST /a"], "2.0").await;
    for (kind, body, expected, is_base64) in [
        ("application/json", &b"{\"a\":1}"[..], "{\"a\":1}", false),
        ("text/plain; charset=utf-8", b"x", "x", false),
        ("application/x-www-form-urlencoded", b"a=1", "YT0x", true),
        ("image/png", b"\x89PNG", "iVBORw==", true),
        ("text/plain", b"\xff", "/w==", true),
    ] {
        w.ask(&api, with_body(request("POST", "/a"), kind, body)).await;
        let (event, _) = w.last();
        assert_eq!((text(&event, "body"), &event["isBase64Encoded"]), (expected.into(), &json!(is_base64)), "{kind}");
    }
    w.ask(&api, request("POST", "/a")).await;
    assert_eq!(w.last().0.get("body"), None);
}

#[tokio::test]
async fn cookies_travel_apart_from_headers() {
    let w = World::new().await;
    let api = w.http_api(&["GET /a"], "2.0").await;
    w.answers(json!({ "statusCode": 200, "cookies": ["a=1; Path=/", "b=2"], "headers": { "X-A": "1" } }));
    let headers = [("cookie", "x=1; y=2"), ("accept", "a"), ("accept", "b")];
    let reply = w.ask(&api, with_headers(request("GET", "/a"), &headers)).await;
    let (event, _) = w.last();
    assert_eq!(event["cookies"], json!(["x=1", "y=2"]));
    assert_eq!((event["headers"].get("cookie"), text(&event["headers"], "accept")), (None, "a,b".into()));
    let set: Vec<&str> = reply.headers.iter().filter(|(n, _)| n == "set-cookie").map(|(_, v)| v.as_str()).collect();
    assert_eq!((set, header(&reply, "x-a")), (vec!["a=1; Path=/", "b=2"], Some("1")));
}

#[tokio::test]
async fn preflights_are_answered_by_the_api() {
    let w = World::new().await;
    let api = w.http_api(&["GET /a"], "2.0").await;
    let cors = json!({
        "allowOrigins": ["https://a.example"], "allowMethods": ["GET", "POST"], "allowHeaders": ["content-type"],
        "exposeHeaders": ["x-b"], "allowCredentials": true, "maxAge": 60,
    });
    w.ok("PATCH", &format!("/v2/apis/{api}"), json!({ "corsConfiguration": cors })).await;
    let ask = |origin: &str, method: &str, names: &str| {
        let headers =
            [("origin", origin), ("access-control-request-method", method), ("access-control-request-headers", names)];
        with_headers(request("OPTIONS", "/a"), &headers)
    };
    let reply = w.ask(&api, ask("https://a.example", "POST", "Content-Type")).await;
    let shown: Vec<String> =
        reply.headers.iter().filter(|(n, _)| n.starts_with("access")).map(|(n, v)| format!("{n}: {v}")).collect();
    let expected = [
        "access-control-allow-origin: https://a.example",
        "access-control-allow-credentials: true",
        "access-control-expose-headers: x-b",
        "access-control-allow-methods: GET,POST",
        "access-control-allow-headers: content-type",
        "access-control-max-age: 60",
    ];
    assert_eq!((reply.status, shown), (204, expected.map(str::to_owned).to_vec()));
    for (origin, method, names) in
        [("https://b.example", "GET", ""), ("https://a.example", "PUT", ""), ("https://a.example", "GET", "x-other")]
    {
        let reply = w.ask(&api, ask(origin, method, names)).await;
        assert_eq!(
            (reply.status, header(&reply, "access-control-allow-origin")),
            (204, None),
            "{origin} {method} {names}"
        );
    }
    assert!(w.functions.calls.lock().is_empty());
    // The function's own CORS headers give way.
    w.answers(json!({ "statusCode": 200, "headers": { "Access-Control-Allow-Origin": "*" } }));
    let reply = w.ask(&api, with_headers(request("GET", "/a"), &[("origin", "https://a.example")])).await;
    assert_eq!(header(&reply, "access-control-allow-origin"), Some("https://a.example"));
    let reply = w.ask(&api, with_headers(request("GET", "/a"), &[("origin", "https://b.example")])).await;
    assert_eq!(header(&reply, "access-control-allow-origin"), None);
    let bad = json!({ "corsConfiguration": { "allowOrigins": ["*"], "allowCredentials": true } });
    assert_eq!(w.call("PATCH", &format!("/v2/apis/{api}"), bad).await.0, 400);
}

#[tokio::test]
async fn signed_routes_ask_for_permission() {
    let w = World::new().await;
    let api = w.http_api(&["GET /a/{id}"], "2.0").await;
    let route = w.ok("GET", &format!("/v2/apis/{api}/routes"), Json::Null).await["items"][0].clone();
    let uri = format!("/v2/apis/{api}/routes/{}", text(&route, "routeId"));
    w.ok("PATCH", &uri, json!({ "authorizationType": "AWS_IAM" })).await;
    let forbidden = (403, r#"{"message":"Forbidden"}"#.to_owned());
    assert_eq!(seen(&w.get(&api, "/a/1").await), forbidden);
    assert_eq!(seen(&w.ask(&api, signed(request("GET", "/a/1"), "bad")).await), forbidden);
    let mut broken = request("GET", "/a/1");
    broken.caller = Caller::Refused(None, "x".into());
    assert_eq!(seen(&w.ask(&api, broken).await), forbidden);
    assert_eq!(w.ask(&api, signed(request("GET", "/a/1"), "good")).await.status, 200);
    let access = w.users.0.lock().last().cloned().expect("a decision was asked for");
    let resource = format!("arn:aws:execute-api:us-east-1:{ACCOUNT}:{api}/$default/GET/a/1");
    assert_eq!((access.action.as_str(), access.resource), ("execute-api:Invoke", resource));
    let iam = w.last().0["requestContext"]["authorizer"]["iam"].clone();
    assert_eq!((text(&iam, "userId"), text(&iam, "accountId")), ("AIDAgood".into(), ACCOUNT.into()));
}
