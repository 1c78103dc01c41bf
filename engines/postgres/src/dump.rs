//! Export from one snapshot, import as one transaction.

use squall_store::{Bytes, Change, Error, FORMAT, Key, Part, Queue, Record, Result, limits};
use squall_types::Millis;
use tokio::sync::mpsc;

use crate::conn::{Conn, Params, Step, Trouble, answered};
use crate::overlay::Numbers;
use crate::shared::Shared;

/// Rows of one statement: a value may have a MiB.
const PAGE: i64 = 64;
/// Rows and bytes of an import that are written by one statement.
const BATCH: usize = 1_000;
const BATCH_BYTES: usize = 4 << 20;

const BEGIN: &str = "begin isolation level repeatable read read only";
const COMMIT: &str = "commit";
const KV: &str = "select k, v, exp from kv where k > $1 and (exp is null or exp > $2) order by k limit $3";
const IX: &str = "select k, v, exp from ix where k > $1 and (exp is null or exp > $2) order by k limit $3";
const ENTRIES: &str = "select id, queue, lane, least(due, coalesce(armed, due)), tries, v from due where id > $1
  order by id limit $2";
const HEADS: &str = "select stream, part, seq, low from heads order by stream, part";
const CHANGES: &str = "select seq, at, body from changes where stream = $1 and part = $2 and seq > $3 order by seq
  limit $4";
const USED: &str = "select exists(select 1 from kv) or exists(select 1 from ix) or exists(select 1 from due)
  or exists(select 1 from heads)";
const PUT_KV: &str = "insert into kv(k, v, ver, exp) select k, v, $4, exp
  from unnest($1::bytea[], $2::bytea[], $3::int8[]) u(k, v, exp)
  on conflict (k) do update set v = excluded.v, ver = excluded.ver, exp = excluded.exp";
const PUT_IX: &str = "insert into ix(k, v, ver, exp) select k, v, $4, exp
  from unnest($1::bytea[], $2::bytea[], $3::int8[]) u(k, v, exp)
  on conflict (k) do update set v = excluded.v, ver = excluded.ver, exp = excluded.exp";
const PUT_ENTRY: &str = "insert into due(id, queue, due, lease, tries, lane, v) values($1, $2, $3, 0, $4, $5, $6)";
const PUT_HEAD: &str = "insert into heads(stream, part, seq, low, swept) values($1, $2, $3, $4, $4)";
const PUT_CHANGE: &str = "insert into changes(stream, part, seq, at, body) values($1, $2, $3, $4, $5)";

/// The other end of an export.
struct Out {
    to: mpsc::Sender<Result<Record>>,
    records: u64,
}

/// The receiver is gone, or the database is.
enum Ended {
    Gone,
    Failed(Trouble),
}

impl From<Trouble> for Ended {
    fn from(trouble: Trouble) -> Ended {
        Ended::Failed(trouble)
    }
}

impl From<tokio_postgres::Error> for Ended {
    fn from(error: tokio_postgres::Error) -> Ended {
        Ended::Failed(error.into())
    }
}

impl Out {
    async fn send(&mut self, record: Record) -> std::result::Result<(), Ended> {
        self.records += 1;
        self.to.send(Ok(record)).await.map_err(|_| Ended::Gone)
    }
}

/// Sends every record at one snapshot; ends early when the receiver is gone.
pub(crate) async fn export(shared: &Shared, to: mpsc::Sender<Result<Record>>) {
    let mut out = Out { to: to.clone(), records: 0 };
    if let Err(Ended::Failed(trouble)) = all(shared, &mut out).await {
        // The receiver may be gone, which is as well.
        drop(to.send(Err(trouble.unavailable())).await);
    }
}

