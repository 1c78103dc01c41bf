//! The commands of `squall`, apart from `deploy`.

use crate::load::{Customer, zip};
use serde_json::{Value, json};
use squall_testkit::{Finished, Options, Server, run, send, signal, squall};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

fn with_function(source: &str) -> Server {
    let server = Server::start();
    let customer = Customer::of(&server);
    let role = customer.make_role("r");
    assert_eq!(customer.make_function("f", &role, "python3.11", &zip("index.py", source)), Some(201));
    customer.wait_active("f");
    server
}

/// Runs without any AWS variable, so that only the data directory says where the cloud is.
fn by_data(server: &Server, args: &[&str]) -> Finished {
    let mut command = Command::new(squall());
    command.args(args).arg("--data").arg(server.data()).env_clear().env("PATH", "/usr/bin:/bin");
    run(&mut command)
}

#[test]
fn env_is_for_eval() {
    let server = Server::start();
    let lines = by_data(&server, &["env"]).ok();
    let c = server.credentials();
    let expected = format!(
        "export AWS_ENDPOINT_URL={}\nexport AWS_ACCESS_KEY_ID={}\nexport AWS_SECRET_ACCESS_KEY={}\nexport AWS_REGION=us-east-1\n\
         export AWS_DEFAULT_REGION=us-east-1\n",
        c.endpoint, c.access_key_id, c.secret_access_key
    );
    assert_eq!(lines, expected);
    let script = format!(
        "eval \"$('{}' env --data '{}')\" && echo \"$AWS_SECRET_ACCESS_KEY\"",
        squall().display(),
        server.data().display()
    );
    assert_eq!(run(Command::new("sh").args(["-c", &script])).ok().trim(), c.secret_access_key);
    assert_eq!(by_data(&server, &["env", "--json"]).json()["AWS_ENDPOINT_URL"], c.endpoint.as_str());
    let nowhere = server.scratch().join("nowhere").display().to_string();
    run(Command::new(squall()).args(["env", "--data", &nowhere])).fails(&["no cloud in", "squall up"]);
}

