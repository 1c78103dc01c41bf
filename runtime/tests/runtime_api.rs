//! The Runtime API byte by byte: the test plays the runtime, AWS's own Python client included where there is one.

mod common;

use async_trait::async_trait;
use common::{Answer, World};
use parking_lot::Mutex;
use serde_json::json;
use squall_runtime::{Exit, Function, InvokeError, LaunchError, Launcher, Spec, Started, Worker};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A host that can start nothing.
struct Broken;

#[async_trait]
impl Launcher for Broken {
    async fn spawn(&self, _: Spec) -> Result<Started, LaunchError> {
        Err(LaunchError("no room".into()))
    }
}

#[tokio::test]
async fn a_host_that_can_start_nothing_is_an_error_of_the_platform() {
    let world = World::with(Arc::new(Broken), |_| ());
    let f = Arc::new(world.function("provided.al2", "h", &[("bootstrap", "#!")]));
    for _ in 0..3 {
        let Err(InvokeError::Start(text)) = world.try_invoke(&f, "1").await else { panic!("an error") };
        assert_eq!(text, "start a worker: no room");
    }
    assert_eq!(world.runtime.stats(), squall_runtime::Stats::default());
}

/// Starts nothing: hands the test the address at which a runtime would ask.
#[derive(Default)]
struct Fake {
    workers: Mutex<Vec<(SocketAddr, watch::Sender<Option<Exit>>)>>,
}

struct FakeWorker(watch::Receiver<Option<Exit>>, watch::Sender<Option<Exit>>);

#[async_trait]
impl Launcher for Fake {
    async fn spawn(&self, _: Spec) -> Result<Started, LaunchError> {
        let runtime_api = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (end, ended) = watch::channel(None);
        self.workers.lock().push((runtime_api.local_addr().expect("an address"), end.clone()));
        let (output, _) = io::pipe().expect("a pipe");
        Ok(Started {
            worker: Box::new(FakeWorker(ended, end)),
            runtime_api,
            endpoint,
            output: output.into(),
            egress: None,
        })
    }
}

#[async_trait]
impl Worker for FakeWorker {
    async fn wait(&self) -> Exit {
        self.0.clone().wait_for(Option::is_some).await.ok().and_then(|e| *e).unwrap_or_default()
    }
    fn kill(&self) {
        self.1.send_if_modified(|exit| {
            let is_first = exit.is_none();
            exit.get_or_insert(Exit { signal: Some(9), ..Exit::default() });
            is_first
        });
    }
    fn freeze(&self) -> io::Result<()> {
        Ok(())
    }
    fn thaw(&self) -> io::Result<()> {
        Ok(())
    }
    fn memory_peak_bytes(&self) -> u64 {
        1 << 20
    }
    fn oom_killed(&self) -> bool {
        false
    }
}

impl Fake {
    /// The address of the worker that was started as the `at`-th.
    async fn worker(&self, at: usize) -> SocketAddr {
        for _ in 0..2000 {
            if let Some((address, _)) = self.workers.lock().get(at) {
                return *address;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("worker {at} is never started");
    }
}

/// A runtime's connection, by hand.
struct Client(TcpStream);

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        Self(stream)
    }

    fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).expect("sends");
    }

    /// One response: head and body.
    fn read(&mut self) -> (String, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect("a response");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("text");
        let size =
            head.lines().find_map(|l| l.strip_prefix("Content-Length: ")).map_or(0, |n| n.parse().expect("a number"));
        let mut body = vec![0; size];
        self.0.read_exact(&mut body).expect("a body");
        (head, String::from_utf8(body).expect("text"))
    }

    fn ask(&mut self, text: &str) -> (String, String) {
        self.send(text);
        self.read()
    }

    fn next(&mut self) -> (String, String) {
        self.ask("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
    }

    fn post(&mut self, path: &str, body: &str) -> (String, String) {
        let size = body.len();
        self.ask(&format!(
            "POST /2018-06-01/runtime/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n{body}"
        ))
    }
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    head.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
}

struct Play {
    world: Arc<World>,
    fake: Arc<Fake>,
    function: Arc<Function>,
}

impl Play {
    fn new(change: impl FnOnce(&mut squall_runtime::Options), shape: impl FnOnce(&mut Function)) -> Self {
        let fake = Arc::new(Fake::default());
        let world = Arc::new(World::with(fake.clone(), change));
        let mut function = world.function("provided.al2023", "h", &[("bootstrap", "#!")]);
        shape(&mut function);
        Self { world, fake, function: Arc::new(function) }
    }

