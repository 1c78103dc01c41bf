//! Serialisability: transactions read lists and append their own number to some of them.
//!
//! The lists tell the order in which they were written, and every list that was read tells where its reader stood. With
//! the order of real time (what was acknowledged before another one began comes first) that makes a graph; if it has a
//! cycle, no order of the transactions explains what they saw.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::dice::Dice;
use super::histories::{Round, TASKS, is_excused};
use super::{IX, KV};
use crate::{Check, Consistency, Error, Key, Mutations, Range, State, StateExt, Txn, envelope};

/// Transactions of a task.
const STEPS: usize = 90;
/// Lists in use at a time, and steps of a task before others are used.
const LISTS: u64 = 5;
const TURN: usize = 30;

type List = Vec<u32>;

/// A transaction that was acknowledged.
struct Op {
    id: u32,
    began: Instant,
    ended: Instant,
    /// The lists as it saw them.
    reads: Vec<(Key, List)>,
    /// Those that it appended to.
    appends: Vec<Key>,
}

fn list(value: Option<&[u8]>) -> List {
    let body = value.map_or(&[][..], |value| envelope::open(value).expect("envelope"));
    body.chunks_exact(4).map(|chunk| u32::from_be_bytes(chunk.try_into().expect("four bytes"))).collect()
}

fn appended(list: &[u32], id: u32) -> bytes::Bytes {
    let bytes: Vec<u8> = list.iter().chain([&id]).flat_map(|id| id.to_be_bytes()).collect();
    envelope::seal(&bytes)
}

pub(super) async fn run(round: &Round) {
    let next = Arc::new(AtomicU32::new(1));
    let tasks = (0..TASKS).map(|task| {
        let (state, dice, room, next) = (round.node(task), round.dice(task), round.room(1), Arc::clone(&next));
        Box::pin(work(state, dice, room, next)) as _
    });
    let done = round.all(tasks.collect()).await;
    let (mut ops, mut unknown) = (Vec::new(), HashSet::new());
    for (some, unsure) in done {
        ops.extend(some);
        unknown.extend(unsure);
    }
    let mut last = HashMap::new();
    for kind in [KV, IX] {
        for row in round.node(0).all(Key::new(kind, round.room(1), 0), 1_000).await.expect("read") {
            last.insert(row.key, list(Some(&row.value)));
        }
    }
    assert!(ops.len() > TASKS * STEPS / 3, "seed {}: most of it was refused: {}", round.seed, ops.len());
    if let Err(why) = judge(&ops, &last, &unknown) {
        panic!("seed {}: {why}", round.seed);
    }
}

async fn work(state: Arc<dyn State>, mut dice: Dice, room: u64, next: Arc<AtomicU32>) -> (Vec<Op>, Vec<u32>) {
    let (mut ops, mut unknown) = (Vec::new(), Vec::new());
    for step in 0..STEPS {
        tokio::task::yield_now().await;
        let id = next.fetch_add(1, Ordering::Relaxed);
        let turn = (step / TURN) as u64;
        let mut keys: Vec<Key> = (0..=dice.below(2))
            .map(|_| {
                let number = turn * LISTS + dice.below(LISTS);
                Key::new(if number.is_multiple_of(2) { KV } else { IX }, room, 0).u64(number)
            })
            .collect();
        keys.sort();
        keys.dedup();
        let appends: Vec<Key> = keys.iter().filter(|_| dice.below(3) > 0).cloned().collect();
        let (began, kind) = (Instant::now(), dice.below(8));
        let seen = match kind {
            0..4 => by_rule(&state, id, &keys, &appends, kind == 0).await,
            4..6 => by_versions(&state, id, &keys, &appends, kind == 4).await,
            _ => Ok(Some(snapshot(&state, &keys, kind == 6).await)),
        };
        let appends = if kind < 6 { appends } else { Vec::new() };
        match seen {
            Ok(Some(reads)) => ops.push(Op { id, began, ended: Instant::now(), reads, appends }),
            Ok(None) => {}
            Err(Error::Unknown) => unknown.push(id),
            Err(error) if is_excused(&error) => {}
            Err(error) => panic!("{error}"),
        }
    }
    (ops, unknown)
}

type Seen = Result<Option<Vec<(Key, List)>>, Error>;

