//! Reads of the model.

use std::ops::Bound;

use squall_store::engine::{Scan, Step, is_empty, is_live};
use squall_store::{Key, Page, Range, ReadOp, ReadOut};
use squall_types::Millis;

use crate::model::Model;
use crate::queues;

pub(crate) fn one(model: &Model, op: ReadOp, now: Millis) -> ReadOut {
    match op {
        ReadOp::Get(key) => ReadOut::Row(model.row(&key, now)),
        ReadOp::Range(range) => ReadOut::Rows(page(model, range, now)),
        ReadOp::Depth(queue) => {
            let (ready, leased, delayed) = queues::depth(model, queue, now);
            ReadOut::Depth { ready, leased, delayed }
        }
        ReadOp::Head(part) => ReadOut::Head(model.logs.get(&part).map_or(0, |log| log.seq)),
    }
}

fn page(model: &Model, range: Range, now: Millis) -> Page {
    let (is_ix, reverse) = (range.is_ix(), range.reverse);
    let (mut scan, mut from, mut to) = Scan::new(range);
    // Both tables lie in one map here: a walk must end where its own table does.
    let ix_begins = Key::from_bytes(vec![0x80]);
    if is_ix && from == Bound::Unbounded {
        from = Bound::Included(ix_begins);
    } else if !is_ix && is_beyond(&to, &ix_begins) {
        to = Bound::Excluded(ix_begins);
    }
    'seek: while !is_empty(&from, &to) {
        let mut rows = model.rows.range((from.clone(), to.clone()));
        loop {
            let row = if reverse { rows.next_back() } else { rows.next() };
            let Some((key, record)) = row else { break 'seek };
            if !is_live(record.expires, now) {
                continue;
            }
            match scan.offer(key.as_bytes(), &record.value, || (key.clone(), record.value.clone(), record.ver)) {
                Step::Next => {}
                Step::Done => break 'seek,
                Step::Jump(bound) if reverse => {
                    to = bound;
                    continue 'seek;
                }
                Step::Jump(bound) => {
                    from = bound;
                    continue 'seek;
                }
            }
        }
    }
    scan.finish()
}

fn is_beyond(to: &Bound<Key>, end: &Key) -> bool {
    match to {
        Bound::Unbounded => true,
        Bound::Included(key) | Bound::Excluded(key) => key >= end,
    }
}
