//! Admission and the instance pool: a pure state machine.
//!
//! Requests and instances of one revision of one version meet in a *group*. A request takes the instance that was used last,
//! or waits in the group's queue; as many instances are started as requests wait beyond those already starting, and whichever
//! instance is ready first takes the queue's head. Events come in as calls with the time, decisions go out as [`Action`]s;
//! nothing here waits, reads a clock or does I/O.
//!
//! A group whose code failed to load is *broken*: its next request does not wait for a start but is bound to one, which then
//! counts into the request's own duration, as AWS retries a failed init inside the invocation.

//! What rests is kept by a [`KeepAlive`] policy, per version of a function; provisioned concurrency is kept at its number
//! whatever else happens.

mod admission;
mod capacity;
mod pace;
mod provisioned;
mod rest;
#[cfg(test)]
mod tests;

pub use provisioned::Provisioned;

use crate::keepalive::{GreedyDual, KeepAlive};
use crate::{Function, ThrottleReason};
use pace::Pace;
use provisioned::Provision;
use rest::Rest;
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
    /// Requests of the account at a time.
    pub concurrency: u32,
    /// Starts of one function's instances in 10 seconds.
    pub burst: u32,
    /// Instances at a time.
    pub instances_max: u32,
    /// 0 = none.
    pub memory_mb_max: u64,
    /// Starts under way at a time.
    pub starting_max: u32,
    /// How long what rests is kept.
    pub keep_alive: KeepAlive,
    /// Age at which an instance is replaced.
    pub age_max: Duration,
    /// Rest after which an instance is frozen.
    /// Zero = never.
    pub freeze_after: Duration,
    /// Busy instances of a version beyond which brief calls wait for one of them. 0 = never.
    pub busy_enough: u32,
}

/// What the driver is to do.
#[derive(Clone)]
pub enum Action {
    /// Hand the request to the instance, which is waiting for one.
    Assign { request: RequestId, instance: InstanceId, thaw: bool },
    /// Start an instance; with `bound`, as part of that request.
    Start { instance: InstanceId, function: Arc<Function>, bound: Option<RequestId>, is_provisioned: bool },
    /// End the instance and report [`Pool::gone`].
    Kill { instance: InstanceId },
    /// Stop an idle instance's processes until it is assigned.
    Freeze { instance: InstanceId },
    /// Call [`Pool::look`] after so long.
    Look { after: Duration },
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
    is_provisioned: bool,
    /// Worth under memory pressure, as of when it became idle.
    priority: f64,
}

struct Group {
    function: Arc<Function>,
    /// Name of the version in the maps that outlive the group.
    key: String,
    /// Requests admitted and not answered.
    in_flight: u32,
    /// Since when a request has waited for a start that found no room.
    hungry_since: Option<Duration>,
    /// Last used at the end.
    idle: Vec<InstanceId>,
    queue: VecDeque<RequestId>,
    /// Unbound starts under way.
    starting: usize,
    live: usize,
    /// Instances with a request, or not yet back from one.
    busy: u32,
    pace: Pace,
    retired: bool,
    broken: bool,
}

/// All versions of one function.
#[derive(Default)]
struct Usage {
    in_flight: u32,
    /// Of these, the ones beyond the provisioned concurrency of their version.
    spilled: u32,
    reserved: Option<u32>,
    /// Provisioned concurrency of all versions.
    provisioned: u32,
    groups: Vec<GroupId>,
    /// Starts that may still happen at once, and when that was true.
    burst: Option<(f64, Duration)>,
}

