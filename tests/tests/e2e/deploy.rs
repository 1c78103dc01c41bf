//! `squall deploy`, and the programs in examples/.

use serde_json::Value;
use squall_testkit::{Finished, Server, repository, run};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

fn example(name: &str) -> String {
    repository().join("examples").join(name).display().to_string()
}

fn curl(args: &[&str]) -> Finished {
    run(Command::new("curl").args(["-sS", "--max-time", "60", "-w", "\n%{http_code}"]).args(args))
}

/// Body and status.
fn curled(args: &[&str]) -> (Value, String) {
    let out = curl(args).ok();
    let (body, status) = out.rsplit_once('\n').expect("a status");
    (serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned())), status.to_owned())
}

/// The URL that `deploy` printed for a method and the end of a path.
fn endpoint(deployed: &str, method: &str, end: &str) -> String {
    let line = deployed.lines().find(|l| l.starts_with(&format!("{method} ")) && l.ends_with(end));
    line.unwrap_or_else(|| panic!("no {method} …{end} in:\n{deployed}")).split_once(' ').expect("a URL").1.to_owned()
}

/// The users API of the examples, with `curl`.
fn users(name: &str) {
    let server = Server::start();
    let deployed = server.squall(&["deploy", &example(name)]);
    assert!(deployed.stderr.contains("deployed"), "progress goes to stderr: {deployed}");
    let deployed = deployed.ok();
    assert!(
        deployed.lines().last().is_some_and(|l| l.starts_with("GET http") || l.starts_with("POST http")),
        "endpoints come last: {deployed}"
    );
    let (get, post) = (endpoint(&deployed, "GET", "/users/{id}"), endpoint(&deployed, "POST", "/users"));
    let json = ["-H", "Content-Type: application/json"];
    let made = curled(&[&["-X", "POST", &post, "-d", r#"{"id":"7","name":"Zoë"}"#], &json[..]].concat());
    assert_eq!(made.1, "201", "{}", made.0);
    assert_eq!(made.0["message"], "User created");
    let (user, status) = curled(&[&get.replace("{id}", "7")]);
    assert_eq!(status, "200", "{user}");
    assert!(user.to_string().contains("Zoë"), "{user}");
    let (_, status) = curled(&["-X", "POST", &post, "-d", "not json"]);
    assert!(status.starts_with('5') || status == "400", "{status}");
    let listed = server.squall(&["ls", "--json"]).json();
    assert_eq!(listed["stacks"][0]["name"], format!("{name}-dev"));
    assert_eq!(listed["functions"].as_array().map(Vec::len), Some(2));
    let removed = server.squall(&["rm", &format!("{name}-dev")]).ok();
    assert!(removed.contains("removed"), "{removed}");
    let after = server.squall(&["ls", "--json"]).json();
    assert_eq!(
        (after["stacks"].as_array().map(Vec::len), after["functions"].as_array().map(Vec::len)),
        (Some(0), Some(0))
    );
    let tables = server.aws(&["dynamodb", "list-tables", "--query", "TableNames"]).json();
    assert_eq!(tables, serde_json::json!([]));
}

#[test]
fn users_api_in_node() {
    users("users-node");
}

#[test]
fn users_api_in_python() {
    users("users-python");
}

#[test]
fn hello_examples() {
    let server = Server::start();
    for name in ["hello-node", "hello-python", "hello-wasm"] {
        let deployed = server.squall(&["deploy", &example(name)]).ok();
        let url =
            deployed.lines().last().and_then(|l| l.split_once(' ')).expect("an endpoint").1.replace("{name}", "you");
        let (body, status) = curled(&[&url]);
        assert_eq!(status, "200", "{name}: {body}");
    }
    let again = server.squall(&["deploy", &example("hello-node"), "--json"]).json();
    assert_eq!(again["stack"], "hello-node-dev");
    assert!(again["endpoints"][0]["url"].is_string(), "{again}");
}

#[test]
fn changes_of_a_table_reach_a_function() {
    let server = Server::start();
    let deployed = server.squall(&["deploy", &example("orders-python")]).ok();
    let put = endpoint(&deployed, "PUT", "/orders/{id}").replace("{id}", "1");
    let history = endpoint(&deployed, "GET", "/orders/{id}/history").replace("{id}", "1");
    for state in ["new", "paid", "sent"] {
        let body = format!(r#"{{"state":"{state}"}}"#);
        let (order, status) = curled(&["-X", "PUT", &put, "-H", "Content-Type: application/json", "-d", &body]);
        assert_eq!((status.as_str(), &order["state"]), ("200", &state.into()), "{order}");
    }
    let expected = serde_json::json!(["- > new", "new > paid", "paid > sent"]);
    squall_testkit::until("the history has three lines", || (curled(&[&history]).0 == expected).then_some(()));
    let mappings = || {
        let query = "EventSourceMappings[].[UUID,State,BatchSize]";
        server.aws(&["lambda", "list-event-source-mappings", "--query", query]).json()
    };
    let first = mappings();
    assert_eq!((&first[0][1], &first[0][2]), (&"Enabled".into(), &25.into()), "{first}");
    server.squall(&["deploy", &example("orders-python")]).ok();
    assert_eq!(mappings(), first, "a second deploy changes nothing");
    server.squall(&["rm", "orders-python-dev"]).ok();
    assert_eq!(mappings(), serde_json::json!([]));
}

const SAM: &str = "Transform: AWS::Serverless-2016-10-31
Resources:
  Items:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: Items
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
      KeySchema: [{ AttributeName: id, KeyType: HASH }]
      StreamSpecification: { StreamViewType: NEW_IMAGE }
      PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true }
  Hear:
    Type: AWS::Serverless::Function
    Properties:
      Handler: handler.hear
      Runtime: nodejs20.x
      Events:
        Change: { Type: DynamoDB, Properties: { Stream: !GetAtt Items.StreamArn, StartingPosition: TRIM_HORIZON, BatchSize: 7 } }
      EventInvokeConfig: { MaximumRetryAttempts: 1 }
";

#[test]
fn sam_templates_have_streams_too() {
    let server = Server::start();
    let folder = server.scratch().join("heard");
    fs::create_dir_all(&folder).expect("make the service");
    let hear = "exports.hear = async (event) => console.log('HEARD ' + event.Records[0].dynamodb.Keys.id.S);";
    fs::write(folder.join("handler.js"), hear).expect("write the handler");
    let template = folder.join("template.yaml");
    let path = folder.display().to_string();
    fs::write(&template, SAM).expect("write the template");
    server.squall(&["deploy", &path]).ok();
    let item = r#"{"id":{"S":"one"}}"#;
    server.aws(&["dynamodb", "put-item", "--table-name", "Items", "--item", item]).ok();
    squall_testkit::until("the function has heard of it", || {
        let query = ["logs", "filter-log-events", "--log-group-name", "/aws/lambda/heard-dev-Hear"];
        let found = server.aws(&[&query[..], &["--filter-pattern", "HEARD", "--query", "events[].message"]].concat());
        found.stdout.contains("HEARD one").then_some(())
    });
    let recovery = ["dynamodb", "describe-continuous-backups", "--table-name", "Items"];
    assert!(server.aws(&recovery).ok().contains(r#""PointInTimeRecoveryStatus": "ENABLED""#));
    let invoke = ["lambda", "get-function-event-invoke-config", "--function-name", "heard-dev-Hear"];
    assert_eq!(server.aws(&invoke).json()["MaximumRetryAttempts"], 1);
    // What is no longer said goes back to what it would have been.
    let less = SAM.replace(", BatchSize: 7", "").replace("      EventInvokeConfig: { MaximumRetryAttempts: 1 }\n", "");
    let less = less
        .replace("StreamViewType: NEW_IMAGE }", "StreamViewType: KEYS_ONLY }")
        .replace("Enabled: true", "Enabled: false");
    fs::write(&template, less).expect("write the template");
    server.squall(&["deploy", &path]).ok();
    server.aws(&invoke).fails(&["ResourceNotFoundException"]);
    assert!(server.aws(&recovery).ok().contains(r#""PointInTimeRecoveryStatus": "DISABLED""#));
    let mappings = server.aws(&["lambda", "list-event-source-mappings"]).json();
    let all = mappings["EventSourceMappings"].as_array().expect("mappings");
    assert_eq!((all.len(), &all[0]["BatchSize"]), (1, &100.into()), "{mappings}");
    let table = server.aws(&["dynamodb", "describe-table", "--table-name", "Items"]).json();
    assert_eq!(all[0]["EventSourceArn"], table["Table"]["LatestStreamArn"], "the new stream is read");
}

/// A service folder in the server's scratch space.
fn service(server: &Server, name: &str, yml: &str, handler: &str) -> PathBuf {
    let folder = server.scratch().join(name);
    fs::create_dir_all(&folder).expect("make the service");
    fs::write(folder.join("serverless.yml"), yml).expect("write serverless.yml");
    fs::write(folder.join("handler.js"), handler).expect("write the handler");
    folder
}

const EVENTS: &str = "service: events
provider:
  name: aws
  runtime: nodejs20.x
  environment: { STAGE: '${sls:stage}', SECRET: \"${env:DEPLOY_SECRET, 'none'}\" }
functions:
  rest: { handler: handler.show, events: [{ http: 'GET rest/{id}' }, { http: { path: cors, method: post, cors: true } }] }
  http: { handler: handler.show, memorySize: 256, timeout: 5, events: [{ httpApi: 'GET /http/{id}' }] }
  url: { handler: handler.show, url: true }
";

const SHOW: &str = "exports.show = async (event) => ({
  statusCode: 200,
  body: JSON.stringify({ id: event.pathParameters?.id, version: event.version, stage: process.env.STAGE, secret: process.env.SECRET }),
});";

#[test]
fn every_kind_of_event_answers() {
    let server = Server::start();
    let folder = service(&server, "events", EVENTS, SHOW);
    let mut command = server.command(squall_testkit::squall());
    let deployed = run(command.args(["deploy", "--stage", "prod"]).arg(folder).env("DEPLOY_SECRET", "s3cret")).ok();
    let (rest, _) = curled(&[&endpoint(&deployed, "GET", "/rest/{id}").replace("{id}", "a")]);
    assert_eq!((&rest["id"], &rest["stage"], &rest["secret"]), (&"a".into(), &"prod".into(), &"s3cret".into()));
    let (http, _) = curled(&[&endpoint(&deployed, "GET", "/http/{id}").replace("{id}", "b")]);
    assert_eq!((&http["id"], &http["version"]), (&"b".into(), &"2.0".into()));
    let url =
        deployed.lines().find(|l| l.contains("lambda-url")).expect("a function URL").split_once(' ').expect("a URL").1;
    assert_eq!(curled(&[url]).1, "200");
    let cors = endpoint(&deployed, "POST", "/cors");
    let answer = run(Command::new("curl").args(["-sSi", "-X", "OPTIONS", "-H", "Origin: https://x.example", &cors]))
        .ok()
        .to_lowercase();
    assert!(answer.contains("access-control-allow-origin: *"), "{answer}");
    assert_eq!(server.squall(&["ls", "--json"]).json()["stacks"][0]["stage"], "prod");
    server.squall(&["rm", "events-prod"]).ok();
    assert_ne!(curled(&[url]).1, "200", "what was removed answers no more");
}

#[test]
fn what_is_not_understood_is_named_with_its_line() {
    let server = Server::start();
    let base =
        "service: s\nprovider: { name: aws, runtime: nodejs20.x }\nfunctions:\n  f:\n    handler: handler.show\n";
    for (more, line, word) in [
        ("    memroySize: 256\n", 6, "memroySize"),
        ("    events:\n      - sqs: x\n", 7, "sqs"),
        ("    timeout: soon\n", 6, "timeout"),
        ("plugins: [serverless-x]\n", 6, "plugins"),
        ("resources:\n  Resources:\n    Q: { Type: 'AWS::SQS::Queue' }\n", 8, "AWS::SQS::Queue"),
        ("    environment: { X: \"${nothing:here}\" }\n", 6, "nothing"),
    ] {
        let folder = service(&server, "bad", &format!("{base}{more}"), SHOW);
        let refused = server.squall(&["deploy", &folder.display().to_string()]).fails(&[word]);
        assert!(refused.contains(&format!("serverless.yml:{line}")), "expected line {line}: {refused}");
    }
    assert_eq!(server.squall(&["ls", "--json"]).json()["functions"], serde_json::json!([]), "nothing was made");
    let empty = server.scratch().join("empty");
    fs::create_dir_all(&empty).expect("make a folder");
    server.squall(&["deploy", &empty.display().to_string()]).fails(&["serverless.yml"]);
}

const VERSIONED: &str = "service: versioned
provider: { name: aws, runtime: nodejs20.x }
functions:
  f: { handler: handler.show, events: [{ httpApi: 'GET /v' }] }
";

#[test]
fn a_second_deploy_drops_no_request() {
    let server = Server::start();
    let handler = |v: u32| format!("exports.show = async () => ({{ statusCode: 200, body: 'v{v}' }});");
    let folder = service(&server, "versioned", VERSIONED, &handler(1));
    let path = folder.display().to_string();
    let deployed = server.squall(&["deploy", &path]).ok();
    let url = endpoint(&deployed, "GET", "/v");
    let (host, target) = split(&url);
    let address = server.address();
    let is_ending = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (host, target, ending) = (host.clone(), target.clone(), is_ending.clone());
            thread::spawn(move || {
                let mut seen = Vec::new();
                while !ending.load(Ordering::Relaxed) {
                    let answer =
                        squall_testkit::send(address, "GET", &target, &[("host", &host)], b"").expect("an answer");
                    seen.push((answer.status, answer.text()));
                }
                seen
            })
        })
        .collect();
    for version in 2..5 {
        service(&server, "versioned", VERSIONED, &handler(version));
        let again = server.squall(&["deploy", &path]).ok();
        assert_eq!(endpoint(&again, "GET", "/v"), url, "the endpoint stays");
        let (body, _) = curled(&[&url]);
        assert_eq!(body, format!("v{version}").as_str(), "after a deploy the new code answers");
    }
    is_ending.store(true, Ordering::Relaxed);
    let seen: Vec<_> = callers.into_iter().flat_map(|c| c.join().expect("a caller")).collect();
    let bad: Vec<_> = seen.iter().filter(|(status, body)| *status != 200 || !body.starts_with('v')).collect();
    assert!(bad.is_empty(), "{} of {} requests failed: {:?}", bad.len(), seen.len(), bad.first());
    assert!(
        seen.len() > 20 && seen.iter().any(|(_, b)| b == "v1") && seen.iter().any(|(_, b)| b == "v4"),
        "{} requests",
        seen.len()
    );
}

/// Host and target of a URL.
fn split(url: &str) -> (String, String) {
    let rest = url.split_once("//").expect("a URL").1;
    let (host, target) = rest.split_once('/').expect("a path");
    (host.to_owned(), format!("/{target}"))
}

const LAYERED: &str = "service: layered
provider: { name: aws, runtime: nodejs20.x }
layers:
  words: { path: words, description: What is said }
functions:
  say: { handler: handler.say, url: true, layers: [!Ref WordsLambdaLayer] }
";

#[test]
fn layers_are_published_when_they_change() {
    let server = Server::start();
    let say = "exports.say = async () => ({ statusCode: 200, body: require('words') });";
    let folder = service(&server, "layered", LAYERED, say);
    let module = folder.join("words/nodejs/node_modules/words");
    fs::create_dir_all(&module).expect("make the layer");
    let path = folder.display().to_string();
    let versions = || {
        let query = ["lambda", "list-layer-versions", "--layer-name", "words", "--query", "LayerVersions[].Version"];
        server.aws(&query).json()
    };
    for (word, expected) in [("hello", 1), ("hello", 1), ("goodbye", 2)] {
        fs::write(module.join("index.js"), format!("module.exports = '{word}';")).expect("write the layer");
        let deployed = server.squall(&["deploy", &path]).ok();
        let url = deployed
            .lines()
            .find(|l| l.contains("lambda-url"))
            .expect("a function URL")
            .split_once(' ')
            .expect("a URL")
            .1;
        assert_eq!(curled(&[url]), (Value::String(word.to_owned()), "200".to_owned()));
        assert_eq!(versions(), serde_json::json!([expected]), "the one before is deleted");
    }
    server.squall(&["rm", "layered-dev"]).ok();
    assert_eq!(versions(), serde_json::json!([]));
}
