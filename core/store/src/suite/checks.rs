//! Transactions: checks, guards, rules, counters, ids, atomicity, concurrency.

use std::sync::Arc;

use super::{Fixture, ix, kv, val};
use crate::{
    Check, Committed, Error, Handle, Mutation, Mutations, Part, Queue, ReadOp, ReadOut, Result, Settle, Stamp,
    StateExt, Txn, envelope, ids,
};

pub(super) async fn run(make: &impl Fn() -> Fixture) {
    checks_decide(make()).await;
    guards_decide(make()).await;
    rules_decide(make()).await;
    panics_harm_nobody(make()).await;
    counters_stay_in_bounds(make()).await;
    refusals_leave_no_trace(make()).await;
    ids_apply_once(make()).await;
    resource_ids_are_never_reused(make()).await;
    writers_do_not_lose_updates(make()).await;
}

async fn checks_decide(f: Fixture) {
    for key in [kv("a"), ix("a")] {
        let old = f.state.commit(Txn::new().absent(key.clone()).put(key.clone(), val("1"))).await.expect("put").stamp;
        let new = f.state.commit(Txn::new().exists(key.clone()).put(key.clone(), val("2"))).await.expect("put").stamp;
        let none = kv("none");
        let cases = [
            (Check::Absent(key.clone()), false),
            (Check::Exists(none.clone()), false),
            (Check::Absent(none.clone()), true),
            (Check::Ver(key.clone(), old), false),
            (Check::Ver(key.clone(), new), true),
            (Check::Ver(none, new), false),
            (Check::Lease(Handle { queue: Queue(1), id: 1, lease: new }), false),
        ];
        for (check, holds) in cases {
            let txn = Txn::new().exists(key.clone()).check(check.clone()).put(kv("out"), val("x"));
            match f.state.commit(txn).await {
                Ok(_) => assert!(holds, "{check:?}"),
                Err(Error::Check(1)) => assert!(!holds, "{check:?}"),
                Err(other) => panic!("{check:?}: {other}"),
            }
            assert_eq!(f.value(&kv("out")).await.is_some(), holds, "{check:?}");
            f.state.commit(Txn::new().delete(kv("out"))).await.expect("delete");
        }
    }
}

async fn guards_decide(f: Fixture) {
    let seen = f.state.commit(Txn::new().put(kv("def"), val("1"))).await.expect("put").stamp;
    let write = || Txn::new().guard(kv("def"), seen).put(kv("a"), val("x"));
    f.state.commit(write()).await.expect("guarded");
    f.state.commit(Txn::new().put(kv("def"), val("1"))).await.expect("put");
    assert!(matches!(f.state.commit(write()).await, Err(Error::Guard(key)) if key == kv("def")));
    f.state.commit(Txn::new().delete(kv("def"))).await.expect("delete");
    assert!(matches!(f.state.commit(write()).await, Err(Error::Guard(_))));
}

async fn rules_decide(f: Fixture) {
    f.state.commit(Txn::new().put(kv("a"), val("1"))).await.expect("put");
    let txn = || {
        Txn::new().put(kv("own"), val("0")).rule([kv("a"), kv("b"), kv("own")], |view, out| {
            if view.row(1).is_some() {
                return Err("b is there");
            }
            // A rule sees the state before its own transaction.
            assert!(view.row(2).is_none() && view.rows.len() == 3 && view.row(3).is_none());
            assert_eq!(view.value(0), Some(&val("1")[..]));
            out.put(view.key(1), val("2"));
            out.delete(view.key(0));
            out.put(view.key(2), val("after"));
            Ok(view.now)
        })
    };
    let reply = f.state.run::<squall_types::Millis, &str>(txn()).await.expect("commit");
    assert_eq!(reply, Ok(f.state.now()));
    assert_eq!(f.value(&kv("a")).await, None);
    assert_eq!(f.value(&kv("b")).await.as_deref(), Some(&b"2"[..]));
    assert_eq!(f.value(&kv("own")).await.as_deref(), Some(&b"after"[..]));
    f.state.commit(Txn::new().delete(kv("own"))).await.expect("delete");
    assert_eq!(f.state.run::<squall_types::Millis, &str>(txn()).await.expect("commit"), Err("b is there"));
    assert_eq!(f.value(&kv("own")).await, None);
    // Checks come before the rule.
    let txn = Txn::new().exists(kv("none")).rule([], |_, _| -> std::result::Result<(), ()> { panic!("not run") });
    assert!(matches!(f.state.commit(txn).await, Err(Error::Check(0))));
}

