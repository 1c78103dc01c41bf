//! Extensions, and runtimes beside Node.js and Python, in the real sandbox. A program of its own (no test harness), because the
//! sandbox executes it again as its spawner. Where the host cannot give the full level, it says so and passes.

mod common;

use common::World;
use serde_json::json;
use squall_runtime::Function;
use squall_sandbox::{Level, Sandbox};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// An extension: registers, says what it hears, and behaves as its name asks.
const EXTENSION: &str = r#"#!/usr/bin/python3 -IS
import json, os, sys, time
from http.client import HTTPConnection
name = os.path.basename(sys.argv[0])
api = HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def ask(method, path, body=None, **headers):
    api.request(method, "/2020-01-01/extension/" + path, body, {"Lambda-Extension-" + k.replace("_", "-"): v for k, v in headers.items()})
    r = api.getresponse(); return r.status, r.headers, json.loads(r.read())
if name == "dies": sys.exit(4)
status, headers, body = ask("POST", "register", json.dumps({"events": ["INVOKE", "SHUTDOWN"]}), Name=name, Accept_Feature="accountId")
me = headers["Lambda-Extension-Identifier"]
print("registered", status, sorted(body), len(me), flush=True)
if name == "gives-up": ask("POST", "init/error", '{"errorMessage": "no config"}', Identifier=me, Function_Error_Type="Ext.Config")
while True:
    status, headers, event = ask("GET", "event/next", Identifier=me)
    if event["eventType"] == "SHUTDOWN":
        time.sleep(0.3); print("heard SHUTDOWN", event["shutdownReason"], flush=True); sys.exit(0)
    print("heard", event["eventType"], event["requestId"], event["invokedFunctionArn"].rsplit(":", 1)[1], event["tracing"]["type"], event["deadlineMs"] > 0, flush=True)
    if name == "crashes": sys.exit(0) if os.path.exists("/tmp/second") else open("/tmp/second", "w").close()
"#;

/// A function that is its own (internal) extension, and asks for what is not there.
const INTERNAL: &str = r#"
import json, os, threading
from http.client import HTTPConnection
address, heard = os.environ["AWS_LAMBDA_RUNTIME_API"], []
def ask(api, method, path, body=None, **headers):
    api.request(method, path, body, {"Lambda-Extension-" + k: v for k, v in headers.items()})
    r = api.getresponse(); text = r.read(); return r.status, r.headers, json.loads(text)
def listen():
    api = HTTPConnection(address)
    me = ask(api, "POST", "/2020-01-01/extension/register", '{"events": ["INVOKE"]}', Name="inner")[1]["Lambda-Extension-Identifier"]
    ready.set()
    while True: heard.append(ask(api, "GET", "/2020-01-01/extension/event/next", Identifier=me)[2]["requestId"])
ready = threading.Event(); threading.Thread(target=listen, daemon=True).start(); ready.wait()
def handler(e, c):
    while c.aws_request_id not in heard: pass
    api, out = HTTPConnection(address), []
    for method, path, headers in [("PUT", "/2022-07-01/telemetry", {}), ("PUT", "/2020-08-15/logs", {}), ("POST", "/2020-01-01/extension/register", {"Name": "late"}),
            ("GET", "/2020-01-01/extension/event/next", {}), ("GET", "/2020-01-01/extension/event/next", {"Identifier": "x"})]:
        status, _, body = ask(api, method, path, '{"events": []}' if method != "GET" else None, **headers); out.append([status, body["errorType"]])
    return out
"#;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("spawner") {
        squall_sandbox::spawner_main();
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join("usr")).expect("make the root");
    let options = squall_sandbox::Options {
        level: Level::Full,
        run_dir: dir.path().join("run"),
        pool: 4,
        egress: squall_sandbox::Reach::Nothing,
        spawner_exe: std::env::current_exe().expect("own path"),
        spawner_args: vec!["spawner".into()],
    };
    let sandbox = match Sandbox::start(options).await {
        Ok(sandbox) => sandbox,
        Err(e) => return eprintln!("skipped: {e}"),
    };
    let world = World::with(Arc::new(sandbox.clone()), |_| ());
    java_runs_in_a_sandbox(&world).await;
    native_programs_run(&world, true).await;
    if world.has("python3.11").await {
        an_external_extension_hears_everything(&world).await;
        extensions_that_fail_fail_the_function(&world).await;
        an_internal_extension_hears_invocations(&world).await;
    }
    end(world).await;
    let world = World::with(Arc::new(sandbox.clone()), |o| o.provided_root = Some(root));
    native_programs_run(&world, false).await;
    end(world).await;
    sandbox.shutdown().await;
    println!("layers: all passed");
}

async fn end(world: World) {
    world.runtime.shutdown(Duration::from_secs(1)).await;
    assert_eq!(world.runtime.stats().instances, 0);
}

/// A function with these extensions in its layer.
fn with_extensions(world: &World, code: &str, names: &[&str]) -> Arc<Function> {
    let mut f = world.function("python3.11", "app.handler", &[("app.py", code)]);
    let opt = f.code_dir.with_extension("opt");
    let folder = opt.join("extensions");
    std::fs::create_dir_all(&folder).expect("make the layer");
    std::fs::write(folder.join("no-program"), "x").expect("write");
    for name in names {
        let path = folder.join(name);
        std::fs::write(&path, EXTENSION).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("make it executable");
    }
    f.opt_dir = Some(opt);
    f.timeout = Duration::from_secs(20);
    Arc::new(f)
}

