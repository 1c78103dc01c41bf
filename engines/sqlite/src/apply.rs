//! A transaction applied inside the committer's open SQLite transaction.
//!
//! Guards, checks and the rule are decided before the first write. A mutation that may still be refused behind a write
//! runs inside a savepoint, so that a refused transaction leaves nothing in the batch.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use squall_store::engine::{is_live, run_rule};
use squall_store::{
    Bytes, Check, Committed, Error, Handle, Key, Mutation, Part, Queue, Result, Row, Stamp, Txn, envelope, limits,
};
use squall_types::Millis;

use crate::cache::{Changes, Record};
use crate::inbox::is_fallible;
use crate::{queues, streams};

/// Why a transaction did not happen: it alone was refused, or the whole batch is lost.
pub(crate) enum Fail {
    Refused(Error),
    Broken(rusqlite::Error),
}

impl From<rusqlite::Error> for Fail {
    fn from(error: rusqlite::Error) -> Fail {
        Fail::Broken(error)
    }
}

impl From<Error> for Fail {
    fn from(error: Error) -> Fail {
        Fail::Refused(error)
    }
}

/// Keys of a rule up to which it is remembered where their rows lie.
const PLACES_MAX: usize = 16;

/// Result inside a batch.
pub(crate) type Outcome<T> = std::result::Result<T, Fail>;

/// What a batch touched, for those who wait.
#[derive(Default)]
pub(crate) struct Touched {
    pub parts: Vec<Part>,
    pub queues: Vec<Queue>,
}

impl Touched {
    pub fn queue(&mut self, queue: Queue) {
        if self.queues.last() != Some(&queue) {
            self.queues.push(queue);
        }
    }

    pub fn part(&mut self, part: Part) {
        if self.parts.last() != Some(&part) {
            self.parts.push(part);
        }
    }
}

/// Applies a transaction whole, or leaves the batch as it was.
pub(crate) fn txn(
    conn: &Connection,
    txn: Txn,
    (stamp, now): (Stamp, Millis),
    touched: &mut Touched,
    changes: &mut Changes,
) -> Outcome<Result<Committed>> {
    match attempt(conn, txn, (stamp, now), touched, changes) {
        Ok(done) => Ok(Ok(done)),
        Err(Fail::Refused(error)) => Ok(Err(error)),
        Err(Fail::Broken(error)) => Err(Fail::Broken(error)),
    }
}

fn attempt(
    conn: &Connection,
    txn: Txn,
    (stamp, now): (Stamp, Millis),
    touched: &mut Touched,
    changes: &mut Changes,
) -> Outcome<Committed> {
    if let Some(id) = &txn.id {
        let known = conn
            .prepare_cached("select ver from done where id = ?1")?
            .query_row(params![&id[..]], |row| row.get(0))
            .optional()?;
        if let Some(stamp) = known {
            return Ok(Committed { stamp: Stamp(stamp), reply: None, handles: Vec::new(), removed: 0 });
        }
    }
    for (key, ver) in txn.guards {
        if !guards(conn, &key, ver, now, changes)? {
            return Err(Error::Guard(key).into());
        }
    }
    for (index, check) in txn.checks.iter().enumerate() {
        if !holds(conn, check, now)? {
            return Err(Error::Check(index).into());
        }
    }
    let (mut muts, mut reply, mut places) = (txn.muts, None, Vec::new());
    if let Some((keys, rule)) = txn.rule {
        let mut rows = Vec::with_capacity(keys.len());
        for key in &keys {
            let (row, place) = placed(conn, key, now)?;
            rows.push(row);
            places.extend(place.filter(|_| keys.len() <= PLACES_MAX).map(|place| (key.clone(), place)));
        }
        let (answer, more) = run_rule(rule.as_ref(), &keys, &rows, now)?;
        reply = Some(answer);
        muts.extend(more);
        limits::mutations(&muts)?;
    }
    let mut run = Run { conn, now, stamp, handles: Vec::new(), removed: 0, touched, changes, places };
    if muts.iter().skip(1).any(is_fallible) {
        run.all_or_nothing(muts)?;
    } else {
        run.all(muts)?;
    }
    let Run { handles, removed, .. } = run;
    if let Some(id) = &txn.id {
        conn.prepare_cached("insert into done(id, at, ver) values(?1, ?2, ?3)")?.execute(params![
            &id[..],
            now.0,
            stamp.0
        ])?;
    }
    Ok(Committed { stamp, reply, handles, removed })
}

