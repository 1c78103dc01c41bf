//! Real functions in Python: answers, errors and log lines in AWS's shapes.

mod common;

use common::World;
use serde_json::json;
use std::sync::Arc;

const RUNTIME: &str = "python3.11";

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_answers_and_sees_its_context() {
    let world = World::new();
    if !world.has(RUNTIME).await {
        return;
    }
    let code = r#"
import os
def handler(event, context):
    print("hello", event["n"])
    return {"n": event["n"] + 1, "é": "ü", "f": 1.5, "none": None, "t": (1, 2),
        "id": context.aws_request_id, "name": context.function_name, "version": context.function_version,
        "arn": context.invoked_function_arn, "memory": context.memory_limit_in_mb, "group": context.log_group_name,
        "stream": context.log_stream_name == os.environ["AWS_LAMBDA_LOG_STREAM_NAME"], "cc": context.client_context,
        "left": 0 < context.get_remaining_time_in_millis() <= 10000, "trace": os.environ["_X_AMZN_TRACE_ID"][:7],
        "env": os.environ["AWS_EXECUTION_ENV"], "token": os.environ["AWS_SESSION_TOKEN"], "cwd": os.getcwd() == os.environ["LAMBDA_TASK_ROOT"]}
"#;
    let f = Arc::new(world.function(RUNTIME, "app.handler", &[("app.py", code)]));
    let answer = world.invoke(&f, r#" {"n": 41} "#).await;
    let expected = json!({"n": 42, "é": "ü", "f": 1.5, "none": null, "t": [1, 2], "id": answer.id, "name": f.name,
        "version": "$LATEST", "arn": f.function_arn, "memory": "256", "group": f.log_group, "stream": true, "cc": null,
        "left": true, "trace": "Root=1-", "env": "AWS_Lambda_python3.11", "token": format!("token-{}", f.name), "cwd": true});
    assert_eq!(answer.json(), expected);
    let tail = answer.tail();
    let lines: Vec<&str> = tail.lines().collect();
    assert_eq!(lines[0], format!("START RequestId: {} Version: $LATEST", answer.id));
    assert_eq!(lines[1], "hello 41");
    assert_eq!(lines[2], format!("END RequestId: {}", answer.id));
    assert!(lines[3].starts_with(&format!("REPORT RequestId: {}\tDuration: ", answer.id)), "{tail}");
    assert!(lines[3].contains("\tMemory Size: 256 MB\tMax Memory Used: ") && lines[3].contains("\tInit Duration: "));
    // The second runs in the same instance: no init in its report.
    let tail = world.invoke(&f, r#"{"n": 1}"#).await.tail();
    assert!(!tail.contains("Init Duration"), "{tail}");
    assert!(world.logs.of(&f.name)[0].starts_with("INIT_START Runtime Version: python:3.11.v"));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_the_shapes_of_aws() {
    let world = World::new();
    if !world.has(RUNTIME).await {
        return;
    }
    let raises = "class Odd(Exception): pass\ndef handler(e, c):\n    raise Odd('some error')\n";
    let answer = world.once(RUNTIME, "app.handler", &[("app.py", raises)], "{}").await;
    assert_eq!(answer.error(), Some("Unhandled"));
    let error = answer.json();
    assert_eq!(error["errorMessage"], "some error");
    assert_eq!(error["errorType"], "Odd");
    assert_eq!(error["requestId"], answer.id);
    let frame = error["stackTrace"][0].as_str().expect("a frame");
    assert!(frame.ends_with("/app.py\", line 3, in handler\n    raise Odd('some error')\n"), "{frame}");
    let tail = answer.tail();
    assert!(
        tail.contains("\n[ERROR] Odd: some error\nTraceback (most recent call last):\n\u{a0}\u{a0}File \""),
        "{tail}"
    );

    let cases = [
        ("app.missing", "x = 1", "Runtime.HandlerNotFound", "Handler 'missing' missing on module 'app'"),
        (
            "none.handler",
            "x = 1",
            "Runtime.ImportModuleError",
            "Unable to import module 'none': No module named 'none'",
        ),
        (
            "app.handler",
            "import absent",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'absent'",
        ),
        (
            "app",
            "x = 1",
            "Runtime.MalformedHandlerName",
            "Bad handler 'app': not enough values to unpack (expected 2, got 1)",
        ),
        (
            "app.handler",
            "def handler(:\n",
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module 'app': invalid syntax (app.py, line 1)",
        ),
        (
            "app.handler",
            "def handler(e, c): return {1, 2}",
            "Runtime.MarshalError",
            "Unable to marshal response: Object of type set is not JSON serializable",
        ),
    ];
    for (handler, code, kind, message) in cases {
        let answer = world.once(RUNTIME, handler, &[("app.py", code)], "{}").await;
        assert_eq!(answer.error(), Some("Unhandled"), "{handler}");
        assert_eq!(answer.json()["errorType"], kind);
        assert_eq!(answer.json()["errorMessage"], message);
        assert!(answer.tail().contains("END RequestId: "));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_while_loading_is_tried_again_inside_the_invocation() {
    let world = World::new();
    if !world.has(RUNTIME).await {
        return;
    }
    let f =
        Arc::new(world.function(RUNTIME, "app.handler", &[("app.py", "raise Exception('Runtime startup fails')\n")]));
    let error = world.invoke(&f, "{}").await;
    assert_eq!(error.json()["errorType"], "Exception");
    assert_eq!(error.json()["errorMessage"], "Runtime startup fails");
    assert_eq!(error.json()["requestId"], "");
    let log = world.logs.of(&f.name).join("\n");
    assert!(log.contains("\tPhase: init\tStatus: error\tError Type: Exception"), "{log}");
    assert!(log.contains("\tPhase: invoke\tStatus: error\tError Type: Exception"), "{log}");
    // Now known as broken: one start per invocation, not two.
    let before = world.logs.of(&f.name).iter().filter(|l| l.starts_with("INIT_START")).count();
    world.invoke(&f, "{}").await;
    let after = world.logs.of(&f.name).iter().filter(|l| l.starts_with("INIT_START")).count();
    assert_eq!(after - before, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_has_the_format_of_aws() {
    let world = World::new();
    if !world.has(RUNTIME).await {
        return;
    }
    let code = "import logging\nlog = logging.getLogger()\nlog.setLevel('INFO')\ndef handler(e, c):\n    log.info('one\\ntwo')\n    import sys\n    print('err', file=sys.stderr)\n    sys.stdout.write('no newline')\n";
    let answer = world.once(RUNTIME, "app.handler", &[("app.py", code)], "{}").await;
    assert_eq!(answer.json(), json!(null));
    let tail = answer.tail();
    let line = tail.lines().find(|l| l.starts_with("[INFO]\t20")).expect("a line");
    assert!(line.ends_with(&format!("Z\t{}\tone", answer.id)), "{line}");
    assert!(tail.contains("\ntwo\nerr\nno newline\nEND "), "{tail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exits_and_timeouts_are_told_as_aws_does() {
    let world = World::new();
    if !world.has(RUNTIME).await {
        return;
    }
    let answer = world.once(RUNTIME, "app.handler", &[("app.py", "def handler(e, c): exit(3)")], "{}").await;
    let message = format!("RequestId: {} Error: Runtime exited with error: exit status 3", answer.id);
    assert_eq!(answer.json(), json!({"errorType": "Runtime.ExitError", "errorMessage": message}));
    assert!(answer.tail().contains("\tStatus: error\tError Type: Runtime.ExitError"));

    let answer =
        world.once(RUNTIME, "app.handler", &[("app.py", "import sys\ndef handler(e, c): sys.exit(0)")], "{}").await;
    let message = format!("RequestId: {} Error: Runtime exited without providing a reason", answer.id);
    assert_eq!(answer.json()["errorMessage"], message);

    let killed = "import os\ndef handler(e, c): os.kill(os.getpid(), 9)";
    let answer = world.once(RUNTIME, "app.handler", &[("app.py", killed)], "{}").await;
    assert!(answer.text().contains("Runtime exited with error: signal: killed"));

    let mut f = world.function(
        RUNTIME,
        "app.handler",
        &[("app.py", "import time\ndef handler(e, c):\n    if e: time.sleep(30)\n    return 1")],
    );
    f.timeout = std::time::Duration::from_secs(1);
    let f = Arc::new(f);
    let answer = world.invoke(&f, "{\"x\":1}").await;
    let message = format!("RequestId: {} Error: Task timed out after 1.00 seconds", answer.id);
    assert_eq!(answer.json(), json!({"errorType": "Sandbox.Timedout", "errorMessage": message}));
    let tail = answer.tail();
    assert!(tail.contains(" Task timed out after 1.00 seconds\n"), "{tail}");
    assert!(tail.contains("Duration: 1000.00 ms\tBilled Duration: ") && tail.contains("Status: timeout"), "{tail}");
    // The next request gets a new instance.
    assert_eq!(world.invoke(&f, "{}").await.text(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_and_large_output_stay_within_bounds() {
    let world = World::new();
    if !world.has(RUNTIME).await {
        return;
    }
    let code = "def handler(e, c):\n    return 'x' * e";
    let f = Arc::new(world.function(RUNTIME, "app.handler", &[("app.py", code)]));
    assert_eq!(world.invoke(&f, "5000000").await.outcome.payload.len(), 5_000_002);
    let answer = world.invoke(&f, "7000000").await;
    assert_eq!(answer.json()["errorType"], "Function.ResponseSizeTooLarge");
    // The same instance goes on.
    assert_eq!(world.invoke(&f, "1").await.text(), "\"x\"");
    let event = format!("\"{}\"", "y".repeat(5_000_000));
    let echo = Arc::new(world.function(RUNTIME, "app.handler", &[("app.py", "def handler(e, c): return len(e)")]));
    assert_eq!(world.invoke(&echo, &event).await.text(), "5000000");

    let code =
        "def handler(e, c):\n    for i in range(20000): print(i, 'z' * 200)\n    print('w' * 1000000)\n    return 1";
    let answer = world.once(RUNTIME, "app.handler", &[("app.py", code)], "{}").await;
    assert_eq!(answer.text(), "1");
    assert_eq!(answer.tail().len(), 4096);
    assert!(answer.tail().contains("REPORT RequestId"));
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_in_folders_and_layers_are_found() {
    let world = World::new();
    if !world.has(RUNTIME).await {
        return;
    }
    let files =
        [("src/api/app.py", "import dep, shared\ndef handler(e, c): return dep.x + shared.y"), ("dep.py", "x = 1")];
    let mut f = world.function(RUNTIME, "src/api/app.handler", &files);
    let layer = world.dir.path().join("layer");
    std::fs::create_dir_all(layer.join("python")).expect("make the layer");
    std::fs::write(layer.join("python/shared.py"), "y = 41").expect("write the layer");
    f.opt_dir = Some(layer);
    assert_eq!(world.invoke(&Arc::new(f), "{}").await.text(), "42");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_handlers_get_an_error_and_are_replaced() {
    let world = World::new();
    if !world.has(RUNTIME).await {
        return;
    }
    let code = r#"
import os, threading, socket
def handler(e, c):
    if e == "print":
        while True: print("x" * 1000)
    if e == "bytes":
        while True: os.write(1, b"y" * 65536)
    if e == "close":
        os.closerange(3, 256)
    if e == "silent":
        os.close(1); os.close(2)
    if e == "threads":
        [threading.Thread(target=threading.Event().wait, daemon=True).start() for _ in range(50)]
    if e == "twice":
        api = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
        for body in (b"1", b"2"):
            s = socket.create_connection((api[0], int(api[1])))
            s.sendall(b"POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nContent-Length: 1\r\n\r\n%s" % (c.aws_request_id.encode(), body))
            s.recv(100)
    return "fine"
"#;
    let mut f = world.function(RUNTIME, "app.handler", &[("app.py", code)]);
    f.timeout = std::time::Duration::from_secs(1);
    let f = Arc::new(f);
    for (event, expected) in [
        ("print", "Sandbox.Timedout"),
        ("bytes", "Sandbox.Timedout"),
        ("close", "Runtime.ExitError"),
        ("silent", "fine"),
        ("threads", "fine"),
        ("twice", "1"),
    ] {
        let answer = world.invoke(&f, &format!("\"{event}\"")).await;
        assert!(answer.text().contains(expected), "{event}: {}", answer.text());
        assert!(answer.tail().len() <= 4096);
        assert_eq!(world.invoke(&f, "\"\"").await.text(), "\"fine\"", "after {event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrapper_starts_the_runtime() {
    let world = World::new();
    if !world.has(RUNTIME).await {
        return;
    }
    let wrapper = "#!/bin/sh\nWRAPPED=yes exec \"$@\"\n";
    let code = "import os\ndef handler(e, c): return os.environ.get('WRAPPED')";
    let mut f = world.function(RUNTIME, "app.handler", &[("app.py", code), ("wrap", wrapper)]);
    f.env = vec![("AWS_LAMBDA_EXEC_WRAPPER".into(), "/var/task/wrap".into())];
    assert_eq!(world.invoke(&Arc::new(f.clone()), "{}").await.text(), "\"yes\"");
    f.env = vec![("AWS_LAMBDA_EXEC_WRAPPER".into(), "/var/task/absent".into())];
    f.revision = 2;
    let answer = world.invoke(&Arc::new(f), "{}").await;
    let message = format!("RequestId: {} Error: Runtime exited with error: exit status 127", answer.id);
    assert_eq!(answer.json(), json!({"errorType": "Runtime.ExitError", "errorMessage": message}));
}
