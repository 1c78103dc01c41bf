//! One server under test.

use crate::http::{self, Response};
use crate::{Finished, process, tools};
use serde::Deserialize;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const READY_TIMEOUT: Duration = Duration::from_secs(90);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// Variables of the caller that would change what clients and servers do.
const FOREIGN: [&str; 14] = [
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "SQUALL_DATA",
    "SQUALL_LISTEN",
    "SQUALL_STATE",
    "SQUALL_REGION",
    "SQUALL_ACCOUNT",
    "SQUALL_DEV",
    "SQUALL_CONFIG",
];

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Further arguments of `up`.
    pub args: Vec<String>,
    /// Further variables of its environment.
    pub env: Vec<(String, String)>,
    /// Data directory; without it a temporary one.
    pub data: Option<PathBuf>,
    /// `--state`; without it the engine that `SQUALL_TEST_STATE` names, else the program's default.
    pub state: Option<String>,
    /// Leaves out `--sdk-dir`, so that SDKs are installed from the registries.
    pub installs_sdks: bool,
}

impl Options {
    /// With those further arguments.
    #[must_use]
    pub fn args(args: &[&str]) -> Self {
        Self { args: args.iter().map(|a| (*a).to_owned()).collect(), ..Self::default() }
    }
}

/// `DATA/credentials`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// URL.
    pub endpoint: String,
    /// Root's key.
    pub access_key_id: String,
    /// Root's secret.
    pub secret_access_key: String,
    /// Default region.
    pub region: String,
}

/// A server that runs until the value goes.
#[derive(Debug)]
pub struct Server {
    child: Child,
    options: Options,
    temp: TempDir,
    address: SocketAddr,
    credentials: Credentials,
    /// From the start of the process to its `ready` line.
    pub started_in: Duration,
}

impl Server {
    /// Starts a server with the defaults on a free port.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// Starts a server that is to be started again on its state; `None`, said aloud, where the tests are asked to run on an
    /// engine that forgets.
    #[must_use]
    #[track_caller]
    pub fn start_durable() -> Option<Self> {
        if state_of_environment().as_deref() == Some("memory") {
            eprintln!("SKIPPED: state in memory does not outlive its server");
            return None;
        }
        Some(Self::start())
    }

    /// Starts a server on a free port.
    #[must_use]
    #[track_caller]
    pub fn start_with(mut options: Options) -> Self {
        // Chosen once, so that a server started again finds its state.
        options.state = options.state.or_else(state_of_environment);
        let temp = tempfile::Builder::new().prefix("squall-test-").tempdir().expect("make a temporary folder");
        configure(temp.path());
        let data = options.data.clone().unwrap_or_else(|| temp.path().join("data"));
        match launch(&options, &data, temp.path(), "127.0.0.1:0") {
            Ok((child, url, started_in)) => {
                let credentials = credentials(&data);
                let address = url.trim_start_matches("http://").parse().expect("ready names http://ADDRESS:PORT");
                assert_eq!(credentials.endpoint, url, "the credentials file names the same URL");
                Self { child, options, temp, address, credentials, started_in }
            }
            Err(refused) => panic!("the server did not start: {refused}"),
        }
    }

    /// Starts a server that is expected to refuse: its error text.
    #[must_use]
    #[track_caller]
    pub fn refused(options: &Options) -> String {
        let temp = tempfile::tempdir().expect("make a temporary folder");
        let data = options.data.clone().unwrap_or_else(|| temp.path().join("data"));
        match launch(options, &data, temp.path(), "127.0.0.1:0") {
            Err(text) => text,
            Ok((mut child, ..)) => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("the server started, but should have refused");
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.options.data.clone().unwrap_or_else(|| self.temp.path().join("data"))
    }

    /// A folder for this test's own files; goes with the server.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.temp.path()
    }

