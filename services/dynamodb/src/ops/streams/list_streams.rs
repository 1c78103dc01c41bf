//! ListStreams.

use crate::api_streams as api;
use crate::error::Error;
use crate::features::Stream;
use crate::policy::table_name;
use crate::room::DynamoDb;
use crate::stream::check_arn;
use squall_service::Ctx;

/// Most streams of an answer.
const STREAMS_MAX: usize = 100;

impl DynamoDb {
    /// The region's streams, or one table's, page by page. Streams of deleted tables are among them for a day.
    ///
    /// # Errors
    /// `ValidationException` for a start that is no stream's ARN.
    pub(crate) fn list_streams(
        &self,
        ctx: &Ctx,
        input: api::ListStreamsInput,
    ) -> Result<api::ListStreamsOutput, Error> {
        input.exclusive_start_stream_arn.as_deref().map_or(Ok(()), check_arn)?;
        let limit = input.limit.and_then(|n| usize::try_from(n).ok()).unwrap_or(STREAMS_MAX).clamp(1, STREAMS_MAX);
        let table = input.table_name.as_deref().map(table_name);
        let after = input.exclusive_start_stream_arn.as_deref();
        let (page, more) = self.streams.page(ctx.region.as_str(), table, after, limit);
        let last = page.last().filter(|_| more).map(|s| s.arn.clone());
        let one = |s: &std::sync::Arc<Stream>| api::Stream {
            stream_arn: Some(s.arn.clone()),
            table_name: Some(s.table.clone()),
            stream_label: Some(s.label.clone()),
        };
        Ok(api::ListStreamsOutput { streams: Some(page.iter().map(one).collect()), last_evaluated_stream_arn: last })
    }
}
