//! Export from one snapshot, import as one transaction.

use std::path::Path;

use bytes::Bytes;
use rusqlite::{Connection, params};
use squall_store::engine::is_live;
use squall_store::{Change, Error, FORMAT, Key, Part, Queue, Record, Result, Stamp, limits};
use squall_types::Millis;
use tokio::sync::mpsc;

use crate::committer::refusal;
use crate::pool::snapshot;
use crate::{apply, queues, schema};

/// Sends every record at one snapshot; ends early when the receiver is gone. The snapshot holds up checkpoints while
/// it lasts.
pub(crate) fn export(path: &Path, now: Millis, to: &mpsc::Sender<Result<Record>>) {
    let done = schema::reader(path).and_then(|conn| {
        snapshot(&conn, |conn| {
            let mut out = Out { to, records: 0, gone: false };
            out.send(Record::Begin { format: FORMAT, at: now });
            out.records = 0;
            rows(conn, now, &mut out)?;
            entries(conn, &mut out)?;
            streams(conn, &mut out)?;
            let records = out.records;
            out.send(Record::End { records });
            Ok(())
        })
    });
    if let Err(error) = done {
        // The receiver may be gone, which is as well.
        drop(to.blocking_send(Err(refusal(&error))));
    }
}

struct Out<'s> {
    to: &'s mpsc::Sender<Result<Record>>,
    records: u64,
    gone: bool,
}

impl Out<'_> {
    fn send(&mut self, record: Record) {
        self.records += 1;
        self.gone = self.gone || self.to.blocking_send(Ok(record)).is_err();
    }
}

fn rows(conn: &Connection, now: Millis, out: &mut Out<'_>) -> rusqlite::Result<()> {
    for table in ["kv", "ix"] {
        let mut select = conn.prepare(&format!("select k, v, exp from {table} order by k"))?;
        let mut rows = select.query([])?;
        while let (false, Some(row)) = (out.gone, rows.next()?) {
            let expires = row.get::<_, Option<i64>>(2)?.map(Millis);
            if is_live(expires, now) {
                let (key, value) = (Key::from_bytes(row.get::<_, Vec<u8>>(0)?), row.get::<_, Vec<u8>>(1)?.into());
                out.send(Record::Row { key, value, expires });
            }
        }
    }
    Ok(())
}

fn entries(conn: &Connection, out: &mut Out<'_>) -> rusqlite::Result<()> {
    let mut select =
        conn.prepare("select queue, lane, min(due, coalesce(armed, due)), tries, v from due order by id")?;
    let mut rows = select.query([])?;
    while let (false, Some(row)) = (out.gone, rows.next()?) {
        let queue = Queue(row.get::<_, i64>(0)? as u64);
        let lane = row.get::<_, Option<Vec<u8>>>(1)?.map(Bytes::from);
        let (due, tries) = (Millis(row.get(2)?), row.get(3)?);
        out.send(Record::Entry { queue, lane, due, tries, value: row.get::<_, Vec<u8>>(4)?.into() });
    }
    Ok(())
}

fn streams(conn: &Connection, out: &mut Out<'_>) -> rusqlite::Result<()> {
    let mut heads = conn.prepare("select stream, part, seq, low from heads order by stream, part")?;
    let mut select =
        conn.prepare("select seq, at, body from changes where stream = ?1 and part = ?2 and seq > ?3 order by seq")?;
    let mut heads = heads.query([])?;
    while let (false, Some(row)) = (out.gone, heads.next()?) {
        let (stream, low): (i64, i64) = (row.get(0)?, row.get(3)?);
        let part = Part { stream: stream as u64, part: row.get(1)? };
        out.send(Record::Head { part, seq: row.get::<_, i64>(2)? as u64, low: low as u64 });
        let mut changes = select.query(params![stream, part.part, low])?;
        while let (false, Some(row)) = (out.gone, changes.next()?) {
            let body = row.get::<_, Vec<u8>>(2)?.into();
            let change = Change { seq: row.get::<_, i64>(0)? as u64, at: Millis(row.get(1)?), body };
            out.send(Record::Change { part, change });
        }
    }
    Ok(())
}

/// Writes a cut into the open transaction; every row gets a version of its own above `stamp`'s.
pub(crate) fn import(conn: &Connection, records: &mut mpsc::Receiver<Result<Record>>, stamp: i64) -> Result<()> {
    let failed = |error: rusqlite::Error| refusal(&error);
    let used = "select exists(select 1 from kv) + exists(select 1 from ix) + exists(select 1 from due)
      + exists(select 1 from heads)";
    if conn.query_row(used, [], |row| row.get::<_, i64>(0)).map_err(failed)? != 0 {
        return Err(Error::invalid("import into a state that is not empty"));
    }
    match records.blocking_recv().transpose()? {
        Some(Record::Begin { format: FORMAT, .. }) => {}
        Some(Record::Begin { format, .. }) => {
            return Err(Error::invalid(format!("the export has format {format}, this program reads {FORMAT}")));
        }
        _ => return Err(Error::invalid("the export does not begin as it should")),
    }
    let mut count = 0;
    loop {
        match records.blocking_recv().transpose()? {
            None => return Err(Error::invalid("the export is incomplete")),
            Some(Record::Begin { .. }) => return Err(Error::invalid("the export begins twice")),
            Some(Record::End { records }) if records == count => break,
            Some(Record::End { .. }) => return Err(Error::invalid("the export lacks records")),
            Some(record) => {
                if let Record::Row { key, .. } = &record {
                    limits::key(key)?;
                }
                place(conn, record, Stamp(stamp + 1)).map_err(failed)?;
                count += 1;
            }
        }
    }
    match records.blocking_recv() {
        None => Ok(()),
        Some(_) => Err(Error::invalid("the export goes on behind its end")),
    }
}

fn place(conn: &Connection, record: Record, ver: Stamp) -> rusqlite::Result<()> {
    match record {
        Record::Row { key, value, expires } => apply::put(conn, &key, &value, ver, expires.map(|at| at.0)),
        Record::Entry { queue, lane, due, tries, value } => {
            let id = queues::enqueue(conn, queue, lane.as_deref(), due, &value)?;
            conn.prepare_cached("update due set tries = ?2 where id = ?1")?.execute(params![id as i64, tries]).map(drop)
        }
        Record::Head { part, seq, low } => conn
            .prepare_cached("insert into heads(stream, part, seq, low, swept) values(?1, ?2, ?3, ?4, ?4)")?
            .execute(params![part.stream as i64, part.part, seq as i64, low as i64])
            .map(drop),
        Record::Change { part, change } => conn
            .prepare_cached("insert into changes(stream, part, seq, at, body) values(?1, ?2, ?3, ?4, ?5)")?
            .execute(params![part.stream as i64, part.part, change.seq as i64, change.at.0, &change.body[..]])
            .map(drop),
        // The caller takes these two itself.
        Record::Begin { .. } | Record::End { .. } => Ok(()),
    }
}
