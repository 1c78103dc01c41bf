//! Admission and the instance pool: a pure state machine.
//!
//! Requests and instances of one revision of one version meet in a *group*. A request takes the instance that was used last,
//! or waits in the group's queue; as many instances are started as requests wait beyond those already starting, and whichever
//! instance is ready first takes the queue's head. Events come in as calls with the time, decisions go out as [`Action`]s;
//! nothing here waits, reads a clock or does I/O.
//!
//! A group whose code failed to load is *broken*: its next request does not wait for a start but is bound to one, which then
//! counts into the request's own duration, as AWS retries a failed init inside the invocation.

mod capacity;
#[cfg(test)]
mod tests;

use crate::{Function, ThrottleReason};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Names an instance.
pub type InstanceId = u64;
/// Names an admitted request.
pub type RequestId = u64;
type GroupId = u64;
const LATEST: &str = "$LATEST";

/// The pool's bounds.
#[derive(Clone, Debug)]
pub struct Limits {
    pub concurrency: u32,
    pub instances_max: u32,
    /// 0 = none.
    pub memory_mb_max: u64,
    pub starting_max: u32,
    pub keep_alive: Duration,
    pub age_max: Duration,
    /// Zero = never.
    pub freeze_after: Duration,
}

/// What the driver is to do.
#[derive(Clone)]
pub enum Action {
    /// Hand the request to the instance, which is waiting for one.
    Assign { request: RequestId, instance: InstanceId, thaw: bool },
    /// Start an instance; with `bound`, as part of that request.
    Start { instance: InstanceId, function: Arc<Function>, bound: Option<RequestId> },
    /// End the instance and report [`Pool::gone`].
    Kill { instance: InstanceId },
    /// Stop an idle instance's processes until it is assigned.
    Freeze { instance: InstanceId },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    /// Starting as part of a request.
    Bound,
    Idle {
        since: Duration,
        frozen: bool,
    },
    Busy,
    Ending,
}

struct Instance {
    group: GroupId,
    phase: Phase,
    born: Duration,
}

struct Group {
    function: Arc<Function>,
    /// Last used at the end.
    idle: Vec<InstanceId>,
    queue: VecDeque<RequestId>,
    /// Unbound starts under way.
    starting: usize,
    live: usize,
    retired: bool,
    broken: bool,
}

/// All versions of one function.
#[derive(Default)]
struct Usage {
    in_flight: u32,
    reserved: Option<u32>,
    groups: Vec<GroupId>,
}

struct Pending {
    group: GroupId,
    is_queued: bool,
}

/// Counts of the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub instances: usize,
    pub starting: usize,
    pub idle: usize,
    pub queued: usize,
    pub in_flight: usize,
}

/// The state machine.
pub struct Pool {
    limits: Limits,
    usage: HashMap<String, Usage>,
    groups: HashMap<GroupId, Group>,
    instances: HashMap<InstanceId, Instance>,
    requests: HashMap<RequestId, Pending>,
    /// The revision of `$LATEST` that is current, for functions that were changed: a request that was resolved before the
    /// change may come after it.
    newest: HashMap<String, u64>,
    /// Groups that want a start and found no room, in turn.
    hungry: VecDeque<GroupId>,
    actions: Vec<Action>,
    last_id: u64,
    starting: u32,
    memory_mb: u64,
    reserved_total: u32,
    unreserved_in_flight: u32,
    is_stopping: bool,
}

