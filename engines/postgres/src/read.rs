//! Reads: points merged into one statement, everything else at a snapshot of its own.

use std::collections::HashMap;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use squall_store::engine::{Scan, Step as Walk, is_empty, is_live};
use squall_store::{Bytes, Error, Key, Page, Part, Queue, Range, ReadOp, ReadOut, Result, Row, Stamp};
use squall_types::Millis;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_postgres::Row as PgRow;

use crate::conn::{Conn, Params, Step, Trouble, answered};
use crate::load;
use crate::overlay::Record;
use crate::shared::Shared;

/// Keys of one merged statement.
const MERGED: usize = 1_024;
/// Connections for reads that need a snapshot.
const SNAPSHOTS: usize = 6;
/// Rows of the first statement of a range, rows at most, and bytes that a statement should bring.
const CHUNK: usize = 48;
const CHUNK_MAX: usize = 1_024;
const CHUNK_BYTES: usize = 1 << 20;

const GET_KV: &str = "select k, v, ver, exp from kv where k = any($1)";
const GET_BOTH: &str = "select k, v, ver, exp from kv where k = any($1)
  union all select k, v, ver, exp from ix where k = any($2)";
const BEGIN: &str = "begin isolation level repeatable read read only";
const COMMIT: &str = "commit";
const DEPTH: &str = "select count(*) filter (where due <= $2), count(*) filter (where due > $2 and lease <> 0),
  count(*) filter (where due > $2 and lease = 0) from due where queue = $1";
const HEAD: &str = "select seq from heads where stream = $1 and part = $2";
const RANGES: [[&str; 2]; 2] = [
    [
        "select k, v, ver, exp from kv where k >= $1 and k < $2 and (exp is null or exp > $3) order by k limit $4",
        "select k, v, ver, exp from kv where k >= $1 and k < $2 and (exp is null or exp > $3) order by k desc limit $4",
    ],
    [
        "select k, v, ver, exp from ix where k >= $1 and k < $2 and (exp is null or exp > $3) order by k limit $4",
        "select k, v, ver, exp from ix where k >= $1 and k < $2 and (exp is null or exp > $3) order by k desc limit $4",
    ],
];

/// Points that somebody reads.
pub(crate) struct Points {
    pub keys: Vec<Key>,
    pub reply: oneshot::Sender<Result<Vec<ReadOut>>>,
    pub since: Instant,
}

