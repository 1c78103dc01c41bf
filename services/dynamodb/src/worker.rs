//! What happens by itself: rows of deleted tables go, new indexes fill up, expired items go, items are counted, old changes
//! are forgotten, backups are made and restored.
//!
//! Two loops per room, one of them for counting, which may take long. They end when the room is dropped. Everything they do
//! is found again from the state after a crash: garbage notes, `backfilling` in definitions, the time to live itself.

mod copies;
mod expiry;
mod logs;

use crate::codec;
use crate::error::Error;
use crate::room::{DynamoDb, refusal};
use crate::rules;
use crate::table::TableRef;
use crate::tables::{self, Rows};
use parking_lot::Mutex;
use squall_store::{Keep, Key, Mutations, Range, StateExt, Txn};
use squall_types::Millis;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// Longest time between two looks at what is due.
const LOOK: Duration = Duration::from_secs(5);
/// Items in one commit of the worker.
const SLICE_ROWS: usize = 100;
/// Stored bytes read for one commit of the worker.
const SLICE_BYTES: usize = 1024 * 1024;
/// A long look rests after each page so many times as long as the page took, and no longer than the bound.
const REST: u32 = 9;
const REST_MAX: Duration = Duration::from_secs(2);
/// Most notes of deleted tables that are read at once.
const GARBAGE_MAX: usize = 10_000;

/// Items and stored bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Items.
    pub items: i64,
    /// Bytes.
    pub bytes: i64,
}

/// What was counted, and when tables are due, by resource id. Soft: counted again after a start.
#[derive(Default)]
pub(crate) struct Counts(Mutex<HashMap<u64, Counted>>);

#[derive(Clone, Copy, Default)]
struct Counted {
    count: Count,
    count_due: Millis,
    ttl_due: Millis,
    log_due: Millis,
}

impl Counts {
    /// The last count of a table or index.
    pub(crate) fn of(&self, id: u64) -> Count {
        self.0.lock().get(&id).map(|c| c.count).unwrap_or_default()
    }

    fn due(&self, id: u64) -> Counted {
        self.0.lock().get(&id).copied().unwrap_or_default()
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Counted)) {
        change(self.0.lock().entry(id).or_default());
    }

    fn keep(&self, ids: &[u64]) {
        self.0.lock().retain(|id, _| ids.contains(id));
    }
}

/// Works until the room is gone.
pub(crate) async fn run(room: Weak<DynamoDb>, work: Arc<Notify>) {
    while let Some(room) = room.upgrade() {
        if let Err(error) = room.work().await {
            tracing::warn!(%error, "dynamodb: background work failed and is tried again");
        }
        // The room must not be kept alive while nothing is to be done.
        drop(room);
        let _ = tokio::time::timeout(LOOK, work.notified()).await;
    }
}

/// Counts until the room is gone.
pub(crate) async fn run_counts(room: Weak<DynamoDb>, stop: Arc<Notify>) {
    while let Some(room) = room.upgrade() {
        if let Err(error) = room.count_all().await {
            tracing::warn!(%error, "dynamodb: counting items failed and is tried again");
        }
        drop(room);
        let _ = tokio::time::timeout(LOOK, stop.notified()).await;
    }
}

impl DynamoDb {
    /// Does all that is due now.
    ///
    /// # Errors
    /// The state failed; what is left is done the next time.
    pub(crate) async fn work(&self) -> Result<(), Error> {
        self.remove_garbage().await?;
        let tables = self.catalog.all();
        let ids = tables.iter().flat_map(|t| t.indexes.iter().map(|i| i.id).chain([t.id]));
        let ids = ids.chain(tables.iter().filter_map(|t| t.history.map(|h| h.id)));
        let ids = ids.chain(self.streams.all().into_iter().map(|s| s.id));
        self.counts.keep(&ids.collect::<Vec<_>>());
        self.keep_logs().await?;
        self.keep_backups().await?;
        for table in tables {
            if let Some(work) = table.restore.as_ref().and_then(|r| r.work.clone()) {
                self.restore(table.clone(), work).await?;
                continue;
            }
            if table.indexes.iter().any(|i| i.backfilling) || table.expiry.is_some_and(|e| e.filling) {
                self.backfill(table.clone()).await?;
            }
            let now = self.deps.clock.now();
            if table.ttl.is_some() && now >= self.counts.due(table.id).ttl_due {
                self.expire(&table).await?;
                self.counts.change(table.id, |c| c.ttl_due = now.plus(self.options.ttl_interval()));
            }
        }
        Ok(())
    }

    /// Counts every table whose count is due.
    ///
    /// # Errors
    /// The state failed; what is left is counted the next time.
    pub(crate) async fn count_all(&self) -> Result<(), Error> {
        for table in self.catalog.all() {
            let now = self.deps.clock.now();
            if now >= self.counts.due(table.id).count_due {
                self.count(&table, now).await?;
            }
        }
        Ok(())
    }

