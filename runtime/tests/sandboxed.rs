//! Functions in the real sandbox. A program of its own (no test harness), because the sandbox executes it again as its spawner.
//!
//! Where the host cannot give the full level, it says so and passes: the sandbox's own tests are the ones that insist.

mod common;

use common::World;
use serde_json::json;
use squall_sandbox::{Level, Sandbox};
use std::sync::Arc;
use std::time::Duration;

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
    let options = squall_sandbox::Options {
        level: Level::Full,
        run_dir: dir.path().join("run"),
        pool: 4,
        spawner_exe: std::env::current_exe().expect("own path"),
        egress: squall_sandbox::Reach::Nothing,
        spawner_args: vec!["spawner".into()],
    };
    let sandbox = match Sandbox::start(options).await {
        Ok(sandbox) => sandbox,
        Err(e) => return eprintln!("skipped: {e}"),
    };
    let sdk = given_sdk(dir.path());
    let world = World::with(Arc::new(sandbox.clone()), |o| o.sdk_dir = Some(sdk));
    the_sdk_is_where_functions_look(&world).await;
    python_runs_at_the_paths_of_aws(&world).await;
    node_runs_at_the_paths_of_aws(&world).await;
    python_forks_are_like_executions(&world).await;
    java_machines_wait_for_their_function(&world).await;
    memory_has_its_limit(&world).await;
    a_custom_runtime_runs(&world).await;
    frozen_instances_go_on(&world).await;
    a_burst_from_zero_loses_none(&world).await;
    world.runtime.shutdown(Duration::from_secs(1)).await;
    assert_eq!(world.runtime.stats().instances, 0);
    drop(world);
    sandbox.shutdown().await;
    println!("sandboxed: all passed");
}

/// A folder as an operator would prepare it, with packages of one line.
fn given_sdk(dir: &std::path::Path) -> std::path::PathBuf {
    let root = dir.join("given");
    for minor in [9, 10, 11, 12, 13] {
        let package = root.join(format!("python3.{minor}/boto9"));
        std::fs::create_dir_all(&package).expect("make the folder");
        std::fs::write(package.join("__init__.py"), "x = 1").expect("write");
    }
    let package = root.join("nodejs/node_modules/@aws-sdk/client-x");
    std::fs::create_dir_all(&package).expect("make the folder");
    std::fs::write(package.join("index.js"), "exports.x = 1").expect("write");
    root
}

async fn the_sdk_is_where_functions_look(world: &World) {
    for runtime in ["python3.9", "python3.11", "python3.12"] {
        if world.has(runtime).await {
            let code = "import boto9\ndef handler(e, c): return boto9.x";
            assert_eq!(world.once(runtime, "app.handler", &[("app.py", code)], "{}").await.text(), "1", "{runtime}");
        }
    }
    // From a layer the SDK is only found by NODE_PATH, from the package also by climbing, which is all that ESM does.
    let layer = world.dir.path().join("layer");
    std::fs::create_dir_all(layer.join("nodejs/node_modules/l")).expect("make the layer");
    std::fs::write(layer.join("nodejs/node_modules/l/index.js"), "exports.x = require('@aws-sdk/client-x').x")
        .expect("write");
    for (file, code) in [
        ("app.js", "const { x } = require('@aws-sdk/client-x'); exports.handler = async () => x"),
        ("app.mjs", "import { x } from '@aws-sdk/client-x'; export const handler = async () => x"),
        ("app.js", "const { x } = require('l'); exports.handler = async () => x"),
    ] {
        for runtime in ["nodejs20.x", "nodejs22.x", "nodejs24.x"] {
            if world.has(runtime).await {
                let mut f = world.function(runtime, "app.handler", &[(file, code)]);
                f.opt_dir = Some(layer.clone());
                assert_eq!(world.invoke(&Arc::new(f), "{}").await.text(), "1", "{runtime}: {code}");
            }
        }
    }
}

