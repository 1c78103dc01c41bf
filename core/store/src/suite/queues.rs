//! Queues: due times, leases, lanes, waiting.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use squall_types::Millis;

use super::{Fixture, kv, val};
use crate::{
    Check, ClaimSpec, Claimed, Consistency, Error, Handle, Key, Mutation, Mutations, Queue, ReadOp, ReadOut, Settle,
    State, Txn, limits,
};

const Q: Queue = Queue::of(70_000, 1);
const LEASE: Millis = Millis(1_000);

pub(super) async fn run(make: &impl Fn() -> Fixture) {
    entries_come_in_due_order(make()).await;
    leases_fence(make()).await;
    settling_does_what_it_says(make()).await;
    lanes_exist_once(make()).await;
    armed_lanes_do_not_strand(make()).await;
    lanes_bring_their_items(make()).await;
    queues_are_dropped(make()).await;
    claims_wait(make()).await;
    dropped_claims_give_back(make()).await;
    nobody_claims_twice(make()).await;
    limits_hold(make()).await;
}

async fn put(f: &Fixture, queue: Queue, due: Millis, value: &'static str) -> Handle {
    f.state.commit(Txn::new().enqueue(queue, due, value)).await.expect("enqueue").handles[0]
}

async fn claim(f: &Fixture, n: u32) -> Vec<Claimed> {
    f.state.claim(Q, ClaimSpec::new(n, LEASE)).await.expect("claim")
}

async fn depth(f: &Fixture, queue: Queue) -> (u64, u64, u64) {
    match f.state.read(vec![ReadOp::Depth(queue)], Consistency::Strong).await.expect("read").pop() {
        Some(ReadOut::Depth { ready, leased, delayed }) => (ready, leased, delayed),
        other => panic!("{other:?}"),
    }
}

fn values(claimed: &[Claimed]) -> Vec<&str> {
    claimed.iter().map(|c| std::str::from_utf8(&c.value).expect("text")).collect()
}

async fn settle(f: &Fixture, handle: Handle, to: Settle) -> crate::Result<()> {
    f.state.commit(Txn::new().settle(handle, to)).await.map(drop)
}

async fn entries_come_in_due_order(f: Fixture) {
    for (due, value) in [(20, "c"), (-10, "a"), (0, "b1"), (0, "b2"), (5_000, "later")] {
        put(&f, Q, f.after(due), value).await;
    }
    put(&f, Queue::of(70_000, 2), f.state.now(), "elsewhere").await;
    assert_eq!(depth(&f, Q).await, (3, 0, 2));
    f.advance(20).await;
    let got = claim(&f, 2).await;
    assert_eq!(values(&got), ["a", "b1"]);
    assert_eq!((got[0].tries, got[0].lane.clone(), got[0].due), (1, None, f.after(-30)));
    assert_eq!(depth(&f, Q).await, (2, 2, 1));
    assert_eq!(values(&claim(&f, 10).await), ["b2", "c"]);
    assert!(claim(&f, 10).await.is_empty());
    f.advance(5_000).await;
    // Expired leases are due when they ended: all at the same moment, so in the order in which they were put.
    assert_eq!(values(&claim(&f, 10).await), ["c", "a", "b1", "b2", "later"]);
}

async fn leases_fence(f: Fixture) {
    let unclaimed = put(&f, Q, f.state.now(), "x").await;
    let check = |handle| Txn::new().check(Check::Lease(handle));
    f.state.commit(check(unclaimed)).await.expect("not yet claimed");
    let first = claim(&f, 1).await.remove(0);
    assert!(matches!(f.state.commit(check(unclaimed)).await, Err(Error::Check(0))));
    f.state.commit(check(first.handle)).await.expect("held");
    f.advance(1_000).await;
    f.state.commit(check(first.handle)).await.expect("expired, but not taken over");
    let second = claim(&f, 1).await.remove(0);
    assert_eq!((second.tries, second.handle.id), (2, first.handle.id));
    assert!(matches!(f.state.commit(check(first.handle)).await, Err(Error::Check(0))));
    for to in [Settle::Ack, Settle::Again { due: Millis(0), value: None }, Settle::Extend { due: Millis(0) }] {
        assert!(matches!(settle(&f, first.handle, to).await, Err(Error::Stale)));
    }
    let elsewhere = Handle { queue: Queue(1), ..second.handle };
    assert!(matches!(settle(&f, elsewhere, Settle::Ack).await, Err(Error::Stale)));
    settle(&f, second.handle, Settle::Ack).await.expect("ack");
    assert!(matches!(settle(&f, second.handle, Settle::Ack).await, Err(Error::Stale)));
    assert_eq!(depth(&f, Q).await, (0, 0, 0));
    let cancelled = put(&f, Q, f.state.now(), "y").await;
    settle(&f, cancelled, Settle::Ack).await.expect("cancel");
    assert!(claim(&f, 1).await.is_empty());
}

