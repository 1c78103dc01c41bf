//! Options of the crate.

use crate::Egress;
use crate::keepalive::{KeepAlive, Policy};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// What the operator can set, in the section `[runtime]`. Since 0.1.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Concurrent executions of the whole account; beyond it requests are refused with 429. Default 1000.
    pub concurrency: u32,
    /// Most instances on this machine, busy or idle. Default 1000.
    pub instances_max: u32,
    /// Most memory in MB that the MemorySize of all instances may add up to; 0 = no bound (instances seldom use what they
    /// may). Default 0.
    pub instances_memory_mb_max: u64,
    /// Most instances that load their code at the same time: more would only make each of them slower. Default 64.
    pub starting_max: u32,
    /// Seconds that the init of an instance may take; past it the init is repeated inside the invocation. Default 10, as on AWS.
    pub init_timeout_s: u64,
    /// Instances of one function that may be started in 10 seconds; beyond it requests that need one are refused with 429.
    /// Default 1000, as on AWS.
    pub burst: u32,
    /// How idle instances are kept: `cost`, `hybrid` or `fixed` (see `runtime/src/keepalive.rs`). Default `cost`.
    pub keep_alive: Policy,
    /// Seconds that an idle instance is kept where nothing is known of its function yet, and by the policy `fixed`. Default 600.
    pub keep_alive_s: u64,
    /// What the policy `cost` takes a cold start to be worth, in GB·s of idle memory: more keeps instances longer. Default 150,
    /// with which the replay (`runtime/examples/replay.rs`) has fewer cold starts and less waste than ten fixed minutes.
    pub cold_start_gb_s: f64,
    /// Memory in MB of the host that is left free: below it idle instances end and nothing starts. Default 512.
    pub host_memory_free_mb: u64,
    /// Seconds after which an instance is replaced; its credentials live that long. Default 21600, at most 36000.
    pub age_max_s: u64,
    /// Milliseconds of idleness after which an instance is frozen; 0 = never. Default 100.
    pub freeze_after_ms: u64,
    /// Most processes and threads of one instance. Default 1024, as on AWS.
    pub pids_max: u32,
    /// Gives each instance a hard CPU limit in proportion to its memory (1769 MB = one vCPU) instead of a share. Default false.
    pub cpu_quota: bool,
    /// What functions reach outside: `"auto"` (the internet where the host allows it), `"off"`, `"internet"` (or the server does not
    /// start), or a list of networks in which `"internet"` may stand too. Default `"auto"`.
    pub egress: Egress,
    /// Folder with the root of another Linux distribution (such as the unpacked image of AWS's `provided:al2023`) whose `/usr` custom
    /// runtimes see instead of the host's. Default: none, the host's.
    pub provided_root: Option<PathBuf>,
    /// Paths of interpreters by runtime identifier, such as `"nodejs18.x" = "/opt/node18/bin/node"`. They win over what is found.
    pub runtimes: BTreeMap<String, PathBuf>,
    /// Folder with prepared SDKs: `python3.11/` as `pip install --target` makes it, `nodejs/node_modules`. Default: none, SDKs
    /// are installed from the package registries on first need.
    pub sdk_dir: Option<PathBuf>,
    /// Whether SDKs are installed on first need. Default true.
    pub sdk_install: bool,
    /// The npm packages that make up the SDK for Node.js.
    pub sdk_node_packages: Vec<String>,
    /// Those of them that the zygotes of Node.js hold loaded: each makes a zygote larger and its forks a little slower.
    pub sdk_node_preload: Vec<String>,
    /// Whether instances are forked from zygotes where that is possible; otherwise each starts an interpreter. Default true.
    pub zygotes: bool,
    /// Forks of each zygote, and sandboxes for programs that are executed, that wait for a function at any time: each takes 1 to 2
    /// MiB. Default 6.
    pub standby: usize,
    /// The same at most, while functions that were just deployed are expected to be called. Default 256.
    pub standby_max: usize,
    /// Most memory in MB that the calls of all WebAssembly functions may have at a time, together; a call that would go beyond
    /// fails as out of memory. Default 2048.
    pub wasm_memory_mb: u64,
    /// The PyPI packages that make up the SDK for Python.
    pub sdk_python_packages: Vec<String>,
    /// Folder for runtime clients, caches and SDKs. Set by the application.
    #[serde(skip)]
    pub data_dir: PathBuf,
    /// The region that most functions are in: what zygotes make beforehand is for it. Set by the application.
    #[serde(skip)]
    pub region: String,
    /// The program that runs WebAssembly functions; `None`: they are not served. Set by the application.
    #[serde(skip)]
    pub wasm: Option<crate::WasmProgram>,
    /// What the application knows of the host. Set by the application.
    #[serde(skip)]
    pub host: Host,
}

