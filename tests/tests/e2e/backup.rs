//! Backups of a live system, and data directories that cannot be used.

use crate::load::{Customer, Writer, zip};
use serde_json::json;
use squall_testkit::{Options, Server, python, run};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// Backups and state files are the embedded engine's.
fn on_sqlite(data: Option<std::path::PathBuf>) -> Options {
    Options { data, state: Some("sqlite".into()), ..Options::default() }
}

fn sqlite_server() -> Server {
    Server::start_with(on_sqlite(None))
}

#[test]
fn a_backup_of_a_live_system_is_a_consistent_cut() {
    let server = sqlite_server();
    let customer = Customer::of(&server);
    customer.make_table("items");
    let role = customer.make_role("r");
    assert_eq!(
        customer.make_function("f", &role, "python3.11", &zip("index.py", "def handler(e, c):\n    return e\n")),
        Some(201)
    );
    customer.wait_active("f");
    for n in 0..200 {
        assert_eq!(customer.put("items", &format!("before-{n}")), Some(200));
    }
    let writers: Vec<_> = (0..3)
        .map(|w| {
            let c = customer.clone();
            Writer::start(0, move |n| {
                let id = format!("during-{w}-{n}");
                Some((c.put("items", &id)?, id))
            })
        })
        .collect();
    let file = server.scratch().join("backup.tar");
    let shown = file.display().to_string();
    let made = server.squall(&["backup", &shown, "--json"]).json();
    assert_eq!(made["bytes"], fs::metadata(&file).expect("the file").len());
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600, "it holds root's credentials");
    server.squall(&["backup", &shown]).fails(&["never written over"]);
    let written: Vec<_> = writers.into_iter().map(Writer::end).collect();

    let data = server.scratch().join("restored");
    let restored = server.squall(&["restore", &shown, "--data", &data.display().to_string()]).ok();
    assert!(restored.contains("restored into"), "{restored}");
    assert_eq!(mode(&data), 0o700, "as `up` makes it");
    for used in [&data, &server.data()] {
        server.squall(&["restore", &shown, "--data", &used.display().to_string()]).fails(&["not empty"]);
    }
    let copy = Server::start_with(on_sqlite(Some(data)));
    assert_eq!(copy.credentials().secret_access_key, server.credentials().secret_access_key, "the same cloud");
    let customer = Customer::of(&copy);
    assert!((0..200).all(|n| customer.has("items", &format!("before-{n}"))), "all from before the backup");
    for ids in written {
        // One writer's items come one after the other: those in the cut are the first ones, without a gap.
        let kept: Vec<bool> = ids.iter().map(|id| customer.has("items", id)).collect();
        let first_missing = kept.iter().position(|k| !k).unwrap_or(kept.len());
        assert!(
            kept[first_missing..].iter().all(|k| !k),
            "a gap in the cut after {first_missing} of {} items",
            kept.len()
        );
    }
    assert_eq!(
        customer.invoke("f", "RequestResponse", &json!({ "x": 1 })).expect("an answer"),
        (200, r#"{"x": 1}"#.into())
    );
}

#[test]
fn files_that_are_no_backup_are_refused() {
    let server = sqlite_server();
    let file = server.scratch().join("x.tar");
    fs::write(&file, b"nothing").expect("write a file");
    let data = server.scratch().join("never");
    let (file, target) = (file.display().to_string(), data.display().to_string());
    server.squall(&["restore", &file, "--data", &target]).fails(&["backup"]);
    assert!(!data.exists(), "nothing is left behind");
    let whole = server.scratch().join("whole.tar");
    server.squall(&["backup", &whole.display().to_string()]).ok();
    let bytes = fs::read(&whole).expect("the backup");
    let mut flipped = bytes.clone();
    // In the header page of the state, behind the archive's two headers.
    flipped[1024 + 20] ^= 0xff;
    for bad in [&bytes[..bytes.len() / 2], &flipped] {
        fs::write(&file, bad).expect("write a file");
        server.squall(&["restore", &file, "--data", &target]).fails(&["backup"]);
        assert!(!data.exists(), "nothing is left behind");
    }
}

#[test]
fn one_server_per_data_directory() {
    let server = Server::start();
    let refused = Server::refused(&Options { data: Some(server.data()), ..Options::default() });
    assert!(
        refused.contains("in use by another server") && refused.contains(&server.data().display().to_string()),
        "{refused}"
    );
    assert_eq!(server.health()["status"], "ok", "the first one goes on");
}

/// Runs a statement on the state of a server that has ended.
pub fn sqlite(state: &Path, statement: &str) {
    let program =
        "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute(sys.argv[2])\nc.commit()\nc.close()";
    run(Command::new(python()).args(["-c", program]).arg(state).arg(statement)).ok();
}

/// A data directory of a server that has ended, and its state file.
fn ended() -> (Server, Options, std::path::PathBuf) {
    let mut server = sqlite_server();
    Customer::of(&server).make_table("items");
    assert_eq!(server.stop(), Some(0));
    let options = on_sqlite(Some(server.data()));
    let state = server.data().join("state.db");
    assert!(state.is_file(), "the state is in {}", state.display());
    (server, options, state)
}

#[test]
fn a_newer_schema_is_refused() {
    let (_server, options, state) = ended();
    sqlite(&state, "pragma user_version = 99");
    let refused = Server::refused(&options);
    assert!(refused.contains("schema 99") && refused.contains("upgrade the program"), "{refused}");
    assert!(refused.contains(&state.display().to_string()), "{refused}");
}

#[test]
fn a_damaged_file_is_refused_by_name() {
    let (_server, options, state) = ended();
    let mut bytes = fs::read(&state).expect("read the state");
    bytes[..64].fill(0x5a);
    fs::write(&state, &bytes).expect("damage the state");
    // The log would mend it.
    let _ = fs::remove_file(state.with_extension("db-wal"));
    let refused = Server::refused(&options);
    assert!(
        refused.contains(&state.display().to_string()) && refused.contains("not a readable Squall state"),
        "{refused}"
    );
    assert_eq!(fs::read(&state).expect("read the state"), bytes, "what cannot be read is left as it is");
}
