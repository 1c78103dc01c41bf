//! Real functions in Java, compiled by the test: handlers of every kind, context, errors, and that the client is made of its sources.

mod common;

use common::World;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// AWS's interfaces as far as they are used: `aws-lambda-java-core` in a package would bring them.
const CORE: &[(&str, &str)] = &[
    (
        "Context",
        "String getAwsRequestId(); String getLogGroupName(); String getLogStreamName(); String getFunctionName(); String getFunctionVersion(); String getInvokedFunctionArn(); CognitoIdentity getIdentity(); ClientContext getClientContext(); int getRemainingTimeInMillis(); int getMemoryLimitInMB(); LambdaLogger getLogger(); default String getTenantId() { return null; }",
    ),
    ("LambdaLogger", "void log(String message); void log(byte[] message);"),
    ("CognitoIdentity", "String getIdentityId(); String getIdentityPoolId();"),
    (
        "ClientContext",
        "Client getClient(); java.util.Map<String, String> getCustom(); java.util.Map<String, String> getEnvironment();",
    ),
    ("Client", "String getInstallationId(); String getAppTitle();"),
    ("RequestHandler<I, O>", "O handleRequest(I input, Context context);"),
    (
        "RequestStreamHandler",
        "void handleRequest(java.io.InputStream input, java.io.OutputStream output, Context context) throws java.io.IOException;",
    ),
];

const APP: &str = r#"
package app;
import com.amazonaws.services.lambda.runtime.*;
import java.util.*;
public class App implements RequestHandler<App.In, App.Out> {
    public enum Kind { SMALL, LARGE }
    public static class Item { private String id; private List<Integer> sizes; public void setId(String v) { id = v; } public String getId() { return id; }
        public void setSizes(List<Integer> v) { sizes = v; } public List<Integer> getSizes() { return sizes; } }
    public static class In { private String name; private long n; private List<Item> records; private Map<String, Double> rates; private Kind kind;
        public void setName(String v) { name = v; } public void setN(long v) { n = v; } public void setRecords(List<Item> v) { records = v; }
        public void setRates(Map<String, Double> v) { rates = v; } public void setKind(Kind v) { kind = v; } }
    public static class Out { private final In in; private final Context c; Out(In in, Context c) { this.in = in; this.c = c; }
        public String getHello() { return "h\u00e9llo \"" + in.name + "\"\n"; } public long getN() { return in.n + 1; } public int getFirst() { return in.records.get(0).getSizes().get(1) + 1; }
        public List<Item> getItems() { return in.records; } public double getRate() { return in.rates.get("a"); } public Kind getKind() { return in.kind; } public Object getNone() { return null; }
        public String getId() { return c.getAwsRequestId(); } public String getFunction() { return c.getFunctionName() + c.getFunctionVersion(); } public String getArn() { return c.getInvokedFunctionArn(); }
        public int getMemory() { return c.getMemoryLimitInMB(); } public boolean isLeft() { return c.getRemainingTimeInMillis() > 0; } public boolean isBare() { return c.getClientContext() == null && c.getTenantId() == null; }
        public String[] getWhere() { return new String[] { System.getenv("LAMBDA_TASK_ROOT"), System.getenv("AWS_EXECUTION_ENV"), System.getProperty("com.amazonaws.xray.traceHeader").substring(0, 7) }; } }
    public Out handleRequest(In in, Context c) { c.getLogger().log("logged\ntwice"); System.out.println("printed"); return new Out(in, c); }
    public static String text(String s) { return s.toUpperCase(); }
    public int sum(List<Integer> all) { int n = 0; for (int i : all) n += i; return n; }
    public Object map(Map<String, Object> m) { m.put("more", List.of(1, 2.5, true)); return m; }
    public void nothing() { }
    public void fails(Object o) { try { throw new IllegalStateException("inner"); } catch (RuntimeException e) { throw new UnsupportedOperationException("some error", e); } }
    public int deep(int n) { return n + deep(n + 1); }
    public void exit() { System.exit(3); }
}
"#;
const STREAM: &str = "package app; import com.amazonaws.services.lambda.runtime.*; import java.io.*; public class Stream implements RequestStreamHandler { public void handleRequest(InputStream in, OutputStream out, Context c) throws IOException { out.write('['); out.write(in.readAllBytes()); out.write(']'); } }";
const BROKEN: &str = "package app; public class Broken { static { if (true) throw new RuntimeException(\"bad init\"); } public void run() {} }";

