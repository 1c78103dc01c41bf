//! Files that are refused, with the words; and what the accepted ones mean.

use super::*;
use crate::yaml;

/// Reads `text` below a valid head; answers the fault, or nothing.
fn fault(text: &str) -> String {
    let whole = format!("service: app\nprovider:\n  name: aws\n{text}");
    yaml::parse("serverless.yml", &whole).and_then(|n| read(&n)).map_or_else(|e| e.to_string(), |_| String::new())
}

fn service(text: &str) -> Service {
    let whole = format!("service: app\nprovider:\n  name: aws\n{text}");
    yaml::parse("serverless.yml", &whole).and_then(|n| read(&n)).expect("valid")
}

#[test]
fn unknown_and_unsupported_keys_name_file_line_and_key() {
    let cases = [
        ("  runtme: x", "serverless.yml:4: unknown key `provider.runtme`; did you mean `runtime`?"),
        ("  vpc: {}", "serverless.yml:4: `provider.vpc` is not supported: VPCs are not served"),
        ("function: {}", "serverless.yml:4: unknown key `function`; did you mean `functions`?"),
        ("org: me", "serverless.yml:4: `org` is not supported: it belongs to the Serverless Dashboard; remove it"),
        (
            "plugins:\n  - serverless-offline",
            "serverless.yml:5: `plugins: serverless-offline` is not supported: not needed, this cloud is local; remove it",
        ),
        ("plugins: [x]", "serverless.yml:4: `plugins: x` is not supported: a deploy runs no plugins"),
        (
            "functions:\n  f:\n    handler: a.b\n    memroySize: 1",
            "serverless.yml:7: unknown key `functions.f.memroySize`; did you mean `memorySize`?",
        ),
        (
            "functions:\n  f:\n    handler: a.b\n    layers: [x]",
            "serverless.yml:7: `functions.f.layers: x` must be the ARN of a layer's version, or `!Ref` a layer of this file",
        ),
        (
            "functions:\n  f:\n    handler: a.b\n    events:\n      - schedule: rate(1 minute)",
            "serverless.yml:8: the event `schedule` is not supported yet; supported: http, httpApi, url, stream",
        ),
        (
            "functions:\n  f:\n    handler: a.b\n    events:\n      - htpp: GET x",
            "serverless.yml:8: unknown event `htpp`; did you mean `http`?",
        ),
        (
            "functions:\n  f:\n    handler: a.b\n    events:\n      - http:\n          path: x\n          method: get\n          authorizer: a",
            "serverless.yml:11: `functions.f.events.http.authorizer` is not supported: authorizers are not served yet",
        ),
        (
            "resources:\n  Resources:\n    B:\n      Type: AWS::S3::Bucket",
            "serverless.yml:7: the resource type `AWS::S3::Bucket` of `B` is not supported yet",
        ),
        ("  httpApi:\n    corss: true", "serverless.yml:5: unknown key `provider.httpApi.corss`; did you mean `cors`?"),
    ];
    for (text, expected) in cases {
        assert_eq!(fault(text), expected, "{text}");
    }
}

#[test]
fn wrong_values_name_their_line() {
    let cases = [
        ("  timeout: 901", "serverless.yml:4: `provider.timeout` must be 1 to 900, not 901"),
        ("  memorySize: lots", "serverless.yml:4: `provider.memorySize` must be a whole number, not text"),
        ("  environment: [a]", "serverless.yml:4: `provider.environment` must be a mapping, not a list"),
        ("  environment: {A: {b: 1}}", "serverless.yml:4: `provider.environment.A` must be text, not a mapping"),
        (
            "  environment: {A-B: 1}",
            "serverless.yml:4: `provider.environment`: `A-B` is no name for a variable (two or more letters, digits and _)",
        ),
        (
            "  architecture: mips",
            "serverless.yml:4: `provider.architecture: mips` is not supported; supported: x86_64, arm64",
        ),
        (
            "  versionFunctions: true",
            "serverless.yml:4: `provider.versionFunctions: true` is not supported: a deploy publishes no versions",
        ),
        (
            "  iam: {role: MyRole}",
            "serverless.yml:4: `provider.iam.role: MyRole`: only the ARN of a role is supported here",
        ),
        ("frameworkVersion: '1'", "serverless.yml:4: `frameworkVersion: 1`: the dialects understood are 2, 3 and 4"),
        ("functions: {f: {}}", "serverless.yml:4: `functions.f.handler` is missing"),
        ("functions: [1]", "serverless.yml:4: each part of `functions` must be a mapping, not a number"),
        (
            "functions: {f: {handler: a.b, events: [http: users]}}",
            "serverless.yml:4: `functions.f.events.http: users` must be a method and a path, such as GET users/{id}",
        ),
        ("functions: {f: {handler: a.b, events: [httpApi: GET /a{b}]}}", "serverless.yml:4: "),
        (
            "functions: {f: {handler: a.b, events: [http: FETCH a]}}",
            "serverless.yml:4: `functions.f.events.http`: `FETCH` is no method; methods: get, post, put, patch, delete, head, options, any",
        ),
        (
            "functions: {f: {handler: a.b, url: {invokeMode: RESPONSE_STREAM}}}",
            "serverless.yml:4: `functions.f.url.invokeMode: RESPONSE_STREAM` is not supported; supported: BUFFERED",
        ),
    ];
    for (text, expected) in cases {
        let found = fault(text);
        assert!(found.starts_with(expected) && !found.is_empty(), "{text}: {found}");
    }
    let bare = yaml::parse("s.yml", "provider: aws\n").and_then(|n| read(&n)).expect_err("no service");
    assert_eq!(bare.to_string(), "s.yml:1: `service` is missing");
    let google =
        yaml::parse("s.yml", "service: a\nprovider: {name: google}").and_then(|n| read(&n)).expect_err("google");
    assert_eq!(google.to_string(), "s.yml:2: `provider.name: google` is not supported; supported: aws");
}

