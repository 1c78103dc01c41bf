//! The model: ordered maps with their indexes, and the undo log that makes transactions atomic.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use bytes::Bytes;
use squall_store::engine::is_live;
use squall_store::{Change, Error, Handle, Key, Part, Queue, Result, Row, Stamp};
use squall_types::Millis;

use crate::rows::Rows;

/// Changes of one page of a watch.
const WATCH_PAGE: usize = 256;
/// Expired rows removed with each transaction: more than a transaction usually adds.
const SWEEP: usize = 8;

#[derive(Clone)]
pub(crate) struct Record {
    pub value: Bytes,
    pub ver: Stamp,
    pub expires: Option<Millis>,
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub queue: Queue,
    pub lane: Option<Bytes>,
    pub due: Millis,
    /// `Stamp(0)` while nobody holds it.
    pub lease: Stamp,
    pub tries: u32,
    pub value: Bytes,
    /// The lane was armed for this time while it was leased.
    pub armed: Option<Millis>,
}

#[derive(Default)]
pub(crate) struct Log {
    pub seq: u64,
    pub low: u64,
    pub changes: BTreeMap<u64, (Millis, Bytes)>,
}

/// What a transaction touched, for those who wait.
#[derive(Default)]
pub(crate) struct Touched {
    pub parts: Vec<Part>,
    pub queues: Vec<Queue>,
}

enum Undo {
    Row(Key, Option<Record>),
    Entry(u64, Option<Entry>),
    Emit(Part),
}

#[derive(Default)]
pub(crate) struct Model {
    pub rows: Rows,
    expiring: BTreeSet<(Millis, Key)>,
    pub entries: BTreeMap<u64, Entry>,
    pub due: BTreeSet<(Queue, Millis, u64)>,
    lanes: HashMap<(Queue, Bytes), u64>,
    pub logs: BTreeMap<Part, Log>,
    trims: Vec<(Part, u64)>,
    outcomes: HashMap<[u8; 16], Stamp>,
    outcome_ages: VecDeque<(Millis, [u8; 16])>,
    stamp: i64,
    last_id: u64,
    undo: Vec<Undo>,
    touched: Touched,
}