async fn panics_harm_nobody(f: Fixture) {
    let panics = Txn::new().put(kv("a"), val("1")).rule([], |_, _| -> std::result::Result<(), ()> { panic!("boom") });
    let (bad, good) = tokio::join!(f.state.commit(panics), f.state.commit(Txn::new().put(kv("b"), val("1"))));
    assert!(matches!(bad, Err(Error::Panicked(text)) if text == "boom"));
    good.expect("the other one");
    assert_eq!(f.value(&kv("a")).await, None);
    assert!(f.value(&kv("b")).await.is_some());
}

async fn counters_stay_in_bounds(f: Fixture) {
    let add = |delta, min, max| Txn::new().mutation(Mutation::Add { key: kv("n"), delta, min, max });
    let cases = [
        (5, 0, 10, Ok(5)),
        (5, 0, 10, Ok(10)),
        (1, 0, 10, Err(10)),
        (-11, 0, 10, Err(10)),
        (-10, 0, 10, Ok(0)),
        (i64::MAX, 0, i64::MAX, Ok(i64::MAX)),
        (1, i64::MIN, i64::MAX, Err(i64::MAX)),
    ];
    for (delta, min, max, expected) in cases {
        match (f.state.commit(add(delta, min, max)).await, expected) {
            (Ok(_), Ok(sum)) => {
                let row = f.state.get(kv("n")).await.expect("get").expect("row");
                assert_eq!(envelope::open_counter(Some(&row.value)).expect("counter"), sum);
            }
            (Err(Error::Bounds { key, now }), Err(was)) => assert_eq!((key, now), (kv("n"), was)),
            (got, _) => panic!("{delta}: {got:?}"),
        }
    }
    // Within one transaction each addition sees the one before, and a refused one takes the others with it.
    let twice = |delta| Txn::new().add(kv("m"), 1).mutation(Mutation::Add { key: kv("m"), delta, min: 0, max: 3 });
    f.state.commit(twice(2)).await.expect("3");
    assert!(matches!(f.state.commit(twice(0)).await, Err(Error::Bounds { now: 4, .. })));
    let row = f.state.get(kv("m")).await.expect("get").expect("row");
    assert_eq!(envelope::open_counter(Some(&row.value)).expect("counter"), 3);
    f.state.commit(Txn::new().put(kv("n"), val("text"))).await.expect("put");
    assert!(matches!(f.state.commit(add(1, 0, 9)).await, Err(Error::Corrupt(_))));
}

