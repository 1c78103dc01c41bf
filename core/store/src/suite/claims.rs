//! Claims lose nothing and double nothing: every message is ended once, and nobody is given a message that another one
//! holds within its lease.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use squall_types::Millis;

use super::dice::Dice;
use super::histories::{Round, TASKS, is_excused};
use crate::{ClaimSpec, Claimed, Consistency, Error, Mutations, Queue, ReadOp, ReadOut, Settle, Stamp, State, Txn};

/// Messages, and how many a producer sends at once.
const MESSAGES: u64 = 240;
const SENT: u64 = 4;
const PRODUCERS: usize = 3;

/// Who surely holds something: since, and until when, by the engine's time; `until` is pulled in when it is let go.
#[derive(Clone, Copy)]
struct Hold {
    lease: Stamp,
    since: i64,
    until: i64,
}

/// What is known of an entry.
#[derive(Default)]
struct Known {
    hold: Option<Hold>,
    /// When its end was acknowledged.
    ended: Option<Instant>,
}

/// What all consumers know. Clocks of several engines may differ by `skew` milliseconds.
#[derive(Default)]
pub(super) struct Book {
    known: Mutex<HashMap<u64, Known>>,
    skew: i64,
}

impl Book {
    pub fn new(round: &Round) -> Book {
        Book { known: Mutex::default(), skew: if round.nodes.len() > 1 { 20 } else { 0 } }
    }

    fn with<T>(&self, name: u64, what: impl FnOnce(&mut Known) -> T) -> T {
        what(self.known.lock().expect("book").entry(name).or_default())
    }

    /// A claim that began at `began` brought it. The lease is held for sure from `since`, when the answer was there, to
    /// `until`, counted from before it was asked for.
    pub fn taken(&self, name: u64, lease: Stamp, began: Instant, since: Millis, until: Millis) {
        let new = Hold { lease, since: since.0, until: until.0 - self.skew };
        self.with(name, |known| {
            let is_late = known.ended.is_some_and(|ended| ended < began);
            assert!(!is_late, "{name} had ended, and was given away again");
            match known.hold {
                Some(old) if old.until > new.since && new.until > old.since => {
                    panic!("{name} was held from {} to {}, and also from {} on", old.since, old.until, new.since);
                }
                // Its consumer was slow, and another one has it since.
                Some(old) if old.since >= new.until => {}
                _ => known.hold = Some(new),
            }
        });
    }

    /// Its holder lets it go at `until`, or from now on: gives the time until which nobody else could have it.
    pub fn let_go(&self, name: u64, lease: Stamp, until: i64) -> i64 {
        self.with(name, |known| match &mut known.hold {
            Some(hold) if hold.lease == lease => {
                let before = hold.until;
                hold.until = hold.until.min(until - self.skew);
                before
            }
            _ => 0,
        })
    }

    /// Its holder has it until then.
    fn kept(&self, name: u64, lease: Stamp, until: i64) {
        self.with(name, |known| match &mut known.hold {
            Some(hold) if hold.lease == lease => hold.until = until - self.skew,
            _ => {}
        });
    }

    pub fn ended(&self, name: u64) {
        self.with(name, |known| {
            assert!(known.ended.is_none(), "{name} was ended twice");
            known.ended = Some(Instant::now());
        });
    }

    fn left(&self) -> u64 {
        MESSAGES - self.known.lock().expect("book").values().filter(|known| known.ended.is_some()).count() as u64
    }
}

pub(super) async fn run(round: &Round) {
    let queues = [Queue(round.room(3)), Queue(round.room(4))];
    let book = Arc::new(Book::new(round));
    let mut tasks: Vec<futures_util::future::BoxFuture<'static, ()>> = Vec::new();
    for task in 0..PRODUCERS {
        tasks.push(Box::pin(produce(round.node(task), round.dice(task), queues, task as u64)));
    }
    for task in PRODUCERS..TASKS {
        tasks.push(Box::pin(consume(round.node(task), round.dice(task), queues, Arc::clone(&book))));
    }
    round.all(tasks).await;
    let depths = queues.map(ReadOp::Depth).into();
    for out in round.node(0).read(depths, Consistency::Strong).await.expect("read") {
        let is_empty = matches!(out, ReadOut::Depth { ready: 0, leased: 0, delayed: 0 });
        assert!(is_empty, "seed {}: nothing is left in the queue: {out:?}", round.seed);
    }
}