/// One of the tasks that read points: each takes what waits, while the others' statements are under way.
pub(crate) async fn points(shared: Arc<Shared>, asks: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Points>>>) {
    let mut conn: Option<Conn> = None;
    loop {
        let mut batch = Vec::new();
        {
            let mut asks = asks.lock().await;
            match asks.recv().await {
                Some(points) => batch.push(points),
                None => return,
            }
            let mut keys = 0;
            while keys < MERGED {
                let Ok(points) = asks.try_recv() else { break };
                keys += points.keys.len();
                batch.push(points);
            }
        }
        let found = loop {
            match get(&shared, &mut conn, &batch).await {
                Ok(found) => break Ok(found),
                Err(trouble) => {
                    conn = None;
                    let patience = shared.link.options.patience;
                    if batch.iter().any(|points| points.since.elapsed() > patience) {
                        break Err(trouble.unavailable());
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        };
        let now = shared.time.now();
        for Points { keys, reply, .. } in batch {
            let outs = match &found {
                Ok(found) => Ok(keys.into_iter().map(|key| ReadOut::Row(live(found, key, now))).collect()),
                Err(Error::Unavailable(why)) => Err(Error::Unavailable(why.clone())),
                Err(_) => Err(Error::Unavailable("the read failed".into())),
            };
            drop(reply.send(outs));
        }
    }
}

fn live(found: &HashMap<Key, Record>, key: Key, now: Millis) -> Option<Row> {
    let record = found.get(&key).filter(|record| is_live(record.exp, now))?;
    Some(Row { key, value: record.value.clone(), ver: record.ver })
}

async fn get(
    shared: &Shared,
    slot: &mut Option<Conn>,
    batch: &[Points],
) -> std::result::Result<HashMap<Key, Record>, Trouble> {
    if slot.as_ref().is_none_or(Conn::is_closed) {
        *slot = Some(shared.link.connect_soon(Duration::from_secs(3)).await.map_err(Trouble::Lost)?);
    }
    let Some(conn) = slot else { return Err(Trouble::timed_out()) };
    let keys = batch.iter().flat_map(|points| &points.keys);
    let (mut ix, mut kv): (Vec<&[u8]>, Vec<&[u8]>) = (Vec::new(), Vec::new());
    keys.for_each(|key| if key.is_ix() { ix.push(key.as_bytes()) } else { kv.push(key.as_bytes()) });
    let rows = if ix.is_empty() {
        answered(conn.query(GET_KV, &[&kv])).await?
    } else {
        answered(conn.query(GET_BOTH, &[&kv, &ix])).await?
    };
    rows.iter().map(|row| load::record(row).map_err(Trouble::from)).collect()
}

/// Connections that are used by one read at a time, and never more than [`SNAPSHOTS`].
pub(crate) struct Snapshots {
    idle: Arc<Mutex<Vec<Conn>>>,
    places: Arc<Semaphore>,
}

impl Default for Snapshots {
    fn default() -> Self {
        Snapshots { idle: Arc::default(), places: Arc::new(Semaphore::new(SNAPSHOTS)) }
    }
}

/// A connection of the pool, and its place. It ends with this value unless it is put back.
pub(crate) struct Lent {
    pub conn: Conn,
    idle: Arc<Mutex<Vec<Conn>>>,
    _place: OwnedSemaphorePermit,
}

impl Lent {
    /// Keeps a connection that is in no transaction for the next read.
    pub fn put_back(self) {
        self.idle.lock().push(self.conn);
    }
}

impl Snapshots {
    /// A connection for one statement or one snapshot; who waits too long for a place is told so.
    pub async fn take(&self, shared: &Shared, limit: Duration) -> std::result::Result<Lent, Trouble> {
        let Ok(Ok(place)) = tokio::time::timeout(limit, Arc::clone(&self.places).acquire_owned()).await else {
            return Err(Trouble::Lost("other reads use all connections".into()));
        };
        let conn = loop {
            let idle = self.idle.lock().pop();
            match idle {
                Some(conn) if conn.is_closed() => {}
                Some(conn) => break conn,
                None => break shared.link.connect_soon(Duration::from_secs(3)).await.map_err(Trouble::Lost)?,
            }
        };
        Ok(Lent { conn, idle: Arc::clone(&self.idle), _place: place })
    }

    /// Answers the operations at one snapshot.
    pub async fn read(&self, shared: &Shared, ops: Vec<ReadOp>) -> Result<Vec<ReadOut>> {
        let is_one_statement = matches!(ops[..], [ReadOp::Depth(_) | ReadOp::Head(_)]);
        let mut snapshot = Snapshot { snapshots: self, shared, lent: None, is_one_statement };
        let now = shared.time.now();
        let mut outs = Vec::with_capacity(ops.len());
        let mut ops = ops.into_iter().peekable();
        while let Some(op) = ops.next() {
            match op {
                ReadOp::Get(key) => {
                    let mut keys = vec![key];
                    while let Some(ReadOp::Get(key)) = ops.next_if(|op| matches!(op, ReadOp::Get(_))) {
                        keys.push(key);
                    }
                    outs.extend(self::keys(&mut snapshot, keys, now).await?);
                }
                ReadOp::Range(range) => outs.push(ReadOut::Rows(page(&mut snapshot, range, now).await?)),
                ReadOp::Depth(queue) => outs.push(depth(&mut snapshot, queue, now).await?),
                ReadOp::Head(part) => outs.push(head(&mut snapshot, part).await?),
            }
        }
        snapshot.end();
        Ok(outs)
    }
}

/// A snapshot that begins together with its first statement, in one round trip.
struct Snapshot<'s> {
    snapshots: &'s Snapshots,
    shared: &'s Shared,
    lent: Option<Lent>,
    /// A statement alone is its own snapshot.
    is_one_statement: bool,
}

impl Snapshot<'_> {
    async fn run(&mut self, sql: &'static str, params: Params<'_>) -> Result<Vec<PgRow>> {
        let step = Step::new(sql, params);
        if let Some(lent) = &self.lent {
            let answers = answered(lent.conn.pipeline(&[step])).await.map_err(Trouble::unavailable)?;
            return Ok(answers.into_iter().next().unwrap_or_default());
        }
        let mut steps = vec![step];
        if !self.is_one_statement {
            steps.insert(0, Step::new(BEGIN, Params::new()));
        }
        let (begin, patience) = (Instant::now(), self.shared.link.options.patience);
        loop {
            // A database that hangs holds every connection for a while: whoever waits for one must not wait for all.
            let left = patience.saturating_sub(begin.elapsed());
            let first = match self.snapshots.take(self.shared, left).await {
                Ok(lent) => answered(lent.conn.pipeline(&steps)).await.map(|answers| (lent, answers)),
                Err(trouble) => Err(trouble),
            };
            match first {
                Ok((lent, mut answers)) => {
                    self.lent = Some(lent);
                    return Ok(answers.pop().unwrap_or_default());
                }
                Err(trouble) if begin.elapsed() >= patience => return Err(trouble.unavailable()),
                // Nobody has seen anything yet, so it may begin anew.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// The caller need not wait for the end of a snapshot.
    fn end(self) {
        match self.lent {
            Some(lent) if self.is_one_statement => lent.put_back(),
            Some(lent) => drop(tokio::spawn(async move {
                if answered(lent.conn.query(COMMIT, &[])).await.is_ok() {
                    lent.put_back();
                }
            })),
            None => {}
        }
    }
}

async fn keys(snapshot: &mut Snapshot<'_>, keys: Vec<Key>, now: Millis) -> Result<Vec<ReadOut>> {
    let (ix, kv): (Vec<&Key>, Vec<&Key>) = keys.iter().partition(|key| key.is_ix());
    let bytes = |keys: Vec<&Key>| keys.into_iter().map(|key| key.as_bytes().to_vec()).collect::<Vec<_>>();
    let rows = snapshot.run(GET_BOTH, vec![Box::new(bytes(kv)), Box::new(bytes(ix))]).await?;
    let found: std::result::Result<HashMap<Key, Record>, _> = rows.iter().map(load::record).collect();
    let found = found.map_err(|error| Error::Corrupt(error.to_string()))?;
    Ok(keys.into_iter().map(|key| ReadOut::Row(live(&found, key, now))).collect())
}

async fn depth(snapshot: &mut Snapshot<'_>, queue: Queue, now: Millis) -> Result<ReadOut> {
    let rows = snapshot.run(DEPTH, vec![Box::new(queue.0.cast_signed()), Box::new(now.0)]).await?;
    let count = |index| rows.first().map_or(0, |row| row.get::<_, i64>(index).unsigned_abs());
    Ok(ReadOut::Depth { ready: count(0), leased: count(1), delayed: count(2) })
}

async fn head(snapshot: &mut Snapshot<'_>, part: Part) -> Result<ReadOut> {
    let params: Params<'_> = vec![Box::new(part.stream.cast_signed()), Box::new(i32::from(part.part))];
    let rows = snapshot.run(HEAD, params).await?;
    Ok(ReadOut::Head(rows.first().map_or(0, |row| row.get::<_, i64>(0).unsigned_abs())))
}

/// The first key at or behind a bound, as bytes.
fn edge(bound: &Bound<Key>, is_from: bool, default: &[u8]) -> Vec<u8> {
    let (key, is_behind) = match bound {
        Bound::Included(key) => (key, !is_from),
        Bound::Excluded(key) => (key, is_from),
        Bound::Unbounded => return default.to_vec(),
    };
    let mut bytes = key.as_bytes().to_vec();
    if is_behind {
        bytes.push(0);
    }
    bytes
}

async fn page(snapshot: &mut Snapshot<'_>, range: Range, now: Millis) -> Result<Page> {
    let (is_ix, reverse, limit) = (range.is_ix(), range.reverse, range.limit);
    let (mut scan, mut from, mut to) = Scan::new(range);
    let sql = RANGES[usize::from(is_ix)][usize::from(reverse)];
    // Behind every key that may be.
    let last = [0xff; squall_store::limits::KEY_BYTES_MAX + 1];
    let mut chunk = limit.saturating_add(1).min(CHUNK);
    while !is_empty(&from, &to) {
        let (low, high) = (edge(&from, true, &[]), edge(&to, false, &last));
        let count = chunk as i64;
        let params: Params<'_> = vec![Box::new(low), Box::new(high), Box::new(now.0), Box::new(count)];
        let rows = snapshot.run(sql, params).await?;
        let mut bytes = 0;
        for row in &rows {
            let corrupt = |error: tokio_postgres::Error| Error::Corrupt(error.to_string());
            let (key, value): (&[u8], &[u8]) = (row.try_get(0).map_err(corrupt)?, row.try_get(1).map_err(corrupt)?);
            bytes += key.len() + value.len();
            if is_outside(key, &from, &to) {
                // A group that was jumped over.
                continue;
            }
            let ver = Stamp(row.try_get(2).map_err(corrupt)?);
            let take = || (Key::from_bytes(key.to_vec()), Bytes::copy_from_slice(value), ver);
            // A sift that panics is the caller's bug; it ends this read alone.
            let walk = catch_unwind(AssertUnwindSafe(|| scan.offer(key, value, take)));
            let bound = match walk.map_err(|_| Error::Panicked("in a sift".into()))? {
                Walk::Next => Bound::Excluded(Key::from_bytes(key.to_vec())),
                Walk::Done => return Ok(scan.finish()),
                Walk::Jump(bound) => bound,
            };
            if reverse { to = bound } else { from = bound }
        }
        if rows.len() < chunk {
            break;
        }
        let each = (bytes / rows.len().max(1)).max(1);
        chunk = (CHUNK_BYTES / each).clamp(16, CHUNK_MAX).min(chunk * 4);
    }
    Ok(scan.finish())
}

fn is_outside(key: &[u8], from: &Bound<Key>, to: &Bound<Key>) -> bool {
    let below = match from {
        Bound::Included(from) => key < from.as_bytes(),
        Bound::Excluded(from) => key <= from.as_bytes(),
        Bound::Unbounded => false,
    };
    let above = match to {
        Bound::Included(to) => key > to.as_bytes(),
        Bound::Excluded(to) => key >= to.as_bytes(),
        Bound::Unbounded => false,
    };
    below || above
}
