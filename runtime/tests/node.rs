//! Real functions in Node.js: handler styles, errors and log lines in AWS's shapes.

mod common;

use common::World;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Every Node.js that this machine has and that takes callbacks.
async fn nodes(world: &World) -> Vec<String> {
    let all = world.runtime.runtimes().await;
    let found = ["nodejs18.x", "nodejs20.x", "nodejs22.x"].into_iter().filter(|id| all.iter().any(|f| f.id == **id));
    let found: Vec<_> = found.map(str::to_owned).collect();
    if found.is_empty() {
        eprintln!("skipped: no Node.js 18 to 22 on this machine");
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_answers_and_sees_its_context() {
    let world = World::new();
    for runtime in nodes(&world).await {
        let code = "
exports.handler = async (event, context) => {
  console.log('hello', event.n);
  console.error('two\\nlines');
  return { n: event.n + 1, id: context.awsRequestId, name: context.functionName, version: context.functionVersion,
    arn: context.invokedFunctionArn, memory: context.memoryLimitInMB, group: context.logGroupName,
    stream: context.logStreamName === process.env.AWS_LAMBDA_LOG_STREAM_NAME, waits: context.callbackWaitsForEmptyEventLoop,
    left: context.getRemainingTimeInMillis() <= 10000, trace: process.env._X_AMZN_TRACE_ID.slice(0, 7),
    env: process.env.AWS_EXECUTION_ENV, cwd: process.cwd() === process.env.LAMBDA_TASK_ROOT };
};";
        let f = Arc::new(world.function(&runtime, "index.handler", &[("index.js", code)]));
        let answer = world.invoke(&f, r#"{"n": 41}"#).await;
        let expected = json!({"n": 42, "id": answer.id, "name": f.name, "version": "$LATEST", "arn": f.function_arn,
        "memory": "256", "group": f.log_group, "stream": true, "waits": true, "left": true, "trace": "Root=1-",
        "env": format!("AWS_Lambda_{runtime}"), "cwd": true});
        assert_eq!(answer.json(), expected);
        let tail = answer.tail();
        let lines: Vec<&str> = tail.lines().collect();
        assert_eq!(lines[0], format!("START RequestId: {} Version: $LATEST", answer.id));
        assert!(lines[1].ends_with(&format!("Z\t{}\tINFO\thello 41", answer.id)), "{tail}");
        assert!(lines[2].ends_with("\tERROR\ttwo") && lines[3] == "lines", "{tail}");
        assert!(world.logs.of(&f.name).iter().any(|l| l.ends_with("two\nlines")), "one event, however many lines");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_handler_style_is_served() {
    let world = World::new();
    for runtime in nodes(&world).await {
        let cases: &[(&str, &str, &str, &str)] = &[
            ("index.handler", "index.js", "exports.handler = (e, c, cb) => cb(null, 1)", "1"),
            ("index.handler", "index.js", "exports.handler = (e, c, cb) => setTimeout(() => cb(null, 2), 5)", "2"),
            ("index.handler", "index.js", "exports.handler = (e, c) => c.succeed(3)", "3"),
            ("index.handler", "index.js", "exports.handler = () => {}", "null"),
            ("index.handler", "index.js", "exports.handler = async () => {}", "null"),
            ("index.handler", "index.js", "exports.handler = async () => new Promise(() => {})", "null"),
            (
                "index.handler",
                "index.js",
                "exports.handler = (e, c, cb) => { c.callbackWaitsForEmptyEventLoop = false; setTimeout(() => {}, 60000); cb(null, 4) }",
                "4",
            ),
            ("index.handler", "index.mjs", "export const handler = async () => 5", "5"),
            (
                "index.handler",
                "index.mjs",
                "const x = await Promise.resolve(6); export const handler = async () => x",
                "6",
            ),
            ("index.handler", "index.cjs", "exports.handler = async () => 7", "7"),
            ("src/app.handler", "src/app.js", "module.exports = { handler: async () => 8 }", "8"),
            ("a/b.c.d", "a/b.js", "exports.c = { d: async () => 9 }", "9"),
            (
                "index.handler",
                "index.js",
                "exports.handler = async () => Buffer.from('é')",
                "{\"type\":\"Buffer\",\"data\":[195,169]}",
            ),
        ];
        for (handler, file, code, expected) in cases {
            let answer = world.once(&runtime, handler, &[(file, code)], "{}").await;
            assert_eq!(&answer.text(), expected, "{code}");
            assert_eq!(answer.error(), None, "{code}");
        }
        let files = [
            ("package.json", "{\"type\":\"module\"}"),
            ("lib/index.js", "import fs from 'fs'; export async function handler() { return typeof fs.readFileSync }"),
        ];
        assert_eq!(world.once(&runtime, "lib/index.handler", &files, "{}").await.text(), "\"function\"");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_the_shapes_of_aws() {
    let world = World::new();
    for runtime in nodes(&world).await {
        let throws = "class Odd extends Error { constructor(m) { super(m); this.name = 'Odd'; this.code = 'E1' } }\nexports.handler = async () => { throw new Odd('boom') }";
        let answer = world.once(&runtime, "index.handler", &[("index.js", throws)], "{}").await;
        assert_eq!(answer.error(), Some("Unhandled"));
        let error = answer.json();
        let keys: Vec<_> = error.as_object().expect("an object").keys().cloned().collect();
        assert_eq!(keys, ["errorType", "errorMessage", "trace"]);
        assert_eq!(
            (&error["errorType"], &error["errorMessage"], &error["trace"][0]),
            (&json!("Odd"), &json!("boom"), &json!("Odd: boom"))
        );
        let start = "\tERROR\tInvoke Error \t{\"errorType\":\"Odd\",\"errorMessage\":\"boom\",\"code\":\"E1\",";
        assert!(answer.tail().contains(start), "{}", answer.tail());

        let cases: &[(&str, &str, &str, &str)] = &[
            ("index.handler", "exports.handler = (e, c, cb) => cb(new TypeError('t'))", "TypeError", "t"),
            ("index.handler", "exports.handler = (e, c, cb) => cb('text')", "string", "text"),
            ("index.handler", "exports.handler = () => { throw new Error('sync') }", "Error", "sync"),
            (
                "index.other",
                "exports.handler = 1",
                "Runtime.HandlerNotFound",
                "index.other is undefined or not exported",
            ),
            ("index.handler", "exports.handler = 1", "Runtime.HandlerNotFound", "index.handler is not a function"),
            ("index.handler", "syntax error here", "Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected identifier"),
            (
                "index.handler",
                "require('absent')",
                "Runtime.ImportModuleError",
                "Error: Cannot find module 'absent'\nRequire stack:\n- ",
            ),
            ("gone.handler", "1", "Runtime.ImportModuleError", "Error: Cannot find module 'gone'\nRequire stack:\n- "),
            ("index", "1", "Runtime.MalformedHandlerName", "Bad handler"),
            (
                "../index.handler",
                "1",
                "Runtime.MalformedHandlerName",
                "'../index.handler' is not a valid handler name.",
            ),
            ("index.handler", "throw new RangeError('at load')", "RangeError", "at load"),
            (
                "index.handler",
                "exports.handler = async () => { const a = {}; a.a = a; return a }",
                "Error",
                "Unable to stringify response body",
            ),
            (
                "index.handler",
                "exports.handler = async () => { Promise.reject(new Error('lost')); await new Promise(r => setTimeout(r, 1000)) }",
                "Runtime.UnhandledPromiseRejection",
                "Error: lost",
            ),
            (
                "index.handler",
                "exports.handler = (e, c, cb) => setTimeout(() => { throw new Error('late') }, 5)",
                "Error",
                "late",
            ),
            ("index.handler", "exports.handler = async () => process.exit(2)", "Runtime.ExitError", "RequestId: "),
            ("index.handler", "process.exit(0)", "Runtime.ExitError", "RequestId: "),
        ];
        for (handler, code, kind, message) in cases {
            let answer = world.once(&runtime, handler, &[("index.js", code)], "{}").await;
            assert_eq!(answer.error(), Some("Unhandled"), "{code}");
            assert_eq!(answer.json()["errorType"], *kind, "{code}: {}", answer.text());
            let text = answer.json()["errorMessage"].as_str().expect("text").to_owned();
            assert!(text.starts_with(message), "{code}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn timeouts_end_the_instance_and_large_bodies_pass() {
    let world = World::new();
    for runtime in nodes(&world).await {
        let mut f = world.function(
            &runtime,
            "index.handler",
            &[("index.js", "exports.handler = async (e) => { if (e.spin) for (;;); return 1 }")],
        );
        f.timeout = Duration::from_secs(1);
        let f = Arc::new(f);
        let answer = world.invoke(&f, r#"{"spin":true}"#).await;
        assert_eq!(answer.json()["errorType"], "Sandbox.Timedout");
        assert_eq!(world.invoke(&f, "{}").await.text(), "1");

        let echo = Arc::new(world.function(
            &runtime,
            "index.handler",
            &[("index.js", "exports.handler = async (e) => e.s ? e : 'x'.repeat(e.n)")],
        ));
        let event = format!("{{\"s\":\"{}\"}}", "é".repeat(2_000_000));
        assert_eq!(world.invoke(&echo, &event).await.text(), event);
        assert_eq!(world.invoke(&echo, "{\"n\":6000000}").await.outcome.payload.len(), 6_000_002);
        let answer = world.invoke(&echo, "{\"n\":7000000}").await;
        assert_eq!(answer.json()["errorType"], "Function.ResponseSizeTooLarge");
        let noisy = "exports.handler = async () => { for (let i = 0; i < 20000; i++) console.log(i, 'z'.repeat(200)); return 1 }";
        let answer = world.once(&runtime, "index.handler", &[("index.js", noisy)], "{}").await;
        assert!(answer.tail().ends_with('\n') && answer.tail().contains("\tINFO\t19999 zzz"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_of_layers_are_found_by_require_and_import() {
    let world = World::new();
    for runtime in nodes(&world).await {
        let layer = world.dir.path().join("layer");
        std::fs::create_dir_all(layer.join("nodejs/node_modules/shared")).expect("make the layer");
        std::fs::write(layer.join("nodejs/node_modules/shared/index.js"), "exports.y = 41").expect("write the layer");
        for (file, code) in [
            ("index.js", "const { y } = require('shared'); exports.handler = async () => y"),
            ("index.mjs", "import { y } from 'shared'; export const handler = async () => y"),
        ] {
            let mut f = world.function(&runtime, "index.handler", &[(file, code)]);
            f.opt_dir = Some(layer.clone());
            let answer = world.invoke(&Arc::new(f), "{}").await;
            assert_eq!(answer.text(), "41", "{file}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn node_24_refuses_callbacks_as_aws_does() {
    let world = World::new();
    let runtime = "nodejs24.x";
    if !world.has(runtime).await {
        return;
    }
    let old = "exports.handler = (e, c, cb) => cb(null, 1)";
    let answer = world.once(runtime, "index.handler", &[("index.js", old)], "{}").await;
    assert_eq!(answer.json()["errorType"], "Runtime.CallbackHandlerDeprecated");
    let text = "ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24.";
    assert!(answer.json()["errorMessage"].as_str().expect("text").starts_with(text));
    for (file, code) in [
        ("index.js", "exports.handler = async (e) => e"),
        ("index.js", "exports.handler = (e) => e"),
        ("index.mjs", "export const handler = async (e, c) => c.done === undefined ? e : 0"),
    ] {
        assert_eq!(world.once(runtime, "index.handler", &[(file, code)], "[1]").await.text(), "[1]", "{code}");
    }
    let layer = world.dir.path().join("layer");
    std::fs::create_dir_all(layer.join("nodejs/node24/node_modules/shared")).expect("make the layer");
    std::fs::write(layer.join("nodejs/node24/node_modules/shared/index.js"), "exports.y = 41")
        .expect("write the layer");
    let code = "import { y } from 'shared'; export const handler = async () => y";
    let mut f = world.function(runtime, "index.handler", &[("index.mjs", code)]);
    f.opt_dir = Some(layer);
    assert_eq!(world.invoke(&Arc::new(f), "{}").await.text(), "41");
}
