//! AWS's SDKs and CLI, unmodified. What each script checks stands at its top.

use squall_testkit::{Options, Server};

#[track_caller]
fn python(script: &str) {
    let server = Server::start();
    println!("{}", server.python(script, &[]).ok());
    assert_eq!(server.health()["status"], "ok");
}

#[test]
fn boto3_dynamodb_tables() {
    python("dynamodb_tables.py");
}

#[test]
fn boto3_dynamodb_many() {
    python("dynamodb_many.py");
}

#[test]
fn boto3_dynamodb_refusals() {
    python("dynamodb_refusals.py");
}

#[test]
fn boto3_dynamodb_partiql() {
    python("dynamodb_partiql.py");
}

#[test]
fn pynamodb() {
    python("dynamodb_pynamodb.py");
}

#[test]
fn dynamoose_electrodb_and_document_client() {
    println!("{}", Server::start().node("dynamodb_orms.mjs", &[]).ok());
}

#[test]
fn boto3_dynamodb_streams() {
    python("dynamodb_streams.py");
}

#[test]
fn boto3_event_source_mappings() {
    python("esm_dynamodb.py");
}

#[test]
fn boto3_deliveries_of_event_sources() {
    python("esm_delivery.py");
}

#[test]
fn boto3_lambda_api() {
    python("lambda_api.py");
}

#[test]
fn boto3_lambda_invoke() {
    python("lambda_invoke.py");
}

#[test]
fn boto3_iam_sts() {
    python("iam_sts.py");
}

#[test]
fn boto3_logs() {
    python("logs_api.py");
}

#[test]
fn boto3_http_apis() {
    python("http_api.py");
}

#[test]
fn boto3_rest_apis() {
    python("rest_api.py");
}

#[test]
fn runtimes() {
    python("runtimes.py");
}

#[test]
fn boto3_layers() {
    python("lambda_layers.py");
}

#[test]
fn boto3_wasm() {
    let server = Server::start();
    let modules = tempfile::tempdir().expect("a temporary folder");
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/wasm");
    for entry in std::fs::read_dir(source).expect("the modules").flatten() {
        let wasm = wat::parse_file(entry.path()).expect("a module");
        let name = entry.path().with_extension("wasm").file_name().expect("a name").to_owned();
        std::fs::write(modules.path().join(name), wasm).expect("write a module");
    }
    let folder = modules.path().to_string_lossy().into_owned();
    println!("{}", server.python("wasm.py", &[folder.as_str()]).ok());
    assert_eq!(server.health()["status"], "ok");
}

#[test]
fn native_runtimes() {
    python("native_runtimes.py");
}

#[test]
fn signatures() {
    python("auth.py");
}

#[test]
fn signatures_with_dev() {
    let server = Server::start_with(Options::args(&["--dev"]));
    server.python("auth.py", &["dev"]).ok();
    let log = server.log();
    assert!(log.contains("WARN") && log.contains("ANY credentials"), "--dev says so loudly: {log}");
}

#[test]
fn javascript_sdk() {
    println!("{}", Server::start().node("sdk.mjs", &[]).ok());
}
