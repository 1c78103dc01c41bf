//! Function URLs: their configuration, who may call them, CORS.

use super::*;
use squall_protocol::Reply;
use squall_service::{Caller, Front as _, HttpRequest};

pub fn request(method: &str, path: &str) -> HttpRequest {
    HttpRequest {
        method: method.into(),
        path: path.into(),
        query: String::new(),
        headers: vec![("host".into(), "h".into()), ("user-agent".into(), "curl/8".into())],
        body: Bytes::new(),
        host: "h".into(),
        protocol: "HTTP/1.1".into(),
        source_ip: [192, 0, 2, 7].into(),
        time: START,
        request_id: "id-1".into(),
        caller: Caller::Anonymous,
    }
}

fn with(mut request: HttpRequest, headers: &[(&str, &str)]) -> HttpRequest {
    request.headers.extend(headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
    request
}

fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    reply.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

fn url_of(auth: &str, cors: Option<crate::api::Cors>) -> CreateFunctionUrlConfigInput {
    CreateFunctionUrlConfigInput { function_name: "f".into(), auth_type: auth.into(), cors, ..Default::default() }
}

/// A function with a URL; answers the URL's id.
pub async fn with_url(cloud: &Cloud, script: &str, auth: &str, cors: Option<crate::api::Cors>) -> String {
    cloud.function("f", script).await;
    let made: CreateFunctionUrlConfigOutput =
        cloud.call("CreateFunctionUrlConfig", url_of(auth, cors)).await.expect("made");
    let id = made.function_url.strip_prefix("http://").and_then(|u| u.split('.').next()).expect("an id").to_owned();
    assert_eq!(made.function_url, format!("http://{id}.lambda-url.us-east-1.localhost:4566/"));
    id
}

/// Lets everybody call the URL.
pub async fn open_to_all(cloud: &Cloud) {
    let input = AddPermissionInput {
        function_name: "f".into(),
        statement_id: "public".into(),
        action: "lambda:InvokeFunctionUrl".into(),
        principal: "*".into(),
        function_url_auth_type: Some("NONE".into()),
        ..Default::default()
    };
    let _: AddPermissionOutput = cloud.call("AddPermission", input).await.expect("added");
}

#[tokio::test]
async fn a_url_is_made_changed_listed_and_deleted() {
    let cloud = Cloud::new().await;
    let cors = crate::api::Cors { allow_origins: Some(vec!["*".into()]), ..Default::default() };
    let id = with_url(&cloud, "echo", "NONE", Some(cors)).await;
    let again = cloud.refused::<CreateFunctionUrlConfigOutput>("CreateFunctionUrlConfig", url_of("NONE", None)).await;
    assert_eq!(again.0, ("ResourceConflictException", 409));
    let get = || GetFunctionUrlConfigInput { function_name: "f".into(), ..Default::default() };
    let shown: GetFunctionUrlConfigOutput = cloud.call("GetFunctionUrlConfig", get()).await.unwrap();
    assert_eq!((shown.function_arn, shown.auth_type.as_str()), (arn("f"), "NONE"));
    assert_eq!((shown.creation_time, shown.last_modified_time), (START_TEXT.to_owned(), START_TEXT.to_owned()));
    cloud.clock.advance(Duration::from_secs(1));
    let change = UpdateFunctionUrlConfigInput {
        function_name: "f".into(),
        auth_type: Some("AWS_IAM".into()),
        cors: Some(crate::api::Cors::default()),
        ..Default::default()
    };
    let changed: UpdateFunctionUrlConfigOutput = cloud.call("UpdateFunctionUrlConfig", change).await.unwrap();
    assert_eq!((changed.auth_type.as_str(), changed.cors), ("AWS_IAM", None));
    assert_ne!(changed.last_modified_time, changed.creation_time);
    let list = ListFunctionUrlConfigsInput { function_name: "f".into(), ..Default::default() };
    let all: ListFunctionUrlConfigsOutput = cloud.call("ListFunctionUrlConfigs", list).await.unwrap();
    assert_eq!(all.function_url_configs.len(), 1);
    let delete = DeleteFunctionUrlConfigInput { function_name: "f".into(), ..Default::default() };
    let _: DeleteFunctionUrlConfigOutput = cloud.call("DeleteFunctionUrlConfig", delete).await.unwrap();
    assert_eq!(cloud.room.serve(&id, "us-east-1", request("GET", "/")).await.status, 404);
    let gone = cloud.refused::<GetFunctionUrlConfigOutput>("GetFunctionUrlConfig", get()).await;
    assert_eq!(gone, (("ResourceNotFoundException", 404), "The resource you requested does not exist.".into()));
}

const START_TEXT: &str = "2026-01-02T03:04:05.000+0000";

#[tokio::test]
async fn urls_hang_on_functions_and_aliases_only() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    let at = |name: &str, qualifier: Option<&str>| CreateFunctionUrlConfigInput {
        function_name: name.into(),
        qualifier: qualifier.map(str::to_owned),
        auth_type: "NONE".into(),
        ..Default::default()
    };
    let cases = [
        (at("g", None), ("ResourceNotFoundException", 404), "Function does not exist"),
        (at("f", Some("nope")), ("ResourceNotFoundException", 404), "Function does not exist"),
        (
            at("f", Some("1")),
            ("ValidationException", 400),
            "1 validation error detected: Value '1' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: ((?!^\\d+$)^[0-9a-zA-Z-_]+$)",
        ),
    ];
    for (input, code, text) in cases {
        let refused = cloud.refused::<CreateFunctionUrlConfigOutput>("CreateFunctionUrlConfig", input).await;
        assert_eq!((refused.0, refused.1.as_str()), (code, text));
    }
    let mode = CreateFunctionUrlConfigInput { invoke_mode: Some("UNKNOWN".into()), ..url_of("NONE", None) };
    let (code, text) = cloud.refused::<CreateFunctionUrlConfigOutput>("CreateFunctionUrlConfig", mode).await;
    assert_eq!(code, ("ValidationException", 400));
    assert!(text.ends_with("Member must satisfy enum value set: [RESPONSE_STREAM, BUFFERED]"), "{text}");
}