/// The part of the process's environment that the search for interpreters needs.
#[derive(Clone, Debug)]
pub struct Host {
    /// `PATH`.
    pub path: OsString,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// Folder of version managers that is not below `HOME`: the values of `PYENV_ROOT`, `NVM_DIR`, `FNM_DIR`, `VOLTA_HOME`,
    /// `ASDF_DATA_DIR`, `MISE_DATA_DIR`, `UV_PYTHON_INSTALL_DIR`, `RBENV_ROOT`, `JAVA_HOME` by name.
    pub managers: BTreeMap<String, PathBuf>,
    /// Names the resolvers that functions' queries go to: `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
}

impl Default for Host {
    fn default() -> Self {
        Self { path: OsString::new(), home: None, managers: BTreeMap::new(), resolv_conf: "/etc/resolv.conf".into() }
    }
}

const NODE_PACKAGES: &[&str] = &[
    "@aws-sdk/client-api-gateway",
    "@aws-sdk/client-apigatewaymanagementapi",
    "@aws-sdk/client-cloudwatch",
    "@aws-sdk/client-cloudwatch-logs",
    "@aws-sdk/client-cognito-identity-provider",
    "@aws-sdk/client-dynamodb",
    "@aws-sdk/client-eventbridge",
    "@aws-sdk/client-iam",
    "@aws-sdk/client-kinesis",
    "@aws-sdk/client-kms",
    "@aws-sdk/client-lambda",
    "@aws-sdk/client-s3",
    "@aws-sdk/client-scheduler",
    "@aws-sdk/client-secrets-manager",
    "@aws-sdk/client-sfn",
    "@aws-sdk/client-sns",
    "@aws-sdk/client-sqs",
    "@aws-sdk/client-ssm",
    "@aws-sdk/client-sts",
    "@aws-sdk/credential-providers",
    "@aws-sdk/lib-dynamodb",
    "@aws-sdk/lib-storage",
    "@aws-sdk/s3-presigned-post",
    "@aws-sdk/s3-request-presigner",
    "@aws-sdk/util-dynamodb",
];

/// What functions use most.
const NODE_PRELOAD: &[&str] = &[
    "@aws-sdk/client-dynamodb",
    "@aws-sdk/lib-dynamodb",
    "@aws-sdk/util-dynamodb",
    "@aws-sdk/client-s3",
    "@aws-sdk/s3-request-presigner",
    "@aws-sdk/client-sqs",
    "@aws-sdk/client-sns",
    "@aws-sdk/client-lambda",
    "@aws-sdk/client-eventbridge",
    "@aws-sdk/client-secrets-manager",
    "@aws-sdk/client-ssm",
];

impl Options {
    /// Refuses what would be ignored; `is_on_host_paths`: functions are plain processes of the host.
    pub(crate) fn check(&self, is_on_host_paths: bool) -> Result<(), String> {
        if is_on_host_paths && self.egress != Egress::Auto {
            return Err("runtime.egress has no effect with isolation none: functions are on the host's network".into());
        }
        let Some(root) = &self.provided_root else { return Ok(()) };
        if is_on_host_paths {
            return Err("runtime.provided_root has no effect with isolation none".into());
        }
        if !root.is_absolute() || !root.join("usr").is_dir() {
            return Err(format!(
                "runtime.provided_root: {} is no absolute path of a folder with `usr` in it",
                root.display()
            ));
        }
        Ok(())
    }

    /// The policy with its numbers.
    #[must_use]
    pub fn keep_alive(&self) -> KeepAlive {
        let fixed = Duration::from_secs(self.keep_alive_s);
        // Instances beyond a function's first are kept as long under every policy: shorter times cost more starts in the replay
        // than they save.
        KeepAlive { policy: self.keep_alive, fixed, extra: fixed, cold_gb_s: self.cold_start_gb_s }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 1000,
            instances_max: 1000,
            instances_memory_mb_max: 0,
            starting_max: 64,
            init_timeout_s: 10,
            burst: 1000,
            keep_alive: Policy::Cost,
            keep_alive_s: 600,
            cold_start_gb_s: 150.0,
            host_memory_free_mb: 512,
            age_max_s: 21_600,
            freeze_after_ms: 100,
            pids_max: 1024,
            cpu_quota: false,
            egress: Egress::Auto,
            provided_root: None,
            runtimes: BTreeMap::new(),
            sdk_dir: None,
            sdk_install: true,
            sdk_node_packages: NODE_PACKAGES.iter().map(|p| (*p).to_owned()).collect(),
            sdk_node_preload: NODE_PRELOAD.iter().map(|p| (*p).to_owned()).collect(),
            zygotes: true,
            standby: 6,
            standby_max: 256,
            wasm_memory_mb: 2048,
            sdk_python_packages: vec!["boto3".into()],
            wasm: None,
            data_dir: PathBuf::new(),
            region: "us-east-1".into(),
            host: Host::default(),
        }
    }
}
