//! BatchWriteItem.

use super::{collection_metrics, write_spent};
use crate::api::shapes;
use crate::capacity::{Spent, Unit, Wanted, write_units};
use crate::error::Error;
use crate::item::Item;
use crate::room::{DynamoDb, refusal};
use crate::rules::{self, Change, Done, Write};
use crate::table::TableRef;
use crate::throttle::Way;
use crate::wire::{Fields, Output};
use crate::{codec, request};
use squall_protocol::Value as Wire;
use squall_service::Ctx;
use squall_store::{Key, Mutations, Txn};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most puts and deletes of a request.
const WRITES_MAX: usize = 25;
/// Bytes of items in one commit: well below what the state engine takes, indexes included.
const COMMIT_BYTES: usize = 1024 * 1024;
/// As for single writes.
const GUARD_TRIES: usize = 8;

/// One put or delete as it was asked for.
#[derive(Clone)]
struct Asked {
    named: String,
    change: Change,
    /// The item, or the key of a delete.
    item: Item,
}

impl DynamoDb {
    /// Puts and deletes up to 25 items of several tables. Each is written whole; together they are not atomic.
    ///
    /// Cost: one commit per megabyte of items. Unprocessed is what throughput does not let pass.
    ///
    /// # Errors
    /// `ValidationException`, `ResourceNotFoundException`.
    pub(crate) async fn batch_write_item(&self, ctx: &Ctx, mut fields: Fields) -> Result<Wire, Error> {
        let wanted = Wanted::of(fields.text("ReturnConsumedCapacity").as_deref());
        let metrics = fields.text("ReturnItemCollectionMetrics");
        let asked = asked(&mut fields)?;
        // Everything is checked before anything is written.
        let rows: Vec<Key> = asked.iter().map(|a| Ok(self.prepare(ctx, a)?.row_key())).collect::<Result<_, Error>>()?;
        if crate::item::has_duplicates(&rows) {
            return Err(Error::validation("Provided list of item keys contains duplicates"));
        }
        let mut costs: BTreeMap<String, (TableRef, Spent)> = BTreeMap::new();
        let mut collections: BTreeMap<String, Vec<Wire>> = BTreeMap::new();
        let (asked, refused) = self.admitted(ctx, asked)?;
        for slice in slices(asked) {
            let (tables, done) = self.write_slice(ctx, &slice, wanted != Wanted::None).await?;
            for ((asked, table), done) in slice.iter().zip(&tables).zip(&done) {
                let entry = costs.entry(asked.named.clone()).or_insert_with(|| (table.clone(), Spent::default()));
                entry.1.add(&write_spent(done));
                // The table's part was paid when the write was let pass.
                let indexes = || Spent { table: 0.0, indexes: done.index_units.clone() };
                self.pay(table, Way::Write, indexes);
                let found = collection_metrics(metrics.as_deref(), table, &asked.item);
                if let Some(found) = found {
                    collections.entry(asked.named.clone()).or_default().push(found);
                }
            }
        }
        let values = costs.iter().filter_map(|(named, (table, spent))| spent.value(wanted, Unit::Plain, table, named));
        let mut out = Output::new(&shapes::BATCH_WRITE_ITEM_OUTPUT);
        out.set("UnprocessedItems", Some(Wire::Map(unprocessed(refused))));
        out.set("ConsumedCapacity", (wanted != Wanted::None).then(|| Wire::List(values.collect())));
        let collections: Vec<(String, Wire)> = collections.into_iter().map(|(k, v)| (k, Wire::List(v))).collect();
        out.set("ItemCollectionMetrics", (!collections.is_empty()).then_some(Wire::Map(collections)));
        Ok(out.finish())
    }

    /// The writes that the tables' throughput lets pass, and those that it does not.
    ///
    /// # Errors
    /// `ProvisionedThroughputExceededException`, `ThrottlingException` when none may pass.
    fn admitted(&self, ctx: &Ctx, asked: Vec<Asked>) -> Result<(Vec<Asked>, Vec<Asked>), Error> {
        let (mut passed, mut refused, mut why) = (Vec::new(), Vec::new(), None);
        for one in asked {
            let table = self.table(ctx, &one.named)?;
            match self.admit_write(&table) {
                Ok(()) => {
                    let units = write_units(one.item.size_bytes());
                    self.pay(&table, Way::Write, || Spent { table: units, indexes: Vec::new() });
                    passed.push(one);
                }
                Err(error) => {
                    why = Some(error);
                    refused.push(one);
                }
            }
        }
        match why {
            Some(error) if passed.is_empty() => Err(error),
            _ => Ok((passed, refused)),
        }
    }

    fn prepare(&self, ctx: &Ctx, asked: &Asked) -> Result<Write, Error> {
        let table = self.table(ctx, &asked.named)?;
        let key = match &asked.change {
            Change::Put(item) => {
                // The batch has one text for every wrong key.
                let wrong = |_| Error::validation("The provided key element does not match the schema");
                let fits = |item: &Item| table.schema.bytes(item).map(|_| ()).ok_or(());
                fits(item).map_err(wrong)?;
                rules::check_put(&table, item)?;
                table.schema.of_item(item)?
            }
            _ => table.schema.of_key(&asked.item)?,
        };
        Ok(Write { table, key, condition: None, change: asked.change.clone(), old_on_failure: false })
    }

