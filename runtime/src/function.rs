//! A function as the lambda room hands it over, and one call of it.

use bytes::Bytes;
use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One version of a function, ready to run. Immutable: a change of code or configuration is a new value with a higher revision.
#[derive(Clone, Default)]
pub struct Function {
    /// Unqualified ARN: what reserved concurrency and [`crate::Runtime::retire`] count by.
    pub function_arn: String,
    /// Name.
    pub name: String,
    /// `$LATEST` or a number.
    pub version: String,
    /// Grows with every change of code or configuration, also when a function of the same name is made anew.
    pub revision: u64,
    /// Region.
    pub region: String,
    /// Account.
    pub account: String,
    /// Execution role.
    pub role_arn: String,
    /// `file.export`, as AWS has it.
    pub handler: String,
    /// Runtime identifier, such as `nodejs20.x`.
    pub runtime: String,
    /// `x86_64` or `arm64`, as it is billed.
    pub architecture: String,
    /// MemorySize in MB.
    pub memory_mb: u32,
    /// Timeout of one invocation.
    pub timeout: Duration,
    /// EphemeralStorage in MB.
    pub tmp_mb: u32,
    /// The function's own environment; reserved names were refused before.
    pub env: Vec<(String, String)>,
    /// The unpacked package, seen as `/var/task`.
    pub code_dir: PathBuf,
    /// The unpacked layers in one folder, seen as `/opt`.
    pub opt_dir: Option<PathBuf>,
    /// Log group.
    pub log_group: String,
    /// Logs as JSON; `None` = as text.
    pub json_log: Option<JsonLog>,
    /// Its environments are made of a snapshot ([`crate::Runtime::snapshot`]) where there is one.
    pub snap_start: bool,
    /// ReservedConcurrentExecutions of the function.
    pub reserved_concurrency: Option<u32>,
    /// Kept alive as long as a request or an instance uses this revision: a guard that removes the code folder when dropped.
    pub keep: Option<Arc<dyn Any + Send + Sync>>,
}

/// How a function with `LogFormat: JSON` logs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct JsonLog {
    /// Least level of the function's own lines, `TRACE` to `FATAL`; its runtime client sees to it.
    pub application: String,
    /// Least level of the platform's lines: `DEBUG`, `INFO` or `WARN`.
    pub system: String,
}

impl Function {
    /// ARN with the version, whatever it is: the version's name in the pool.
    #[must_use]
    pub fn arn_of_version(&self) -> String {
        format!("{}:{}", self.function_arn, self.version)
    }

    /// ARN by which the function is invoked unless the caller used an alias.
    #[must_use]
    pub fn arn(&self) -> String {
        if self.version == "$LATEST" {
            self.function_arn.clone()
        } else {
            format!("{}:{}", self.function_arn, self.version)
        }
    }
}

/// One call.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Id, a UUID.
    pub request_id: String,
    /// Event, JSON.
    pub payload: Bytes,
    /// ARN as the caller named it (with the alias); `None` = the function's own.
    pub invoked_arn: Option<String>,
    /// Client context as JSON text (already decoded from base64).
    pub client_context: Option<String>,
    /// `X-Amzn-Trace-Id` as sent.
    pub trace_header: Option<String>,
    /// Wants the last 4 KB of the log.
    pub log_tail: bool,
}
