//! How long changes are kept: marks say which number a part had reached at which time, and old changes are trimmed by them.
//!
//! A mark costs one small row every few minutes for a part that is written to, so that trimming need not read the changes.

use crate::error::Error;
use crate::tables;
use squall_store::{Key, Mutation, Mutations as _, Part, Range, Row, State, StateExt as _, Txn, envelope};
use squall_types::Millis;
use std::time::Duration;

/// Time between two marks of a part.
pub const MARK: Duration = Duration::from_secs(300);

/// The number that a mark stands for.
fn number(row: &Row) -> Result<u64, Error> {
    Ok(envelope::open_counter(Some(&row.value))?.unsigned_abs())
}

/// The last mark at `time` or before it.
async fn last_mark(state: &dyn State, part: Part, time: Millis) -> Result<Option<Row>, Error> {
    let from = std::ops::Bound::Included(tables::log_marks(part));
    let to = std::ops::Bound::Included(tables::log_mark(part, time));
    let mut range = Range::new(from, to).limit(1);
    range.reverse = true;
    Ok(state.range(range).await?.rows.pop())
}

/// A number that everything up to it was written before `time`, as near as the marks know.
///
/// # Errors
/// The state failed.
pub async fn before(state: &dyn State, part: Part, time: Millis) -> Result<u64, Error> {
    let low = super::low(state, part).await?;
    let mark = last_mark(state, part, Millis(time.0 - 1)).await?;
    Ok(mark.as_ref().map(number).transpose()?.unwrap_or(0).max(low))
}

/// Marks where a part is now, unless nothing came since the last mark or that is young.
///
/// # Errors
/// The state failed.
pub async fn mark(state: &dyn State, part: Part) -> Result<(), Error> {
    let head = state.head(part).await?;
    let now = state.now();
    let last = last_mark(state, part, Millis(i64::MAX)).await?;
    let reached = match &last {
        Some(row) if now.since(tables::mark_time(&row.key).unwrap_or_default()) < MARK => return Ok(()),
        Some(row) => number(row)?,
        None => 0,
    };
    if head > reached {
        let value = envelope::seal_counter(i64::try_from(head).unwrap_or(i64::MAX));
        state.commit(Txn::new().put(tables::log_mark(part, now), value)).await?;
    }
    Ok(())
}

/// Removes what was written before `time`, as far as the marks know.
///
/// # Errors
/// The state failed.
pub async fn trim(state: &dyn State, part: Part, time: Millis) -> Result<(), Error> {
    let Some(mark) = last_mark(state, part, time).await? else { return Ok(()) };
    let upto = number(&mark)?;
    if upto > super::low(state, part).await? {
        let low = envelope::seal_counter(i64::try_from(upto).unwrap_or(i64::MAX));
        let txn = Txn::new().mutation(Mutation::Trim { part, upto }).put(tables::log_low(part), low);
        state.commit(txn).await?;
    }
    // Older marks say nothing any more.
    remove_marks(state, tables::log_marks(part), mark.key).await
}

async fn remove_marks(state: &dyn State, from: Key, to: Key) -> Result<(), Error> {
    let limit = squall_store::limits::SLICE_MAX;
    let mut txn = Txn::new();
    txn.muts.mutate(Mutation::DeleteRange { from, to, limit });
    state.commit(txn).await?;
    Ok(())
}

/// Adds the removal of all of a part to a transaction.
pub fn drop_part(part: Part, txn: Txn) -> Txn {
    let limit = squall_store::limits::SLICE_MAX;
    let from = tables::log_marks(part);
    let mut txn = txn.mutation(Mutation::Trim { part, upto: u64::MAX }).delete(tables::log_low(part));
    if let std::ops::Bound::Excluded(to) = from.prefix_end() {
        txn = txn.mutation(Mutation::DeleteRange { from, to, limit });
    }
    txn
}