async fn python_runs_at_the_paths_of_aws(world: &World) {
    for runtime in ["python3.9", "python3.11", "python3.12", "python3.13"] {
        if !world.has(runtime).await {
            continue;
        }
        let code = "import os, sys, ssl, json, sqlite3, decimal, zoneinfo, asyncio\ndef handler(e, c):\n    open('/tmp/x', 'w').write('x')\n    return [os.getcwd(), __file__, sys.path[0], sys.version_info[1], os.environ['AWS_LAMBDA_RUNTIME_API'], os.path.exists('/roo'+'t/.pyenv')]";
        let answer = world.once(runtime, "app.handler", &[("app.py", code)], "{}").await;
        let minor: u32 = runtime.rsplit('.').next().and_then(|m| m.parse().ok()).expect("a number");
        let expected = json!(["/var/task", "/var/task/app.py", "/var/task", minor, "127.0.0.1:9001", false]);
        assert_eq!(answer.json(), expected, "{runtime}: {}", world.logs.of("f0").join("\n"));
        assert!(answer.tail().contains("Max Memory Used: "));
    }
}

/// Every version's zygote, and what a fork of it must not keep: environment, paths, random state, descriptors.
async fn python_forks_are_like_executions(world: &World) {
    for runtime in ["python3.9", "python3.10", "python3.11", "python3.12", "python3.13"] {
        if !world.has(runtime).await {
            continue;
        }
        zygote(world, runtime).await;
        let code = "import os, sys, random, uuid, ssl, logging, time\nimport boto9\nlogging.getLogger().warning('hi')\nA = [random.random(), ssl.RAND_bytes(8).hex()]\n\
            def handler(e, c):\n    open('/tmp/x', 'w').write('x')\n    \
            return {'fork': 'zygote.py' in open('/proc/self/cmdline').read(), 'cwd': os.getcwd(), 'file': __file__, 'path': sys.path[0], 'argv': len(sys.argv), 'ppid': os.getppid(), 'uid': os.getuid(), \
            'fds': [l for l in (os.readlink('/proc/self/fd/%s' % n) for n in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/%s' % n)) if 'socket' not in l and 'pipe' not in l and not l.startswith('/proc')], \
            'own': os.environ.get('OWN'), 'api': os.environ['AWS_LAMBDA_RUNTIME_API'], 'a': A, 'zone': time.tzname[0]}";
        let mut seen = Vec::new();
        for _ in 0..2 {
            let mut f = world.function(runtime, "app.handler", &[("app.py", code)]);
            f.env = vec![("OWN".into(), "1".into()), ("TZ".into(), "Asia/Tokyo".into())];
            let answer = world.invoke(&Arc::new(f), "{}").await;
            let mut told = answer.json();
            seen.push(told["a"].take());
            let expected = json!({"fork": true, "cwd": "/var/task", "file": "/var/task/app.py", "path": "/var/task", "argv": 1, "ppid": 1,
                "uid": 993, "fds": ["/dev/null"], "own": "1", "api": "127.0.0.1:9001", "a": null, "zone": "JST"});
            assert_eq!(told, expected, "{runtime}: {}", answer.text());
        }
        assert!(seen[0][0] != seen[1][0] && seen[0][1] != seen[1][1], "{runtime}: {seen:?}");
        // A module of the function's own wins over what the zygote has loaded, as it does on an execution.
        let own = [("app.py", "import uuid\ndef handler(e, c): return uuid.__file__"), ("uuid.py", "")];
        assert_eq!(world.once(runtime, "app.handler", &own, "{}").await.text(), "\"/var/task/uuid.py\"", "{runtime}");
    }
}

