//! Node.js functions in forks of a zygote, in the real sandbox. A program of its own, as `sandboxed.rs` is.

mod common;

use common::World;
use serde_json::json;
use squall_runtime::ZygoteState;
use squall_sandbox::{Level, Sandbox};
use std::collections::HashSet;
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
    for runtime in ["nodejs20.x", "nodejs22.x", "nodejs24.x"] {
        if !world.has(runtime).await {
            continue;
        }
        zygote(&world, runtime).await;
        a_fork_looks_like_an_execution(&world, runtime).await;
        forks_share_no_random_numbers(&world, runtime).await;
        the_sdk_is_loaded_once(&world, runtime).await;
        handlers_and_errors_are_as_without(&world, runtime).await;
        what_is_read_at_start_is_executed(&world, runtime).await;
        a_runtime_that_crashes_in_a_fork_is_executed(&world, runtime).await;
        background_work_goes_on(&world, runtime).await;
        println!("{runtime}: passed");
    }
    world.runtime.shutdown(Duration::from_secs(1)).await;
    drop(world);
    sandbox.shutdown().await;
}

/// A folder as an operator would prepare it, with a package that tells how often it was loaded.
fn given_sdk(dir: &std::path::Path) -> std::path::PathBuf {
    let root = dir.join("given");
    let package = root.join("nodejs/node_modules/@aws-sdk/client-dynamodb");
    std::fs::create_dir_all(&package).expect("make the folder");
    let code = "globalThis.loads = (globalThis.loads || 0) + 1; exports.loads = globalThis.loads; exports.at = performance.now();\
        exports.DynamoDBClient = class { destroy() {} };";
    std::fs::write(package.join("index.js"), code).expect("write");
    root
}

