//! `cargo run --release -p squall-bench -- [all|ddb|lambda|cold|start]`: speed of a release build, beside what this machine can
//! do at best (see README.md).

mod client;
mod floors;
mod groups;
mod load;
mod report;
mod server;

use anyhow::{Context, Result, bail};
use clap::Parser;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Measures a release build beside the floors of this machine.
#[derive(Debug, Parser)]
pub struct Args {
    /// What to measure: all, ddb, lambda, cold or start.
    #[arg(default_value = "all")]
    group: String,
    /// Runs of each measurement; the median counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Seconds of each run.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Writes the results to this file too.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The program to measure, instead of building it.
    #[arg(long)]
    squall: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let squall = match &args.squall {
        Some(path) => std::path::absolute(path)?,
        None => build()?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = report::Report::new();
    runtime.block_on(async {
        let bench = groups::Bench { squall, runs: args.runs.max(1), time: Duration::from_secs_f64(args.seconds) };
        let all = args.group == "all";
        if !all && !["start", "ddb", "lambda", "cold"].contains(&args.group.as_str()) {
            bail!("{}: expected all, ddb, lambda, cold or start", args.group);
        }
        let wants = |group: &str| all || args.group == group;
        if wants("start") {
            bench.start(&mut report).await?;
        }
        if wants("ddb") {
            bench.ddb(&mut report).await?;
        }
        if wants("lambda") {
            bench.lambda(&mut report).await?;
        }
        if wants("cold") {
            bench.cold(&mut report).await?;
        }
        Ok(())
    })?;
    report.print();
    if let Some(file) = &args.json {
        std::fs::write(file, report.json()).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

/// Builds the program in the profile of this one's own and says where it is.
fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--package", "squall"]);
    if !command.status().context("start cargo")?.success() {
        bail!("squall does not build");
    }
    let me = std::env::current_exe().context("find this program")?;
    let squall = me.with_file_name("squall");
    if cfg!(debug_assertions) {
        bail!("benches are for release builds: cargo run --release -p squall-bench");
    }
    Ok(squall)
}
