//! `squall up`: opens the state, builds the rooms, serves until SIGTERM or Ctrl-C, drains.

use crate::cli::UpArgs;
use crate::config::Settings;
use crate::credentials::Local;
use crate::rooms::{self, Cloud};
use anyhow::{Context, Result};
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Runs the cloud in the foreground.
///
/// # Errors
/// A setting, the data directory, the port or the isolation level cannot be had.
pub async fn run(args: UpArgs) -> Result<ExitCode> {
    init_log();
    let settings = Settings { import: args.import, ..Settings::load(args.up)? };
    let mut stop = Signals::new()?;
    let running = Running::start(&settings).await?;
    println!("ready {}", running.local.endpoint);
    std::io::stdout().flush()?;
    stop.wait().await;
    running.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// A cloud that serves.
pub struct Running {
    /// What clients on this machine need.
    pub local: Local,
    cloud: Cloud,
    server: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Binds, builds and serves. Returns as soon as requests are answered; pools fill in the background.
    ///
    /// # Errors
    /// As [`run`].
    pub async fn start(settings: &Settings) -> Result<Self> {
        let listener = TcpListener::bind(settings.listen)
            .await
            .with_context(|| format!("listen on {} (is another cloud running? choose --listen)", settings.listen))?;
        let address = listener.local_addr()?;
        let cloud = rooms::build(settings, address).await?;
        let local = Local {
            endpoint: format!("http://{}", reachable(address)),
            access_key_id: cloud.root.0.clone(),
            secret_access_key: cloud.root.1.clone(),
            region: settings.regions[0].to_string(),
        };
        local.write(&settings.data)?;
        if settings.dev {
            tracing::warn!("--dev: ANY credentials are accepted as root. Never expose this port.");
        }
        let gateway = cloud.gateway.clone();
        let server = tokio::spawn(async move { gateway.serve(listener).await });
        Ok(Self { local, cloud, server })
    }

    /// The function runtime, for what the host offers.
    #[must_use]
    pub fn runtime(&self) -> &squall_runtime::Runtime {
        &self.cloud.runtime
    }

    /// Lets open requests end, then stops functions and the state engine.
    pub async fn stop(self) {
        tracing::info!("stopping: open requests may end");
        self.cloud.gateway.stop();
        if let Err(e) = self.server.await {
            tracing::error!(error = %e, "the gateway ended badly");
        }
        self.cloud.shutdown().await;
    }
}

/// An address that clients on this machine can connect to.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(a) if a.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], a.port())),
        SocketAddr::V6(a) if a.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], a.port())),
        other => other,
    }
}

/// SIGTERM and SIGINT; a second one ends the process at once.
pub struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes over the signals.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new() -> Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// Waits for the first signal; afterwards the next one exits with 130.
    pub async fn wait(&mut self) {
        self.next().await;
        let (Ok(term), Ok(int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else { return };
        let mut second = Self { term, int };
        tokio::spawn(async move {
            second.next().await;
            std::process::exit(130);
        });
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

/// The server's own log goes to stderr; SQUALL_LOG filters it (`info` by default).
pub fn init_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SQUALL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // A second call (demo inside tests) keeps the first subscriber.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).try_init();
}
