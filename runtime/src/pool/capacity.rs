//! Room on the machine and in the account: when a start may happen, and who is refused.

use super::{Action, Group, GroupId, Instance, LATEST, Phase, Pool, RequestId, Usage};
use crate::{Function, ThrottleReason};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

impl Pool {
    /// Sets a function's reserved concurrency; the rest of the account shares what is left.
    pub fn reserve(&mut self, function_arn: &str, reserved: Option<u32>) {
        let usage = self.usage.entry(function_arn.to_owned()).or_default();
        let (old, in_flight) = (usage.reserved, usage.in_flight);
        usage.reserved = reserved;
        self.reserved_total = self.reserved_total - old.unwrap_or(0) + reserved.unwrap_or(0);
        match (old, reserved) {
            (None, Some(_)) => self.unreserved_in_flight -= in_flight,
            (Some(_), None) => self.unreserved_in_flight += in_flight,
            _ => {}
        }
        self.forget_usage_if_empty(function_arn);
    }

    pub(super) fn reserve_if_changed(&mut self, function_arn: &str, reserved: Option<u32>) {
        if self.usage.get(function_arn).and_then(|u| u.reserved) != reserved {
            self.reserve(function_arn, reserved);
        }
    }

    /// Counts a request in, unless a limit refuses it.
    pub(super) fn admit(&mut self, function_arn: &str) -> Result<(), ThrottleReason> {
        if !self.usage.contains_key(function_arn) {
            self.usage.insert(function_arn.to_owned(), Usage::default());
        }
        let Some(usage) = self.usage.get_mut(function_arn) else { return Ok(()) };
        match usage.reserved {
            Some(reserved) if usage.in_flight >= reserved => {
                return Err(ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded);
            }
            Some(_) => {}
            None => {
                if self.unreserved_in_flight >= self.limits.concurrency.saturating_sub(self.reserved_total) {
                    self.forget_usage_if_empty(function_arn);
                    return Err(ThrottleReason::ConcurrentInvocationLimitExceeded);
                }
                self.unreserved_in_flight += 1;
            }
        }
        usage.in_flight += 1;
        Ok(())
    }

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
        let group = Group {
            function: function.clone(),
            idle: Vec::new(),
            queue: VecDeque::new(),
            starting: 0,
            live: 0,
            retired: is_old,
            broken: false,
        };
        self.groups.insert(id, group);
        if let Some(usage) = self.usage.get_mut(&function.function_arn) {
            usage.groups.push(id);
        }
        id
    }

    /// Starts instances for requests that no idle or starting instance will take.
    pub(super) fn start_missing(&mut self, group_id: GroupId, now: Duration) {
        loop {
            let Some(group) = self.groups.get(&group_id) else { return };
            let wants = if group.broken { !group.queue.is_empty() } else { group.queue.len() > group.starting };
            if !wants {
                return;
            }
            let memory = u64::from(group.function.memory_mb);
            if !self.has_room(memory) {
                self.make_room(memory);
                if !self.hungry.contains(&group_id) {
                    self.hungry.push_back(group_id);
                }
                return;
            }
            self.start_one(group_id, now);
        }
    }

    fn start_one(&mut self, group_id: GroupId, now: Duration) {
        let instance = self.next_id();
        let Some(group) = self.groups.get_mut(&group_id) else { return };
        let bound: Option<RequestId> = if group.broken { group.queue.pop_front() } else { None };
        if let Some(pending) = bound.and_then(|r| self.requests.get_mut(&r)) {
            pending.is_queued = false;
        }
        if bound.is_none() {
            group.starting += 1;
        }
        group.live += 1;
        self.starting += 1;
        self.memory_mb += u64::from(group.function.memory_mb);
        let phase = if bound.is_some() { Phase::Bound } else { Phase::Starting };
        self.instances.insert(instance, Instance { group: group_id, phase, born: now });
        self.actions.push(Action::Start { instance, function: group.function.clone(), bound });
    }

    /// A start has come to its end, well or not.
    pub(super) fn start_over(&mut self, group_id: GroupId, was: Phase, is_broken: Option<bool>) {
        self.starting -= 1;
        if let Some(group) = self.groups.get_mut(&group_id) {
            group.broken = is_broken.unwrap_or(group.broken);
            if was == Phase::Starting {
                group.starting -= 1;
            }
        }
    }

    fn has_room(&self, memory_mb: u64) -> bool {
        let limits = &self.limits;
        let fits_memory = limits.memory_mb_max == 0 || self.memory_mb + memory_mb <= limits.memory_mb_max;
        self.starting < limits.starting_max && self.instances.len() < limits.instances_max as usize && fits_memory
    }

    /// Ends the idle instance that has rested longest when the machine is full; the start follows when it is gone.
    fn make_room(&mut self, memory_mb: u64) {
        let limits = &self.limits;
        let ending = self.instances.values().filter(|i| i.phase == Phase::Ending).count();
        let is_full = self.instances.len() - ending >= limits.instances_max as usize
            || (limits.memory_mb_max > 0 && ending == 0 && self.memory_mb + memory_mb > limits.memory_mb_max);
        if !is_full {
            return;
        }
        let rested = self.instances.iter().filter_map(|(id, i)| match i.phase {
            Phase::Idle { since, .. } => Some((since, *id)),
            _ => None,
        });
        if let Some((_, id)) = rested.min() {
            self.end_idle(&[id]);
        }
    }

    /// Lets groups that found no room start, one each in turn.
    pub(super) fn feed_hungry(&mut self, now: Duration) {
        for _ in 0..self.hungry.len() {
            let Some(group_id) = self.hungry.pop_front() else { return };
            let Some(group) = self.groups.get(&group_id) else { continue };
            let wants = if group.broken { !group.queue.is_empty() } else { group.queue.len() > group.starting };
            if !wants {
                continue;
            }
            let memory = u64::from(group.function.memory_mb);
            if !self.has_room(memory) {
                self.make_room(memory);
                self.hungry.push_front(group_id);
                return;
            }
            self.start_one(group_id, now);
            self.hungry.push_back(group_id);
        }
    }

    /// Drops a group that has neither instances nor requests, so that idle functions cost nothing.
    pub(super) fn forget_if_empty(&mut self, group_id: GroupId) {
        let Some(group) = self.groups.get(&group_id) else { return };
        if group.live > 0 || !group.queue.is_empty() || self.requests.values().any(|p| p.group == group_id) {
            return;
        }
        let arn = group.function.function_arn.clone();
        self.groups.remove(&group_id);
        if let Some(usage) = self.usage.get_mut(&arn) {
            usage.groups.retain(|g| *g != group_id);
        }
        self.forget_usage_if_empty(&arn);
    }

    fn forget_usage_if_empty(&mut self, function_arn: &str) {
        let is_empty = |u: &Usage| u.in_flight == 0 && u.reserved.is_none() && u.groups.is_empty();
        if self.usage.get(function_arn).is_some_and(is_empty) {
            self.usage.remove(function_arn);
        }
    }
}
