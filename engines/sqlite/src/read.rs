//! Reads in SQL.

use std::ops::Bound;

use bytes::Bytes;
use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, params_from_iter};
use squall_store::engine::{Scan, Step, is_empty, is_live};
use squall_store::{Key, Page, Range, ReadOp, ReadOut, Stamp};
use squall_types::Millis;

use crate::pool::snapshot;
use crate::{apply, queues, streams};

/// Rows and bytes up to which a range is read on the calling thread.
const INLINE_ROWS: usize = 64;
const INLINE_BYTES: usize = 128 << 10;

/// Whether the reads are short enough for an async thread.
pub(crate) fn is_quick(ops: &[ReadOp]) -> bool {
    let quick = |op: &ReadOp| match op {
        ReadOp::Get(_) | ReadOp::Head(_) => true,
        ReadOp::Range(range) => (range.limit <= INLINE_ROWS && range.sift.is_none()) || range.max_bytes <= INLINE_BYTES,
        ReadOp::Depth(_) => false,
    };
    ops.len() <= INLINE_ROWS && ops.iter().all(quick)
}

/// Answers the operations at one snapshot.
pub(crate) fn all(conn: &Connection, ops: Vec<ReadOp>, now: Millis) -> rusqlite::Result<Vec<ReadOut>> {
    // A single statement is a snapshot by itself.
    let single = ops.len() == 1 && !matches!(ops.first(), Some(ReadOp::Range(Range { fold: Some(_), .. })));
    let read = |conn: &Connection| ops.into_iter().map(|op| one(conn, op, now)).collect();
    if single { read(conn) } else { snapshot(conn, read) }
}

fn one(conn: &Connection, op: ReadOp, now: Millis) -> rusqlite::Result<ReadOut> {
    Ok(match op {
        ReadOp::Get(key) => ReadOut::Row(apply::row(conn, &key, now)?),
        ReadOp::Range(range) => ReadOut::Rows(page(conn, range, now)?),
        ReadOp::Depth(queue) => {
            let (ready, leased, delayed) = queues::depth(conn, queue, now)?;
            ReadOut::Depth { ready, leased, delayed }
        }
        ReadOp::Head(part) => ReadOut::Head(streams::head(conn, part)?.0),
    })
}

fn page(conn: &Connection, range: Range, now: Millis) -> rusqlite::Result<Page> {
    let (is_ix, reverse) = (range.is_ix(), range.reverse);
    let (mut scan, mut from, mut to) = Scan::new(range);
    while !is_empty(&from, &to) {
        match walk(conn, &mut scan, (is_ix, reverse), &from, &to, now)? {
            Some(bound) if reverse => to = bound,
            Some(bound) => from = bound,
            None => break,
        }
    }
    Ok(scan.finish())
}

/// Offers rows until the page is complete or the range exhausted (`None`), or the scan jumps.
fn walk(
    conn: &Connection,
    scan: &mut Scan,
    (is_ix, reverse): (bool, bool),
    from: &Bound<Key>,
    to: &Bound<Key>,
    now: Millis,
) -> rusqlite::Result<Option<Bound<Key>>> {
    let (mut statement, bounds) = select(conn, is_ix, reverse, from, to)?;
    let mut rows = statement.query(params_from_iter(bounds))?;
    while let Some(row) = rows.next()? {
        if !is_live(row.get::<_, Option<i64>>(3)?.map(Millis), now) {
            continue;
        }
        let (key, value) = (row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
        let ver = Stamp(row.get(2)?);
        match scan.offer(key, value, || (Key::from_bytes(key.to_vec()), Bytes::copy_from_slice(value), ver)) {
            Step::Next => {}
            Step::Done => return Ok(None),
            Step::Jump(bound) => return Ok(Some(bound)),
        }
    }
    Ok(None)
}

fn select<'c>(
    conn: &'c Connection,
    is_ix: bool,
    reverse: bool,
    from: &Bound<Key>,
    to: &Bound<Key>,
) -> rusqlite::Result<(CachedStatement<'c>, Vec<Value>)> {
    let table = if is_ix { "ix" } else { "kv" };
    let mut sql = format!("select k, v, ver, exp from {table}");
    let mut bounds = Vec::with_capacity(2);
    for (bound, including, excluding) in [(from, ">=", ">"), (to, "<=", "<")] {
        let (key, op) = match bound {
            Bound::Included(key) => (key, including),
            Bound::Excluded(key) => (key, excluding),
            Bound::Unbounded => continue,
        };
        sql += if bounds.is_empty() { " where k " } else { " and k " };
        sql += op;
        sql += if bounds.is_empty() { " ?1" } else { " ?2" };
        bounds.push(Value::Blob(key.as_bytes().to_vec()));
    }
    sql += if reverse { " order by k desc" } else { " order by k" };
    Ok((conn.prepare_cached(&sql)?, bounds))
}
