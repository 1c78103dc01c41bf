//! The engine's time: the database's, estimated between two looks at it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use squall_types::{Clock, Millis};

/// A sample that took longer says too little about the moment it names.
const TRIP_MAX: Duration = Duration::from_millis(250);

/// Time that never goes back.
pub(crate) struct Time {
    given: Option<Arc<dyn Clock>>,
    begin: Instant,
    /// The database's time at `begin`, in milliseconds.
    offset: AtomicI64,
    last: AtomicI64,
}

impl Time {
    pub fn new(given: Option<Arc<dyn Clock>>) -> Time {
        Time { given, begin: Instant::now(), offset: AtomicI64::new(0), last: AtomicI64::new(0) }
    }

    /// Whether the time is somebody else's, who may move it at will.
    pub fn is_given(&self) -> bool {
        self.given.is_some()
    }

    /// Notes that the database's clock stood at `db` at some moment between `asked` and now.
    pub fn sample(&self, db: i64, asked: Instant) {
        let trip = asked.elapsed();
        if trip > TRIP_MAX && self.offset.load(Ordering::Relaxed) != 0 {
            return;
        }
        let middle = (asked + trip / 2).saturating_duration_since(self.begin);
        self.offset.store(db.saturating_sub(millis(middle)), Ordering::Relaxed);
    }

    pub fn now(&self) -> Millis {
        if let Some(clock) = &self.given {
            return clock.now();
        }
        let now = self.offset.load(Ordering::Relaxed).saturating_add(millis(self.begin.elapsed()));
        Millis(self.last.fetch_max(now, Ordering::Relaxed).max(now))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_follows_the_database_and_never_goes_back() {
        let time = Time::new(None);
        time.sample(1_000_000, Instant::now());
        let first = time.now();
        assert!((1_000_000..1_001_000).contains(&first.0), "{first:?}");
        time.sample(900_000, Instant::now());
        assert!(time.now() >= first);
        time.sample(2_000_000, Instant::now());
        assert!(time.now().0 >= 2_000_000);
    }
}
