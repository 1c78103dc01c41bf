//! Locks and reads what a batch needs: statements of one round trip, and their rows into the overlay.

use squall_store::{Bytes, Key, Queue, Stamp};
use squall_types::Millis;
use tokio_postgres::Row;

use crate::conn::Step;
use crate::entries::{Entry, Value};
use crate::needs::Needs;
use crate::overlay::{Base, Overlay, Record, Slice, Slot};

/// The statements that read rows. Entries are locked in any case: the claimer leases them at the same time.
struct Rows {
    kv: &'static str,
    ix: &'static str,
    kv_shared: &'static str,
    ix_shared: &'static str,
    kv_range: &'static str,
    ix_range: &'static str,
}

/// Beside other servers: rows are locked, in key order.
const LOCKED: Rows = Rows {
    kv: "select k, v, ver, exp from kv where k = any($1) order by k for update",
    ix: "select k, v, ver, exp from ix where k = any($1) order by k for update",
    kv_shared: "select k, v, ver, exp from kv where k = any($1) order by k for share",
    ix_shared: "select k, v, ver, exp from ix where k = any($1) order by k for share",
    kv_range: "select k from kv where k >= $1 and k < $2 and (exp is null or exp > $3) order by k limit $4 for update",
    ix_range: "select k from ix where k >= $1 and k < $2 and (exp is null or exp > $3) order by k limit $4 for update",
};
/// Of the only server: whoever holds its own row in `nodes` is the only one that writes rows (a sweep removes what had
/// expired anyway), so the batch's lock on that row stands for all of them.
const PLAIN: Rows = Rows {
    kv: "select k, v, ver, exp from kv where k = any($1)",
    ix: "select k, v, ver, exp from ix where k = any($1)",
    kv_shared: "select k, v, ver, exp from kv where k = any($1)",
    ix_shared: "select k, v, ver, exp from ix where k = any($1)",
    kv_range: "select k from kv where k >= $1 and k < $2 and (exp is null or exp > $3) order by k limit $4",
    ix_range: "select k from ix where k >= $1 and k < $2 and (exp is null or exp > $3) order by k limit $4",
};
const ENTRIES: &str = "select id, queue, due, lease, tries, lane, armed from due where id = any($1) order by id
  for update";
const LANES: &str = "select d.id, d.queue, d.due, d.lease, d.tries, d.lane, d.armed
  from unnest($1::int8[], $2::bytea[]) u(queue, lane) join due d on d.queue = u.queue and d.lane = u.lane
  order by d.id for update of d";
const SLICE: &str = "select id, due from due where queue = $1 and id <= $2 order by due, id limit $3 for update";
const IDS: &str = "select id, ver from done where id = any($1)";

/// What the rows of a step are.
enum Part {
    Rows(Vec<Key>),
    Range((Key, Key), usize),
    Entries(Vec<u64>),
    Lanes(Vec<(Queue, Bytes)>),
    Slice((Queue, u64), usize),
    Ids(Vec<[u8; 16]>),
}

/// Statements that load needs, and how to read their answers.
pub(crate) struct Load {
    parts: Vec<Part>,
}