/// Reads and appends in one rule.
async fn by_rule(state: &Arc<dyn State>, id: u32, keys: &[Key], appends: &[Key], lazy: bool) -> Seen {
    let to = appends.to_vec();
    let txn = Txn::new().rule(keys, move |view, out| {
        let lists: Vec<List> = (0..view.keys.len()).map(|index| list(view.value(index))).collect();
        for (key, list) in view.keys.iter().zip(&lists).filter(|(key, _)| to.contains(key)) {
            out.put(key.clone(), appended(list, id));
        }
        // What a refused transaction wrote must never be seen.
        if id.is_multiple_of(11) { Err(()) } else { Ok(lists) }
    });
    match state.run::<Vec<List>, ()>(if lazy { txn.lazy() } else { txn }).await? {
        Ok(lists) => Ok(Some(keys.iter().cloned().zip(lists).collect())),
        Err(()) => Ok(None),
    }
}

/// Reads first, then writes if nothing has changed since.
async fn by_versions(state: &Arc<dyn State>, id: u32, keys: &[Key], appends: &[Key], guards: bool) -> Seen {
    let rows = state.get_many(keys.to_vec(), Consistency::Strong).await?;
    let (mut txn, mut seen) = (Txn::new(), Vec::new());
    for (key, row) in keys.iter().zip(rows) {
        let now = list(row.as_ref().map(|row| &row.value[..]));
        txn = match &row {
            Some(row) if guards => txn.guard(key.clone(), row.ver),
            Some(row) => txn.check(Check::Ver(key.clone(), row.ver)),
            None => txn.absent(key.clone()),
        };
        if appends.contains(key) {
            txn = txn.put(key.clone(), appended(&now, id));
        }
        seen.push((key.clone(), now));
    }
    match state.commit(txn).await {
        Ok(_) => Ok(Some(seen)),
        Err(Error::Check(_) | Error::Guard(_)) => Ok(None),
        Err(other) => Err(other),
    }
}

/// Only reads, at one snapshot.
async fn snapshot(state: &Arc<dyn State>, keys: &[Key], points: bool) -> Vec<(Key, List)> {
    if points {
        let rows = state.get_many(keys.to_vec(), Consistency::Strong).await.expect("read");
        return keys.iter().cloned().zip(rows.iter().map(|row| list(row.as_ref().map(|row| &row.value[..])))).collect();
    }
    // One table's lists by a range; the other table's stay unread.
    let Some(prefix) = keys.first().map(|key| Key::from_bytes(key.as_bytes()[..Key::HEAD].to_vec())) else {
        return Vec::new();
    };
    let page = state.range(Range::prefix(&prefix)).await.expect("read");
    page.rows.iter().map(|row| (row.key.clone(), list(Some(&row.value)))).collect()
}

/// Whether some order of the transactions explains all that was seen.
fn judge(ops: &[Op], last: &HashMap<Key, List>, unknown: &HashSet<u32>) -> Result<(), String> {
    let node: HashMap<u32, usize> = ops.iter().enumerate().map(|(at, op)| (op.id, at)).collect();
    for (key, list) in last {
        let unique: HashSet<&u32> = list.iter().collect();
        if unique.len() != list.len() {
            return Err(format!("{key:?} was appended to twice by one transaction: {list:?}"));
        }
        if let Some(id) = list.iter().find(|id| !node.contains_key(id) && !unknown.contains(id)) {
            return Err(format!("{key:?} holds {id}, which was refused"));
        }
    }
    let mut graph = Graph::new(ops);
    for (at, op) in ops.iter().enumerate() {
        for (key, seen) in &op.reads {
            let all = last.get(key).map_or(&[][..], Vec::as_slice);
            if !all.starts_with(seen) {
                return Err(format!("{} saw {seen:?} in {key:?}, which became {all:?}", op.id));
            }
            let (before, mut after) = (seen.last(), all.get(seen.len()));
            if op.appends.contains(key) {
                if after != Some(&op.id) {
                    return Err(format!("{} saw {seen:?} in {key:?} and appended to it: {all:?}", op.id));
                }
                after = all.get(seen.len() + 1);
            }
            graph.edge(before.and_then(|id| node.get(id)).copied(), Some(at));
            graph.edge(Some(at), after.and_then(|id| node.get(id)).copied());
        }
    }
    graph.sort().map_err(|stuck| {
        let ops: Vec<_> = stuck.iter().filter_map(|at| ops.get(*at)).take(12).collect();
        let shown: Vec<String> = ops.iter().map(|op| format!("{}: {:?} + {:?}", op.id, op.reads, op.appends)).collect();
        format!("no order explains these transactions:\n{}", shown.join("\n"))
    })
}

