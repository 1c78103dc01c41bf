//! The embedded durable state engine on SQLite: one file in write-ahead mode, one committer, many readers.
//!
//! Shape: [`Sqlite`] hands commits and claims to the committer thread through an inbox and reads on pooled
//! connections beside it. The keeper thread checkpoints and sweeps.
//!
//! Invariants: an acknowledged durable commit is synced; one process per folder; rows are only written by the
//! committer's connection. What it does not do: values over 1 MiB, several machines.

mod apply;
mod backup;
mod cache;
mod committer;
mod dump;
mod inbox;
mod keeper;
mod pace;
mod parked;
mod pool;
mod queues;
mod read;
mod room;
mod schema;
mod streams;

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use parking_lot::Mutex;
use rusqlite::Connection;
use squall_store::engine::Signals;
use squall_store::{
    Change, ClaimSpec, Claimed, Committed, Consistency, Error, Key, Part, Queue, ReadOp, ReadOut, Record, Result, Row,
    State, Txn, limits,
};
use squall_types::{Clock, Millis};
use tokio::sync::{mpsc, oneshot};

pub use backup::restore;
pub use schema::OpenError;

use cache::{Cache, Changes};
use committer::Committer;
use inbox::{Inbox, Job, Waiter};
use keeper::Keeper;
use pool::Pool;
use room::Room;

/// Connections for short reads on the calling thread, and for long ones on blocking threads.
const READERS: usize = 4;
/// Records between an export or import and its other end.
const DUMP_BUFFER: usize = 256;

/// The engine. Cheap to clone; the last clone that is dropped waits for what was committed.
#[derive(Clone)]
pub struct Sqlite(Arc<Inner>);

struct Inner {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    inbox: Arc<Inbox>,
    keeper: Arc<Keeper>,
    room: Arc<Room>,
    parts: Arc<Signals<Part>>,
    quick: Pool,
    long: Pool,
    cache: Arc<Cache>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// What the keeper syncs. Closing it ends the locks of all connections to the file, so it is closed after them.
    _file: Arc<File>,
    /// Released last, after the threads have ended.
    _lock: Mutex<Connection>,
}

impl Sqlite {
    /// Opens the state in a folder; makes both if there are none.
    ///
    /// # Errors
    /// `Locked` if another server has the folder, `Newer` or `Damaged` if the file cannot be used, `Io`, `Sqlite`.
    pub fn open(dir: &Path, clock: Arc<dyn Clock>) -> std::result::Result<Sqlite, OpenError> {
        let lock = schema::lock(dir)?;
        let path = schema::file(dir);
        let conn = schema::writer(&path)?;
        let stamp = schema::first_stamp(&conn, clock.now()).map_err(OpenError::sqlite(&path))?;
        let file = Arc::new(File::open(&path).map_err(OpenError::io("open", &path))?);
        let (inbox, keeper, room) = (Arc::<Inbox>::default(), Arc::<Keeper>::default(), Arc::<Room>::default());
        let parts = Arc::new(Signals::default());
        let cache = Arc::new(Cache::default());
        let committer = Committer {
            path: path.clone(),
            conn: Some(conn),
            inbox: Arc::clone(&inbox),
            parts: Arc::clone(&parts),
            keeper: Arc::clone(&keeper),
            room: Arc::clone(&room),
            pace: pace::Pace::default(),
            clock: Arc::clone(&clock),
            stamp,
            synchronous: true,
            parked: parked::Parked::default(),
            changes: Changes::new(Arc::clone(&cache)),
            backlog: VecDeque::new(),
        };
        let threads = vec![
            spawn("state-keep", &path, {
                let (path, inbox, keeper) = (path.clone(), Arc::clone(&inbox), Arc::clone(&keeper));
                let file = Arc::clone(&file);
                move || keeper.run(&path, &file, &inbox)
            })?,
            spawn("state-room", &path, {
                let (log, room) = (schema::log(&path), Arc::clone(&room));
                move || room.run(&log)
            })?,
            spawn("state-commit", &path, move || committer.run())?,
        ];
        let (quick, long) = (Pool::new(&path, READERS), Pool::new(&path, READERS));
        let (threads, _lock) = (Mutex::new(threads), Mutex::new(lock));
        let _file = file;
        Ok(Sqlite(Arc::new(Inner {
            path,
            clock,
            inbox,
            keeper,
            room,
            parts,
            quick,
            long,
            cache,
            threads,
            _file,
            _lock,
        })))
    }

    /// Writes a consistent copy of the live state to a new file; commits go on meanwhile.
    /// Put it back with [`restore`].
    ///
    /// # Errors
    /// `NotEmpty` if the file exists, `Io`, `Sqlite` (no space, say).
    pub async fn backup(&self, dest: &Path) -> std::result::Result<(), OpenError> {
        let (path, dest) = (self.0.path.clone(), dest.to_owned());
        let failed = OpenError::Damaged { path: dest.clone(), why: "the backup was broken off".into() };
        tokio::task::spawn_blocking(move || backup::backup(&path, &dest)).await.map_err(|_| failed)?
    }
}

