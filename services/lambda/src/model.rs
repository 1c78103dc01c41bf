//! What is stored of a function: one row per function with everything that changes rarely, one row per published version.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A function: its `$LATEST` and what hangs on it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Record {
    /// Region.
    pub region: String,
    /// Name.
    pub name: String,
    /// `$LATEST`.
    pub latest: Version,
    /// Number of the last published version; 0 when there is none.
    pub last_version: u32,
    /// Description of `$LATEST` when it was last published; the version may have been given another one.
    #[serde(default)]
    pub published_as: Option<String>,
    /// Aliases by name.
    #[serde(default)]
    pub aliases: BTreeMap<String, Alias>,
    /// Function URLs by qualifier (`$LATEST` or an alias).
    #[serde(default)]
    pub urls: BTreeMap<String, Url>,
    /// Resource policies by qualifier (`$LATEST` or an alias or version).
    #[serde(default)]
    pub policies: BTreeMap<String, Policy>,
    /// How asynchronous calls are retried and where their results go, by qualifier.
    #[serde(default)]
    pub event_configs: BTreeMap<String, EventConfig>,
    /// Tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Reserved concurrency.
    #[serde(default)]
    pub reserved: Option<u32>,
    /// Provisioned concurrency by qualifier (a version or an alias).
    #[serde(default)]
    pub provisioned: BTreeMap<String, Provision>,
    /// Grows with every change of code or configuration, also when the function is deleted and made again: instances of older
    /// ones drain.
    pub revision: u64,
}

/// Code and configuration as one version has them.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Version {
    /// `$LATEST` or a number.
    pub version: String,
    /// Runtime id.
    pub runtime: String,
    /// Execution role's ARN.
    pub role: String,
    /// Handler.
    pub handler: String,
    /// Description.
    pub description: String,
    /// Seconds.
    pub timeout_s: u32,
    /// MB.
    pub memory_mb: u32,
    /// MB of `/tmp`.
    pub tmp_mb: u32,
    /// Environment variables; `None` when the function was made without any, which the API shows differently from none.
    #[serde(default)]
    pub env: Option<BTreeMap<String, String>>,
    /// Name of the code package in the object store.
    pub code_object: String,
    /// Base64 of the package's SHA-256.
    pub code_sha256: String,
    /// Bytes of the package.
    pub code_bytes: u64,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// `Active` or `PassThrough`.
    pub tracing: String,
    /// Log group; `None` = `/aws/lambda/NAME`.
    #[serde(default)]
    pub log_group: Option<String>,
    /// Logs as JSON from these levels on; `None` = text.
    #[serde(default)]
    pub json_log: Option<JsonLog>,
    /// Layers, in the order in which they lie over each other.
    #[serde(default)]
    pub layers: Vec<LayerRef>,
    /// Environments of published versions are made of snapshots.
    #[serde(default)]
    pub snap_start: bool,
    /// This version has one.
    #[serde(default)]
    pub is_optimized: bool,
    /// Revision id that the API shows.
    pub revision_id: String,
    /// Milliseconds since the epoch.
    pub modified_ms: i64,
    /// State.
    pub state: Phase,
    /// State of the last update.
    pub update: Phase,
}

/// A layer version as a function uses it, also after it was deleted.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct LayerRef {
    /// ARN of the version.
    pub arn: String,
    /// Name of its package in the object store.
    pub object: String,
    /// Bytes of the package.
    pub bytes: u64,
}

/// Where creating or updating stands.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum Phase {
    /// Under way.
    Pending,
    /// Done.
    Done,
    /// Failed, with code and reason.
    Failed(String, String),
}

/// An alias.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Alias {
    /// Version that it stands for.
    pub version: String,
    /// Description.
    pub description: String,
    /// A second version with its share of calls.
    #[serde(default)]
    pub weights: BTreeMap<String, f64>,
    /// Revision id.
    pub revision_id: String,
}

/// A function URL.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Url {
    /// Id: the first label of the URL's host.
    pub id: String,
    /// `NONE` or `AWS_IAM`.
    pub auth_type: String,
    /// CORS settings as given.
    pub cors: Option<Cors>,
    /// `BUFFERED` where the request said so; shown as it was given.
    #[serde(default)]
    pub invoke_mode: Option<String>,
    /// ISO time of creation.
    pub created: String,
    /// ISO time of the last change.
    pub modified: String,
}

/// CORS of a function URL.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Cors {
    /// `Access-Control-Allow-Credentials`.
    pub credentials: Option<bool>,
    /// Allowed request headers.
    pub headers: Option<Vec<String>>,
    /// Allowed methods.
    pub methods: Option<Vec<String>>,
    /// Allowed origins.
    pub origins: Option<Vec<String>>,
    /// Headers that pages may read.
    pub expose: Option<Vec<String>>,
    /// Seconds that a preflight answer holds.
    pub max_age_s: Option<i32>,
}

/// Retries and destinations of asynchronous calls.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct EventConfig {
    /// Retries after an error, 0 to 2; `None` = 2.
    pub retries: Option<u32>,
    /// Oldest event that is tried, seconds; `None` = six hours.
    pub age_s: Option<u32>,
    /// ARN of where results go.
    pub on_success: Option<String>,
    /// ARN of where events go that are given up.
    pub on_failure: Option<String>,
    /// Last change, milliseconds since the epoch.
    pub modified_ms: i64,
}

/// A resource policy.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Policy {
    /// Revision id.
    pub revision_id: String,
    /// Statements in the order they were added.
    pub statements: Vec<serde_json::Value>,
}

/// Provisioned concurrency of a version or alias.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Provision {
    /// Instances that are to be ready.
    pub count: u32,
    /// Milliseconds since the epoch.
    pub modified_ms: i64,
}

/// Levels of a function that logs JSON.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct JsonLog {
    /// `TRACE` to `FATAL`.
    pub application: String,
    /// `DEBUG`, `INFO` or `WARN`.
    pub system: String,
}
