//! A launcher without isolation: the worker is a plain process with the server's own rights.
//!
//! For tests of this crate and for hosts whose operator has asked for no isolation by name. The Runtime API and the endpoint
//! listen on free loopback ports of the host; limits on memory and `/tmp` are not enforced.

use crate::launch::{ENDPOINT, Exit, LaunchError, Launcher, RUNTIME_API, Spec, Started, Worker};
use async_trait::async_trait;
use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use tokio::process::Command;
use tokio::sync::{oneshot, watch};

/// Starts plain processes.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessLauncher;

struct Process {
    pid: u32,
    exit: watch::Receiver<Option<Exit>>,
    kill: parking_lot::Mutex<Option<oneshot::Sender<()>>>,
}

#[async_trait]
impl Launcher for ProcessLauncher {
    async fn spawn(&self, spec: Spec) -> Result<Started, LaunchError> {
        let id = spec.id.clone();
        start(spec).map_err(|e| LaunchError(format!("{id}: {e}")))
    }

    fn is_on_host_paths(&self) -> bool {
        true
    }
}

fn start(spec: Spec) -> io::Result<Started> {
    let runtime_api = TcpListener::bind("127.0.0.1:0")?;
    let endpoint = TcpListener::bind("127.0.0.1:0")?;
    let (api_address, endpoint_address) = (runtime_api.local_addr()?, endpoint.local_addr()?);
    let (reader, writer) = io::pipe()?;
    let mut argv = spec.argv.into_iter();
    let program = argv.next().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program"))?;
    let env = spec.env.into_iter().map(|(name, value)| {
        let value = match name.to_str() {
            Some("AWS_LAMBDA_RUNTIME_API") if value == RUNTIME_API => OsString::from(api_address.to_string()),
            Some("AWS_ENDPOINT_URL") if value == *format!("http://{ENDPOINT}") => {
                format!("http://{endpoint_address}").into()
            }
            _ => value,
        };
        (name, value)
    });
    let mut child = Command::new(program)
        .args(argv)
        .env_clear()
        .envs(env)
        .current_dir(&spec.code)
        .stdin(Stdio::null())
        .stdout(Stdio::from(writer.try_clone()?))
        .stderr(Stdio::from(writer))
        .kill_on_drop(true)
        .spawn()?;
    let pid = child.id().unwrap_or(0);
    let (exited, exit) = watch::channel(None);
    let (kill, mut killed) = oneshot::channel();
    tokio::spawn(async move {
        let status = tokio::select! {
            status = child.wait() => status,
            // A sender that is dropped says the same as one that is used.
            _ = &mut killed => {
                let _ = child.start_kill();
                child.wait().await
            }
        };
        let exit = status.map_or_else(|_| Exit::default(), |s| Exit { code: s.code(), signal: s.signal(), oom: false });
        let _ = exited.send(Some(exit));
    });
    let worker = Process { pid, exit, kill: parking_lot::Mutex::new(Some(kill)) };
    Ok(Started { worker: Box::new(worker), runtime_api, endpoint, output: reader.into(), egress: None })
}

#[async_trait]
impl Worker for Process {
    async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        exit.wait_for(Option::is_some).await.ok().and_then(|e| *e).unwrap_or_default()
    }

    fn kill(&self) {
        self.kill.lock().take();
    }

    fn freeze(&self) -> io::Result<()> {
        // A stopped process would look the same, but a signal to a reused pid would not: nothing is stopped at this level.
        Ok(())
    }

    fn thaw(&self) -> io::Result<()> {
        Ok(())
    }

    fn memory_peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        let kib = line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }

    fn oom_killed(&self) -> bool {
        false
    }
}
