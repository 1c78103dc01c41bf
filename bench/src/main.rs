//! Measures a started server against the project's speed targets: one command, a table, and JSON if asked for.
//!
//! Every run measures the machine's floors first (an fdatasync, an interpreter's start, an empty HTTP round trip), then a server
//! of its own with a data directory of its own, on a free loopback port. Figures are medians over the runs with their spread;
//! targets that are multiples of a floor use the floor of the same session. Nothing here outlives the command: every load has a
//! length, every wait a limit, and the server is stopped by its process id.
//!
//! Not here: correctness (`tests/`) and profiles. How to read the figures: `README.md` beside.

mod client;
mod ddb;
mod floor;
mod lambda;
mod load;
mod machine;
mod peers;
mod report;
mod server;
mod start;
mod state;
mod stats;
mod wasm;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use report::Report;
use server::Server;
use std::path::PathBuf;
use std::time::Duration;

/// Measures Squall against its speed targets.
#[derive(Debug, Parser)]
#[command(name = "squall-bench")]
struct Options {
    /// What to measure; floors are always measured.
    #[arg(value_enum, default_value = "all")]
    part: Part,
    /// Length of each load in seconds, 0.1 to 60.
    #[arg(long, default_value_t = 2.0)]
    secs: f64,
    /// Runs, 1 to 100; the table shows their median, least and greatest.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Also write the result as JSON to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The server's binary [default: `squall` beside this program].
    #[arg(long)]
    server: Option<PathBuf>,
    /// Rows that the table of part `growth` reaches.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Folder with SDKs for functions, handed to the server. Without it functions have none; nothing is ever downloaded.
    #[arg(long)]
    sdk_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Everything.
    All,
    /// The machine alone.
    Floor,
    /// DynamoDB items, durable and on the memory engine, beside Redis and dynalite where this host has them.
    Ddb,
    /// DynamoDB items in a table that grows to `--rows`; only when named.
    Growth,
    /// Warm invokes.
    Lambda,
    /// First invokes of functions never run.
    Cold,
    /// Start of the server, and its idle memory.
    Start,
    /// State engines: PostgreSQL by pgbench, by its engine and through the server, beside SQLite; only when named.
    State,
}

impl Part {
    fn has(self, part: Part) -> bool {
        self == part || (self == Part::All && !matches!(part, Part::Growth | Part::State))
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!((0.1..=60.0).contains(&options.secs), "--secs {}: expected 0.1 to 60", options.secs);
    ensure!((1..=100).contains(&options.runs), "--runs {}: expected 1 to 100", options.runs);
    // One thread: the client shares the cores with the server and must cost it little.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let report = local.block_on(&runtime, measure(&options))?;
    print!("{}", report.table());
    if let Some(path) = &options.json {
        let result = report.json(&machine::describe(&std::env::temp_dir()), options.secs, options.runs);
        let text = serde_json::to_string_pretty(&result)? + "\n";
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

async fn measure(options: &Options) -> Result<Report> {
    let mut report = Report::default();
    let length = Duration::from_secs_f64(options.secs);
    let server = server::Binary::find(options.server.as_deref(), options.sdk_dir.as_deref())?;
    let host = floor::Interpreters::find();
    for run in 1..=options.runs {
        let step = |what: &str| eprintln!("run {run} of {}: {what}", options.runs);
        step("floors");
        floor::measure(&mut report, &host, length).await?;
        if options.part.has(Part::Start) {
            step("start");
            start::measure(&mut report, &server).await?;
        }
        if options.part == Part::State {
            step("state engines");
            state::measure(&mut report, &server, &host, length).await?;
            continue;
        }
        if options.part == Part::Growth {
            step("growth");
            let cloud = Server::start(&server, tempfile::tempdir().context("make a data directory")?, "sqlite")?;
            let sizes: Vec<u64> = [10_000, 1_000_000, 10_000_000].into_iter().filter(|n| *n <= options.rows).collect();
            ddb::growth(&mut report, &cloud, length, &sizes).await?;
            continue;
        }
        if ![Part::Ddb, Part::Lambda, Part::Cold].iter().any(|part| options.part.has(*part)) {
            continue;
        }
        let cloud = Server::start(&server, tempfile::tempdir().context("make a data directory")?, "sqlite")?;
        if options.part.has(Part::Ddb) {
            step("ddb");
            ddb::measure(&mut report, &cloud, "ddb", length).await?;
            step("ddb on the memory engine");
            let folder = tempfile::tempdir().context("make a data directory")?;
            let in_memory = Server::start(&server, folder, "memory")?;
            ddb::measure(&mut report, &in_memory, "memory", length).await?;
            drop(in_memory);
            step("peers");
            peers::measure(&mut report, length).await?;
        }
        let (warm, cold) = (options.part.has(Part::Lambda), options.part.has(Part::Cold));
        if warm || cold {
            step("wasm");
            wasm::measure(&mut report, &cloud, length, warm, cold).await?;
        }
        if options.part.has(Part::Lambda) || options.part.has(Part::Cold) {
            let cloud = lambda::Cloud::prepare(&cloud, &host, options.sdk_dir.is_some()).await?;
            for language in cloud.languages() {
                if options.part.has(Part::Lambda) {
                    step(&format!("lambda, {}", language.runtime));
                    cloud.warm(&mut report, language, length, "lambda", &[1, 64]).await?;
                }
                if options.part.has(Part::Cold) {
                    step(&format!("cold, {}", language.runtime));
                    cloud.cold(&mut report, language).await?;
                }
            }
        }
    }
    Ok(report)
}
