//! Cases of routing.

use super::{RouteError, route};
use crate::fixture::{DYNAMODB, IAM, LAMBDA, S3};
use crate::http::Head;
use crate::schema::Service;
use bytes::Bytes;

fn asked(service: &'static Service, method: &str, uri: &str, headers: &[(&str, &str)], body: &'static str) -> String {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let headers = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let head = Head { method: method.into(), path: path.into(), query: query.into(), headers };
    match route(service, &head, &Bytes::from_static(body.as_bytes())) {
        Ok(found) => {
            let labels: Vec<String> = found.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            format!("{} {}", found.op.name, labels.join(",")).trim().to_owned()
        }
        Err(RouteError::Unknown(name)) => format!("unknown {name}"),
        Err(RouteError::Unserved(name)) => format!("unserved {name}"),
    }
}

#[test]
fn json_services_name_the_operation_in_a_header() {
    for (target, expected) in [
        ("Test_20260101.GetNode", "GetNode"),
        ("Test_20260101.PutMoon", "unserved PutMoon"),
        ("Test_20260101.Other", "unknown Other"),
        ("Other_20260101.GetNode", "unknown "),
        ("Test_20260101GetNode", "unknown "),
        ("", "unknown "),
    ] {
        assert_eq!(asked(&DYNAMODB, "POST", "/", &[("x-amz-target", target)], "{}"), expected, "{target}");
    }
    assert_eq!(asked(&DYNAMODB, "POST", "/", &[], "{}"), "unknown ");
}

#[test]
fn query_services_name_the_operation_in_a_parameter() {
    for (uri, body, expected) in [
        ("/", "Version=2026-01-01&Action=GetNode", "GetNode"),
        ("/?Action=GetNode&Version=2026-01-01", "", "GetNode"),
        ("/?Action=Nothing", "Action=Get%4eode", "GetNode"),
        ("/", "Action=PutMoon", "unserved PutMoon"),
        ("/", "Action=Fly%00%0aMe", "unknown FlyMe"),
        ("/", "MyAction=GetNode", "unknown "),
        ("/", "", "unknown "),
    ] {
        assert_eq!(asked(&IAM, "POST", uri, &[], body), expected, "{uri} {body}");
    }
    let long = asked(&IAM, "GET", &format!("/?Action={}", "x".repeat(10_000)), &[], "");
    assert!(long.len() < 200);
}

#[test]
fn rest_services_match_method_and_uri() {
    for (method, uri, expected) in [
        ("GET", "/places/7", "GetPlaces id=7"),
        ("GET", "/places/7/", "GetPlaces id=7"),
        ("GET", "/places/self", "GetSelf"),
        ("GET", "/places/a%2Fb%20c", "GetPlaces id=a/b c"),
        ("GET", "/places/a+b", "GetPlaces id=a+b"),
        ("GET", "/places//", "unknown GET /places//"),
        ("GET", "/places/7/x", "unknown GET /places/7/x"),
        ("POST", "/places", "PutPlaces"),
        ("POST", "/places/", "PutPlaces"),
        ("POST", "/places?mode=import", "ImportPlaces"),
        ("POST", "/places?failonwarnings=true&mode=import", "ImportPlaces"),
        ("POST", "/places?mode=export", "PutPlaces"),
        ("POST", "/places/7/invocations", "Invoke id=7"),
        ("POST", "/nodes", "GetNode"),
        ("PUT", "/moon/7", "unserved PutMoon"),
        ("PATCH", "/places/7", "unknown PATCH /places/7"),
        ("GET", "/", "unknown GET /"),
        ("GET", "", "unknown GET "),
        ("GET", "/places/%ff", "unknown GET /places/%ff"),
    ] {
        assert_eq!(asked(&LAMBDA, method, uri, &[], ""), expected, "{method} {uri}");
    }
}

#[test]
fn greedy_labels_take_the_rest_of_the_path() {
    for (method, uri, expected) in [
        ("GET", "/b/x/a/b%2Fc/d?version=1", "GetKey id=x,Key=a/b/c/d"),
        ("GET", "/b/x/folder/?version", "GetKey id=x,Key=folder/"),
        ("DELETE", "/b/x/y", "DeleteKey id=x,Key=y"),
        ("GET", "/b/x/y", "unknown GET /b/x/y"),
        ("DELETE", "/b/x", "unknown DELETE /b/x"),
    ] {
        assert_eq!(asked(&S3, method, uri, &[], ""), expected, "{method} {uri}");
    }
}

#[test]
fn what_is_not_found_is_answered_as_aws_does() {
    let answer = |service: &'static Service, error: RouteError| {
        let error = error.into_error(service);
        let reply = crate::encode_error(service, &error, "id");
        (reply.status, String::from_utf8_lossy(&reply.body).into_owned())
    };
    let unknown = || RouteError::Unknown("Fly".into());
    assert_eq!(
        answer(&DYNAMODB, unknown()),
        (400, r#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#.into())
    );
    let (status, body) = answer(&IAM, unknown());
    assert_eq!(status, 400);
    assert!(body.contains("<Code>InvalidAction</Code>"), "{body}");
    assert!(body.contains("<Message>Could not find operation Fly for version 2026-01-01</Message>"), "{body}");
    assert_eq!(answer(&LAMBDA, unknown()).0, 404);
    for service in [&DYNAMODB, &IAM, &LAMBDA, &S3] {
        let (status, body) = answer(service, RouteError::Unserved("PutMoon"));
        assert_eq!(status, 501);
        assert!(body.contains("The operation PutMoon is part of the"), "{body}");
    }
}
