//! The state machine: late binding, limits, draining, and a random run against its invariants.

mod pace;
mod scaling;

use super::*;

fn limits() -> Limits {
    Limits {
        concurrency: 10,
        burst: 1000,
        instances_max: 5,
        memory_mb_max: 0,
        starting_max: 3,
        keep_alive: KeepAlive::fixed(Duration::from_secs(60)),
        age_max: Duration::from_secs(1000),
        freeze_after: Duration::from_secs(1),
        busy_enough: 0,
    }
}

fn function(name: &str, revision: u64) -> Arc<Function> {
    Arc::new(Function {
        function_arn: name.into(),
        name: name.into(),
        version: "$LATEST".into(),
        revision,
        memory_mb: 128,
        timeout: Duration::from_secs(3),
        tmp_mb: 512,
        ..Function::default()
    })
}

fn reserved(name: &str, limit: u32) -> Arc<Function> {
    let mut f = Function::clone(&function(name, 1));
    f.reserved_concurrency = Some(limit);
    Arc::new(f)
}

const NOW: Duration = Duration::ZERO;

/// The decisions in short: `start 2`, `assign 1 2` (request, instance), `kill 2`.
fn said(pool: &mut Pool) -> Vec<String> {
    let name = |action: &Action| match action {
        Action::Assign { request, instance, thaw: false } => format!("assign {request} {instance}"),
        Action::Assign { request, instance, thaw: true } => format!("thaw {request} {instance}"),
        Action::Start { instance, bound: None, .. } => format!("start {instance}"),
        Action::Start { instance, bound: Some(request), .. } => format!("start {instance} for {request}"),
        Action::Kill { instance } => format!("kill {instance}"),
        Action::Freeze { instance } => format!("freeze {instance}"),
        Action::Look { after } => format!("look {}", after.as_millis()),
    };
    pool.take_actions().iter().map(name).collect()
}

fn started(pool: &mut Pool) -> InstanceId {
    let actions = pool.take_actions();
    let found =
        actions.iter().find_map(|a| if let Action::Start { instance, .. } = a { Some(*instance) } else { None });
    found.expect("a start")
}

#[test]
fn a_request_starts_an_instance_and_the_next_reuses_it() {
    let mut pool = Pool::new(limits());
    let f = function("f", 1);
    let one = pool.request(&f, NOW).expect("admitted");
    let instance = started(&mut pool);
    pool.ready(instance, NOW);
    assert_eq!(said(&mut pool), [format!("assign {one} {instance}")]);
    pool.answered(one, NOW);
    pool.ready(instance, NOW);
    let two = pool.request(&f, NOW).expect("admitted");
    assert_eq!(said(&mut pool), [format!("assign {two} {instance}")]);
}

#[test]
fn whoever_is_ready_first_takes_the_head_of_the_queue() {
    let mut pool = Pool::new(limits());
    let f = function("f", 1);
    let one = pool.request(&f, NOW).expect("admitted");
    let warm = started(&mut pool);
    pool.ready(warm, NOW);
    said(&mut pool);
    let two = pool.request(&f, NOW).expect("admitted");
    let cold = started(&mut pool);
    // The warm one is done before the cold one is ready: it takes the request, the cold one becomes idle.
    pool.answered(one, NOW);
    pool.ready(warm, NOW);
    assert_eq!(said(&mut pool), [format!("assign {two} {warm}")]);
    pool.ready(cold, NOW);
    assert!(said(&mut pool).is_empty());
    let three = pool.request(&f, NOW).expect("admitted");
    assert_eq!(said(&mut pool), [format!("assign {three} {cold}")]);
}

#[test]
fn starting_instances_count_as_capacity() {
    let mut pool = Pool::new(limits());
    let f = function("f", 1);
    let first = pool.request(&f, NOW).expect("admitted");
    let instance = started(&mut pool);
    assert!(pool.cancel(first, NOW));
    pool.request(&f, NOW).expect("admitted");
    assert!(said(&mut pool).is_empty(), "instance {instance} will take it");
}

