//! TransactGetItems.

use crate::api::shapes;
use crate::capacity::{Spent, Unit, Wanted, read_units};
use crate::error::{Error, Reason};
use crate::expr::project::Projection;
use crate::item::Item;
use crate::room::DynamoDb;
use crate::table::TableRef;
use crate::throttle::Way;
use crate::wire::{self, Fields, Output};
use crate::{codec, request, scalars, tables};
use squall_protocol::Value as Wire;
use squall_service::Ctx;
use squall_store::{Consistency, Key, StateExt};
use std::collections::BTreeMap;

/// Most bytes of the items of a transaction.
const ITEMS_BYTES_MAX: usize = 4 * 1024 * 1024;

impl DynamoDb {
    /// Reads up to 100 items at one snapshot.
    ///
    /// Cost: one read of as many rows.
    ///
    /// # Errors
    /// `ValidationException`, `ResourceNotFoundException`, `TransactionCanceledException` for keys of another schema.
    pub(crate) async fn transact_get_items(&self, ctx: &Ctx, mut fields: Fields) -> Result<Wire, Error> {
        let wanted = Wanted::of(fields.text("ReturnConsumedCapacity").as_deref());
        let shape = request::required(fields.element_shape("TransactItems"), "TransactItems")?;
        let mut gets: Vec<(String, TableRef, Option<Projection>)> = Vec::new();
        let (mut keys, mut reasons): (Vec<Key>, Vec<Reason>) = (Vec::new(), Vec::new());
        for wire in request::required(fields.list("TransactItems"), "TransactItems")? {
            let mut get = request::required(Fields::new(shape, wire).fields("Get"), "Get")?;
            let mut scope = request::placeholders(&mut get, &["ProjectionExpression"], &[])?;
            let named = request::required(get.text("TableName"), "TableName")?;
            let key = request::required_item(&mut get, "Key")?;
            let paths = request::projection(&mut get, &mut scope)?;
            scope.check_used()?;
            let table = self.table(ctx, &named)?;
            self.admit_read(&table, None)?;
            let fits = |key| scalars::check_projection(&table, paths.as_deref()).map(|()| key);
            match table.schema.of_key(&key).and_then(fits) {
                Ok(key) => {
                    keys.push(tables::item(table.id, &key));
                    reasons.push(Reason::none());
                }
                Err(error) => reasons.push(Reason::of(&error).ok_or(error)?),
            }
            gets.push((named, table, paths.map(|paths| Projection::new(&paths))));
        }
        if keys.len() < gets.len() {
            return Err(Error::TransactionCanceled(reasons));
        }
        if crate::item::has_duplicates(&keys) {
            return Err(Error::validation("Transaction request cannot include multiple operations on one item"));
        }
        let rows = self.deps.state.get_many(keys, Consistency::Strong).await?;
        let mut costs: BTreeMap<String, (TableRef, Spent)> = BTreeMap::new();
        let mut responses = Vec::new();
        if rows.iter().flatten().map(|row| row.value.len()).sum::<usize>() > ITEMS_BYTES_MAX {
            return Err(Error::validation("The aggregate size of the items in the transaction exceeds 4 MB"));
        }
        for ((named, table, projection), row) in gets.into_iter().zip(rows) {
            let item = row.map(|row| codec::decode(&row.value)).transpose()?;
            let units = 2.0 * read_units(item.as_ref().map_or(0, Item::size_bytes), true);
            let item = match projection {
                Some(projection) => item.map(|item| projection.apply(&item)),
                None => item,
            };
            let mut response = Output::new(&shapes::ITEM_RESPONSE);
            response.set("Item", item.map(wire::item_value));
            responses.push(response.finish());
            let cost = costs.entry(named).or_insert_with(|| (table, Spent::default()));
            cost.1.table += units;
            self.pay(&cost.0, Way::Read, || Spent { table: units, indexes: Vec::new() });
        }
        let costs = costs.iter().filter_map(|(named, (table, spent))| spent.value(wanted, Unit::Read, table, named));
        let mut out = Output::new(&shapes::TRANSACT_GET_ITEMS_OUTPUT);
        out.set("Responses", Some(Wire::List(responses)));
        out.set("ConsumedCapacity", (wanted != Wanted::None).then(|| Wire::List(costs.collect())));
        Ok(out.finish())
    }
}
