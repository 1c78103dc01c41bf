//! Calls that wait for a busy instance although others rest.
//!
//! A function that answers within a fraction of a millisecond is bound by the processors, not by its instances: woken one for each
//! of 64 callers, they only take turns, each with cold caches (measured on two cores: 6,400 calls a second by Node.js, where 16
//! instances did 10,500). So beyond a few busy instances its requests stay in the queue, and each instance finds the next
//! one when it has answered the last. As soon as no answer comes for a moment, more instances take part.

use super::{Action, Group, GroupId, Pool};
use std::time::Duration;

/// The quickest call of late that makes a function brief.
const LEAST_MAX: Duration = Duration::from_millis(1);
/// Its mean, which calls that do take long soon pass.
const MEAN_MAX: Duration = Duration::from_millis(20);
/// Without an answer for so long, requests that wait are given to further instances.
const STALL: Duration = Duration::from_millis(4);

/// How long a group's calls take, and how they go on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// The quickest of late: it rises by 1/64 with every call that is not.
    least: Option<Duration>,
    /// Over about sixteen calls.
    mean: Duration,
    /// The last answer.
    last: Duration,
    /// Instances that may be busy beyond the usual number.
    extra: u32,
}

impl Pace {
    /// A call was answered.
    pub(super) fn learn(&mut self, took: Duration, now: Duration) {
        self.last = now;
        self.mean = match self.least {
            Some(_) => self.mean - self.mean / 16 + took / 16,
            None => took,
        };
        let least = self.least.map_or(took, |least| least + least / 64 + Duration::from_micros(1));
        self.least = Some(least.min(took));
    }

    /// All requests were answered.
    pub(super) fn rest(&mut self) {
        self.extra = 0;
    }

    fn is_brief(&self) -> bool {
        self.least.is_some_and(|least| least <= LEAST_MAX) && self.mean <= MEAN_MAX
    }
}

impl Pool {
    /// Whether a group's next request is better left to an instance that is busy now.
    pub(super) fn holds(&self, group: &Group) -> bool {
        let width = self.limits.busy_enough;
        width > 0 && group.busy >= width.saturating_add(group.pace.extra) && group.pace.is_brief()
    }

    /// Requests of a group wait for its busy instances: that is looked at again.
    pub(super) fn held(&mut self, group_id: GroupId) {
        if self.held.is_empty() {
            self.actions.push(Action::Look { after: STALL });
        }
        if !self.held.contains(&group_id) {
            self.held.push(group_id);
        }
    }

    /// Gives what waits for busy instances to others where no answer has come for a while.
    pub fn look(&mut self, now: Duration) {
        for group_id in std::mem::take(&mut self.held) {
            let width = self.limits.busy_enough;
            let Some(group) = self.groups.get_mut(&group_id).filter(|g| !g.queue.is_empty()) else { continue };
            if now.saturating_sub(group.pace.last) >= STALL {
                group.pace.extra = group.pace.extra.saturating_add(width);
            }
            self.serve(group_id, now);
        }
    }
}
