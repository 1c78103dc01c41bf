//! What a batch must lock and read before its transactions can be decided.

use std::collections::{BTreeMap, BTreeSet};

use squall_store::{Bytes, Check, Handle, Key, Mutation, Queue, Txn};

/// Rows read ahead of a slice beyond what it may remove, so that it need not be asked for twice.
const SLACK: usize = 64;

/// Sorted, so that two nodes lock in the same order.
#[derive(Default)]
pub(crate) struct Needs {
    /// Rows to lock for writing.
    pub rows: BTreeSet<Key>,
    /// Rows that must not change meanwhile, which others may lock likewise.
    pub shared: BTreeSet<Key>,
    /// Entries by id.
    pub entries: BTreeSet<u64>,
    /// Entries by lane.
    pub lanes: BTreeSet<(Queue, Bytes)>,
    /// Transaction ids.
    pub ids: BTreeSet<[u8; 16]>,
    /// The first rows of ranges: how many.
    pub ranges: BTreeMap<(Key, Key), usize>,
    /// The first entries of queues up to an id: how many.
    pub queues: BTreeMap<(Queue, u64), usize>,
}

impl Needs {
    /// How much it is, roughly, in rows.
    pub fn len(&self) -> usize {
        let slices = self.ranges.values().sum::<usize>() + self.queues.values().sum::<usize>();
        self.rows.len() + self.shared.len() + self.entries.len() + self.lanes.len() + self.ids.len() + slices
    }

    /// What can be told of a transaction without running its rule.
    pub fn of(&mut self, txn: &Txn) {
        self.shared.extend(txn.guards.iter().map(|(key, _)| key.clone()));
        self.ids.extend(txn.id);
        for check in &txn.checks {
            match check {
                Check::Exists(key) | Check::Absent(key) | Check::Ver(key, _) => {
                    self.rows.insert(key.clone());
                }
                Check::Lease(handle) => self.handle(handle),
            }
        }
        if let Some((keys, _)) = &txn.rule {
            self.rows.extend(keys.iter().cloned());
        }
        txn.muts.iter().for_each(|mutation| self.of_mutation(mutation));
    }

    fn of_mutation(&mut self, mutation: &Mutation) {
        match mutation {
            Mutation::Add { key, .. } => {
                self.rows.insert(key.clone());
            }
            Mutation::Enqueue { queue, lane: Some(lane), .. } | Mutation::Arm { queue, lane, .. } => {
                self.lanes.insert((*queue, lane.clone()));
            }
            // The lane that a move replaces is known once the entry is; it is asked for then.
            Mutation::Settle { handle, .. } => self.handle(handle),
            Mutation::DeleteRange { from, to, limit } if from < to => {
                self.range(from, to, *limit as usize);
            }
            Mutation::DropQueue { queue, upto, limit } => self.queue(*queue, *upto, *limit as usize),
            _ => {}
        }
    }

    pub fn handle(&mut self, handle: &Handle) {
        self.entries.insert(handle.id);
    }

    pub fn range(&mut self, from: &Key, to: &Key, count: usize) {
        let slot = self.ranges.entry((from.clone(), to.clone())).or_default();
        *slot = (*slot).max(count + SLACK);
    }

    pub fn queue(&mut self, queue: Queue, upto: u64, count: usize) {
        let slot = self.queues.entry((queue, upto)).or_default();
        *slot = (*slot).max(count + SLACK);
    }
}
