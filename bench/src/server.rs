//! A server of our own: started on a free loopback port with a data directory of its own, stopped by its process id.

use crate::client::{Signer, Target};
use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const READY_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Nothing is downloaded while something is measured.
const CONFIG: &str = "[runtime]\nsdk_install = false\n";

/// The server's program and what every start of it gets.
#[derive(Clone, Debug)]
pub struct Binary {
    path: PathBuf,
    sdk_dir: Option<PathBuf>,
}

impl Binary {
    /// The named program, or `squall` beside this one; when cargo runs this program, it builds `squall` first, so that no old
    /// one is measured.
    ///
    /// # Errors
    /// There is none, or it does not build.
    pub fn find(named: Option<&Path>, sdk_dir: Option<&Path>) -> Result<Self> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => {
                build()?;
                std::env::current_exe().context("find this program")?.with_file_name("squall")
            }
        };
        ensure!(
            path.is_file(),
            "no server at {}: build it first (cargo build --release), or name one with --server PATH",
            path.display()
        );
        let absolute = |path: &Path| std::path::absolute(path).with_context(|| format!("resolve {}", path.display()));
        Ok(Self { path: absolute(&path)?, sdk_dir: sdk_dir.map(absolute).transpose()? })
    }

    /// The program's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Builds `squall` and the native function in this program's profile, if cargo runs this program.
fn build() -> Result<()> {
    let Some(cargo) = std::env::var_os("CARGO") else { return Ok(()) };
    let mut command = Command::new(cargo);
    command
        .args(["build", "--package", "squall", "--package", "squall-bench", "--bins"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let status = command.status().context("start cargo")?;
    ensure!(status.success(), "squall does not build");
    Ok(())
}

/// `DATA/credentials`.
#[derive(Deserialize)]
struct Local {
    endpoint: String,
    access_key_id: String,
    secret_access_key: String,
    region: String,
}

/// A running server; stopped when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    folder: Option<TempDir>,
    /// Where it answers, with root's credentials.
    pub target: Target,
    /// When its process was started.
    pub started: Instant,
}

impl Server {
    /// Starts the server on that folder with a state engine (`sqlite`, `memory`) and waits for its `ready` line.
    ///
    /// # Errors
    /// It cannot be started or did not become ready in time; the text has the end of its log.
    pub fn start(binary: &Binary, folder: TempDir, state: &str) -> Result<Self> {
        let (data, config, log) =
            (folder.path().join("data"), folder.path().join("squall.toml"), folder.path().join("log"));
        std::fs::write(&config, CONFIG).context("write the server's configuration")?;
        let mut command = Command::new(&binary.path);
        // Settings of the developer's own cloud stay out.
        for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("SQUALL_")) {
            command.env_remove(name);
        }
        command.arg("up").arg("--data").arg(&data).arg("--config").arg(&config).args([
            "--listen",
            "127.0.0.1:0",
            "--state",
            state,
        ]);
        if let Some(sdk_dir) = &binary.sdk_dir {
            command.arg("--sdk-dir").arg(sdk_dir);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log).context("make the log")?);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("start {}", binary.path.display()))?;
        let unknown = Target { address: SocketAddr::from(([127, 0, 0, 1], 0)), signer: None };
        // Whole from here on, so that every way out below stops the process.
        let mut server = Self { child, folder: Some(folder), target: unknown, started };
        let url = server.ready().with_context(|| {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().rev().take(20).collect();
            format!("the server's log ends:\n{}", lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
        })?;
        server.target = target(&data, &url)?;
        Ok(server)
    }

    /// Waits for the `ready` line: its URL.
    fn ready(&mut self) -> Result<String> {
        let stdout = self.child.stdout.take().context("the server's output")?;
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            // Read on after `ready`, so that the server never meets a full pipe; ends with the server.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(url) = line.strip_prefix("ready ") {
                    let _ = sender.send(url.trim().to_owned());
                }
            }
        });
        receiver.recv_timeout(READY_TIMEOUT).context("the server did not become ready")
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops the server and hands back its folder, for another start.
    ///
    /// # Errors
    /// It had ended by itself before.
    pub fn stop(mut self) -> Result<TempDir> {
        if let Some(status) = self.child.try_wait()? {
            bail!("the server ended by itself: {status}");
        }
        self.end();
        self.folder.take().context("the server's folder")
    }

    /// SIGTERM, and SIGKILL for a server that does not heed it.
    fn end(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // The shell's builtin: there is no safe call for this in std.
        let _ = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status();
        let deadline = Instant::now() + STOP_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Address and signer, from the `ready` line's URL and the credentials in the data directory.
fn target(data: &Path, url: &str) -> Result<Target> {
    let path = data.join("credentials");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let local: Local = toml::from_str(&text).with_context(|| format!("read {}", path.display()))?;
    ensure!(local.endpoint == url, "the server says {url}, its credentials say {}", local.endpoint);
    let signer = Signer::new(&local.access_key_id, &local.secret_access_key, &local.region);
    Ok(Target { address: loopback(url)?, signer: Some(Rc::new(signer)) })
}

/// The address of `http://ADDRESS:PORT`, which must be of this machine.
fn loopback(url: &str) -> Result<SocketAddr> {
    let address = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let address: SocketAddr = address.and_then(|a| a.parse().ok()).with_context(|| format!("{url} is no address"))?;
    ensure!(address.ip().is_loopback(), "{url} is not on this machine");
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_urls_are_taken() {
        assert_eq!(loopback("http://127.0.0.1:8/").expect("loopback").port(), 8);
        for url in ["http://192.0.2.1:80", "https://127.0.0.1:80", "127.0.0.1:80", "http://localhost"] {
            assert!(loopback(url).is_err(), "{url}");
        }
    }
}
