//! The part of the state that a batch has to itself, and what its transactions make of it, in arrival order.
//!
//! A transaction is decided by the same steps as on the other engines, over rows and entries in memory. When it touches
//! something that was not loaded it stops, the overlay names what is missing ([`Overlay::missing`]), and it runs again
//! after the load. A refused transaction is undone. Nothing here does I/O; [`crate::write`] turns the outcome into
//! statements.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use squall_store::engine::{is_live, run_rule};
use squall_store::{
    Bytes, Check, Committed, Error, Handle, Key, Mutation, Part, Queue, Result, Row, Stamp, Txn, envelope, limits,
};
use squall_types::Millis;

use crate::entries::Entries;
use crate::needs::Needs;

/// Why a transaction stopped.
pub(crate) enum Stop {
    Refused(Error),
    /// Something is not loaded; it is in [`Overlay::missing`].
    Missing,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Refused(error)
    }
}

pub(crate) type Outcome<T> = std::result::Result<T, Stop>;

/// What is in the table under a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Base {
    /// Not looked at: a blind write.
    Unread,
    /// No row, as far as anybody can see; another node may be inserting it.
    Absent,
    /// A row, locked.
    Present,
}

#[derive(Clone)]
pub(crate) struct Record {
    pub value: Bytes,
    pub ver: Stamp,
    pub exp: Option<Millis>,
}

#[derive(Clone)]
pub(crate) struct Slot {
    pub base: Base,
    pub row: Option<Record>,
    pub dirty: bool,
}

/// The first live rows of a range, as locked.
pub(crate) struct Slice<T> {
    pub items: Vec<T>,
    /// How many were asked for; fewer came only if there are no more.
    pub asked: usize,
}

impl<T> Slice<T> {
    pub fn is_enough(&self, wanted: usize) -> bool {
        self.asked >= wanted || self.items.len() < self.asked
    }
}

/// What happened to a stream part, in order.
pub(crate) enum Event {
    Emit(Bytes),
    Trim(u64),
}

enum Undo {
    Row(Key, Option<Slot>),
    Id([u8; 16]),
}

#[derive(Default)]
pub(crate) struct Overlay {
    pub rows: BTreeMap<Key, Slot>,
    pub ranges: HashMap<(Key, Key), Slice<Key>>,
    pub entries: Entries,
    pub ids: HashMap<[u8; 16], Option<Stamp>>,
    pub new_ids: Vec<([u8; 16], Stamp)>,
    pub events: Vec<(Part, Event)>,
    /// Rows whose absence a transaction relied on.
    pub relied: BTreeSet<Key>,
    /// Whether other servers write too: then neither a transaction nor a refusal may rest on an absence that has ended.
    pub has_others: bool,
    /// Queues with an entry that may be due earlier than before.
    pub touched: Vec<Queue>,
    pub missing: Needs,
    undo: Vec<Undo>,
    reads: Vec<Key>,
}

/// The numbers that a batch gives out.
pub(crate) struct Numbers {
    pub now: Millis,
    next: i64,
}

impl Numbers {
    /// Begins above every number given out before.
    pub fn new(now: Millis, next: i64) -> Numbers {
        Numbers { now, next }
    }

    pub fn next(&mut self) -> i64 {
        self.next += 1;
        self.next
    }

    pub fn last(&self) -> i64 {
        self.next
    }
}

impl Overlay {
    /// An empty one.
    pub fn new(has_others: bool) -> Overlay {
        Overlay { has_others, ..Overlay::default() }
    }

    /// Applies a transaction whole, or leaves the overlay as it was.
    pub fn txn(&mut self, txn: &Txn, numbers: &mut Numbers) -> Outcome<Committed> {
        let marks = (self.events.len(), self.touched.len());
        let done = self.attempt(txn, numbers);
        match &done {
            Ok(_) => {
                self.undo.clear();
                self.entries.keep();
                self.rely();
            }
            Err(stop) => {
                if matches!(stop, Stop::Refused(_)) {
                    self.rely();
                }
                self.revert(marks);
            }
        }
        done
    }

    /// What was just decided rests on these absences. Where nobody else writes they last by themselves.
    fn rely(&mut self) {
        if self.has_others {
            self.relied.extend(self.reads.drain(..));
        }
        self.reads.clear();
    }

