//! What a write does to an item and to the indexes of its table. Pure: runs inside the state engine, maybe more than once.

use crate::capacity::write_units;
use crate::codec;
use crate::error::Error;
use crate::expr::ast::{Condition, Update};
use crate::expr::{apply, eval};
use crate::item::{ITEM_BYTES_MAX, Item, NESTING_MAX, Value};
use crate::key::{HASH_BYTES_MAX, KeyBytes, RANGE_BYTES_MAX};
use crate::stream::record::{self, Image};
use crate::table::{Index, Table, TableRef};
use crate::tables;
use crate::wire::too_deep;
use squall_store::{Key, Mutation, Mutations};

/// One write of one item, with all that decides on it.
#[derive(Debug)]
pub struct Write {
    /// The table.
    pub table: TableRef,
    /// The item's key.
    pub key: KeyBytes,
    /// What must hold of the old item.
    pub condition: Option<Condition>,
    /// What to do.
    pub change: Change,
    /// The old item is told when the condition fails.
    pub old_on_failure: bool,
}

/// What a write does.
#[derive(Clone, Debug)]
pub enum Change {
    /// Replaces the item.
    Put(Item),
    /// Changes the item, or makes one of the key.
    Update {
        /// The key's attributes.
        key: Item,
        /// The changes.
        update: Update,
    },
    /// Removes the item.
    Delete,
    /// Removes the item because its time to live has ended.
    Expire,
    /// Nothing but the condition.
    Check,
}

/// What a write did.
#[derive(Debug, Default)]
pub struct Done {
    /// The item before.
    pub old: Option<Item>,
    /// The item after; `None` when there is none, or nothing was to change.
    pub new: Option<Item>,
    /// Write units of each index that changed, by its place in the definition.
    pub index_units: Vec<(usize, f64)>,
}

impl Write {
    /// Where the item is.
    pub fn row_key(&self) -> Key {
        tables::item(self.table.id, &self.key)
    }

    /// Decides on the write and adds its mutations.
    ///
    /// # Errors
    /// `ConditionalCheckFailed`, or `Validation` where an update does not fit the item.
    pub fn run(&self, row: Option<&[u8]>, out: &mut Vec<Mutation>) -> Result<Done, Error> {
        let old = row.map(codec::decode).transpose()?;
        if let Some(condition) = &self.condition {
            let held = match &old {
                Some(item) => eval::holds(condition, item),
                None => eval::holds(condition, &Item::new()),
            };
            if !held {
                let item = if self.old_on_failure { old.map(Box::new) } else { None };
                return Err(Error::ConditionalCheckFailed(item));
            }
        }
        let new = match &self.change {
            Change::Check => return Ok(Done { old, ..Done::default() }),
            Change::Delete | Change::Expire => None,
            Change::Put(item) => Some(item.clone()),
            Change::Update { key, update } => {
                let new = apply::apply(update, old.as_ref().unwrap_or(key))?;
                check_updated(&self.table, &new)?;
                // Taking something away from an item that is not there makes none.
                if old.is_none() && update.only_takes() {
                    return Ok(Done::default());
                }
                Some(new)
            }
        };
        let row_key = self.row_key();
        let encoded = new.as_ref().map(codec::encode);
        let before = old.as_ref().zip(row).map(|(item, bytes)| Image { item, bytes });
        let after = new.as_ref().zip(encoded.as_deref()).map(|(item, bytes)| Image { item, bytes });
        let by_service = matches!(self.change, Change::Expire);
        record::emit(&self.table, &self.key, before, after, by_service, out);
        expiry_changes(&self.table, &self.key, old.as_ref(), new.as_ref(), out);
        match encoded {
            Some(bytes) => out.put(row_key, bytes),
            None if old.is_some() => out.delete(row_key),
            None => {}
        }
        let index_units = index_changes(&self.table, &self.key, old.as_ref(), new.as_ref(), out);
        Ok(Done { old, new, index_units })
    }
}

/// Brings the row that tells when the item ends from the old item to the new one.
fn expiry_changes(table: &Table, primary: &KeyBytes, old: Option<&Item>, new: Option<&Item>, out: &mut Vec<Mutation>) {
    let row = |item: Option<&Item>| expiry_row(table, primary, item?);
    match (row(old), row(new)) {
        (Some((before, _)), Some((after, _))) if before == after => {}
        (before, after) => {
            if let Some((key, _)) = before {
                out.delete(key);
            }
            if let Some((key, value)) = after {
                out.put(key, value);
            }
        }
    }
}

/// The row that tells when an item ends; `None` when the table has no time to live, or the item no number of seconds.
pub fn expiry_row(table: &Table, primary: &KeyBytes, item: &Item) -> Option<(Key, squall_store::Bytes)> {
    let (rows, name) = (table.expiry.as_ref()?, table.ttl.as_ref()?);
    let Some(Value::N(number)) = item.get(name) else { return None };
    // A part of a second ends with it.
    let whole = || number.to_string().split('.').next()?.parse::<i64>().ok()?.checked_add(1);
    let second = number.to_i64().or_else(whole)?;
    let value = squall_store::envelope::seal(&[&primary.hash, &*primary.range].concat());
    Some((tables::expiry(rows.id, second, primary), value))
}

