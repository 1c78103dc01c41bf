//! Functions without processes: the launcher starts a task that speaks the Runtime API and does what the package's
//! `bootstrap` says.
//!
//! | `bootstrap` | answer |
//! |---|---|
//! | `echo` | the event |
//! | `say JSON` | that JSON |
//! | `header NAME` | the header of the event with that name, as JSON text |
//! | `env NAME` | the environment variable, as JSON text |
//! | `fail` | an error, as long as [`Fake::is_well`] is false |
//! | `hold` | the event, once [`Fake::gate`] gives a permit |
//! | `exit` | none: the process ends |
//! | `nothing` | no process at all: it cannot be started |

use async_trait::async_trait;
use parking_lot::Mutex;
use squall_runtime::{Exit, LaunchError, Launcher, Spec, Started, Worker};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

/// The launcher and its knobs.
#[derive(Clone)]
pub struct Fake(Arc<Knobs>);

pub struct Knobs {
    /// `fail` succeeds.
    pub is_well: AtomicBool,
    /// Each permit lets one `hold` go on.
    pub gate: Semaphore,
    /// Events that functions have taken.
    pub taken: AtomicUsize,
}

impl Default for Fake {
    fn default() -> Self {
        Self(Arc::new(Knobs { is_well: AtomicBool::new(false), gate: Semaphore::new(0), taken: AtomicUsize::new(0) }))
    }
}

impl std::ops::Deref for Fake {
    type Target = Knobs;

    fn deref(&self) -> &Knobs {
        &self.0
    }
}

impl Knobs {
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

struct Task {
    abort: AbortHandle,
    exit: watch::Receiver<Option<Exit>>,
    end: Mutex<Option<watch::Sender<Option<Exit>>>>,
}

#[async_trait]
impl Launcher for Fake {
    async fn spawn(&self, spec: Spec) -> Result<Started, LaunchError> {
        let failed = |e: io::Error| LaunchError(e.to_string());
        let script = std::fs::read_to_string(spec.code.join("bootstrap")).map_err(failed)?;
        if script == "nothing" {
            return Err(LaunchError("no process".into()));
        }
        let runtime_api = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let endpoint = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let address = runtime_api.local_addr().map_err(failed)?;
        let (reader, writer) = io::pipe().map_err(failed)?;
        let env = spec.env.iter().map(|(k, v)| (k.to_string_lossy().into(), v.to_string_lossy().into())).collect();
        let (exited, exit) = watch::channel(None);
        let knobs = self.clone();
        let done = exited.clone();
        let task = tokio::spawn(async move {
            let code = serve(address, &script, env, &knobs, writer).await.map_or(1, |()| 0);
            let _ = done.send(Some(Exit { code: Some(code), ..Exit::default() }));
        });
        let worker = Task { abort: task.abort_handle(), exit, end: Mutex::new(Some(exited)) };
        Ok(Started { worker: Box::new(worker), runtime_api, endpoint, output: reader.into(), egress: None })
    }
}

#[async_trait]
impl Worker for Task {
    async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        exit.wait_for(Option::is_some).await.ok().and_then(|e| *e).unwrap_or_default()
    }

    fn kill(&self) {
        self.abort.abort();
        if let Some(end) = self.end.lock().take() {
            let _ = end.send(Some(Exit { signal: Some(9), ..Exit::default() }));
        }
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

/// A message of HTTP: its head's lines and its body.
struct Message {
    head: Vec<String>,
    body: Vec<u8>,
}

impl Message {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.iter().filter_map(|l| l.split_once(':'));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()).next()
    }
}

async fn exchange(stream: &mut BufReader<TcpStream>, request: &[u8]) -> io::Result<Message> {
    stream.write_all(request).await?;
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let mut message = Message { head, body: Vec::new() };
    let size = message.header("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
    message.body.resize(size, 0);
    stream.read_exact(&mut message.body).await?;
    Ok(message)
}

async fn serve(
    api: SocketAddr,
    script: &str,
    env: Vec<(String, String)>,
    knobs: &Knobs,
    mut output: io::PipeWriter,
) -> io::Result<()> {
    let mut stream = BufReader::new(TcpStream::connect(api).await?);
    let (verb, rest) = script.split_once(' ').unwrap_or((script, ""));
    loop {
        let next = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n";
        let event = exchange(&mut stream, next).await?;
        knobs.taken.fetch_add(1, Ordering::SeqCst);
        let id = event.header("lambda-runtime-aws-request-id").unwrap_or_default().to_owned();
        writeln!(output, "handling {id}")?;
        let quoted = |text: Option<&str>| serde_json::json!(text).to_string().into_bytes();
        let answer = match verb {
            "echo" => Ok(event.body),
            "say" => Ok(rest.as_bytes().to_vec()),
            "header" => Ok(quoted(event.header(rest))),
            "env" => Ok(quoted(env.iter().find(|(k, _)| k == rest).map(|(_, v)| v.as_str()))),
            "fail" if knobs.is_well.load(Ordering::SeqCst) => Ok(event.body),
            "hold" => {
                knobs.gate.acquire().await.map_err(io::Error::other)?.forget();
                Ok(event.body)
            }
            "exit" => return Ok(()),
            _ => Err(br#"{"errorMessage":"no","errorType":"Error"}"#.to_vec()),
        };
        let (kind, body) = match answer {
            Ok(body) => ("response", body),
            Err(body) => ("error", body),
        };
        let mut request = format!(
            "POST /2018-06-01/runtime/invocation/{id}/{kind} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend(body);
        exchange(&mut stream, &request).await?;
    }
}
