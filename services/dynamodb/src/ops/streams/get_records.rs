//! GetRecords.

use super::iterator::Iterator;
use crate::api_streams::{self as api, shapes};
use crate::error::Error;
use crate::features::Stream;
use crate::room::DynamoDb;
use crate::stream::{Placed, event_id, low, sequence};
use crate::wire::{self, Output};
use squall_protocol::Value as Wire;
use squall_store::{Part, StateExt as _};

/// Most records of an answer.
const RECORDS_MAX: usize = 1_000;
/// Most stored bytes of an answer's records.
const BYTES_MAX: usize = 1 << 20;

impl DynamoDb {
    /// Records from an iterator's place on. None is an answer too; without a next iterator the shard is at its end.
    ///
    /// # Errors
    /// `ExpiredIteratorException`, `TrimmedDataAccessException`, `ResourceNotFoundException`, `ValidationException`.
    pub(crate) async fn get_records(&self, input: api::GetRecordsInput) -> Result<Wire, Error> {
        let now = self.deps.clock.now();
        let iterator = Iterator::parse(&input.shard_iterator, now)?;
        let stream = self.stream(&iterator.arn)?;
        if !stream.parts().any(|p| p == iterator.part) {
            return Err(Error::validation("Invalid ShardIterator"));
        }
        let limit = input.limit.and_then(|n| usize::try_from(n).ok()).unwrap_or(RECORDS_MAX);
        if limit > RECORDS_MAX {
            return Err(Error::validation(format!(
                "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: Member must have \
                 value less than or equal to {RECORDS_MAX}"
            )));
        }
        let state = self.deps.state.as_ref();
        let after = match iterator.after {
            Some(after) => after,
            None => low(state, iterator.part).await?,
        };
        let (records, next) = self.records(iterator.part, after, limit, BYTES_MAX).await?;
        // A closed shard has an end, which is told together with the last records.
        let ends = stream.closed.is_some() && next >= state.head(iterator.part).await?;
        let mut out = Output::new(&shapes::GET_RECORDS_OUTPUT);
        let records = records.into_iter().map(|placed| record(&stream, iterator.part, placed)).collect();
        out.set("Records", Some(Wire::List(records)));
        let next = Iterator { after: Some(next), ..iterator };
        out.set("NextShardIterator", (!ends).then(|| Wire::Str(next.text(now))));
        Ok(out.finish())
    }
}

fn record(stream: &Stream, part: Part, placed: Placed) -> Wire {
    let text = |text: &str| Some(Wire::Str(text.to_owned()));
    let Placed { seq, at, record } = placed;
    let size = i64::try_from(record.size_bytes()).ok();
    let mut change = Output::new(&shapes::STREAM_RECORD);
    // The service rounds to seconds.
    change.set("ApproximateCreationDateTime", Some(Wire::Time(squall_types::Millis(at.secs() * 1000))));
    change.set("Keys", Some(wire::item_value(record.keys)));
    change.set("NewImage", record.new.map(wire::item_value));
    change.set("OldImage", record.old.map(wire::item_value));
    change.set("SequenceNumber", Some(Wire::Str(sequence(seq))));
    change.set("SizeBytes", size.map(Wire::Int));
    change.set("StreamViewType", text(stream.view.name()));
    let mut out = Output::new(&shapes::RECORD);
    out.set("eventID", Some(Wire::Str(event_id(part, seq))));
    out.set("eventName", text(record.event.name()));
    out.set("eventVersion", text("1.1"));
    out.set("eventSource", text("aws:dynamodb"));
    out.set("awsRegion", text(&stream.region));
    out.set("dynamodb", Some(change.finish()));
    if record.by_service {
        let mut identity = Output::new(&shapes::IDENTITY);
        identity.set("PrincipalId", text("dynamodb.amazonaws.com"));
        identity.set("Type", text("Service"));
        out.set("userIdentity", Some(identity.finish()));
    }
    out.finish()
}
