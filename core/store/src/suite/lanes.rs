//! Lanes never strand: work that is added to a lane while it is held, settled or given up is done, once.
//!
//! A producer adds a row and arms its lane in one transaction. A consumer claims a lane with its first rows, removes
//! them and settles the lane in one transaction that demands the lease.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use squall_types::Millis;

use super::KV;
use super::claims::Book;
use super::dice::Dice;
use super::histories::{Round, TASKS, is_excused};
use crate::{Bytes, Check, ClaimSpec, Claimed, Error, Key, Mutations, Queue, Settle, State, StateExt, Txn, envelope};

const LANES: u64 = 4;
const ROWS: usize = 60;
const PRODUCERS: usize = 6;
/// Rows that a claim brings.
const ITEMS: u32 = 3;

/// The rows that were done, and how many are to come.
struct Work {
    room: u64,
    left: AtomicUsize,
    done: Mutex<HashMap<Key, Instant>>,
    book: Book,
}

impl Work {
    fn queue(&self) -> Queue {
        Queue(self.room)
    }

    fn prefix(&self) -> Key {
        Key::new(KV, self.room, 0)
    }
}

pub(super) async fn run(round: &Round) {
    let left = AtomicUsize::new(PRODUCERS * ROWS);
    let work = Arc::new(Work { room: round.room(5), left, done: Mutex::default(), book: Book::new(round) });
    let mut tasks: Vec<futures_util::future::BoxFuture<'static, ()>> = Vec::new();
    for task in 0..TASKS {
        let (state, dice, work) = (round.node(task), round.dice(task), Arc::clone(&work));
        if task < PRODUCERS {
            tasks.push(Box::pin(produce(state, dice, work, task as u64)));
        } else {
            tasks.push(Box::pin(consume(state, dice, work)));
        }
    }
    round.all(tasks).await;
    let rows = round.node(0).all(work.prefix(), 1_000).await.expect("read");
    assert!(rows.is_empty(), "seed {}: no row is left", round.seed);
}

async fn produce(state: Arc<dyn State>, mut dice: Dice, work: Arc<Work>, producer: u64) {
    for n in 0..ROWS as u64 {
        let lane = Bytes::from(vec![b'l', dice.below(LANES) as u8]);
        let due = Millis(state.now().0 + dice.below(10) as i64);
        let mut txn = Txn::new().put(work.prefix().lane(&lane).u64(n).u64(producer), envelope::seal(b"work"));
        txn.muts.arm(work.queue(), lane, due);
        let txn = if dice.one_in(2) { txn.lazy() } else { txn };
        while let Err(error) = state.commit(txn.clone()).await {
            assert!(is_excused(&error), "{error}");
        }
    }
}

async fn consume(state: Arc<dyn State>, mut dice: Dice, work: Arc<Work>) {
    while work.left.load(Ordering::Relaxed) > 0 {
        // An engine that answers at once would keep the others from their turn.
        tokio::task::yield_now().await;
        let lease = Millis(dice.below(60) as i64 + 15);
        let spec = ClaimSpec::new(2, lease).wait(Millis(30)).items(work.prefix(), ITEMS);
        let (began, before) = (Instant::now(), state.now());
        let claimed = match state.claim(work.queue(), spec).await {
            Err(error) if is_excused(&error) => continue,
            claimed => claimed.expect("claim"),
        };
        let (since, until) = (state.now(), Millis(before.0 + lease.0));
        for lane in &claimed {
            work.book.taken(name(lane), lane.handle.lease, began, since, until);
        }
        for lane in claimed {
            end(&state, &mut dice, &work, lane).await;
        }
    }
}

fn name(entry: &Claimed) -> u64 {
    entry.lane.as_ref().and_then(|lane| lane.get(1)).copied().expect("a lane").into()
}

async fn end(state: &Arc<dyn State>, dice: &mut Dice, work: &Work, entry: Claimed) {
    if dice.one_in(10) {
        // It forgets the lane, which comes again when its lease ends.
        return;
    }
    let now = state.now();
    let to = if entry.items.len() == ITEMS as usize || dice.one_in(10) {
        Settle::Again { due: now, value: None }
    } else {
        Settle::Ack
    };
    let mut txn = Txn::new().check(Check::Lease(entry.handle)).settle(entry.handle, to);
    for row in &entry.items {
        txn = txn.exists(row.key.clone()).delete(row.key.clone());
    }
    work.book.let_go(name(&entry), entry.handle.lease, 0);
    match state.commit(txn).await {
        Ok(_) => {
            let mut done = work.done.lock().expect("done");
            for row in entry.items {
                assert!(done.insert(row.key.clone(), Instant::now()).is_none(), "{:?} was done twice", row.key);
                work.left.fetch_sub(1, Ordering::Relaxed);
            }
        }
        // The lease was over. Otherwise the rows of a lane that is held are nobody else's to remove.
        Err(Error::Check(0)) => {}
        Err(error) => assert!(is_excused(&error), "{error}"),
    }
}