/// Brings every index's rows from the old item to the new one; gives the write units of each that changed.
pub fn index_changes(
    table: &Table,
    primary: &KeyBytes,
    old: Option<&Item>,
    new: Option<&Item>,
    out: &mut Vec<Mutation>,
) -> Vec<(usize, f64)> {
    let mut units = Vec::new();
    for (place, index) in table.indexes.iter().enumerate() {
        let row = |item: Option<&Item>| index_row(table, index, primary, item?);
        let spent = match (row(old), row(new)) {
            (None, None) => continue,
            (Some(before), Some(after)) if before == after => continue,
            (Some((before, old_value)), Some((after, value))) => {
                let mut spent = write_units(value.len());
                if before != after {
                    spent += write_units(old_value.len());
                    out.delete(before);
                }
                out.put(after, value);
                spent
            }
            (None, Some((after, value))) => {
                let spent = write_units(value.len());
                out.put(after, value);
                spent
            }
            (Some((before, old_value)), None) => {
                out.delete(before);
                write_units(old_value.len())
            }
        };
        units.push((place, spent));
    }
    units
}

/// The row that an index has for an item; `None` when the item lacks the index's key.
pub fn index_row(table: &Table, index: &Index, primary: &KeyBytes, item: &Item) -> Option<(Key, Vec<u8>)> {
    let key = index.schema.bytes(item)?;
    Some((
        tables::index_row(index.id, &key, primary, table.schema.place(item)),
        codec::encode(&index.project(&table.schema, item)),
    ))
}

/// Checks the size and nesting of an item that is to be put, which need no table.
///
/// # Errors
/// `ValidationException`.
pub fn check_item(item: &Item) -> Result<(), Error> {
    check_shape(item, "Item size has exceeded the maximum allowed size")
}

/// Checks an item that is to be put against the keys of the table's indexes.
///
/// # Errors
/// `ValidationException` for values that an index's key cannot have.
pub fn check_put(table: &Table, item: &Item) -> Result<(), Error> {
    for index in &table.indexes {
        for attribute in index.schema.attributes() {
            let Some(value) = item.get(&attribute.name) else { continue };
            let (name, index) = (&attribute.name, &index.name);
            if value.kind() != attribute.kind {
                return Err(Error::validation(format!(
                    "One or more parameter values were invalid: Type mismatch for Index Key {name} Expected: {} Actual: \
                     {} IndexName: {index}",
                    attribute.kind.name(),
                    value.kind().name()
                )));
            }
            if let Some(what) = emptiness(value) {
                return Err(Error::validation(format!(
                    "One or more parameter values are not valid. A value specified for a secondary index key is not \
                     supported. The AttributeValue for a key attribute cannot contain an empty {what} value. IndexName: \
                     {index}, IndexKey: {name}"
                )));
            }
        }
        check_index_sizes(index, item)?;
    }
    Ok(())
}

fn check_updated(table: &Table, item: &Item) -> Result<(), Error> {
    check_shape(item, "Item size to update has exceeded the maximum allowed size")?;
    for index in &table.indexes {
        for attribute in index.schema.attributes() {
            let Some(value) = item.get(&attribute.name) else { continue };
            if value.kind() != attribute.kind {
                return Err(Error::validation(
                    "The update expression attempted to update the secondary index key to unsupported type",
                ));
            }
            if let Some(what) = emptiness(value) {
                return Err(Error::validation(format!(
                    "The update expression attempted to update the secondary index key to a value that is not supported. \
                     The AttributeValue for a key attribute cannot contain an empty {what} value."
                )));
            }
        }
        check_index_sizes(index, item).map_err(|_| {
            Error::validation(
                "The update expression attempted to update the secondary index key beyond allowed size limits",
            )
        })?;
    }
    Ok(())
}

fn check_shape(item: &Item, too_big: &str) -> Result<(), Error> {
    if item.size_bytes() > ITEM_BYTES_MAX {
        return Err(Error::validation(too_big));
    }
    if item.nesting() > NESTING_MAX {
        return Err(too_deep());
    }
    Ok(())
}

fn emptiness(value: &Value) -> Option<&'static str> {
    match value {
        Value::S(s) if s.is_empty() => Some("string"),
        Value::B(b) if b.is_empty() => Some("binary"),
        _ => None,
    }
}

fn check_index_sizes(index: &Index, item: &Item) -> Result<(), Error> {
    let size = |name: &str| item.get(name).map_or(0, Value::size_bytes);
    if size(&index.schema.hash.name) > HASH_BYTES_MAX {
        return Err(Error::validation(
            "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes",
        ));
    }
    if index.schema.range.as_ref().is_some_and(|r| size(&r.name) > RANGE_BYTES_MAX) {
        return Err(Error::validation(
            "One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of \
             1024 bytes",
        ));
    }
    Ok(())
}
