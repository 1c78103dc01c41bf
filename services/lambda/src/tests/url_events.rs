//! What a function behind a URL gets, and how its answer becomes HTTP.

use super::urls::{open_to_all, request, with_url};
use super::*;
use serde_json::{Value, json};
use squall_service::{Caller, Front as _, HttpRequest};

async fn echo() -> (Cloud, String) {
    let cloud = Cloud::new().await;
    let id = with_url(&cloud, "echo", "NONE", None).await;
    open_to_all(&cloud).await;
    (cloud, id)
}

/// The event that a request becomes.
async fn event(cloud: &Cloud, id: &str, request: HttpRequest) -> Value {
    let reply = cloud.room.serve(id, "us-east-1", request).await;
    assert_eq!(reply.status, 200);
    serde_json::from_slice(&reply.body).expect("JSON")
}

#[tokio::test]
async fn a_request_becomes_an_event_of_format_two() {
    let (cloud, id) = echo().await;
    let mut post = request("POST", "//a%20b/c");
    post.query = "x=1&x=2&y=a%26b".into();
    post.body = Bytes::from_static(b"{\"n\":1}");
    for (name, value) in [
        ("content-type", "application/json"),
        ("connection", "keep-alive"),
        ("cookie", "a=1; b=2"),
        ("x-many", "1"),
        ("x-many", "2"),
    ] {
        post.headers.push((name.into(), value.into()));
    }
    let expected = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/a b/c",
        "rawQueryString": "x=1&x=2&y=a%26b",
        "headers": {
            "host": "h", "user-agent": "curl/8", "content-type": "application/json", "x-many": "1,2",
            "x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "http", "x-forwarded-port": "4566",
        },
        "requestContext": {
            "accountId": "anonymous",
            "apiId": id,
            "domainName": "h",
            "domainPrefix": id,
            "http": {
                "method": "POST", "path": "/a b/c", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.7", "userAgent": "curl/8",
            },
            "requestId": "id-1",
            "routeKey": "$default",
            "stage": "$default",
            "time": "02/Jan/2026:03:04:05 +0000",
            "timeEpoch": START.0,
        },
        "isBase64Encoded": false,
        "cookies": ["a=1", "b=2"],
        "queryStringParameters": { "x": "1,2", "y": "a&b" },
        "body": "{\"n\":1}",
    });
    assert_eq!(event(&cloud, &id, post).await, expected);
}

#[tokio::test]
async fn what_is_not_there_is_left_out() {
    let (cloud, id) = echo().await;
    let event = event(&cloud, &id, request("GET", "/")).await;
    for absent in ["body", "cookies", "queryStringParameters", "pathParameters", "stageVariables"] {
        assert_eq!(event.get(absent), None, "{absent}");
    }
    assert_eq!(event["requestContext"].get("authorizer"), None);
}

#[tokio::test]
async fn bytes_travel_as_base64() {
    let (cloud, id) = echo().await;
    let cases: [(&str, &[u8], &str, bool); 5] = [
        ("text/plain", b"hi", "hi", false),
        ("application/json; charset=utf-8", b"{}", "{}", false),
        ("application/octet-stream", b"hi", "aGk=", true),
        ("image/png", &[0x89, 0x50], "iVA=", true),
        ("text/plain", &[0xff], "/w==", true),
    ];
    for (kind, body, expected, is_base64) in cases {
        let mut post = request("POST", "/");
        post.headers.push(("content-type".into(), kind.into()));
        post.body = Bytes::copy_from_slice(body);
        let event = event(&cloud, &id, post).await;
        assert_eq!(
            (event["body"].as_str(), event["isBase64Encoded"].as_bool()),
            (Some(expected), Some(is_base64)),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn a_signed_caller_is_named() {
    let cloud = Cloud::new().await;
    let id = with_url(&cloud, "echo", "AWS_IAM", None).await;
    let arn = "arn:aws:iam::000000000000:user/allowed";
    let principal = Principal::User { arn: arn.into(), name: "allowed".into(), id: "AIDAX".into() };
    let signed = HttpRequest { caller: Caller::Signed(principal), ..request("GET", "/") };
    let event = event(&cloud, &id, signed).await;
    assert_eq!(event["requestContext"]["accountId"], ACCOUNT);
    let iam = &event["requestContext"]["authorizer"]["iam"];
    assert_eq!((&iam["userArn"], &iam["accountId"], &iam["userId"]), (&json!(arn), &json!(ACCOUNT), &json!("AIDAX")));
}

type Headers = &'static [(&'static str, &'static str)];

#[tokio::test]
async fn answers_become_http() {
    let cases: [(&str, u16, &str, Headers); 9] = [
        (r#"{"hello": "world"}"#, 200, r#"{"hello":"world"}"#, &[("content-type", "application/json")]),
        ("\"hello\"", 200, "hello", &[("content-type", "application/json")]),
        ("true", 200, "true", &[("content-type", "application/json")]),
        (r#"{"statusCode":201,"body":"made"}"#, 201, "made", &[("content-type", "application/json")]),
        (
            r#"{"statusCode":200,"headers":{"Content-Type":"text/html","X-N":7},"body":"<p>"}"#,
            200,
            "<p>",
            &[("content-type", "text/html"), ("x-n", "7")],
        ),
        (r#"{"statusCode":"404","body":"no"}"#, 404, "no", &[]),
        (r#"{"statusCode":200,"isBase64Encoded":true,"body":"aGk="}"#, 200, "hi", &[]),
        (r#"{"statusCode":200,"cookies":["a=1","b=2"]}"#, 200, "", &[("set-cookie", "a=1"), ("set-cookie", "b=2")]),
        (r#"{"statusCode":200,"body":{"a": 1}}"#, 200, r#"{"a":1}"#, &[]),
    ];
    for (payload, status, body, headers) in cases {
        let cloud = Cloud::new().await;
        let id = with_url(&cloud, &format!("say {payload}"), "NONE", None).await;
        open_to_all(&cloud).await;
        let reply = cloud.room.serve(&id, "", request("GET", "/")).await;
        assert_eq!((reply.status, std::str::from_utf8(&reply.body)), (status, Ok(body)), "{payload}");
        for (name, value) in headers {
            let is_there = reply.headers.iter().any(|(n, v)| n == name && v == value);
            assert!(is_there, "{name}: {value} of {payload} in {:?}", reply.headers);
        }
    }
}

#[tokio::test]
async fn what_is_no_answer_is_a_bad_gateway() {
    let scripts = [
        "fail",
        "exit",
        r#"say {"statusCode":"x"}"#,
        r#"say {"statusCode":99}"#,
        r#"say {"statusCode":1000}"#,
        r#"say {"statusCode":200,"isBase64Encoded":true,"body":"!"}"#,
        r#"say {"statusCode":200,"headers":{"a b":"c"}}"#,
        r#"say {"statusCode":200,"headers":{"a":"c\r\nset-cookie: x"}}"#,
    ];
    for script in scripts {
        let cloud = Cloud::new().await;
        let id = with_url(&cloud, script, "NONE", None).await;
        open_to_all(&cloud).await;
        let reply = cloud.room.serve(&id, "", request("GET", "/")).await;
        assert_eq!((reply.status, &reply.body[..]), (502, &b"Internal Server Error"[..]), "{script}");
    }
}
