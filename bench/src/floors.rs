//! What this machine can do at best: a sync, a bare interpreter, a bare HTTP server.

use crate::client::Request;
use crate::load::{self, Maker, Run, percentile};
use anyhow::{Context, Result, bail};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Median milliseconds of a 4 KiB write and `fdatasync` in that folder.
pub fn fdatasync(folder: &Path) -> Result<f64> {
    let mut file = tempfile::tempfile_in(folder).context("make a file to sync")?;
    let mut times = Vec::new();
    for _ in 0..300 {
        let begin = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok(percentile(&times, 0.5))
}

/// Median milliseconds from the start of a bare interpreter to its end, doing nothing. `where_is` makes it print its own path:
/// what stands on `PATH` may be a version manager's script, which takes longer than the interpreter.
pub fn interpreter(program: &str, where_is: &[&str], args: &[&str]) -> Result<f64> {
    let found = Command::new(program).args(where_is).output().with_context(|| format!("start {program}"))?;
    let program = String::from_utf8(found.stdout).context("the interpreter's path")?;
    let program = program.trim();
    let mut times = Vec::new();
    for _ in 0..20 {
        let begin = Instant::now();
        let mut command = Command::new(program);
        let status = command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).status();
        if !status.with_context(|| format!("start {program}"))?.success() {
            bail!("{program} {args:?} failed");
        }
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok(percentile(&times, 0.5))
}

/// Requests to a server on a thread of its own that reads a request and answers the same bytes.
pub async fn hello(callers: usize, time: Duration) -> Result<Run> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address: SocketAddr = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
        });
    });
    let headers = vec![("content-type", "application/json".to_owned())];
    let request = Request { service: "", method: "POST", path: "/".into(), headers, body: vec![b'x'; 1024] };
    let make: Maker = Arc::new(move |_| request.clone());
    load::run(address, None, callers, time, &make).await
}

async fn answer(mut stream: tokio::net::TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    loop {
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        // The one request that is sent here: head, then 1 KiB.
        let whole = buffer.windows(4).position(|w| w == b"\r\n\r\n").is_some_and(|end| buffer.len() >= end + 4 + 1024);
        if whole {
            buffer.clear();
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.is_err() {
                return;
            }
        }
    }
}
