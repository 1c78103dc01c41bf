//! `StreamSpecification`: how a table's stream is turned on and off.

use crate::api;
use crate::error::Error;
use crate::features::{Stream, View};
use crate::ops::definition::invalid;
use crate::table::Table;
use squall_types::Millis;

/// The view that a specification asks for; `None` when it wants no stream.
///
/// # Errors
/// `ValidationException` for a view without a stream, or a stream without a view.
pub(in crate::ops) fn wanted(asked: Option<&api::StreamSpecification>) -> Result<Option<View>, Error> {
    let Some(asked) = asked else { return Ok(None) };
    match (asked.stream_enabled, asked.stream_view_type.as_deref()) {
        (true, Some(name)) => {
            View::of(name).map(Some).ok_or_else(|| invalid(format!("Unknown StreamViewType: {name}")))
        }
        (true, None) => Err(invalid("StreamViewType must be specified when StreamEnabled is true")),
        (false, Some(_)) => Err(invalid("StreamViewType must not be specified when StreamEnabled is false")),
        (false, None) => Ok(None),
    }
}

/// A stream of a table that begins now.
pub(in crate::ops) fn begun(table: &Table, view: View, id: u64, shards: u16, now: Millis) -> Stream {
    let time = squall_protocol::timestamp::iso8601(now);
    let time = time.trim_end_matches('Z');
    let label = if time.contains('.') { time.to_owned() } else { format!("{time}.000") };
    Stream {
        id,
        region: table.region.clone(),
        table: table.name.clone(),
        arn: format!("{}/stream/{label}", table.arn),
        label,
        view,
        shards,
        schema: table.schema.clone(),
        created: now,
        closed: None,
        policy: None,
    }
}

/// Turns a table's stream on or off.
///
/// # Errors
/// `ValidationException` when it is so already.
pub(in crate::ops) fn change(
    table: &mut Table,
    asked: &api::StreamSpecification,
    id: u64,
    shards: u16,
    now: Millis,
) -> Result<(), Error> {
    match (wanted(Some(asked))?, table.streams()) {
        (Some(_), true) => {
            Err(Error::validation(format!("Table already has an enabled stream: TableName: {}", table.name)))
        }
        (None, false) => {
            Err(Error::validation(format!("Table has no enabled stream to disable: TableName: {}", table.name)))
        }
        (Some(view), false) => {
            // The label names a stream for ever: two of one millisecond would be one.
            let now = match &table.stream {
                Some(last) if last.created >= now => Millis(last.created.0 + 1),
                _ => now,
            };
            table.stream = Some(begun(table, view, id, shards, now));
            Ok(())
        }
        (None, true) => {
            table.stream.iter_mut().for_each(|s| s.closed = Some(now));
            Ok(())
        }
    }
}
