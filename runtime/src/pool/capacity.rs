//! Room on the machine: when a start may happen, who must go for it, and whose turn it is.

use super::pace::Pace;
use super::{Action, Group, GroupId, Instance, InstanceId, LATEST, Phase, Pool, RequestId, Usage};
use crate::Function;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How long a function without any instance waits before another gives one up for it.
const PATIENCE: Duration = Duration::from_millis(250);
/// Versions that are remembered as broken; beyond, the memory begins anew, at the price of a second start each.
const BROKEN_MAX: usize = 10_000;
/// Seconds in which the burst limit comes back in full.
const BURST_SECS: f64 = 10.0;

impl Pool {
    /// The group of this revision, made when there is none.
    pub(super) fn group_for(&mut self, function: &Arc<Function>) -> GroupId {
        let known = self.usage.get(&function.function_arn).and_then(|usage| {
            usage.groups.iter().copied().find(|id| {
                self.groups
                    .get(id)
                    .is_some_and(|g| g.function.revision == function.revision && g.function.version == function.version)
            })
        });
        if let Some(id) = known {
            return id;
        }
        let id = self.next_id();
        let newest = self.newest.get(&function.function_arn);
        let is_old = function.version == LATEST && newest.is_some_and(|revision| function.revision < *revision);
        let key = function.arn_of_version();
        let group = Group {
            function: function.clone(),
            broken: self.broken.get(&key) == Some(&function.revision),
            key,
            in_flight: 0,
            hungry_since: None,
            idle: Vec::new(),
            queue: VecDeque::new(),
            starting: 0,
            live: 0,
            busy: 0,
            pace: Pace::default(),
            retired: is_old,
        };
        self.groups.insert(id, group);
        self.usage.entry(function.function_arn.clone()).or_default().groups.push(id);
        id
    }

    /// Starts instances for requests that no idle or starting instance will take.
    pub(super) fn start_missing(&mut self, group_id: GroupId, now: Duration) {
        loop {
            let Some(group) = self.groups.get(&group_id) else { return };
            if !self.wants_start(group) {
                if group.queue.len() > group.starting {
                    self.held(group_id);
                }
                return;
            }
            let memory = u64::from(group.function.memory_mb);
            // Those that wait already are first.
            let is_first = self.hungry.iter().all(|id| *id == group_id);
            if !is_first || !self.has_room(memory) {
                self.make_room(memory);
                return self.hungers(group_id, now);
            }
            if !self.take_burst(group_id, now) {
                return self.hungers(group_id, now);
            }
            self.start_one(group_id, false, now);
        }
    }

    /// Whether requests wait that no idle, starting or busy instance is to take.
    fn wants_start(&self, group: &Group) -> bool {
        let waits = if group.broken { !group.queue.is_empty() } else { group.queue.len() > group.starting };
        waits && !self.holds_starts(group)
    }

    fn hungers(&mut self, group_id: GroupId, now: Duration) {
        if let Some(group) = self.groups.get_mut(&group_id) {
            group.hungry_since.get_or_insert(now);
        }
        if !self.hungry.contains(&group_id) {
            self.hungry.push_back(group_id);
        }
    }

    /// Starts an instance; beforehand the caller has found room for it.
    pub(super) fn start_one(&mut self, group_id: GroupId, is_provisioned: bool, now: Duration) {
        let instance = self.next_id();
        let Some(group) = self.groups.get_mut(&group_id) else { return };
        group.hungry_since = None;
        let takes_request = group.broken && !is_provisioned;
        let bound: Option<RequestId> = if takes_request { group.queue.pop_front() } else { None };
        if let Some(pending) = bound.and_then(|r| self.requests.get_mut(&r)) {
            (pending.is_queued, pending.since) = (false, now);
        }
        if bound.is_none() {
            group.starting += 1;
        }
        group.live += 1;
        self.starting += 1;
        self.memory_mb += u64::from(group.function.memory_mb);
        let phase = if bound.is_some() { Phase::Bound } else { Phase::Starting };
        let entry = Instance { group: group_id, phase, born: now, is_provisioned, priority: 0.0 };
        self.instances.insert(instance, entry);
        self.actions.push(Action::Start { instance, function: group.function.clone(), bound, is_provisioned });
    }

    /// Starts of a function that the burst limit still lets happen.
    pub(super) fn burst_left(&self, function_arn: &str, now: Duration) -> f64 {
        let full = f64::from(self.limits.burst);
        let Some((left, at)) = self.usage.get(function_arn).and_then(|u| u.burst) else { return full };
        (left + now.saturating_sub(at).as_secs_f64() * full / BURST_SECS).min(full)
    }

    fn take_burst(&mut self, group_id: GroupId, now: Duration) -> bool {
        let Some(arn) = self.groups.get(&group_id).map(|g| g.function.function_arn.clone()) else { return false };
        let left = self.burst_left(&arn, now);
        if left < 1.0 {
            return false;
        }
        if let Some(usage) = self.usage.get_mut(&arn) {
            usage.burst = Some((left - 1.0, now));
        }
        true
    }

    /// A start has come to its end, well or not.
    pub(super) fn start_over(&mut self, group_id: GroupId, was: Phase, is_broken: Option<bool>) {
        self.starting -= 1;
        if let Some(group) = self.groups.get_mut(&group_id) {
            match is_broken {
                Some(true) if !group.broken => {
                    if self.broken.len() >= BROKEN_MAX {
                        self.broken.clear();
                    }
                    self.broken.insert(group.key.clone(), group.function.revision);
                }
                Some(false) if group.broken => drop(self.broken.remove(&group.key)),
                _ => {}
            }
            group.broken = is_broken.unwrap_or(group.broken);
            if was == Phase::Starting {
                group.starting -= 1;
            }
        }
    }

