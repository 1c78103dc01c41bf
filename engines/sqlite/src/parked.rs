//! Claims that wait for their first entry, kept by the committer.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use squall_store::{Durability, Queue};
use squall_types::Millis;

use crate::inbox::Waiter;

/// Longest time between two looks while somebody waits: the system's clock may be set, or the machine may have slept.
const LOOK: Duration = Duration::from_secs(5);
/// The same where a test moves the clock by hand.
const LOOK_BY_HAND: Duration = Duration::from_millis(5);

#[derive(Default)]
struct Line {
    waiters: VecDeque<Waiter>,
    /// When the queue's first entry is due, as of the last look.
    next_due: Option<i64>,
}

/// All waiting claims. A waiter that went away is noticed when it is served or its time is over.
pub(crate) struct Parked {
    lines: HashMap<Queue, Line>,
    /// The earliest deadline or due time of all lines, or earlier.
    wake: i64,
    /// Waiters whose leases must reach the disk.
    durable: usize,
}

impl Default for Parked {
    fn default() -> Self {
        Parked { lines: HashMap::new(), wake: i64::MAX, durable: 0 }
    }
}

fn is_durable(waiter: &Waiter) -> bool {
    waiter.spec.sync == Durability::Durable
}

impl Parked {
    /// Puts a waiter at the end of its line.
    pub fn park(&mut self, waiter: Waiter, next_due: Option<i64>) {
        self.line(&waiter, next_due).waiters.push_back(waiter);
    }

    /// Puts back who could not be served after all, first in line.
    pub fn unserved(&mut self, waiter: Waiter, next_due: Option<i64>) {
        self.line(&waiter, next_due).waiters.push_front(waiter);
    }

    fn line(&mut self, waiter: &Waiter, next_due: Option<i64>) -> &mut Line {
        self.wake = self.wake.min(waiter.deadline).min(next_due.unwrap_or(i64::MAX));
        self.durable += usize::from(is_durable(waiter));
        let line = self.lines.entry(waiter.queue).or_default();
        line.next_due = next_due;
        line
    }

    /// The first in line of a queue who is still there.
    pub fn next(&mut self, queue: Queue) -> Option<Waiter> {
        let line = self.lines.get_mut(&queue)?;
        while let Some(waiter) = line.waiters.pop_front() {
            self.durable -= usize::from(is_durable(&waiter));
            if !waiter.reply.is_closed() {
                return Some(waiter);
            }
        }
        self.lines.remove(&queue);
        None
    }

    /// Whether something is over or due by the clock.
    pub fn is_due(&self, now: Millis) -> bool {
        self.wake <= now.0
    }

    /// Takes out those who have waited long enough, and names the queues with a due entry.
    pub fn tick(&mut self, now: Millis) -> (Vec<Waiter>, Vec<Queue>) {
        let (mut over, mut due, mut wake) = (Vec::new(), Vec::new(), i64::MAX);
        for (queue, line) in &mut self.lines {
            for waiter in std::mem::take(&mut line.waiters) {
                if waiter.deadline > now.0 && !waiter.reply.is_closed() {
                    wake = wake.min(waiter.deadline);
                    line.waiters.push_back(waiter);
                } else {
                    self.durable -= usize::from(is_durable(&waiter));
                    over.push(waiter);
                }
            }
            match line.next_due {
                Some(at) if at <= now.0 => due.push(*queue),
                Some(at) => wake = wake.min(at),
                None => {}
            }
        }
        self.lines.retain(|_, line| !line.waiters.is_empty());
        self.wake = wake;
        (over, due)
    }

    /// Whether anybody waits for this queue.
    pub fn waits_for(&self, queue: Queue) -> bool {
        self.lines.contains_key(&queue)
    }

    /// How long the committer may sleep; `None`: nobody waits. Waiting alone wakes nobody: an idle server is idle.
    pub fn pause(&self, now: Millis, runs_by_itself: bool) -> Option<Duration> {
        if self.lines.is_empty() {
            return None;
        }
        let millis = u64::try_from(self.wake.saturating_sub(now.0)).unwrap_or(0);
        Some(Duration::from_millis(millis.max(1)).min(if runs_by_itself { LOOK } else { LOOK_BY_HAND }))
    }

    /// Whether serving anybody need not reach the disk.
    pub fn is_lazy(&self) -> bool {
        self.durable == 0
    }
}
