//! The state trait and its short forms.

use std::any::Any;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use squall_types::Millis;

use crate::Committed;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::queue::{ClaimSpec, Claimed, Queue};
use crate::read::{Consistency, Page, Range, ReadOp, ReadOut, Row};
use crate::record::Record;
use crate::stream::{Change, Part};
use crate::txn::Txn;

/// Durable state: five verbs. Held as `Arc<dyn State>`.
#[async_trait]
pub trait State: Send + Sync {
    /// Reads at one snapshot; the answers come in the order of the operations.
    ///
    /// # Errors
    /// `Invalid`, `Unavailable`, `Corrupt`.
    async fn read(&self, ops: Vec<ReadOp>, consistency: Consistency) -> Result<Vec<ReadOut>>;

    /// Applies a transaction: whole and durable on `Ok`, nothing of it on any error but `Unknown`.
    /// Goes on to its end when the future is dropped.
    ///
    /// # Errors
    /// `Rejected`, `Check`, `Guard`, `Bounds`, `Stale`, `Invalid`, `Panicked`, `Corrupt`, `Unavailable`, `Unknown`.
    async fn commit(&self, txn: Txn) -> Result<Committed>;

    /// Leases due entries, oldest due time first; waits up to `spec.wait` for the first one. An empty answer means that
    /// none came. Dropping the future gives its leases back.
    ///
    /// # Errors
    /// `Invalid`, `Unavailable`, `Unknown`.
    async fn claim(&self, queue: Queue, spec: ClaimSpec) -> Result<Vec<Claimed>>;

    /// Follows a stream part: every change with a number above `after`, in order, without gaps, for ever.
    /// Ends after an error; `Trimmed` if changes above `after` are gone.
    fn watch(&self, part: Part, after: u64) -> BoxStream<'static, Result<Change>>;

    /// One consistent cut of everything, with the position of every stream.
    fn export(&self) -> BoxStream<'static, Result<Record>>;

    /// Fills an empty state with a cut, whole or not at all.
    ///
    /// # Errors
    /// `Invalid` if the state is not empty, or the cut is incomplete or of a newer format.
    async fn import(&self, records: BoxStream<'static, Result<Record>>) -> Result<()>;

    /// The engine's time, which decides what is due and what has expired.
    fn now(&self) -> Millis;
}

/// Short forms over [`State`].
#[async_trait]
pub trait StateExt: State {
    /// The row of a key, strongly consistent.
    ///
    /// # Errors
    /// As [`State::read`].
    async fn get(&self, key: Key) -> Result<Option<Row>> {
        self.get_with(key, Consistency::Strong).await
    }

    /// The row of a key.
    ///
    /// # Errors
    /// As [`State::read`].
    async fn get_with(&self, key: Key, consistency: Consistency) -> Result<Option<Row>> {
        match self.read(vec![ReadOp::Get(key)], consistency).await?.pop() {
            Some(ReadOut::Row(row)) => Ok(row),
            _ => Err(wrong_answer()),
        }
    }

    /// The rows of many keys at one snapshot, in order.
    ///
    /// # Errors
    /// As [`State::read`].
    async fn get_many(&self, keys: Vec<Key>, consistency: Consistency) -> Result<Vec<Option<Row>>> {
        let outs = self.read(keys.into_iter().map(ReadOp::Get).collect(), consistency).await?;
        outs.into_iter()
            .map(|out| match out {
                ReadOut::Row(row) => Ok(row),
                _ => Err(wrong_answer()),
            })
            .collect()
    }

    /// One page of a range, strongly consistent.
    ///
    /// # Errors
    /// As [`State::read`].
    async fn range(&self, range: Range) -> Result<Page> {
        self.range_with(range, Consistency::Strong).await
    }

    /// One page of a range.
    ///
    /// # Errors
    /// As [`State::read`].
    async fn range_with(&self, range: Range, consistency: Consistency) -> Result<Page> {
        match self.read(vec![ReadOp::Range(range)], consistency).await?.pop() {
            Some(ReadOut::Rows(page)) => Ok(page),
            _ => Err(wrong_answer()),
        }
    }

    /// Every row with this prefix, page by page (not one snapshot when there are many). For small sets: refused above
    /// `max` rows.
    ///
    /// # Errors
    /// As [`State::read`], and `Invalid` above `max`.
    async fn all(&self, prefix: Key, max: usize) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        let mut range = Range::prefix(&prefix);
        loop {
            let page = self.range(range).await?;
            rows.extend(page.rows);
            if rows.len() > max {
                return Err(Error::invalid(format!("more than {max} rows under a prefix")));
            }
            match page.next {
                Some(next) => range = Range::prefix(&prefix).starting(next),
                None => return Ok(rows),
            }
        }
    }

    /// The last sequence number of a stream part.
    ///
    /// # Errors
    /// As [`State::read`].
    async fn head(&self, part: Part) -> Result<u64> {
        match self.read(vec![ReadOp::Head(part)], Consistency::Strong).await?.pop() {
            Some(ReadOut::Head(seq)) => Ok(seq),
            _ => Err(wrong_answer()),
        }
    }

    /// Commits a transaction whose rule answers `T` or refuses with `E`. The outer result is the engine's, the inner
    /// one the rule's.
    ///
    /// # Errors
    /// As [`State::commit`], but for a refusal of type `E`.
    async fn run<T: Any + Send, E: Any + Send>(&self, txn: Txn) -> Result<std::result::Result<T, E>> {
        match self.commit(txn).await {
            Ok(done) => match done.reply::<T>() {
                Some(reply) => Ok(Ok(reply)),
                None => Err(Error::invalid("the rule's answer has another type")),
            },
            Err(error) => error.rejected::<E>().map(Err),
        }
    }

    /// Removes every row with this prefix, slice by slice. Not atomic; a crash in between leaves the rest.
    ///
    /// # Errors
    /// As [`State::commit`].
    async fn delete_prefix(&self, prefix: Key) -> Result<u64> {
        let std::ops::Bound::Excluded(to) = prefix.prefix_end() else {
            return Err(Error::invalid("prefix without an end"));
        };
        let mut removed = 0;
        loop {
            let limit = crate::limits::SLICE_MAX;
            let slice = crate::Mutation::DeleteRange { from: prefix.clone(), to: to.clone(), limit };
            let done = self.commit(Txn::new().mutation(slice)).await?;
            removed += done.removed;
            if done.removed < u64::from(limit) {
                return Ok(removed);
            }
        }
    }
}

impl<S: State + ?Sized> StateExt for S {}

fn wrong_answer() -> Error {
    Error::Corrupt("the engine answered another operation".into())
}