#[test]
fn limits_refuse_with_their_reasons() {
    let mut pool = Pool::new(limits());
    let r = reserved("r", 1);
    let one = pool.request(&r, NOW).expect("admitted");
    let reason = ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded;
    assert_eq!(pool.request(&r, NOW), Err(reason));
    // Nine are left for everybody else.
    let f = function("f", 1);
    for _ in 0..9 {
        pool.request(&f, NOW).expect("admitted");
    }
    assert_eq!(pool.request(&f, NOW), Err(ThrottleReason::ConcurrentInvocationLimitExceeded));
    assert!(pool.cancel(one, NOW));
    pool.request(&r, NOW).expect("admitted again");
    pool.reserve("r", None);
    assert_eq!(pool.request(&function("r", 1), NOW), Err(ThrottleReason::ConcurrentInvocationLimitExceeded));
    assert_eq!(pool.request(&reserved("z", 0), NOW), Err(reason));
}

#[test]
fn no_more_start_at_once_than_allowed_and_the_rest_follow() {
    let mut pool = Pool::new(limits());
    let f = function("f", 1);
    for _ in 0..6 {
        pool.request(&f, NOW).expect("admitted");
    }
    let starts: Vec<_> = pool.take_actions();
    assert_eq!(starts.len(), 3);
    let Action::Start { instance, .. } = starts[0] else { panic!("a start") };
    pool.ready(instance, NOW);
    let said = said(&mut pool);
    assert!(said[0].starts_with("assign") && said[1].starts_with("start"), "{said:?}");
    assert_eq!(pool.counts().starting, 3);
}

#[test]
fn a_full_machine_ends_the_instance_that_rested_longest() {
    let mut pool = Pool::new(Limits { instances_max: 1, ..limits() });
    let one = pool.request(&function("a", 1), NOW).expect("admitted");
    let idle = started(&mut pool);
    pool.ready(idle, NOW);
    pool.answered(one, NOW);
    pool.ready(idle, NOW);
    said(&mut pool);
    pool.request(&function("b", 1), NOW).expect("admitted");
    assert_eq!(said(&mut pool), [format!("kill {idle}")]);
    pool.gone(idle, NOW);
    assert!(said(&mut pool)[0].starts_with("start"));
}

#[test]
fn a_failed_init_is_repeated_inside_a_request() {
    let mut pool = Pool::new(limits());
    let f = function("f", 1);
    let one = pool.request(&f, NOW).expect("admitted");
    let first = started(&mut pool);
    pool.init_failed(first, NOW);
    let second = first + 1;
    assert_eq!(said(&mut pool), [format!("start {second} for {one}")]);
    pool.gone(first, NOW);
    pool.init_failed(second, NOW);
    pool.answered(one, NOW);
    pool.gone(second, NOW);
    assert!(said(&mut pool).is_empty());
}

#[test]
fn a_broken_group_binds_its_next_request_at_once() {
    let mut pool = Pool::new(limits());
    let f = function("f", 1);
    let one = pool.request(&f, NOW).expect("admitted");
    let first = started(&mut pool);
    pool.init_failed(first, NOW);
    said(&mut pool);
    let two = pool.request(&f, NOW).expect("admitted");
    let said = said(&mut pool);
    assert!(said[0].ends_with(&format!("for {two}")), "{said:?}");
    assert_ne!(one, two);
}

#[test]
fn a_new_revision_drains_the_old_one() {
    let mut pool = Pool::new(limits());
    let old = function("f", 1);
    let one = pool.request(&old, NOW).expect("admitted");
    let busy = started(&mut pool);
    pool.ready(busy, NOW);
    let two = pool.request(&old, NOW).expect("admitted");
    said(&mut pool);
    pool.retire("f", Some(2));
    assert!(said(&mut pool).is_empty());
    // The waiting request of the old revision is still served by it, then it ends.
    pool.answered(one, NOW);
    pool.ready(busy, NOW);
    assert_eq!(said(&mut pool), [format!("assign {two} {busy}")]);
    pool.answered(two, NOW);
    pool.ready(busy, NOW);
    assert_eq!(said(&mut pool), [format!("kill {busy}")]);
    pool.request(&function("f", 2), NOW).expect("admitted");
    assert!(said(&mut pool)[0].starts_with("start"));
}