/// Whether a guard's row has this version. Most writes of a table have the same guard, which is looked up once.
fn guards(conn: &Connection, key: &Key, ver: Stamp, now: Millis, changes: &mut Changes) -> rusqlite::Result<bool> {
    if let Some(known) = changes.version(key) {
        return Ok(known == ver);
    }
    let found = record(conn, key, now)?;
    if let Some(Record { ver, exp: None, .. }) = &found {
        changes.remember(key.clone(), *ver);
    }
    Ok(found.is_some_and(|record| record.ver == ver))
}

fn holds(conn: &Connection, check: &Check, now: Millis) -> rusqlite::Result<bool> {
    Ok(match check {
        Check::Exists(key) => version(conn, key, now)?.is_some(),
        Check::Absent(key) => version(conn, key, now)?.is_none(),
        Check::Ver(key, ver) => version(conn, key, now)? == Some(*ver),
        Check::Lease(handle) => queues::held(conn, handle)?.is_some(),
    })
}

fn version(conn: &Connection, key: &Key, now: Millis) -> rusqlite::Result<Option<Stamp>> {
    let sql = if key.is_ix() { "select ver, exp from ix where k = ?1" } else { "select ver, exp from kv where k = ?1" };
    let found = conn
        .prepare_cached(sql)?
        .query_row(params![key.as_bytes()], |row| Ok((Stamp(row.get(0)?), row.get::<_, Option<i64>>(1)?)))
        .optional()?;
    Ok(found.filter(|(_, exp)| is_live(exp.map(Millis), now)).map(|(ver, _)| ver))
}

/// A live row, with its expiry.
pub(crate) fn record(conn: &Connection, key: &Key, now: Millis) -> rusqlite::Result<Option<Record>> {
    let sql =
        if key.is_ix() { "select v, ver, exp from ix where k = ?1" } else { "select v, ver, exp from kv where k = ?1" };
    let mut statement: CachedStatement<'_> = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params![key.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let exp: Option<i64> = row.get(2)?;
    if !is_live(exp.map(Millis), now) {
        return Ok(None);
    }
    let value = Bytes::copy_from_slice(row.get_ref(0)?.as_blob()?);
    Ok(Some(Record { value, ver: Stamp(row.get(1)?), exp }))
}

/// A live row.
pub(crate) fn row(conn: &Connection, key: &Key, now: Millis) -> rusqlite::Result<Option<Row>> {
    Ok(record(conn, key, now)?.map(|Record { value, ver, .. }| Row { key: key.clone(), value, ver }))
}

/// A live row that a rule reads, and where it lies if it lies in `kv`: writing it then need not look for it again.
fn placed(conn: &Connection, key: &Key, now: Millis) -> rusqlite::Result<(Option<Row>, Option<i64>)> {
    if key.is_ix() {
        return Ok((row(conn, key, now)?, None));
    }
    let mut select = conn.prepare_cached("select v, ver, exp, rowid from kv where k = ?1")?;
    let mut rows = select.query(params![key.as_bytes()])?;
    let Some(found) = rows.next()? else { return Ok((None, None)) };
    let place = Some(found.get(3)?);
    if !is_live(found.get::<_, Option<i64>>(2)?.map(Millis), now) {
        return Ok((None, place));
    }
    let value = Bytes::copy_from_slice(found.get_ref(0)?.as_blob()?);
    Ok((Some(Row { key: key.clone(), value, ver: Stamp(found.get(1)?) }), place))
}

/// Writes a row.
pub(crate) fn put(conn: &Connection, key: &Key, value: &[u8], ver: Stamp, exp: Option<i64>) -> rusqlite::Result<()> {
    let sql = if key.is_ix() {
        "insert into ix(k, v, ver, exp) values(?1, ?2, ?3, ?4)
         on conflict(k) do update set v = excluded.v, ver = excluded.ver, exp = excluded.exp"
    } else {
        "insert into kv(k, v, ver, exp) values(?1, ?2, ?3, ?4)
         on conflict(k) do update set v = excluded.v, ver = excluded.ver, exp = excluded.exp"
    };
    conn.prepare_cached(sql)?.execute(params![key.as_bytes(), value, ver.0, exp])?;
    Ok(())
}

struct Run<'c> {
    conn: &'c Connection,
    now: Millis,
    stamp: Stamp,
    handles: Vec<Handle>,
    removed: u64,
    touched: &'c mut Touched,
    changes: &'c mut Changes,
    /// Rows of `kv` that the rule read and nothing has changed since.
    places: Vec<(Key, i64)>,
}

