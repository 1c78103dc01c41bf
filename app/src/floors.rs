//! What this machine can do at best, measured: starting a program, a program in a sandbox, a fork of a zygote.

use crate::config::Settings;
use crate::rooms;
use anyhow::{Context as _, Result};
use squall_runtime::runtimes::{Family, Found};
use squall_sandbox::{Level, Mount, Sandbox, Spec, Start, Worker, ZYGOTE_LIBRARY, ZygoteSpec};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 21;
/// Sandboxes and forks that wait while something is measured.
const WAITING: usize = 4;
const PATIENCE: Duration = Duration::from_secs(10);

/// The smallest zygote that Python can be.
const ZYGOTE: &str = r#"
import ctypes, os
library = ctypes.PyDLL("/var/runtime/zygote.so")
ctypes.pythonapi.PyOS_BeforeFork()
library.squall_zygote_serve(3, b"", None, ctypes.byref(ctypes.c_uint32()))
os._exit(0)
"#;

/// What was measured, in the middle of [`ROUNDS`]; `None` where it cannot be here.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Floors {
    /// From a start to the end of `/bin/true`, plain.
    pub spawn_ms: Option<f64>,
    /// From a request to its execution in a prepared sandbox.
    pub sandbox_ms: Option<f64>,
    /// From a request to a fork of a bare Python that runs in a prepared sandbox, one waiting there for it.
    pub zygote_ms: Option<f64>,
}

/// Measures all of it.
///
/// # Errors
/// No sandbox can be made with these settings.
pub async fn measure(settings: &Settings, found: &[Found]) -> Result<Floors> {
    let mut floors = Floors { spawn_ms: spawn(), ..Floors::default() };
    if settings.isolation == Level::None {
        return Ok(floors);
    }
    let folder = tempfile::tempdir().context("make a temporary directory")?;
    let mut options = rooms::sandbox_options(settings)?;
    options.run_dir = folder.path().join("run");
    options.pool = WAITING;
    let sandbox = Sandbox::start(options).await?;
    floors.sandbox_ms = executed(&sandbox, folder.path()).await;
    let python = found.iter().find(|f| matches!(f.family, Family::Python(_)));
    if let (Some(python), Level::Full) = (python, settings.isolation) {
        floors.zygote_ms = forked(&sandbox, folder.path(), python).await;
    }
    sandbox.shutdown().await;
    Ok(floors)
}

fn middle(mut times: Vec<Duration>) -> Option<f64> {
    times.sort_unstable();
    times.get(times.len() / 2).map(|t| t.as_secs_f64() * 1000.0)
}

fn spawn() -> Option<f64> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        Command::new("/bin/true").env_clear().stdin(Stdio::null()).stdout(Stdio::null()).status().ok()?;
        times.push(started.elapsed());
    }
    middle(times)
}

fn spec(code: &Path) -> Spec {
    Spec {
        id: "floor".into(),
        argv: vec!["/bin/true".into()],
        env: Vec::new(),
        code: code.to_owned(),
        opt: None,
        mounts: Vec::new(),
        memory_bytes: 128 << 20,
        tmp_bytes: 512 << 20,
        pids_max: 64,
        cpu_shares: 1024,
        cpu_quota_percent: None,
        start: Start::Execute,
    }
}

/// The middle time to start one of these; waits before each until what it takes is prepared.
async fn rounds(sandbox: &Sandbox, spec: &Spec, waiting: usize) -> Option<f64> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let until = Instant::now() + PATIENCE;
        while sandbox.stats().ready < waiting && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let started = Instant::now();
        let worker: Worker = sandbox.spawn(spec.clone()).await.ok()?;
        times.push(started.elapsed());
        worker.wait().await;
    }
    middle(times)
}

async fn executed(sandbox: &Sandbox, folder: &Path) -> Option<f64> {
    let code = folder.join("code");
    std::fs::create_dir(&code).ok()?;
    rounds(sandbox, &spec(&code), WAITING).await
}

async fn forked(sandbox: &Sandbox, folder: &Path, python: &Found) -> Option<f64> {
    let client = folder.join("client");
    std::fs::create_dir(&client).ok()?;
    std::fs::write(client.join("zygote.so"), ZYGOTE_LIBRARY).ok()?;
    std::fs::write(client.join("zygote.py"), ZYGOTE).ok()?;
    let bind = |m: &squall_runtime::Mount| Mount { host: m.host.clone(), inside: m.inside.clone() };
    let mut mounts: Vec<Mount> = python.mounts.iter().map(bind).collect();
    mounts.push(Mount { host: client, inside: "/var/runtime".into() });
    let program = [python.exe_inside.as_os_str(), "-s".as_ref(), "-S".as_ref(), "/var/runtime/zygote.py".as_ref()];
    let zygote = ZygoteSpec {
        id: "floor".into(),
        argv: program.map(Into::into).to_vec(),
        env: Vec::new(),
        mounts: mounts.clone(),
        keeps_descriptors: false,
        is_stem: false,
    };
    let zygote = sandbox.start_zygote(zygote).await.ok()?;
    zygote.stock(WAITING);
    let mut spec = spec(&folder.join("code"));
    spec.mounts = mounts;
    spec.start = Start::Fork(zygote.number());
    rounds(sandbox, &spec, 2 * WAITING).await
}