async fn settling_does_what_it_says(f: Fixture) {
    put(&f, Q, f.state.now(), "x").await;
    let held = claim(&f, 1).await.remove(0);
    settle(&f, held.handle, Settle::Extend { due: f.after(3_000) }).await.expect("extend");
    f.advance(2_000).await;
    assert!(claim(&f, 1).await.is_empty());
    assert_eq!(depth(&f, Q).await, (0, 1, 0));
    settle(&f, held.handle, Settle::Again { due: f.after(500), value: None }).await.expect("again");
    assert_eq!(depth(&f, Q).await, (0, 0, 1));
    assert!(matches!(settle(&f, held.handle, Settle::Ack).await, Err(Error::Stale)));
    f.advance(500).await;
    let held = claim(&f, 1).await.remove(0);
    assert_eq!((held.tries, values(std::slice::from_ref(&held))), (2, vec!["x"]));
    let again = Settle::Again { due: f.state.now(), value: Some("y".into()) };
    settle(&f, held.handle, again).await.expect("again");
    let held = claim(&f, 1).await.remove(0);
    assert_eq!((held.tries, values(std::slice::from_ref(&held))), (3, vec!["y"]));
    let dead = Queue::of(70_000, 9);
    settle(&f, held.handle, Settle::Move { queue: dead, due: f.state.now() }).await.expect("move");
    assert_eq!((depth(&f, Q).await, depth(&f, dead).await), ((0, 0, 0), (1, 0, 0)));
    let moved = f.state.claim(dead, ClaimSpec::new(1, LEASE)).await.expect("claim");
    assert_eq!((moved[0].tries, values(&moved)), (1, vec!["y"]));
}

fn lane(queue: Queue, lane: &'static str, due: Millis, value: &'static str) -> Txn {
    let lane = Some(Bytes::from(lane));
    Txn::new().mutation(Mutation::Enqueue { queue, lane, due, value: value.into() })
}

fn arm(lane: &'static str, due: Millis) -> Txn {
    let mut txn = Txn::new();
    txn.muts.arm(Q, lane, due);
    txn
}

async fn lanes_exist_once(f: Fixture) {
    let now = f.state.now();
    f.state.commit(lane(Q, "a", now, "old")).await.expect("lane");
    let held = claim(&f, 9).await.remove(0);
    assert_eq!(held.lane.as_deref(), Some(&b"a"[..]));
    // Replacing ends the lease.
    let done = f.state.commit(lane(Q, "a", now, "new")).await.expect("lane");
    assert!(matches!(settle(&f, held.handle, Settle::Ack).await, Err(Error::Stale)));
    let held = claim(&f, 9).await;
    assert_eq!((values(&held), held[0].tries, held[0].handle.id), (vec!["new"], 1, done.handles[0].id));
    // The same lane of another queue is another one; moving there replaces it.
    let other = Queue::of(70_000, 2);
    f.state.commit(lane(other, "a", now, "theirs")).await.expect("lane");
    settle(&f, held[0].handle, Settle::Move { queue: other, due: now }).await.expect("move");
    let got = f.state.claim(other, ClaimSpec::new(9, LEASE)).await.expect("claim");
    assert_eq!(values(&got), ["new"]);
    // Arming lowers a due time, never raises it, and creates what is missing.
    f.state.commit(arm("b", f.after(500))).await.expect("arm");
    f.state.commit(arm("b", f.after(900))).await.expect("arm");
    f.state.commit(arm("b", f.after(100))).await.expect("arm");
    f.advance(99).await;
    assert!(claim(&f, 9).await.is_empty());
    f.advance(1).await;
    let got = claim(&f, 9).await;
    assert_eq!((got.len(), got[0].value.len(), got[0].lane.as_deref()), (1, 0, Some(&b"b"[..])));
}

