//! Turns what a batch made of its overlay into a few statements.
//!
//! Every table is written by at most a handful of statements over arrays, in key order. A row that was read as absent is
//! written by a plain insert: when another node was faster, the insert fails, and with it the transaction, and the batch
//! is decided anew. The same holds for a row whose absence was only relied on: it is inserted and deleted again.
//! Stream heads come last, so that their locks are held for the shortest time.

use std::collections::BTreeMap;

use squall_store::{Bytes, Key, Part};
use squall_types::Millis;

use crate::conn::{Params, Step};
use crate::entries::{Entries, Entry, Value};
use crate::overlay::{Base, Event, Overlay, Record};

struct Table {
    put: &'static str,
    insert: &'static str,
    delete: &'static str,
    rely: &'static str,
}

const KV: Table = Table {
    put: "insert into kv(k, v, ver, exp) select * from unnest($1::bytea[], $2::bytea[], $3::int8[], $4::int8[])
      on conflict (k) do update set v = excluded.v, ver = excluded.ver, exp = excluded.exp",
    insert: "insert into kv(k, v, ver, exp) select * from unnest($1::bytea[], $2::bytea[], $3::int8[], $4::int8[])",
    delete: "delete from kv where k = any($1)",
    rely: "insert into kv(k, v, ver, exp) select k, ''::bytea, 0, 0 from unnest($1::bytea[]) k",
};
const IX: Table = Table {
    put: "insert into ix(k, v, ver, exp) select * from unnest($1::bytea[], $2::bytea[], $3::int8[], $4::int8[])
      on conflict (k) do update set v = excluded.v, ver = excluded.ver, exp = excluded.exp",
    insert: "insert into ix(k, v, ver, exp) select * from unnest($1::bytea[], $2::bytea[], $3::int8[], $4::int8[])",
    delete: "delete from ix where k = any($1)",
    rely: "insert into ix(k, v, ver, exp) select k, ''::bytea, 0, 0 from unnest($1::bytea[]) k",
};
const ENTRY_DELETE: &str = "delete from due where id = any($1)";
const ENTRY_UPDATE: &str = "update due d
  set due = u.due, lease = u.lease, tries = u.tries, armed = u.armed, v = coalesce(u.v, d.v)
  from unnest($1::int8[], $2::int8[], $3::int8[], $4::int4[], $5::int8[], $6::bytea[]) u(id, due, lease, tries, armed, v)
  where d.id = u.id";
const ENTRY_MOVE: &str =
    "update due set id = $1, queue = $2, due = $3, lease = 0, tries = 0, armed = null where id = $4";
const ENTRY_INSERT: &str = "insert into due(id, queue, due, lease, tries, armed, lane, v)
  select * from unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[], $5::int4[], $6::int8[], $7::bytea[], $8::bytea[])";
const DONE: &str = "insert into done(id, at, ver) select id, $3, ver from unnest($1::bytea[], $2::int8[]) u(id, ver)";
const EMIT: &str = "with h as (
    insert into heads(stream, part, seq, low, swept)
      select stream, part, n, 0, 0 from unnest($1::int8[], $2::int4[], $3::int8[]) u(stream, part, n) order by 1, 2
      on conflict (stream, part) do update set seq = heads.seq + excluded.seq
      returning stream, part, seq)
  insert into changes(stream, part, seq, at, body)
    select h.stream, h.part, h.seq - c.back, $8, c.body
    from unnest($4::int8[], $5::int4[], $6::int8[], $7::bytea[]) c(stream, part, back, body)
    join h on h.stream = c.stream and h.part = c.part";
const TRIM: &str = "update heads h set low = greatest(h.low, t.low) from (
    select h.stream, h.part, max(least(u.upto, h.seq - u.back)) as low
    from unnest($1::int8[], $2::int4[], $3::int8[], $4::int8[]) u(stream, part, upto, back)
    join heads h on h.stream = u.stream and h.part = u.part group by 1, 2) t
  where h.stream = t.stream and h.part = t.part";

/// The statements of a batch, and whom they concern.
#[derive(Default)]
pub(crate) struct Writes<'o> {
    pub steps: Vec<Step<'o>>,
    pub parts: Vec<Part>,
    pub trimmed: bool,
}