/// Waits until instances of the runtime are forks.
async fn zygote(world: &World, runtime: &str) {
    world.runtime.prepare(runtime, 128).await.expect("prepare");
    for _ in 0..1000 {
        let states = world.runtime.zygotes();
        match states.iter().find(|(id, _)| id == runtime) {
            Some((_, squall_runtime::ZygoteState::Ready)) => return,
            Some((_, squall_runtime::ZygoteState::Unavailable(why))) => panic!("{runtime}: {why}"),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    panic!("{runtime}: no zygote");
}

async fn node_runs_at_the_paths_of_aws(world: &World) {
    for runtime in ["nodejs18.x", "nodejs20.x", "nodejs22.x", "nodejs24.x"] {
        if !world.has(runtime).await {
            continue;
        }
        let code = "exports.handler = async () => { require('fs').writeFileSync('/tmp/x', 'x'); return [process.cwd(), __filename, (await require('dns').promises.lookup('127.0.0.1')).address] }";
        let answer = world.once(runtime, "index.handler", &[("index.js", code)], "{}").await;
        assert_eq!(answer.json(), json!(["/var/task", "/var/task/index.js", "127.0.0.1"]), "{runtime}");
    }
}

const JAVA: &str = r#"
import java.io.*; import java.nio.file.*; import java.util.*;
public class App {
    static final String OWN = System.getenv("OWN");
    public Map<String, Object> run(Map<String, Object> event) throws Exception {
        Process child = new ProcessBuilder("/bin/sh", "-c", "echo $OWN $ROOM; pwd").start();
        String said = new String(child.getInputStream().readAllBytes());
        Map<String, Object> m = new TreeMap<>();
        m.put("own", OWN); m.put("child", said); m.put("main", System.getProperty("sun.java.command").split(" ")[0]);
        m.put("cwd", new File(".").getCanonicalPath()); m.put("file", Files.readString(Path.of("own.txt"))); m.put("room", System.getenv("ROOM"));
        m.put("uid", Files.getAttribute(Files.createTempFile("x", "y"), "unix:uid")); m.put("zone", TimeZone.getDefault().getID());
        m.put("heap", Runtime.getRuntime().maxMemory() >> 20); m.put("input", System.in.read());
        return m;
    }
}"#;

/// Machines that were started ahead are like those that are executed.
async fn java_machines_wait_for_their_function(world: &World) {
    let code = world.dir.path().join("java");
    std::fs::create_dir_all(&code).expect("make the folder");
    std::fs::write(code.join("App.java"), JAVA).expect("write");
    std::fs::write(code.join("own.txt"), "mine").expect("write");
    let compiled =
        std::process::Command::new("javac").args(["--release", "17", "App.java"]).current_dir(&code).status();
    if !compiled.is_ok_and(|status| status.success()) {
        return eprintln!("skipped: javac");
    }
    for runtime in ["java17", "java21", "java25"] {
        if !world.has(runtime).await {
            continue;
        }
        zygote(world, runtime).await;
        let call = async |env: &[(&str, &str)]| {
            let mut f = world.function(runtime, "App::run", &[]);
            f.code_dir = code.clone();
            f.memory_mb = 128;
            f.env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            world.invoke(&Arc::new(f), "{}").await.json()
        };
        let long = "l".repeat(3000);
        let mut executed = call(&[("OWN", "é"), ("LONG", &long), ("TZ", "Asia/Tokyo")]).await;
        assert_eq!(executed["main"].take(), "squall.runtime.Main", "{runtime}: a variable that is read at the start");
        let mut told = json!(null);
        for _ in 0..200 {
            told = call(&[("OWN", "é"), ("LONG", &long)]).await;
            if told["main"] == "squall.runtime.Stem" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(told["main"].take(), "squall.runtime.Stem", "{runtime}: {told}");
        assert_eq!((executed["zone"].take(), told["zone"].take()), (json!("Asia/Tokyo"), json!("UTC")));
        assert_eq!(told, executed, "{runtime}");
        let expected = json!({"own": "é", "child": "é\n/var/task\n", "main": null, "cwd": "/var/task", "file": "mine", "room": null, "uid": 993,
            "zone": null, "heap": told["heap"], "input": -1});
        assert_eq!(told, expected, "{runtime}");
    }
}

async fn memory_has_its_limit(world: &World) {
    if !world.has("python3.11").await {
        return;
    }
    let code = "def handler(e, c):\n    if e: x = bytearray(10 ** 9); x[::4096] = b'x' * len(x[::4096])\n    return 1";
    let mut f = world.function("python3.11", "app.handler", &[("app.py", code)]);
    f.memory_mb = 128;
    let f = Arc::new(f);
    let answer = world.invoke(&f, "{\"x\":1}").await;
    assert_eq!(answer.json()["errorType"], "Runtime.ExitError", "{}", answer.text());
    let message = format!("RequestId: {} Error: Runtime exited with error: signal: killed", answer.id);
    assert_eq!(answer.json()["errorMessage"], message);
    assert!(answer.tail().contains("Status: error\tError Type: Runtime.OutOfMemory"), "{}", answer.tail());
    assert_eq!(world.invoke(&f, "{}").await.text(), "1");
}

async fn a_custom_runtime_runs(world: &World) {
    // Speaks the Runtime API with a new connection for every request, as shell scripts around curl do.
    let script = r#"#!/bin/bash
api=${AWS_LAMBDA_RUNTIME_API/:/\/}
while :; do
  exec 3<>/dev/tcp/$api
  printf 'GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' >&3
  size=0
  while read -r -u 3 line; do
    line=${line%$'\r'}
    case "$line" in
      Lambda-Runtime-Aws-Request-Id:*) id=${line#*: } ;;
      Content-Length:*) size=${line#*: } ;;
      '') break ;;
    esac
  done
  read -r -u 3 -N "$size" event
  exec 3>&-
  echo "got $event"
  exec 3<>/dev/tcp/$api
  printf 'POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n' "$id" "${#event}" "$event" >&3
  read -r -u 3 status
  exec 3>&-
done
"#;
    let f = Arc::new(world.function("provided.al2023", "any", &[("bootstrap", script)]));
    for n in 0..3 {
        let event = format!("{{\"n\":{n}}}");
        let answer = world.invoke(&f, &event).await;
        assert_eq!(answer.text(), event);
        assert!(answer.tail().contains(&format!("got {event}\n")), "{}", answer.tail());
    }
    let none = world.once("provided.al2", "any", &[("other", "")], "{}").await;
    assert_eq!(none.json()["errorType"], "Runtime.InvalidEntrypoint");
}

async fn frozen_instances_go_on(world: &World) {
    if !world.has("python3.11").await {
        return;
    }
    let f = Arc::new(world.function(
        "python3.11",
        "app.handler",
        &[("app.py", "n = 0\ndef handler(e, c):\n    global n; n += 1; return n")],
    ));
    for n in 1..4 {
        assert_eq!(world.invoke(&f, "{}").await.text(), n.to_string());
        // Longer than the rest after which an instance is frozen: nothing but real time makes the kernel freeze it.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn a_burst_from_zero_loses_none(world: &World) {
    if !world.has("python3.11").await {
        return;
    }
    let f = Arc::new(world.function(
        "python3.11",
        "app.handler",
        &[("app.py", "import time\ndef handler(e, c):\n    time.sleep(0.2); return e")],
    ));
    let world = &world;
    let calls = (0..60).map(|n| {
        let f = f.clone();
        async move { (n, world.invoke(&f, &n.to_string()).await.text()) }
    });
    let mut set = Vec::new();
    for call in calls {
        set.push(Box::pin(call));
    }
    for (n, text) in join_all(set).await {
        assert_eq!(text, n.to_string());
    }
}

/// Runs futures at the same time in one task.
async fn join_all<T>(mut futures: Vec<std::pin::Pin<Box<impl Future<Output = T>>>>) -> Vec<T> {
    let mut done = Vec::new();
    std::future::poll_fn(|cx| {
        let mut at = 0;
        while at < futures.len() {
            match futures[at].as_mut().poll(cx) {
                std::task::Poll::Ready(value) => {
                    done.push(value);
                    drop(futures.swap_remove(at));
                }
                std::task::Poll::Pending => at += 1,
            }
        }
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}
