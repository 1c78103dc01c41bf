//! DynamoDB streams as event sources: what is particular to them; the machinery is `squall-triggers`.

use squall_service::{SourceKind, StreamSource};
use squall_triggers::StreamAdapter;
use std::sync::Arc;

/// What functions need to be granted on a stream.
const ACTIONS: [&str; 4] =
    ["dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:DescribeStream", "dynamodb:ListStreams"];

/// The adapter over the room's streams.
#[must_use]
pub fn adapter(source: Arc<dyn StreamSource>) -> StreamAdapter {
    let kind = SourceKind { actions: &ACTIONS, batch_size: (100, 10_000), at_timestamp: false, denied, missing };
    StreamAdapter { kind, source, batch_info: "DDBStreamBatchInfo", arrival_millis: false }
}

fn denied(arn: &str) -> String {
    format!(
        "Cannot access stream {arn}. Please ensure the role can perform the GetRecords, GetShardIterator, DescribeStream, and \
         ListStreams Actions on your stream in IAM."
    )
}

fn missing(arn: &str) -> String {
    format!("Stream not found: {arn}")
}
