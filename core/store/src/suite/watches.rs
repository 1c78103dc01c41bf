//! Watches skip nothing, double nothing and keep the order, while commits race; what was refused never shows.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;

use super::dice::Dice;
use super::histories::{Round, TASKS, is_excused};
use super::{KV, val};
use crate::{Error, Key, Mutations, Part, State, StateExt, Txn};

const PARTS: u16 = 3;
const STEPS: u64 = 60;
const WRITERS: usize = TASKS;
const WATCHERS: usize = 6;

/// How many changes of each part were acknowledged, and how many writers are still at work.
#[derive(Default)]
struct Parts {
    written: [AtomicU64; PARTS as usize],
    writing: AtomicU64,
}

fn body(writer: usize, n: u64) -> Vec<u8> {
    [writer as u64, n].iter().flat_map(|n| n.to_be_bytes()).collect()
}

pub(super) async fn run(round: &Round) {
    let stream = round.room(6);
    let parts = Arc::new(Parts { writing: AtomicU64::new(WRITERS as u64), ..Parts::default() });
    let mut tasks: Vec<futures_util::future::BoxFuture<'static, Vec<Vec<u8>>>> = Vec::new();
    for task in 0..WATCHERS {
        let (state, parts) = (round.node(task), Arc::clone(&parts));
        let part = Part { stream, part: task as u16 % PARTS };
        tasks.push(Box::pin(watch(state, parts, part, round.dice(task))));
    }
    for task in 0..WRITERS {
        let (state, dice, parts) = (round.node(task), round.dice(100 + task), Arc::clone(&parts));
        tasks.push(Box::pin(write(state, dice, parts, stream, task)));
    }
    let mut seen = round.all(tasks).await;
    seen.truncate(WATCHERS);
    for (watcher, bodies) in seen.iter().enumerate() {
        let first = &seen[watcher % usize::from(PARTS)];
        assert!(bodies == first, "seed {}: two watchers saw the same", round.seed);
        let mut last: HashMap<u64, u64> = HashMap::new();
        for body in bodies {
            let [writer, n] = [0, 8].map(|at| u64::from_be_bytes(body[at..at + 8].try_into().expect("a number")));
            let before = last.insert(writer, n);
            assert!(before.is_none_or(|before| before <= n), "seed {}: a writer's order is kept", round.seed);
            assert!(n % 7 != 6, "seed {}: what was refused does not show", round.seed);
        }
    }
    trims(round, Part { stream, part: 0 }).await;
}

/// Writes changes of one to three parts at a time, one transaction after another.
async fn write(state: Arc<dyn State>, mut dice: Dice, parts: Arc<Parts>, stream: u64, writer: usize) -> Vec<Vec<u8>> {
    for n in 0..STEPS {
        let mut emits: Vec<u16> = (0..=dice.below(3)).map(|_| dice.below(PARTS.into()) as u16).collect();
        let is_refused = n % 7 == 6;
        tokio::task::yield_now().await;
        let mut txn = Txn::new().put(Key::new(KV, stream, 0).u64(dice.below(4)), val("v"));
        emits.iter().for_each(|part| txn.muts.emit(Part { stream, part: *part }, body(writer, n)));
        if is_refused {
            txn = txn.rule([], |_, _| Err::<(), ()>(()));
            emits.clear();
        }
        let txn = if dice.one_in(2) { txn.lazy() } else { txn };
        match state.commit(txn).await {
            Ok(_) => assert!(!is_refused),
            Err(Error::Rejected(_)) => assert!(is_refused),
            Err(error) => {
                assert!(is_excused(&error), "{error}");
                continue;
            }
        }
        for part in emits {
            parts.written[usize::from(part)].fetch_add(1, Ordering::SeqCst);
        }
    }
    parts.writing.fetch_sub(1, Ordering::SeqCst);
    Vec::new()
}

/// Follows a part from its beginning, now and then with a new watch, until all writers are done: the bodies in order.
async fn watch(state: Arc<dyn State>, parts: Arc<Parts>, part: Part, mut dice: Dice) -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> = Vec::new();
    let written = || parts.written[usize::from(part.part)].load(Ordering::SeqCst);
    loop {
        let mut watch = state.watch(part, bodies.len() as u64);
        for _ in 0..dice.below(200) + 1 {
            if parts.writing.load(Ordering::SeqCst) == 0 && bodies.len() as u64 == written() {
                let head = state.head(part).await.expect("head");
                assert_eq!(head, written(), "{part:?}: the head counts what was acknowledged");
                return bodies;
            }
            // A writer's last change may be seen before it counts it.
            let wait = std::time::Duration::from_millis(20);
            let Ok(change) = tokio::time::timeout(wait, watch.next()).await else { continue };
            let change = change.expect("a watch goes on").expect("change");
            assert_eq!(change.seq, bodies.len() as u64 + 1, "{part:?}: dense numbers");
            bodies.push(change.body.to_vec());
        }
    }
}

/// Trims beside a watcher: it sees everything behind the trimmed position, or is told that it is too late.
async fn trims(round: &Round, part: Part) {
    let (state, other) = (round.node(0), round.node(1));
    let head = state.head(part).await.expect("head");
    let mut dice = round.dice(0);
    let mut low = 0;
    while low < head {
        low = (low + dice.below(20) + 1).min(head);
        let trim = crate::Mutation::Trim { part, upto: low };
        let (after, trimmed) = (low - 1, state.commit(Txn::new().mutation(trim)));
        let watched = async { other.watch(part, after).next().await.expect("a watch answers") };
        let (trimmed, watched) = tokio::join!(trimmed, watched);
        trimmed.expect("trim");
        match watched {
            Ok(change) => assert_eq!(change.seq, low),
            Err(error) => assert!(matches!(error, Error::Trimmed), "{error}"),
        }
        let late = state.watch(part, low - 1).next().await.expect("a watch answers");
        assert!(matches!(late, Err(Error::Trimmed)), "{late:?}");
        if low < head {
            let next = state.watch(part, low).next().await.expect("a watch goes on").expect("change");
            assert_eq!(next.seq, low + 1);
        }
    }
    assert_eq!(state.head(part).await.expect("head"), head, "trimming leaves the head");
}
