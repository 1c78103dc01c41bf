//! How instances come to life: the trait behind which the sandbox, a plain process or a test's fake stands.

use async_trait::async_trait;
use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder or file of the host that a worker sees read-only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is on the host.
    pub host: PathBuf,
    /// Where the worker sees it.
    pub inside: PathBuf,
}

/// A worker process to be started.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Name for operators.
    pub id: String,
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// The whole environment. `AWS_LAMBDA_RUNTIME_API` and `AWS_ENDPOINT_URL` hold the addresses inside an own network
    /// namespace ([`RUNTIME_API`], [`ENDPOINT`]); a launcher without one puts its own.
    pub env: Vec<(OsString, OsString)>,
    /// Folder that becomes `/var/task`.
    pub code: PathBuf,
    /// Folder that becomes `/opt`.
    pub opt: Option<PathBuf>,
    /// Further folders.
    pub mounts: Vec<Mount>,
    /// Memory limit in bytes.
    pub memory_bytes: u64,
    /// Size of `/tmp` in bytes.
    pub tmp_bytes: u64,
    /// Most processes and threads.
    pub pids_max: u32,
    /// Relative CPU weight: 1024 = one vCPU.
    pub cpu_shares: u64,
    /// Hard CPU limit in percent of one CPU, if wanted.
    pub cpu_quota_percent: Option<u32>,
    /// The zygote ([`Zygote::number`]) to fork the worker from; `None`: `argv` is executed.
    pub zygote: Option<u64>,
}

/// A zygote to be started: see the sandbox's own type, which this is for launchers.
#[derive(Clone, Debug)]
pub struct ZygoteSpec {
    /// Name for operators.
    pub id: String,
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// What its workers see too, beyond their code.
    pub mounts: Vec<Mount>,
    /// Its forks deal with the interpreter's descriptors themselves.
    pub keeps_descriptors: bool,
    /// It is not forked from but executed, in sandboxes ahead of functions.
    pub is_stem: bool,
}

/// A started interpreter that workers are forked from. Dropping it ends it, and not its workers.
#[async_trait]
pub trait Zygote: Send + Sync {
    /// What [`Spec::zygote`] names it by.
    fn number(&self) -> u64;
    /// What it said of itself when it was ready.
    fn text(&self) -> &str;
    /// Whether workers can be forked from it.
    fn is_alive(&self) -> bool;
    /// How many forks of it are kept in prepared sandboxes, waiting for their function.
    fn stock(&self, count: usize);
    /// Waits until it is gone; why.
    async fn gone(&self) -> String;
}

/// Where the worker finds the Runtime API.
pub const RUNTIME_API: &str = "127.0.0.1:9001";
/// Where the worker finds the platform's AWS endpoint.
pub const ENDPOINT: &str = "127.0.0.1:4566";

/// How a worker ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Exit status.
    pub code: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// The memory limit ended it.
    pub oom: bool,
}

/// A worker that runs.
pub struct Started {
    /// The control handle.
    pub worker: Box<dyn Worker>,
    /// Accepts the worker's connections to the Runtime API.
    pub runtime_api: TcpListener,
    /// Accepts the worker's connections to the platform's AWS endpoint.
    pub endpoint: TcpListener,
    /// What it prints on stdout and stderr: the reading end of a pipe.
    pub output: OwnedFd,
    /// Where what it sends to the outside arrives; `None` where there is no way out, or nothing in between.
    pub egress: Option<squall_sandbox::EgressSockets>,
}

/// Controls one worker. Dropping it ends the worker and frees everything.
#[async_trait]
pub trait Worker: Send + Sync {
    /// Waits until the worker has ended. Later calls answer the same.
    async fn wait(&self) -> Exit;
    /// Ends the worker and its children. Idempotent.
    fn kill(&self);
    /// Stops every process of the worker until [`Worker::thaw`].
    fn freeze(&self) -> io::Result<()>;
    /// Lets the worker go on.
    fn thaw(&self) -> io::Result<()>;
    /// Most memory that the worker has used so far.
    fn memory_peak_bytes(&self) -> u64;
    /// Whether the memory limit has killed something of this worker.
    fn oom_killed(&self) -> bool;
}

/// The worker could not be started.
#[derive(Debug, thiserror::Error)]
#[error("start a worker: {0}")]
pub struct LaunchError(pub String);

/// Starts workers.
#[async_trait]
pub trait Launcher: Send + Sync {
    /// Starts one.
    async fn spawn(&self, spec: Spec) -> Result<Started, LaunchError>;

    /// Starts a zygote and waits until it is ready.
    async fn start_zygote(&self, spec: ZygoteSpec) -> Result<Box<dyn Zygote>, LaunchError> {
        Err(LaunchError(format!("{}: there are no zygotes without isolation", spec.id)))
    }

    /// How many sandboxes are kept prepared for programs that are executed. Without isolation there are none.
    fn aim(&self, _count: usize) {}

    /// Whether workers see the host's own paths instead of `/var/task`, `/opt` and `/var/runtime`.
    fn is_on_host_paths(&self) -> bool {
        false
    }
}

/// Whose requests arrive at an endpoint listener.
#[derive(Clone, Debug)]
pub struct Source {
    /// ARN of the function.
    pub function_arn: String,
}

/// Serves the platform's AWS endpoint to a worker; the gateway implements it.
pub trait EndpointServer: Send + Sync {
    /// Takes over the listener until it is closed; must not block. The listener is non-blocking. Serving ends when the
    /// returned guard is dropped.
    fn serve(&self, listener: TcpListener, source: Source) -> Box<dyn std::any::Any + Send + Sync>;
}

/// The paths that a worker sees.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub task: String,
    pub opt: String,
    pub runtime: String,
    /// Folder of the SDK; `None` when there is none.
    pub sdk: Option<String>,
}

impl Layout {
    /// The layout for a launcher: AWS's paths, or the host's own.
    pub fn new(
        launcher: &Arc<dyn Launcher>,
        code: &Path,
        opt: Option<&Path>,
        client: &Path,
        sdk: Option<&Mount>,
    ) -> Self {
        let text = |p: &Path| p.to_string_lossy().into_owned();
        if launcher.is_on_host_paths() {
            return Self {
                task: text(code),
                opt: opt.map_or_else(|| "/opt".into(), text),
                runtime: text(client),
                sdk: sdk.map(|m| text(&m.host)),
            };
        }
        Self {
            task: "/var/task".into(),
            opt: "/opt".into(),
            runtime: "/var/runtime".into(),
            sdk: sdk.map(|m| text(&m.inside)),
        }
    }
}