#[tokio::test]
async fn an_open_url_still_needs_its_policy() {
    let cloud = Cloud::new().await;
    let id = with_url(&cloud, "say \"hello\"", "NONE", None).await;
    let reply = cloud.room.serve(&id, "us-east-1", request("GET", "/")).await;
    assert_eq!((reply.status, header(&reply, "x-amzn-errortype")), (403, Some("AccessDeniedException")));
    open_to_all(&cloud).await;
    let reply = cloud.room.serve(&id, "us-east-1", request("GET", "/")).await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"hello"[..]));
    assert_eq!(header(&reply, "content-type"), Some("application/json"));
    assert_eq!(header(&reply, "x-amzn-requestid"), Some("id-1"));
    // The path form names no region; a wrong region finds nothing.
    assert_eq!(cloud.room.serve(&id, "", request("GET", "/")).await.status, 200);
    assert_eq!(cloud.room.serve(&id, "eu-west-1", request("GET", "/")).await.status, 404);
    let unknown = cloud.room.serve("nope", "us-east-1", request("GET", "/")).await;
    assert_eq!((unknown.status, &unknown.body[..]), (404, &br#"{"Message":null}"#[..]));
}

#[tokio::test]
async fn a_signed_url_asks_for_a_grant() {
    let cloud = Cloud::new().await;
    let id = with_url(&cloud, "say 1", "AWS_IAM", None).await;
    open_to_all(&cloud).await;
    let user = |name: &str| Principal::User {
        arn: format!("arn:aws:iam::000000000000:user/{name}"),
        name: name.into(),
        id: "AIDA".into(),
    };
    let cases = [
        (Caller::Anonymous, 403),
        (Caller::Refused(Some(CredentialError::Unknown), "no".into()), 403),
        (Caller::Signed(user("stranger")), 403),
        (Caller::Signed(user("allowed")), 200),
        (Caller::Signed(Principal::Root { account: ACCOUNT.into() }), 200),
    ];
    for (caller, status) in cases {
        let what = format!("{caller:?}");
        let reply = cloud.room.serve(&id, "us-east-1", HttpRequest { caller, ..request("GET", "/") }).await;
        assert_eq!(reply.status, status, "{what}");
    }
}

#[tokio::test]
async fn cors_is_answered_by_the_configuration() {
    let cloud = Cloud::new().await;
    let cors = crate::api::Cors {
        allow_credentials: Some(true),
        allow_headers: Some(vec!["x-a".into()]),
        allow_methods: Some(vec!["GET".into(), "PUT".into()]),
        allow_origins: Some(vec!["https://app.example".into()]),
        expose_headers: Some(vec!["x-b".into(), "x-c".into()]),
        max_age: Some(60),
    };
    let own = r#"say {"statusCode":200,"headers":{"Access-Control-Allow-Origin":"https://other"}}"#;
    let id = with_url(&cloud, own, "NONE", Some(cors)).await;
    open_to_all(&cloud).await;
    let origin = ("origin", "https://app.example");
    let preflight = with(request("OPTIONS", "/"), &[origin, ("access-control-request-method", "PUT")]);
    let reply = cloud.room.serve(&id, "", preflight).await;
    assert_eq!(reply.status, 200);
    let expected = [
        ("access-control-allow-origin", "https://app.example"),
        ("access-control-allow-methods", "GET,PUT"),
        ("access-control-allow-headers", "x-a"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "60"),
    ];
    for (name, value) in expected {
        assert_eq!(header(&reply, name), Some(value), "{name}");
    }
    assert_eq!(cloud.fake.taken(), 0, "the function is not asked");
    let reply = cloud.room.serve(&id, "", with(request("GET", "/"), &[origin])).await;
    let origins: Vec<_> = reply.headers.iter().filter(|(n, _)| n == "access-control-allow-origin").collect();
    assert_eq!(origins.iter().map(|(_, v)| v.as_str()).collect::<Vec<_>>(), ["https://app.example"]);
    assert_eq!(header(&reply, "access-control-expose-headers"), Some("x-b,x-c"));
    let stranger = with(request("OPTIONS", "/"), &[("origin", "https://x"), ("access-control-request-method", "PUT")]);
    assert_eq!(header(&cloud.room.serve(&id, "", stranger).await, "access-control-allow-methods"), None);
}
