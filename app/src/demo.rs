//! `squall demo`: a cloud, an example deployed as any user would, and curl lines to paste.

use crate::cli::{Demo, Up};
use crate::client;
use crate::config::Settings;
use crate::up::{Running, Signals, init_log};
use anyhow::{Context, Result, bail};
use serde_json::json;
use squall_deploy::demo::{self, Kind};
use squall_runtime::Runtime;
use std::io::Write as _;
use std::process::ExitCode;

/// Parameter of the examples that names the runtime.
pub const RUNTIME_PARAM: &str = "runtime";

/// Runs the demo until Ctrl-C.
///
/// # Errors
/// No language runtime on this machine; those of `up` and `deploy`.
pub async fn run(args: Demo) -> Result<ExitCode> {
    init_log_quiet();
    let scratch = tempfile::Builder::new().prefix("squall-demo-").tempdir().context("make a temporary folder")?;
    let data = args.data.clone().unwrap_or_else(|| scratch.path().join("data"));
    let listen = match &args.listen {
        Some(listen) => listen.clone(),
        None => free_address().await,
    };
    let up = Up {
        data: Some(data),
        listen: Some(listen),
        isolation: args.isolation.clone(),
        sdk_dir: args.sdk_dir.clone(),
        ..Up::default()
    };
    let settings = Settings::load(up)?;
    let mut stop = Signals::new()?;
    eprintln!("starting a cloud in {}", settings.data.display());
    let running = Running::start(&settings).await?;
    eprintln!("  listening on {}", running.local.endpoint);
    let shown = tokio::select! {
        shown = deploy(&args, &running, scratch.path()) => shown,
        () = stop.wait() => {
            running.stop().await;
            return Ok(ExitCode::SUCCESS);
        }
    };
    if let Err(e) = shown {
        running.stop().await;
        return Err(e);
    }
    eprintln!(
        "\nThe cloud runs until Ctrl-C. AWS clients find it by: eval \"$(squall env --data {})\"",
        settings.data.display()
    );
    stop.wait().await;
    running.stop().await;
    Ok(ExitCode::SUCCESS)
}

async fn deploy(args: &Demo, running: &Running, scratch: &std::path::Path) -> Result<()> {
    let (kind, runtime) = choose(args.language.as_deref(), running.runtime()).await?;
    let dir = scratch.join("users");
    std::fs::create_dir(&dir)?;
    demo::write(kind, &dir)?;
    eprintln!(
        "deploying the users API ({runtime}); the first time, the AWS SDK for functions is prepared, which takes a while"
    );
    let deployed = client::deploy_example(&running.local, &dir, &runtime).await?;
    let lines = demo::curl_lines(&deployed.endpoints);
    let mut out = std::io::stdout().lock();
    if args.json {
        let page = json!({ "endpoint": running.local.endpoint, "endpoints": deployed.endpoints, "curl": lines });
        writeln!(out, "{page}")?;
    } else {
        eprintln!("\nready. Paste these:\n");
        for line in &lines {
            writeln!(out, "{line}")?;
        }
    }
    out.flush()?;
    Ok(())
}

/// The newest interpreter of the wished language, else Node before Python.
async fn choose(wish: Option<&str>, runtime: &Runtime) -> Result<(Kind, String)> {
    let kinds = match wish {
        None => vec![Kind::Node, Kind::Python],
        Some("node") => vec![Kind::Node],
        Some("python") => vec![Kind::Python],
        Some(other) => bail!("--language {other}: expected node or python"),
    };
    let found = runtime.runtimes().await;
    for kind in kinds {
        let prefix = match kind {
            Kind::Node => "nodejs",
            Kind::Python => "python",
        };
        let best = found.iter().filter(|f| f.id.starts_with(prefix)).max_by_key(|f| version(&f.id));
        if let Some(best) = best {
            return Ok((kind, best.id.clone()));
        }
    }
    bail!(
        "no language runtime found: install Node.js 18, 20, 22 or 24 (Debian: apt-get install nodejs npm) or Python 3.9 to 3.14 \
         (Debian: apt-get install python3 python3-pip), then run this again"
    )
}

/// The number that tells runtimes of one language apart: 20 of `nodejs20.x`, 11 of `python3.11`.
fn version(id: &str) -> u32 {
    let id = id.trim_start_matches("nodejs").trim_start_matches("python3.").trim_end_matches(".x");
    id.parse().unwrap_or(0)
}

/// The usual port, or a free one where another cloud has it.
async fn free_address() -> String {
    let usual = "127.0.0.1:4566";
    match tokio::net::TcpListener::bind(usual).await {
        Ok(_) => usual.to_owned(),
        Err(_) => "127.0.0.1:0".to_owned(),
    }
}

fn init_log_quiet() {
    if std::env::var_os("SQUALL_LOG").is_some() {
        init_log();
        return;
    }
    let quiet = tracing_subscriber::EnvFilter::new("warn");
    // A second call keeps the first subscriber.
    let _ = tracing_subscriber::fmt().with_env_filter(quiet).with_writer(std::io::stderr).with_ansi(false).try_init();
}
