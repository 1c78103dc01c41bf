//! The machine's floors: what the same work costs with no cloud around it.

use crate::client::{Client, Target};
use crate::load::{self, Load};
use crate::report::Report;
use crate::stats::percentile;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Syncs of one run at most, and the time that they take at most.
const SYNCS_MAX: usize = 1000;
const SYNC_TIME_MAX: Duration = Duration::from_secs(1);
/// Starts of each program in one run.
const STARTS: usize = 10;

/// A language's interpreter of this host: the one that its usual command runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// The program itself; a version manager's shim on `PATH` would cost more than what is measured.
    pub path: PathBuf,
    /// The name of Lambda's runtime for it: `nodejs20.x`, `python3.11`.
    pub runtime: String,
}

/// The interpreters of this host.
#[derive(Clone, Debug)]
pub struct Interpreters {
    /// What `node` runs.
    pub node: Option<Interpreter>,
    /// What `python3` runs.
    pub python: Option<Interpreter>,
}

impl Interpreters {
    /// Asks `node` and `python3` for themselves.
    #[must_use]
    pub fn find() -> Self {
        let node = "console.log(process.execPath); console.log('nodejs' + process.versions.node.split('.')[0] + '.x')";
        let python = "import sys; print(sys.executable); print('python%d.%d' % sys.version_info[:2])";
        Self { node: ask("node", "-e", node), python: ask("python3", "-c", python) }
    }
}

fn ask(program: &str, flag: &str, code: &str) -> Option<Interpreter> {
    let out = Command::new(program).args([flag, code]).stderr(Stdio::null()).output().ok()?;
    parse(&String::from_utf8_lossy(&out.stdout))
}

/// Two lines: path and runtime.
fn parse(text: &str) -> Option<Interpreter> {
    let mut lines = text.lines();
    let (path, runtime) = (PathBuf::from(lines.next()?), lines.next()?.trim());
    (path.is_absolute() && !runtime.is_empty()).then(|| Interpreter { path, runtime: runtime.to_owned() })
}

/// Measures all floors.
///
/// # Errors
/// A file cannot be written, or a program not be run.
pub async fn measure(report: &mut Report, host: &Interpreters, length: Duration) -> Result<()> {
    report.add("floor.fdatasync_4k_us", fdatasync_us()?);
    report.add("floor.spawn_true_us", start_us(&mut Command::new("/bin/true"))?);
    if let Some(node) = &host.node {
        report.add("floor.nodejs_start_us", start_us(Command::new(&node.path).args(["-e", "0"]))?);
    }
    if let Some(python) = &host.python {
        report.add("floor.python_start_us", start_us(Command::new(&python.path).args(["-c", "pass"]))?);
        let mut bare = Command::new(&python.path);
        report.add("floor.python_bare_start_us", start_us(bare.args(["-I", "-S", "-c", "pass"]))?);
    }
    let target = Target { address: hello()?, signer: None };
    for workers in [1, 64] {
        let load = Load { workers, warmup: Duration::from_millis(100), length: length.min(Duration::from_secs(1)) };
        let outcome = load::run(load, &target, async |client: &mut Client, _| {
            let (status, _) = client.get("/").await?;
            ensure!(status == 200, "hello answers {status}");
            Ok(())
        });
        outcome.await?.report(report, &format!("floor.hello.c{workers}"));
    }
    Ok(())
}

/// Middle time to append 4 KiB and have it on the disk where the servers' data directories are.
fn fdatasync_us() -> Result<f64> {
    let mut file = tempfile::tempfile().context("make a file to sync")?;
    let (block, begin) = ([7_u8; 4096], Instant::now());
    let mut times = Vec::with_capacity(SYNCS_MAX);
    while times.len() < SYNCS_MAX && begin.elapsed() < SYNC_TIME_MAX {
        let start = Instant::now();
        file.write_all(&block).and_then(|()| file.sync_data()).context("append and sync")?;
        times.push(start.elapsed());
    }
    Ok(middle_us(&times))
}

/// Middle time from the start of a program to its end.
fn start_us(command: &mut Command) -> Result<f64> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut times = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let start = Instant::now();
        let status = command.status().with_context(|| format!("run {command:?}"))?;
        times.push(start.elapsed());
        ensure!(status.success(), "{command:?}: {status}");
    }
    Ok(middle_us(&times))
}

fn middle_us(times: &[Duration]) -> f64 {
    let mut nanos: Vec<u64> = times.iter().map(|t| u64::try_from(t.as_nanos()).unwrap_or(u64::MAX)).collect();
    nanos.sort_unstable();
    percentile(&nanos, 0.5) as f64 / 1000.0
}

/// Starts the smallest hyper server on a thread of its own, as the cloud is a process of its own: its address. The thread ends with
/// this program.
fn hello() -> Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("listen")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || runtime.block_on(serve(listener)));
    Ok(address)
}

async fn serve(listener: std::net::TcpListener) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(async |_: Request<Incoming>| {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello"))))
            });
            // A client that goes away is no error here.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_tells_path_and_runtime() {
        let found = parse("/usr/bin/node\nnodejs20.x\n").expect("both lines");
        assert_eq!((found.path.to_str(), found.runtime.as_str()), (Some("/usr/bin/node"), "nodejs20.x"));
        for text in ["", "/usr/bin/node\n", "node\nnodejs20.x\n"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_middle_is_in_microseconds() {
        assert_eq!(middle_us(&[30, 10, 20].map(Duration::from_micros)), 20.0);
    }
}
