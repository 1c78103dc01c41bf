//! Java functions: machines wait for them, one or a few at a time, so first calls are measured with a pause in which the next is made
//! ready.

use crate::client::Client;
use crate::functions::{Cloud, Language, PATIENCE, invoke, invoke_path};
use crate::report::Report;
use crate::stats::percentile;
use anyhow::{Context as _, Result, ensure};
use std::process::Command;
use std::time::{Duration, Instant};

/// Functions whose first invoke is measured in one run.
const COLD_FUNCTIONS: usize = 50;
/// Several times what a machine needs to start.
const PAUSE: Duration = Duration::from_millis(1500);
const SOURCE: &str = "public class index { public java.util.Map<String, Object> handler(java.util.Map<String, Object> event) { return event; } }";

/// The echo's class.
///
/// # Errors
/// This host has no compiler.
pub fn compile() -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("index.java"), SOURCE)?;
    let compiler = Command::new("javac").args(["--release", "11", "index.java"]).current_dir(folder.path()).output();
    let done = compiler.context("start javac (a JDK, of which the server needs none)")?;
    ensure!(done.status.success(), "javac: {}", String::from_utf8_lossy(&done.stderr));
    Ok(std::fs::read(folder.path().join("index.class"))?)
}

impl Cloud {
    /// First invokes that find a machine waiting.
    ///
    /// # Errors
    /// An operation failed, or the echo is not one.
    pub async fn cold_java(&self, report: &mut Report, language: &Language) -> Result<()> {
        report.note(format!("cold.java: {}, {PAUSE:?} after one another", language.runtime));
        let mut client = Client::connect(&self.target).await?;
        let mut names = Vec::with_capacity(COLD_FUNCTIONS);
        for _ in 0..COLD_FUNCTIONS {
            names.push(self.create_active(&mut client, language).await?);
        }
        // Deployed functions have machines made for them for a while.
        tokio::time::sleep(10 * PAUSE).await;
        let mut nanos = Vec::with_capacity(names.len());
        for name in &names {
            let (path, begin) = (invoke_path(name), Instant::now());
            tokio::time::timeout(PATIENCE, invoke(&mut client, &path)).await.context("a first invoke stalled")??;
            nanos.push(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX));
            tokio::time::sleep(PAUSE).await;
        }
        nanos.sort_unstable();
        for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
            report.add(&format!("cold.java.{name}_us"), percentile(&nanos, share) as f64 / 1000.0);
        }
        Ok(())
    }
}
