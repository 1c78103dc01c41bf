//! Queue entries of an overlay: lanes, leases, and what settling makes of them.

use std::collections::{BTreeMap, HashMap};

use squall_store::{Bytes, Error, Handle, Queue, Settle, Stamp};
use squall_types::Millis;

use crate::needs::Needs;
use crate::overlay::{Numbers, Outcome, Slice, Stop};

const FREE: Stamp = Stamp(0);

/// Where an entry's value is.
#[derive(Clone)]
pub(crate) enum Value {
    /// In the row with this id: it was not read.
    Stored(u64),
    New(Bytes),
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub queue: Queue,
    pub lane: Option<Bytes>,
    pub due: Millis,
    pub lease: Stamp,
    pub tries: u32,
    pub armed: Option<Millis>,
    pub value: Value,
}

#[derive(Clone)]
pub(crate) struct Slot {
    /// The queue of its row, if there is one (which is locked then).
    pub base: Option<Queue>,
    pub entry: Option<Entry>,
    pub dirty: bool,
}

enum Undo {
    Entry(u64, Option<Slot>),
    Lane((Queue, Bytes), Option<Option<u64>>),
}

#[derive(Default)]
pub(crate) struct Entries {
    pub slots: BTreeMap<u64, Slot>,
    lanes: HashMap<(Queue, Bytes), Option<u64>>,
    /// The first entries of a queue by due time, up to an id: (due, id).
    pub slices: HashMap<(Queue, u64), Slice<(Millis, u64)>>,
    undo: Vec<Undo>,
}

impl Entries {
    pub fn keep(&mut self) {
        self.undo.clear();
    }

