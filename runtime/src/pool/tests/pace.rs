//! Brief calls wait for busy instances, long ones do not.

use super::*;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Two instances are enough; three are warm, and have answered within `took`.
fn warm(took: Duration) -> (Pool, Arc<Function>, Vec<InstanceId>) {
    let mut pool = Pool::new(Limits { busy_enough: 2, ..limits() });
    let f = function("f", 1);
    let requests: Vec<_> = (0..3).map(|_| pool.request(&f, NOW).expect("admitted")).collect();
    let starts = pool.take_actions();
    let instances: Vec<_> = starts
        .iter()
        .filter_map(|a| if let Action::Start { instance, .. } = a { Some(*instance) } else { None })
        .collect();
    instances.iter().for_each(|i| pool.ready(*i, NOW));
    requests.iter().for_each(|r| pool.answered(*r, took));
    instances.iter().for_each(|i| pool.ready(*i, took));
    pool.take_actions();
    (pool, f, instances)
}

#[test]
fn a_brief_call_waits_for_the_next_answer_and_not_for_an_idle_instance() {
    let (mut pool, f, instances) = warm(ms(1));
    let one = pool.request(&f, ms(10)).expect("admitted");
    pool.request(&f, ms(10)).expect("admitted");
    assert_eq!(said(&mut pool).len(), 2, "two are busy");
    let three = pool.request(&f, ms(10)).expect("admitted");
    let four = pool.request(&f, ms(10)).expect("admitted");
    assert_eq!(said(&mut pool), ["look 4"]);
    pool.answered(one, ms(11));
    assert!(said(&mut pool).is_empty(), "its instance is not back yet");
    pool.ready(instances[2], ms(11));
    assert_eq!(said(&mut pool), [format!("assign {three} {}", instances[2])]);
    // It goes on as long as answers come.
    pool.look(ms(14));
    assert_eq!(said(&mut pool), ["look 4"]);
    pool.look(ms(18));
    assert_eq!(said(&mut pool), [format!("assign {four} {}", instances[0])], "no answer for 4 ms");
    pool.look(ms(22));
    assert!(said(&mut pool).is_empty(), "nothing waits");
}

#[test]
fn without_an_answer_further_instances_are_started() {
    let (mut pool, f, _) = warm(ms(1));
    for _ in 0..5 {
        pool.request(&f, ms(10)).expect("admitted");
    }
    assert_eq!(said(&mut pool).len(), 3, "two requests and a look");
    pool.look(ms(20));
    let actions = said(&mut pool);
    let count = |what: &str| actions.iter().filter(|a| a.starts_with(what)).count();
    assert_eq!((count("assign"), count("start"), count("look"), actions.len()), (1, 1, 1, 3), "{actions:?}");
    pool.look(ms(30));
    let actions = said(&mut pool);
    assert_eq!(actions.len(), 1, "what starts will take the last one: {actions:?}");
}

#[test]
fn a_long_call_waits_for_none() {
    let (mut pool, f, _) = warm(ms(30));
    for _ in 0..3 {
        pool.request(&f, ms(40)).expect("admitted");
    }
    let actions = said(&mut pool);
    assert_eq!(actions.iter().filter(|a| a.starts_with("assign")).count(), 3, "{actions:?}");
}

#[test]
fn what_comes_while_requests_are_held_ends_with_its_revision() {
    let mut pool = Pool::new(Limits { busy_enough: 2, ..limits() });
    let f = function("f", 1);
    (0..6).for_each(|_| drop(pool.request(&f, NOW).expect("admitted")));
    let mut starting: VecDeque<_> = pool.take_actions().into_iter().collect();
    pool.retire(&f.function_arn, Some(2));
    let (mut answered, mut killed) = (0, 0);
    // Three have begun and one of them has answered before the others are ready: they are not needed.
    let mut assigned = VecDeque::new();
    for step in 0..100 {
        let now = Duration::from_micros(step * 100);
        match starting.pop_front() {
            Some(Action::Start { instance, .. }) if step < 3 || answered > 0 => pool.ready(instance, now),
            other => starting.extend(other),
        }
        for action in pool.take_actions() {
            match action {
                Action::Assign { request, instance, .. } => assigned.push_back((request, instance)),
                Action::Kill { instance } => {
                    killed += 1;
                    pool.gone(instance, now);
                }
                start @ Action::Start { .. } => starting.push_back(start),
                _ => {}
            }
        }
        if step >= 2
            && let Some((request, instance)) = assigned.pop_front()
        {
            pool.answered(request, now);
            pool.ready(instance, now);
            answered += 1;
        }
    }
    assert_eq!((answered, pool.counts()), (6, Counts::default()), "{killed} were ended");
}