fn client() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("client/java")
}

/// Compiles sources into a folder; false where there is no compiler.
fn compile(release: &str, to: &Path, sources: &[PathBuf]) -> bool {
    let run = Command::new("javac")
        .args(["--release", release, "-g:source,lines", "-proc:none", "-XDstringConcat=inline", "-d"])
        .arg(to)
        .args(sources)
        .output();
    match run {
        Ok(done) => {
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            true
        }
        Err(e) => {
            eprintln!("skipped: javac: {e}");
            false
        }
    }
}

struct Classes(tempfile::TempDir);

fn classes() -> Option<Classes> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let src = dir.path().join("src");
    let mut sources = Vec::new();
    let mut add = |package: &str, name: &str, text: String| {
        let path = src.join(package).join(format!("{name}.java"));
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("make the folder");
        std::fs::write(&path, text).expect("write");
        sources.push(path);
    };
    for (name, body) in CORE {
        let package = "com.amazonaws.services.lambda.runtime";
        let file = name.split('<').next().expect("a name");
        add("core", file, format!("package {package}; public interface {name} {{ {body} }}"));
    }
    add("app", "App", APP.into());
    add("app", "Stream", STREAM.into());
    add("app", "Broken", BROKEN.into());
    compile("11", &dir.path().join("classes"), &sources).then_some(Classes(dir))
}

