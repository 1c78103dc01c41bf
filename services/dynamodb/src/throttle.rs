//! Throttling of provisioned tables, and of on-demand tables with bounds: a bucket of units per table and index.
//!
//! A request goes on while the bucket is not empty and pays afterwards, as its cost is known only then: so the bucket may go
//! below zero, and what is owed is waited for. Unused units of five minutes are kept. Soft: buckets are full after a start.

use crate::capacity::Spent;
use crate::error::Error;
use crate::table::Table;
use parking_lot::Mutex;
use squall_types::Millis;
use std::collections::HashMap;

/// Seconds whose unused units are kept.
const BURST_S: f64 = 300.0;
/// The same for the bounds of on-demand tables, which are bounds of each second.
const BOUND_BURST_S: f64 = 1.0;
/// Buckets of tables that are gone are forgotten when there are so many.
const BUCKETS_MAX: usize = 50_000;

/// Reading or writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// Read units.
    Read,
    /// Write units.
    Write,
}

struct Bucket {
    units: f64,
    at: Millis,
}

/// The buckets, by resource id.
#[derive(Default)]
pub struct Throttle(Mutex<HashMap<(u64, Way), Bucket>>);

/// Units per second and how many are kept; `None` where nothing is bounded.
fn rate(table: &Table, index: Option<usize>, way: Way) -> Option<(f64, f64)> {
    let index = match index {
        None => None,
        Some(place) => Some(table.indexes.get(place).filter(|i| !i.local)?),
    };
    let of = |capacity: crate::table::Capacity| match way {
        Way::Read => capacity.read,
        Way::Write => capacity.write,
    };
    let (units, burst) = if table.billing.on_demand {
        (of(index.map_or(table.billing.most, |i| i.most)), BOUND_BURST_S)
    } else {
        (of(index.map_or(table.billing.capacity, |i| i.capacity)), BURST_S)
    };
    (units > 0).then_some((units as f64, units as f64 * burst))
}

fn id(table: &Table, index: Option<usize>) -> u64 {
    index.and_then(|place| table.indexes.get(place)).map_or(table.id, |i| i.id)
}

impl Throttle {
    /// Lets a request on a table or index pass, or not.
    ///
    /// # Errors
    /// `ProvisionedThroughputExceededException`; `ThrottlingException` on an on-demand table with bounds.
    pub fn admit(&self, table: &Table, index: Option<usize>, way: Way, now: Millis) -> Result<(), Error> {
        let Some((rate, most)) = rate(table, index, way) else { return Ok(()) };
        let mut buckets = self.0.lock();
        if buckets.len() > BUCKETS_MAX {
            buckets.clear();
        }
        let bucket = buckets.entry((id(table, index), way)).or_insert(Bucket { units: most, at: now });
        let passed = now.since(bucket.at).as_secs_f64();
        bucket.units = (bucket.units + passed * rate).min(most);
        bucket.at = now;
        if bucket.units > 0.0 { Ok(()) } else { Err(refusal(table, index)) }
    }

    /// Lets a write pass if the table and all its global indexes have units left.
    ///
    /// # Errors
    /// As [`Throttle::admit`].
    pub fn admit_write(&self, table: &Table, now: Millis) -> Result<(), Error> {
        self.admit(table, None, Way::Write, now)?;
        (0..table.indexes.len()).try_for_each(|place| self.admit(table, Some(place), Way::Write, now))
    }

    /// Takes what a request has cost.
    pub fn pay(&self, table: &Table, spent: &Spent, way: Way) {
        let mut buckets = self.0.lock();
        let indexes = spent.indexes.iter().map(|(place, units)| (Some(*place), *units));
        for (index, units) in indexes.chain([(None, spent.table)]) {
            if let Some(bucket) = buckets.get_mut(&(id(table, index), way)) {
                bucket.units -= units;
            }
        }
    }
}

fn refusal(table: &Table, index: Option<usize>) -> Error {
    if table.billing.on_demand {
        return Error::Throttling(
            "Throughput exceeds the maximum OnDemandThroughput configured on table or index".into(),
        );
    }
    let text = match index {
        None => {
            "The level of configured provisioned throughput for the table was exceeded. Consider increasing your \
             provisioning level with the UpdateTable API."
        }
        Some(_) => {
            "The level of configured provisioned throughput for one or more global secondary indexes of the table was \
             exceeded. Consider increasing your provisioning level for the under-provisioned global secondary indexes with \
             the UpdateTable API"
        }
    };
    Error::ProvisionedThroughputExceeded(text.into())
}
