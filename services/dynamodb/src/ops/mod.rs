//! The operations, one function each.

mod backups;
mod batch_get_item;
mod batch_write_item;
mod continuous_backups;
mod create_table;
mod definition;
mod delete_item;
mod delete_table;
mod describe;
mod get_item;
mod list_tables;
mod page;
mod partiql;
mod put_item;
mod query;
mod refused;
mod resource_policy;
mod restore;
mod scan;
mod select;
mod streams;
mod tags;
mod time_to_live;
mod transact_get_items;
mod transact_write_items;
mod update_billing;
mod update_index;
mod update_item;
mod update_table;

pub(crate) use page::invalid_start;
pub(crate) use refused::{no_global_table, refused};

use crate::api::shapes;
use crate::capacity::{Spent, write_units};
use crate::error::Error;
use crate::item::Item;
use crate::rules::Done;
use crate::table::Table;
use crate::wire::{self, Output};
use squall_protocol::Value as Wire;

/// What a write cost.
pub(crate) fn write_spent(done: &Done) -> Spent {
    let size = |item: &Option<Item>| item.as_ref().map_or(0, Item::size_bytes);
    Spent { table: write_units(size(&done.old).max(size(&done.new))), indexes: done.index_units.clone() }
}

/// `ItemCollectionMetrics`, if asked for: only tables with local indexes have item collections.
pub(crate) fn collection_metrics(asked: Option<&str>, table: &Table, key: &Item) -> Option<Wire> {
    if asked != Some("SIZE") || !table.indexes.iter().any(|i| i.local) {
        return None;
    }
    let hash = &table.schema.hash.name;
    let key: Item = [(hash.clone(), key.get(hash)?.clone())].into_iter().collect();
    let mut out = Output::new(&shapes::ITEM_COLLECTION_METRICS);
    out.set("ItemCollectionKey", Some(wire::item_value(key)));
    // Ten gigabytes are the bound of a collection; the estimate is as coarse as the service's for small ones.
    out.set("SizeEstimateRangeGB", Some(Wire::List(vec![Wire::Double(0.0), Wire::Double(1.0)])));
    Some(out.finish())
}

/// `ReturnValues` of PutItem and DeleteItem: whether the old item is wanted.
pub(crate) fn wants_old(text: Option<&str>) -> Result<bool, Error> {
    match text {
        None | Some("NONE") => Ok(false),
        Some("ALL_OLD") => Ok(true),
        Some(_) => Err(Error::validation("ReturnValues can only be ALL_OLD or NONE")),
    }
}
