//! The AWS CLI, unmodified.

use serde_json::{Value, json};
use squall_testkit::{Server, python, run, until};
use std::path::PathBuf;
use std::process::Command;

/// Zips one file, as people do before `--zip-file fileb://`.
fn zip(server: &Server, name: &str, text: &str) -> PathBuf {
    let (source, zip) = (server.scratch().join(name), server.scratch().join(format!("{name}.zip")));
    std::fs::write(&source, text).expect("write the source");
    let mut command = Command::new(python());
    run(command.args(["-m", "zipfile", "-c"]).arg(&zip).arg(name).current_dir(server.scratch())).ok();
    zip
}

fn trust(server: &Server) -> String {
    let text = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": { "Service": "lambda.amazonaws.com" }, "Action": "sts:AssumeRole" }
    ]});
    let path = server.scratch().join("trust.json");
    std::fs::write(&path, text.to_string()).expect("write the policy");
    format!("file://{}", path.display())
}

#[test]
fn functions() {
    let server = Server::start();
    let me = server.aws(&["sts", "get-caller-identity"]).json();
    assert_eq!(me["Arn"], "arn:aws:iam::000000000000:root");
    let role =
        server.aws(&["iam", "create-role", "--role-name", "r", "--assume-role-policy-document", &trust(&server)]);
    let role = role.json()["Role"]["Arn"].as_str().expect("an ARN").to_owned();
    let basic = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";
    server.aws(&["iam", "attach-role-policy", "--role-name", "r", "--policy-arn", basic]).ok();
    let code = zip(
        &server,
        "index.js",
        "exports.handler = async (e) => { console.log('seen', e.n); return { n: e.n + 1 }; };",
    );
    let code = format!("fileb://{}", code.display());
    #[rustfmt::skip]
    let made = server.aws(&[
        "lambda", "create-function", "--function-name", "f", "--runtime", "nodejs20.x", "--role", &role,
        "--handler", "index.handler", "--zip-file", &code,
    ]);
    assert_eq!(made.json()["State"], "Pending");
    server.aws(&["lambda", "wait", "function-active-v2", "--function-name", "f"]).ok();
    let out = server.scratch().join("out.json");
    #[rustfmt::skip]
    let invoked = server.aws(&[
        "lambda", "invoke", "--function-name", "f", "--payload", r#"{"n": 1}"#, "--log-type", "Tail", &out.display().to_string(),
    ]);
    let invoked = invoked.json();
    assert_eq!((&invoked["StatusCode"], &invoked["ExecutedVersion"]), (&json!(200), &json!("$LATEST")));
    assert_eq!(std::fs::read_to_string(&out).expect("the answer"), r#"{"n":2}"#);
    let tail = until("the REPORT line is in the log", || {
        let found = ["logs", "filter-log-events", "--log-group-name", "/aws/lambda/f", "--query", "events[].message"];
        let tail = server.aws(&found).stdout;
        tail.contains("REPORT RequestId").then_some(tail)
    });
    assert!(tail.contains(r"INFO\tseen 1\n"), "{tail}");
    server.aws(&["lambda", "update-function-configuration", "--function-name", "f", "--timeout", "9"]).ok();
    server.aws(&["lambda", "wait", "function-updated-v2", "--function-name", "f"]).ok();
    let listed = server.aws(&["lambda", "list-functions", "--query", "Functions[].[FunctionName,Timeout]"]).json();
    assert_eq!(listed, json!([["f", 9]]));
    server.aws(&["lambda", "delete-function", "--function-name", "f"]).ok();
    let gone = server.aws(&["lambda", "get-function", "--function-name", "f"]);
    gone.fails(&["ResourceNotFoundException", "Function not found: arn:aws:lambda:us-east-1:000000000000:function:f"]);
}

#[test]
fn tables() {
    let server = Server::start();
    #[rustfmt::skip]
    server.aws(&[
        "dynamodb", "create-table", "--table-name", "items", "--key-schema", "AttributeName=id,KeyType=HASH",
        "--attribute-definitions", "AttributeName=id,AttributeType=S", "--billing-mode", "PAY_PER_REQUEST",
    ]).ok();
    server.aws(&["dynamodb", "wait", "table-exists", "--table-name", "items"]).ok();
    for n in 0..3 {
        let item = json!({ "id": { "S": format!("i{n}") }, "n": { "N": n.to_string() } }).to_string();
        server.aws(&["dynamodb", "put-item", "--table-name", "items", "--item", &item]).ok();
    }
    let got = server.aws(&["dynamodb", "get-item", "--table-name", "items", "--key", r#"{"id": {"S": "i1"}}"#]).json();
    assert_eq!(got["Item"]["n"], json!({ "N": "1" }));
    #[rustfmt::skip]
    let scanned = server.aws(&[
        "dynamodb", "scan", "--table-name", "items", "--filter-expression", "n > :n",
        "--expression-attribute-values", r#"{":n": {"N": "0"}}"#, "--query", "Count",
    ]);
    assert_eq!(scanned.json(), json!(2));
    #[rustfmt::skip]
    let refused = server.aws(&[
        "dynamodb", "put-item", "--table-name", "items", "--item", r#"{"id": {"S": "i1"}}"#,
        "--condition-expression", "attribute_not_exists(id)",
    ]);
    refused.fails(&["ConditionalCheckFailedException", "The conditional request failed"]);
}

#[test]
fn http_apis() {
    let server = Server::start();
    let api = server.aws(&["apigatewayv2", "create-api", "--name", "a", "--protocol-type", "HTTP"]).json();
    let id = api["ApiId"].as_str().expect("an id").to_owned();
    #[rustfmt::skip]
    server.aws(&["apigatewayv2", "create-stage", "--api-id", &id, "--stage-name", "$default", "--auto-deploy"]).ok();
    let listed: Value = server.aws(&["apigatewayv2", "get-apis", "--query", "Items[].Name"]).json();
    assert_eq!(listed, json!(["a"]));
    let rest = server.aws(&["apigateway", "create-rest-api", "--name", "r"]).json();
    let rest = rest["id"].as_str().expect("an id").to_owned();
    let resources =
        server.aws(&["apigateway", "get-resources", "--rest-api-id", &rest, "--query", "items[].path"]).json();
    assert_eq!(resources, json!(["/"]));
    server.aws(&["apigateway", "delete-rest-api", "--rest-api-id", &rest]).ok();
    server.aws(&["apigatewayv2", "delete-api", "--api-id", &id]).ok();
}
