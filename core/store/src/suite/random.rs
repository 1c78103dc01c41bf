//! Random programs run on two engines, whose answers must be the same.
//!
//! Stamps and entry ids differ between engines, so a program names leases and versions by their place in a list that
//! holds both engines' names for the same thing. Transactions come alone or in bursts: those of a burst are under way at
//! once, and an engine that merges them must answer as if they had come one after another.

use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use squall_types::{ManualClock, Millis};

use super::dice::Dice;
use super::{IX, KV, dumps};
use crate::{
    Check, ClaimSpec, Claimed, Committed, Consistency, Error, Handle, Keep, Key, Mutation, Mutations, Part, Queue,
    Range, ReadOp, ReadOut, Result, Settle, Stamp, State, Txn, envelope,
};

struct Program<'s> {
    engines: [&'s dyn State; 2],
    dice: Dice,
    handles: Vec<[Handle; 2]>,
    stamps: Vec<(Key, [Stamp; 2])>,
    now: Millis,
}

/// Runs `steps` random steps of the program with this seed on two empty engines that share the clock.
///
/// # Panics
/// When their answers differ.
pub async fn compare(a: &dyn State, b: &dyn State, clock: &ManualClock, seed: u64, steps: usize) {
    let dice = Dice::new(seed);
    let mut program = Program { engines: [a, b], dice, handles: Vec::new(), stamps: Vec::new(), now: Millis(0) };
    for step in 0..steps {
        program.now = a.now();
        let at = format!("seed {seed} step {step}");
        match program.dice.below(20) {
            0..12 => program.commit(&at).await,
            12..14 => program.claim(&at).await,
            14..17 => program.read(&at).await,
            17 => program.watch(&at).await,
            _ => clock.advance(Duration::from_millis(program.dice.below(400))),
        }
        if step % 97 == 96 || step + 1 == steps {
            assert_eq!(dumps::cut(a).await, dumps::cut(b).await, "{at}: export");
        }
    }
}

