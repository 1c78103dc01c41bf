//! The sandbox alone: from the order to the program that is being executed in a prepared sandbox, the pool full before each.

use crate::report::Report;
use crate::server::Binary;
use crate::stats::percentile;
use anyhow::{Context as _, Result, bail};
use squall_sandbox::{Level, Options, Reach, Sandbox, Spec, Start};
use std::path::Path;
use std::time::{Duration, Instant};

/// The first argument that makes the server's program the spawner.
const SPAWNER: &str = "__spawner";
const POOL: usize = 6;
const ROUNDS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a spawner of its own; without root, as full isolation needs it, nothing is measured and a note says so.
///
/// # Errors
/// A sandbox cannot be had although the level is there.
pub async fn measure(report: &mut Report, binary: &Binary) -> Result<()> {
    let folder = tempfile::tempdir().context("make a folder")?;
    let code = folder.path().join("code");
    std::fs::create_dir(&code)?;
    let options = Options {
        level: Level::Full,
        run_dir: folder.path().join("run"),
        pool: POOL,
        spawner_exe: binary.path().to_owned(),
        spawner_args: vec![SPAWNER.into()],
        egress: Reach::IfPossible(squall_sandbox::Egress::internet()),
    };
    let sandbox = match Sandbox::start(options).await {
        Ok(sandbox) => sandbox,
        Err(e) => {
            report.note(format!("sandbox: not measured: {e}"));
            return Ok(());
        }
    };
    let mut nanos = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        full(&sandbox).await?;
        let begin = Instant::now();
        let worker = sandbox.spawn(spec(&code)).await?;
        nanos.push(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX));
        worker.wait().await;
    }
    sandbox.shutdown().await;
    nanos.sort_unstable();
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        report.add(&format!("sandbox.ready.{name}_us"), percentile(&nanos, share) as f64 / 1000.0);
    }
    Ok(())
}

async fn full(sandbox: &Sandbox) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while sandbox.stats().ready < POOL {
        if Instant::now() > deadline {
            bail!("the pool of sandboxes does not fill up");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // What prepared the last one is still at work for a moment.
    tokio::time::sleep(Duration::from_millis(5)).await;
    Ok(())
}

fn spec(code: &Path) -> Spec {
    Spec {
        id: "bench".into(),
        argv: vec!["/usr/bin/true".into()],
        env: vec![("PATH".into(), "/usr/bin".into())],
        code: code.to_owned(),
        opt: None,
        mounts: Vec::new(),
        memory_bytes: 128 << 20,
        tmp_bytes: 512 << 20,
        pids_max: 1024,
        cpu_shares: 1024,
        cpu_quota_percent: None,
        start: Start::Execute,
    }
}
