//! A whole cloud as one file: from engine to engine while it serves, and what is refused.

use crate::load::{Customer, Writer, zip};
use serde_json::{Value, json};
use squall_testkit::{Options, Postgres, Server, postgres_bin, run, squall};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Says why a test does nothing here; `cargo xtask test` installs PostgreSQL.
pub fn has_postgres() -> bool {
    let is_there = postgres_bin().is_some();
    if !is_there {
        eprintln!("SKIPPED: PostgreSQL 15 or newer is not installed (apt-get install postgresql)");
    }
    is_there
}

/// `squall` without a server.
fn alone(args: &[&str]) -> squall_testkit::Finished {
    run(Command::new(squall()).args(args).env_remove("SQUALL_STATE").env_remove("SQUALL_DATA"))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Something of every kind: items, a time to live, an index, a function, log lines, an event that waits for its next try.
fn furnish(server: &Server) -> Customer {
    let customer = Customer::of(server);
    customer.make_table("items");
    let ttl = json!({ "TableName": "items",
        "TimeToLiveSpecification": { "Enabled": true, "AttributeName": "until" } });
    assert_eq!(customer.json("DynamoDB_20120810.UpdateTimeToLive", &ttl).expect("an answer").0, 200);
    let dated = json!({ "TableName": "items", "Item": { "id": { "S": "dated" }, "until": { "N": "4102444800" } } });
    assert_eq!(customer.json("DynamoDB_20120810.PutItem", &dated).expect("an answer").0, 200);
    for n in 0..100 {
        assert_eq!(customer.put("items", &format!("before-{n}")), Some(200));
    }
    let role = customer.make_role("r");
    for (name, code) in [("echo", "return e"), ("fails", "raise Exception('again later')")] {
        let code = zip("index.py", &format!("def handler(e, c):\n    print('line of', e)\n    {code}\n"));
        assert_eq!(customer.make_function(name, &role, "python3.11", &code), Some(201));
        customer.wait_active(name);
    }
    assert_eq!(customer.invoke("echo", "RequestResponse", &json!({ "n": 1 })).expect("an answer").0, 200);
    assert_eq!(customer.invoke("fails", "Event", &json!({})).expect("an answer").0, 202);
    squall_testkit::until("the function has failed once", || {
        lines(&customer, "fails").contains("line of").then_some(())
    });
    customer
}

fn lines(customer: &Customer, function: &str) -> String {
    let group = json!({ "logGroupName": format!("/aws/lambda/{function}") });
    let answer = customer.json("Logs_20140328.FilterLogEvents", &group);
    answer.map(|(_, page)| page["events"].to_string()).unwrap_or_default()
}

/// Everything that [`furnish`] made is there and works.
fn check(server: &Server) {
    let customer = Customer::of(server);
    assert!((0..100).all(|n| customer.has("items", &format!("before-{n}"))), "all from before the export");
    assert!(customer.has("items", "dated"));
    let ttl = json!({ "TableName": "items" });
    let (_, ttl) = customer.json("DynamoDB_20120810.DescribeTimeToLive", &ttl).expect("an answer");
    assert_eq!(ttl["TimeToLiveDescription"]["TimeToLiveStatus"], "ENABLED", "{ttl}");
    assert!(lines(&customer, "echo").contains("line of {'n': 1}"), "{}", lines(&customer, "echo"));
    let answer = customer.invoke("echo", "RequestResponse", &json!({ "x": 1 })).expect("an answer");
    assert_eq!(answer, (200, r#"{"x": 1}"#.into()));
    assert_eq!(customer.put("items", "after"), Some(200));
}

fn export(server: &Server, file: &Path) -> Value {
    let made = server.squall(&["export", &text(file), "--json"]).json();
    assert_eq!(made["bytes"], fs::metadata(file).expect("the file").len());
    made
}

/// Imports, and holds that both sides say the same of themselves.
fn import(file: &Path, data: &Path, state: &str) -> Value {
    let data = text(data);
    let made = alone(&["import", &text(file), "--data", &data, "--state", state, "--json"]).json();
    assert_eq!(made["held"], made["target"]);
    made
}

#[test]
fn a_cloud_moves_through_every_engine() {
    if !has_postgres() {
        return;
    }
    let database = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);

    let server = Server::start_with(Options { state: Some("sqlite".into()), ..Options::default() });
    let customer = furnish(&server);
    let secret = server.credentials().secret_access_key.clone();
    let writers: Vec<_> = (0..3)
        .map(|w| {
            let c = customer.clone();
            Writer::start(0, move |n| {
                let id = format!("during-{w}-{n}");
                Some((c.put("items", &id)?, id))
            })
        })
        .collect();
    let made = export(&server, &at("1"));
    server.squall(&["export", &text(&at("1"))]).fails(&["never written over"]);
    let written: Vec<_> = writers.into_iter().map(Writer::end).collect();
    assert_eq!(made["held"]["objects"]["count"], 2, "{made}");
    for kind in ["queue entries", "log files", "dynamodb/2", "lambda/1", "iam/1"] {
        assert!(made["held"][kind]["count"].as_u64().is_some_and(|n| n > 0), "{kind}: {made}");
    }
    drop(server);

    let url = database.url("squall");
    let moved = import(&at("1"), &at("two"), &url);
    assert_eq!(moved["held"].as_object().map(serde_json::Map::len), made["held"].as_object().map(serde_json::Map::len));
    alone(&["import", &text(&at("1")), "--data", &text(&at("two")), "--state", &url]).fails(&["not empty"]);
    alone(&["import", &text(&at("1")), "--data", &text(&at("two")), "--state", &url, "--verify"]).ok();
    let options = Options { data: Some(at("two")), state: Some(url), ..Options::default() };
    let server = Server::start_with(options);
    assert_eq!(server.credentials().secret_access_key, secret, "the same cloud");
    check(&server);
    let customer = Customer::of(&server);
    for ids in written {
        // One writer's items come one after the other: those in the cut are the first ones, without a gap.
        let kept: Vec<bool> = ids.iter().map(|id| customer.has("items", id)).collect();
        let first_missing = kept.iter().position(|k| !k).unwrap_or(kept.len());
        assert!(kept[first_missing..].iter().all(|k| !k), "a gap in the cut after {first_missing} of {}", kept.len());
    }
    export(&server, &at("2"));
    drop(server);

    let args = ["--import".to_owned(), text(&at("2"))];
    let server = Server::start_with(Options {
        args: args.into(),
        data: Some(at("three")),
        state: Some("memory".into()),
        ..Options::default()
    });
    check(&server);
    assert!(Customer::of(&server).has("items", "after"));
    export(&server, &at("3"));
    drop(server);

    import(&at("3"), &at("four"), "sqlite");
    let mut server =
        Server::start_with(Options { data: Some(at("four")), state: Some("sqlite".into()), ..Options::default() });
    check(&server);
    assert_eq!(server.credentials().secret_access_key, secret);
    assert_eq!(server.stop(), Some(0));
    // A stopped cloud is exported by the program itself.
    alone(&["export", &text(&at("4")), "--stopped", "--data", &text(&at("four"))]).ok();
    alone(&["import", &text(&at("4")), "--verify", "--data", &text(&at("four"))]).ok();
    alone(&["import", &text(&at("3")), "--verify", "--data", &text(&at("four"))]).fails(&["differ in"]);
}

#[test]
fn what_is_no_whole_export_makes_nothing() {
    let server = Server::start();
    furnish(&server);
    let file = server.scratch().join("x");
    export(&server, &file);
    server.squall(&["import", &text(&file), "--check"]).ok();
    let whole = fs::read(&file).expect("the file");
    let (bad, data) = (server.scratch().join("bad"), server.scratch().join("never"));
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    for (bytes, part) in [
        (&whole[..whole.len() - 1], "damaged or not whole"),
        (&whole[..whole.len() / 3], "damaged or not whole"),
        (&flipped, "damaged or not whole"),
        (b"PK\x03\x04", "not an export"),
        (b"SQUALL-EXPORT-2\nxxxxxxxxxxxxxxxxxx", "upgrade the program"),
    ] {
        fs::write(&bad, bytes).expect("write a file");
        for more in [&["--data", &text(&data), "--state", "sqlite"][..], &["--check"]] {
            alone(&[&["import", &text(&bad)], more].concat()).fails(&[part]);
        }
        assert!(!data.exists(), "nothing was made");
    }
}

#[test]
fn targets_that_are_in_use_or_another_clouds_are_refused() {
    let mut server = Server::start_with(Options { state: Some("sqlite".into()), ..Options::default() });
    furnish(&server);
    let file = server.scratch().join("x");
    export(&server, &file);
    let (file, data) = (text(&file), text(&server.data()));
    alone(&["import", &file, "--data", &data]).fails(&["in use by another server"]);
    alone(&["export", &format!("{file}2"), "--stopped", "--data", &data]).fails(&["in use by another server"]);
    let other = Options::args(&["--import", &file, "--account", "123456789012"]);
    let refused = Server::refused(&Options { state: Some("memory".into()), ..other });
    assert!(refused.contains("--account 000000000000"), "{refused}");
    assert_eq!(server.stop(), Some(0));
    alone(&["import", &file, "--data", &data]).fails(&["not empty"]);
    // A folder whose state went elsewhere keeps its packages and logs.
    let elsewhere = Options { data: Some(server.data()), state: Some("memory".into()), ..Options::default() };
    let refused = Server::refused(&elsewhere);
    assert!(refused.contains("choose another directory"), "{refused}");
    let replaced = alone(&["import", &file, "--data", &data, "--replace"]);
    replaced.ok();
    assert!(server.data().join("replaced-1/state.db").is_file(), "what was there is kept");
    server.restart();
    check(&server);
}

#[test]
fn only_root_may_take_a_whole_cloud() {
    let server = Server::start();
    server.aws(&["iam", "create-user", "--user-name", "admin"]).ok();
    let policy = "arn:aws:iam::aws:policy/AdministratorAccess";
    server.aws(&["iam", "attach-user-policy", "--user-name", "admin", "--policy-arn", policy]).ok();
    let key = server.aws(&["iam", "create-access-key", "--user-name", "admin"]).json();
    let part = |name: &str| key["AccessKey"][name].as_str().expect("a key").to_owned();
    for (page, file) in [("export", "x"), ("backup", "y")] {
        let mut command = server.command(squall());
        command.args([page, file]).env("AWS_ACCESS_KEY_ID", part("AccessKeyId"));
        command.env("AWS_SECRET_ACCESS_KEY", part("SecretAccessKey"));
        run(&mut command).fails(&["only root"]);
        assert!(!server.scratch().join(file).exists());
    }
    let answer = server.http("POST", "/_squall/export", &[], b"");
    assert_eq!(answer.status, 403, "{}", answer.text());
}
