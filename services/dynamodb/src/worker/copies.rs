//! Backups are made and restored, tables are brought back to points in time.
//!
//! A restore to a point in time copies the table as it is, page by page while writes go on, and then undoes, for every item
//! that has changed since the point, its first change since: whatever the copy saw of that item, it ends as it was. Both
//! steps may be begun again after a crash: copies write the same rows, and undone items are marked in their transaction.

use super::{SLICE_BYTES, SLICE_ROWS};
use crate::backup::Backup;
use crate::codec;
use crate::error::Error;
use crate::features::{History, Restoring};
use crate::key::KeyBytes;
use crate::room::{DynamoDb, refusal};
use crate::rules::{self, Change, Write};
use crate::stream::{record, retention, trimmed};
use crate::table::{Table, TableRef};
use crate::tables::{self, Rows};
use futures_util::StreamExt as _;
use squall_store::{Key, Mutations as _, Range, Row, StateExt as _, Txn, envelope, limits};
use squall_types::Millis;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Time between two looks at all backups, which find those that have expired.
const LOOK: Duration = Duration::from_secs(600);
/// Most backups that are looked through.
const BACKUPS_MAX: usize = 100_000;
/// Changes undone in one commit: two keys of its rule each.
const UNDO_MAX: usize = limits::RULE_KEYS_MAX / 2;

impl DynamoDb {
    /// Makes the backups that were asked for, and removes those whose time has ended.
    pub(super) async fn keep_backups(&self) -> Result<(), Error> {
        let now = self.deps.clock.now();
        if now.0 < self.backups_due.load(Ordering::Relaxed) {
            return Ok(());
        }
        // Before the look: what is asked for meanwhile is looked for again.
        self.backups_due.store(now.plus(LOOK).0, Ordering::Relaxed);
        let done = self.look_at_backups(now).await;
        if done.is_err() {
            self.backups_due.store(0, Ordering::Relaxed);
        }
        done
    }

    async fn look_at_backups(&self, now: Millis) -> Result<(), Error> {
        for row in self.deps.state.all(tables::backups(), BACKUPS_MAX).await? {
            let backup = Backup::open(&row.value)?;
            if backup.creating {
                self.make_backup(backup).await?;
            } else if backup.expires.is_some_and(|at| at <= now) && !self.is_restored_from(backup.id) {
                let garbage = tables::garbage(Rows::Table(backup.id));
                self.deps.state.commit(Txn::new().delete(row.key).put(garbage, envelope::seal(&[]))).await?;
            }
        }
        Ok(())
    }

    async fn make_backup(&self, mut backup: Backup) -> Result<(), Error> {
        let (mut items, mut bytes, mut next) = (0, 0, None);
        loop {
            let (rows, more) = self.rows(backup.table.id, next).await?;
            let mut txn = Txn::new();
            for row in rows {
                (items, bytes) = (items + 1, bytes + row.value.len() as i64);
                txn.muts.put(tables::moved(&row.key, backup.id), row.value);
            }
            if !txn.muts.is_empty() {
                // It reaches the disk with the commit below at the latest.
                self.deps.state.commit(txn.lazy()).await?;
            }
            match more {
                Some(key) => next = Some(key),
                None => break,
            }
        }
        (backup.creating, backup.items, backup.bytes) = (false, items, bytes);
        self.deps.state.commit(Txn::new().exists(backup.key()).put(backup.key(), backup.seal()?)).await?;
        Ok(())
    }

    /// A page of a table's rows, and where the next one begins.
    async fn rows(&self, id: u64, next: Option<Key>) -> Result<(Vec<Row>, Option<Key>), Error> {
        let (from, to) = Rows::Table(id).segment(0, 1);
        let mut range = Range::new(from, to).limit(SLICE_ROWS).max_bytes(SLICE_BYTES);
        if let Some(next) = next {
            range = range.starting(next);
        }
        let page = self.deps.state.range(range).await?;
        Ok((page.rows, page.next))
    }