    /// Runs a transaction only to learn what it needs.
    pub fn probe(&mut self, txn: &Txn, numbers: &mut Numbers) {
        let marks = (self.events.len(), self.touched.len());
        drop(self.attempt(txn, numbers));
        self.revert(marks);
    }

    fn revert(&mut self, (events, touched): (usize, usize)) {
        self.events.truncate(events);
        self.touched.truncate(touched);
        self.reads.clear();
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Row(key, Some(slot)) => drop(self.rows.insert(key, slot)),
                Undo::Row(key, None) => drop(self.rows.remove(&key)),
                Undo::Id(id) => {
                    self.ids.insert(id, None);
                    self.new_ids.pop();
                }
            }
        }
        self.entries.revert();
    }

    fn attempt(&mut self, txn: &Txn, numbers: &mut Numbers) -> Outcome<Committed> {
        let now = numbers.now;
        if let Some(id) = &txn.id {
            match self.ids.get(id) {
                Some(Some(stamp)) => {
                    return Ok(Committed { stamp: *stamp, reply: None, handles: Vec::new(), removed: 0 });
                }
                Some(None) => {}
                None => {
                    self.missing.ids.insert(*id);
                    return Err(Stop::Missing);
                }
            }
        }
        for (key, ver) in &txn.guards {
            if self.live(key, now)?.map(|record| record.ver) != Some(*ver) {
                return Err(Error::Guard(key.clone()).into());
            }
        }
        for (index, check) in txn.checks.iter().enumerate() {
            if !self.holds(check, now)? {
                return Err(Error::Check(index).into());
            }
        }
        let mut reply = None;
        let mut more = Vec::new();
        if let Some((keys, rule)) = &txn.rule {
            let rows = keys.iter().map(|key| self.row(key, now)).collect::<Outcome<Vec<_>>>()?;
            let (answer, muts) = run_rule(rule.as_ref(), keys, &rows, now)?;
            reply = Some(answer);
            more = muts;
            within_limits(&txn.muts, &more)?;
        }
        let stamp = Stamp(numbers.next());
        let mut run = Run { over: self, numbers, stamp, handles: Vec::new(), removed: 0 };
        run.all(txn.muts.iter().chain(&more))?;
        let Run { handles, removed, .. } = run;
        if let Some(id) = txn.id {
            self.ids.insert(id, Some(stamp));
            self.new_ids.push((id, stamp));
            self.undo.push(Undo::Id(id));
        }
        Ok(Committed { stamp, reply, handles, removed })
    }

    /// The record of a key, unless it has expired.
    fn live(&mut self, key: &Key, now: Millis) -> Outcome<Option<&Record>> {
        match self.rows.get(key) {
            Some(slot) => {
                if slot.base == Base::Absent {
                    self.reads.push(key.clone());
                }
                Ok(slot.row.as_ref().filter(|record| is_live(record.exp, now)))
            }
            None => {
                self.missing.rows.insert(key.clone());
                Err(Stop::Missing)
            }
        }
    }

    fn row(&mut self, key: &Key, now: Millis) -> Outcome<Option<Row>> {
        let record = self.live(key, now)?;
        Ok(record.map(|record| Row { key: key.clone(), value: record.value.clone(), ver: record.ver }))
    }

    fn holds(&mut self, check: &Check, now: Millis) -> Outcome<bool> {
        Ok(match check {
            Check::Exists(key) => self.live(key, now)?.is_some(),
            Check::Absent(key) => self.live(key, now)?.is_none(),
            Check::Ver(key, ver) => self.live(key, now)?.is_some_and(|record| record.ver == *ver),
            Check::Lease(handle) => self.entries.held(handle, &mut self.missing)?.is_some(),
        })
    }

    fn set(&mut self, key: &Key, row: Option<Record>) {
        let base = self.rows.get(key).map_or(Base::Unread, |slot| slot.base);
        let old = self.rows.insert(key.clone(), Slot { base, row, dirty: true });
        self.undo.push(Undo::Row(key.clone(), old));
    }
}

/// The limits of a transaction hold for its own mutations and its rule's together.
fn within_limits(own: &[Mutation], more: &[Mutation]) -> Result<()> {
    if own.is_empty() {
        // `run_rule` has checked these.
        return Ok(());
    }
    let all: Vec<Mutation> = own.iter().chain(more).cloned().collect();
    limits::mutations(&all)
}

