//! Streams of tables' changes: which there are, and reading them.
//!
//! A stream is its row and some parts of the state's change streams, one per shard. Writes emit records in their own
//! transaction ([`record`]); positions are the parts' dense numbers, shown as sequence numbers of 21 digits. A stream
//! outlives its end by the retention time ([`retention`]).

mod json;
pub mod record;
pub mod retention;
mod source;

pub use json::json_item;

use crate::error::Error;
use crate::features::Stream;
use crate::item::Item;
use crate::room::DynamoDb;
use crate::tables;
use futures_util::StreamExt as _;
use parking_lot::RwLock;
use record::{Read, Record};
use squall_store::{Part, State, StateExt as _, envelope};
use squall_types::Millis;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// How long records are kept, and a stream after its end.
pub const RETENTION: Duration = Duration::from_secs(24 * 3600);
/// Most streams of the cloud that are kept in memory.
const STREAMS_MAX: usize = 200_000;
/// Sequence numbers begin here, so that all have the same number of digits and order as texts.
const FIRST: u128 = 100_000_000_000_000_000_000;

/// All streams, by ARN.
#[derive(Default)]
pub struct Streams(RwLock<BTreeMap<String, Arc<Stream>>>);

impl Streams {
    /// Reads all streams.
    ///
    /// # Errors
    /// `Internal` when the state cannot be read.
    pub async fn load(state: &dyn State) -> Result<Streams, Error> {
        let streams = Streams::default();
        for row in state.all(tables::streams(), STREAMS_MAX).await? {
            streams.insert(open(&row.value)?);
        }
        Ok(streams)
    }

    /// The stream of that ARN.
    pub fn get(&self, arn: &str) -> Option<Arc<Stream>> {
        self.0.read().get(arn).cloned()
    }

    /// Takes in a stream that was just written.
    pub fn insert(&self, stream: Stream) {
        self.0.write().insert(stream.arn.clone(), Arc::new(stream));
    }

    /// Forgets a stream.
    pub fn remove(&self, arn: &str) {
        self.0.write().remove(arn);
    }

    /// All streams.
    pub fn all(&self) -> Vec<Arc<Stream>> {
        self.0.read().values().cloned().collect()
    }

    /// Streams of a region, and of a table if one is given, behind `after` in order, and whether more follow.
    pub fn page(
        &self,
        region: &str,
        table: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> (Vec<Arc<Stream>>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let streams = self.0.read();
        let fits = |s: &&Arc<Stream>| s.region == region && table.is_none_or(|t| s.table == t);
        let mut found = streams.range::<str, _>((from, Bound::Unbounded)).map(|(_, s)| s).filter(fits);
        let page = found.by_ref().take(limit).cloned().collect();
        (page, found.next().is_some())
    }
}

/// The stored form of a stream.
///
/// # Errors
/// `Internal` when it cannot be written as JSON.
pub fn seal(stream: &Stream) -> Result<squall_store::Bytes, Error> {
    let json = serde_json::to_vec(stream).map_err(|e| Error::Internal(format!("write a stream: {e}")))?;
    Ok(envelope::seal(&json))
}

fn open(value: &[u8]) -> Result<Stream, Error> {
    serde_json::from_slice(envelope::open(value)?).map_err(|e| Error::Internal(format!("read a stream: {e}")))
}

/// A number of a part as clients see it.
pub fn sequence(seq: u64) -> String {
    (FIRST + u128::from(seq)).to_string()
}

/// The number in a sequence number; `None` for a text that is none of ours.
pub fn number(sequence: &str) -> Option<u64> {
    let n: u128 = sequence.parse().ok()?;
    u64::try_from(n.checked_sub(FIRST)?).ok()
}

/// A record where it stands.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Its number in the part.
    pub seq: u64,
    /// When it was written.
    pub at: Millis,
    /// The record.
    pub record: Record,
}

/// What `eventID` shows: the same for every reader, different for every record.
pub fn event_id(part: Part, seq: u64) -> String {
    let id = squall_store::hash16(format!("{}/{}/{seq}", part.stream, part.part).as_bytes());
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The least number that is kept, less one: reading begins behind it.
///
/// # Errors
/// `Internal` when the state cannot be read.
pub async fn low(state: &dyn State, part: Part) -> Result<u64, Error> {
    let row = state.get(tables::log_low(part)).await?;
    Ok(envelope::open_counter(row.as_ref().map(|r| &*r.value))?.unsigned_abs())
}

impl DynamoDb {
    /// The stream of that ARN.
    ///
    /// # Errors
    /// `ResourceNotFoundException`; `ValidationException` for a text that is no ARN of a stream.
    pub(crate) fn stream(&self, arn: &str) -> Result<Arc<Stream>, Error> {
        self.streams.get(arn).ok_or_else(|| match check_arn(arn) {
            Ok(()) => Error::ResourceNotFound(format!("Requested resource not found: Stream: {arn} not found")),
            Err(error) => error,
        })
    }

    /// Records behind `after`, at most `max` of them and about `max_bytes`, and the place behind the last one.
    ///
    /// # Errors
    /// `TrimmedDataAccessException`; the state failed.
    pub(crate) async fn records(
        &self,
        part: Part,
        after: u64,
        max: usize,
        max_bytes: usize,
    ) -> Result<(Vec<Placed>, u64), Error> {
        let (mut records, mut at, mut bytes, mut ahead) = (Vec::new(), after, 0, None::<Item>);
        let head = self.deps.state.head(part).await?;
        if after >= head {
            return Ok((records, after));
        }
        let mut changes = self.deps.state.watch(part, after);
        while let Some(change) = changes.next().await {
            let change = change.map_err(trimmed)?;
            bytes += change.body.len();
            if bytes > max_bytes && !records.is_empty() {
                break;
            }
            match record::read(&change.body, ahead.take())? {
                Read::Ahead(old) => ahead = Some(old),
                Read::Record(record) => {
                    records.push(Placed { seq: change.seq, at: change.at, record });
                    at = change.seq;
                }
            }
            if change.seq >= head || records.len() >= max {
                break;
            }
        }
        Ok((records, at))
    }
}

/// Checks the form of a stream's ARN.
///
/// # Errors
/// `ValidationException`.
pub fn check_arn(arn: &str) -> Result<(), Error> {
    let parsed = arn.parse::<squall_types::Arn>().ok().filter(|a| a.service == "dynamodb");
    match parsed.filter(|a| a.resource.starts_with("table/") && a.resource.contains("/stream/")) {
        Some(_) => Ok(()),
        None => Err(Error::validation(format!("Invalid StreamArn: {arn}"))),
    }
}

/// What a refused read of a part means.
pub fn trimmed(error: squall_store::Error) -> Error {
    match error {
        squall_store::Error::Trimmed => Error::TrimmedDataAccess(
            "The records asked for are older than the stream keeps: the shard begins behind them".into(),
        ),
        other => other.into(),
    }
}
