//! Conserved sums: money moves between accounts by counters with bounds and by rules, while snapshots count it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::dice::Dice;
use super::histories::{Round, TASKS, is_excused};
use super::{IX, KV};
use crate::{Consistency, Error, Key, Mutations, Range, State, StateExt, Txn, envelope};

const ACCOUNTS: u64 = 8;
const BEGIN: i64 = 20;
const STEPS: usize = 60;

fn account(room: u64, n: u64) -> Key {
    Key::new(if n.is_multiple_of(2) { KV } else { IX }, room, 0).u64(n)
}

fn accounts(room: u64) -> Vec<Key> {
    (0..ACCOUNTS).map(|n| account(room, n)).collect()
}

pub(super) async fn run(round: &Round) {
    let room = round.room(2);
    let opened = accounts(room).into_iter().fold(Txn::new(), |txn, key| txn.add(key, BEGIN));
    round.node(0).commit(opened).await.expect("open");
    let working = Arc::new(AtomicUsize::new(TASKS));
    let mut tasks: Vec<futures_util::future::BoxFuture<'static, ()>> = Vec::new();
    for task in 0..TASKS {
        tasks.push(Box::pin(transfer(round.node(task), round.dice(task), room, Arc::clone(&working))));
    }
    for task in 0..3 {
        tasks.push(Box::pin(count(round.node(task), room, task, Arc::clone(&working))));
    }
    round.all(tasks).await;
    assert_eq!(sum(&round.node(0), room, 0).await, BEGIN * ACCOUNTS as i64, "seed {}", round.seed);
}

async fn transfer(state: Arc<dyn State>, mut dice: Dice, room: u64, working: Arc<AtomicUsize>) {
    for _ in 0..STEPS {
        tokio::task::yield_now().await;
        let (from, to) = (dice.below(ACCOUNTS), dice.below(ACCOUNTS - 1));
        let to = if to >= from { to + 1 } else { to };
        let (from, to, amount) = (account(room, from), account(room, to), dice.below(15) as i64 + 1);
        let done = if dice.one_in(2) {
            let mut txn = Txn::new();
            txn.muts.add(to, amount, 0, i64::MAX);
            txn.muts.add(from, -amount, 0, i64::MAX);
            state.commit(txn).await.map(drop)
        } else {
            let txn = Txn::new().rule([from, to], move |view, out| {
                let [from, to] = [0, 1].map(|index| envelope::open_counter(view.value(index)).expect("counter"));
                out.put(view.key(0), envelope::seal_counter(from - amount));
                out.put(view.key(1), envelope::seal_counter(to + amount));
                if from < amount { Err(()) } else { Ok(()) }
            });
            state.run::<(), ()>(txn).await.map(drop)
        };
        match done {
            Ok(()) | Err(Error::Bounds { .. } | Error::Unknown) => {}
            Err(error) if is_excused(&error) => {}
            Err(error) => panic!("{error}"),
        }
    }
    working.fetch_sub(1, Ordering::Relaxed);
}

async fn count(state: Arc<dyn State>, room: u64, how: usize, working: Arc<AtomicUsize>) {
    while working.load(Ordering::Relaxed) > 0 {
        // An engine that answers at once would keep the others from their turn.
        tokio::task::yield_now().await;
        assert_eq!(sum(&state, room, how).await, BEGIN * ACCOUNTS as i64, "a snapshot of the accounts ({how})");
    }
}

/// The sum over all accounts at one snapshot, read in different ways.
async fn sum(state: &Arc<dyn State>, room: u64, how: usize) -> i64 {
    let balance = |value: &[u8]| {
        let balance = envelope::open_counter(Some(value)).expect("counter");
        assert!(balance >= 0, "an account below zero");
        balance
    };
    if how == 0 {
        let rows = state.get_many(accounts(room), Consistency::Strong).await.expect("read");
        return rows.iter().flatten().map(|row| balance(&row.value)).sum();
    }
    let ranges = [KV, IX].map(|kind| crate::ReadOp::Range(Range::prefix(&Key::new(kind, room, 0)).reversed(how == 2)));
    let outs = state.read(ranges.into(), Consistency::Strong).await.expect("read");
    let pages = outs.iter().filter_map(|out| match out {
        crate::ReadOut::Rows(page) => Some(&page.rows),
        _ => None,
    });
    pages.flatten().map(|row| balance(&row.value)).sum()
}
