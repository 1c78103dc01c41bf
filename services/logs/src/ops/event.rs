//! Putting, getting and filtering lines.

use super::group::limit;
use crate::api::*;
use crate::catalog::{Group, Stream};
use crate::error::Error;
use crate::pattern::Pattern;
use crate::room::Logs;
use crate::search::{self, Found, From, Place, Query};
use crate::worker::expired_before;
use squall_service::Ctx;
use std::sync::Arc;

const DAY_MS: i64 = 24 * 3600 * 1000;
/// AWS takes lines up to two hours ahead of its clock and up to 14 days back.
const AHEAD_MS: i64 = 2 * 3600 * 1000;
const BACK_MS: i64 = 14 * DAY_MS;
/// Most bytes of a batch, each line counted with 26 bytes more.
const BATCH_BYTES_MAX: usize = 1_048_576;
const PAGE_MAX: usize = 10_000;

fn bad_token() -> Error {
    Error::invalid("The specified nextToken is invalid.")
}

/// The token that `PutLogEvents` answers; AWS ignores it since 2023.
#[must_use]
pub fn sequence_token(stream: &Stream) -> String {
    format!("{:056}", stream.record.file)
}

/// Appends lines; they are on the disk when it answers.
///
/// Limits: 1 to 10,000 lines, 1 MiB together, in the order of time, at most 24 hours apart.
///
/// # Errors
/// `ResourceNotFoundException`, `InvalidParameterException`.
pub async fn put_log_events(room: &Logs, ctx: &Ctx, input: PutLogEventsInput) -> Result<PutLogEventsOutput, Error> {
    let group = room.group(ctx, &input.log_group_name)?;
    let stream = room.stream(&group, &input.log_stream_name)?;
    let events = input.log_events;
    if !events.is_sorted_by_key(|e| e.timestamp) {
        return Err(Error::invalid("Log events in a single PutLogEvents request must be in chronological order."));
    }
    let bytes: usize = events.iter().map(|e| e.message.len() + 26).sum();
    if bytes > BATCH_BYTES_MAX {
        return Err(Error::invalid(format!("Upload too large: {bytes} bytes exceeds limit of {BATCH_BYTES_MAX}")));
    }
    if let (Some(first), Some(last)) = (events.first(), events.last())
        && last.timestamp.saturating_sub(first.timestamp) > DAY_MS
    {
        return Err(Error::invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    let now = ctx.time.0;
    let expired = expired_before(&group, now);
    let count = |f: &dyn Fn(i64) -> bool| events.iter().take_while(|e| f(e.timestamp)).count();
    let too_old = count(&|t| t < now - BACK_MS);
    let over = count(&|t| t < expired);
    let fresh = count(&|t| t <= now + AHEAD_MS);
    let index = |n: usize| i32::try_from(n).ok();
    let rejected = RejectedLogEventsInfo {
        too_new_log_event_start_index: index(fresh).filter(|_| fresh < events.len()),
        too_old_log_event_end_index: index(too_old).filter(|_| too_old > 0),
        expired_log_event_end_index: index(over).filter(|_| over > 0),
    };
    let first = too_old.max(over).min(fresh);
    let lines: Vec<_> = events.into_iter().take(fresh).skip(first).map(|e| (e.timestamp, e.message)).collect();
    if !lines.is_empty() {
        room.writer.append_durably(stream.clone(), lines, now).await?;
    }
    Ok(PutLogEventsOutput {
        next_sequence_token: Some(sequence_token(&stream)),
        rejected_log_events_info: (rejected != RejectedLogEventsInfo::default()).then_some(rejected),
        rejected_entity_info: None,
    })
}

/// Lines of one stream, page by page in both directions.
pub async fn get_log_events(room: &Logs, ctx: &Ctx, input: GetLogEventsInput) -> Result<GetLogEventsOutput, Error> {
    room.settle().await?;
    let group = room.group_by(ctx, input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
    let stream = room.stream(&group, &input.log_stream_name)?;
    let from = match &input.next_token {
        None if input.start_from_head == Some(true) => From::Start,
        None => From::End,
        Some(token) => read_token(token)?,
    };
    let (found, _) = find(
        room,
        &group,
        vec![stream.clone()],
        Wanted {
            start: input.start_time,
            // AWS leaves the end out here, unlike in FilterLogEvents.
            end: input.end_time,
            pattern: Pattern::All,
            limit: limit(input.limit, PAGE_MAX, PAGE_MAX),
            from,
        },
    )
    .await?;
    // Where nothing more is there, the token of that direction stays as it came.
    let edge = Place { time: 0, file: stream.record.file, offset: 0 };
    let held = match from {
        From::After(p) | From::Before(p) => p,
        From::Start | From::End => edge,
    };
    let forward = found.last().map_or(held, |(p, _, _)| *p);
    let backward = found.first().map_or(held, |(p, _, _)| *p);
    let events = found.into_iter().map(|(_, line, _)| OutputLogEvent {
        timestamp: Some(line.time),
        message: Some(line.text),
        ingestion_time: Some(line.ingested),
    });
    Ok(GetLogEventsOutput {
        events: Some(events.collect()),
        next_forward_token: Some(format!("f/{}/s", forward.digits())),
        next_backward_token: Some(format!("b/{}/s", backward.digits())),
    })
}

fn read_token(token: &str) -> Result<From, Error> {
    let place = |digits: &str| Place::parse(digits.strip_suffix("/s").unwrap_or(digits)).ok_or_else(bad_token);
    match token.split_at_checked(2) {
        Some(("f/", digits)) => Ok(From::After(place(digits)?)),
        Some(("b/", digits)) => Ok(From::Before(place(digits)?)),
        _ => Err(bad_token()),
    }
}

/// Lines of many streams in the order of time, those that match a pattern.
pub async fn filter_log_events(
    room: &Logs,
    ctx: &Ctx,
    input: FilterLogEventsInput,
) -> Result<FilterLogEventsOutput, Error> {
    room.settle().await?;
    let group = room.group_by(ctx, input.log_group_name.as_deref(), input.log_group_identifier.as_deref())?;
    if input.log_stream_names.is_some() && input.log_stream_name_prefix.is_some() {
        return Err(Error::invalid("logStreamNames and logStreamNamePrefix are mutually exclusive parameters."));
    }
    let streams = chosen(&group, input.log_stream_names.as_deref(), input.log_stream_name_prefix.as_deref())?;
    let from = match &input.next_token {
        None => From::Start,
        Some(token) => From::After(Place::parse(token).ok_or_else(bad_token)?),
    };
    let (page, more) = find(
        room,
        &group,
        streams,
        Wanted {
            start: input.start_time,
            // The end is inclusive here.
            end: input.end_time.map(|e| e.saturating_add(1)),
            pattern: Pattern::parse(input.filter_pattern.as_deref().unwrap_or_default())?,
            limit: limit(input.limit, PAGE_MAX, PAGE_MAX),
            from,
        },
    )
    .await?;
    let events = page.iter().map(|(place, line, stream)| FilteredLogEvent {
        log_stream_name: Some(stream.record.name.clone()),
        timestamp: Some(line.time),
        message: Some(line.text.clone()),
        ingestion_time: Some(line.ingested),
        event_id: Some(place.digits()),
    });
    Ok(FilterLogEventsOutput {
        events: Some(events.collect()),
        // AWS answers an empty list since 2019.
        searched_log_streams: Some(Vec::new()),
        next_token: page.last().filter(|_| more).map(|(p, _, _)| p.digits()),
    })
}

fn chosen(group: &Group, names: Option<&[String]>, prefix: Option<&str>) -> Result<Vec<Arc<Stream>>, Error> {
    let streams = group.streams.read();
    match names {
        Some(names) => names.iter().map(|n| streams.get(n).cloned().ok_or(Error::NoStream)).collect(),
        None => Ok(streams.values().filter(|s| prefix.is_none_or(|p| s.record.name.starts_with(p))).cloned().collect()),
    }
}

struct Wanted {
    start: Option<i64>,
    end: Option<i64>,
    pattern: Pattern,
    limit: usize,
    from: From,
}

/// Reads files off the request threads.
async fn find(room: &Logs, group: &Group, streams: Vec<Arc<Stream>>, w: Wanted) -> Result<(Vec<Found>, bool), Error> {
    let expired_before = expired_before(group, room.deps.clock.now().0);
    let work = tokio::task::spawn_blocking(move || {
        let Wanted { start, end, pattern, limit, from } = w;
        search::page(&streams, &Query { start, end, expired_before, pattern: &pattern, limit, from })
    });
    work.await.map_err(|e| Error::internal("search logs", e))?
}