async fn all(shared: &Shared, out: &mut Out) -> std::result::Result<(), Ended> {
    let conn = shared.link.connect_soon(shared.link.options.patience).await.map_err(Trouble::Lost)?;
    // The reader of an export may be slow.
    answered(conn.client.batch_execute("set idle_in_transaction_session_timeout = 0")).await?;
    answered(conn.query(BEGIN, &[])).await?;
    let now = shared.time.now();
    out.send(Record::Begin { format: FORMAT, at: now }).await?;
    out.records = 0;
    for sql in [KV, IX] {
        rows(&conn, sql, now, out).await?;
    }
    entries(&conn, out).await?;
    for head in answered(conn.query(HEADS, &[])).await? {
        let (stream, part): (i64, i32) = (head.try_get(0)?, head.try_get(1)?);
        let part = Part { stream: stream.cast_unsigned(), part: u16::try_from(part).unwrap_or_default() };
        let (seq, low): (i64, i64) = (head.try_get(2)?, head.try_get(3)?);
        out.send(Record::Head { part, seq: seq.unsigned_abs(), low: low.unsigned_abs() }).await?;
        changes(&conn, part, low, out).await?;
    }
    let records = out.records;
    out.send(Record::End { records }).await?;
    answered(conn.query(COMMIT, &[])).await?;
    Ok(())
}

async fn rows(conn: &Conn, sql: &'static str, now: Millis, out: &mut Out) -> std::result::Result<(), Ended> {
    let mut after = Vec::new();
    loop {
        let page = answered(conn.query(sql, &[&after, &now.0, &PAGE])).await?;
        for row in &page {
            after = row.try_get::<_, Vec<u8>>(0)?;
            let (key, value) = (Key::from_bytes(after.clone()), Bytes::copy_from_slice(row.try_get(1)?));
            out.send(Record::Row { key, value, expires: row.try_get::<_, Option<i64>>(2)?.map(Millis) }).await?;
        }
        if page.len() < PAGE as usize {
            return Ok(());
        }
    }
}

async fn entries(conn: &Conn, out: &mut Out) -> std::result::Result<(), Ended> {
    let mut after = i64::MIN;
    loop {
        let page = answered(conn.query(ENTRIES, &[&after, &PAGE])).await?;
        for row in &page {
            after = row.try_get(0)?;
            let queue = Queue(row.try_get::<_, i64>(1)?.cast_unsigned());
            let lane = row.try_get::<_, Option<&[u8]>>(2)?.map(Bytes::copy_from_slice);
            let (due, tries) = (Millis(row.try_get(3)?), row.try_get::<_, i32>(4)?.unsigned_abs());
            let value = Bytes::copy_from_slice(row.try_get(5)?);
            out.send(Record::Entry { queue, lane, due, tries, value }).await?;
        }
        if page.len() < PAGE as usize {
            return Ok(());
        }
    }
}

async fn changes(conn: &Conn, part: Part, low: i64, out: &mut Out) -> std::result::Result<(), Ended> {
    let (stream, number) = (part.stream.cast_signed(), i32::from(part.part));
    let mut after = low;
    loop {
        let page = answered(conn.query(CHANGES, &[&stream, &number, &after, &PAGE])).await?;
        for row in &page {
            after = row.try_get(0)?;
            let (at, body) = (Millis(row.try_get(1)?), Bytes::copy_from_slice(row.try_get(2)?));
            out.send(Record::Change { part, change: Change { seq: after.unsigned_abs(), at, body } }).await?;
        }
        if page.len() < PAGE as usize {
            return Ok(());
        }
    }
}

/// Writes a cut into a transaction that the caller began and ends; every row gets the same new version.
pub(crate) async fn import(
    conn: &Conn,
    records: &mut mpsc::Receiver<Result<Record>>,
    numbers: &mut Numbers,
) -> Result<()> {
    // Whoever sends the cut may be slow. The setting ends with the transaction.
    let setting = "set local idle_in_transaction_session_timeout = 0";
    answered(conn.client.batch_execute(setting)).await.map_err(Trouble::unavailable)?;
    let used = answered(conn.query(USED, &[])).await.map_err(Trouble::unavailable)?;
    if used.first().is_none_or(|row| row.get(0)) {
        return Err(Error::invalid("import into a state that is not empty"));
    }
    match records.recv().await.transpose()? {
        Some(Record::Begin { format: FORMAT, .. }) => {}
        Some(Record::Begin { format, .. }) => {
            return Err(Error::invalid(format!("the export has format {format}, this program reads {FORMAT}")));
        }
        _ => return Err(Error::invalid("the export does not begin as it should")),
    }
    let mut filled = Filled { ver: numbers.next(), ..Filled::default() };
    let mut count = 0;
    loop {
        match records.recv().await.transpose()? {
            None => return Err(Error::invalid("the export is incomplete")),
            Some(Record::Begin { .. }) => return Err(Error::invalid("the export begins twice")),
            Some(Record::End { records }) if records == count => break,
            Some(Record::End { .. }) => return Err(Error::invalid("the export lacks records")),
            Some(record) => {
                if let Record::Row { key, .. } = &record {
                    limits::key(key)?;
                }
                filled.add(record, numbers);
                count += 1;
            }
        }
        if filled.len >= BATCH || filled.bytes >= BATCH_BYTES {
            filled.write(conn).await.map_err(Trouble::unavailable)?;
        }
    }
    filled.write(conn).await.map_err(Trouble::unavailable)?;
    match records.recv().await {
        None => Ok(()),
        Some(_) => Err(Error::invalid("the export goes on behind its end")),
    }
}

