//! A transaction applied to the model.

use std::ops::Bound;

use squall_store::engine::run_rule;
use squall_store::{Check, Committed, Error, Handle, Key, Mutation, Result, Stamp, Txn, envelope, limits};
use squall_types::Millis;

use crate::model::{Model, Record};
use crate::queues;

/// Applies a transaction whole, or leaves the model as it was.
pub(crate) fn txn(model: &mut Model, txn: Txn, now: Millis) -> Result<Committed> {
    if let Some(stamp) = txn.id.as_ref().and_then(|id| model.outcome(id)) {
        return Ok(Committed { stamp, reply: None, handles: Vec::new(), removed: 0 });
    }
    let id = txn.id;
    let committed = attempt(model, txn, now);
    match &committed {
        Ok(done) => model.keep(id, done.stamp, now),
        Err(_) => model.revert(),
    }
    committed
}

fn attempt(model: &mut Model, txn: Txn, now: Millis) -> Result<Committed> {
    for (key, ver) in txn.guards {
        if model.live(&key, now).map(|record| record.ver) != Some(ver) {
            return Err(Error::Guard(key));
        }
    }
    for (index, check) in txn.checks.iter().enumerate() {
        if !holds(model, check, now) {
            return Err(Error::Check(index));
        }
    }
    let (mut muts, mut reply) = (txn.muts, None);
    if let Some((keys, rule)) = txn.rule {
        let rows: Vec<_> = keys.iter().map(|key| model.row(key, now)).collect();
        let (answer, more) = run_rule(rule.as_ref(), &keys, &rows, now)?;
        reply = Some(answer);
        muts.extend(more);
        limits::mutations(&muts)?;
    }
    let stamp = model.next_stamp();
    let mut run = Run { model, now, stamp, handles: Vec::new(), removed: 0 };
    for mutation in muts {
        run.apply(mutation)?;
    }
    let Run { handles, removed, .. } = run;
    Ok(Committed { stamp, reply, handles, removed })
}

fn holds(model: &Model, check: &Check, now: Millis) -> bool {
    match check {
        Check::Exists(key) => model.live(key, now).is_some(),
        Check::Absent(key) => model.live(key, now).is_none(),
        Check::Ver(key, ver) => model.live(key, now).is_some_and(|record| record.ver == *ver),
        Check::Lease(handle) => model.held(handle).is_some(),
    }
}

struct Run<'m> {
    model: &'m mut Model,
    now: Millis,
    stamp: Stamp,
    handles: Vec<Handle>,
    removed: u64,
}

impl Run<'_> {
    fn apply(&mut self, mutation: Mutation) -> Result<()> {
        let model = &mut *self.model;
        match mutation {
            Mutation::Put { key, value, expires } => {
                model.set_row(key, Some(Record { value, ver: self.stamp, expires }));
            }
            Mutation::Delete(key) => model.set_row(key, None),
            Mutation::Add { key, delta, min, max } => self.add(key, delta, min, max)?,
            Mutation::DeleteRange { from, to, limit } => self.delete_range(&from, &to, limit),
            Mutation::Enqueue { queue, lane, due, value } => {
                let id = queues::enqueue(model, queue, lane, due, value);
                self.handles.push(Handle { queue, id, lease: Stamp(0) });
            }
            Mutation::Arm { queue, lane, due } => queues::arm(model, queue, lane, due),
            Mutation::Settle { handle, to } => queues::settle(model, &handle, to)?,
            Mutation::DropQueue { queue, upto, limit } => self.removed += queues::drop(model, queue, upto, limit),
            Mutation::Emit { part, body } => model.emit(part, self.now, body),
            Mutation::Trim { part, upto } => model.trim_later(part, upto),
        }
        Ok(())
    }

    fn add(&mut self, key: Key, delta: i64, min: i64, max: i64) -> Result<()> {
        let live = self.model.live(&key, self.now);
        let now = envelope::open_counter(live.map(|record| record.value.as_ref()))?;
        let expires = live.and_then(|record| record.expires);
        match now.checked_add(delta).filter(|sum| (min..=max).contains(sum)) {
            Some(sum) => {
                let record = Record { value: envelope::seal_counter(sum), ver: self.stamp, expires };
                self.model.set_row(key, Some(record));
                Ok(())
            }
            None => Err(Error::Bounds { key, now }),
        }
    }

    fn delete_range(&mut self, from: &Key, to: &Key, limit: u32) {
        if from >= to {
            return;
        }
        let now = self.now;
        let rows = self.model.rows.range((Bound::Included(from.clone()), Bound::Excluded(to.clone())));
        let live = rows.filter(|(_, record)| squall_store::engine::is_live(record.expires, now));
        let keys: Vec<Key> = live.take(limit as usize).map(|(key, _)| key.clone()).collect();
        self.removed += keys.len() as u64;
        for key in keys {
            self.model.set_row(key, None);
        }
    }
}