async fn armed_lanes_do_not_strand(f: Fixture) {
    f.state.commit(arm("a", f.state.now())).await.expect("arm");
    let settles: [fn(&Fixture) -> Settle; 3] = [
        |_| Settle::Ack,
        |f| Settle::Again { due: f.after(60_000), value: None },
        |f| Settle::Move { queue: Q, due: f.after(60_000) },
    ];
    for (n, to) in settles.into_iter().enumerate() {
        let held = claim(&f, 1).await.remove(0);
        f.state.commit(arm("a", f.after(100))).await.expect("arm");
        f.state.commit(arm("a", f.after(50))).await.expect("arm");
        assert!(claim(&f, 1).await.is_empty(), "a held lane is not given twice");
        settle(&f, held.handle, to(&f)).await.expect("settle");
        assert!(claim(&f, 1).await.is_empty());
        f.advance(50).await;
        assert_eq!(depth(&f, Q).await, (1, 0, 0), "settle {n}");
    }
    // Armed behind the end of a lease that nobody took over: the late acknowledgement does not take it away.
    let held = claim(&f, 1).await.remove(0);
    f.advance(2_000).await;
    f.state.commit(arm("a", f.state.now())).await.expect("arm");
    settle(&f, held.handle, Settle::Ack).await.expect("late");
    let held = claim(&f, 1).await.remove(0);
    // Whoever claims has seen everything: nothing is left over.
    settle(&f, held.handle, Settle::Ack).await.expect("ack");
    assert_eq!(depth(&f, Q).await, (0, 0, 0));
}

async fn lanes_bring_their_items(f: Fixture) {
    let prefix = Key::new(super::KV, 70_000, 5);
    let item = |lane: &str, n: u64| prefix.clone().lane(lane.as_bytes()).u64(n);
    let mut txn = lane(Q, "a", f.state.now(), "v").put(item("ab", 0), val("not mine"));
    txn = (1..=4).fold(txn, |txn, n| txn.put(item("a", n), val(&n.to_string())));
    txn = txn.put_until(item("a", 0), val("expired"), f.state.now()).enqueue(Q, f.after(1), "no lane");
    f.state.commit(txn).await.expect("fill");
    f.advance(1).await;
    let spec = ClaimSpec::new(9, LEASE).items(prefix.clone(), 3);
    let got = f.state.claim(Q, spec).await.expect("claim");
    let keys: Vec<_> = got[0].items.iter().map(|row| row.key.clone()).collect();
    assert_eq!(keys, [item("a", 1), item("a", 2), item("a", 3)]);
    assert!(got[1].items.is_empty() && got[1].lane.is_none());
}

async fn queues_are_dropped(f: Fixture) {
    let mut last = 0;
    for n in 0..5 {
        last = put(&f, Q, f.after(n), "x").await.id;
    }
    let other = Queue::of(70_000, 2);
    put(&f, other, f.state.now(), "mine").await;
    claim(&f, 1).await;
    put(&f, Q, f.state.now(), "behind").await;
    let drop = |limit| Txn::new().mutation(Mutation::DropQueue { queue: Q, upto: last, limit });
    assert_eq!(f.state.commit(drop(2)).await.expect("drop").removed, 2);
    assert_eq!(f.state.commit(drop(1_000)).await.expect("drop").removed, 3);
    f.advance(10_000).await;
    assert_eq!(values(&claim(&f, 10).await), ["behind"]);
    assert_eq!(depth(&f, other).await, (1, 0, 0));
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("within 20 s")
}

fn waiting(f: &Fixture, spec: ClaimSpec) -> tokio::task::JoinHandle<Vec<Claimed>> {
    let state: Arc<dyn State> = Arc::clone(&f.state);
    tokio::spawn(async move { state.claim(Q, spec.wait(Millis(600_000))).await.expect("claim") })
}