async fn refusals_leave_no_trace(f: Fixture) {
    let (queue, part, lane) = (Queue(7), Part::sole(7), &b"lane"[..]);
    let setup = Txn::new().put(kv("a"), val("1")).emit(part, "one").enqueue(queue, f.state.now(), "entry");
    let handle = f.state.commit(setup).await.expect("setup").handles[0];
    let mut txn = Txn::new()
        .put(kv("a"), val("2"))
        .put(ix("b"), val("2"))
        .delete(kv("a"))
        .emit(part, "two")
        .emit(Part::sole(8), "first")
        .enqueue(queue, f.state.now(), "more")
        .settle(handle, Settle::Again { due: f.after(5_000), value: None });
    txn.muts.arm(queue, lane, f.state.now());
    txn.muts.push(Mutation::DeleteRange { from: kv("a"), to: kv("z"), limit: 9 });
    txn.muts.push(Mutation::Trim { part, upto: 2 });
    txn.muts.push(Mutation::DropQueue { queue, upto: u64::MAX, limit: 9 });
    txn.muts.settle(Handle { lease: Stamp(99), ..handle }, Settle::Ack);
    assert!(matches!(f.state.commit(txn).await, Err(Error::Stale)));
    assert_eq!(f.value(&kv("a")).await.as_deref(), Some(&b"1"[..]));
    assert_eq!(f.value(&ix("b")).await, None);
    assert_eq!(f.state.head(part).await.expect("head"), 1);
    assert_eq!(f.state.head(Part::sole(8)).await.expect("head"), 0);
    let depth = f.state.read(vec![ReadOp::Depth(queue)], crate::Consistency::Strong).await.expect("read");
    assert!(matches!(depth[0], ReadOut::Depth { ready: 1, leased: 0, delayed: 0 }));
    f.state.commit(Txn::new().settle(handle, Settle::Ack)).await.expect("the handle is still good");
    f.state.commit(Txn::new().emit(part, "two")).await.expect("emit");
    assert_eq!(f.state.head(part).await.expect("head"), 2);
}

async fn ids_apply_once(f: Fixture) {
    let txn = |id: u8| Txn::new().id([id; 16]).add(kv("n"), 1).rule([], |_, _| Ok::<u8, ()>(7));
    let first = f.state.commit(txn(1)).await.expect("first");
    let again = f.state.commit(txn(1)).await.expect("again");
    assert_eq!((first.stamp, again.reply.is_none()), (again.stamp, true));
    assert_eq!(first.reply::<u8>(), Some(7));
    f.state.commit(txn(2)).await.expect("another");
    // A refused one leaves its id free.
    let refused = Txn::new().id([3; 16]).exists(kv("none"));
    assert!(f.state.commit(refused.clone()).await.is_err());
    assert!(matches!(f.state.commit(refused).await, Err(Error::Check(0))));
    let row = f.state.get(kv("n")).await.expect("get").expect("row");
    assert_eq!(envelope::open_counter(Some(&row.value)).expect("counter"), 2);
}

async fn resource_ids_are_never_reused(f: Fixture) {
    let state = f.state.as_ref();
    let (a, b) = tokio::join!(ids::allocate(state), ids::allocate(state));
    let mut got = vec![a.expect("id"), b.expect("id"), ids::allocate(state).await.expect("id")];
    got.sort_unstable();
    assert_eq!(got, [ids::FIRST, ids::FIRST + 1, ids::FIRST + 2]);
    f.state.commit(Txn::new().put(ids::counter(), val("damaged"))).await.expect("put");
    assert!(matches!(ids::allocate(state).await, Err(Error::Corrupt(_))));
}

async fn writers_do_not_lose_updates(f: Fixture) {
    let count = |state: Arc<dyn crate::State>| async move {
        for _ in 0..50 {
            let txn = Txn::new().add(kv("added"), 1).rule([kv("ruled")], |view, out| {
                let n = envelope::open_counter(view.value(0)).map_err(drop)?;
                out.put(view.key(0), envelope::seal_counter(n + 1));
                Ok::<(), ()>(())
            });
            let done: Result<Committed> = state.commit(txn).await;
            done.expect("count");
            // A loser among them takes nothing away from the batch it is in.
            let refused = Txn::new().add(kv("added"), 1).exists(kv("none"));
            assert!(matches!(state.commit(refused).await, Err(Error::Check(0))));
        }
    };
    let tasks: Vec<_> = (0..8).map(|_| tokio::spawn(count(Arc::clone(&f.state)))).collect();
    for task in tasks {
        task.await.expect("task");
    }
    for name in ["added", "ruled"] {
        let row = f.state.get(kv(name)).await.expect("get").expect("row");
        assert_eq!(envelope::open_counter(Some(&row.value)).expect("counter"), 400, "{name}");
    }
}