/// Rows of an import that are not yet written.
type Rows = (Vec<Vec<u8>>, Vec<Vec<u8>>, Vec<Option<i64>>);

#[derive(Default)]
struct Filled {
    ver: i64,
    kv: Rows,
    ix: Rows,
    others: Vec<Step<'static>>,
    len: usize,
    bytes: usize,
}

impl Filled {
    fn add(&mut self, record: Record, numbers: &mut Numbers) {
        self.len += 1;
        match record {
            Record::Row { key, value, expires } => {
                self.bytes += value.len();
                let rows = if key.is_ix() { &mut self.ix } else { &mut self.kv };
                rows.0.push(key.as_bytes().to_vec());
                rows.1.push(value.to_vec());
                rows.2.push(expires.map(|at| at.0));
            }
            Record::Entry { queue, lane, due, tries, value } => {
                self.bytes += value.len();
                let params: Params<'static> = vec![
                    Box::new(numbers.next()),
                    Box::new(queue.0.cast_signed()),
                    Box::new(due.0),
                    Box::new(i32::try_from(tries).unwrap_or(i32::MAX)),
                    Box::new(lane.map(|lane| lane.to_vec())),
                    Box::new(value.to_vec()),
                ];
                self.others.push(Step::new(PUT_ENTRY, params));
            }
            Record::Head { part, seq, low } => {
                let params: Params<'static> = vec![
                    Box::new(part.stream.cast_signed()),
                    Box::new(i32::from(part.part)),
                    Box::new(seq.cast_signed()),
                    Box::new(low.cast_signed()),
                ];
                self.others.push(Step::new(PUT_HEAD, params));
            }
            Record::Change { part, change } => {
                self.bytes += change.body.len();
                let params: Params<'static> = vec![
                    Box::new(part.stream.cast_signed()),
                    Box::new(i32::from(part.part)),
                    Box::new(change.seq.cast_signed()),
                    Box::new(change.at.0),
                    Box::new(change.body.to_vec()),
                ];
                self.others.push(Step::new(PUT_CHANGE, params));
            }
            // The caller takes these two itself.
            Record::Begin { .. } | Record::End { .. } => {}
        }
    }

    async fn write(&mut self, conn: &Conn) -> std::result::Result<(), Trouble> {
        let mut steps = Vec::new();
        for (sql, rows) in [(PUT_KV, std::mem::take(&mut self.kv)), (PUT_IX, std::mem::take(&mut self.ix))] {
            if !rows.0.is_empty() {
                let (keys, values, exps) = last_of_each(rows);
                steps.push(Step::new(sql, vec![Box::new(keys), Box::new(values), Box::new(exps), Box::new(self.ver)]));
            }
        }
        steps.append(&mut self.others);
        (self.len, self.bytes) = (0, 0);
        answered(conn.pipeline(&steps)).await.map(drop)
    }
}

/// One statement may write a row once; a cut that names a key twice means the later one.
fn last_of_each((keys, values, exps): Rows) -> Rows {
    let mut rows = std::collections::BTreeMap::new();
    for ((key, value), exp) in keys.into_iter().zip(values).zip(exps) {
        rows.insert(key, (value, exp));
    }
    let mut out = Rows::default();
    for (key, (value, exp)) in rows {
        out.0.push(key);
        out.1.push(value);
        out.2.push(exp);
    }
    out
}