async fn claims_wait(f: Fixture) {
    let spec = ClaimSpec::new(5, LEASE);
    // Woken by an entry.
    let claim = waiting(&f, spec.clone());
    tokio::task::yield_now().await;
    put(&f, Q, f.state.now(), "a").await;
    let got = soon(claim).await.expect("task");
    assert_eq!(values(&got), ["a"]);
    // Woken by a due time, and by a settled lease.
    let claim = waiting(&f, spec.clone());
    tokio::task::yield_now().await;
    put(&f, Q, f.after(300), "b").await;
    f.advance(300).await;
    assert_eq!(values(&soon(claim).await.expect("task")), ["b"]);
    let claim = waiting(&f, spec.clone());
    tokio::task::yield_now().await;
    settle(&f, got[0].handle, Settle::Again { due: f.state.now(), value: None }).await.expect("again");
    assert_eq!(values(&soon(claim).await.expect("task")), ["a"]);
    // Every waiter gets one.
    let claims: Vec<_> = (0..4).map(|_| waiting(&f, ClaimSpec::new(1, Millis(1 << 40)).lazy())).collect();
    for _ in 0..4 {
        put(&f, Q, f.state.now(), "each").await;
    }
    for claim in claims {
        assert_eq!(values(&soon(claim).await.expect("task")), ["each"]);
    }
    // Ends empty when the time is over.
    let claim = waiting(&f, spec);
    tokio::task::yield_now().await;
    f.state
        .commit(Txn::new().mutation(Mutation::DropQueue { queue: Q, upto: u64::MAX, limit: 9 }))
        .await
        .expect("drop");
    // The task may not have asked yet: time moves on until it has.
    soon(async {
        while !claim.is_finished() {
            f.advance(600_001).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(soon(claim).await.expect("task").is_empty());
}

async fn dropped_claims_give_back(f: Fixture) {
    for round in 0..30 {
        let claim = waiting(&f, ClaimSpec::new(1, Millis(1 << 40)));
        for _ in 0..round % 5 {
            tokio::task::yield_now().await;
        }
        let handle = put(&f, Q, f.state.now(), "x").await;
        claim.abort();
        let mut id = None;
        match claim.await {
            Ok(got) => id = got.first().map(|claimed| claimed.handle.id),
            Err(aborted) => assert!(aborted.is_cancelled()),
        }
        if id.is_none() {
            let got = soon(waiting(&f, ClaimSpec::new(1, LEASE))).await.expect("task");
            assert_eq!((got[0].handle.id, got[0].tries), (handle.id, 1), "round {round}");
        }
        let rest = Mutation::DropQueue { queue: Q, upto: u64::MAX, limit: 9 };
        f.state.commit(Txn::new().mutation(rest)).await.expect("drop");
    }
}

async fn nobody_claims_twice(f: Fixture) {
    for n in 0..200u32 {
        f.state.commit(Txn::new().enqueue(Q, f.state.now(), n.to_be_bytes().to_vec()).lazy()).await.expect("put");
    }
    let worker = |state: Arc<dyn State>| async move {
        let mut got = Vec::new();
        loop {
            let claimed = state.claim(Q, ClaimSpec::new(3, Millis(1 << 40)).lazy()).await.expect("claim");
            if claimed.is_empty() {
                return got;
            }
            for entry in claimed {
                got.push(entry.value.clone());
                state.commit(Txn::new().settle(entry.handle, Settle::Ack).lazy()).await.expect("ack");
            }
        }
    };
    let workers: Vec<_> = (0..6).map(|_| tokio::spawn(worker(Arc::clone(&f.state)))).collect();
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.await.expect("worker"));
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!((all.len(), depth(&f, Q).await), (200, (0, 0, 0)));
}

async fn limits_hold(f: Fixture) {
    let specs = [
        ClaimSpec::new(0, LEASE),
        ClaimSpec::new(limits::CLAIM_MAX + 1, LEASE),
        ClaimSpec::new(1, Millis(0)),
        ClaimSpec::new(1, LEASE).wait(Millis(-1)),
        ClaimSpec::new(1, LEASE).items(kv(""), 0),
    ];
    for (n, spec) in specs.into_iter().enumerate() {
        assert!(matches!(f.state.claim(Q, spec).await, Err(Error::Invalid(_))), "case {n}");
    }
    let long = Bytes::from(vec![0; limits::LANE_BYTES_MAX + 1]);
    for lane in [Bytes::new(), long] {
        let mut txn = Txn::new();
        txn.muts.arm(Q, lane, f.state.now());
        assert!(matches!(f.state.commit(txn).await, Err(Error::Invalid(_))));
    }
}