impl Pool {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            usage: HashMap::new(),
            groups: HashMap::new(),
            instances: HashMap::new(),
            requests: HashMap::new(),
            newest: HashMap::new(),
            hungry: VecDeque::new(),
            actions: Vec::new(),
            last_id: 0,
            starting: 0,
            memory_mb: 0,
            reserved_total: 0,
            unreserved_in_flight: 0,
            is_stopping: false,
        }
    }

    /// The decisions since the last call, in order.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Admits a request, or says which limit refuses it.
    pub fn request(&mut self, function: &Arc<Function>, now: Duration) -> Result<RequestId, ThrottleReason> {
        self.reserve_if_changed(&function.function_arn, function.reserved_concurrency);
        self.admit(&function.function_arn)?;
        let group_id = self.group_for(function);
        let request = self.next_id();
        self.requests.insert(request, Pending { group: group_id, is_queued: true });
        if let Some(group) = self.groups.get_mut(&group_id) {
            group.queue.push_back(request);
        }
        self.serve(group_id, now);
        Ok(request)
    }

    /// The instance has loaded its code, or is done with a request, and asks for the next.
    pub fn ready(&mut self, instance: InstanceId, now: Duration) {
        let Some(entry) = self.instances.get_mut(&instance) else { return };
        let group_id = entry.group;
        let was = entry.phase;
        match was {
            Phase::Starting | Phase::Bound => self.start_over(group_id, was, Some(false)),
            Phase::Busy => {}
            Phase::Idle { .. } | Phase::Ending => return,
        }
        let Some(entry) = self.instances.get_mut(&instance) else { return };
        if was == Phase::Bound {
            // Its request is in its hands already.
            entry.phase = Phase::Busy;
            return self.feed_hungry(now);
        }
        let Some(group) = self.groups.get_mut(&group_id) else { return };
        let is_old = now.saturating_sub(entry.born) >= self.limits.age_max;
        let is_unwanted = group.queue.is_empty() && (group.retired || self.is_stopping);
        if is_old || is_unwanted {
            entry.phase = Phase::Ending;
            self.actions.push(Action::Kill { instance });
        } else {
            entry.phase = Phase::Idle { since: now, frozen: false };
            group.idle.push(instance);
        }
        self.serve(group_id, now);
        self.feed_hungry(now);
    }

    /// The request has its answer and counts no longer.
    pub fn answered(&mut self, request: RequestId) {
        let Some(pending) = self.requests.remove(&request) else { return };
        let Some(group) = self.groups.get_mut(&pending.group) else { return };
        if pending.is_queued {
            group.queue.retain(|r| *r != request);
        }
        let function = group.function.clone();
        if let Some(usage) = self.usage.get_mut(&function.function_arn) {
            usage.in_flight = usage.in_flight.saturating_sub(1);
            if usage.reserved.is_none() {
                self.unreserved_in_flight = self.unreserved_in_flight.saturating_sub(1);
            }
        }
        self.forget_if_empty(pending.group);
    }

    /// Takes back a request that still waits. False when it runs already or is answered.
    pub fn cancel(&mut self, request: RequestId) -> bool {
        let waits = self.requests.get(&request).is_some_and(|p| p.is_queued);
        if waits {
            self.answered(request);
        }
        waits
    }

    /// The instance that was to take the request had ended: the request goes back to the head of its queue.
    pub fn requeue(&mut self, request: RequestId, now: Duration) {
        let Some(pending) = self.requests.get_mut(&request) else { return };
        pending.is_queued = true;
        let group_id = pending.group;
        if let Some(group) = self.groups.get_mut(&group_id) {
            group.queue.push_front(request);
        }
        self.serve(group_id, now);
    }

    /// The code could not be loaded: the instance is about to end, and a waiting request tries again as part of itself.
    pub fn init_failed(&mut self, instance: InstanceId, now: Duration) {
        let Some(entry) = self.instances.get_mut(&instance) else { return };
        let (group_id, was) = (entry.group, entry.phase);
        if !matches!(was, Phase::Starting | Phase::Bound) {
            return;
        }
        entry.phase = Phase::Ending;
        self.start_over(group_id, was, Some(true));
        self.serve(group_id, now);
        self.feed_hungry(now);
    }

    /// The instance could not be started at all; answers the request that pays for it, if one waits.
    pub fn start_failed(&mut self, instance: InstanceId, now: Duration) -> Option<RequestId> {
        let group_id = self.instances.get(&instance)?.group;
        let request = self.groups.get(&group_id).and_then(|g| g.queue.front().copied());
        if let Some(request) = request {
            self.cancel(request);
        }
        self.gone(instance, now);
        request
    }

    /// The instance has ended, for whatever reason, and its resources are free.
    pub fn gone(&mut self, instance: InstanceId, now: Duration) {
        let Some(entry) = self.instances.remove(&instance) else { return };
        match entry.phase {
            Phase::Starting | Phase::Bound => self.start_over(entry.group, entry.phase, None),
            Phase::Idle { .. } | Phase::Busy | Phase::Ending => {}
        }
        if let Some(group) = self.groups.get_mut(&entry.group) {
            group.live -= 1;
            group.idle.retain(|i| *i != instance);
            self.memory_mb -= u64::from(group.function.memory_mb);
        }
        self.serve(entry.group, now);
        self.feed_hungry(now);
        self.forget_if_empty(entry.group);
    }

    /// Lets instances drain: with `keep`, those of `$LATEST` with a lower revision (published versions do not change);
    /// without, all of the function. Idle ones end, others end when no request of their revision waits.
    pub fn retire(&mut self, function_arn: &str, keep: Option<u64>) {
        match keep {
            Some(revision) => self.newest.insert(function_arn.to_owned(), revision),
            None => self.newest.remove(function_arn),
        };
        let groups = self.usage.get(function_arn).map(|u| u.groups.clone()).unwrap_or_default();
        for id in groups {
            let Some(group) = self.groups.get_mut(&id) else { continue };
            let function = &group.function;
            if keep.is_some_and(|revision| function.version != LATEST || function.revision >= revision) {
                continue;
            }
            group.retired = true;
            let idle = std::mem::take(&mut group.idle);
            self.end_all(&idle);
            self.forget_if_empty(id);
        }
    }

    /// Ends what has been idle for too long or is too old, and freezes what has rested for a while.
    pub fn tick(&mut self, now: Duration) {
        let limits = &self.limits;
        let mut over = Vec::new();
        for (id, instance) in &mut self.instances {
            let Phase::Idle { since, frozen } = &mut instance.phase else { continue };
            let rest = now.saturating_sub(*since);
            if rest >= limits.keep_alive || now.saturating_sub(instance.born) >= limits.age_max {
                over.push(*id);
            } else if !*frozen && !limits.freeze_after.is_zero() && rest >= limits.freeze_after {
                *frozen = true;
                self.actions.push(Action::Freeze { instance: *id });
            }
        }
        self.end_idle(&over);
    }

    /// Admits nothing more is the caller's part; idle instances end now, the others when their queues are empty.
    pub fn stop(&mut self) {
        self.is_stopping = true;
        let idle: Vec<_> = self.groups.values_mut().flat_map(|g| std::mem::take(&mut g.idle)).collect();
        self.end_all(&idle);
    }

    /// Counts of the moment.
    pub fn counts(&self) -> Counts {
        Counts {
            instances: self.instances.len(),
            starting: self.starting as usize,
            idle: self.groups.values().map(|g| g.idle.len()).sum(),
            queued: self.groups.values().map(|g| g.queue.len()).sum(),
            in_flight: self.requests.len(),
        }
    }

    /// Gives waiting requests to idle instances and starts what is missing.
    fn serve(&mut self, group_id: GroupId, now: Duration) {
        let Some(group) = self.groups.get_mut(&group_id) else { return };
        while !group.queue.is_empty() {
            let Some(instance) = group.idle.pop() else { break };
            let Some(entry) = self.instances.get_mut(&instance) else { continue };
            let thaw = matches!(entry.phase, Phase::Idle { frozen: true, .. });
            let Some(request) = group.queue.pop_front() else { break };
            entry.phase = Phase::Busy;
            if let Some(pending) = self.requests.get_mut(&request) {
                pending.is_queued = false;
            }
            self.actions.push(Action::Assign { request, instance, thaw });
        }
        self.start_missing(group_id, now);
    }

    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    fn end_idle(&mut self, instances: &[InstanceId]) {
        for id in instances {
            let group = self.instances.get(id).and_then(|i| self.groups.get_mut(&i.group));
            if let Some(group) = group {
                group.idle.retain(|i| i != id);
            }
        }
        self.end_all(instances);
    }

    fn end_all(&mut self, instances: &[InstanceId]) {
        for id in instances {
            if let Some(entry) = self.instances.get_mut(id) {
                entry.phase = Phase::Ending;
                self.actions.push(Action::Kill { instance: *id });
            }
        }
    }
}