impl Program<'_> {
    fn key(&mut self) -> Key {
        let kind = if self.dice.one_in(2) { KV } else { IX };
        if self.dice.one_in(3) {
            // Enough of them that a range takes an engine more than one look.
            return Key::new(kind, 1, 0).raw(format!("w{:03}", self.dice.below(160)).as_bytes());
        }
        let (group, n) = (b"ab/"[self.dice.below(3) as usize], self.dice.below(5) as u8);
        Key::new(kind, 1, 0).raw(&[group, b'/', b'0' + n])
    }

    fn value(&mut self) -> Bytes {
        let len = if self.dice.one_in(40) { 9_000 } else { 40 };
        envelope::seal(&vec![self.dice.below(256) as u8; self.dice.below(len) as usize])
    }

    /// A row that a claim of its lane may bring along.
    fn item(&mut self) -> Key {
        let lane = self.lane();
        Key::new(KV, 3, 0).lane(&lane).u64(self.dice.below(4))
    }

    fn queue(&mut self) -> Queue {
        Queue(self.dice.below(2) + 1)
    }

    fn lane(&mut self) -> Bytes {
        Bytes::from(vec![b'l', self.dice.below(4) as u8])
    }

    fn part(&mut self) -> Part {
        Part { stream: 5, part: self.dice.below(2) as u16 }
    }

    fn time(&mut self) -> Millis {
        Millis(self.now.0 + self.dice.below(900) as i64 - 100)
    }

    fn handle(&mut self) -> Option<[Handle; 2]> {
        // Mostly a recent one, which may still be good.
        let recent = self.handles.len().saturating_sub(12) as u64;
        let from = if self.dice.one_in(5) { 0 } else { recent };
        let span = (self.handles.len() as u64).checked_sub(from).filter(|span| *span > 0)?;
        self.handles.get((from + self.dice.below(span)) as usize).copied()
    }

    fn stamp(&mut self) -> Option<(Key, [Stamp; 2])> {
        let span = self.stamps.len() as u64;
        if span == 0 {
            return None;
        }
        self.stamps.get(self.dice.below(span) as usize).cloned()
    }

    /// One mutation, as each engine must be told it.
    fn mutation(&mut self) -> [Mutation; 2] {
        let mutation = match self.dice.below(15) {
            0..4 => Mutation::Put {
                key: if self.dice.one_in(5) { self.item() } else { self.key() },
                value: self.value(),
                expires: if self.dice.one_in(4) { Some(self.time()) } else { None },
            },
            4 => Mutation::Delete(self.key()),
            5 => {
                let key = Key::new(KV, 2, 0).u64(self.dice.below(2));
                Mutation::Add { key, delta: self.dice.below(9) as i64 - 4, min: -3, max: 6 }
            }
            6 => {
                let (from, to) = (self.key(), self.key());
                let to = if from.is_ix() == to.is_ix() { to } else { from.clone().raw(b"z") };
                Mutation::DeleteRange { from, to, limit: self.dice.below(4) as u32 + 1 }
            }
            7 => {
                let (queue, due, value) = (self.queue(), self.time(), self.value());
                Mutation::Enqueue { queue, lane: None, due, value }
            }
            8 => {
                let (queue, lane, due, value) = (self.queue(), Some(self.lane()), self.time(), self.value());
                Mutation::Enqueue { queue, lane, due, value }
            }
            9 => Mutation::Arm { queue: self.queue(), lane: self.lane(), due: self.time() },
            10 => return self.settle(),
            11 if self.dice.one_in(6) => {
                Mutation::DropQueue { queue: self.queue(), upto: u64::MAX, limit: self.dice.below(3) as u32 + 1 }
            }
            12 if self.dice.one_in(3) => Mutation::Trim { part: self.part(), upto: self.dice.below(30) },
            _ => Mutation::Emit { part: self.part(), body: self.value() },
        };
        [mutation.clone(), mutation]
    }

    fn settle(&mut self) -> [Mutation; 2] {
        let to = match self.dice.below(6) {
            0 | 1 => Settle::Ack,
            2 => Settle::Again { due: self.time(), value: None },
            3 => Settle::Again { due: self.time(), value: Some(self.value()) },
            4 => Settle::Extend { due: self.time() },
            _ => Settle::Move { queue: self.queue(), due: self.time() },
        };
        let none = Handle { queue: Queue(1), id: u64::MAX >> 1, lease: Stamp(1) };
        self.handle().unwrap_or([none; 2]).map(|handle| Mutation::Settle { handle, to: to.clone() })
    }

    fn check(&mut self) -> [Check; 2] {
        let check = match self.dice.below(4) {
            0 => Check::Exists(self.key()),
            1 => Check::Absent(self.key()),
            2 => match self.stamp() {
                Some((key, stamps)) => return stamps.map(|stamp| Check::Ver(key.clone(), stamp)),
                None => Check::Absent(self.key()),
            },
            _ => match self.handle() {
                Some(handles) => return handles.map(Check::Lease),
                None => Check::Absent(self.key()),
            },
        };
        [check.clone(), check]
    }

    /// One transaction, as each engine must be told it, and the keys that it writes for sure.
    fn txn(&mut self) -> ([Txn; 2], Vec<Key>) {
        let mut txns = [Txn::new(), Txn::new()];
        if self.dice.one_in(6)
            && let Some((key, stamps)) = self.stamp()
        {
            txns.iter_mut().zip(stamps).for_each(|(txn, stamp)| txn.guards.push((key.clone(), stamp)));
        }
        if self.dice.one_in(3) {
            txns.iter_mut().zip(self.check()).for_each(|(txn, check)| txn.checks.push(check));
        }
        for _ in 0..self.dice.below(4) {
            txns.iter_mut().zip(self.mutation()).for_each(|(txn, mutation)| txn.muts.push(mutation));
        }
        if self.dice.one_in(3) {
            let keys = vec![self.key(), self.key()];
            txns = txns.map(|txn| txn.rule(keys.clone(), decide));
        }
        if self.dice.one_in(8) {
            let id = [self.dice.below(20) as u8; 16];
            txns = txns.map(|txn| txn.id(id));
        }
        if self.dice.one_in(2) {
            txns = txns.map(Txn::lazy);
        }
        let written = txns[0].muts.iter().filter_map(written).collect();
        (txns, written)
    }

    async fn commit(&mut self, at: &str) {
        let count = if self.dice.one_in(3) { self.dice.below(14) + 2 } else { 1 };
        let (mut a, mut b, mut written) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..count {
            let ([one, other], keys) = self.txn();
            a.push(one);
            b.push(other);
            written.push(keys);
        }
        let texts: Vec<String> = a.iter().map(|txn| format!("{txn:?}")).collect();
        // Each is handed over when it is first polled, so both engines see the same order.
        let a = join_all(a.into_iter().map(|txn| self.engines[0].commit(txn))).await;
        let b = join_all(b.into_iter().map(|txn| self.engines[1].commit(txn))).await;
        for (((a, b), written), text) in a.into_iter().zip(b).zip(written).zip(texts) {
            assert_eq!(outcome(&a), outcome(&b), "{at}, one of {count}: {text}");
            if let (Ok(a), Ok(b)) = (a, b) {
                self.handles.extend(a.handles.into_iter().zip(b.handles).map(|(a, b)| [a, b]));
                self.stamps.extend(written.into_iter().map(|key| (key, [a.stamp, b.stamp])));
            }
        }
    }

    async fn claim(&mut self, at: &str) {
        let queue = self.queue();
        let mut spec = ClaimSpec::new(self.dice.below(3) as u32 + 1, Millis(self.dice.below(500) as i64 + 1));
        if self.dice.one_in(2) {
            spec = spec.lazy();
        }
        if self.dice.one_in(3) {
            spec = spec.items(Key::new(KV, 3, 0), self.dice.below(3) as u32 + 1);
        }
        let a = self.engines[0].claim(queue, spec.clone()).await.expect("claim");
        let b = self.engines[1].claim(queue, spec).await.expect("claim");
        let seen = |claimed: &[Claimed]| -> Vec<_> {
            let items =
                |c: &Claimed| c.items.iter().map(|row| (row.key.clone(), row.value.clone())).collect::<Vec<_>>();
            claimed.iter().map(|c| (c.lane.clone(), c.value.clone(), c.tries, c.due, items(c))).collect()
        };
        assert_eq!(seen(&a), seen(&b), "{at}: claim {queue:?}");
        self.handles.extend(a.into_iter().zip(b).map(|(a, b)| [a.handle, b.handle]));
    }

    fn range(&mut self) -> impl Fn() -> Range + use<> {
        let bound = |key: Key, n: u64| match n {
            0 => Bound::Included(key),
            1 => Bound::Excluded(key),
            _ => Bound::Unbounded,
        };
        let (from, to) = (self.key(), self.key());
        let (from, to) = (bound(from, self.dice.below(3)), bound(to, self.dice.below(3)));
        let (limit, bytes) = if self.dice.one_in(3) { (400, 1 << 20) } else { (6, 300) };
        let (reverse, limit, bytes) =
            (self.dice.one_in(2), self.dice.below(limit) as usize, self.dice.below(bytes) as usize);
        let (fold, sift) = (self.dice.one_in(2), self.dice.one_in(2));
        move || {
            let mut range = Range::new(from.clone(), to.clone()).reversed(reverse).limit(limit).max_bytes(bytes + 60);
            if fold {
                range = range.fold(Key::HEAD, "/");
            }
            if sift {
                range = range.sift(|_, value| match value.get(5).map_or(0, |byte| byte % 8) {
                    0 => Keep::Stop,
                    1..3 => Keep::Skip,
                    _ => Keep::Take,
                });
            }
            range
        }
    }

    async fn read(&mut self, at: &str) {
        let (key, range, queue, part) = (self.key(), self.range(), self.queue(), self.part());
        let ops = || vec![ReadOp::Range(range()), ReadOp::Get(key.clone()), ReadOp::Depth(queue), ReadOp::Head(part)];
        let text = format!("{:?}", ops());
        let mut outs = Vec::new();
        for engine in self.engines {
            let mut out = engine.read(ops(), Consistency::Strong).await.expect("read");
            out.iter_mut().for_each(forget_stamps);
            outs.push(format!("{out:?}"));
        }
        assert_eq!(outs[0], outs[1], "{at}: {text}");
    }

    async fn watch(&mut self, at: &str) {
        let (part, after) = (self.part(), self.dice.below(40));
        let mut seen = Vec::new();
        for engine in self.engines {
            let Some(ReadOut::Head(head)) =
                engine.read(vec![ReadOp::Head(part)], Consistency::Strong).await.expect("read").pop()
            else {
                panic!("{at}: head")
            };
            let mut changes = Vec::new();
            let mut watch = engine.watch(part, after);
            let mut last = after;
            while last < head {
                let change = watch.next().await.expect("a watch goes on").map_err(|error| error.to_string());
                last = change.as_ref().map_or(u64::MAX, |change| change.seq);
                changes.push(change);
            }
            seen.push(changes);
        }
        assert_eq!(seen[0], seen[1], "{at}: watch {part:?} after {after}");
    }
}

