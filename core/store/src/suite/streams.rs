//! Streams: order, density, waiting, trimming.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;

use super::{Fixture, kv, val};
use crate::{Change, Error, Mutation, Mutations, Part, Result, StateExt, Txn};

const P: Part = Part { stream: 70_000, part: 3 };

pub(super) async fn run(make: &impl Fn() -> Fixture) {
    changes_are_dense_and_ordered(make()).await;
    watchers_wait(make()).await;
    trimmed_changes_are_gone(make()).await;
}

async fn emit(f: &Fixture, part: Part, body: &'static str) {
    f.state.commit(Txn::new().emit(part, body)).await.expect("emit");
}

async fn next(stream: &mut (impl StreamExt<Item = Result<Change>> + Unpin)) -> Option<Result<Change>> {
    tokio::time::timeout(Duration::from_secs(20), stream.next()).await.expect("within 20 s")
}

async fn changes_are_dense_and_ordered(f: Fixture) {
    let rule = |n: u32| {
        move |_: &crate::View<'_>, out: &mut Vec<Mutation>| {
            out.emit(P, n.to_be_bytes().to_vec());
            Ok::<(), ()>(())
        }
    };
    let tasks = (0..4).map(|task| {
        let state = Arc::clone(&f.state);
        tokio::spawn(async move {
            for n in 0..100 {
                state.commit(Txn::new().rule([], rule(task * 1_000 + n)).lazy()).await.expect("emit");
                let refused = Txn::new().exists(kv("none")).emit(P, "never");
                assert!(state.commit(refused).await.is_err());
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("task");
    }
    emit(&f, Part { part: 4, ..P }, "elsewhere").await;
    let mut watch = f.state.watch(P, 0);
    let mut last = [None; 4];
    for seq in 1..=400 {
        let change = next(&mut watch).await.expect("change").expect("change");
        assert_eq!((change.seq, change.at), (seq, f.state.now()));
        let n = u32::from_be_bytes(change.body[..].try_into().expect("number"));
        let of_task = &mut last[(n / 1_000) as usize];
        assert!(of_task.is_none_or(|before| before < n), "the order of commits is kept");
        *of_task = Some(n);
    }
    assert_eq!(f.state.head(P).await.expect("head"), 400);
    assert_eq!(next(&mut f.state.watch(P, 399)).await.expect("change").expect("change").seq, 400);
}

async fn watchers_wait(f: Fixture) {
    let mut two = [f.state.watch(P, 0), f.state.watch(P, 1)];
    let state = Arc::clone(&f.state);
    let later = tokio::spawn(async move {
        tokio::task::yield_now().await;
        for body in ["one", "two", "three"] {
            state.commit(Txn::new().put(kv("a"), val(body)).emit(P, body)).await.expect("emit");
        }
    });
    for (n, watch) in two.iter_mut().enumerate() {
        for (at, body) in ["one", "two", "three"].iter().enumerate().skip(n) {
            let change = next(watch).await.expect("change").expect("change");
            assert_eq!((change.seq, &change.body[..]), (at as u64 + 1, body.as_bytes()));
        }
    }
    later.await.expect("task");
}

async fn trimmed_changes_are_gone(f: Fixture) {
    for body in ["1", "2", "3", "4"] {
        emit(&f, P, body).await;
    }
    let mut early = f.state.watch(P, 0);
    let trim = |upto| Txn::new().mutation(Mutation::Trim { part: P, upto });
    f.state.commit(trim(2)).await.expect("trim");
    assert!(matches!(next(&mut early).await, Some(Err(Error::Trimmed))));
    assert!(next(&mut early).await.is_none(), "a stream ends after its error");
    assert!(matches!(next(&mut f.state.watch(P, 1)).await, Some(Err(Error::Trimmed))));
    assert_eq!(next(&mut f.state.watch(P, 2)).await.expect("change").expect("change").seq, 3);
    // Trimming never goes back, nor beyond the end; numbers go on.
    f.state.commit(trim(1)).await.expect("trim");
    f.state.commit(trim(u64::MAX)).await.expect("trim");
    f.state.commit(Txn::new().mutation(Mutation::Trim { part: Part::sole(5), upto: 3 })).await.expect("trim");
    emit(&f, P, "5").await;
    emit(&f, Part::sole(5), "1").await;
    assert_eq!(next(&mut f.state.watch(P, 4)).await.expect("change").expect("change").seq, 5);
    assert_eq!(next(&mut f.state.watch(Part::sole(5), 0)).await.expect("change").expect("change").seq, 1);
    // What is trimmed in the transaction that wrote it is gone too.
    f.state.commit(Txn::new().emit(P, "6").mutation(Mutation::Trim { part: P, upto: 6 })).await.expect("trim");
    assert!(matches!(next(&mut f.state.watch(P, 5)).await, Some(Err(Error::Trimmed))));
}
