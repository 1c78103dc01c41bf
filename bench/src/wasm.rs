//! Functions in WebAssembly through the Invoke API: warm invokes, and first invokes of functions that never ran.

use crate::client::{Client, Target};
use crate::lambda::{COLD_FUNCTIONS, PATIENCE, active, found, invoke, invoke_path, role};
use crate::load::{self, Load};
use crate::report::Report;
use crate::server::Server;
use crate::stats::percentile;
use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::io::Write as _;
use std::time::{Duration, Instant};

const ECHO: &str = include_str!("../../tests/clients/wasm/echo.wat");

/// Warm invokes at 1 and 64 callers, and first invokes.
///
/// # Errors
/// An operation failed, or the echo is not one.
pub async fn measure(report: &mut Report, server: &Server, length: Duration, warm: bool, cold: bool) -> Result<()> {
    let mut client = Client::connect(&server.target).await?;
    if !found(&mut client).await?.iter().any(|id| id == "wasm") {
        report.note("lambda.wasm: not in this build".into());
        return Ok(());
    }
    let role = role(&mut client, "bench-wasm").await?;
    if warm {
        let path = invoke_path(&create(&mut client, &role, "wasm-warm").await?);
        for workers in [1, 64] {
            let load = Load { workers, warmup: Duration::from_secs(1), length };
            let path = path.clone();
            let outcome =
                load::run(load, &server.target, async move |client: &mut Client, _| invoke(client, &path).await);
            outcome.await?.report(report, &format!("lambda.wasm.c{workers}"));
        }
    }
    if cold {
        first(report, &server.target, &role).await?;
    }
    Ok(())
}

async fn first(report: &mut Report, target: &Target, role: &str) -> Result<()> {
    let mut client = Client::connect(target).await?;
    let mut names = Vec::with_capacity(COLD_FUNCTIONS);
    for n in 0..COLD_FUNCTIONS {
        names.push(create(&mut client, role, &format!("wasm-{n}")).await?);
    }
    // What the creations began in the background is not part of an invoke.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut nanos = Vec::with_capacity(names.len());
    for name in &names {
        let (path, begin) = (invoke_path(name), Instant::now());
        tokio::time::timeout(PATIENCE, invoke(&mut client, &path)).await.context("a first invoke stalled")??;
        nanos.push(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    nanos.sort_unstable();
    report.add("cold.wasm.p50_us", percentile(&nanos, 0.5) as f64 / 1000.0);
    report.add("cold.wasm.p99_us", percentile(&nanos, 0.99) as f64 / 1000.0);
    Ok(())
}

/// Creates an echo with a module of its own: its name.
async fn create(client: &mut Client, role: &str, name: &str) -> Result<String> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("bootstrap.wasm", zip::write::SimpleFileOptions::default().unix_permissions(0o644))?;
    zip.write_all(&module(name)?)?;
    let function = json!({
        "FunctionName": name,
        "Runtime": "wasm",
        "Role": role,
        "Handler": "bootstrap.wasm",
        "MemorySize": 128,
        "Timeout": 30,
        "Code": {"ZipFile": STANDARD.encode(zip.finish()?.into_inner())},
    });
    let headers = [("content-type", "application/json")];
    client.call("lambda", ("POST", "/2015-03-31/functions"), &headers, function.to_string()).await?;
    active(client, name).await?;
    Ok(name.to_owned())
}

/// The echo, with a custom section that keeps it from being one module with others.
fn module(name: &str) -> Result<Vec<u8>> {
    let mut module = wat::parse_str(ECHO).context("assemble the echo")?;
    let length = u8::try_from(name.len()).context("a short name")?;
    module.extend_from_slice(&[0, length + 1, length]);
    module.extend_from_slice(name.as_bytes());
    Ok(module)
}
