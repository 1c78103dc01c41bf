//! The state engine on PostgreSQL (15 and newer, no extensions): for state that outgrows one machine's file.
//!
//! Shape: a committer task merges the commits that wait into one transaction of two round trips; a claimer task does
//! the same for claims; two tasks merge point reads; other reads have a snapshot of their own on a pooled connection.
//! The keeper follows the database's clock, looks for what other servers changed, and sweeps.
//!
//! Invariants: an acknowledged durable commit is on the database's disk; rules run over rows that are locked until the
//! commit; stream numbers come from rows locked last; the outcome of a commit whose connection ended is found out.
//! Several servers may use the tables at once as far as this crate goes; that only one does is agreed in `nodes`.
//! Nothing is used that wire-compatible systems lack: no notifications, no advisory locks, no row addresses.

mod claimer;
mod clock;
mod committer;
mod conn;
mod dump;
mod entries;
mod keeper;
mod load;
mod needs;
mod options;
mod overlay;
mod read;
mod schema;
mod shared;
mod streams;
mod tls;
mod write;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use squall_store::{
    Change, ClaimSpec, Claimed, Committed, Consistency, Error, Part, Queue, ReadOp, ReadOut, Record, Result, State,
    Txn, limits,
};
use squall_types::Millis;
use tokio::sync::{Mutex, mpsc, oneshot};

pub use options::{OpenError, Options, SCHEMA};

use claimer::{Ask, Claimer, Lease, Wanted};
use clock::Time;
use committer::{Committer, Job, Waiting};
use conn::Link;
use keeper::Waits;
use read::{Points, Snapshots};
use shared::Shared;

/// Tasks that read points: while one waits for its statement, the other gathers.
const POINT_READERS: usize = 2;
/// Records between an export or import and its other end.
const DUMP_BUFFER: usize = 256;
/// Longest pause between two looks at a queue that somebody waits for; the keeper looks more often.
const LOOK: Duration = Duration::from_secs(20);
/// The same where time is given from outside, and moved by hand.
const LOOK_GIVEN: Duration = Duration::from_millis(50);
/// Where the claimer's numbers begin, so that they are never the committer's.
const LEASES: i64 = 1 << 35;

/// The engine. Cheap to clone; its tasks end with the last clone.
#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    jobs: mpsc::UnboundedSender<Job>,
    asks: mpsc::UnboundedSender<Ask>,
    points: mpsc::UnboundedSender<Points>,
    snapshots: Arc<Snapshots>,
    waits: Arc<Waits>,
}

impl Postgres {
    /// Connects, brings the schema up to date, and registers as the server that uses the state. Call it inside a tokio
    /// runtime, which then runs the engine's tasks.
    ///
    /// # Errors
    /// `Unreachable`, `Login`, `Tls`, `Old`, `Newer`, `InUse`, `Database`: each text says what to do.
    pub async fn open(options: Options) -> std::result::Result<Postgres, OpenError> {
        let time = Time::new(options.clock.clone());
        let link = Link::new(options)?;
        let conn = link.connect().await.map_err(|error| link.explain(&error))?;
        schema::migrate(&link, &conn, schema::VERSION).await?;
        let registered = schema::register(&link, &conn, &time).await?;
        let shared = Arc::new(Shared::new(link, time, registered.epoch));
        let (jobs, jobs_in) = mpsc::unbounded_channel();
        let (asks, asks_in) = mpsc::unbounded_channel();
        let (points, points_in) = mpsc::unbounded_channel();
        let first = registered.first;
        let committer =
            Committer { shared: Arc::clone(&shared), jobs: jobs_in, conn: Some(conn), number: first, batch: 0 };
        tokio::spawn(committer.run());
        let claimer = Claimer {
            shared: Arc::clone(&shared),
            asks: asks_in,
            back: asks.downgrade(),
            conn: None,
            number: first + LEASES,
            unsure: Vec::new(),
        };
        tokio::spawn(claimer.run());
        let points_in = Arc::new(Mutex::new(points_in));
        for _ in 0..POINT_READERS {
            tokio::spawn(read::points(Arc::clone(&shared), Arc::clone(&points_in)));
        }
        let waits = Arc::new(Waits::default());
        tokio::spawn(keeper::run(Arc::downgrade(&shared), Arc::downgrade(&waits)));
        let snapshots = Arc::new(Snapshots::default());
        Ok(Postgres(Arc::new(Inner { shared, jobs, asks, points, snapshots, waits })))
    }

