//! What happens while functions rest: keeping, freezing, ending, and starting ahead of need.

use super::{Action, GroupId, InstanceId, LATEST, Phase, Pool};
use crate::Function;
use crate::keepalive::Habit;
use std::sync::Arc;
use std::time::Duration;

/// Versions whose habits are remembered; beyond it the one that rested longest is forgotten.
const RESTS_MAX: usize = 20_000;
/// How long an instance that was started for a known time waits beyond it.
const SCHEDULE_SLACK: Duration = Duration::from_secs(60);
/// Times that may be asked for ahead, per version.
const SCHEDULED_MAX: usize = 64;

/// One version's habit and plans.
pub(super) struct Rest {
    /// What would be started; none where the code has changed since.
    function: Option<Arc<Function>>,
    pub habit: Habit,
    /// When the last request was answered, while none is in flight.
    silent_since: Option<Duration>,
    /// Until when the instance that was used last is kept.
    keep_until: Duration,
    /// When an instance is to be started, and until when it is then kept.
    prewarm: Option<(Duration, Duration)>,
    /// Times at which requests are known to come, each with its number of instances.
    scheduled: Vec<(Duration, u32)>,
}

impl Pool {
    fn rest_for(&mut self, function: &Arc<Function>) -> &mut Rest {
        let key = function.arn_of_version();
        if self.rests.len() >= RESTS_MAX && !self.rests.contains_key(&key) {
            let oldest = self.rests.iter().min_by_key(|(_, r)| r.silent_since.unwrap_or(Duration::MAX));
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                self.rests.remove(&key);
            }
        }
        let rest = self.rests.entry(key).or_insert_with(|| Rest {
            function: Some(function.clone()),
            habit: Habit::default(),
            silent_since: None,
            keep_until: Duration::ZERO,
            prewarm: None,
            scheduled: Vec::new(),
        });
        if !rest.function.as_ref().is_some_and(|known| Arc::ptr_eq(known, function)) {
            rest.function = Some(function.clone());
        }
        rest
    }

    /// A request was admitted.
    pub(super) fn comes(&mut self, group_id: GroupId, now: Duration) {
        let Some(group) = self.groups.get(&group_id) else { return };
        if let Some(rest) = self.rests.get_mut(&group.key) {
            rest.habit.requested(now);
            rest.prewarm = None;
            if let Some(since) = rest.silent_since.take() {
                rest.habit.rested(now.saturating_sub(since));
            }
        } else {
            let function = group.function.clone();
            self.rest_for(&function).habit.requested(now);
        }
    }

    /// The last request in flight of a version was answered: its rest is planned.
    pub(super) fn falls_silent(&mut self, group_id: GroupId, now: Duration) {
        let Some(group) = self.groups.get_mut(&group_id) else { return };
        group.pace.rest();
        let keep_alive = self.limits.keep_alive;
        if group.retired {
            return;
        }
        let function = group.function.clone();
        let memory_mb = function.memory_mb;
        let rest = self.rest_for(&function);
        let plan = rest.habit.plan(&keep_alive, memory_mb);
        rest.silent_since = Some(now);
        rest.keep_until = now + plan.keep;
        rest.prewarm = plan.prewarm.map(|(from, to)| (now + from, now + to));
    }

    /// The instance waits for a request.
    pub(super) fn rests_now(&mut self, instance: InstanceId, now: Duration) {
        let Some(entry) = self.instances.get_mut(&instance) else { return };
        let Some(group) = self.groups.get_mut(&entry.group) else { return };
        entry.phase = Phase::Idle { since: now, frozen: false };
        if let Some(rest) = self.rests.get(&group.key) {
            entry.priority = self.dual.priority(&rest.habit, group.function.memory_mb);
        }
        group.idle.push(instance);
    }

    /// An instance has started.
    pub(super) fn came_up(&mut self, instance: InstanceId, took: Duration) {
        self.provision_works(instance);
        let key = self.instances.get(&instance).and_then(|i| self.groups.get(&i.group)).map(|g| g.key.as_str());
        if let Some(rest) = key.and_then(|key| self.rests.get_mut(key)) {
            rest.habit.started(took);
        }
    }

    /// The idle instance that takes the next request: a provisioned one if there is one, else the one that was used last.
    pub(super) fn pop_idle(&mut self, group_id: GroupId) -> Option<InstanceId> {
        let group = self.groups.get_mut(&group_id)?;
        if self.provisions.contains_key(&group.key) {
            let instances = &self.instances;
            let found = group.idle.iter().rposition(|id| instances.get(id).is_some_and(|i| i.is_provisioned));
            if let Some(at) = found {
                return Some(group.idle.remove(at));
            }
        }
        group.idle.pop()
    }

    /// Makes sure that `count` instances of a version are ready at a time at which requests are known to come: they are started
    /// shortly before, and kept for a minute after it.
    pub fn prewarm(&mut self, function: &Arc<Function>, at: Duration, count: u32, now: Duration) {
        let rest = self.rest_for(function);
        if rest.scheduled.len() < SCHEDULED_MAX {
            rest.scheduled.push((at, count));
        }
        self.start_scheduled(now);
    }

    /// Forgets habits of code that is gone, as [`Pool::retire`] has it.
    pub(super) fn forget_rests(&mut self, function_arn: &str, keep: Option<u64>) {
        if keep.is_none() {
            let prefix = format!("{function_arn}:");
            self.rests.retain(|key, _| !key.starts_with(&prefix));
            self.broken.retain(|key, _| !key.starts_with(&prefix));
            return self.unprovision_all(function_arn);
        }
        // The habit stays with the name; the code that would be started does not.
        if let Some(rest) = self.rests.get_mut(&format!("{function_arn}:{LATEST}")) {
            rest.function.take_if(|f| keep.is_some_and(|revision| f.revision < revision));
        }
    }

    /// Ends what has been idle for too long or is too old, freezes what has rested for a while, starts what is due.
    pub fn tick(&mut self, now: Duration) {
        let over = self.over(now);
        self.end_idle(&over);
        let freeze_after = self.limits.freeze_after;
        for (id, instance) in &mut self.instances {
            let Phase::Idle { since, frozen } = &mut instance.phase else { continue };
            if !*frozen && !freeze_after.is_zero() && now.saturating_sub(*since) >= freeze_after {
                *frozen = true;
                self.actions.push(Action::Freeze { instance: *id });
            }
        }
        self.start_planned(now);
        self.start_scheduled(now);
        self.fill_provisioned(now);
        self.feed_hungry(now);
    }

    /// Tells whether the host is short of memory; as long as it is, one instance at rest goes with every call.
    pub fn pressure(&mut self, is_short: bool) {
        self.is_short = is_short;
        if is_short {
            self.evict();
        }
    }

    fn over(&self, now: Duration) -> Vec<InstanceId> {
        let (age_max, extra) = (self.limits.age_max, self.limits.keep_alive.extra);
        let mut over = Vec::new();
        for group in self.groups.values() {
            let rest = self.rests.get(&group.key).filter(|_| group.in_flight == 0);
            let last = group.idle.len().saturating_sub(1);
            for (at, id) in group.idle.iter().enumerate() {
                let Some(instance) = self.instances.get(id) else { continue };
                let Phase::Idle { since, .. } = instance.phase else { continue };
                let until = match rest {
                    Some(rest) if at == last => rest.keep_until,
                    _ => since + extra,
                };
                let is_old = now.saturating_sub(instance.born) >= age_max;
                if is_old || (now >= until && !instance.is_provisioned) {
                    over.push(*id);
                }
            }
        }
        over
    }

    /// Starts instances ahead of requests that habit lets expect.
    fn start_planned(&mut self, now: Duration) {
        let due = self.rests.values_mut().filter_map(|rest| {
            let (from, until) = rest.prewarm.filter(|(from, _)| *from <= now)?;
            rest.prewarm = None;
            rest.keep_until = until;
            if until > from { rest.function.clone() } else { None }
        });
        for function in due.collect::<Vec<_>>() {
            self.start_ahead(&function, 1, now);
        }
    }

    fn start_scheduled(&mut self, now: Duration) {
        let mut due = Vec::new();
        for rest in self.rests.values_mut().filter(|rest| !rest.scheduled.is_empty()) {
            let lead = rest.habit.lead();
            rest.scheduled.retain(|(at, count)| {
                let is_due = at.saturating_sub(lead) <= now;
                if is_due {
                    rest.keep_until = rest.keep_until.max(*at + SCHEDULE_SLACK);
                    due.extend(rest.function.clone().map(|f| (f, *count)));
                }
                !is_due
            });
        }
        for (function, count) in due {
            self.start_ahead(&function, count as usize, now);
        }
    }

    /// Starts instances until `count` are idle or starting. Where there is no room nothing is ended for a mere expectation.
    fn start_ahead(&mut self, function: &Arc<Function>, count: usize, now: Duration) {
        if self.is_stopping {
            return;
        }
        let group_id = self.group_for(function);
        loop {
            let Some(group) = self.groups.get(&group_id) else { return };
            let have = group.idle.len() + group.starting.saturating_sub(group.queue.len());
            if group.retired || group.broken || have >= count || !self.has_room(u64::from(function.memory_mb)) {
                break;
            }
            self.start_one(group_id, false, now);
        }
        self.forget_if_empty(group_id);
    }
}
