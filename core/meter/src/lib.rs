//! Metering: what functions used, counted in memory, kept in the state by the hour, turned into a bill by a price table.
//!
//! Shapes: a [`Subject`] is what is counted for (region, function, version, architecture); its [`Tally`] takes [`Usage`] as it
//! happens, which costs an addition under an uncontended lock; [`Meter`] writes what has gathered every few seconds, one row
//! per subject and hour; [`Meter::usage`] reads a span of hours back; [`price`](mod@price) makes amounts of it.
//!
//! Invariants:
//! - nothing waits for the disk on the way of an invocation;
//! - what was flushed is counted exactly once, also when the outcome of a commit was not known;
//! - a crash loses what came after the last flush, no more.
//!
//! Not here: who reads it (the application's pages), and limits: nothing is refused by what was used.

mod keep;
pub mod price;
#[cfg(test)]
mod tests;

pub use keep::{Meter, Options};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use squall_types::{Clock, Millis};
use std::ops::AddAssign;
use std::sync::Arc;

/// Milliseconds of an hour, the grain in which usage is kept.
const HOUR_MS: i64 = 3_600_000;

/// What usage is counted for.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Subject {
    /// Region.
    pub region: String,
    /// Function name.
    pub function: String,
    /// `$LATEST` or a number.
    pub version: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
}

/// Quantities, as AWS bills them. Every field is a sum.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Usage {
    /// Invocations.
    pub requests: u64,
    /// Invocations that ended in a function error.
    pub errors: u64,
    /// On-demand duration: billed milliseconds × MemorySize in MB.
    pub mb_ms: u64,
    /// The same of invocations that ran on provisioned concurrency.
    pub provisioned_run_mb_ms: u64,
    /// Provisioned concurrency that was kept ready: milliseconds × MemorySize in MB × instances.
    pub provisioned_mb_ms: u64,
    /// Billed milliseconds × MB of `/tmp` beyond the 512 MB that are included.
    pub tmp_mb_ms: u64,
}

impl Usage {
    /// Nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        let add = |to: &mut u64, n: u64| *to = to.saturating_add(n);
        add(&mut self.requests, other.requests);
        add(&mut self.errors, other.errors);
        add(&mut self.mb_ms, other.mb_ms);
        add(&mut self.provisioned_run_mb_ms, other.provisioned_run_mb_ms);
        add(&mut self.provisioned_mb_ms, other.provisioned_mb_ms);
        add(&mut self.tmp_mb_ms, other.tmp_mb_ms);
    }
}

/// Usage of one hour.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hourly {
    /// Hours since the epoch.
    pub hour: u32,
    /// For whom.
    pub subject: Subject,
    /// How much.
    pub usage: Usage,
}

/// The hour that a moment belongs to.
#[must_use]
pub fn hour_of(at: Millis) -> u32 {
    u32::try_from(at.0.div_euclid(HOUR_MS)).unwrap_or(0)
}

/// Counts for one subject until the next flush. Cheap to clone and to add to.
#[derive(Clone)]
pub struct Tally(Arc<Counted>);

struct Counted {
    clock: Arc<dyn Clock>,
    /// Hours with what was used in them: one, seldom two.
    hours: Mutex<Vec<(u32, Usage)>>,
}

impl Tally {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Counted { clock, hours: Mutex::default() }))
    }

    /// Counts; it belongs to the hour that it is now.
    pub fn add(&self, usage: Usage) {
        self.add_at(hour_of(self.0.clock.now()), usage);
    }

    fn add_at(&self, hour: u32, usage: Usage) {
        let mut hours = self.0.hours.lock();
        match hours.iter_mut().rev().find(|(h, _)| *h == hour) {
            Some((_, sum)) => *sum += usage,
            None => hours.push((hour, usage)),
        }
    }

    fn take(&self) -> Vec<(u32, Usage)> {
        std::mem::take(&mut *self.0.hours.lock())
    }

    /// Nobody counts by it any more, and nothing is left to be written.
    fn is_done(&self) -> bool {
        Arc::strong_count(&self.0) == 1 && self.0.hours.lock().is_empty()
    }
}