struct Run<'o> {
    over: &'o mut Overlay,
    numbers: &'o mut Numbers,
    stamp: Stamp,
    handles: Vec<Handle>,
    removed: u64,
}

impl Run<'_> {
    /// Applies all, or names everything that is missing for it.
    fn all<'m>(&mut self, muts: impl Iterator<Item = &'m Mutation>) -> Outcome<()> {
        let mut missing = false;
        for mutation in muts {
            match self.one(mutation) {
                Ok(()) => {}
                Err(Stop::Missing) => missing = true,
                // What came before it is not known: neither is its refusal.
                Err(Stop::Refused(_)) if missing => break,
                Err(refused) => return Err(refused),
            }
        }
        if missing { Err(Stop::Missing) } else { Ok(()) }
    }

    fn one(&mut self, mutation: &Mutation) -> Outcome<()> {
        let Run { over, numbers, stamp, .. } = self;
        match mutation {
            Mutation::Put { key, value, expires } => {
                over.set(key, Some(Record { value: value.clone(), ver: *stamp, exp: *expires }));
            }
            Mutation::Delete(key) => over.set(key, None),
            Mutation::Add { key, delta, min, max } => self.add(key, *delta, *min, *max)?,
            Mutation::DeleteRange { from, to, limit } => self.delete_range(from, to, *limit as usize)?,
            Mutation::Enqueue { queue, lane, due, value } => {
                let id = over.entries.enqueue(*queue, lane.as_ref(), *due, value, numbers, &mut over.missing)?;
                over.touched.push(*queue);
                self.handles.push(Handle { queue: *queue, id, lease: Stamp(0) });
            }
            Mutation::Arm { queue, lane, due } => {
                over.entries.arm(*queue, lane, *due, numbers, &mut over.missing)?;
                over.touched.push(*queue);
            }
            Mutation::Settle { handle, to } => {
                let queue = over.entries.settle(handle, to, numbers, &mut over.missing)?;
                over.touched.extend(queue);
            }
            Mutation::DropQueue { queue, upto, limit } => {
                self.removed += over.entries.drop(*queue, *upto, *limit as usize, &mut over.missing)?;
            }
            Mutation::Emit { part, body } => over.events.push((*part, Event::Emit(body.clone()))),
            Mutation::Trim { part, upto } => over.events.push((*part, Event::Trim(*upto))),
        }
        Ok(())
    }

    fn add(&mut self, key: &Key, delta: i64, min: i64, max: i64) -> Outcome<()> {
        let live = self.over.live(key, self.numbers.now)?;
        let now = envelope::open_counter(live.map(|record| record.value.as_ref()))?;
        let exp = live.and_then(|record| record.exp);
        match now.checked_add(delta).filter(|sum| (min..=max).contains(sum)) {
            Some(sum) => {
                self.over.set(key, Some(Record { value: envelope::seal_counter(sum), ver: self.stamp, exp }));
                Ok(())
            }
            None => Err(Error::Bounds { key: key.clone(), now }.into()),
        }
    }

    fn delete_range(&mut self, from: &Key, to: &Key, limit: usize) -> Outcome<()> {
        if from >= to {
            return Ok(());
        }
        let now = self.numbers.now;
        let known = self.over.rows.range(from..to);
        let (mut count, mut keys) = (0, BTreeSet::new());
        for (key, slot) in known {
            count += 1;
            if slot.row.as_ref().is_some_and(|record| is_live(record.exp, now)) {
                keys.insert(key.clone());
            }
        }
        let slice = self.over.ranges.get(&(from.clone(), to.clone())).filter(|slice| slice.is_enough(limit + count));
        let Some(slice) = slice else {
            self.over.missing.range(from, to, limit + count);
            return Err(Stop::Missing);
        };
        let unknown = slice.items.iter().filter(|key| !self.over.rows.contains_key(*key));
        keys.extend(unknown.cloned());
        for key in keys.into_iter().take(limit) {
            let old = self.over.rows.remove(&key);
            // What the slice brought is locked and there; what the overlay knew keeps what it knew.
            let base = old.as_ref().map_or(Base::Present, |slot| slot.base);
            self.over.rows.insert(key.clone(), Slot { base, row: None, dirty: true });
            self.over.undo.push(Undo::Row(key, old));
            self.removed += 1;
        }
        Ok(())
    }
}
