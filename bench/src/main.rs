//! Measures a started server against the project's speed targets: one command, a table, and JSON if asked for.
//!
//! Every run measures the machine's floors first (an fdatasync, an interpreter's start, an empty HTTP round trip), then a server
//! of its own with a data directory of its own, on a free loopback port. Figures are medians over the runs with their spread;
//! targets that are multiples of a floor use the floor of the same session. Nothing here outlives the command: every load has a
//! length, every wait a limit, and the server is stopped by its process id.
//!
//! Not here: correctness (`tests/`) and profiles. How to read the figures: `README.md` beside.

mod burst;
mod client;
mod ddb;
mod density;
mod floor;
mod functions;
mod java;
mod lambda;
mod load;
mod machine;
mod neighbours;
mod peers;
mod report;
mod sandbox;
mod server;
mod start;
mod state;
mod stats;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use functions::Cloud;
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
    /// Only this language in the parts `lambda` and `cold`: nodejs, python, native or wasm.
    #[arg(long)]
    language: Option<String>,
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
    /// All of functions: sandbox, lambda, cold, burst, density, beside.
    Runtime,
    /// A prepared sandbox, to the execution of a program in it.
    Sandbox,
    /// Warm invokes, through the Invoke API and through a route of an HTTP API.
    Lambda,
    /// First invokes of functions never run.
    Cold,
    /// Calls of a second each, 100 and 1,000 at once, from zero.
    Burst,
    /// Memory and processes of idle functions, and memory of an idle instance.
    Density,
    /// Latency beside hostile functions.
    Beside,
    /// Start of the server, and its idle memory.
    Start,
    /// State engines: PostgreSQL by pgbench, by its engine and through the server, beside SQLite; only when named.
    State,
}

impl Part {
    fn has(self, part: Part) -> bool {
        let runtime = [Part::Sandbox, Part::Lambda, Part::Cold, Part::Burst, Part::Density, Part::Beside];
        match self {
            Part::All => !matches!(part, Part::Growth | Part::State),
            Part::Runtime => runtime.contains(&part),
            _ => self == part,
        }
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
        if options.part.has(Part::Ddb) {
            step("ddb");
            let cloud = Server::start(&server, tempfile::tempdir().context("make a data directory")?, "sqlite")?;
            ddb::measure(&mut report, &cloud, "ddb", length).await?;
            drop(cloud);
            step("ddb on the memory engine");
            let folder = tempfile::tempdir().context("make a data directory")?;
            let in_memory = Server::start(&server, folder, "memory")?;
            ddb::measure(&mut report, &in_memory, "memory", length).await?;
            drop(in_memory);
            step("peers");
            peers::measure(&mut report, length).await?;
        }
        runtime(&mut report, options, &server, &host, &step).await?;
    }
    Ok(report)
}

/// What functions cost, as far as it is asked for; a server for each part, so that none meets what another left.
async fn runtime(
    report: &mut Report,
    options: &Options,
    binary: &server::Binary,
    host: &floor::Interpreters,
    step: &impl Fn(&str),
) -> Result<()> {
    let (part, length) = (options.part, Duration::from_secs_f64(options.secs));
    let start = async || {
        let server = Server::start(binary, tempfile::tempdir().context("make a data directory")?, "sqlite")?;
        let cloud = Cloud::prepare(&server, host, options.sdk_dir.is_some()).await?;
        anyhow::Ok((server, cloud))
    };
    if part.has(Part::Sandbox) {
        step("sandbox");
        sandbox::measure(report, binary).await?;
    }
    if part.has(Part::Lambda) || part.has(Part::Cold) {
        let (_server, cloud) = start().await?;
        let native = cloud.native();
        if let Err(e) = &native {
            report.note(format!("native functions are not measured: {e:#}"));
        }
        let wasm = cloud.wasm();
        if let Err(e) = &wasm {
            report.note(format!("WebAssembly is not measured: {e:#}"));
        }
        for language in cloud.languages().iter().chain(native.as_ref().ok()).chain(wasm.as_ref().ok()) {
            if options.language.as_ref().is_some_and(|only| only != language.name) {
                continue;
            }
            if part.has(Part::Lambda) {
                step(&format!("lambda, {}", language.runtime));
                cloud.warm(report, language, length, "lambda", &[1, 64]).await?;
            }
            if part.has(Part::Lambda) && cloud.languages().iter().any(|interpreted| interpreted.name == language.name) {
                cloud.route(report, language, length).await?;
            }
            if part.has(Part::Cold) {
                step(&format!("cold, {}", language.runtime));
                cloud.cold(report, language).await?;
            }
        }
        if part.has(Part::Cold) {
            step("cold, Java");
            match cloud.java() {
                Ok(language) => cloud.cold_java(report, &language).await?,
                Err(e) => report.note(format!("Java is not measured: {e:#}")),
            }
        }
    }
    if part.has(Part::Burst) {
        for (at, width) in burst::WIDTHS.into_iter().flat_map(|width| [(0, width), (1, width)]) {
            let (server, cloud) = start().await?;
            if let Some(language) = cloud.languages().get(at) {
                step(&format!("burst of {width}, {}", language.runtime));
                cloud.burst(report, language, width, server.pid()).await?;
            }
        }
    }
    if part.has(Part::Density) {
        step("density");
        let (server, cloud) = start().await?;
        for language in cloud.languages() {
            cloud.idle_instance(report, language, server.pid()).await?;
        }
        drop(server);
        let (server, cloud) = start().await?;
        cloud.idle_functions(report, server.pid()).await?;
    }
    if part.has(Part::Beside) {
        let (_server, cloud) = start().await?;
        if let Some(python) = cloud.languages().iter().find(|language| language.name == "python") {
            step("beside hostile functions");
            cloud.neighbours(report, python, length).await?;
        }
    }
    Ok(())
}