struct Pending {
    group: GroupId,
    is_queued: bool,
    /// When an instance got it.
    since: Duration,
    /// It was admitted beyond the provisioned concurrency of its version.
    is_spilled: bool,
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
    /// Revisions by version whose code failed to load last, beyond the life of groups.
    broken: HashMap<String, u64>,
    /// Groups that want a start and found no room, in turn.
    hungry: VecDeque<GroupId>,
    /// Groups whose requests wait for busy instances.
    held: Vec<GroupId>,
    actions: Vec<Action>,
    last_id: u64,
    starting: u32,
    memory_mb: u64,
    /// What reservations and provisioned concurrency take from the account.
    reserved_total: u32,
    unreserved_in_flight: u32,
    /// Habits and prewarming by version, beyond the life of groups.
    rests: HashMap<String, Rest>,
    provisions: HashMap<String, Provision>,
    dual: GreedyDual,
    /// The host is short of memory: nothing starts but into what ends.
    is_short: bool,
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
            broken: HashMap::new(),
            hungry: VecDeque::new(),
            held: Vec::new(),
            actions: Vec::new(),
            last_id: 0,
            starting: 0,
            memory_mb: 0,
            reserved_total: 0,
            unreserved_in_flight: 0,
            rests: HashMap::new(),
            provisions: HashMap::new(),
            dual: GreedyDual::default(),
            is_short: false,
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
        let group_id = self.group_for(function);
        let is_spilled = match self.admit(group_id, now) {
            Ok(is_spilled) => is_spilled,
            Err(reason) => {
                self.forget_if_empty(group_id);
                return Err(reason);
            }
        };
        let request = self.next_id();
        self.requests.insert(request, Pending { group: group_id, is_queued: true, since: now, is_spilled });
        self.comes(group_id, now);
        if let Some(group) = self.groups.get_mut(&group_id) {
            group.queue.push_back(request);
        }
        self.serve(group_id, now);
        self.feed_hungry(now);
        Ok(request)
    }

    /// The instance has loaded its code, or is done with a request, and asks for the next.
    pub fn ready(&mut self, instance: InstanceId, now: Duration) {
        let Some(entry) = self.instances.get_mut(&instance) else { return };
        let group_id = entry.group;
        let was = entry.phase;
        let took = now.saturating_sub(entry.born);
        match was {
            Phase::Starting | Phase::Bound => {
                self.start_over(group_id, was, Some(false));
                self.came_up(instance, took);
            }
            Phase::Busy => self.is_back(group_id),
            Phase::Idle { .. } | Phase::Ending => return,
        }
        let Some(entry) = self.instances.get_mut(&instance) else { return };
        if was == Phase::Bound {
            // Its request is in its hands already.
            entry.phase = Phase::Busy;
            if let Some(group) = self.groups.get_mut(&group_id) {
                group.busy += 1;
            }
            return self.feed_hungry(now);
        }
        let Some(group) = self.groups.get_mut(&group_id) else { return };
        let is_old = now.saturating_sub(entry.born) >= self.limits.age_max;
        let is_unwanted = group.queue.is_empty() && (group.retired || self.is_stopping);
        if is_old || is_unwanted || (was == Phase::Busy && self.must_yield(group_id, now)) {
            self.end_all(&[instance]);
        } else {
            self.rests_now(instance, now);
        }
        self.serve(group_id, now);
        self.drain(group_id);
        self.feed_hungry(now);
    }

    /// The request has its answer and counts no longer.
    pub fn answered(&mut self, request: RequestId, now: Duration) {
        let Some(pending) = self.requests.remove(&request) else { return };
        if let Some(group) = self.groups.get_mut(&pending.group) {
            if pending.is_queued {
                group.queue.retain(|r| *r != request);
            } else {
                group.pace.learn(now.saturating_sub(pending.since), now);
            }
        }
        self.release(&pending, now);
        self.drain(pending.group);
        self.forget_if_empty(pending.group);
    }

    /// Takes back a request that still waits. False when it runs already or is answered.
    pub fn cancel(&mut self, request: RequestId, now: Duration) -> bool {
        let waits = self.requests.get(&request).is_some_and(|p| p.is_queued);
        if waits {
            self.answered(request, now);
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
        self.provision_failed(instance, now);
        self.serve(group_id, now);
        self.feed_hungry(now);
    }

    /// The instance could not be started at all; answers the request that pays for it, if one waits.
    pub fn start_failed(&mut self, instance: InstanceId, now: Duration) -> Option<RequestId> {
        let group_id = self.instances.get(&instance)?.group;
        let request = self.groups.get(&group_id).and_then(|g| g.queue.front().copied());
        if let Some(request) = request {
            self.cancel(request, now);
        }
        self.provision_failed(instance, now);
        self.gone(instance, now);
        request
    }

    /// The instance has ended, for whatever reason, and its resources are free.
    pub fn gone(&mut self, instance: InstanceId, now: Duration) {
        let Some(entry) = self.instances.remove(&instance) else { return };
        match entry.phase {
            Phase::Starting | Phase::Bound => self.start_over(entry.group, entry.phase, None),
            Phase::Busy => self.is_back(entry.group),
            Phase::Idle { .. } | Phase::Ending => {}
        }
        if let Some(group) = self.groups.get_mut(&entry.group) {
            group.live -= 1;
            group.idle.retain(|i| *i != instance);
            self.memory_mb -= u64::from(group.function.memory_mb);
        }
        self.serve(entry.group, now);
        self.feed_hungry(now);
        self.fill_provisioned(now);
        self.forget_if_empty(entry.group);
    }

    /// Lets instances drain: with `keep`, those of `$LATEST` with a lower revision (published versions do not change);
    /// without, all of the function. Idle ones end, others end when no request of their revision waits.
    pub fn retire(&mut self, function_arn: &str, keep: Option<u64>) {
        match keep {
            Some(revision) => self.newest.insert(function_arn.to_owned(), revision),
            None => self.newest.remove(function_arn),
        };
        self.forget_rests(function_arn, keep);
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

    /// An instance is done with its request.
    fn is_back(&mut self, group_id: GroupId) {
        if let Some(group) = self.groups.get_mut(&group_id) {
            group.busy -= 1;
        }
    }

    /// Gives waiting requests to idle instances and starts what is missing.
    fn serve(&mut self, group_id: GroupId, now: Duration) {
        while let Some(group) = self.groups.get(&group_id).filter(|g| !g.queue.is_empty()) {
            if self.holds(group) {
                return self.held(group_id);
            }
            let Some(instance) = self.pop_idle(group_id) else { break };
            let Some(group) = self.groups.get_mut(&group_id) else { return };
            let Some(entry) = self.instances.get_mut(&instance) else { continue };
            let thaw = matches!(entry.phase, Phase::Idle { frozen: true, .. });
            let Some(request) = group.queue.pop_front() else { break };
            entry.phase = Phase::Busy;
            group.busy += 1;
            if let Some(pending) = self.requests.get_mut(&request) {
                (pending.is_queued, pending.since) = (false, now);
            }
            self.actions.push(Action::Assign { request, instance, thaw });
        }
        self.start_missing(group_id, now);
    }

    /// Ends what rests in a group of which nothing more is expected: it came back while requests waited for others.
    fn drain(&mut self, group_id: GroupId) {
        let is_stopping = self.is_stopping;
        let Some(group) = self.groups.get_mut(&group_id) else { return };
        if (group.retired || is_stopping) && group.queue.is_empty() {
            let idle = std::mem::take(&mut group.idle);
            self.end_all(&idle);
        }
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
