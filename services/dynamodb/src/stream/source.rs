//! Streams as triggers follow them.

use super::{json, low, number, sequence, trimmed};
use crate::error::Error;
use crate::features::Stream;
use crate::room::DynamoDb;
use async_trait::async_trait;
use futures_util::StreamExt as _;
use squall_service::{StreamError, StreamPage, StreamRecord, StreamShard, StreamSource, StreamStart};
use squall_store::{Part, StateExt as _};
use std::sync::Arc;

/// Stored bytes of a page.
const PAGE_BYTES: usize = 6 << 20;

impl From<Error> for StreamError {
    fn from(error: Error) -> StreamError {
        match error {
            Error::ResourceNotFound(text) => StreamError::NotFound(text),
            Error::TrimmedDataAccess(text) => StreamError::Trimmed(text),
            other => StreamError::Internal(other.to_string()),
        }
    }
}

impl DynamoDb {
    /// A shard by the name of its stream and its own.
    ///
    /// # Errors
    /// `ResourceNotFoundException`; `ValidationException` for a text that is no shard's id.
    pub(crate) fn shard(&self, arn: &str, shard: &str) -> Result<(Arc<Stream>, Part), Error> {
        let stream = self.stream(arn)?;
        let part = stream.part(shard).ok_or_else(|| {
            // `shardId-`, twenty digits, a hyphen and eight hexadecimal ones.
            let is_id =
                shard.strip_prefix("shardId-").and_then(|rest| rest.split_once('-')).is_some_and(|(time, mark)| {
                    time.len() == 20
                        && time.bytes().all(|b| b.is_ascii_digit())
                        && mark.len() == 8
                        && mark.bytes().all(|b| b.is_ascii_hexdigit())
                });
            if !is_id {
                return Error::validation(format!("Invalid ShardId: {shard}"));
            }
            let text = format!("Requested resource not found: Shard: {shard} in Stream: {arn} not found");
            Error::ResourceNotFound(text)
        })?;
        Ok((stream, part))
    }

    async fn place(&self, part: Part, from: &StreamStart) -> Result<u64, Error> {
        let state = self.deps.state.as_ref();
        match from {
            StreamStart::TrimHorizon => low(state, part).await,
            StreamStart::Latest => Ok(state.head(part).await?),
            StreamStart::At(time) => super::retention::before(state, part, *time).await,
            StreamStart::After(text) => number(text)
                .ok_or_else(|| Error::ResourceNotFound(format!("{text} is no sequence number of this shard"))),
        }
    }
}

#[async_trait]
impl StreamSource for DynamoDb {
    fn owns(&self, arn: &str) -> bool {
        let mut parts = arn.splitn(6, ':');
        parts.nth(2) == Some("dynamodb") && parts.nth(2).is_some_and(|resource| resource.contains("/stream/"))
    }

    async fn shards(&self, arn: &str) -> Result<Vec<StreamShard>, StreamError> {
        let stream = self.stream(arn)?;
        let closed = stream.closed.is_some();
        Ok(stream.parts().map(|part| StreamShard { id: stream.shard_id(part), parent: None, closed }).collect())
    }

    async fn read(&self, arn: &str, shard: &str, from: &StreamStart, max: usize) -> Result<StreamPage, StreamError> {
        let (stream, part) = self.shard(arn, shard)?;
        let after = self.place(part, from).await?;
        let (placed, next) = self.records(part, after, max, PAGE_BYTES).await?;
        let time = match from {
            StreamStart::At(time) => Some(*time),
            _ => None,
        };
        let kept = placed.iter().filter(|p| time.is_none_or(|t| p.at >= t));
        let records: Vec<StreamRecord> = kept
            .map(|placed| StreamRecord {
                sequence: sequence(placed.seq),
                at: placed.at,
                order_key: stream
                    .schema
                    .bytes(&placed.record.keys)
                    .map(|k| [&k.hash, &*k.range].concat())
                    .unwrap_or_default(),
                event: json::event(&stream, part, placed),
            })
            .collect();
        let waits = records.is_empty() && time.is_some();
        let at_end = placed.is_empty() && stream.closed.is_some();
        let next = match (at_end, waits) {
            (true, _) => None,
            // The time has not come: it stays the place to read from, unless earlier records were passed.
            (_, true) if placed.is_empty() => Some(from.clone()),
            (_, true) => {
                time.map(StreamStart::At).filter(|_| next == after).or(Some(StreamStart::After(sequence(next))))
            }
            _ => Some(StreamStart::After(sequence(next))),
        };
        Ok(StreamPage { records, next })
    }

    async fn wait(&self, arn: &str, shard: &str, from: &StreamStart) -> Result<(), StreamError> {
        // Listens before it looks: a stream that closes in between is not missed.
        let mut closed = self.closings.subscribe();
        let (stream, part) = self.shard(arn, shard)?;
        if stream.closed.is_some() {
            return Ok(());
        }
        let after = self.place(part, from).await?;
        let mut changes = self.deps.state.watch(part, after);
        loop {
            tokio::select! {
                change = changes.next() => {
                    if let Some(Err(error)) = change {
                        return Err(trimmed(error).into());
                    }
                    return Ok(());
                }
                seen = closed.changed() => {
                    if seen.is_err() || self.streams.get(arn).is_none_or(|s| s.closed.is_some()) {
                        return Ok(());
                    }
                }
            }
        }
    }
}