    fn invoke(&self, event: &str) -> tokio::task::JoinHandle<Answer> {
        let (world, function, event) = (self.world.clone(), self.function.clone(), event.to_owned());
        tokio::spawn(async move { world.invoke(&function, &event).await })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_runtime_gets_its_headers_and_its_mistakes_are_refused() {
    let play = Play::new(|_| (), |_| ());
    let answer = play.invoke("{\"a\":1}");
    let mut client = Client::connect(play.fake.worker(0).await).await;
    let (head, body) = client.next();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"), "{head}");
    assert_eq!(body, "{\"a\":1}");
    assert_eq!(header(&head, "Lambda-Runtime-Invoked-Function-Arn"), play.function.function_arn);
    assert!(header(&head, "Lambda-Runtime-Deadline-Ms").parse::<u64>().expect("a number") > 1_700_000_000_000);
    assert!(header(&head, "Lambda-Runtime-Trace-Id").starts_with("Root=1-"));
    let id = header(&head, "Lambda-Runtime-Aws-Request-Id").to_owned();

    let mut other = Client::connect(play.fake.worker(0).await).await;
    assert!(other.next().0.starts_with("HTTP/1.1 403"), "the current invocation has no response yet");
    let (head, body) = other.post("invocation/wrong/response", "1");
    assert!(head.starts_with("HTTP/1.1 400") && body.contains("InvalidRequestID"), "{body}");
    assert!(other.post("init/error", "{}").0.starts_with("HTTP/1.1 403"));
    assert!(other.ask("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").0.starts_with("HTTP/1.1 404"));
    assert!(
        other
            .ask("DELETE /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
            .0
            .starts_with("HTTP/1.1 404")
    );
    let (head, body) =
        other.ask("POST /2020-01-01/extension/register HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
    assert!(head.starts_with("HTTP/1.1 403") && body.contains("Extension.InvalidExtensionName"), "{body}");

    let (head, body) = client.post(&format!("invocation/{id}/response"), "[true]");
    assert!(head.starts_with("HTTP/1.1 202") && body.contains("OK"), "{head}");
    assert!(client.post(&format!("invocation/{id}/response"), "2").0.starts_with("HTTP/1.1 400"), "answered twice");
    let answer = answer.await.expect("an answer");
    assert_eq!((answer.text().as_str(), answer.error()), ("[true]", None));
    assert!(answer.tail().contains("Max Memory Used: 1 MB"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bodies_come_chunked_expected_pipelined_or_too_large() {
    let play = Play::new(|_| (), |_| ());
    let first = play.invoke("1");
    let mut client = Client::connect(play.fake.worker(0).await).await;
    let id = |head: &str| header(head, "Lambda-Runtime-Aws-Request-Id").to_owned();
    let one = id(&client.next().0);
    let path = |id: &str| format!("/2018-06-01/runtime/invocation/{id}/response");
    client.send(&format!(
        "POST {} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\n[1,\r\n2\r\n2]\r\n0\r\nT: x\r\n\r\n",
        path(&one)
    ));
    // Asked in the same breath, before the acknowledgement.
    client.send("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n\r\n");
    assert!(client.read().0.starts_with("HTTP/1.1 202"));
    assert_eq!(first.await.expect("an answer").text(), "[1,2]");

    let second = play.invoke("2");
    let two = id(&client.read().0);
    client.send(&format!("POST {} HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", path(&two)));
    assert!(client.read().0.starts_with("HTTP/1.1 100 Continue"));
    assert!(client.ask("\"x\"").0.starts_with("HTTP/1.1 202"));
    assert_eq!(second.await.expect("an answer").text(), "\"x\"");

    let third = play.invoke("3");
    let three = id(&client.next().0);
    let large = "x".repeat(6 * 1024 * 1024 + 101);
    let (head, body) = client.post(&format!("invocation/{three}/response"), &large);
    assert!(head.starts_with("HTTP/1.1 413") && body.contains("RequestEntityTooLarge"), "{head}");
    let third = third.await.expect("an answer");
    assert_eq!(third.json()["errorType"], "Function.ResponseSizeTooLarge");

    let fourth = play.invoke("4");
    let four = id(&client.next().0);
    let body = "{\"errorType\":\"T\",\"errorMessage\":\"m\"}";
    client.send(&format!(
        "POST /2018-06-01/runtime/invocation/{four}/error HTTP/1.1\r\nLambda-Runtime-Function-Error-Type: Handled\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert!(client.read().0.starts_with("HTTP/1.1 202"));
    let fourth = fourth.await.expect("an answer");
    assert_eq!((fourth.json(), fourth.error()), (json!({"errorType": "T", "errorMessage": "m"}), Some("Handled")));
    let fifth = play.invoke("5");
    let five = id(&client.next().0);
    client.send(&format!(
        "POST {} HTTP/1.1\r\nLambda-Runtime-Function-Response-Mode: streaming\r\nContent-Length: 1\r\n\r\n5",
        path(&five)
    ));
    assert!(client.read().0.starts_with("HTTP/1.1 400"));
    assert_eq!(fifth.await.expect("an answer").json()["errorType"], "Runtime.StreamingNotSupported");
    // What is no HTTP at all only costs the connection.
    client.send("\0\0garbage\r\n\r\n");
    let mut rest = Vec::new();
    assert_eq!(client.0.read_to_end(&mut rest).unwrap_or(0), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn garbage_costs_only_its_connection() {
    let play = Play::new(|_| (), |_| ());
    let answer = play.invoke("1");
    let address = play.fake.worker(0).await;
    let parts: [&[u8]; 12] = [
        b"GET /2018-06-01/runtime/invocation/",
        b"POST ",
        b" HTTP/1.1",
        b"\r\n",
        b"\r\n\r\n",
        b"Content-Length: ",
        b"99999999999999999999",
        b"Transfer-Encoding: chunked\r\n",
        b"-1",
        b"fffffffffffffffff",
        b"\xff\x00",
        b"3\r\nabc\r\n",
    ];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..300 {
        let mut client = TcpStream::connect(address).expect("connects");
        for _ in 0..8 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            // The other side may have closed already.
            let _ = client.write_all(parts[usize::try_from(seed % 12).expect("small")]);
        }
    }
    let mut client = loop {
        // The instance's connections are bounded: room comes back as the others are closed.
        let mut client = Client::connect(address).await;
        client.send("GET /2018-06-01/runtime/none HTTP/1.1\r\n\r\n");
        let mut byte = [0];
        if client.0.peek(&mut byte).unwrap_or(0) > 0 {
            client.read();
            break client;
        }
    };
    let (head, _) = client.next();
    client.post(&format!("invocation/{}/response", header(&head, "Lambda-Runtime-Aws-Request-Id")), "1");
    assert_eq!(answer.await.expect("an answer").text(), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_init_that_takes_too_long_is_repeated_inside_the_invocation() {
    let play = Play::new(|o| o.init_timeout_s = 1, |f| f.timeout = Duration::from_secs(2));
    let answer = play.invoke("1");
    // The first worker never asks; nor does the second, which starts as part of the request.
    play.fake.worker(1).await;
    let answer = answer.await.expect("an answer");
    assert_eq!(answer.json()["errorType"], "Sandbox.Timedout");
    let log = play.world.logs.of(&play.function.name).join("\n");
    assert!(
        log.contains("\tPhase: init\tStatus: timeout") && log.contains("\tPhase: invoke\tStatus: timeout"),
        "{log}"
    );
    // A third that does its init is the cure.
    let answer = play.invoke("2");
    let mut client = Client::connect(play.fake.worker(2).await).await;
    let (head, _) = client.next();
    client.post(&format!("invocation/{}/response", header(&head, "Lambda-Runtime-Aws-Request-Id")), "7");
    assert_eq!(answer.await.expect("an answer").text(), "7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_runtime_that_answers_and_never_asks_again_is_replaced() {
    let play = Play::new(|_| (), |f| f.timeout = Duration::from_secs(1));
    let answer = play.invoke("1");
    let mut client = Client::connect(play.fake.worker(0).await).await;
    let (head, _) = client.next();
    client.post(&format!("invocation/{}/response", header(&head, "Lambda-Runtime-Aws-Request-Id")), "1");
    answer.await.expect("an answer");
    let mut rest = Vec::new();
    assert_eq!(client.0.read_to_end(&mut rest).expect("closed in the end"), 0);
    assert_eq!(play.world.runtime.stats().instances, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_of_aws_works() {
    let Some(python) = std::env::var_os("SQUALL_TEST_PYTHON") else {
        return eprintln!("skipped: SQUALL_TEST_PYTHON names no Python with awslambdaric");
    };
    let world = World::new();
    let python = python.to_string_lossy();
    let bootstrap = format!("#!/bin/sh\nexec {python} -m awslambdaric app.handler\n");
    let code = "def handler(e, c):\n    print('hi')\n    if e == 2: raise ValueError('two')\n    return [e, c.aws_request_id, c.client_context and c.client_context.custom]\n";
    let f = Arc::new(world.function("provided.al2023", "app.handler", &[("bootstrap", &bootstrap), ("app.py", code)]));
    let answer = world.invoke(&f, "1").await;
    assert_eq!(answer.json(), json!([1, answer.id, null]));
    assert!(answer.tail().contains("\nhi\nEND"), "{}", answer.tail());
    let answer = world.invoke(&f, "2").await;
    assert_eq!((&answer.json()["errorType"], answer.error()), (&json!("ValueError"), Some("Unhandled")));
    let broken =
        world.function("provided.al2023", "app.handler", &[("bootstrap", &bootstrap), ("app.py", "import absent")]);
    let answer = world.invoke(&Arc::new(broken), "1").await;
    assert_eq!(answer.json()["errorType"], "Runtime.ImportModuleError", "{}", answer.text());
}
