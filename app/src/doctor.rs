//! `squall doctor`: what this machine offers, and what to do about what is missing.

use crate::cli::Doctor;
use crate::config::Settings;
use crate::floors::{self, Floors};
use crate::rooms;
use anyhow::Result;
use serde::Serialize;
use squall_runtime::runtimes::{self, Family, Found};
use squall_sandbox::{Level, Reach};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Good,
    /// The cloud runs, with something less.
    Note,
    /// The cloud does not start with these settings.
    Bad,
}

#[derive(Debug, Serialize)]
struct Check {
    name: String,
    verdict: Verdict,
    found: String,
    /// What to do; empty where nothing is.
    advice: String,
}

impl Check {
    fn new(name: impl Into<String>, verdict: Verdict, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name: name.into(), verdict, found: found.into(), advice: advice.into() }
    }
}

/// Exit code 1 says that `up` would not start with these settings.
///
/// # Errors
/// The settings cannot be read.
pub async fn run(args: Doctor) -> Result<ExitCode> {
    let settings = Settings::load(args.up)?;
    let mut checks = isolation(&settings);
    checks.push(storage(&settings.data));
    checks.push(port(&settings).await);
    checks.push(egress(&settings).await?);
    let options = rooms::runtime_options(&settings);
    let found = runtimes::discover(&options).await;
    let (speed, floors) = speed(&settings, &found).await;
    checks.push(speed);
    checks.extend(languages(&settings, &found));
    let bad = checks.iter().any(|c| c.verdict == Verdict::Bad);
    if args.json {
        let page =
            serde_json::json!({ "ok": !bad, "isolation": settings.isolation, "checks": checks, "floors_ms": floors });
        println!("{}", serde_json::to_string_pretty(&page)?);
    } else {
        print(&checks);
    }
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn print(checks: &[Check]) {
    for c in checks {
        let mark = match c.verdict {
            Verdict::Good => "ok  ",
            Verdict::Note => "note",
            Verdict::Bad => "BAD ",
        };
        println!("{mark}  {:<28} {}", c.name, c.found);
        if !c.advice.is_empty() {
            println!("      -> {}", c.advice);
        }
    }
}

fn isolation(settings: &Settings) -> Vec<Check> {
    let report = squall_sandbox::probe();
    let mut checks = Vec::new();
    for f in &report.features {
        let verdict = match (f.available, f.needed_for) {
            (true, _) => Verdict::Good,
            (false, Some(level)) if level <= settings.isolation => Verdict::Bad,
            (false, _) => Verdict::Note,
        };
        checks.push(Check::new(&f.name, verdict, &f.detail, &f.advice));
    }
    let (level, best) = (settings.isolation, report.best_level);
    checks.push(if level <= best {
        let note = if report.note.is_empty() { String::new() } else { format!(" ({})", report.note) };
        Check::new("isolation of functions", Verdict::Good, format!("{level}, best here: {best}{note}"), "")
    } else {
        let advice =
            format!("mend what is BAD above, or choose the weaker level by name: squall up --isolation {best}");
        Check::new("isolation of functions", Verdict::Bad, format!("{level} is asked for, best here: {best}"), advice)
    });
    if level == squall_sandbox::Level::None {
        let advice = "functions run as plain processes of this user: never with code that you do not trust";
        checks.push(Check::new("isolation none", Verdict::Note, "chosen by the settings", advice));
    }
    checks
}

/// Writes and syncs a few blocks where the state lives: every durable write costs one such sync, shared by all that wait.
fn storage(data: &Path) -> Check {
    let mut folder = data;
    while !folder.exists() {
        match folder.parent() {
            Some(parent) => folder = parent,
            None => break,
        }
    }
    let name = "data directory";
    match sync_time(folder) {
        Ok(time) => {
            let found = format!("{}, one 4 KiB sync takes {:.2} ms", data.display(), time.as_secs_f64() * 1000.0);
            Check::new(name, Verdict::Good, found, "")
        }
        Err(e) => {
            let advice = "choose a directory that this user can write: --data DIR";
            Check::new(name, Verdict::Bad, format!("{}: {e}", data.display()), advice)
        }
    }
}

fn sync_time(folder: &Path) -> std::io::Result<Duration> {
    const TRIES: usize = 21;
    let mut file = tempfile::tempfile_in(folder)?;
    let mut times = Vec::with_capacity(TRIES);
    for _ in 0..TRIES {
        file.write_all(&[7; 4096])?;
        let started = Instant::now();
        file.sync_data()?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(times[TRIES / 2])
}

async fn port(settings: &Settings) -> Check {
    let name = format!("listen on {}", settings.listen);
    match tokio::net::TcpListener::bind(settings.listen).await {
        Ok(_) => Check::new(name, Verdict::Good, "free", ""),
        Err(e) => Check::new(
            name,
            Verdict::Note,
            e.to_string(),
            "a running cloud has it, or choose another: --listen 127.0.0.1:0",
        ),
    }
}

/// Tries the way out of a sandbox, in one of its own.
async fn egress(settings: &Settings) -> Result<Check> {
    let name = "internet for functions";
    if settings.isolation == squall_sandbox::Level::None {
        return Ok(Check::new(name, Verdict::Good, "isolation none: functions are on the host's network", ""));
    }
    let (reach, missing) = match settings.runtime.egress.reach() {
        Reach::Nothing => return Ok(Check::new(name, Verdict::Good, "switched off (runtime.egress)", "")),
        Reach::IfPossible(egress) => (Reach::Required(egress), Verdict::Note),
        required @ Reach::Required(_) => (required, Verdict::Bad),
    };
    let folder = tempfile::tempdir()?;
    let options = squall_sandbox::Options {
        run_dir: folder.path().join("run"),
        pool: 0,
        egress: reach,
        ..rooms::sandbox_options(settings)?
    };
    let check = match squall_sandbox::Sandbox::start(options).await {
        Ok(sandbox) => {
            sandbox.shutdown().await;
            Check::new(name, Verdict::Good, "TCP and UDP over IPv4, names by the host's resolvers", "")
        }
        Err(e) => {
            let advice = "mend what it names, or switch it off in squall.toml: [runtime] egress = \"off\"";
            Check::new(name, missing, e.to_string(), advice)
        }
    };
    Ok(check)
}

/// The floors of this machine: no first call of a function can be faster.
async fn speed(settings: &Settings, found: &[Found]) -> (Check, Floors) {
    let name = "starting, at best";
    match floors::measure(settings, found).await {
        Ok(floors) => {
            let ms = |time: Option<f64>| time.map_or_else(|| "not measured".to_owned(), |ms| format!("{ms:.2} ms"));
            let text = format!(
                "a program {}, in a sandbox {}, a fork of a zygote {}",
                ms(floors.spawn_ms),
                ms(floors.sandbox_ms),
                ms(floors.zygote_ms)
            );
            (Check::new(name, Verdict::Good, text, ""), floors)
        }
        Err(e) => (Check::new(name, Verdict::Note, format!("not measured: {e:#}"), ""), Floors::default()),
    }
}

/// How instances of a runtime come to life with these settings.
fn start_level(settings: &Settings, family: Family) -> &'static str {
    match (family, settings.isolation) {
        (Family::Wasm, Level::None) => "an instance of the engine per call, in a plain process",
        (Family::Wasm, _) => "an instance of the engine per call, in a process inside a sandbox",
        (_, Level::None) => "starts as a plain process",
        (Family::Node(_) | Family::Python(_), Level::Full)
            if settings.runtime.zygotes && settings.runtime.standby > 0 =>
        {
            "starts as a fork of a zygote, made before the request"
        }
        (Family::Node(_) | Family::Python(_), _) if settings.runtime.zygotes && is_root() => {
            "starts as a fork of a zygote"
        }
        (Family::Java(_), Level::Full) if settings.runtime.zygotes && settings.runtime.standby > 0 => {
            "starts as a machine that was started before the request"
        }
        _ => "is executed in a prepared sandbox",
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn languages(settings: &Settings, found: &[Found]) -> Vec<Check> {
    let options = rooms::runtime_options(settings);
    let mut checks: Vec<Check> = runtimes::IDENTIFIERS.iter().map(|id| language(settings, id, found)).collect();
    if !found.iter().any(|f| !f.exe.as_os_str().is_empty()) {
        let advice = "install Node.js 18, 20, 22 or 24 (apt-get install nodejs npm), Python 3.9 to 3.14 (apt-get install python3 python3-pip), Java 11 to 25 or Ruby 3.2 to 3.4";
        checks.push(Check::new("language runtimes", Verdict::Note, "none found", advice));
    }
    let sdk = squall_runtime::sdk::Sdk::new(&options);
    for f in found.iter().filter(|f| matches!(f.family, Family::Node(_) | Family::Python(_))) {
        let name = format!("AWS SDK for {}", f.id);
        checks.push(match sdk.folder(f) {
            Some(folder) => Check::new(name, Verdict::Good, folder.display().to_string(), ""),
            None => Check::new(
                name,
                Verdict::Note,
                "not prepared yet",
                "prepared on first need from the package registries; or name a folder: --sdk-dir DIR",
            ),
        });
    }
    checks
}

fn language(settings: &Settings, id: &str, found: &[Found]) -> Check {
    match found.iter().find(|f| f.id == id) {
        Some(f) => {
            let level = start_level(settings, f.family);
            if f.family == Family::Wasm {
                return Check::new(id, Verdict::Good, format!("wasmtime {}, {level}", f.version), "");
            }
            let own = match f.exe.as_os_str().is_empty() {
                true => "the package brings its bootstrap".to_owned(),
                false => format!("{} ({})", f.version, f.exe.display()),
            };
            Check::new(id, Verdict::Good, format!("{own}, {level}"), "")
        }
        None if Family::of(id) == Some(Family::Wasm) => {
            let advice = "build squall with the cargo feature `wasm`, which is on by default";
            Check::new(id, Verdict::Note, "not in this build", advice)
        }
        None => {
            let advice =
                format!("install it, or name its path in squall.toml: [runtime.runtimes] \"{id}\" = \"/path\"");
            Check::new(id, Verdict::Note, "not on this host", advice)
        }
    }
}
