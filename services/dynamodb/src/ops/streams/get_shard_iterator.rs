//! GetShardIterator.

use super::iterator::Iterator;
use crate::api_streams as api;
use crate::error::Error;
use crate::room::DynamoDb;
use crate::stream::{low, number};
use squall_store::StateExt as _;

impl DynamoDb {
    /// Where to begin reading a shard. Good for 15 minutes.
    ///
    /// # Errors
    /// `ResourceNotFoundException`, `ValidationException`, `TrimmedDataAccessException`.
    pub(crate) async fn get_shard_iterator(
        &self,
        input: api::GetShardIteratorInput,
    ) -> Result<api::GetShardIteratorOutput, Error> {
        let (stream, part) = self.shard(&input.stream_arn, &input.shard_id)?;
        let state = self.deps.state.as_ref();
        let (head, low) = (state.head(part).await?, low(state, part).await?);
        let kind = input.shard_iterator_type.as_str();
        let after = match (kind, input.sequence_number.as_deref()) {
            ("TRIM_HORIZON", None) => None,
            ("LATEST", None) => Some(head),
            ("TRIM_HORIZON" | "LATEST", Some(_)) => {
                return Err(Error::validation(format!(
                    "SequenceNumber must not be specified for the ShardIteratorType {kind}"
                )));
            }
            (_, None) => {
                return Err(Error::validation(format!("SequenceNumber is required for the ShardIteratorType {kind}")));
            }
            (_, Some(text)) => {
                let at = number(text).filter(|n| *n >= 1 && *n <= head.max(low + 1)).ok_or_else(|| {
                    Error::validation(format!(
                        "Invalid SequenceNumber: {text} is not in the range of the shard {}",
                        input.shard_id
                    ))
                })?;
                let after = if kind == "AT_SEQUENCE_NUMBER" { at - 1 } else { at };
                if after < low {
                    return Err(Error::TrimmedDataAccess(format!(
                        "The operation attempted to read past the oldest stream record in a shard. Sequence number: {text}"
                    )));
                }
                Some(after)
            }
        };
        let iterator = Iterator { arn: stream.arn.clone(), part, after };
        Ok(api::GetShardIteratorOutput { shard_iterator: Some(iterator.text(self.deps.clock.now())) })
    }
}