/// Makes the statements; none if nothing changed.
pub(crate) fn plan(over: &Overlay, now: Millis) -> Writes<'_> {
    let mut writes = Writes::default();
    rows(over, &mut writes.steps);
    entries(&over.entries, &mut writes.steps);
    if !over.new_ids.is_empty() {
        let (ids, stamps): (Vec<&[u8]>, Vec<i64>) = over.new_ids.iter().map(|(id, stamp)| (&id[..], stamp.0)).unzip();
        writes.steps.push(Step::new(DONE, vec![Box::new(ids), Box::new(stamps), Box::new(now.0)]));
    }
    streams(over, now, &mut writes);
    writes
}

#[derive(Default)]
struct Columns<'o> {
    keys: Vec<&'o [u8]>,
    values: Vec<&'o [u8]>,
    vers: Vec<i64>,
    exps: Vec<Option<i64>>,
}

impl<'o> Columns<'o> {
    fn push(&mut self, key: &'o Key, record: &'o Record) {
        self.keys.push(key.as_bytes());
        self.values.push(&record.value);
        self.vers.push(record.ver.0);
        self.exps.push(record.exp.map(|at| at.0));
    }

    fn step(self, sql: &'static str, steps: &mut Vec<Step<'o>>) {
        if !self.keys.is_empty() {
            let params: Params<'o> =
                vec![Box::new(self.keys), Box::new(self.values), Box::new(self.vers), Box::new(self.exps)];
            steps.push(Step::new(sql, params));
        }
    }
}

fn rows<'o>(over: &'o Overlay, steps: &mut Vec<Step<'o>>) {
    for (table, is_ix) in [(&KV, false), (&IX, true)] {
        let (mut put, mut insert) = (Columns::default(), Columns::default());
        let (mut delete, mut rely): (Vec<&[u8]>, Vec<&[u8]>) = (Vec::new(), Vec::new());
        for (key, slot) in over.rows.iter().filter(|(key, _)| key.is_ix() == is_ix) {
            match (&slot.row, slot.base) {
                (Some(record), Base::Absent) if slot.dirty => insert.push(key, record),
                (Some(record), _) if slot.dirty => put.push(key, record),
                (None, Base::Absent) if over.relied.contains(key) => rely.push(key.as_bytes()),
                (None, Base::Present | Base::Unread) if slot.dirty => delete.push(key.as_bytes()),
                _ => {}
            }
        }
        put.step(table.put, steps);
        insert.step(table.insert, steps);
        if !rely.is_empty() {
            steps.push(Step::new(table.rely, vec![Box::new(rely.clone())]));
            delete.extend(rely);
        }
        if !delete.is_empty() {
            steps.push(Step::new(table.delete, vec![Box::new(delete)]));
        }
    }
}

fn entries<'o>(entries: &'o Entries, steps: &mut Vec<Step<'o>>) {
    let (mut moved, mut moves) = (Vec::new(), Vec::new());
    let mut update: Vec<(i64, &Entry)> = Vec::new();
    let mut insert: Vec<(i64, &Entry, &[u8])> = Vec::new();
    for (id, slot) in entries.slots.iter().filter(|(_, slot)| slot.dirty) {
        let number = id.cast_signed();
        match (&slot.entry, slot.base) {
            (Some(entry), Some(_)) => update.push((number, entry)),
            (Some(entry), None) => match &entry.value {
                Value::New(value) => insert.push((number, entry, value)),
                Value::Stored(from) => {
                    moved.push(*from);
                    let lease: Params<'o> = vec![
                        Box::new(number),
                        Box::new(entry.queue.0.cast_signed()),
                        Box::new(entry.due.0),
                        Box::new(from.cast_signed()),
                    ];
                    moves.push(Step::new(ENTRY_MOVE, lease));
                }
            },
            (None, _) => {}
        }
    }
    let gone = entries
        .slots
        .iter()
        .filter(|(id, slot)| slot.dirty && slot.base.is_some() && slot.entry.is_none() && !moved.contains(id));
    let gone: Vec<i64> = gone.map(|(id, _)| id.cast_signed()).collect();
    // Lanes are unique at every moment: first what leaves one, then what moves (in the order of the batch), then what
    // is new.
    if !gone.is_empty() {
        steps.push(Step::new(ENTRY_DELETE, vec![Box::new(gone)]));
    }
    steps.append(&mut moves);
    if !update.is_empty() {
        let column = |of: fn(&Entry) -> i64| update.iter().map(|(_, entry)| of(entry)).collect::<Vec<i64>>();
        let values: Vec<Option<&[u8]>> = update.iter().map(|(_, entry)| new_value(entry)).collect();
        steps.push(Step::new(
            ENTRY_UPDATE,
            vec![
                Box::new(update.iter().map(|(id, _)| *id).collect::<Vec<_>>()),
                Box::new(column(|entry| entry.due.0)),
                Box::new(column(|entry| entry.lease.0)),
                Box::new(update.iter().map(|(_, entry)| tries(entry)).collect::<Vec<_>>()),
                Box::new(update.iter().map(|(_, entry)| entry.armed.map(|at| at.0)).collect::<Vec<_>>()),
                Box::new(values),
            ],
        ));
    }
    if !insert.is_empty() {
        let column = |of: fn(&Entry) -> i64| insert.iter().map(|(_, entry, _)| of(entry)).collect::<Vec<i64>>();
        let lanes: Vec<Option<&[u8]>> = insert.iter().map(|(_, entry, _)| entry.lane.as_deref()).collect();
        steps.push(Step::new(
            ENTRY_INSERT,
            vec![
                Box::new(insert.iter().map(|(id, ..)| *id).collect::<Vec<_>>()),
                Box::new(column(|entry| entry.queue.0.cast_signed())),
                Box::new(column(|entry| entry.due.0)),
                Box::new(column(|entry| entry.lease.0)),
                Box::new(insert.iter().map(|(_, entry, _)| tries(entry)).collect::<Vec<_>>()),
                Box::new(insert.iter().map(|(_, entry, _)| entry.armed.map(|at| at.0)).collect::<Vec<_>>()),
                Box::new(lanes),
                Box::new(insert.iter().map(|(.., value)| *value).collect::<Vec<_>>()),
            ],
        ));
    }
}