impl Load {
    /// The statements, in the order in which every server locks: kv, ix, entries.
    pub fn plan(needs: Needs, now: Millis, has_others: bool) -> (Load, Vec<Step<'static>>) {
        let sql = if has_others { &LOCKED } else { &PLAIN };
        let mut plan = (Vec::new(), Vec::new());
        let mut add = |part: Part, step: Step<'static>| {
            plan.0.push(part);
            plan.1.push(step);
        };
        let Needs { rows, shared, entries, lanes, ids, ranges, queues } = needs;
        let shared: Vec<Key> = shared.into_iter().filter(|key| !rows.contains(key)).collect();
        let (kv, ix) = split(rows);
        let (kv_shared, ix_shared) = split(shared);
        let rows = [(sql.kv_shared, kv_shared), (sql.kv, kv), (sql.ix_shared, ix_shared), (sql.ix, ix)];
        for (sql, keys) in rows {
            if !keys.is_empty() {
                let bytes: Vec<Vec<u8>> = keys.iter().map(|key| key.as_bytes().to_vec()).collect();
                add(Part::Rows(keys), Step::new(sql, vec![Box::new(bytes)]));
            }
        }
        for ((from, to), asked) in ranges {
            let sql = if from.is_ix() { sql.ix_range } else { sql.kv_range };
            let bounds = (from.as_bytes().to_vec(), to.as_bytes().to_vec());
            let step = Step::new(
                sql,
                vec![
                    Box::new(bounds.0),
                    Box::new(bounds.1),
                    Box::new(now.0),
                    Box::new(i64::try_from(asked).unwrap_or(i64::MAX)),
                ],
            );
            add(Part::Range((from, to), asked), step);
        }
        if !entries.is_empty() {
            let numbers: Vec<i64> = entries.iter().map(|id| id.cast_signed()).collect();
            add(Part::Entries(entries.into_iter().collect()), Step::new(ENTRIES, vec![Box::new(numbers)]));
        }
        if !lanes.is_empty() {
            let lanes: Vec<_> = lanes.into_iter().collect();
            let queues: Vec<i64> = lanes.iter().map(|(queue, _)| queue.0.cast_signed()).collect();
            let names: Vec<Vec<u8>> = lanes.iter().map(|(_, lane)| lane.to_vec()).collect();
            add(Part::Lanes(lanes), Step::new(LANES, vec![Box::new(queues), Box::new(names)]));
        }
        for ((queue, upto), asked) in queues {
            let last = i64::try_from(upto).unwrap_or(i64::MAX);
            let count = i64::try_from(asked).unwrap_or(i64::MAX);
            let step = Step::new(SLICE, vec![Box::new(queue.0.cast_signed()), Box::new(last), Box::new(count)]);
            add(Part::Slice((queue, upto), asked), step);
        }
        if !ids.is_empty() {
            let bytes: Vec<Vec<u8>> = ids.iter().map(|id| id.to_vec()).collect();
            add(Part::Ids(ids.into_iter().collect()), Step::new(IDS, vec![Box::new(bytes)]));
        }
        (Load { parts: plan.0 }, plan.1)
    }

    /// Fills the overlay with the answers, which come in the order of the statements.
    pub fn fill(self, over: &mut Overlay, answers: &[Vec<Row>]) -> Result<(), tokio_postgres::Error> {
        for (part, rows) in self.parts.into_iter().zip(answers) {
            match part {
                Part::Rows(keys) => fill_rows(over, keys, rows)?,
                Part::Range(range, asked) => {
                    let keys = rows.iter().map(|row| row.try_get::<_, &[u8]>(0).map(|k| Key::from_bytes(k.to_vec())));
                    over.ranges.insert(range, Slice { items: keys.collect::<Result<_, _>>()?, asked });
                }
                Part::Entries(ids) => {
                    fill_entries(over, rows)?;
                    ids.into_iter().for_each(|id| over.entries.loaded(id, None));
                }
                Part::Lanes(lanes) => {
                    fill_entries(over, rows)?;
                    lanes.into_iter().for_each(|(queue, lane)| over.entries.no_lane(queue, lane));
                }
                Part::Slice(name, asked) => {
                    let item = |row: &Row| Ok((Millis(row.try_get(1)?), row.try_get::<_, i64>(0)?.cast_unsigned()));
                    let items = rows.iter().map(item).collect::<Result<_, tokio_postgres::Error>>()?;
                    over.entries.slices.insert(name, Slice { items, asked });
                }
                Part::Ids(ids) => {
                    for row in rows {
                        if let Ok(id) = row.try_get::<_, &[u8]>(0)?.try_into() {
                            over.ids.entry(id).or_insert(Some(Stamp(row.try_get(1)?)));
                        }
                    }
                    for id in ids {
                        over.ids.entry(id).or_insert(None);
                    }
                }
            }
        }
        Ok(())
    }
}

fn split(keys: impl IntoIterator<Item = Key>) -> (Vec<Key>, Vec<Key>) {
    keys.into_iter().partition(|key| !key.is_ix())
}

fn fill_rows(over: &mut Overlay, keys: Vec<Key>, rows: &[Row]) -> Result<(), tokio_postgres::Error> {
    for row in rows {
        let (key, record) = record(row)?;
        // A row that the batch has written already stays as the batch made it; it is known to be there now.
        let slot = over.rows.entry(key).or_insert(Slot { base: Base::Present, row: Some(record), dirty: false });
        slot.base = Base::Present;
    }
    for key in keys {
        over.rows.entry(key).or_insert(Slot { base: Base::Absent, row: None, dirty: false });
    }
    Ok(())
}

pub(crate) fn record(row: &Row) -> Result<(Key, Record), tokio_postgres::Error> {
    let key = Key::from_bytes(row.try_get::<_, &[u8]>(0)?.to_vec());
    let value = Bytes::copy_from_slice(row.try_get(1)?);
    let exp = row.try_get::<_, Option<i64>>(3)?.map(Millis);
    Ok((key, Record { value, ver: Stamp(row.try_get(2)?), exp }))
}

fn fill_entries(over: &mut Overlay, rows: &[Row]) -> Result<(), tokio_postgres::Error> {
    for row in rows {
        let id = row.try_get::<_, i64>(0)?.cast_unsigned();
        let entry = Entry {
            queue: Queue(row.try_get::<_, i64>(1)?.cast_unsigned()),
            due: Millis(row.try_get(2)?),
            lease: Stamp(row.try_get(3)?),
            tries: u32::try_from(row.try_get::<_, i32>(4)?).unwrap_or(0),
            lane: row.try_get::<_, Option<&[u8]>>(5)?.map(Bytes::copy_from_slice),
            armed: row.try_get::<_, Option<i64>>(6)?.map(Millis),
            value: Value::Stored(id),
        };
        over.entries.loaded(id, Some(entry));
    }
    Ok(())
}
