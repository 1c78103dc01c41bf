//! `squall export` and `squall import`.

use crate::cli::{Export, Import};
use crate::config::Settings;
use crate::engine::{self, Engine};
use crate::moving::{file, source, target};
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde_json::json;
use squall_deploy::client::{Call, Client};
use squall_types::SystemClock;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Bytes after which progress is told.
const STEP_BYTES: u64 = 64 << 20;

fn say(text: &str) {
    eprintln!("  {text}");
}

/// `squall export`.
///
/// # Errors
/// The file exists, the cloud refuses, or the export breaks off: the file is removed then.
pub async fn export(args: Export) -> Result<ExitCode> {
    if args.file.exists() {
        bail!("{} exists: exports are never written over", args.file.display());
    }
    let done = match args.stopped {
        true => export_stopped(&args).await,
        false => export_running(&args).await,
    };
    let checked = match done {
        Ok(()) => file::check_file(&args.file, None),
        Err(e) => Err(e),
    };
    if checked.is_err() {
        let _ = std::fs::remove_file(&args.file);
    }
    let (head, digests, bytes) = checked?;
    if args.json {
        print_json(&json!({ "file": args.file, "bytes": bytes, "from": head, "held": digests }))?;
    } else {
        println!("wrote {} ({bytes} bytes) from {}", args.file.display(), head.engine);
        print!("{}", digests.table());
    }
    Ok(ExitCode::SUCCESS)
}

async fn export_running(args: &Export) -> Result<()> {
    let endpoint = crate::credentials::endpoint(&args.connect)?;
    let client = Client::new(endpoint, Arc::new(SystemClock))?;
    let call = Call { service: "squall", method: "POST", path: "/_squall/export", ..Call::default() };
    let mut body = client.stream(call).await?;
    let mut out = Output::create(&args.file)?;
    while let Some(frame) = body.frame().await {
        let frame =
            frame.context("the connection broke off: the export is not whole; the server's log has the cause")?;
        if let Ok(chunk) = frame.into_data() {
            out.write(&chunk)?;
        }
    }
    out.finish()
}

/// Opens the engine itself, as the server would.
async fn export_stopped(args: &Export) -> Result<()> {
    let var = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    let up = crate::cli::Up {
        data: args.connect.data.clone(),
        state: args.state.clone().or_else(|| var("SQUALL_STATE")),
        objects: args.objects.clone().or_else(|| var("SQUALL_OBJECTS")),
        account: args.account.clone(),
        region: args.connect.region.clone(),
        config: args.config.clone(),
        ..crate::cli::Up::default()
    };
    let settings = Settings::load(up)?;
    if !settings.data.exists() {
        bail!("there is no cloud in {}", settings.data.display());
    }
    let engine = Engine::open(&settings, engine::take(&settings.data)?).await?;
    let mut chunks = source::stream(engine.source(&settings).await?);
    let mut out = Output::create(&args.file)?;
    while let Some(chunk) = chunks.recv().await {
        out.write(&chunk?)?;
    }
    engine.close().await;
    out.finish()
}

struct Output {
    file: std::fs::File,
    shown: String,
    bytes: u64,
}

impl Output {
    fn create(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let mut options = std::fs::OpenOptions::new();
        // It holds root's credentials.
        std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create_new(true), 0o600);
        let file = options.open(path).with_context(|| format!("write {shown}"))?;
        Ok(Self { file, shown, bytes: 0 })
    }

    fn write(&mut self, chunk: &Bytes) -> Result<()> {
        self.file.write_all(chunk).with_context(|| format!("write {}", self.shown))?;
        let before = self.bytes / STEP_BYTES;
        self.bytes += chunk.len() as u64;
        if self.bytes / STEP_BYTES > before {
            say(&format!("{} MiB", self.bytes >> 20));
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        self.file.sync_all().with_context(|| format!("write {}", self.shown))
    }
}

/// `squall import`.
///
/// # Errors
/// The file is damaged, the target is in use or not empty, or both sides differ.
pub async fn import(args: Import) -> Result<ExitCode> {
    if args.check {
        let (head, digests, bytes) = file::check_file(&args.file, None)?;
        if args.json {
            print_json(&json!({ "file": args.file, "bytes": bytes, "from": head, "held": digests }))?;
        } else {
            println!("{} is whole ({bytes} bytes), from {}", args.file.display(), head.engine);
            print!("{}", digests.table());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let settings = Settings::load(args.up.clone())?;
    if matches!(settings.state, crate::config::StateKind::Memory) {
        bail!(
            "state in memory ends with its server: start one that takes the file in, `squall up --state memory --import {}`",
            args.file.display()
        );
    }
    if args.verify {
        return verify(&args, &settings).await;
    }
    // Before anything is made or moved.
    file::check_file(&args.file, None)?;
    let lock = engine::take(&settings.data)?;
    if args.replace
        && let Some(folder) = engine::set_aside(&settings)?
    {
        say(&format!("what was there lies in {}", folder.display()));
    }
    let engine = Engine::open(&settings, lock).await?;
    let filled = take_in(&engine, &settings, &args.file).await;
    engine.close().await;
    let filled = filled?;
    if args.json {
        print_json(&json!({ "file": args.file, "from": filled.head, "held": filled.file, "target": filled.target }))?;
    } else {
        println!("both sides hold the same; in the file and in {:?}:", settings.state);
        print!("{}", filled.target.table());
        println!("start it with `squall up` and the same settings");
    }
    Ok(ExitCode::SUCCESS)
}

/// Fills an engine that was just opened from an export.
///
/// # Errors
/// As [`target::fill`]; and the data directory is another cloud's.
pub async fn take_in(engine: &Engine, settings: &Settings, from: &Path) -> Result<target::Filled> {
    let reader = file::Reader::open(from)?;
    engine::may_hold(&settings.data, &reader.head.cloud)?;
    drop(reader);
    let filled = target::fill(&engine.source(settings).await?, from, &mut say).await?;
    engine.adopt(settings).await?;
    Ok(filled)
}

async fn verify(args: &Import, settings: &Settings) -> Result<ExitCode> {
    let engine = Engine::open(settings, engine::take(&settings.data)?).await?;
    let compared = target::compare(&engine.source(settings).await?, &args.file).await;
    engine.close().await;
    let compared = compared?;
    let differences = compared.file.differences(&compared.target);
    if args.json {
        let both = json!({ "held": compared.file, "target": compared.target, "differences": differences });
        print_json(&both)?;
    } else {
        print!("in the file:\n{}in {:?}:\n{}", compared.file.table(), settings.state, compared.target.table());
    }
    if !differences.is_empty() {
        bail!("the two sides differ in: {}", differences.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

fn print_json(value: &serde_json::Value) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}