fn new_value(entry: &Entry) -> Option<&[u8]> {
    match &entry.value {
        Value::New(value) => Some(value),
        Value::Stored(_) => None,
    }
}

fn tries(entry: &Entry) -> i32 {
    i32::try_from(entry.tries).unwrap_or(i32::MAX)
}

fn streams<'o>(over: &'o Overlay, now: Millis, writes: &mut Writes<'o>) {
    let mut bodies: BTreeMap<(u64, u16), Vec<&'o Bytes>> = BTreeMap::new();
    let mut trims = Vec::new();
    for (part, event) in &over.events {
        match event {
            Event::Emit(body) => bodies.entry((part.stream, part.part)).or_default().push(body),
            Event::Trim(upto) => {
                // How many of the batch's changes were there when it was asked for.
                let before = bodies.get(&(part.stream, part.part)).map_or(0, Vec::len);
                trims.push((*part, *upto, before));
            }
        }
    }
    let count = |part: &Part| bodies.get(&(part.stream, part.part)).map_or(0, Vec::len);
    let mut trim: (Vec<i64>, Vec<i32>, Vec<i64>, Vec<i64>) = Default::default();
    for (part, upto, before) in &trims {
        trim.0.push(part.stream.cast_signed());
        trim.1.push(part.part.into());
        trim.2.push(i64::try_from(*upto).unwrap_or(i64::MAX));
        trim.3.push((count(part) - before) as i64);
    }
    if !bodies.is_empty() {
        writes.steps.push(emit(&bodies, now));
        writes.parts.extend(bodies.keys().map(|(stream, part)| Part { stream: *stream, part: *part }));
    }
    if !trims.is_empty() {
        let params: Params<'o> = vec![Box::new(trim.0), Box::new(trim.1), Box::new(trim.2), Box::new(trim.3)];
        writes.steps.push(Step::new(TRIM, params));
        writes.trimmed = true;
    }
}

fn emit<'o>(bodies: &BTreeMap<(u64, u16), Vec<&'o Bytes>>, now: Millis) -> Step<'o> {
    let (mut heads, mut counts): (Vec<(i64, i32)>, Vec<i64>) = (Vec::new(), Vec::new());
    let (mut streams, mut parts, mut backs, mut all) = (Vec::new(), Vec::new(), Vec::new(), Vec::<&[u8]>::new());
    for ((stream, part), bodies) in bodies {
        heads.push((stream.cast_signed(), (*part).into()));
        counts.push(bodies.len() as i64);
        for (n, body) in bodies.iter().enumerate() {
            streams.push(stream.cast_signed());
            parts.push(i32::from(*part));
            backs.push((bodies.len() - 1 - n) as i64);
            all.push(body);
        }
    }
    let (head_streams, head_parts): (Vec<i64>, Vec<i32>) = heads.into_iter().unzip();
    Step::new(
        EMIT,
        vec![
            Box::new(head_streams),
            Box::new(head_parts),
            Box::new(counts),
            Box::new(streams),
            Box::new(parts),
            Box::new(backs),
            Box::new(all),
            Box::new(now.0),
        ],
    )
}
