//! The server as a process: what it says, weighs and leaves when it goes.

use crate::leftovers;
use crate::load::{Customer, zip};
use serde_json::json;
use squall_testkit::{Options, Server};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::Duration;

/// What an idle server may take; measured on release builds, which is what users run.
const IDLE_KIB_MAX: u64 = 40 * 1024;

#[test]
fn it_starts_and_tells_its_health() {
    let server = Server::start();
    println!("ready after {:?}", server.started_in);
    let health = server.health();
    assert_eq!(
        (&health["status"], &health["region"], &health["account"]),
        (&json!("ok"), &json!("us-east-1"), &json!("000000000000"))
    );
    assert!(
        health["isolation"].is_string() && health["functions"].is_object() && health["sandbox"].is_object(),
        "{health}"
    );
    let file = fs::metadata(server.data().join("credentials")).expect("the credentials file");
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    let folder = fs::metadata(server.data()).expect("the data directory");
    assert_eq!(folder.permissions().mode() & 0o077, 0, "nobody else reads the data");
}

#[test]
fn idle_it_is_small() {
    let server = Server::start();
    thread::sleep(Duration::from_secs(2));
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("its status");
    let kib = |name: &str| -> u64 {
        let line = status.lines().find(|l| l.starts_with(name)).expect("a line");
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
    };
    // Pages of the program's file that debug builds touch are shared and can be dropped at any time.
    let (own, all) = (kib("RssAnon:"), kib("VmRSS:"));
    println!("idle: {all} KiB, {own} KiB of it its own");
    assert!(own <= IDLE_KIB_MAX, "{own} KiB");
    if !cfg!(debug_assertions) {
        assert!(all <= IDLE_KIB_MAX, "{all} KiB");
    }
}

#[test]
fn sigterm_lets_requests_end() {
    let Some(mut server) = Server::start_durable() else { return };
    let customer = Customer::of(&server);
    let role = customer.make_role("r");
    let code = zip("index.py", "import time\ndef handler(e, c):\n    time.sleep(1.5)\n    return 'done'\n");
    assert_eq!(customer.make_function("slow", &role, "python3.11", &code), Some(201));
    customer.wait_active("slow");
    let c = customer.clone();
    let call = thread::spawn(move || c.invoke("slow", "RequestResponse", &json!({})));
    thread::sleep(Duration::from_millis(700));
    assert_eq!(server.stop(), Some(0));
    let answer = call.join().expect("the caller's thread").expect("an answer");
    assert_eq!(answer, (200, "\"done\"".to_owned()));
    assert_eq!(leftovers::processes(&server), Vec::<String>::new());
    assert_eq!(leftovers::mounts(&server), Vec::<String>::new());
    server.restart();
    assert_eq!(Customer::of(&server).invoke("slow", "RequestResponse", &json!({})).expect("an answer").0, 200);
}

#[test]
fn settings_that_cannot_be_used_are_refused() {
    for (args, parts) in [
        (&["--state", "oracle://x"][..], &["--state oracle://x", "expected sqlite"][..]),
        (&["--state", "postgres://u@127.0.0.1:1/d"], &["cannot reach PostgreSQL", "Is it running"]),
        (&["--account", "7"], &["--account 7", "twelve digits"]),
        (&["--region", "No Where"], &["--region No Where"]),
        (&["--isolation", "some"], &["--isolation some"]),
        (&["--config", "/dev/null/x"], &["/dev/null/x"]),
        (&["--no-such-flag"], &["--no-such-flag"]),
    ] {
        let refused = Server::refused(&Options::args(args));
        assert!(parts.iter().all(|p| refused.contains(p)), "{args:?}: {refused}");
    }
}

#[test]
fn unknown_keys_of_the_file_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("my.toml");
    for (text, part) in [("lisen = \"x\"", "lisen"), ("[runtime]\nconcurency = 1", "concurency"), ("= 1", "my.toml")] {
        fs::write(&file, text).expect("write a file");
        let refused = Server::refused(&Options::args(&["--config", &file.display().to_string()]));
        assert!(refused.contains(part) && refused.contains("my.toml"), "{refused}");
    }
}