    /// Lets another server use the state at once; this one must not be used any more. Without it others wait for 15 s.
    pub async fn close(&self) {
        let shared = &self.0.shared;
        if let Ok(conn) = shared.link.connect_soon(Duration::from_secs(3)).await {
            // Whoever comes waits for 15 s if this fails.
            drop(schema::beat(&conn, &shared.link.options.node, shared.epoch, 0).await);
        }
    }

    async fn claim_once(&self, queue: Queue, spec: &ClaimSpec) -> Result<Lease> {
        let (reply, answer) = oneshot::channel();
        let wanted = Wanted { queue, spec: spec.clone(), reply, since: Instant::now() };
        self.0.asks.send(Ask::Claim(wanted)).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

fn closed() -> Error {
    Error::Unavailable("the engine is closed".into())
}

#[async_trait]
impl State for Postgres {
    async fn read(&self, ops: Vec<ReadOp>, _: Consistency) -> Result<Vec<ReadOut>> {
        limits::read(&ops)?;
        if !ops.iter().all(|op| matches!(op, ReadOp::Get(_))) {
            return self.0.snapshots.read(&self.0.shared, ops).await;
        }
        let key = |op| match op {
            ReadOp::Get(key) => Some(key),
            _ => None,
        };
        let (reply, answer) = oneshot::channel();
        let points = Points { keys: ops.into_iter().filter_map(key).collect(), reply, since: Instant::now() };
        self.0.points.send(points).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    async fn commit(&self, txn: Txn) -> Result<Committed> {
        limits::txn(&txn)?;
        self.0.shared.admit()?;
        let (reply, answer) = oneshot::channel();
        self.0.jobs.send(Job::Commit(Waiting { txn, reply, since: Instant::now() })).map_err(|_| closed())?;
        answer.await.map_err(|_| Error::Unknown)?
    }

    async fn claim(&self, queue: Queue, spec: ClaimSpec) -> Result<Vec<Claimed>> {
        limits::claim(&spec)?;
        let deadline = self.now().0.saturating_add(spec.wait.0);
        let longest = if self.0.shared.time.is_given() { LOOK_GIVEN } else { LOOK };
        let mut wait = None;
        loop {
            // Listens before it asks: a commit in between is not missed.
            let mut changed = self.0.shared.queues.listen(queue);
            let lease = self.claim_once(queue, &spec).await?;
            let now = self.now();
            if !lease.is_empty() || now.0 >= deadline {
                return Ok(lease.take());
            }
            wait.get_or_insert_with(|| self.0.waits.queue(queue));
            let until = lease.next.map_or(deadline, |due| due.0.min(deadline)) - now.0;
            // An entry that is due and yet was not claimed is just being settled.
            let pause = Duration::from_millis(u64::try_from(until).unwrap_or(0).max(5)).min(longest);
            tokio::select! {
                _ = changed.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn watch(&self, part: Part, after: u64) -> BoxStream<'static, Result<Change>> {
        let inner = Arc::clone(&self.0);
        let pages = stream::unfold(Some(after), move |after| {
            let inner = Arc::clone(&inner);
            async move {
                let after = after?;
                let _wait = inner.waits.part(part);
                loop {
                    let mut changed = inner.shared.parts.listen(part);
                    match streams::changes_after(&inner.shared, &inner.snapshots, part, after).await {
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
        let shared = Arc::clone(&self.0.shared);
        tokio::spawn(async move { dump::export(&shared, to).await });
        stream::unfold(from, |mut from| async move { from.recv().await.map(|record| (record, from)) }).boxed()
    }

    async fn import(&self, mut records: BoxStream<'static, Result<Record>>) -> Result<()> {
        let (to, from) = mpsc::channel(DUMP_BUFFER);
        let (reply, answer) = oneshot::channel();
        self.0.shared.admit()?;
        self.0.jobs.send(Job::Import(from, reply)).map_err(|_| closed())?;
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
        self.0.shared.time.now()
    }
}