    pub fn revert(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Entry(id, Some(slot)) => drop(self.slots.insert(id, slot)),
                Undo::Entry(id, None) => drop(self.slots.remove(&id)),
                Undo::Lane(lane, Some(id)) => drop(self.lanes.insert(lane, id)),
                Undo::Lane(lane, None) => drop(self.lanes.remove(&lane)),
            }
        }
    }

    /// An entry as read and locked. One that is known already stays as the batch made it.
    pub fn loaded(&mut self, id: u64, entry: Option<Entry>) {
        if let Some(Entry { queue, lane: Some(lane), .. }) = &entry {
            self.lanes.entry((*queue, lane.clone())).or_insert(Some(id));
        }
        let base = entry.as_ref().map(|entry| entry.queue);
        self.slots.entry(id).or_insert(Slot { base, entry, dirty: false });
    }

    /// A lane that was asked for and not found.
    pub fn no_lane(&mut self, queue: Queue, lane: Bytes) {
        self.lanes.entry((queue, lane)).or_insert(None);
    }

    pub fn held(&self, handle: &Handle, missing: &mut Needs) -> Outcome<Option<&Entry>> {
        let Some(slot) = self.slots.get(&handle.id) else {
            missing.handle(handle);
            return Err(Stop::Missing);
        };
        Ok(slot.entry.as_ref().filter(|entry| entry.queue == handle.queue && entry.lease == handle.lease))
    }

    fn lane(&self, queue: Queue, lane: &Bytes, missing: &mut Needs) -> Outcome<Option<u64>> {
        let key = (queue, lane.clone());
        match self.lanes.get(&key) {
            Some(id) => Ok(*id),
            None => {
                missing.lanes.insert(key);
                Err(Stop::Missing)
            }
        }
    }

    fn set(&mut self, id: u64, entry: Option<Entry>) {
        let old = self.slots.get(&id);
        let base = old.and_then(|slot| slot.base);
        let was = old.and_then(|slot| slot.entry.as_ref());
        let gone = was.and_then(|entry| Some((entry.queue, entry.lane.clone()?)));
        let here = entry.as_ref().and_then(|entry| Some((entry.queue, entry.lane.clone()?)));
        if gone != here {
            for (lane, to) in gone.map(|lane| (lane, None)).into_iter().chain(here.map(|lane| (lane, Some(id)))) {
                let before = self.lanes.insert(lane.clone(), to);
                self.undo.push(Undo::Lane(lane, before));
            }
        }
        let old = self.slots.insert(id, Slot { base, entry, dirty: true });
        self.undo.push(Undo::Entry(id, old));
    }

    pub fn enqueue(
        &mut self,
        queue: Queue,
        lane: Option<&Bytes>,
        due: Millis,
        value: &Bytes,
        numbers: &mut Numbers,
        missing: &mut Needs,
    ) -> Outcome<u64> {
        let value = Value::New(value.clone());
        self.add(Entry { queue, lane: lane.cloned(), due, lease: FREE, tries: 0, armed: None, value }, numbers, missing)
    }

    /// Adds an entry; one of the same lane is replaced.
    fn add(&mut self, entry: Entry, numbers: &mut Numbers, missing: &mut Needs) -> Outcome<u64> {
        if let Some(lane) = &entry.lane
            && let Some(old) = self.lane(entry.queue, lane, missing)?
        {
            self.set(old, None);
        }
        let id = numbers.next().unsigned_abs();
        self.set(id, Some(entry));
        Ok(id)
    }

    pub fn arm(
        &mut self,
        queue: Queue,
        lane: &Bytes,
        due: Millis,
        numbers: &mut Numbers,
        missing: &mut Needs,
    ) -> Outcome<()> {
        let id = self.lane(queue, lane, missing)?;
        let old = id.and_then(|id| Some((id, self.slots.get(&id)?.entry.clone()?)));
        let Some((id, mut entry)) = old else {
            return self.enqueue(queue, Some(lane), due, &Bytes::new(), numbers, missing).map(drop);
        };
        // An expired lease counts as held too: its holder may still settle, and must not take the call away.
        if entry.lease == FREE {
            entry.due = entry.due.min(due);
        } else {
            entry.armed = Some(entry.armed.map_or(due, |armed| armed.min(due)));
        }
        self.set(id, Some(entry));
        Ok(())
    }

    /// Gives the queue whose entries may be due earlier now.
    pub fn settle(
        &mut self,
        handle: &Handle,
        to: &Settle,
        numbers: &mut Numbers,
        missing: &mut Needs,
    ) -> Outcome<Option<Queue>> {
        let entry = self.held(handle, missing)?.ok_or(Error::Stale)?.clone();
        let armed = entry.armed;
        let earliest = |due: Millis| armed.map_or(due, |armed| armed.min(due));
        let next = match to {
            Settle::Ack => armed.map(|due| Entry { due, lease: FREE, tries: 0, armed: None, ..entry }),
            Settle::Again { due, value } => {
                let value = value.clone().map_or(entry.value, Value::New);
                Some(Entry { due: earliest(*due), lease: FREE, armed: None, value, ..entry })
            }
            Settle::Extend { due } => Some(Entry { due: *due, ..entry }),
            Settle::Move { queue, due } => {
                let due = earliest(*due);
                if let Some(lane) = &entry.lane {
                    self.lane(*queue, lane, missing)?;
                }
                self.set(handle.id, None);
                let moved = Entry { queue: *queue, due, lease: FREE, tries: 0, armed: None, ..entry };
                self.add(moved, numbers, missing)?;
                return Ok(Some(*queue));
            }
        };
        let touched = next.as_ref().map(|entry| entry.queue);
        self.set(handle.id, next);
        Ok(touched)
    }

    pub fn drop(&mut self, queue: Queue, upto: u64, limit: usize, missing: &mut Needs) -> Outcome<u64> {
        let mut known = 0;
        let mut found = Vec::new();
        for (id, slot) in &self.slots {
            known += usize::from(slot.base == Some(queue));
            if let Some(entry) = slot.entry.as_ref().filter(|entry| entry.queue == queue && *id <= upto) {
                found.push((entry.due, *id));
            }
        }
        let slice = self.slices.get(&(queue, upto)).filter(|slice| slice.is_enough(limit + known));
        let Some(slice) = slice else {
            missing.queue(queue, upto, limit + known);
            return Err(Stop::Missing);
        };
        found.extend(slice.items.iter().filter(|(_, id)| !self.slots.contains_key(id)).copied());
        found.sort_unstable();
        found.truncate(limit);
        for (_, id) in &found {
            if !self.slots.contains_key(id) {
                // Locked by the slice, and not otherwise known.
                self.slots.insert(*id, Slot { base: Some(queue), entry: None, dirty: true });
                self.undo.push(Undo::Entry(*id, None));
            } else {
                self.set(*id, None);
            }
        }
        Ok(found.len() as u64)
    }
}