impl Classes {
    fn function(&self, world: &World, handler: &str) -> Arc<squall_runtime::Function> {
        let runtime = ["java17", "java21", "java25"];
        let mut f = world.function(runtime[0], handler, &[]);
        f.code_dir = self.0.path().join("classes");
        f.memory_mb = 512;
        f.timeout = std::time::Duration::from_secs(60);
        Arc::new(f)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_of_every_kind_answer() {
    let world = World::new();
    let (Some(classes), true) = (classes(), world.has("java17").await) else { return };
    let f = classes.function(&world, "app.App");
    let event = json!({"name": "A", "n": 41, "Records": [{"id": "x", "sizes": [1, 2]}], "rates": {"a": 1}, "kind": "LARGE", "unknown": {}});
    let answer = world.invoke(&f, &event.to_string()).await;
    let task = f.code_dir.display().to_string();
    let expected = json!({"hello": "héllo \"A\"\n", "n": 42, "first": 3, "items": [{"id": "x", "sizes": [1, 2]}], "rate": 1.0, "kind": "LARGE",
        "none": null, "id": answer.id, "function": format!("{}$LATEST", f.name), "arn": f.function_arn, "memory": 512, "left": true,
        "bare": true, "where": [task, "AWS_Lambda_java17", "Root=1-"]});
    assert_eq!(answer.json(), expected, "{}", world.logs.of(&f.name).join("\n"));
    let tail = answer.tail();
    assert!(tail.contains("logged\ntwice\n") && tail.contains("printed\n"), "{tail}");
    for (handler, event, expected) in [
        ("app.App::text", "\"abc\"", "\"ABC\""),
        ("app.App::sum", "[1, 2, 3]", "6"),
        ("app.App::map", "{\"a\": 12345678901}", "{\"a\":12345678901,\"more\":[1,2.5,true]}"),
        ("app.App::nothing", "{}", "null"),
        ("app.Stream", "{\"x\":1}", "[{\"x\":1}]"),
        ("app.Stream::handleRequest", "7", "[7]"),
    ] {
        let answer = world.invoke(&classes.function(&world, handler), event).await;
        assert_eq!(answer.text(), expected, "{handler}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_the_shapes_of_aws() {
    let world = World::new();
    let (Some(classes), true) = (classes(), world.has("java17").await) else { return };
    let f = classes.function(&world, "app.App::fails");
    let answer = world.invoke(&f, "{}").await;
    let error = answer.json();
    assert_eq!(answer.error(), Some("Unhandled"));
    assert_eq!(
        (error["errorMessage"].as_str(), error["errorType"].as_str()),
        (Some("some error"), Some("java.lang.UnsupportedOperationException"))
    );
    let frame = error["stackTrace"][0].as_str().expect("a frame");
    assert!(
        frame.starts_with("app.App.fails(App.java:") && error["stackTrace"].as_array().map(Vec::len) == Some(1),
        "{error}"
    );
    assert_eq!(error["cause"]["errorMessage"], "inner");
    assert!(answer.tail().contains("some error: java.lang.UnsupportedOperationException\n"), "{}", answer.tail());
    for (handler, event, kind, message) in [
        ("app.Nobody", "{}", "java.lang.ClassNotFoundException", "Class not found: app.Nobody"),
        ("app.App::nobody", "{}", "java.lang.NoSuchMethodException", "No public method named nobody"),
        ("app.Broken::run", "{}", "java.lang.ExceptionInInitializerError", ""),
        ("app.App::sum", "{", "java.lang.IllegalArgumentException", "An error occurred during JSON parsing"),
        ("app.App::sum", "{}", "java.lang.IllegalArgumentException", "An error occurred during JSON parsing"),
        ("app.App::deep", "1", "java.lang.StackOverflowError", ""),
        ("app.App::exit", "{}", "Runtime.ExitError", "exit status 3"),
    ] {
        let error = world.invoke(&classes.function(&world, handler), event).await.json();
        assert_eq!(error["errorType"], kind, "{handler}: {error}");
        assert!(error["errorMessage"].as_str().unwrap_or_default().contains(message), "{handler}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_runs() {
    let world = World::new();
    let dir = tempfile::tempdir().expect("a temporary folder");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/hello-java/src/hello/Handler.java");
    if !compile("17", dir.path(), &[example]) || !world.has("java17").await {
        return;
    }
    let mut f = world.function("java17", "hello.Handler::hello", &[]);
    f.code_dir = dir.path().to_owned();
    f.memory_mb = 256;
    let answer =
        world.invoke(&Arc::new(f), r#"{"pathParameters": {"name": "Ada"}, "queryStringParameters": null}"#).await;
    assert_eq!(answer.json()["body"], "{\"message\": \"Hello, Ada!\"}");
}

/// The jar is committed; what is in it is what its sources make. Other compilers than JDK 17's may make other bytes.
#[test]
fn the_client_is_made_of_its_sources() {
    let version =
        Command::new("javac").arg("--version").output().map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
    if !version.as_ref().is_ok_and(|v| v.starts_with("javac 17.")) {
        return eprintln!("skipped: javac 17: {version:?}");
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (made, kept) = (dir.path().join("made"), dir.path().join("kept"));
    let sources = std::fs::read_dir(client().join("src/squall/runtime")).expect("sources");
    let sources: Vec<PathBuf> = sources.map(|e| e.expect("an entry").path()).collect();
    assert!(compile("11", &made, &sources));
    std::fs::create_dir(&kept).expect("make the folder");
    let unpack = Command::new("jar")
        .args(["--extract", "--file"])
        .arg(client().join("squall-runtime.jar"))
        .current_dir(&kept)
        .status();
    assert!(unpack.expect("jar").success());
    let list = |root: &Path| {
        let mut files: Vec<_> = std::fs::read_dir(root.join("squall/runtime"))
            .expect("classes")
            .map(|e| e.expect("an entry").file_name())
            .collect();
        files.sort();
        files
    };
    assert_eq!(list(&made), list(&kept));
    for file in list(&made) {
        let read = |root: &Path| std::fs::read(root.join("squall/runtime").join(&file)).expect("a class");
        assert!(read(&made) == read(&kept), "{}: run runtime/client/java/build.sh", file.display());
    }
}