async fn an_external_extension_hears_everything(world: &World) {
    let code = "n = 0\ndef handler(e, c):\n    global n; n += 1; return n";
    let f = with_extensions(world, code, &["one", "two"]);
    let mut ids = Vec::new();
    for n in 1..4 {
        let answer = world.invoke(&f, "{}").await;
        assert_eq!(answer.text(), n.to_string(), "{}", world.logs.of(&f.name).join("\n"));
        ids.push(answer.id);
        // Longer than the rest after which an instance is frozen; the extensions are done by then.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    world.runtime.retire(&f.function_arn, None);
    for _ in 0..100 {
        if world.runtime.stats().instances == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let log = world.logs.of(&f.name);
    let count = |text: &str| log.iter().filter(|l| l.contains(text)).count();
    assert_eq!(count("registered 200 ['accountId', 'functionName', 'functionVersion', 'handler'] 36"), 2, "{log:?}");
    assert_eq!(count("EXTENSION\tName: one\tState: Ready\tEvents: [INVOKE, SHUTDOWN]"), 1, "{log:?}");
    for id in ids {
        let function = &f.name;
        assert_eq!(count(&format!("heard INVOKE {id} {function} X-Amzn-Trace-Id True")), 2, "{log:?}");
    }
    assert_eq!(count("heard SHUTDOWN spindown"), 2, "{log:?}");
}

async fn extensions_that_fail_fail_the_function(world: &World) {
    let code = "def handler(e, c): return 1";
    let check = async |names: &[&str], kind: &str, text: &str| {
        let error = world.invoke(&with_extensions(world, code, names), "{}").await.json();
        assert_eq!(error["errorType"], kind, "{error}");
        assert!(error["errorMessage"].as_str().is_some_and(|m| m.contains(text)), "{error}");
    };
    check(&["gives-up"], "Extension.InitError", "Extension gives-up: no config").await;
    check(&["dies"], "Runtime.ExitError", "signal: killed").await;
    let many: Vec<String> = (0..11).map(|n| format!("x{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    check(&many, "Extension.TooManyExtensions", "10").await;
    // One that ends later ends the instance; the next request has a new one.
    let f = with_extensions(world, code, &["crashes"]);
    for _ in 0..4 {
        let answer = world.invoke(&f, "{}").await;
        assert!(answer.text() == "1" || answer.error() == Some("Unhandled"), "{}", answer.text());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(world.invoke(&with_extensions(world, code, &[]), "{}").await.text(), "1");
}

async fn an_internal_extension_hears_invocations(world: &World) {
    let f = Arc::new(world.function("python3.11", "app.handler", &[("app.py", INTERNAL)]));
    let expected = json!([
        [403, "Telemetry.NotSupported"],
        [403, "Logs.NotSupported"],
        [403, "Extension.RegistrationClosed"],
        [403, "Extension.MissingExtensionIdentifier"],
        [403, "Extension.UnknownExtensionIdentifier"]
    ]);
    for _ in 0..2 {
        let answer = world.invoke(&f, "{}").await;
        assert_eq!(answer.json(), expected);
    }
}

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(path)
}

async fn java_runs_in_a_sandbox(world: &World) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("open the folder");
    let compiled = Command::new("javac")
        .args(["--release", "17", "-d"])
        .arg(dir.path())
        .arg(example("hello-java/src/hello/Handler.java"))
        .status();
    if !compiled.is_ok_and(|s| s.success()) {
        return eprintln!("skipped: javac");
    }
    for runtime in ["java17", "java21", "java25"] {
        if !world.has(runtime).await {
            continue;
        }
        let mut f = world.function(runtime, "hello.Handler::hello", &[]);
        f.code_dir = dir.path().to_owned();
        f.timeout = Duration::from_secs(30);
        for memory in [128, 512] {
            f.memory_mb = memory;
            f.version = memory.to_string();
            let answer = world.invoke(&Arc::new(f.clone()), r#"{"pathParameters": {"name": "Ada"}}"#).await;
            assert_eq!(answer.json()["body"], "{\"message\": \"Hello, Ada!\"}", "{}", answer.text());
            eprintln!("{runtime} {memory} MB: {}", answer.tail().lines().last().unwrap_or_default());
        }
    }
}

/// Static programs run anywhere; dynamic ones with the host's libraries, which another root hides.
async fn native_programs_run(world: &World, has_host_libraries: bool) {
    for is_static in [true, false] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("open the folder");
        let kind = if is_static { "target-feature=+crt-static" } else { "prefer-dynamic=no" };
        let made = Command::new("rustc")
            .args(["--edition", "2024", "-C", kind, "-o"])
            .arg(dir.path().join("bootstrap"))
            .arg(example("hello-rust/src/main.rs"))
            .status();
        if !made.is_ok_and(|s| s.success()) {
            return eprintln!("skipped: rustc");
        }
        let mut f = world.function("provided.al2023", "bootstrap", &[]);
        f.code_dir = dir.path().to_owned();
        let answer = world.invoke(&Arc::new(f), r#"{"pathParameters": {"name": "Ada"}}"#).await;
        if is_static || has_host_libraries {
            assert_eq!(answer.json()["body"], "{\"message\": \"Hello, Ada!\"}", "{}", answer.text());
        } else {
            let error = answer.json();
            assert_eq!(error["errorType"], "Runtime.InvalidEntrypoint", "{error}");
            let text = "Error: fork/exec /var/task/bootstrap: no such file or directory";
            assert_eq!(error["errorMessage"], text);
        }
    }
}