#[test]
fn harmless_settings_are_checked_and_accepted() {
    for text in [
        "frameworkVersion: '3'",
        "frameworkVersion: ^3.38.0",
        "frameworkVersion: '>=2.1.1 <5'",
        "frameworkVersion: 2 || 3",
        "  deploymentMethod: direct",
        "  versionFunctions: false",
        "plugins: []",
        "configValidationMode: error",
        "custom: {anything: [1, {x: y}]}",
        "functions:\n  - a: {handler: x.y}\n  - b: {handler: x.y}",
    ] {
        assert_eq!(fault(text), "", "{text}");
    }
    assert_eq!(
        fault("  deploymentMethod: changesets"),
        "serverless.yml:4: `provider.deploymentMethod: changesets` is not supported; supported: direct"
    );
}

#[test]
fn events_in_their_short_and_long_forms() {
    let cases = [
        ("http: GET users/{id}", "GET users/{id}"),
        ("http: get /users/", "GET users"),
        ("http: {path: /, method: ANY}", "ANY "),
        ("http: {path: 'x/{proxy+}', method: '*'}", "ANY x/{proxy+}"),
        ("httpApi: '*'", "$default"),
        ("httpApi: GET /users/{id}", "GET /users/{id}"),
        ("httpApi: '* /users'", "ANY /users"),
        ("httpApi: {path: '*'}", "$default"),
        ("httpApi: {path: users, method: post}", "POST /users"),
        ("stream: 'arn:aws:dynamodb:r:1:table/t/stream/x'", "arn:aws:dynamodb:r:1:table/t/stream/x"),
    ];
    for (event, expected) in cases {
        let service = service(&format!("functions:\n  f:\n    handler: a.b\n    events:\n      - {event}"));
        let found = match &service.functions[0].events[0] {
            Event::Http { method, path, .. } => format!("{method} {path}"),
            Event::HttpApi { route, .. } => route.clone(),
            Event::Url(_) => "url".into(),
            Event::Stream(stream) => stream.source.clone(),
        };
        assert_eq!(found, expected, "{event}");
    }
}

#[test]
fn urls_stand_at_the_function_or_among_its_events() {
    for text in ["url: true", "events: [url: true]", "url: {authorizer: none}"] {
        let service = service(&format!("functions: {{f: {{handler: a.b, {text}}}}}"));
        assert_eq!(service.functions[0].url, Some(Url { auth: UrlAuth::None, cors: None }), "{text}");
    }
    let service = service("functions: {f: {handler: a.b, url: {authorizer: aws_iam, cors: true}}}");
    let url = service.functions[0].url.clone().expect("a url");
    assert_eq!((url.auth, url.cors.map(|c| c.methods)), (UrlAuth::AwsIam, Some(vec!["*".to_owned()])));
}

#[test]
fn payload_versions_may_be_numbers() {
    for (text, expected) in [("'1.0'", Payload::V1), ("1.0", Payload::V1), ("2.0", Payload::V2), ("'2.0'", Payload::V2)]
    {
        assert_eq!(service(&format!("  httpApi: {{payload: {text}}}")).provider.http_api.payload, expected);
    }
}