#[test]
fn a_request_of_an_old_revision_that_comes_late_leaves_no_instance() {
    let mut pool = Pool::new(limits());
    pool.retire("f", Some(2));
    let one = pool.request(&function("f", 1), NOW).expect("admitted");
    let instance = started(&mut pool);
    pool.ready(instance, NOW);
    pool.answered(one, NOW);
    said(&mut pool);
    pool.ready(instance, NOW);
    assert_eq!(said(&mut pool), [format!("kill {instance}")]);
}

#[test]
fn rest_freezes_then_ends_an_instance() {
    let mut pool = Pool::new(limits());
    let f = function("f", 1);
    let one = pool.request(&f, NOW).expect("admitted");
    let instance = started(&mut pool);
    pool.ready(instance, NOW);
    pool.answered(one, NOW);
    pool.ready(instance, NOW);
    said(&mut pool);
    pool.tick(Duration::from_secs(2));
    assert_eq!(said(&mut pool), [format!("freeze {instance}")]);
    pool.tick(Duration::from_secs(3));
    assert!(said(&mut pool).is_empty());
    let two = pool.request(&f, Duration::from_secs(3)).expect("admitted");
    assert_eq!(said(&mut pool), [format!("thaw {two} {instance}")]);
    pool.answered(two, NOW);
    pool.ready(instance, Duration::from_secs(4));
    pool.tick(Duration::from_secs(64));
    assert_eq!(said(&mut pool), [format!("kill {instance}")]);
    pool.gone(instance, Duration::from_secs(64));
    assert!(pool.usage.is_empty() && pool.groups.is_empty(), "an idle function costs nothing");
}

#[test]
fn an_old_instance_is_replaced() {
    let mut pool = Pool::new(limits());
    let f = function("f", 1);
    let one = pool.request(&f, NOW).expect("admitted");
    let instance = started(&mut pool);
    pool.ready(instance, NOW);
    pool.answered(one, NOW);
    said(&mut pool);
    pool.ready(instance, Duration::from_secs(1000));
    assert_eq!(said(&mut pool), [format!("kill {instance}")]);
}

/// A driver that does everything that may happen, in any order; whatever happens, every request is answered in the end.
#[test]
fn random_runs_lose_no_request() {
    for seed in 1..400u64 {
        let mut random = Xorshift(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut world = Naive {
            pool: Pool::new(Limits { busy_enough: (seed % 4) as u32, ..limits() }),
            starting: vec![],
            busy: vec![],
            idle: vec![],
            ending: vec![],
            open: vec![],
        };
        for step in 0..300u64 {
            world.step(&mut random, Duration::from_secs(step));
        }
        for step in 300..2000u64 {
            world.settle(Duration::from_secs(step));
            if world.open.is_empty() {
                break;
            }
        }
        assert!(world.open.is_empty(), "seed {seed}: {:?} are never answered; {:?}", world.open, world.pool.counts());
        let counts = world.pool.counts();
        assert_eq!((counts.in_flight, counts.queued), (0, 0), "seed {seed}");
        assert_eq!(world.pool.unreserved_in_flight, 0, "seed {seed}");
    }
}

struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).expect("small")
    }
}

struct Naive {
    pool: Pool,
    starting: Vec<(InstanceId, Option<RequestId>)>,
    busy: Vec<(InstanceId, RequestId)>,
    idle: Vec<InstanceId>,
    ending: Vec<InstanceId>,
    open: Vec<RequestId>,
}

