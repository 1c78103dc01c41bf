//! What the engine's tasks share: the way to the database, time, wake-ups, and how much waits.

use std::sync::atomic::{AtomicUsize, Ordering};

use squall_store::engine::Signals;
use squall_store::{Error, Part, Queue, Result};
use tokio::sync::Notify;

use crate::clock::Time;
use crate::conn::Link;

/// Jobs that may wait; more means that the database does not keep up, and callers are told so.
const WAITING_MAX: usize = 100_000;

pub(crate) struct Shared {
    pub link: Link,
    pub time: Time,
    pub epoch: i64,
    pub parts: Signals<Part>,
    pub queues: Signals<Queue>,
    /// Asks for a sweep of trimmed changes.
    pub sweep: Notify,
    waiting: AtomicUsize,
}

impl Shared {
    pub fn new(link: Link, time: Time, epoch: i64) -> Shared {
        let (parts, queues) = (Signals::default(), Signals::default());
        Shared { link, time, epoch, parts, queues, sweep: Notify::new(), waiting: AtomicUsize::new(0) }
    }

    /// Counts a job in, or refuses it.
    pub fn admit(&self) -> Result<()> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            self.took(1);
            return Err(Error::Unavailable("too many commits are waiting".into()));
        }
        Ok(())
    }

    /// Counts jobs out.
    pub fn took(&self, jobs: usize) {
        self.waiting.fetch_sub(jobs, Ordering::Relaxed);
    }

    /// Wakes those who wait for what a batch changed.
    pub fn changed(&self, parts: &[Part], queues: &[Queue], trimmed: bool) {
        self.parts.notify(parts);
        self.queues.notify(queues);
        if trimmed {
            self.sweep.notify_one();
        }
    }
}
