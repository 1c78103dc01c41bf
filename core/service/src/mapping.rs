//! Event source mappings: the lambda room keeps them, the triggers run them.

use crate::StreamError;
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use squall_protocol::ServiceError;
use squall_types::Millis;

/// Where a new mapping begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum StartingPosition {
    /// The oldest record that is kept.
    TrimHorizon,
    /// Behind the newest record at the time the mapping is made.
    Latest,
    /// The first record of that time or later.
    AtTimestamp(Millis),
}

/// What a trigger needs to know of an event source mapping.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Mapping {
    /// Its id.
    pub uuid: String,
    /// Region of the function.
    pub region: String,
    /// The source.
    pub source_arn: String,
    /// The function, with its qualifier where one was given.
    pub function_arn: String,
    /// Where reading begins.
    pub start: StartingPosition,
    /// Most records of a batch.
    pub batch_size: u32,
    /// How long a batch that is not full waits for more, seconds.
    pub window_s: u32,
    /// Batches of one shard that run at the same time; equal keys stay in order.
    pub parallel: u32,
    /// Retries after a failure; `None` = until the record is gone.
    pub retries: Option<u32>,
    /// Oldest record that is handed over, seconds; `None` = any.
    pub record_age_s: Option<u32>,
    /// Whether a failing batch is cut in halves.
    pub bisect: bool,
    /// Whether the function reports which items failed (`ReportBatchItemFailures`).
    pub reports_failures: bool,
    /// Length of tumbling windows, seconds; 0 = none.
    pub tumbling_s: u32,
    /// Filter patterns, of which one must match; none = everything matches.
    pub filters: Vec<String>,
    /// Where records go that are given up.
    pub on_failure: Option<String>,
}

/// What is particular to a kind of source.
#[derive(Clone, Copy, Debug)]
pub struct SourceKind {
    /// IAM actions that the function's role needs on the source.
    pub actions: &'static [&'static str],
    /// `BatchSize` when none is given, and the most.
    pub batch_size: (u32, u32),
    /// Whether `AT_TIMESTAMP` is a starting position.
    pub at_timestamp: bool,
    /// AWS's text when the role lacks the actions, given the source's ARN.
    pub denied: fn(&str) -> String,
    /// AWS's text when there is no such source, given its ARN.
    pub missing: fn(&str) -> String,
}

/// Runs mappings; the triggers implement it.
#[async_trait]
pub trait EventSources: Send + Sync {
    /// What kind of source the ARN names; `None`: no trigger reads such sources.
    fn kind(&self, source_arn: &str) -> Option<SourceKind>;

    /// Whether the source exists.
    ///
    /// # Errors
    /// `Internal`.
    async fn exists(&self, source_arn: &str) -> Result<bool, StreamError>;

    /// Whether failed records can be delivered to that ARN.
    fn delivers_to(&self, arn: &str) -> bool;

    /// Fixes where a new mapping begins; durable when it returns.
    ///
    /// # Errors
    /// `NotFound`, `Internal`.
    async fn prepare(&self, mapping: &Mapping) -> Result<(), StreamError>;

    /// Runs a mapping; one that runs under other settings is paused first.
    async fn run(&self, mapping: Mapping);

    /// Stops a mapping; comes back when its batches in flight have ended. It goes on where it was when it is run again.
    async fn pause(&self, uuid: &str);

    /// Stops a mapping and forgets where it was.
    ///
    /// # Errors
    /// `Internal`.
    async fn forget(&self, uuid: &str) -> Result<(), StreamError>;

    /// `LastProcessingResult`; `None` before the first one of this process.
    fn last_result(&self, uuid: &str) -> Option<String>;
}

/// Takes records of what came of work that nobody waits for: queues, topics, buses, functions.
#[async_trait]
pub trait Destination: Send + Sync {
    /// Whether the ARN is one of this service's.
    fn owns(&self, arn: &str) -> bool;

    /// Hands a record over; durable when it returns.
    ///
    /// # Errors
    /// The service's own.
    async fn deliver(&self, arn: &str, body: Bytes) -> Result<(), ServiceError>;
}
