//! Time to live: items whose second has come are removed, found by their expiry rows.

use super::SLICE_ROWS;
use crate::codec;
use crate::error::Error;
use crate::key::KeyBytes;
use crate::room::{DynamoDb, refusal};
use crate::rules::{self, Change, Write};
use crate::table::{Table, TableRef};
use crate::tables;
use squall_store::{Key, Mutations as _, Range, Row, StateExt as _, Txn, envelope, ids, limits};

/// Items whose time ended longer ago stay, as on AWS: the number is probably no time.
const PAST_MAX_S: i64 = 5 * 365 * 24 * 3600;
/// Bytes that one commit may write before the rest is left to the next one.
const SLICE_BYTES: usize = limits::TXN_BYTES_MAX / 4;

impl DynamoDb {
    /// Removes the expired items of a table.
    pub(super) async fn expire(&self, table: &TableRef) -> Result<(), Error> {
        let Some(rows) = table.expiry else { return self.begin_expiry(table).await };
        let now = self.deps.clock.now().secs();
        loop {
            let began = self.deps.clock.now();
            let (from, to) = tables::expiries_before(rows.id, now.saturating_add(1));
            let page = self.deps.state.range(Range::new(from, to).limit(SLICE_ROWS)).await?;
            if page.rows.is_empty() {
                return Ok(());
            }
            if !self.remove_expired(table, page.rows, now).await? {
                // The definition changed: the next look has the new one.
                self.catalog.reload(&table.region, &table.name).await?;
                return Ok(());
            }
            self.rest(began).await;
        }
    }

    /// Tables that got their time to live before there were expiry rows get those now.
    async fn begin_expiry(&self, table: &TableRef) -> Result<(), Error> {
        let id = ids::allocate(self.deps.state.as_ref()).await?;
        let change = |table: &mut Table| {
            table.expiry = table.ttl.as_ref().map(|_| crate::features::ExpiryRows { id, filling: true });
            Ok(())
        };
        self.redefine_from(table, &change).await?;
        self.work.notify_one();
        Ok(())
    }

    /// Removes items that are still expired, and rows that say nothing any more; false when the definition changed.
    async fn remove_expired(&self, table: &TableRef, rows: Vec<Row>, now: i64) -> Result<bool, Error> {
        let writes: Vec<(Key, Write)> = rows.into_iter().map(|row| removal(table, row)).collect::<Result<_, _>>()?;
        let keys: Vec<Key> = writes.iter().map(|(_, write)| write.row_key()).collect();
        let txn = Txn::new().guard(table.key.clone(), table.ver).rule(keys, move |view, out| -> Result<(), Error> {
            for (at, (expiry, write)) in writes.iter().enumerate() {
                // The item may have changed since, or be gone: then its row is of no use.
                let item = view.value(at).map(codec::decode).transpose()?;
                let row = item.and_then(|item| rules::expiry_row(&write.table, &write.key, &item));
                let still = row.is_some_and(|(key, _)| key == *expiry);
                let second = tables::expiry_second(expiry).unwrap_or_default();
                if still && second > now - PAST_MAX_S {
                    write.run(view.value(at), out)?;
                } else {
                    out.delete(expiry.clone());
                }
                if out.iter().map(limits::bytes).sum::<usize>() > SLICE_BYTES {
                    break;
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
}

fn removal(table: &TableRef, row: Row) -> Result<(Key, Write), Error> {
    let damaged = || Error::Internal("an expiry row is damaged".into());
    let (hash, range) = envelope::open(&row.value)?.split_first_chunk().ok_or_else(damaged)?;
    let key = KeyBytes { hash: *hash, range: range.to_vec() };
    let write = Write { table: table.clone(), key, condition: None, change: Change::Expire, old_on_failure: false };
    Ok((row.key, write))
}