impl Run<'_> {
    fn all(&mut self, muts: Vec<Mutation>) -> Outcome<()> {
        muts.into_iter().try_for_each(|mutation| self.one(mutation))
    }

    fn all_or_nothing(&mut self, muts: Vec<Mutation>) -> Outcome<()> {
        self.conn.prepare_cached("savepoint txn")?.execute([])?;
        let done = self.all(muts);
        if let Err(Fail::Refused(_)) = &done {
            self.conn.prepare_cached("rollback to txn")?.execute([])?;
        }
        if !matches!(done, Err(Fail::Broken(_))) {
            self.conn.prepare_cached("release txn")?.execute([])?;
        }
        done
    }

    fn one(&mut self, mutation: Mutation) -> Outcome<()> {
        let conn = self.conn;
        let place = match &mutation {
            Mutation::Put { key, .. } | Mutation::Delete(key) | Mutation::Add { key, .. } => {
                self.changes.row(key);
                self.place(key)
            }
            Mutation::DeleteRange { .. } => {
                self.changes.rows();
                self.places.clear();
                None
            }
            _ => None,
        };
        match mutation {
            Mutation::Put { key, value, expires } => {
                let expires = expires.map(|at| at.0);
                match place {
                    Some(place) => conn
                        .prepare_cached("update kv set v = ?2, ver = ?3, exp = ?4 where rowid = ?1")?
                        .execute(params![place, &value[..], self.stamp.0, expires])
                        .map(drop)?,
                    None => put(conn, &key, &value, self.stamp, expires)?,
                }
            }
            Mutation::Delete(key) => {
                let sql = if key.is_ix() { "delete from ix where k = ?1" } else { "delete from kv where k = ?1" };
                conn.prepare_cached(sql)?.execute(params![key.as_bytes()])?;
            }
            Mutation::Add { key, delta, min, max } => self.add(key, delta, min, max)?,
            Mutation::DeleteRange { from, to, limit } => self.delete_range(&from, &to, limit)?,
            Mutation::Enqueue { queue, lane, due, value } => {
                let id = queues::enqueue(conn, queue, lane.as_deref(), due, &value)?;
                self.handles.push(Handle { queue, id, lease: Stamp(0) });
                self.touched.queue(queue);
            }
            Mutation::Arm { queue, lane, due } => {
                queues::arm(conn, queue, &lane, due)?;
                self.touched.queue(queue);
            }
            Mutation::Settle { handle, to } => queues::settle(conn, &handle, to, self.touched)?,
            Mutation::DropQueue { queue, upto, limit } => self.removed += queues::drop(conn, queue, upto, limit)?,
            Mutation::Emit { part, body } => {
                streams::emit(conn, part, self.now, &body)?;
                self.touched.part(part);
            }
            Mutation::Trim { part, upto } => streams::trim(conn, part, upto)?,
        }
        Ok(())
    }

    /// Where a row lies that is changed now; it is not known any more afterwards, however often the rule named the key.
    fn place(&mut self, key: &Key) -> Option<i64> {
        let found = self.places.iter().find(|(known, _)| known == key)?.1;
        self.places.retain(|(known, _)| known != key);
        Some(found)
    }

    fn add(&mut self, key: Key, delta: i64, min: i64, max: i64) -> Outcome<()> {
        let live = record(self.conn, &key, self.now)?;
        let now = envelope::open_counter(live.as_ref().map(|live| live.value.as_ref()))?;
        match now.checked_add(delta).filter(|sum| (min..=max).contains(sum)) {
            Some(sum) => {
                let exp = live.and_then(|live| live.exp);
                Ok(put(self.conn, &key, &envelope::seal_counter(sum), self.stamp, exp)?)
            }
            None => Err(Error::Bounds { key, now }.into()),
        }
    }

    fn delete_range(&mut self, from: &Key, to: &Key, limit: u32) -> Outcome<()> {
        let sql = if from.is_ix() {
            "delete from ix where k in (select k from ix where k >= ?1 and k < ?2 and (exp is null or exp > ?3)
             order by k limit ?4)"
        } else {
            "delete from kv where k in (select k from kv where k >= ?1 and k < ?2 and (exp is null or exp > ?3)
             order by k limit ?4)"
        };
        let removed =
            self.conn.prepare_cached(sql)?.execute(params![from.as_bytes(), to.as_bytes(), self.now.0, limit])?;
        self.removed += removed as u64;
        Ok(())
    }
}
