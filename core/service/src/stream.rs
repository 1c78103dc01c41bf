//! Change streams of rooms, for the triggers that follow them: DynamoDB's now, others by the same few calls.
//!
//! A stream has shards; a shard has records in order. What is done with a record until it is done with the next one is the
//! reader's affair: a source keeps no positions. Records stay for the stream's retention, read or not.

use async_trait::async_trait;
use serde_json::Value;
use squall_types::Millis;

/// Where reading begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamStart {
    /// The oldest record that is kept.
    TrimHorizon,
    /// Behind the newest one.
    Latest,
    /// The first record that was written at this time or later.
    At(Millis),
    /// Behind the record with this sequence number.
    After(String),
}

/// A shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamShard {
    /// Its id.
    pub id: String,
    /// The shard that it goes on from: to be read to its end before this one.
    pub parent: Option<String>,
    /// Nothing is written to it any more.
    pub closed: bool,
}

/// A record, as functions get it.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamRecord {
    /// Its sequence number; grows within the shard.
    pub sequence: String,
    /// When it was written.
    pub at: Millis,
    /// What must stay in order: records with equal keys may not overtake each other.
    pub order_key: Vec<u8>,
    /// The element of `Records` in the function's event.
    pub event: Value,
}

/// Some records, and where to go on.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamPage {
    /// The records, oldest first. None does not mean that there never will be.
    pub records: Vec<StreamRecord>,
    /// Where the next page begins; the same place as asked for where that was already resolved and nothing was read.
    /// `None`: the shard is closed and read to its end.
    pub next: Option<StreamStart>,
}

/// Why a stream cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// There is no such stream or shard (any more).
    #[error("{0}")]
    NotFound(String),
    /// Records behind the asked place are gone: begin at `TrimHorizon`.
    #[error("{0}")]
    Trimmed(String),
    /// The state failed; the text is for the operator.
    #[error("{0}")]
    Internal(String),
}

/// A room whose resources have streams.
#[async_trait]
pub trait StreamSource: Send + Sync {
    /// Whether the ARN is of a stream of this room, existing or not.
    fn owns(&self, arn: &str) -> bool;

    /// The shards of a stream, parents first.
    ///
    /// # Errors
    /// `NotFound`, `Internal`.
    async fn shards(&self, arn: &str) -> Result<Vec<StreamShard>, StreamError>;

    /// Reads at most `max` records of a shard, at once. `Latest` is resolved by the first call: its page is empty and its
    /// `next` is to be kept (durably, where nothing may be lost) and read from.
    ///
    /// # Errors
    /// `NotFound`, `Trimmed`, `Internal`.
    async fn read(&self, arn: &str, shard: &str, from: &StreamStart, max: usize) -> Result<StreamPage, StreamError>;

    /// Comes back when there may be something to read from that place, or the shard has closed. May wait for ever; may be
    /// dropped at any time.
    ///
    /// # Errors
    /// `NotFound`, `Trimmed`, `Internal`.
    async fn wait(&self, arn: &str, shard: &str, from: &StreamStart) -> Result<(), StreamError>;
}
