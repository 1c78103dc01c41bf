//! Provisioned concurrency, bursts, shares of a full machine, prewarming, memory pressure.

use super::*;
use crate::keepalive::Policy;

fn version(name: &str, version: &str) -> Arc<Function> {
    Arc::new(Function { version: version.into(), ..Function::clone(&function(name, 1)) })
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Starts under way become ready; killed ones are gone. Returns how many were started.
fn run(pool: &mut Pool, now: Duration) -> usize {
    let mut count = 0;
    for _ in 0..100 {
        let actions = pool.take_actions();
        if actions.is_empty() {
            break;
        }
        for action in actions {
            match action {
                Action::Start { instance, .. } => {
                    count += 1;
                    pool.ready(instance, now);
                }
                Action::Kill { instance } => pool.gone(instance, now),
                Action::Assign { .. } | Action::Freeze { .. } | Action::Look { .. } => {}
            }
        }
    }
    count
}

fn assigned(pool: &mut Pool) -> Vec<(RequestId, InstanceId)> {
    let actions = pool.take_actions();
    let pairs = actions.iter().filter_map(|a| match a {
        Action::Assign { request, instance, .. } => Some((*request, *instance)),
        _ => None,
    });
    pairs.collect()
}

#[test]
fn provisioned_instances_start_before_any_request_and_stay() {
    let mut pool = Pool::new(limits());
    let f = version("f", "1");
    pool.provision(&f, 2, NOW);
    assert_eq!(pool.provisioned("f:1"), Provisioned { wanted: 2, ready: 0, has_failed: false });
    assert_eq!(run(&mut pool, NOW), 2);
    assert_eq!(pool.provisioned("f:1"), Provisioned { wanted: 2, ready: 2, has_failed: false });
    pool.tick(secs(900));
    assert!(!said(&mut pool).iter().any(|s| s.starts_with("kill")), "rest does not end them");
    pool.provision(&f, 1, secs(900));
    assert_eq!(pool.actions.len(), 1);
    run(&mut pool, secs(900));
    assert_eq!(pool.provisioned("f:1"), Provisioned { wanted: 1, ready: 1, has_failed: false });
    pool.provision(&f, 0, secs(900));
    run(&mut pool, secs(900));
    assert_eq!(pool.provisioned("f:1"), Provisioned::default());
    assert_eq!((pool.reserved_total, pool.usage.len()), (0, 0));
}

#[test]
fn a_provisioned_instance_that_ends_is_replaced() {
    let mut pool = Pool::new(limits());
    let f = version("f", "1");
    pool.provision(&f, 1, NOW);
    let instance = started(&mut pool);
    pool.ready(instance, NOW);
    pool.gone(instance, secs(5));
    assert_eq!(run(&mut pool, secs(5)), 1);
    // Age ends it as well, and another takes its place.
    pool.tick(secs(1100));
    assert_eq!(run(&mut pool, secs(1100)), 1);
    assert_eq!(pool.provisioned("f:1").ready, 1);
}

#[test]
fn code_that_does_not_load_fails_the_configuration_and_is_tried_less_and_less() {
    let mut pool = Pool::new(limits());
    let f = version("f", "1");
    pool.provision(&f, 1, NOW);
    let mut starts = Vec::new();
    for tenth in 0..100u32 {
        let now = Duration::from_millis(100) * tenth;
        pool.tick(now);
        for action in pool.take_actions() {
            if let Action::Start { instance, .. } = action {
                starts.push(tenth);
                pool.init_failed(instance, now);
                pool.gone(instance, now);
            }
        }
    }
    assert!(starts.len() >= 4 && starts.len() <= 6, "{starts:?}");
    assert_eq!(pool.provisioned("f:1"), Provisioned { wanted: 1, ready: 0, has_failed: true });
}

#[test]
fn requests_prefer_provisioned_instances_and_spill_over() {
    let mut pool = Pool::new(limits());
    let f = version("f", "1");
    pool.provision(&f, 1, NOW);
    let own = started(&mut pool);
    pool.ready(own, NOW);
    let one = pool.request(&f, NOW).expect("admitted");
    assert_eq!(assigned(&mut pool), [(one, own)]);
    let two = pool.request(&f, NOW).expect("admitted");
    let other = started(&mut pool);
    pool.ready(other, NOW);
    assert_eq!(assigned(&mut pool), [(two, other)]);
    pool.answered(one, NOW);
    pool.answered(two, NOW);
    pool.ready(own, NOW);
    pool.ready(other, NOW);
    let three = pool.request(&f, NOW).expect("admitted");
    assert_eq!(assigned(&mut pool), [(three, own)], "though the other was used last");
}

#[test]
fn provisioned_concurrency_comes_out_of_the_reservation_or_the_account() {
    let reason = ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded;
    let mut pool = Pool::new(limits());
    let with = |v: &str| Arc::new(Function { reserved_concurrency: Some(1), ..Function::clone(&version("f", v)) });
    pool.provision(&with("1"), 1, NOW);
    // As AWS has it: the whole reservation belongs to version 1 now.
    assert_eq!(pool.request(&with("$LATEST"), NOW), Err(reason));
    let one = pool.request(&with("1"), NOW).expect("its own");
    assert_eq!(pool.request(&with("1"), NOW), Err(reason));
    pool.answered(one, NOW);

    let mut pool = Pool::new(limits());
    let g = version("g", "1");
    pool.provision(&g, 4, NOW);
    for _ in 0..6 {
        pool.request(&function("h", 1), NOW).expect("six are left of ten");
    }
    let refused = Err(ThrottleReason::ConcurrentInvocationLimitExceeded);
    assert_eq!(pool.request(&function("h", 1), NOW), refused);
    for _ in 0..4 {
        pool.request(&g, NOW).expect("its own");
    }
    assert_eq!(pool.request(&g, NOW), refused);
    pool.retire("g", None);
    assert_eq!(pool.reserved_total, 0);
}

#[test]
fn a_burst_beyond_the_limit_is_refused_until_it_comes_back() {
    let wide = Limits { concurrency: 100, burst: 10, instances_max: 100, starting_max: 100, ..limits() };
    let mut pool = Pool::new(wide);
    let f = function("f", 1);
    for _ in 0..10 {
        pool.request(&f, NOW).expect("within the burst");
    }
    assert_eq!(pool.request(&f, NOW), Err(ThrottleReason::ConcurrentInvocationLimitExceeded));
    pool.request(&function("g", 1), NOW).expect("another function has its own");
    assert_eq!(run(&mut pool, NOW), 11);
    for _ in 0..5 {
        pool.request(&f, secs(5)).expect("half of it is back");
    }
    assert!(pool.request(&f, secs(5)).is_err());
    let open: Vec<_> = pool.requests.keys().copied().collect();
    open.into_iter().for_each(|request| pool.answered(request, secs(5)));
    assert_eq!(run(&mut pool, secs(5)), 5);
    assert!(pool.usage.values().all(|u| u.in_flight == 0 && u.spilled == 0));
}

#[test]
fn a_full_machine_is_shared_between_functions() {
    let mut pool = Pool::new(Limits { concurrency: 100, instances_max: 4, starting_max: 4, ..limits() });
    let (greedy, late) = (function("greedy", 1), function("late", 1));
    let mut busy: Vec<(RequestId, InstanceId)> = Vec::new();
    let mut owner: HashMap<InstanceId, &str> = HashMap::new();
    let mut served = [0, 0];
    for _ in 0..20 {
        pool.request(&greedy, NOW).expect("admitted");
    }
    for _ in 0..20 {
        pool.request(&late, NOW).expect("admitted");
    }
    for step in 0..20u64 {
        let now = Duration::from_millis(100 * step);
        for (request, instance) in std::mem::take(&mut busy) {
            served[usize::from(owner[&instance] == "late")] += 1;
            pool.answered(request, now);
            pool.ready(instance, now);
        }
        loop {
            let actions = pool.take_actions();
            if actions.is_empty() {
                break;
            }
            for action in actions {
                match action {
                    Action::Start { instance, function, .. } => {
                        owner.insert(instance, if function.name == "late" { "late" } else { "greedy" });
                        pool.ready(instance, now);
                    }
                    Action::Kill { instance } => pool.gone(instance, now),
                    Action::Assign { request, instance, .. } => busy.push((request, instance)),
                    Action::Freeze { .. } | Action::Look { .. } => {}
                }
            }
        }
        if step == 5 {
            let of_late = busy.iter().filter(|(_, i)| owner[i] == "late").count();
            assert_eq!(of_late, 2, "half of four");
        }
    }
    assert_eq!(served, [20, 20]);
}

#[test]
fn more_functions_than_instances_take_turns() {
    let mut pool = Pool::new(Limits { concurrency: 100, instances_max: 1, starting_max: 1, ..limits() });
    let names = ["a", "b", "c"];
    for name in names {
        for _ in 0..5 {
            pool.request(&function(name, 1), NOW).expect("admitted");
        }
    }
    let mut served = Vec::new();
    let mut owner: HashMap<InstanceId, String> = HashMap::new();
    for step in 1..60u64 {
        let now = Duration::from_millis(300 * step);
        for action in pool.take_actions() {
            match action {
                Action::Start { instance, function, .. } => {
                    owner.insert(instance, function.name.clone());
                    pool.ready(instance, now);
                }
                Action::Kill { instance } => pool.gone(instance, now),
                Action::Assign { request, instance, .. } => {
                    served.push(owner[&instance].clone());
                    pool.answered(request, now);
                    pool.ready(instance, now);
                }
                Action::Freeze { .. } | Action::Look { .. } => {}
            }
        }
    }
    assert_eq!(served.len(), 15, "{served:?}");
    let first: std::collections::HashSet<_> = served.iter().take(5).collect();
    assert_eq!(first.len(), 3, "nobody waits for another's whole queue: {served:?}");
}

#[test]
fn a_schedule_finds_its_instances_ready() {
    let mut pool = Pool::new(limits());
    let f = function("f", 1);
    pool.prewarm(&f, secs(600), 2, NOW);
    pool.tick(secs(590));
    assert!(said(&mut pool).is_empty());
    pool.tick(secs(600) - Duration::from_millis(300));
    assert_eq!(run(&mut pool, secs(600)), 2);
    let one = pool.request(&f, secs(600)).expect("admitted");
    assert_eq!(assigned(&mut pool).len(), 1, "no start, no wait");
    pool.answered(one, secs(601));
    pool.retire("f", None);
    run(&mut pool, secs(602));
    pool.prewarm(&f, secs(700), 1, secs(602));
    pool.retire("f", Some(2));
    pool.tick(secs(700));
    assert!(said(&mut pool).is_empty(), "code that has changed is not started");
}

#[test]
fn a_habit_is_met_without_keeping_anything_in_between() {
    let keep_alive = KeepAlive { policy: Policy::Cost, fixed: secs(600), extra: secs(60), cold_gb_s: 60.0 };
    let mut pool = Pool::new(Limits { keep_alive, age_max: secs(100_000), ..limits() });
    let f = function("f", 1);
    let (mut cold, mut second) = (0, 0);
    for hour in 1..20u64 {
        while second < hour * 3600 {
            pool.tick(secs(second));
            run(&mut pool, secs(second));
            second += 5;
        }
        let one = pool.request(&f, secs(second)).expect("admitted");
        let actions = pool.take_actions();
        let instance = match actions.first() {
            Some(Action::Assign { instance, .. }) => *instance,
            Some(Action::Start { instance, .. }) => {
                cold += 1;
                pool.ready(*instance, secs(second));
                pool.take_actions();
                *instance
            }
            _ => panic!("an action"),
        };
        pool.answered(one, secs(second));
        pool.ready(instance, secs(second));
    }
    // The first, and those until three rests are known.
    assert_eq!(cold, 4);
}

#[test]
fn memory_pressure_ends_what_is_worth_least() {
    let mut pool = Pool::new(limits());
    let (popular, rare) = (function("popular", 1), function("rare", 1));
    let serve = |pool: &mut Pool, f: &Arc<Function>, times: usize| {
        for _ in 0..times {
            let request = pool.request(f, NOW).expect("admitted");
            let instance = loop {
                match pool.take_actions().as_slice() {
                    [Action::Start { instance, .. }] => pool.ready(*instance, NOW),
                    [Action::Assign { instance, .. }] => break *instance,
                    _ => panic!("one action"),
                }
            };
            pool.answered(request, NOW);
            pool.ready(instance, NOW);
        }
    };
    serve(&mut pool, &popular, 10);
    serve(&mut pool, &rare, 1);
    pool.pressure(true);
    let Some(Action::Kill { instance }) = pool.take_actions().first().cloned() else { panic!("one goes") };
    let group = pool.instances[&instance].group;
    assert_eq!(pool.groups[&group].function.name, "rare", "though it was used last");
    pool.gone(instance, NOW);
    pool.request(&rare, NOW).expect("admitted, and waits");
    assert!(!said(&mut pool).iter().any(|s| s.starts_with("start")));
    pool.pressure(false);
    pool.tick(NOW);
    assert!(said(&mut pool).iter().any(|s| s.starts_with("start")));
}
