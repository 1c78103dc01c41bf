//! Custom runtimes and Ruby's client: the Rust example, static and dynamic, and `bootstrap`s of any kind.

mod common;

use common::World;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The example's program, in a folder as a package would be; `None` where it cannot be made.
fn rust(is_static: bool) -> Option<tempfile::TempDir> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let kind = if is_static { "target-feature=+crt-static" } else { "prefer-dynamic=no" };
    let run = Command::new("rustc")
        .args(["--edition", "2024", "-C", kind, "-o"])
        .arg(dir.path().join("bootstrap"))
        .arg(repository("examples/hello-rust/src/main.rs"))
        .output();
    match run {
        Ok(done) if done.status.success() => Some(dir),
        Ok(done) => panic!("{}", String::from_utf8_lossy(&done.stderr)),
        Err(e) => {
            eprintln!("skipped: rustc: {e}");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_example_runs_static_and_dynamic() {
    let world = World::new();
    for is_static in [true, false] {
        let Some(dir) = rust(is_static) else { return };
        let mut f = world.function("provided.al2023", "bootstrap", &[]);
        f.code_dir = dir.path().to_owned();
        let f = Arc::new(f);
        for name in ["Ada", "Bob"] {
            let event = json!({"rawPath": "/hello", "pathParameters": {"name": name}});
            let answer = world.invoke(&f, &event.to_string()).await;
            assert_eq!(answer.json()["body"], format!("{{\"message\": \"Hello, {name}!\"}}"));
            assert!(answer.tail().contains(&format!("greeting {name}\n")), "{}", answer.tail());
        }
        let failed = world.invoke(&f, "[]").await;
        assert_eq!((failed.error(), failed.json()["errorType"].as_str()), (Some("Unhandled"), Some("Hello.Error")));
    }
}

/// Whatever Ruby the machine has runs the client as a custom runtime would: that is the same but for how it is found.
fn ruby(world: &World, handler: &str, files: &[(&str, &str)]) -> Option<Arc<squall_runtime::Function>> {
    let exe = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|p| p.join("ruby"))
        .find(|p| p.is_file());
    let Some(exe) = exe else {
        eprintln!("skipped: no ruby");
        return None;
    };
    let client = repository("runtime/client/ruby/bootstrap.rb");
    let script = format!("#!/bin/sh\nexec {} {} /opt\n", exe.display(), client.display());
    let all: Vec<(&str, &str)> = files.iter().copied().chain([("bootstrap", script.as_str())]).collect();
    Some(Arc::new(world.function("provided.al2023", handler, &all)))
}

#[tokio::test(flavor = "multi_thread")]
async fn ruby_handlers_answer_and_fail_as_on_aws() {
    let world = World::new();
    let code = r#"
def hello(event:, context:)
  puts "hi #{event["n"]}"
  { n: event["n"] + 1, "é" => "ü", id: context.aws_request_id, name: context.function_name, memory: context.memory_limit_in_mb,
    left: context.get_remaining_time_in_millis.positive?, arn: context.invoked_function_arn, trace: ENV["_X_AMZN_TRACE_ID"][0, 7] }
end
module Deep
  class Odd < StandardError; end
  class Handler
    def self.run(event:, context:) = raise(Odd, "some error")
  end
end
"#;
    let Some(f) = ruby(&world, "app.hello", &[("app.rb", code)]) else { return };
    for _ in 0..2 {
        let answer = world.invoke(&f, r#"{"n": 41}"#).await;
        let expected = json!({"n": 42, "é": "ü", "id": answer.id, "name": f.name, "memory": "256", "left": true, "arn": f.function_arn, "trace": "Root=1-"});
        assert_eq!(answer.json(), expected, "{}", world.logs.of(&f.name).join("\n"));
        assert!(answer.tail().contains("hi 41\n"));
    }
    let Some(f) = ruby(&world, "app.Deep::Handler.run", &[("app.rb", code)]) else { return };
    let error = world.invoke(&f, "{}").await.json();
    assert_eq!(
        (error["errorMessage"].as_str(), error["errorType"].as_str()),
        (Some("some error"), Some("Function<Deep::Odd>"))
    );
    assert!(
        error["stackTrace"][0].as_str().is_some_and(|l| l.contains("app.rb:10:in `run'") || l.contains("app.rb:10:in")),
        "{error}"
    );
    for (handler, text, kind) in [
        ("none.x", "", "Init<LoadError>"),
        ("app.nobody", "x = 1", "Init<NoMethodError>"),
        ("app.x", "def x(event:", "Init<SyntaxError>"),
        ("app", "", "Init<ArgumentError>"),
    ] {
        let Some(f) = ruby(&world, handler, &[("app.rb", text)]) else { return };
        assert_eq!(world.invoke(&f, "{}").await.json()["errorType"], kind, "{handler}");
    }
    let example = std::fs::read_to_string(repository("examples/hello-ruby/handler.rb")).expect("the example");
    let Some(f) = ruby(&world, "handler.hello", &[("handler.rb", &example)]) else { return };
    let answer = world.invoke(&f, r#"{"pathParameters": {"name": "Ada"}}"#).await;
    assert_eq!(answer.json()["body"], "{\"message\":\"Hello, Ada!\"}");
}
