//! How functions are called and how their output travels; the lambda and logs rooms implement these.

use async_trait::async_trait;
use bytes::Bytes;
use squall_protocol::ServiceError;
use squall_types::Millis;

/// How an invocation is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvocationKind {
    /// Wait for the answer.
    RequestResponse,
    /// Durable before the answer, run later, at least once.
    Event,
    /// Check only.
    DryRun,
}

/// Who invokes, for the function's resource policy.
#[derive(Clone, Debug)]
pub enum Invoker {
    /// A caller that the gateway has already authorised.
    Authorised,
    /// A service acting for a resource: the function's policy must allow it.
    Service {
        /// Service principal, such as `apigateway.amazonaws.com`.
        principal: String,
        /// ARN of the resource that triggers, such as `arn:aws:execute-api:…`.
        source_arn: String,
    },
}

/// One call of a function.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Name, partial ARN or ARN, with or without qualifier.
    pub function: String,
    /// Version or alias; `None` = what the name says, else `$LATEST`.
    pub qualifier: Option<String>,
    /// Region of the function when `function` is no ARN.
    pub region: String,
    /// Event, JSON.
    pub payload: Bytes,
    /// How.
    pub kind: InvocationKind,
    /// Wants the last 4 KB of the log.
    pub log_tail: bool,
    /// `X-Amz-Client-Context`, base64 as sent.
    pub client_context: Option<String>,
    /// `X-Amzn-Trace-Id` as sent.
    pub trace_header: Option<String>,
    /// Who.
    pub invoker: Invoker,
    /// Request id, also the invocation's id in the function's log.
    pub request_id: String,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// 200 answered, 202 accepted, 204 dry run.
    pub status: u16,
    /// The function's answer or its error as JSON.
    pub payload: Bytes,
    /// `Handled` or `Unhandled` when the function failed.
    pub function_error: Option<&'static str>,
    /// Version that ran.
    pub executed_version: String,
    /// The last 4 KB of the log, raw.
    pub log_tail: Option<Vec<u8>>,
}

/// Calls functions by name or ARN.
#[async_trait]
pub trait Invoke: Send + Sync {
    /// Runs one invocation. Errors are the Invoke API's own (`ResourceNotFoundException`, throttling, payload limits).
    async fn invoke(&self, invocation: Invocation) -> Result<Outcome, ServiceError>;
}

/// One line of a log.
#[derive(Clone, Debug)]
pub struct LogEvent {
    /// When it was printed.
    pub time: Millis,
    /// Text without the trailing newline.
    pub message: String,
}

/// Takes what the platform logs for functions. Needs no grant: a documented difference from AWS.
pub trait LogSink: Send + Sync {
    /// Appends events to a stream, making group and stream as needed. Never waits for the disk; bounded, and drops with a
    /// counter when the disk cannot follow.
    fn append(&self, region: &str, group: &str, stream: &str, events: Vec<LogEvent>);
}