    /// Fills a restored table and lets it be used.
    pub(super) async fn restore(&self, table: TableRef, work: Restoring) -> Result<(), Error> {
        match (work.history, work.undo_until) {
            (Some(history), Some(until)) => {
                self.undo(&table, &work, history, until).await?;
                let garbage = tables::garbage(Rows::Undone(work.marks));
                self.deps.state.commit(Txn::new().put(garbage, envelope::seal(&[]))).await?;
                self.restored_to(&table, None).await
            }
            (history, _) => {
                self.copy(&table, work.from).await?;
                let undo_until = match history {
                    Some(history) => Some(self.deps.state.head(history.part()).await?),
                    None => None,
                };
                self.restored_to(&table, undo_until.map(|_| Restoring { undo_until, ..work })).await
            }
        }
    }

    async fn restored_to(&self, table: &TableRef, left: Option<Restoring>) -> Result<(), Error> {
        let change = |table: &mut Table| {
            table.restore.iter_mut().for_each(|r| r.work = left.clone());
            Ok(())
        };
        self.redefine_from(table, &change).await?;
        self.work.notify_one();
        Ok(())
    }

    async fn copy(&self, table: &TableRef, from: u64) -> Result<(), Error> {
        let mut next = None;
        loop {
            let (rows, more) = self.rows(from, next).await?;
            let (mut txn, mut bytes) = (Txn::new(), 0);
            for row in rows {
                let item = codec::decode(&row.value)?;
                let Some(primary) = table.schema.bytes(&item) else { continue };
                let at = txn.muts.len();
                rules::index_changes(table, &primary, None, Some(&item), &mut txn.muts);
                txn.muts.put(tables::moved(&row.key, table.id), row.value);
                bytes += txn.muts[at..].iter().map(limits::bytes).sum::<usize>();
                if bytes > SLICE_BYTES {
                    self.deps.state.commit(std::mem::take(&mut txn).lazy()).await?;
                    bytes = 0;
                }
            }
            if !txn.muts.is_empty() {
                self.deps.state.commit(txn.lazy()).await?;
            }
            match more {
                Some(key) => next = Some(key),
                None => return Ok(()),
            }
        }
    }

    /// Brings every item that changed after the table's time back to what it was then.
    async fn undo(&self, table: &TableRef, work: &Restoring, history: History, until: u64) -> Result<(), Error> {
        let Some(at) = table.restore.as_ref().map(|r| r.at) else { return Ok(()) };
        let state = &self.deps.state;
        let mut seen = retention::before(state.as_ref(), history.part(), Millis(at.0 + 1)).await?;
        let mut changes = state.watch(history.part(), seen);
        let (mut writes, mut bytes): (Vec<(Key, Write)>, usize) = (Vec::new(), 0);
        while seen < until {
            let Some(change) = changes.next().await else { break };
            let change = change.map_err(trimmed)?;
            seen = change.seq;
            if change.at > at {
                bytes += change.body.len();
                let (key, old) = record::read_undo(&change.body)?;
                let mark = tables::undone(work.marks, &key);
                // The first change counts; later ones of the same commit would not see its mark.
                if writes.iter().all(|(known, _)| *known != mark) {
                    writes.push((mark, to_old(table, key, old)));
                }
            }
            if writes.len() >= UNDO_MAX || bytes > SLICE_BYTES {
                self.undo_some(table, std::mem::take(&mut writes)).await?;
                bytes = 0;
            }
        }
        self.undo_some(table, writes).await
    }

    async fn undo_some(&self, table: &TableRef, writes: Vec<(Key, Write)>) -> Result<(), Error> {
        let keys: Vec<Key> = writes.iter().flat_map(|(mark, write)| [mark.clone(), write.row_key()]).collect();
        let txn = Txn::new().guard(table.key.clone(), table.ver).rule(keys, move |view, out| -> Result<(), Error> {
            for (at, (mark, write)) in writes.iter().enumerate() {
                if view.value(2 * at).is_none() {
                    out.put(mark.clone(), envelope::seal(&[]));
                    write.run(view.value(2 * at + 1), out)?;
                }
            }
            Ok(())
        });
        self.deps.state.commit(txn.lazy()).await.map(drop).map_err(refusal)
    }
}

fn to_old(table: &TableRef, key: KeyBytes, old: Option<crate::item::Item>) -> Write {
    let change = old.map_or(Change::Delete, Change::Put);
    Write { table: table.clone(), key, condition: None, change, old_on_failure: false }
}