/// A rule of all kinds: refuses, writes, deletes, emits, by what it sees.
fn decide(view: &crate::View<'_>, out: &mut Vec<Mutation>) -> std::result::Result<usize, u8> {
    let size = view.rows.iter().flatten().map(|row| row.value.len()).sum::<usize>();
    match size % 7 {
        0 if view.row(0).is_some() => return Err(view.value(0).map_or(0, |value| value.len() as u8)),
        1 | 2 => out.delete(view.key(0)),
        3 => out.emit(Part { stream: 5, part: 1 }, vec![size as u8]),
        4 => out.put_until(view.key(1), envelope::seal(b"soon gone"), Millis(view.now.0 + 200)),
        _ => out.put(view.key(1), envelope::seal(&size.to_be_bytes())),
    }
    assert!(size % 31 != 30, "a rule may panic");
    Ok(size)
}

fn written(mutation: &Mutation) -> Option<Key> {
    match mutation {
        Mutation::Put { key, .. } | Mutation::Add { key, .. } => Some(key.clone()),
        _ => None,
    }
}

fn outcome(done: &Result<Committed>) -> String {
    match done {
        Ok(done) => {
            let reply = done.reply.as_ref().and_then(|reply| reply.downcast_ref::<usize>());
            format!("ok {reply:?} {} handles, {} removed", done.handles.len(), done.removed)
        }
        Err(Error::Rejected(reply)) => format!("rejected {:?}", reply.downcast_ref::<u8>()),
        Err(other) => format!("{other:?}"),
    }
}

fn forget_stamps(out: &mut ReadOut) {
    let rows = match out {
        ReadOut::Row(row) => row.iter_mut().collect::<Vec<_>>(),
        ReadOut::Rows(page) => page.rows.iter_mut().collect(),
        _ => Vec::new(),
    };
    rows.into_iter().for_each(|row| row.ver = Stamp(0));
}
