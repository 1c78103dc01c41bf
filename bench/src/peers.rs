//! What others do on the same machine in the same run: Redis that syncs each write, and dynalite. Measured where the programs
//! are on the path; a note says which are not.

use crate::client::{Signer, Target};
use crate::load::{self, Load, Outcome};
use crate::report::Report;
use crate::stats::percentile;
use crate::{client::Client, ddb};
use anyhow::{Context as _, Result, bail};
use std::cell::RefCell;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const READY_TIMEOUT: Duration = Duration::from_secs(20);
const PAYLOAD_BYTES: usize = 1024;
/// Longest answer that is read: a value with its head.
const ANSWER_BYTES_MAX: usize = PAYLOAD_BYTES + 64;

/// Measures every peer that is here.
///
/// # Errors
/// A peer is here and does not work.
pub async fn measure(report: &mut Report, length: Duration) -> Result<()> {
    match find("redis-server") {
        Some(program) => redis(report, program, length).await.context("measure Redis")?,
        None => report.note("redis-server is not on the path: not measured".into()),
    }
    match find("dynalite") {
        Some(program) => dynalite(report, program, length).await.context("measure dynalite")?,
        None => report.note("dynalite is not on the path (npm install -g dynalite): not measured".into()),
    }
    Ok(())
}

fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// A process that ends with this value.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A loopback address that nobody listens on; the peer takes it a moment later.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

async fn listening(address: SocketAddr) -> Result<()> {
    let until = Instant::now() + READY_TIMEOUT;
    while TcpStream::connect(address).await.is_err() {
        if Instant::now() > until {
            bail!("it did not listen within {READY_TIMEOUT:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn dynalite(report: &mut Report, program: PathBuf, length: Duration) -> Result<()> {
    let (folder, address) = (tempfile::tempdir()?, free_address()?);
    let mut command = Command::new(program);
    command.args(["--host", "127.0.0.1", "--port", &address.port().to_string(), "--createTableMs", "0"]);
    command.arg("--path").arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _peer = Peer(command.spawn().context("start it")?);
    listening(address).await?;
    // It checks that a signature is there, not whose it is.
    let signer = Signer::new("AKIAIOSFODNN7EXAMPLE", "secret", "us-east-1");
    let target = Target { address, signer: Some(Rc::new(signer)) };
    let mut client = Client::connect(&target).await?;
    ddb::create_table(&mut client).await?;
    for workers in [1, 64] {
        let load = Load { workers, warmup: Duration::from_millis(300), length };
        let payload = "x".repeat(PAYLOAD_BYTES);
        let puts = load::run(load, &target, async move |client: &mut Client, n: u64| {
            client.dynamodb("PutItem", ddb::put(&format!("read-{}", n % 64), n / 64 % 16, &payload)).await.map(drop)
        });
        puts.await?.report(report, &format!("peer.dynalite.put_1k.c{workers}"));
        let gets = load::run(load, &target, async |client: &mut Client, n: u64| {
            client.dynamodb("GetItem", ddb::get(n % 64, n / 64 % 16)).await.map(drop)
        });
        gets.await?.report(report, &format!("peer.dynalite.get_1k.c{workers}"));
    }
    Ok(())
}

async fn redis(report: &mut Report, program: PathBuf, length: Duration) -> Result<()> {
    let (folder, address) = (tempfile::tempdir()?, free_address()?);
    let mut command = Command::new(program);
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]).arg("--dir").arg(folder.path());
    command.args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _peer = Peer(command.spawn().context("start it")?);
    listening(address).await?;
    let payload = "x".repeat(PAYLOAD_BYTES);
    for workers in [1, 64] {
        let value = payload.clone();
        let set = move |n: u64| {
            let key = format!("k{}", n % 997);
            format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${PAYLOAD_BYTES}\r\n{value}\r\n", key.len())
        };
        let sets = commands(address, workers, length, b"+OK\r\n".len(), set).await?;
        sets.report(report, &format!("peer.redis.set_1k.c{workers}"));
        let get = |n: u64| {
            let key = format!("k{}", n % 97);
            format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len())
        };
        let gets = commands(address, workers, length, format!("${PAYLOAD_BYTES}\r\n").len() + PAYLOAD_BYTES + 2, get);
        gets.await?.report(report, &format!("peer.redis.get_1k.c{workers}"));
    }
    Ok(())
}

/// A closed loop of Redis commands whose answers all have the same length.
async fn commands(
    address: SocketAddr,
    workers: usize,
    length: Duration,
    answer_bytes: usize,
    command: impl Fn(u64) -> String + 'static,
) -> Result<Outcome> {
    let (command, latencies) = (Rc::new(command), Rc::new(RefCell::new(Vec::<u64>::new())));
    let mut tasks = tokio::task::JoinSet::new();
    let begin = Instant::now();
    for worker in 0..workers as u64 {
        let (command, latencies) = (command.clone(), latencies.clone());
        tasks.spawn_local(async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let mut answer = [0; ANSWER_BYTES_MAX];
            for n in 0.. {
                let sent = Instant::now();
                if sent - begin > length {
                    break;
                }
                stream.write_all(command(worker + n * workers as u64).as_bytes()).await?;
                let answer = answer.get_mut(..answer_bytes).context("a short answer")?;
                stream.read_exact(answer).await?;
                anyhow::ensure!(!answer.starts_with(b"-"), "Redis says {}", String::from_utf8_lossy(answer));
                latencies.borrow_mut().push(u64::try_from(sent.elapsed().as_nanos()).unwrap_or(u64::MAX));
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    let took = begin.elapsed().as_secs_f64();
    let mut sorted = latencies.take();
    sorted.sort_unstable();
    let us = |share| percentile(&sorted, share) as f64 / 1000.0;
    Ok(Outcome { p50_us: us(0.5), p99_us: us(0.99), per_s: sorted.len() as f64 / took })
}
