//! Queues of the model: entries, lanes and leases.

use bytes::Bytes;
use squall_store::engine::is_live;
use squall_store::{ClaimSpec, Claimed, Error, Handle, Key, Queue, Result, Row, Settle, Stamp};
use squall_types::Millis;

use crate::model::{Entry, Model};

const FREE: Stamp = Stamp(0);

pub(crate) fn enqueue(model: &mut Model, queue: Queue, lane: Option<Bytes>, due: Millis, value: Bytes) -> u64 {
    if let Some(old) = lane.as_ref().and_then(|lane| model.lane(queue, lane)) {
        model.set_entry(old, None);
    }
    let id = model.next_id();
    model.set_entry(id, Some(Entry { queue, lane, due, lease: FREE, tries: 0, value, armed: None }));
    id
}

pub(crate) fn arm(model: &mut Model, queue: Queue, lane: Bytes, due: Millis) {
    let old = model.lane(queue, &lane).and_then(|id| Some((id, model.entries.get(&id)?.clone())));
    let Some((id, mut entry)) = old else {
        enqueue(model, queue, Some(lane), due, Bytes::new());
        return;
    };
    // An expired lease counts as held too: its holder may still settle, and must not take the call away.
    if entry.lease == FREE {
        entry.due = entry.due.min(due);
    } else {
        entry.armed = Some(entry.armed.map_or(due, |armed| armed.min(due)));
    }
    model.set_entry(id, Some(entry));
}

pub(crate) fn settle(model: &mut Model, handle: &Handle, to: Settle) -> Result<()> {
    let mut entry = model.held(handle).ok_or(Error::Stale)?.clone();
    let armed = entry.armed;
    let earliest = |due: Millis| armed.map_or(due, |armed| armed.min(due));
    match to {
        Settle::Ack => match armed {
            Some(armed) => {
                let free = Entry { due: armed, lease: FREE, tries: 0, armed: None, ..entry };
                model.set_entry(handle.id, Some(free));
            }
            None => model.set_entry(handle.id, None),
        },
        Settle::Again { due, value } => {
            entry.value = value.unwrap_or(entry.value);
            let free = Entry { due: earliest(due), lease: FREE, armed: None, ..entry };
            model.set_entry(handle.id, Some(free));
        }
        Settle::Extend { due } => model.set_entry(handle.id, Some(Entry { due, ..entry })),
        Settle::Move { queue, due } => {
            model.set_entry(handle.id, None);
            enqueue(model, queue, entry.lane, earliest(due), entry.value);
        }
    }
    Ok(())
}

pub(crate) fn drop(model: &mut Model, queue: Queue, upto: u64, limit: u32) -> u64 {
    let ids = model.due.range((queue, Millis(i64::MIN), 0)..=(queue, Millis(i64::MAX), u64::MAX));
    let ids: Vec<u64> = ids.map(|(_, _, id)| *id).filter(|id| *id <= upto).take(limit as usize).collect();
    for id in &ids {
        model.set_entry(*id, None);
    }
    ids.len() as u64
}

pub(crate) fn next_due(model: &Model, queue: Queue) -> Option<Millis> {
    let mut entries = model.due.range((queue, Millis(i64::MIN), 0)..=(queue, Millis(i64::MAX), u64::MAX));
    entries.next().map(|(_, due, _)| *due)
}

/// Ready, leased and delayed entries.
pub(crate) fn depth(model: &Model, queue: Queue, now: Millis) -> (u64, u64, u64) {
    let (mut ready, mut leased, mut delayed) = (0, 0, 0);
    for (_, due, id) in model.due.range((queue, Millis(i64::MIN), 0)..=(queue, Millis(i64::MAX), u64::MAX)) {
        let held = model.entries.get(id).is_some_and(|entry| entry.lease != FREE);
        match (*due <= now, held) {
            (true, _) => ready += 1,
            (false, true) => leased += 1,
            (false, false) => delayed += 1,
        }
    }
    (ready, leased, delayed)
}

pub(crate) fn claim(model: &mut Model, queue: Queue, spec: &ClaimSpec, now: Millis) -> Vec<Claimed> {
    let due = model.due.range((queue, Millis(i64::MIN), 0)..=(queue, now, u64::MAX));
    let ids: Vec<u64> = due.take(spec.lanes as usize).map(|(_, _, id)| *id).collect();
    if ids.is_empty() {
        return Vec::new();
    }
    let lease = model.next_stamp();
    let mut claimed = Vec::with_capacity(ids.len());
    for id in ids {
        let Some(mut entry) = model.entries.get(&id).cloned() else { continue };
        let due = entry.due;
        entry.due = Millis(now.0.saturating_add(spec.lease.0));
        entry.lease = lease;
        entry.tries = entry.tries.saturating_add(1);
        // The claimer sees all that the lane was armed for.
        entry.armed = None;
        let items = match (&spec.items, &entry.lane) {
            (Some((prefix, rows)), Some(lane)) => items(model, prefix.clone().lane(lane), *rows, now),
            _ => Vec::new(),
        };
        let handle = Handle { queue, id, lease };
        let (lane, value, tries) = (entry.lane.clone(), entry.value.clone(), entry.tries);
        claimed.push(Claimed { handle, lane, value, tries, due, items });
        model.set_entry(id, Some(entry));
    }
    // A claim is a transaction of its own that cannot fail; it wakes nobody.
    model.keep(None, lease, now);
    model.take_touched();
    claimed
}

fn items(model: &Model, prefix: Key, rows: u32, now: Millis) -> Vec<Row> {
    let range = (std::ops::Bound::Included(prefix.clone()), prefix.prefix_end());
    let live = model.rows.range(range).filter(|(_, record)| is_live(record.expires, now));
    let row = |(key, record): (&Key, &crate::model::Record)| Row {
        key: key.clone(),
        value: record.value.clone(),
        ver: record.ver,
    };
    live.take(rows as usize).map(row).collect()
}