/// Transactions first, then one node for each end of one: what ended before another began comes before it.
struct Graph {
    to: Vec<Vec<usize>>,
    ops: usize,
}

impl Graph {
    fn new(ops: &[Op]) -> Graph {
        let mut graph = Graph { to: vec![Vec::new(); ops.len() * 2], ops: ops.len() };
        let mut ends: Vec<(Instant, usize)> = ops.iter().enumerate().map(|(at, op)| (op.ended, at)).collect();
        ends.sort_unstable();
        for (index, (_, at)) in ends.iter().enumerate() {
            graph.edge(Some(*at), Some(ops.len() + index));
            graph.edge(index.checked_sub(1).map(|before| ops.len() + before), Some(ops.len() + index));
        }
        for (at, op) in ops.iter().enumerate() {
            let ended = ends.partition_point(|(ended, _)| *ended < op.began);
            graph.edge(ended.checked_sub(1).map(|before| ops.len() + before), Some(at));
        }
        graph
    }

    fn edge(&mut self, from: Option<usize>, to: Option<usize>) {
        if let (Some(from), Some(to)) = (from, to)
            && from != to
        {
            self.to[from].push(to);
        }
    }

    /// The transactions that cannot be put in any order, if there are some.
    fn sort(self) -> Result<(), Vec<usize>> {
        let mut before = vec![0; self.to.len()];
        self.to.iter().flatten().for_each(|to| before[*to] += 1);
        let mut free: Vec<usize> = (0..before.len()).filter(|at| before[*at] == 0).collect();
        while let Some(at) = free.pop() {
            for to in &self.to[at] {
                before[*to] -= 1;
                if before[*to] == 0 {
                    free.push(*to);
                }
            }
        }
        let stuck: Vec<usize> = (0..self.ops).filter(|at| before[*at] > 0).collect();
        if stuck.is_empty() { Ok(()) } else { Err(stuck) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(n: u64) -> Key {
        Key::new(KV, 1, 0).u64(n)
    }

    /// A transaction of (id, from, to, [(key, seen)], [appended keys]).
    fn op(id: u32, from: u64, to: u64, reads: &[(u64, &[u32])], appends: &[u64]) -> Op {
        static ZERO: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let at = |n| *ZERO.get_or_init(Instant::now) + Duration::from_secs(n);
        let reads = reads.iter().map(|(k, seen)| (key(*k), seen.to_vec())).collect();
        Op { id, began: at(from), ended: at(to), reads, appends: appends.iter().map(|k| key(*k)).collect() }
    }

    fn check(ops: &[Op], last: &[(u64, &[u32])], expected: bool) {
        let last = last.iter().map(|(k, list)| (key(*k), list.to_vec())).collect();
        let judged = judge(ops, &last, &HashSet::new());
        assert_eq!(judged.is_ok(), expected, "{judged:?}");
    }

    #[test]
    fn the_judge_knows_anomalies() {
        let (one, two): (&[u32], &[u32]) = (&[1], &[2]);
        check(&[op(1, 0, 9, &[(1, &[])], &[1]), op(2, 0, 9, &[(1, one)], &[])], &[(1, one)], true);
        // Write skew: each saw the other's list before its append.
        let skew = [op(1, 0, 9, &[(1, &[]), (2, &[])], &[1]), op(2, 0, 9, &[(1, &[]), (2, &[])], &[2])];
        check(&skew, &[(1, one), (2, two)], false);
        // A stale read: the append was acknowledged before the read began.
        check(&[op(1, 0, 1, &[(1, &[])], &[1]), op(2, 2, 3, &[(1, &[])], &[])], &[(1, one)], false);
        check(&[op(1, 0, 2, &[(1, &[])], &[1]), op(2, 1, 3, &[(1, &[])], &[])], &[(1, one)], true);
        // A lost append, one of a refused transaction, and one done twice.
        check(&[op(1, 0, 1, &[(1, &[])], &[1])], &[], false);
        check(&[], &[(1, one)], false);
        check(&[op(1, 0, 1, &[(1, &[])], &[1])], &[(1, &[1, 1])], false);
        // Two snapshots that saw two appends in opposite orders.
        let appends = [op(1, 0, 9, &[(1, &[])], &[1]), op(2, 0, 9, &[(2, &[])], &[2])];
        let readers = [op(3, 0, 9, &[(1, one), (2, &[])], &[]), op(4, 0, 9, &[(1, &[]), (2, two)], &[])];
        check(&appends.into_iter().chain(readers).collect::<Vec<_>>(), &[(1, one), (2, two)], false);
    }
}