#[test]
fn invoke_prints_the_answer() {
    let server = with_function(
        "def handler(e, c):\n    print('seen')\n    if 'fail' in e:\n        raise ValueError('no')\n    return {'got': e}\n",
    );
    let answer: Value =
        serde_json::from_str(&by_data(&server, &["invoke", "f", "--payload", r#"{"n":1}"#]).ok()).expect("JSON");
    assert_eq!(answer, json!({ "got": { "n": 1 } }));
    let file = server.scratch().join("event.json");
    std::fs::write(&file, r#"{"from":"file"}"#).expect("write the event");
    let at = format!("@{}", file.display());
    assert_eq!(by_data(&server, &["invoke", "f", "--payload", &at]).json(), json!({ "got": { "from": "file" } }));
    let whole = by_data(&server, &["invoke", "f", "--json"]).json();
    assert_eq!(
        (&whole["status"], &whole["function_error"], &whole["payload"]),
        (&json!(200), &Value::Null, &json!({ "got": {} }))
    );
    assert!(whole["log"].as_str().is_some_and(|l| l.contains("seen\n") && l.contains("REPORT RequestId")), "{whole}");
    let failed = by_data(&server, &["invoke", "f", "--payload", r#"{"fail":1}"#]);
    assert_eq!(failed.code, 4, "{failed}");
    assert!(
        failed.stdout.contains("\"errorType\":\"ValueError\"")
            || failed.stdout.contains("\"errorType\": \"ValueError\""),
        "{failed}"
    );
    by_data(&server, &["invoke", "nope"]).fails(&["Function not found"]);
    by_data(&server, &["invoke", "f", "--payload", "{"]).fails(&["--payload is not JSON"]);
}

#[test]
fn logs_print_and_follow() {
    let server = with_function("def handler(e, c):\n    print('number', e['n'])\n");
    let mut follower = server.command(squall());
    let mut follower =
        follower.args(["logs", "f", "-f"]).stdout(Stdio::piped()).spawn().expect("start `squall logs -f`");
    let (sender, receiver) = mpsc::channel();
    let lines = BufReader::new(follower.stdout.take().expect("its output"));
    std::thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    for n in 0..3 {
        by_data(&server, &["invoke", "f", "--payload", &json!({ "n": n }).to_string()]).ok();
        let wanted = format!("number {n}");
        while !receiver
            .recv_timeout(Duration::from_secs(20))
            .expect("the line comes while it follows")
            .contains(&wanted)
        {}
    }
    signal(follower.id(), "TERM");
    follower.wait().expect("it ends");
    let all = squall_testkit::until("the last REPORT line is there", || {
        let all = by_data(&server, &["logs", "f"]).ok();
        (all.matches("REPORT RequestId").count() == 3).then_some(all)
    });
    assert!(all.contains("START RequestId") && all.contains("number 0") && all.contains("number 2"), "{all}");
    let first = by_data(&server, &["logs", "f", "--json"]).ok();
    let first: Value = serde_json::from_str(first.lines().next().expect("a line")).expect("one JSON object per line");
    assert!(first["message"].is_string() && first["timestamp_ms"].is_i64(), "{first}");
    by_data(&server, &["logs", "nope"]).fails(&["nope"]);
}

#[test]
fn ls_and_rm_without_anything() {
    let server = Server::start();
    assert!(by_data(&server, &["ls"]).ok().contains("nothing is deployed"));
    assert_eq!(by_data(&server, &["ls", "--json"]).json(), json!({ "stacks": [], "functions": [] }));
    by_data(&server, &["rm", "no-stack"]).fails(&["no-stack"]);
}

#[test]
fn commands_say_when_there_is_no_cloud() {
    let mut server = Server::start();
    server.stop();
    by_data(&server, &["ls"]).fails(&[&server.url()]);
    let mut wrong = Command::new(squall());
    wrong.args(["ls", "--endpoint", &server.url()]).env_clear().env("HOME", server.scratch());
    run(&mut wrong).fails(&["AWS_ACCESS_KEY_ID"]);
}

#[test]
fn doctor_tells_what_there_is() {
    let server = Server::start();
    let report = run(server
        .command(squall())
        .args(["doctor", "--json", "--listen", "127.0.0.1:0"])
        .arg("--data")
        .arg(server.scratch().join("new")));
    let report = report.json();
    assert_eq!(report["ok"], true, "{report}");
    let checks = report["checks"].as_array().expect("checks");
    assert!(checks.len() > 5, "{report}");
    for check in checks {
        assert!(["good", "note", "bad"].contains(&check["verdict"].as_str().expect("a verdict")), "{check}");
        if check["verdict"] != "good" {
            assert!(
                check["advice"].as_str().is_some_and(|a| !a.is_empty()),
                "what is missing comes with what to do: {check}"
            );
        }
    }
    let text = run(server.command(squall()).args(["doctor"]).arg("--data").arg(server.scratch().join("new"))).stdout;
    assert!(text.contains("nodejs20.x") && text.contains("isolation of functions"), "{text}");
}

/// Also the only test that lets SDKs come from the registries, as they do for a newcomer.
#[test]
fn demo_works_outside_a_checkout() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(squall());
    command.args(["demo", "--language", "python", "--listen", "127.0.0.1:0"]).current_dir(folder.path());
    let mut demo = command.stdout(Stdio::piped()).spawn().expect("start the demo");
    let (sender, receiver) = mpsc::channel();
    let lines = BufReader::new(demo.stdout.take().expect("its output"));
    std::thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let first = receiver.recv_timeout(Duration::from_secs(240));
    let second = receiver.recv_timeout(Duration::from_secs(5));
    let shell = |line: &String, more: &str| run(Command::new("sh").args(["-c", &format!("{line} -sS {more}")]));
    let works = first.as_ref().ok().map(|line| shell(line, "-o /dev/null -w '%{http_code}'"));
    let second = second.as_ref().ok().map(|line| shell(line, ""));
    signal(demo.id(), "INT");
    let code = demo.wait().expect("the demo ends").code();
    let line = first.expect("a curl line");
    assert!(line.starts_with("curl "), "{line}");
    let works = works.expect("a line").ok();
    assert!(works.trim().starts_with('2'), "{line} → {works}");
    println!("{}", second.expect("a second line").ok());
    assert_eq!(code, Some(0), "Ctrl-C ends it well");
}

#[test]
fn health_needs_no_key_and_nothing_else_is_open() {
    let server = Server::start_with(Options::default());
    for (method, path, status) in [
        ("GET", "/_squall/health", 200),
        ("GET", "/_squall/stacks", 403),
        ("POST", "/_squall/backup", 403),
        ("PUT", "/_squall/stacks/x", 403),
    ] {
        assert_eq!(
            send(server.address(), method, path, &[], b"").expect("an answer").status,
            status,
            "{method} {path}"
        );
    }
}
