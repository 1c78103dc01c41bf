//! The server's start, from its process to the first 200 of its health page, and its memory when idle.

use crate::client::Client;
use crate::machine::kib_of;
use crate::report::Report;
use crate::server::{Binary, Server};
use anyhow::{Context as _, Result, ensure};
use std::time::Duration;

/// Pools and spawners are filled in the background after the start; idle memory is read after this.
const IDLE_AFTER: Duration = Duration::from_secs(3);

/// Starts on an empty data directory and again on the same one; memory is that of the server's own process.
///
/// # Errors
/// The server does not start or does not stop.
pub async fn measure(report: &mut Report, binary: &Binary) -> Result<()> {
    let server = Server::start(binary, tempfile::tempdir().context("make a data directory")?, "sqlite")?;
    report.add("start.fresh_ms", first_answer(&server).await?);
    let folder = server.stop()?;
    let server = Server::start(binary, folder, "sqlite")?;
    report.add("start.again_ms", first_answer(&server).await?);
    tokio::time::sleep(IDLE_AFTER).await;
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", server.pid())).context("read the server's memory")?;
    let rss = kib_of(&status, "VmRSS").context("the server's memory")?;
    report.add("start.idle_rss_mib", rss as f64 / 1024.0);
    server.stop()?;
    Ok(())
}

/// Milliseconds from the start of the process to the answer.
async fn first_answer(server: &Server) -> Result<f64> {
    let mut client = Client::connect(&server.target).await?;
    let (status, _) = client.get("/_squall/health").await?;
    let took = server.started.elapsed();
    ensure!(status == 200, "the health page answers {status}");
    Ok(took.as_secs_f64() * 1000.0)
}
