//! A server to measure: its own process, port and data.

use crate::client::{Client, Keys, Request};
use anyhow::{Context, Result, bail};
use base64::Engine as _;
use serde::Deserialize;
use serde_json::json;
use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running server; it ends with its value.
pub struct Server {
    child: Child,
    /// Its folder; goes after the process.
    pub folder: tempfile::TempDir,
    pub address: SocketAddr,
    pub keys: Keys,
    /// From the start of the process to its `ready` line.
    pub started_in: Duration,
}

#[derive(Deserialize)]
struct File {
    access_key_id: String,
    secret_access_key: String,
    region: String,
}

impl Server {
    /// Starts it. Data is made below the working directory, so that the disk measured is the one that was chosen.
    pub fn start(squall: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("squall-bench-").tempdir_in(".").context("make a folder")?;
        let root = std::path::absolute(folder.path())?;
        let config = root.join("squall.toml");
        // Functions here need no SDK, and nobody shall wait for a package registry.
        std::fs::write(&config, "[runtime]\nsdk_install = false\n")?;
        let mut command = Command::new(squall);
        command.args(["up", "--listen", "127.0.0.1:0", "--data"]).arg(root.join("data")).arg("--config").arg(config);
        command.env("SQUALL_LOG", "error").stdin(Stdio::null()).stdout(Stdio::piped());
        let begin = Instant::now();
        let mut child = command.spawn().with_context(|| format!("start {}", squall.display()))?;
        let mut lines = BufReader::new(child.stdout.take().context("its output")?);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let started_in = begin.elapsed();
        let Some(url) = line.trim().strip_prefix("ready http://") else {
            let _ = child.kill();
            let _ = child.wait();
            bail!("the server did not start");
        };
        let text = std::fs::read_to_string(root.join("data/credentials")).context("read the credentials")?;
        let file: File = toml::from_str(&text)?;
        let keys = Keys { access_key: file.access_key_id, secret: file.secret_access_key, region: file.region };
        Ok(Self { child, folder, address: url.parse()?, keys, started_in })
    }

    /// Resident memory in MiB.
    pub fn memory_mib(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("its memory")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }

    /// A connection as root.
    pub async fn client(&self) -> Result<Client> {
        Client::connect(self.address, Some(self.keys.clone())).await
    }

    /// Makes a function and waits until it is active.
    pub async fn function(&self, client: &mut Client, name: &str, runtime: &str, file: (&str, &str)) -> Result<()> {
        let body = json!({
            "FunctionName": name, "Runtime": runtime, "Handler": "index.handler", "Timeout": 10,
            "Role": "arn:aws:iam::000000000000:role/bench", "Code": { "ZipFile": zip(file)? },
        });
        let make = Request::lambda("POST", "/2015-03-31/functions".into(), body.to_string().into_bytes());
        client.ok(&make).await?;
        let look = Request::lambda("GET", format!("/2015-03-31/functions/{name}/configuration"), Vec::new());
        for _ in 0..500 {
            let found: serde_json::Value = serde_json::from_slice(&client.ok(&look).await?)?;
            if found["State"] == "Active" {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("{name} does not become active")
    }

    /// Makes the role of the functions.
    pub async fn role(&self, client: &mut Client) -> Result<()> {
        let trust = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Principal%22%3A\
                     %7B%22Service%22%3A%22lambda.amazonaws.com%22%7D%2C%22Action%22%3A%22sts%3AAssumeRole%22%7D%5D%7D";
        let form = format!("Action=CreateRole&Version=2010-05-08&RoleName=bench&AssumeRolePolicyDocument={trust}");
        client.ok(&Request::iam(form)).await.map(|_| ())
    }
}

fn zip((name, text): (&str, &str)) -> Result<String> {
    let mut out = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    out.start_file(name, zip::write::SimpleFileOptions::default())?;
    out.write_all(text.as_bytes())?;
    Ok(base64::engine::general_purpose::STANDARD.encode(out.finish()?.into_inner()))
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGTERM, so that nothing is left over; std knows only SIGKILL.
        let _ = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status();
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