async fn produce(state: Arc<dyn State>, mut dice: Dice, queues: [Queue; 2], producer: u64) {
    let mut number = producer;
    while number < MESSAGES {
        let mut txn = Txn::new().id(crate::ids::txn_id(Millis(queues[0].0 as i64), number));
        for _ in 0..SENT {
            if number < MESSAGES {
                let due = Millis(state.now().0 + dice.below(40) as i64);
                txn.muts.enqueue(queues[dice.below(2) as usize], due, number.to_be_bytes().to_vec());
                number += PRODUCERS as u64;
            }
        }
        // Sent again under the same id until it is known to be there.
        while let Err(error) = state.commit(txn.clone()).await {
            assert!(is_excused(&error) || matches!(error, Error::Unknown), "{error}");
        }
    }
}

async fn consume(state: Arc<dyn State>, mut dice: Dice, queues: [Queue; 2], book: Arc<Book>) {
    while book.left() > 0 {
        // An engine that answers at once would keep the others from their turn.
        tokio::task::yield_now().await;
        let queue = queues[dice.below(2) as usize];
        let lease = Millis(dice.below(100) as i64 + 15);
        let mut spec = ClaimSpec::new(dice.below(10) as u32 + 1, lease).wait(Millis(dice.below(3) as i64 * 15));
        if dice.one_in(2) {
            spec = spec.lazy();
        }
        let (began, before) = (Instant::now(), state.now());
        let claim = state.claim(queue, spec);
        let claimed = if dice.one_in(6) {
            // A consumer that goes away while it waits takes nothing with it.
            match tokio::time::timeout(Duration::from_micros(dice.below(3_000)), claim).await {
                Ok(claimed) => claimed,
                Err(_) => continue,
            }
        } else {
            claim.await
        };
        let claimed = match claimed {
            Err(error) if is_excused(&error) => continue,
            claimed => claimed.expect("claim"),
        };
        let (at, until) = (state.now(), Millis(before.0 + lease.0));
        for entry in &claimed {
            book.taken(name(entry), entry.handle.lease, began, at, until);
        }
        for entry in claimed {
            settle(&state, &mut dice, &book, entry, queues).await;
        }
    }
}

fn name(entry: &Claimed) -> u64 {
    u64::from_be_bytes(entry.value[..].try_into().expect("a number"))
}

async fn settle(state: &Arc<dyn State>, dice: &mut Dice, book: &Book, entry: Claimed, queues: [Queue; 2]) {
    let (name, handle, later) = (name(&entry), entry.handle, Millis(state.now().0 + dice.below(30) as i64));
    let to = match dice.below(10) {
        // Its lease ends by itself.
        0 => return,
        1 => Settle::Again { due: later, value: None },
        2 => Settle::Move { queue: queues[dice.below(2) as usize], due: later },
        3 => {
            let due = Millis(later.0 + 40);
            book.let_go(name, handle.lease, due.0);
            match state.commit(Txn::new().settle(handle, Settle::Extend { due })).await {
                Ok(_) => book.kept(name, handle.lease, due.0),
                // Somebody else has it already.
                Err(Error::Stale) => return,
                Err(error) => assert!(is_excused(&error), "{error}"),
            }
            Settle::Ack
        }
        4 => {
            tokio::time::sleep(Duration::from_millis(dice.below(40))).await;
            Settle::Ack
        }
        _ => Settle::Ack,
    };
    let is_end = to == Settle::Ack;
    let until = book.let_go(name, handle.lease, 0);
    match state.commit(Txn::new().settle(handle, to)).await {
        Ok(_) if is_end => book.ended(name),
        Ok(_) => {}
        Err(Error::Stale) => assert!(state.now().0 >= until, "{name}: a lease was taken away before its end"),
        Err(error) => assert!(is_excused(&error), "{error}"),
    }
}