fn spawn(
    name: &str,
    path: &Path,
    run: impl FnOnce() + Send + 'static,
) -> std::result::Result<JoinHandle<()>, OpenError> {
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(|source| OpenError::Io { doing: "start a thread for", path: path.to_owned(), source })
}

impl Inner {
    /// A single row.
    fn row(&self, key: &Key, now: Millis) -> Result<Option<Row>> {
        let claim = match self.cache.get(key, now) {
            Ok(row) => return Ok(row),
            Err(claim) => claim,
        };
        let Some(record) = self.quick.with(|conn| apply::record(conn, key, now))? else { return Ok(None) };
        let row = Row { key: key.clone(), value: record.value.clone(), ver: record.ver };
        if let Some(claim) = claim {
            self.cache.fill(&claim, key, record);
        }
        Ok(Some(row))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.inbox.close();
        self.keeper.close();
        self.room.close();
        // The committer's connection must be the last: closing it copies the log into the file.
        self.quick.close();
        self.long.close();
        for thread in self.threads.lock().drain(..) {
            // A thread that panicked has said so.
            drop(thread.join());
        }
    }
}

#[async_trait]
impl State for Sqlite {
    async fn read(&self, ops: Vec<ReadOp>, _: Consistency) -> Result<Vec<ReadOut>> {
        limits::read(&ops)?;
        let now = self.now();
        if let [ReadOp::Get(key)] = &ops[..] {
            return Ok(vec![ReadOut::Row(self.0.row(key, now)?)]);
        }
        if read::is_quick(&ops) {
            return self.0.quick.with(|conn| read::all(conn, ops, now));
        }
        let inner = Arc::clone(&self.0);
        let long = tokio::task::spawn_blocking(move || inner.long.with(|conn| read::all(conn, ops, now)));
        // A sift that panics is the caller's bug; it ends this read alone.
        long.await.map_err(|error| Error::Panicked(error.to_string()))?
    }

    async fn commit(&self, txn: Txn) -> Result<Committed> {
        limits::txn(&txn)?;
        let (reply, answer) = oneshot::channel();
        self.0.inbox.push(Job::Commit(txn, reply));
        answer.await.map_err(|_| Error::Unknown)?
    }

    async fn claim(&self, queue: Queue, spec: ClaimSpec) -> Result<Vec<Claimed>> {
        limits::claim(&spec)?;
        let (reply, answer) = oneshot::channel();
        let deadline = self.now().0.saturating_add(spec.wait.0);
        self.0.inbox.push(Job::Claim(Waiter { queue, spec, deadline, reply }));
        Ok(answer.await.map_err(|_| Error::Unknown)??.take())
    }

    fn watch(&self, part: Part, after: u64) -> BoxStream<'static, Result<Change>> {
        let inner = Arc::clone(&self.0);
        let pages = stream::unfold(Some(after), move |after| {
            let inner = Arc::clone(&inner);
            async move {
                let after = after?;
                loop {
                    // Listens before it looks: a commit in between is not missed.
                    let mut changed = inner.parts.listen(part);
                    let page =
                        inner.quick.with(|conn| pool::snapshot(conn, |conn| streams::changes_after(conn, part, after)));
                    match page.and_then(|page| page.ok_or(Error::Trimmed)) {
                        Err(error) => return Some((vec![Err(error)], None)),
                        Ok(page) => {
                            if let Some(last) = page.last().map(|change| change.seq) {
                                return Some((page.into_iter().map(Ok).collect(), Some(last)));
                            }
                        }
                    }
                    // The sender lives as long as the engine, which this stream holds.
                    changed.changed().await.ok()?;
                }
            }
        });
        pages.flat_map(stream::iter).boxed()
    }

    fn export(&self) -> BoxStream<'static, Result<Record>> {
        let (to, from) = mpsc::channel(DUMP_BUFFER);
        let (path, now) = (self.0.path.clone(), self.now());
        let failed = to.clone();
        let started = spawn("state-export", &path.clone(), move || dump::export(&path, now, &to));
        if let Err(error) = started {
            drop(failed.try_send(Err(Error::Unavailable(error.to_string()))));
        }
        drop(failed);
        stream::unfold(from, |mut from| async move { from.recv().await.map(|record| (record, from)) }).boxed()
    }

    async fn import(&self, mut records: BoxStream<'static, Result<Record>>) -> Result<()> {
        let (to, from) = mpsc::channel(DUMP_BUFFER);
        let (reply, answer) = oneshot::channel();
        self.0.inbox.push(Job::Import(from, reply));
        while let Some(record) = records.next().await {
            // The committer stops listening when it refuses.
            if to.send(record).await.is_err() {
                break;
            }
        }
        drop(to);
        answer.await.map_err(|_| Error::Unknown)?
    }

    fn now(&self) -> Millis {
        self.0.clock.now()
    }
}