#[test]
fn the_memory_engine_forgets() {
    let mut server = Server::start_with(Options::args(&["--state", "memory"]));
    let customer = Customer::of(&server);
    customer.make_table("items");
    assert_eq!(customer.put("items", "a"), Some(200));
    assert!(customer.has("items", "a"));
    server.squall(&["backup", &server.scratch().join("b").display().to_string()]).fails(&["data directory"]);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn regions_are_apart_and_others_are_refused() {
    let server =
        Server::start_with(Options::args(&["--region", "eu-central-1,us-west-2", "--account", "123456789012"]));
    assert_eq!(server.credentials().region, "eu-central-1");
    let me = server.aws(&["sts", "get-caller-identity"]).json();
    assert_eq!(me["Account"], "123456789012");
    let make = ["dynamodb", "create-table", "--table-name", "ttt", "--billing-mode", "PAY_PER_REQUEST"];
    let keys =
        ["--key-schema", "AttributeName=a,KeyType=HASH", "--attribute-definitions", "AttributeName=a,AttributeType=S"];
    let made = server.aws(&[&make[..], &keys[..]].concat()).json();
    assert_eq!(made["TableDescription"]["TableArn"], "arn:aws:dynamodb:eu-central-1:123456789012:table/ttt");
    let there = server.aws(&["dynamodb", "list-tables", "--region", "us-west-2", "--query", "TableNames"]).json();
    assert_eq!(there, json!([]));
    server.aws(&["dynamodb", "list-tables", "--region", "ap-south-1"]).fails(&["InvalidSignatureException"]);
}

#[test]
fn everything_outlives_a_restart() {
    let Some(mut server) = Server::start_durable() else { return };
    server.python("persist.py", &["make"]).ok();
    assert_eq!(server.stop(), Some(0));
    server.restart();
    server.python("persist.py", &["check"]).ok();
    // Without a chance to write anything more.
    server.kill9();
    server.restart();
    server.python("persist.py", &["check"]).ok();
}

#[test]
fn a_burst_from_nothing_loses_no_request() {
    let server = Server::start();
    let customer = Customer::of(&server);
    let role = customer.make_role("r");
    let code = zip("index.py", "import time\ndef handler(e, c):\n    time.sleep(0.2)\n    return e['n']\n");
    assert_eq!(customer.make_function("burst", &role, "python3.11", &code), Some(201));
    customer.wait_active("burst");
    let calls: Vec<_> = (0..150)
        .map(|n| {
            let c = customer.clone();
            thread::spawn(move || (n, c.invoke("burst", "RequestResponse", &json!({ "n": n }))))
        })
        .collect();
    for call in calls {
        let (n, answer) = call.join().expect("a caller");
        assert_eq!(answer, Some((200, n.to_string())));
    }
    assert_eq!(server.health()["status"], "ok");
}

#[test]
fn http_2_and_expect_are_spoken() {
    let server = Server::start();
    let health = format!("{}/_squall/health", server.url());
    let curl = |args: &[&str]| {
        let mut command = std::process::Command::new("curl");
        squall_testkit::run(command.args(["-sS", "-o", "/dev/null", "-w", "%{http_version} %{http_code}"]).args(args))
            .ok()
    };
    assert_eq!(curl(&["--http2-prior-knowledge", &health]), "2 200");
    assert_eq!(curl(&["--http1.1", &health]), "1.1 200");
    assert_eq!(curl(&["--http1.0", &health]), "1 200");
    // A body of 2 MiB behind `Expect: 100-continue`: refused for want of a signature, but read or refused at once.
    let body = server.scratch().join("body");
    fs::write(&body, vec![b'x'; 2 << 20]).expect("write a body");
    let data = format!("@{}", body.display());
    let url = format!("{}/2015-03-31/functions", server.url());
    assert_eq!(
        curl(&["-H", "Expect: 100-continue", "--expect100-timeout", "20", "--data-binary", &data, &url]),
        "1.1 403"
    );
}
