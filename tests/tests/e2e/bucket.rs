//! Function packages in a bucket instead of the data directory.

use crate::load::{Customer, zip};
use serde_json::json;
use squall_testkit::{Bucket, Options, Server, run, squall, until};
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const CODE: &str = "def handler(e, c):\n    return e\n";

fn keys(bucket: &Bucket) -> Vec<(String, String)> {
    let (id, secret) = bucket.key();
    [("ACCESS_KEY_ID", id), ("SECRET_ACCESS_KEY", secret)]
        .map(|(name, value)| (format!("SQUALL_OBJECTS_{name}"), value.to_owned()))
        .to_vec()
}

/// Settings that name a place in the bucket; the folder goes with its value.
fn settings(endpoint: &str, url: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("squall.toml");
    fs::write(&file, format!("[objects]\nurl = \"{url}\"\nendpoint = \"{endpoint}\"\n")).expect("write settings");
    let shown = file.display().to_string();
    (folder, shown)
}

fn on(bucket: &Bucket, config: &str) -> Options {
    // Nothing but a durable engine takes a bucket.
    let state = std::env::var("SQUALL_TEST_STATE").ok().filter(|state| state == "memory").map(|_| "sqlite".to_owned());
    Options { env: keys(bucket), state, ..Options::args(&["--config", config]) }
}

fn make(customer: &Customer, name: &str, role: &str) -> Option<u16> {
    customer.make_function(name, role, "python3.11", &zip("index.py", &format!("{CODE}# {name}\n")))
}

fn echo(customer: &Customer, name: &str) -> Option<(u16, String)> {
    customer.invoke(name, "RequestResponse", &json!({ "x": 1 }))
}

#[test]
fn packages_live_in_the_bucket() {
    let bucket = Bucket::start();
    let (_folder, config) = settings(&bucket.endpoint(), &format!("{}/clouds/one", bucket.url()));
    let mut server = Server::start_with(on(&bucket, &config));
    let customer = Customer::of(&server);
    let role = customer.make_role("r");
    for name in ["one", "two"] {
        assert_eq!(make(&customer, name, &role), Some(201));
        customer.wait_active(name);
    }
    assert_eq!(echo(&customer, "one"), Some((200, r#"{"x": 1}"#.into())));
    let names = bucket.names();
    assert!(names.len() == 2 && names.iter().all(|name| name.starts_with("clouds/one/")), "{names:?}");
    assert!(!server.data().join("objects").exists(), "nothing of them lies in the data directory");
    server.squall(&["backup", &server.scratch().join("b.tar").display().to_string()]).fails(&["squall export"]);

    // An overloaded store is asked again, also by a server that has only just started.
    server.kill9();
    server.restart();
    bucket.refuse(2);
    assert_eq!(echo(&Customer::of(&server), "two"), Some((200, r#"{"x": 1}"#.into())));

    let file = server.scratch().join("x");
    server.squall(&["export", &file.display().to_string(), "--json"]).ok();
    moved_into_files(&server, &file);

    let customer = Customer::of(&server);
    let (status, _) = customer.call("lambda", ("DELETE", "/2015-03-31/functions/two"), &[], b"").expect("an answer");
    assert_eq!(status, 204);
    until("the package of a deleted function is gone", || (bucket.names().len() == 1).then_some(()));
}

/// An export holds the objects wherever they lie, and so moves a cloud out of a bucket.
fn moved_into_files(from: &Server, file: &Path) {
    let data = from.scratch().join("moved");
    let mut import = Command::new(squall());
    import.args(["import", &file.display().to_string(), "--state", "sqlite", "--json", "--data"]).arg(&data);
    let made = run(import.env_remove("SQUALL_STATE").env_remove("SQUALL_DATA")).json();
    assert_eq!(made["held"]["objects"]["count"], 2, "{made}");
    assert_eq!(made["held"], made["target"]);
    let copy = Server::start_with(Options { data: Some(data), state: Some("sqlite".into()), ..Options::default() });
    assert_eq!(echo(&Customer::of(&copy), "two"), Some((200, r#"{"x": 1}"#.into())));
}

#[test]
fn a_store_that_is_away_stops_neither_warm_functions_nor_the_server() {
    let bucket = Bucket::start();
    let (_folder, config) = settings(&bucket.endpoint(), &bucket.url());
    let server = Server::start_with(on(&bucket, &config));
    let customer = Customer::of(&server);
    customer.make_table("items");
    let role = customer.make_role("r");
    assert_eq!(make(&customer, "warm", &role), Some(201));
    customer.wait_active("warm");
    assert_eq!(echo(&customer, "warm"), Some((200, r#"{"x": 1}"#.into())));
    bucket.set_away(true);
    let refused = make(&customer, "new", &role);
    assert!(matches!(refused, Some(500..=599)), "an honest answer: {refused:?}");
    assert!(!customer.has_function("new"), "what was refused is not there");
    assert_eq!(echo(&customer, "warm"), Some((200, r#"{"x": 1}"#.into())));
    assert_eq!(customer.put("items", "a"), Some(200));
    assert_eq!(server.health()["status"], "ok");
    bucket.set_away(false);
    assert_eq!(make(&customer, "new", &role), Some(201), "it recovers by itself");
    customer.wait_active("new");
    assert_eq!(echo(&customer, "new"), Some((200, r#"{"x": 1}"#.into())));
}

#[test]
fn buckets_that_cannot_be_used_are_refused_with_what_to_do() {
    let bucket = Bucket::start();
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    let wrong = keys(&bucket).into_iter().map(|(name, _)| (name, "wrong".to_owned())).collect::<Vec<_>>();
    let (url, endpoint) = (bucket.url(), bucket.endpoint());
    for (url, endpoint, env, parts) in [
        ("s3://another", &endpoint, keys(&bucket), &["no bucket `another`", "create it"][..]),
        (&url, &endpoint, wrong, &["refuses these credentials", "read, write, delete"]),
        (&url, &endpoint, Vec::new(), &["SQUALL_OBJECTS_ACCESS_KEY_ID"]),
        (&url, &format!("http://{free}"), keys(&bucket), &["cannot be used", "endpoint"]),
        ("bucket", &endpoint, keys(&bucket), &["s3://BUCKET"]),
    ] {
        let (_folder, config) = settings(endpoint, url);
        let refused = Server::refused(&Options { env, ..on(&bucket, &config) });
        assert!(parts.iter().all(|part| refused.contains(part)), "{url}: expected {parts:?} in {refused}");
        assert!(!refused.contains("panicked"), "{refused}");
    }
    let (_folder, config) = settings(&endpoint, &url);
    let refused = Server::refused(&Options { state: Some("memory".into()), ..on(&bucket, &config) });
    assert!(refused.contains("takes no bucket"), "{refused}");
    assert_eq!(bucket.names(), Vec::<String>::new(), "probes are cleared away");
}
