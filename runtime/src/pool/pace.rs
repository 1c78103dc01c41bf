//! Calls that wait for a busy instance although others rest.
//!
//! A function that answers within a fraction of a millisecond is bound by the processors, not by its instances: woken one for each
//! of 64 callers, they only take turns, each with cold caches (measured on two cores: 6,400 calls a second by Node.js, where 16
//! instances did 10,500). So beyond a few busy instances its requests stay in the queue, and each instance finds the next
//! one when it has answered the last. As soon as no answer comes for a moment, more instances take part, or are started.

use super::{Action, Group, GroupId, Pool};
use std::time::Duration;

/// The quickest call of late that makes a function brief.
const LEAST_MAX: Duration = Duration::from_millis(1);
/// The mean of its calls is not above this and what they take by turns on the processors: calls that wait for something else soon
/// pass it, and then more of them at a time are of use.
const MEAN_SLACK: Duration = Duration::from_millis(1);
/// What a call takes of the processors, in the time of the quickest: the server, who calls and cold caches come on top (measured:
/// five times as much).
const TURNS: u32 = 8;
/// What an instance that starts takes of them.
const START: Duration = Duration::from_millis(10);
/// Of `busy_enough`, for each processor.
const WIDTH_PER_CPU: u32 = 4;
/// After so many answers one instance less may be busy beyond the usual number.
const ANSWERS_PER_EXTRA: u32 = 16;
/// Without an answer for so long, and twice the time that calls take, requests that wait are given to further instances. Calls
/// that are many on few processors take turns of some milliseconds, which is no reason for still more of them.
const STALL: Duration = Duration::from_millis(4);

/// How long a group's calls take, and how they go on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// The quickest of late: it rises by 1/4096 with every call that is not.
    least: Option<Duration>,
    /// Over about sixteen calls.
    mean: Duration,
    /// The last answer.
    last: Duration,
    /// Instances that may be busy beyond the usual number.
    extra: u32,
    /// Answers since that number fell.
    answers: u32,
}

impl Pace {
    /// A call was answered.
    pub(super) fn learn(&mut self, took: Duration, now: Duration) {
        self.last = now;
        self.mean = match self.least {
            Some(_) => self.mean - self.mean / 16 + took / 16,
            None => took,
        };
        let least = self.least.map_or(took, |least| least + least / 4096);
        self.least = Some(least.min(took));
        self.answers += 1;
        if self.answers >= ANSWERS_PER_EXTRA {
            (self.answers, self.extra) = (0, self.extra.saturating_sub(1));
        }
    }

    /// All requests were answered.
    pub(super) fn rest(&mut self) {
        self.extra = 0;
    }

    /// Whether calls take no longer than `busy` of them at a time must on the processors that `width` stands for, beside instances
    /// that start.
    fn is_brief(&self, busy: u32, starting: u32, width: u32) -> bool {
        let Some(least) = self.least.filter(|least| *least <= LEAST_MAX) else { return false };
        let turns = (least * busy * TURNS + START * starting) * WIDTH_PER_CPU / width.max(1);
        self.mean <= MEAN_SLACK + turns
    }
}

impl Pool {
    /// Whether a group's next request is better left to an instance that is busy now.
    pub(super) fn holds(&self, group: &Group) -> bool {
        self.suffice(group, group.busy)
    }

    /// The same for a start: those under way will be busy, and each takes as much as a hundred brief calls.
    pub(super) fn holds_starts(&self, group: &Group) -> bool {
        self.suffice(group, group.busy.saturating_add(starting(group)))
    }

    fn suffice(&self, group: &Group, busy: u32) -> bool {
        let width = self.limits.busy_enough;
        let is_wide = width > 0 && busy >= width.saturating_add(group.pace.extra);
        is_wide && group.pace.is_brief(busy, starting(group), width)
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
            if now.saturating_sub(group.pace.last) >= STALL + group.pace.mean * 2 {
                // Twice as many each time: where calls do wait for something, a thousand are soon had.
                group.pace.extra = group.pace.extra.saturating_add(group.pace.extra.max(width));
            }
            self.serve(group_id, now);
        }
    }
}

fn starting(group: &Group) -> u32 {
    u32::try_from(group.starting).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learn(pace: &mut Pace, took: Duration, count: u32) -> (bool, bool) {
        (0..count).for_each(|_| pace.learn(took, Duration::ZERO));
        (pace.is_brief(8, 0, 8), pace.is_brief(64, 0, 8))
    }

    #[test]
    fn calls_that_wait_for_something_else_are_not_brief() {
        let (mut pace, brief) = (Pace::default(), Duration::from_micros(200));
        assert_eq!(learn(&mut pace, brief, 16), (true, true));
        // What 64 take that run by turns on two processors is no reason; for 8 it would be.
        assert_eq!(learn(&mut pace, Duration::from_millis(12), 200), (false, true));
        assert!(pace.is_brief(8, 2, 8), "two that start take turns as well");
        assert_eq!(learn(&mut pace, brief, 200), (true, true));
        assert_eq!(learn(&mut pace, Duration::from_millis(80), 100), (false, false));
    }

    #[test]
    fn more_instances_take_part_for_a_while_only() {
        let mut pace = Pace { extra: 8, ..Pace::default() };
        learn(&mut pace, Duration::from_micros(200), ANSWERS_PER_EXTRA);
        assert_eq!(pace.extra, 7);
        learn(&mut pace, Duration::from_micros(200), ANSWERS_PER_EXTRA * 10);
        assert_eq!(pace.extra, 0);
    }
}
