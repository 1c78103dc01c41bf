//! DescribeStream.

use crate::api_streams as api;
use crate::error::Error;
use crate::room::DynamoDb;
use crate::stream::{low, sequence};
use squall_store::StateExt as _;

/// Most shards of an answer.
const SHARDS_MAX: usize = 100;

impl DynamoDb {
    /// What a stream is, and its shards, page by page. A shard is open until the stream ends; none has children.
    ///
    /// # Errors
    /// `ResourceNotFoundException`, `ValidationException` for a wrong filter.
    pub(crate) async fn describe_stream(
        &self,
        input: api::DescribeStreamInput,
    ) -> Result<api::DescribeStreamOutput, Error> {
        let stream = self.stream(&input.stream_arn)?;
        let limit = input.limit.and_then(|n| usize::try_from(n).ok()).unwrap_or(SHARDS_MAX).clamp(1, SHARDS_MAX);
        let mut parts: Vec<_> = stream.parts().collect();
        if let Some(filter) = &input.shard_filter {
            match (filter.r#type.as_deref(), filter.shard_id.as_deref()) {
                (Some("CHILD_SHARDS"), Some(id)) => {
                    self.shard(&input.stream_arn, id)?;
                    parts.clear();
                }
                _ => return Err(Error::validation("ShardFilter needs the Type CHILD_SHARDS and a ShardId")),
            }
        }
        if let Some(after) = &input.exclusive_start_shard_id {
            let at = parts.iter().position(|p| stream.shard_id(*p) == *after);
            parts.drain(..at.map_or(parts.len(), |at| at + 1));
        }
        let more = parts.len() > limit;
        parts.truncate(limit);
        let mut shards = Vec::new();
        for part in &parts {
            let state = self.deps.state.as_ref();
            let (first, head) = (low(state, *part).await? + 1, state.head(*part).await?);
            shards.push(api::Shard {
                shard_id: Some(stream.shard_id(*part)),
                sequence_number_range: Some(api::SequenceNumberRange {
                    starting_sequence_number: Some(sequence(first)),
                    ending_sequence_number: stream.closed.map(|_| sequence(head.max(first))),
                }),
                parent_shard_id: None,
            });
        }
        let last = parts.last().filter(|_| more).map(|p| stream.shard_id(*p));
        let names = stream.schema.attributes().map(|a| a.name.clone());
        let keys = names
            .zip(["HASH", "RANGE"])
            .map(|(attribute_name, kind)| api::KeySchemaElement { attribute_name, key_type: kind.into() });
        Ok(api::DescribeStreamOutput {
            stream_description: Some(api::StreamDescription {
                stream_arn: Some(stream.arn.clone()),
                stream_label: Some(stream.label.clone()),
                stream_status: Some(if stream.closed.is_some() { "DISABLED" } else { "ENABLED" }.into()),
                stream_view_type: Some(stream.view.name().into()),
                creation_request_date_time: Some(stream.created),
                table_name: Some(stream.table.clone()),
                key_schema: Some(keys.collect()),
                shards: Some(shards),
                last_evaluated_shard_id: last,
            }),
        })
    }
}