/// Waits until instances of the runtime are forks.
async fn zygote(world: &World, runtime: &str) {
    world.runtime.prepare(runtime, 128).await.expect("prepare");
    for _ in 0..1000 {
        let states = world.runtime.zygotes();
        match states.iter().find(|(id, _)| id == runtime) {
            Some((_, ZygoteState::Ready)) => return,
            Some((_, ZygoteState::Unavailable(why))) => panic!("{runtime}: {why}"),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    panic!("{runtime}: no zygote");
}

async fn a_fork_looks_like_an_execution(world: &World, runtime: &str) {
    let code = "
const fs = require('fs');
const fds = () => fs.readdirSync('/proc/self/fd').map((n) => { try { return fs.readlinkSync('/proc/self/fd/' + n) } catch { return '' } });
exports.handler = async () => ({ fork: fs.readFileSync('/proc/self/cmdline', 'utf8').includes('--zygote'), pid: process.pid === Number(fs.readlinkSync('/proc/self')),
  ppid: process.ppid, uid: process.getuid(), cwd: process.cwd(), argv: process.argv.slice(1), flags: process.execArgv.length, young: process.uptime() < 20,
  gc: typeof gc, main: require.main.filename, own: process.env.OWN, zone: new Date(0).getHours(), api: process.env.AWS_LAMBDA_RUNTIME_API,
  heap: require('v8').getHeapStatistics().heap_size_limit < 400e6, file: __filename, files: fds().filter((f) => f.startsWith('/') && f !== '/dev/null' && !f.startsWith('/proc')),
  secrets: Object.keys(process.env).filter((k) => process.env[k] === undefined).length });";
    let mut f = world.function(runtime, "index.handler", &[("index.js", code)]);
    f.env = vec![("OWN".into(), "1".into()), ("TZ".into(), "Asia/Tokyo".into())];
    let answer = world.invoke(&Arc::new(f), "{}").await;
    let expected = json!({"fork": true, "pid": true, "ppid": 1, "uid": 993, "cwd": "/var/task", "argv": ["/var/runtime/bootstrap.cjs"],
        "flags": 2, "young": true, "gc": "undefined", "main": "/var/runtime/bootstrap.cjs", "own": "1", "zone": 9, "api": "127.0.0.1:9001",
        "heap": true, "file": "/var/task/index.js", "files": [], "secrets": 0});
    assert_eq!(answer.json(), expected, "{runtime}: {}", answer.tail());
}

async fn forks_share_no_random_numbers(world: &World, runtime: &str) {
    let code = "const a = [Math.random(), crypto.randomUUID(), require('crypto').randomBytes(8).toString('hex'), require('crypto').randomInt(2 ** 40),
        require('vm').runInNewContext('Math.random()'), crypto.getRandomValues(new Uint32Array(2)).join()];
        exports.handler = async () => a.map(String)";
    let mut seen = HashSet::new();
    for _ in 0..10 {
        let answer = world.once(runtime, "index.handler", &[("index.js", code)], "{}").await;
        for drawn in answer.json().as_array().expect("a list") {
            assert!(seen.insert(drawn.to_string()), "{runtime}: {drawn} twice");
        }
    }
    assert_eq!(seen.len(), 60);
}

async fn the_sdk_is_loaded_once(world: &World, runtime: &str) {
    let required = "const t = performance.now(); const { loads, at } = require('@aws-sdk/client-dynamodb'); exports.handler = async () => [loads, globalThis.loads, at < t]";
    let imported = "import sdk, { loads, at } from '@aws-sdk/client-dynamodb'; export const handler = async () => [loads, globalThis.loads, sdk.at === at]";
    for (file, code) in [("index.js", required), ("index.mjs", imported)] {
        let answer = world.once(runtime, "index.handler", &[(file, code)], "{}").await;
        assert_eq!(answer.text(), "[1,1,true]", "{runtime} {file}: {}", answer.tail());
    }
}

async fn handlers_and_errors_are_as_without(world: &World, runtime: &str) {
    for (file, code, expected) in [
        ("index.js", "exports.handler = async () => { await new Promise(r => setTimeout(r, 5)); return 1 }", "1"),
        ("index.mjs", "const x = await Promise.resolve(6); export const handler = async () => x", "6"),
        (
            "index.js",
            "exports.handler = async () => (await import('./x.mjs').catch(e => e.code))",
            "\"ERR_MODULE_NOT_FOUND\"",
        ),
        (
            "index.js",
            "exports.handler = async () => (await require('fs').promises.readFile('/var/task/index.js')).length > 9",
            "true",
        ),
        (
            "index.js",
            "exports.handler = async () => require('child_process').execSync('echo $0 x').toString().trim().endsWith('x')",
            "true",
        ),
    ] {
        let answer = world.once(runtime, "index.handler", &[(file, code)], "{}").await;
        assert_eq!((answer.text().as_str(), answer.error()), (expected, None), "{runtime} {code}: {}", answer.tail());
    }
    for (code, kind) in [
        ("exports.handler = async () => { throw new RangeError('x') }", "RangeError"),
        ("throw new RangeError('at load')", "RangeError"),
        ("syntax error here", "Runtime.UserCodeSyntaxError"),
        ("require('absent')", "Runtime.ImportModuleError"),
        (
            "exports.handler = async () => { Promise.reject(new Error('lost')); await new Promise(r => setTimeout(r, 1000)) }",
            "Runtime.UnhandledPromiseRejection",
        ),
        (
            "exports.handler = async () => { setTimeout(() => { throw new TypeError('late') }, 5); await new Promise(() => setTimeout(() => {}, 1000)) }",
            "TypeError",
        ),
        ("exports.handler = async () => process.exit(2)", "Runtime.ExitError"),
        ("process.exit(0)", "Runtime.ExitError"),
        ("exports.handler = async () => process.kill(process.pid, 'SIGKILL')", "Runtime.ExitError"),
        (
            "exports.handler = async () => { const a = []; for (;;) a.push(new Array(1e5).fill(1.5)) }",
            "Runtime.ExitError",
        ),
    ] {
        let answer = world.once(runtime, "index.handler", &[("index.js", code)], "{}").await;
        assert_eq!(answer.json()["errorType"], kind, "{runtime} {code}: {} {}", answer.text(), answer.tail());
    }
}

async fn what_is_read_at_start_is_executed(world: &World, runtime: &str) {
    let code = "exports.handler = async () => [require('fs').readFileSync('/proc/self/cmdline', 'utf8').includes('--zygote'), process.env.NODE_OPTIONS, typeof gc]";
    let mut f = world.function(runtime, "index.handler", &[("index.js", code)]);
    f.env = vec![("NODE_OPTIONS".into(), "--enable-source-maps".into())];
    let answer = world.invoke(&Arc::new(f), "{}").await;
    assert_eq!(answer.json(), json!([false, "--enable-source-maps", "undefined"]), "{runtime}");
}

async fn a_runtime_that_crashes_in_a_fork_is_executed(world: &World, runtime: &str) {
    let code = "exports.handler = async (e) => e.crash ? process.abort() : require('fs').readFileSync('/proc/self/cmdline', 'utf8').includes('--zygote')";
    let f = Arc::new(world.function(runtime, "index.handler", &[("index.js", code)]));
    assert_eq!(world.invoke(&f, "{}").await.text(), "true", "{runtime}");
    let answer = world.invoke(&f, "{\"crash\":true}").await;
    assert_eq!(answer.json()["errorType"], "Runtime.ExitError", "{runtime}: {}", answer.text());
    let log = world.logs.of(&f.name).join("\n");
    assert!(
        log.contains("ended by signal: aborted. Further environments of this function are processes of their own."),
        "{log}"
    );
    let mut is_fork = world.invoke(&f, "{}").await.text();
    for _ in 0..3 {
        if is_fork == "false" {
            break;
        }
        // A fork that was started beside the first, before it crashed, still serves: it crashes as well.
        world.invoke(&f, "{\"crash\":true}").await;
        is_fork = world.invoke(&f, "{}").await.text();
    }
    assert_eq!(is_fork, "false", "{runtime}");
    a_stem_cell_looks_like_an_execution(world, &f).await;
    // Others are forked as before.
    assert_eq!(world.once(runtime, "index.handler", &[("index.js", code)], "{}").await.text(), "true", "{runtime}");
}

/// What is not forked waits as a process of its own.
async fn a_stem_cell_looks_like_an_execution(world: &World, f: &Arc<squall_runtime::Function>) {
    let runtime = &f.runtime;
    let code = "
const fs = require('fs');
const sdk = require('@aws-sdk/client-dynamodb');
const loaded = performance.now();
exports.handler = async (e) => e.crash ? process.abort() : ({ stem: fs.readFileSync('/proc/self/cmdline', 'utf8').includes('--stem'), fork: fs.readFileSync('/proc/self/cmdline', 'utf8').includes('--zygote'),
  own: process.env.OWN, cwd: process.cwd(), file: fs.readFileSync('index.js', 'utf8').length > 9, argv: process.argv.slice(1), flags: process.execArgv.length,
  child: require('child_process').execSync('echo $OWN; pwd').toString(), zone: new Date(0).getHours(), gc: typeof gc, main: require.main.filename, young: process.uptime() < 20,
  input: fs.readlinkSync('/proc/self/fd/0'), loads: globalThis.loads, early: sdk.at < loaded, uid: process.getuid(), kept: Object.keys(process.env).filter((k) => k === 'ROOM').length });";
    let mut f = world.function(runtime, "index.handler", &[("index.js", code)]);
    f.env = vec![("OWN".into(), "1".into()), ("TZ".into(), "Asia/Tokyo".into())];
    let f = Arc::new(f);
    world.invoke(&f, "{\"crash\":true}").await;
    let mut told = json!(null);
    for _ in 0..100 {
        told = world.invoke(&f, "{}").await.json();
        if told["stem"] == true {
            break;
        }
        // A fork from before, or a process that was executed while none waited.
        world.invoke(&f, "{\"crash\":true}").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let expected = json!({"stem": true, "fork": false, "own": "1", "cwd": "/var/task", "file": true, "argv": ["/var/runtime/bootstrap.cjs"],
        "flags": 2, "child": "1\n/var/task\n", "zone": 9, "gc": "undefined", "main": "/var/runtime/bootstrap.cjs", "young": true,
        "input": "/dev/null", "loads": 1, "early": true, "uid": 993, "kept": 0});
    assert_eq!(told, expected, "{runtime}");
}

/// Compiling WebAssembly leaves work to threads that a fork does not have; the end of a worker waits for it.
async fn background_work_goes_on(world: &World, runtime: &str) {
    let code = "const { Worker } = require('worker_threads');
exports.handler = async () => {
  const add = Buffer.from('AGFzbQEAAAABBwFgAn9/AX8DAgEABwcBA2FkZAAACgkBBwAgACABags=', 'base64');
  const { instance } = await WebAssembly.instantiate(add);
  let sum = 0;
  for (let i = 0; i < 100000; i++) sum = instance.exports.add(sum, 1);
  const worker = new Worker('require(\"worker_threads\").parentPort.postMessage(1)', { eval: true });
  const told = await new Promise((resolve) => worker.once('message', resolve));
  await worker.terminate();
  return [sum, told, require('fs').readFileSync('/proc/self/cmdline', 'utf8').includes('--zygote')];
}";
    let answer = world.once(runtime, "index.handler", &[("index.js", code)], "{}").await;
    assert_eq!(answer.text(), "[100000,1,true]", "{runtime}: {}", answer.tail());
}