impl Model {
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.entries.is_empty() && self.logs.is_empty()
    }

    pub fn next_stamp(&mut self) -> Stamp {
        self.stamp += 1;
        Stamp(self.stamp)
    }

    pub fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The record of a key, unless it has expired.
    pub fn live(&self, key: &Key, now: Millis) -> Option<&Record> {
        self.rows.get(key).filter(|record| is_live(record.expires, now))
    }

    pub fn row(&self, key: &Key, now: Millis) -> Option<Row> {
        let record = self.live(key, now)?;
        Some(Row { key: key.clone(), value: record.value.clone(), ver: record.ver })
    }

    pub fn set_row(&mut self, key: Key, record: Option<Record>) {
        let old = self.place_row(key.clone(), record);
        self.undo.push(Undo::Row(key, old));
    }

    fn place_row(&mut self, key: Key, record: Option<Record>) -> Option<Record> {
        if let Some(expires) = record.as_ref().and_then(|record| record.expires) {
            self.expiring.insert((expires, key.clone()));
        }
        let expires = record.as_ref().and_then(|record| record.expires);
        let old = match record {
            Some(record) => self.rows.insert(key.clone(), record),
            None => self.rows.remove(&key),
        };
        match old.as_ref().and_then(|old| old.expires) {
            Some(was) if Some(was) != expires => self.expiring.remove(&(was, key)),
            _ => false,
        };
        old
    }

    pub fn set_entry(&mut self, id: u64, entry: Option<Entry>) {
        if let Some(entry) = &entry {
            self.touched.queues.push(entry.queue);
        }
        let old = self.place_entry(id, entry);
        self.undo.push(Undo::Entry(id, old));
    }

    fn place_entry(&mut self, id: u64, entry: Option<Entry>) -> Option<Entry> {
        let old = self.entries.remove(&id);
        if let Some(old) = &old {
            self.due.remove(&(old.queue, old.due, id));
            if let Some(lane) = &old.lane {
                self.lanes.remove(&(old.queue, lane.clone()));
            }
        }
        if let Some(entry) = entry {
            self.due.insert((entry.queue, entry.due, id));
            if let Some(lane) = &entry.lane {
                self.lanes.insert((entry.queue, lane.clone()), id);
            }
            self.entries.insert(id, entry);
        }
        old
    }

    pub fn lane(&self, queue: Queue, lane: &Bytes) -> Option<u64> {
        self.lanes.get(&(queue, lane.clone())).copied()
    }

    /// The entry that a handle names, if the handle is still good.
    pub fn held(&self, handle: &Handle) -> Option<&Entry> {
        let entry = self.entries.get(&handle.id)?;
        (entry.queue == handle.queue && entry.lease == handle.lease).then_some(entry)
    }

    pub fn emit(&mut self, part: Part, at: Millis, body: Bytes) {
        let log = self.logs.entry(part).or_default();
        log.seq += 1;
        log.changes.insert(log.seq, (at, body));
        self.undo.push(Undo::Emit(part));
        self.touched.parts.push(part);
    }

    /// Trims once the transaction has succeeded: what is trimmed cannot be brought back.
    pub fn trim_later(&mut self, part: Part, upto: u64) {
        self.trims.push((part, upto.min(self.logs.get(&part).map_or(0, |log| log.seq))));
    }

    pub fn changes_after(&self, part: Part, after: u64) -> Result<Vec<Change>> {
        let Some(log) = self.logs.get(&part) else { return Ok(Vec::new()) };
        if after < log.low {
            return Err(Error::Trimmed);
        }
        let Some(first) = after.checked_add(1) else { return Ok(Vec::new()) };
        let changes = log.changes.range(first..).take(WATCH_PAGE);
        Ok(changes.map(|(seq, (at, body))| Change { seq: *seq, at: *at, body: body.clone() }).collect())
    }

    pub fn outcome(&self, id: &[u8; 16]) -> Option<Stamp> {
        self.outcomes.get(id).copied()
    }

    /// Ends a transaction that succeeded.
    pub fn keep(&mut self, id: Option<[u8; 16]>, stamp: Stamp, now: Millis) {
        self.undo.clear();
        for (part, upto) in std::mem::take(&mut self.trims) {
            if let Some(log) = self.logs.get_mut(&part) {
                log.low = log.low.max(upto);
                log.changes = log.changes.split_off(&(log.low + 1));
            }
        }
        if let Some(id) = id {
            self.outcomes.insert(id, stamp);
            self.outcome_ages.push_back((now, id));
        }
        while let Some((at, id)) = self.outcome_ages.front().copied() {
            if now.0.saturating_sub(at.0) <= squall_store::engine::OUTCOME_KEPT.0 {
                break;
            }
            self.outcome_ages.pop_front();
            self.outcomes.remove(&id);
        }
        self.sweep(now);
    }

    fn sweep(&mut self, now: Millis) {
        for _ in 0..SWEEP {
            match self.expiring.first() {
                Some((expires, key)) if *expires <= now => {
                    let key = key.clone();
                    self.place_row(key, None);
                }
                _ => return,
            }
        }
    }

    /// Takes back a transaction that was refused.
    pub fn revert(&mut self) {
        self.trims.clear();
        self.touched = Touched::default();
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Row(key, old) => {
                    self.place_row(key, old);
                }
                Undo::Entry(id, old) => {
                    self.place_entry(id, old);
                }
                Undo::Emit(part) => {
                    if let Some(log) = self.logs.get_mut(&part) {
                        log.changes.remove(&log.seq);
                        log.seq -= 1;
                    }
                    if self.logs.get(&part).is_some_and(|log| log.seq == 0) {
                        self.logs.remove(&part);
                    }
                }
            }
        }
    }

    pub fn take_touched(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }

    /// Sets a stream part's position (import).
    pub fn set_log(&mut self, part: Part, log: Log) {
        self.logs.insert(part, log);
    }
}