    /// Waits after a page of a long look, so that looks take a tenth of one reader's time.
    async fn rest(&self, page_began: Millis) {
        let took = self.deps.clock.now().since(page_began);
        tokio::time::sleep((took * REST).min(REST_MAX)).await;
    }

    async fn remove_garbage(&self) -> Result<(), Error> {
        for note in self.deps.state.all(tables::all_garbage(), GARBAGE_MAX).await? {
            if let Some(rows) = tables::garbage_rows(&note.key) {
                self.deps.state.delete_prefix(rows.prefix()).await?;
            }
            self.deps.state.commit(Txn::new().delete(note.key)).await?;
        }
        Ok(())
    }

    /// Fills the new indexes of a table, then lets them be read.
    ///
    /// Writes maintain the new indexes since the definition has them, so each item is read again inside the commit that
    /// writes its index rows.
    async fn backfill(&self, table: TableRef) -> Result<(), Error> {
        let (from, to) = Rows::Table(table.id).segment(0, 1);
        let mut next: Option<Key> = None;
        loop {
            let mut range = Range::new(from.clone(), to.clone()).limit(SLICE_ROWS).max_bytes(SLICE_BYTES);
            if let Some(next) = next.take() {
                range = range.starting(next);
            }
            let page = self.deps.state.range(range).await?;
            let keys: Vec<Key> = page.rows.iter().map(|row| row.key.clone()).collect();
            if !keys.is_empty() && !self.fill(&table, keys).await? {
                // The definition changed: the next look starts again with the new one.
                self.catalog.reload(&table.region, &table.name).await?;
                self.work.notify_one();
                return Ok(());
            }
            match page.next {
                Some(key) => next = Some(key),
                None => break,
            }
        }
        let done = |table: &mut crate::table::Table| {
            table.indexes.iter_mut().for_each(|i| i.backfilling = false);
            table.expiry.iter_mut().for_each(|e| e.filling = false);
            Ok(())
        };
        if self.redefine_from(&table, &done).await?.is_none() {
            self.work.notify_one();
        }
        Ok(())
    }

    /// Writes the new index rows of some items; false when the definition changed.
    async fn fill(&self, table: &TableRef, keys: Vec<Key>) -> Result<bool, Error> {
        let of = table.clone();
        let txn = Txn::new().guard(table.key.clone(), table.ver).rule(keys, move |view, out| -> Result<(), Error> {
            for row in view.rows.iter().flatten() {
                let item = codec::decode(&row.value)?;
                let Some(primary) = of.schema.bytes(&item) else { continue };
                for index in of.indexes.iter().filter(|i| i.backfilling) {
                    if let Some((key, value)) = rules::index_row(&of, index, &primary, &item) {
                        out.put(key, value);
                    }
                }
                let expiry = rules::expiry_row(&of, &primary, &item).filter(|_| of.expiry.is_some_and(|e| e.filling));
                if let Some((key, value)) = expiry {
                    out.put(key, value);
                }
            }
            Ok(())
        });
        match self.deps.state.commit(txn).await {
            Ok(_) => Ok(true),
            Err(squall_store::Error::Guard(_)) => Ok(false),
            Err(error) => Err(refusal(error)),
        }
    }

    async fn count(&self, table: &TableRef, now: Millis) -> Result<(), Error> {
        let due = now.plus(self.options.count_interval());
        let indexes = table.indexes.iter().map(|i| (Rows::Index(i.id), i.id));
        for (rows, id) in indexes.chain([(Rows::Table(table.id), table.id)]) {
            let count = self.counted(rows).await?;
            self.counts.change(id, |c| (c.count, c.count_due) = (count, due));
        }
        Ok(())
    }

    async fn counted(&self, rows: Rows) -> Result<Count, Error> {
        let sums = Arc::new((AtomicI64::new(0), AtomicI64::new(0)));
        let (from, to) = rows.segment(0, 1);
        let mut next: Option<Key> = None;
        loop {
            let began = self.deps.clock.now();
            let seen = sums.clone();
            let mut range = Range::new(from.clone(), to.clone()).sift(move |_, value| {
                seen.0.fetch_add(1, Ordering::Relaxed);
                seen.1.fetch_add(value.len() as i64, Ordering::Relaxed);
                Keep::Skip
            });
            if let Some(next) = next.take() {
                range = range.starting(next);
            }
            match self.deps.state.range(range).await?.next {
                Some(key) => next = Some(key),
                None => break,
            }
            self.rest(began).await;
        }
        Ok(Count { items: sums.0.load(Ordering::Relaxed), bytes: sums.1.load(Ordering::Relaxed) })
    }
}
