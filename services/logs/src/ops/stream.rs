//! Log streams.

use super::group::limit;
use crate::api::*;
use crate::catalog::Stream;
use crate::error::Error;
use crate::room::Logs;
use squall_service::Ctx;
use squall_store::Durability;
use std::sync::Arc;

/// Makes a stream.
pub async fn create_log_stream(
    room: &Logs,
    ctx: &Ctx,
    input: CreateLogStreamInput,
) -> Result<CreateLogStreamOutput, Error> {
    let group = room.group(ctx, &input.log_group_name)?;
    room.catalog.create_stream(&group, &input.log_stream_name, ctx.time.0, Durability::Durable).await?;
    Ok(CreateLogStreamOutput::default())
}

/// Deletes a stream with its lines.
pub async fn delete_log_stream(
    room: &Logs,
    ctx: &Ctx,
    input: DeleteLogStreamInput,
) -> Result<DeleteLogStreamOutput, Error> {
    let group = room.group(ctx, &input.log_group_name)?;
    let stream = room.stream(&group, &input.log_stream_name)?;
    room.catalog.delete_stream(&group, &input.log_stream_name).await?;
    room.writer.forget(vec![stream.path.clone()]).await?;
    Ok(DeleteLogStreamOutput::default())
}

/// Lists streams by name or by the time of their last line.
pub async fn describe_log_streams(
    room: &Logs,
    ctx: &Ctx,
    input: DescribeLogStreamsInput,
) -> Result<DescribeLogStreamsOutput, Error> {
    room.settle().await?;
    let group = room.group_by(ctx, input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
    let by_time = input.order_by.as_deref() == Some("LastEventTime");
    if by_time && input.log_stream_name_prefix.is_some() {
        return Err(Error::invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
    }
    let mut all: Vec<(Option<i64>, Arc<Stream>)> = Vec::new();
    let streams: Vec<_> = group.streams.read().values().cloned().collect();
    for stream in streams {
        if input.log_stream_name_prefix.as_ref().is_some_and(|p| !stream.record.name.starts_with(p.as_str())) {
            continue;
        }
        all.push((if by_time { stream.summary()?.last } else { None }, stream));
    }
    all.sort_by(|a, b| (a.0, &a.1.record.name).cmp(&(b.0, &b.1.record.name)));
    if input.descending == Some(true) {
        all.reverse();
    }
    // The token is the name of the page's last stream: names are unique, whatever the order.
    if let Some(token) = &input.next_token {
        let at = all.iter().position(|(_, s)| s.record.name == *token);
        let at = at.ok_or_else(|| Error::invalid("The specified nextToken is invalid."))?;
        all.drain(..=at);
    }
    let limit = limit(input.limit, 50, 50);
    let more = all.len() > limit;
    all.truncate(limit);
    let next_token = all.last().filter(|_| more).map(|(_, s)| s.record.name.clone());
    let group_name = group.record.read().name.clone();
    let log_streams = all.iter().map(|(_, s)| shown(ctx, &group_name, s)).collect::<Result<Vec<_>, _>>()?;
    Ok(DescribeLogStreamsOutput { log_streams: Some(log_streams), next_token })
}

fn shown(ctx: &Ctx, group: &str, stream: &Stream) -> Result<LogStream, Error> {
    let sum = stream.summary()?;
    let name = &stream.record.name;
    Ok(LogStream {
        log_stream_name: Some(name.clone()),
        creation_time: Some(stream.record.created_ms),
        first_event_timestamp: sum.first,
        last_event_timestamp: sum.last,
        last_ingestion_time: sum.ingested,
        // A token that nothing checks any more; clients still show it.
        upload_sequence_token: sum.last.map(|_| super::event::sequence_token(stream)),
        arn: Some(ctx.arn("logs", &format!("log-group:{group}:log-stream:{name}"))),
        // AWS has shown 0 for streams since 2019.
        stored_bytes: Some(0),
    })
}