    /// Root's credentials.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// What the server wrote to stderr so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(log_file(self.temp.path())).unwrap_or_default()
    }

    /// Kills it as a power cut would, as far as one process can.
    pub fn kill9(&mut self) {
        self.child.kill().expect("kill the server");
        self.child.wait().expect("wait for the server");
    }

    /// SIGTERM, and the exit code after the drain.
    #[track_caller]
    pub fn stop(&mut self) -> Option<i32> {
        process::signal(self.child.id(), "TERM");
        self.wait(STOP_TIMEOUT)
    }

    /// Waits for the end.
    #[track_caller]
    pub fn wait(&mut self, timeout: Duration) -> Option<i32> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for the server") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the server runs on {timeout:?} later:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again on the same data and port after it ended.
    #[track_caller]
    pub fn restart(&mut self) {
        let (child, url, took) = launch(&self.options, &self.data(), self.temp.path(), &self.address.to_string())
            .unwrap_or_else(|refused| panic!("the server did not start again: {refused}"));
        assert_eq!(url, self.url());
        self.child = child;
        self.started_in = took;
        let now = credentials(&self.data());
        assert_eq!(now, self.credentials, "root's credentials live in the state");
    }

    /// The health page.
    #[track_caller]
    pub fn health(&self) -> serde_json::Value {
        let response = self.http("GET", "/_squall/health", &[], b"");
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()
    }

    /// Sends a raw request.
    #[track_caller]
    pub fn http(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        http::send(self.address, method, target, headers, body).unwrap_or_else(|e| panic!("{method} {target}: {e}"))
    }

    /// Sends a request signed by root.
    #[track_caller]
    pub fn signed(&self, service: &str, call: (&str, &str), headers: &[(&str, &str)], body: &[u8]) -> Response {
        http::signed(self.address, &self.credentials, service, call, headers, body)
            .unwrap_or_else(|e| panic!("{} {}: {e}", call.0, call.1))
    }

    /// The environment of AWS clients, as root.
    #[must_use]
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let c = &self.credentials;
        vec![
            ("AWS_ENDPOINT_URL", c.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", c.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", c.secret_access_key.clone()),
            ("AWS_REGION", c.region.clone()),
            ("AWS_DEFAULT_REGION", c.region.clone()),
            // No file of the developer's, and no questions to metadata addresses.
            ("AWS_CONFIG_FILE", "/dev/null".into()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".into()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
            ("AWS_PAGER", String::new()),
            ("SQUALL_TEST_SCRATCH", self.temp.path().display().to_string()),
            ("SQUALL_TEST_DATA", self.data().display().to_string()),
        ]
    }

    /// A client program with that environment, in the scratch folder.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = clean(program.as_ref());
        command.envs(self.env()).current_dir(self.temp.path());
        command
    }

    /// Runs a Python script of `tests/clients` to its end.
    pub fn python(&self, script: &str, args: &[&str]) -> Finished {
        let mut command = self.command(tools::python());
        command.arg("-B").arg(tools::clients().join(script)).args(args);
        process::run(&mut command)
    }

    /// Runs a JavaScript module of `tests/clients` to its end.
    pub fn node(&self, script: &str, args: &[&str]) -> Finished {
        let mut command = self.command("node");
        command.arg(tools::clients().join(script)).args(args).env("NODE_PATH", tools::node_modules());
        process::run(&mut command)
    }

    /// Runs the AWS CLI.
    pub fn aws(&self, args: &[&str]) -> Finished {
        process::run(self.command(tools::aws()).args(args))
    }

    /// Runs `squall` as this server's customer.
    pub fn squall(&self, args: &[&str]) -> Finished {
        process::run(self.command(tools::squall()).args(args))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            process::signal(self.child.id(), "TERM");
            let deadline = Instant::now() + STOP_TIMEOUT;
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(5));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- the server's log\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        }
    }
}

/// The engine that tests are asked to run on: `sqlite`, `memory`, or `postgres` for an empty schema of a private server.
fn state_of_environment() -> Option<String> {
    match std::env::var("SQUALL_TEST_STATE").ok()?.as_str() {
        "" => None,
        "postgres" => Some(crate::postgres_schema()),
        other => Some(other.to_owned()),
    }
}

fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for name in FOREIGN {
        command.env_remove(name);
    }
    command
}

/// Other Node versions come as npm packages; the host need not have them.
fn configure(folder: &Path) {
    // Nothing that a test runs may reach beyond this machine.
    let mut text = String::from("[runtime]\negress = \"off\"\n[runtime.runtimes]\n");
    for major in [18, 22, 24] {
        let node = tools::node_modules().join(format!("node{major}/bin/node"));
        text.push_str(&format!("\"nodejs{major}.x\" = {:?}\n", node.display().to_string()));
    }
    fs::write(folder.join("squall.toml"), text).expect("write squall.toml");
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("server.log")
}

/// Starts a process and waits for its `ready` line; the error is what it wrote to stderr.
fn launch(options: &Options, data: &Path, folder: &Path, listen: &str) -> Result<(Child, String, Duration), String> {
    let log = File::options().create(true).append(true).open(log_file(folder)).expect("open the server's log");
    let begin = log.metadata().map_or(0, |m| m.len());
    let mut command = clean(&tools::squall());
    command.arg("up").arg("--data").arg(data).args(["--listen", listen]);
    if !options.installs_sdks {
        command.arg("--sdk-dir").arg(tools::sdk_dir());
    }
    if !options.args.iter().any(|arg| arg == "--state") {
        command.args(options.state.iter().flat_map(|state| ["--state", state]));
    }
    command.args(&options.args).envs(options.env.iter().map(|(n, v)| (n, v))).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let start = Instant::now();
    let mut child = command.spawn().expect("start the server");
    let stdout = child.stdout.take().expect("the server's output");
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        // Read on after `ready`, so that the server never meets a full pipe.
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(url) = line.strip_prefix("ready ") {
                let _ = sender.send((url.trim().to_owned(), start.elapsed()));
            }
        }
    });
    match receiver.recv_timeout(READY_TIMEOUT) {
        Ok((url, took)) => Ok((child, url, took)),
        Err(_) => {
            let _ = child.kill();
            let status = child.wait().expect("wait for the server");
            let bytes = fs::read(log_file(folder)).unwrap_or_default();
            let text = String::from_utf8_lossy(bytes.get(begin as usize..).unwrap_or_default()).into_owned();
            Err(format!("{text}({status})"))
        }
    }
}

fn credentials(data: &Path) -> Credentials {
    let path = data.join("credentials");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()));
    toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
