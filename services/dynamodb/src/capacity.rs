//! Capacity units: what requests cost, and `ConsumedCapacity` in answers.
//!
//! A write costs one unit per KiB begun of the larger of the two items, a strong read one per 4 KiB begun, an eventual one
//! half; transactions cost double. [`crate::throttle`] bounds them.

use crate::api::shapes;
use crate::table::Table;
use crate::wire::Output;
use squall_protocol::Value as Wire;

/// What the caller wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing.
    None,
    /// The sum.
    Total,
    /// The sum and its parts.
    Indexes,
}

impl Wanted {
    /// Of `ReturnConsumedCapacity`.
    pub fn of(text: Option<&str>) -> Wanted {
        match text {
            Some("TOTAL") => Wanted::Total,
            Some("INDEXES") => Wanted::Indexes,
            _ => Wanted::None,
        }
    }
}

/// Units of writing so many bytes.
pub fn write_units(bytes: usize) -> f64 {
    bytes.div_ceil(1024).max(1) as f64
}

/// Units of reading so many bytes.
pub fn read_units(bytes: usize, consistent: bool) -> f64 {
    let whole = bytes.div_ceil(4096).max(1) as f64;
    if consistent { whole } else { whole / 2.0 }
}

/// What a request cost on one table.
#[derive(Clone, Debug, Default)]
pub struct Spent {
    /// On the table itself.
    pub table: f64,
    /// On its indexes, by their place in the definition.
    pub indexes: Vec<(usize, f64)>,
}

/// Which units a request spends, where an answer names them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Only `CapacityUnits`.
    Plain,
    /// Also `ReadCapacityUnits`.
    Read,
    /// Also `WriteCapacityUnits`.
    Write,
}

impl Spent {
    /// Adds what another request cost.
    pub fn add(&mut self, other: &Spent) {
        self.table += other.table;
        for (place, units) in &other.indexes {
            match self.indexes.iter_mut().find(|(p, _)| p == place) {
                Some((_, sum)) => *sum += units,
                None => self.indexes.push((*place, *units)),
            }
        }
    }

    /// The cost times `factor`.
    #[must_use]
    pub fn times(mut self, factor: f64) -> Spent {
        self.table *= factor;
        self.indexes.iter_mut().for_each(|(_, units)| *units *= factor);
        self
    }

    /// The `ConsumedCapacity` structure, if wanted; `named` is the table as the caller named it, by name or ARN.
    pub fn value(&self, wanted: Wanted, unit: Unit, table: &Table, named: &str) -> Option<Wire> {
        if wanted == Wanted::None {
            return None;
        }
        let total = self.table + self.indexes.iter().map(|(_, units)| units).sum::<f64>();
        let mut out = Output::new(&shapes::CONSUMED_CAPACITY);
        out.set("TableName", Some(Wire::Str(named.to_owned())));
        set_units(&mut out, unit, total);
        if wanted == Wanted::Indexes {
            out.set("Table", Some(capacity(unit, self.table)));
            for (member, local) in [("LocalSecondaryIndexes", true), ("GlobalSecondaryIndexes", false)] {
                out.set(member, self.index_map(unit, table, local));
            }
        }
        Some(out.finish())
    }

    fn index_map(&self, unit: Unit, table: &Table, local: bool) -> Option<Wire> {
        let named = self.indexes.iter().filter_map(|(place, units)| {
            let index = table.indexes.get(*place).filter(|i| i.local == local)?;
            Some((index.name.clone(), capacity(unit, *units)))
        });
        let map: Vec<(String, Wire)> = named.collect();
        (!map.is_empty()).then_some(Wire::Map(map))
    }
}

fn capacity(unit: Unit, units: f64) -> Wire {
    let mut out = Output::new(&shapes::CAPACITY);
    set_units(&mut out, unit, units);
    out.finish()
}

fn set_units(out: &mut Output, unit: Unit, units: f64) {
    out.set("CapacityUnits", Some(Wire::Double(units)));
    match unit {
        Unit::Plain => {}
        Unit::Read => out.set("ReadCapacityUnits", Some(Wire::Double(units))),
        Unit::Write => out.set("WriteCapacityUnits", Some(Wire::Double(units))),
    }
}