    /// Writes some items in one commit.
    async fn write_slice(
        &self,
        ctx: &Ctx,
        slice: &[Asked],
        old_wanted: bool,
    ) -> Result<(Vec<TableRef>, Vec<Done>), Error> {
        for _ in 0..GUARD_TRIES {
            let writes: Vec<Write> = slice.iter().map(|a| self.prepare(ctx, a)).collect::<Result<_, _>>()?;
            let tables: Vec<TableRef> = writes.iter().map(|w| w.table.clone()).collect();
            let mut txn = Txn::new();
            for table in &tables {
                if txn.guards.iter().all(|(key, _)| *key != table.key) {
                    txn = txn.guard(table.key.clone(), table.ver);
                }
            }
            let blind = !old_wanted && !tables.iter().any(|t| t.needs_old());
            match self.deps.state.commit(batch(txn, writes, blind)).await {
                Ok(done) => {
                    let done =
                        done.reply::<Vec<Done>>().unwrap_or_else(|| slice.iter().map(|_| Done::default()).collect());
                    return Ok((tables, done));
                }
                Err(squall_store::Error::Guard(_)) => {
                    for table in &tables {
                        self.catalog.reload(&table.region, &table.name).await?;
                    }
                }
                Err(error) => return Err(refusal(error)),
            }
        }
        Err(Error::Internal("a table's definition kept changing".into()))
    }
}

/// The requests of writes that did not pass, by table, as they came.
fn unprocessed(refused: Vec<Asked>) -> Vec<(String, Wire)> {
    let mut out: Vec<(String, Wire)> = Vec::new();
    for Asked { named, change, item } in refused {
        let (shape, verb, member) = match change {
            Change::Put(_) => (&shapes::PUT_REQUEST, "PutRequest", "Item"),
            _ => (&shapes::DELETE_REQUEST, "DeleteRequest", "Key"),
        };
        let mut inner = Output::new(shape);
        inner.set(member, Some(crate::wire::item_value(item)));
        let mut request = Output::new(&shapes::WRITE_REQUEST);
        request.set(verb, Some(inner.finish()));
        let request = request.finish();
        match out.iter_mut().find(|(name, _)| *name == named) {
            Some((_, Wire::List(list))) => list.push(request),
            _ => out.push((named, Wire::List(vec![request]))),
        }
    }
    out
}

fn batch(mut txn: Txn, writes: Vec<Write>, blind: bool) -> Txn {
    if blind {
        for write in writes {
            match &write.change {
                Change::Put(item) => txn.muts.put(write.row_key(), codec::encode(item)),
                _ => txn.muts.delete(write.row_key()),
            }
        }
        return txn;
    }
    let keys: Vec<Key> = writes.iter().map(Write::row_key).collect();
    let writes = Arc::new(writes);
    txn.rule(keys, move |view, out| {
        let run = |(at, write): (usize, &Write)| write.run(view.value(at), out);
        writes.iter().enumerate().map(run).collect::<Result<Vec<Done>, Error>>()
    })
}

fn asked(fields: &mut Fields) -> Result<Vec<Asked>, Error> {
    use squall_protocol::schema::Kind;
    let shape = request::required(fields.map_value_shape("RequestItems"), "RequestItems")?;
    let Kind::List { member: element, .. } = shape.kind else { return Ok(Vec::new()) };
    let mut out = Vec::new();
    for (named, requests) in request::required(fields.map("RequestItems"), "RequestItems")? {
        let Wire::List(requests) = requests else { continue };
        for wire in requests {
            let mut write = Fields::new(element, wire);
            let (put, delete) = (write.fields("PutRequest"), write.fields("DeleteRequest"));
            let (item, change) = match (put, delete) {
                (Some(mut put), None) => {
                    let item = request::required_item(&mut put, "Item")?;
                    rules::check_item(&item)?;
                    (item.clone(), Change::Put(item))
                }
                (None, Some(mut delete)) => (request::required_item(&mut delete, "Key")?, Change::Delete),
                (None, None) => {
                    return Err(Error::validation(
                        "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
                    ));
                }
                (Some(_), Some(_)) => {
                    return Err(Error::validation(
                        "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported \
                         datatypes",
                    ));
                }
            };
            out.push(Asked { named: named.clone(), change, item });
        }
    }
    if out.len() > WRITES_MAX {
        return Err(Error::validation("Too many items requested for the BatchWriteItem call"));
    }
    Ok(out)
}

/// Cuts the writes into slices of about [`COMMIT_BYTES`].
fn slices(asked: Vec<Asked>) -> Vec<Vec<Asked>> {
    let mut out: Vec<Vec<Asked>> = Vec::new();
    let mut bytes = usize::MAX;
    for one in asked {
        let size = one.item.size_bytes();
        match out.last_mut().filter(|_| bytes.saturating_add(size) <= COMMIT_BYTES) {
            Some(slice) => {
                bytes += size;
                slice.push(one);
            }
            None => {
                bytes = size;
                out.push(vec![one]);
            }
        }
    }
    out
}