impl Naive {
    fn step(&mut self, random: &mut Xorshift, now: Duration) {
        match random.below(9) {
            0..=2 => {
                let f = match random.below(4) {
                    0 => reserved("r", 2),
                    n => function(["f", "g"][n % 2], 1 + now.as_secs() / 100),
                };
                if let Ok(request) = self.pool.request(&f, now) {
                    self.open.push(request);
                }
            }
            3 if !self.starting.is_empty() => {
                let (instance, bound) = self.starting.swap_remove(random.below(self.starting.len()));
                self.pool.init_failed(instance, now);
                self.ending.push(instance);
                self.close(bound);
            }
            4 if !self.busy.is_empty() => {
                // It dies in the middle of a request.
                let (instance, request) = self.busy.swap_remove(random.below(self.busy.len()));
                self.close(Some(request));
                self.pool.gone(instance, now);
            }
            5 if !self.idle.is_empty() => {
                let instance = self.idle.swap_remove(random.below(self.idle.len()));
                self.pool.gone(instance, now);
            }
            6 if !self.open.is_empty() => {
                let request = self.open[random.below(self.open.len())];
                if self.pool.cancel(request, NOW) {
                    self.open.retain(|r| *r != request);
                }
            }
            7 => self.pool.retire("f", Some(1 + now.as_secs() / 100)),
            _ => self.settle(now),
        }
        self.obey(now);
    }

    /// Everything under way comes to a good end.
    fn settle(&mut self, now: Duration) {
        for (instance, bound) in std::mem::take(&mut self.starting) {
            match bound {
                Some(request) => self.busy.push((instance, request)),
                None => self.idle.push(instance),
            }
            self.pool.ready(instance, now);
            self.obey(now);
        }
        for (instance, request) in std::mem::take(&mut self.busy) {
            self.close(Some(request));
            self.idle.push(instance);
            self.pool.ready(instance, now);
            self.obey(now);
        }
        for instance in std::mem::take(&mut self.ending) {
            self.pool.gone(instance, now);
            self.obey(now);
        }
        self.pool.tick(now);
        self.obey(now);
        self.pool.look(now);
        self.obey(now);
    }

    fn close(&mut self, request: Option<RequestId>) {
        if let Some(request) = request {
            self.pool.answered(request, NOW);
            self.open.retain(|r| *r != request);
        }
    }

    fn obey(&mut self, now: Duration) {
        for action in self.pool.take_actions() {
            match action {
                Action::Start { instance, bound, .. } => self.starting.push((instance, bound)),
                Action::Assign { request, instance, .. } => {
                    if let Some(at) = self.idle.iter().position(|i| *i == instance) {
                        self.idle.swap_remove(at);
                        self.busy.push((instance, request));
                    } else {
                        self.pool.requeue(request, now);
                        return self.obey(now);
                    }
                }
                Action::Kill { instance } => {
                    self.idle.retain(|i| *i != instance);
                    self.ending.push(instance);
                }
                Action::Freeze { .. } | Action::Look { .. } => {}
            }
        }
        let counts = self.pool.counts();
        assert!(counts.instances <= 5 && counts.starting <= 3, "{counts:?}");
    }
}

#[test]
fn a_version_stays_broken_when_none_of_its_instances_is_left() {
    let mut pool = Pool::new(limits());
    let f = function("f", 1);
    let one = pool.request(&f, NOW).expect("admitted");
    let first = started(&mut pool);
    pool.init_failed(first, NOW);
    let bound = started(&mut pool);
    pool.init_failed(bound, NOW);
    pool.answered(one, NOW);
    pool.gone(first, NOW);
    pool.gone(bound, NOW);
    said(&mut pool);
    let two = pool.request(&f, NOW).expect("admitted");
    let actions = said(&mut pool);
    assert!(actions.iter().all(|a| a.ends_with(&format!("for {two}"))) && actions.len() == 1, "{actions:?}");
    // Another revision is tried as any other.
    pool.request(&function("f", 2), NOW).expect("admitted");
    assert!(said(&mut pool).iter().all(|a| !a.contains("for")));
}