    pub(super) fn has_room(&self, memory_mb: u64) -> bool {
        let limits = &self.limits;
        let fits_memory = limits.memory_mb_max == 0 || self.memory_mb + memory_mb <= limits.memory_mb_max;
        // Where the host itself is short, one instance at least may live: else nothing would ever end the shortage.
        let fits_host = !self.is_short || self.instances.is_empty();
        self.starting < limits.starting_max
            && self.instances.len() < limits.instances_max as usize
            && fits_memory
            && fits_host
    }

    /// Whether instances stand in the way of a start, and not only starts under way.
    fn is_full(&self, memory_mb: u64) -> bool {
        let limits = &self.limits;
        self.is_short
            || self.instances.len() >= limits.instances_max as usize
            || (limits.memory_mb_max > 0 && self.memory_mb + memory_mb > limits.memory_mb_max)
    }

    /// Ends the idle instance that is worth least when the machine is full; the start follows when it is gone.
    pub(super) fn make_room(&mut self, memory_mb: u64) {
        if !self.is_full(memory_mb) || self.instances.values().any(|i| i.phase == Phase::Ending) {
            return;
        }
        self.evict();
    }

    /// Ends the idle instance that is worth least. False when none rests.
    pub(super) fn evict(&mut self) -> bool {
        let resting = self.instances.iter().filter(|(_, i)| !i.is_provisioned && matches!(i.phase, Phase::Idle { .. }));
        let order = |a: &(&InstanceId, &Instance), b: &(&InstanceId, &Instance)| {
            a.1.priority.total_cmp(&b.1.priority).then_with(|| since(a.1).cmp(&since(b.1))).then(a.0.cmp(b.0))
        };
        let Some((id, priority)) = resting.min_by(order).map(|(id, i)| (*id, i.priority)) else { return false };
        self.dual.evicted(priority);
        self.end_idle(&[id]);
        true
    }

    /// Whether an instance of this group, about to take its next request, is to make way for another function instead: the
    /// machine is full, and a function waits that has less than its share (all of it over the functions that want some).
    pub(super) fn must_yield(&self, group_id: GroupId, now: Duration) -> bool {
        let Some(own) = self.groups.get(&group_id) else { return false };
        let waiting = self.hungry.iter().filter(|id| **id != group_id).filter_map(|id| self.groups.get(id));
        let mut waiting = waiting.filter(|g| g.hungry_since.is_some() && !g.queue.is_empty()).peekable();
        if waiting.peek().is_none() || self.instances.values().any(|i| i.phase == Phase::Ending) {
            return false;
        }
        let active = self.groups.iter().filter(|(_, g)| g.in_flight > 0);
        let functions: HashSet<&str> = active.map(|(_, g)| g.function.function_arn.as_str()).collect();
        let memory = |g: &Group| g.live as u64 * u64::from(g.function.memory_mb);
        let share = self.memory_mb / functions.len().max(1) as u64;
        let over = memory(own).saturating_sub(u64::from(own.function.memory_mb)) >= share;
        waiting.any(|g| {
            let is_under = memory(g) + u64::from(g.function.memory_mb) <= share;
            let has_none = g.live == 0 && g.hungry_since.is_some_and(|since| now.saturating_sub(since) >= PATIENCE);
            self.is_full(u64::from(g.function.memory_mb)) && ((over && is_under) || has_none)
        })
    }

    /// Lets groups that found no room start, one each in turn.
    pub(super) fn feed_hungry(&mut self, now: Duration) {
        for _ in 0..self.hungry.len() {
            let Some(group_id) = self.hungry.pop_front() else { return };
            let Some(group) = self.groups.get(&group_id) else { continue };
            if !self.wants_start(group) {
                if group.queue.len() > group.starting {
                    self.held(group_id);
                }
                self.is_fed(group_id);
                continue;
            }
            let memory = u64::from(group.function.memory_mb);
            if !self.has_room(memory) {
                self.make_room(memory);
                self.hungry.push_front(group_id);
                return;
            }
            if self.take_burst(group_id, now) {
                self.start_one(group_id, false, now);
            }
            self.hungry.push_back(group_id);
        }
    }

    fn is_fed(&mut self, group_id: GroupId) {
        if let Some(group) = self.groups.get_mut(&group_id) {
            group.hungry_since = None;
        }
    }

    /// Drops a group that has neither instances nor requests, so that idle functions cost nothing.
    pub(super) fn forget_if_empty(&mut self, group_id: GroupId) {
        let Some(group) = self.groups.get(&group_id) else { return };
        if group.live > 0 || group.in_flight > 0 {
            return;
        }
        let arn = group.function.function_arn.clone();
        self.groups.remove(&group_id);
        if let Some(usage) = self.usage.get_mut(&arn) {
            usage.groups.retain(|g| *g != group_id);
        }
        self.forget_usage_if_empty(&arn);
    }

    pub(super) fn forget_usage_if_empty(&mut self, function_arn: &str) {
        let is_empty =
            |u: &Usage| u.in_flight == 0 && u.reserved.is_none() && u.provisioned == 0 && u.groups.is_empty();
        if self.usage.get(function_arn).is_some_and(is_empty) {
            self.usage.remove(function_arn);
        }
    }
}

fn since(instance: &Instance) -> Duration {
    match instance.phase {
        Phase::Idle { since, .. } => since,
        _ => Duration::MAX,
    }
}
