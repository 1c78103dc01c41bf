//! The committer: one thread that owns the writing connection.
//!
//! It takes everything that waits, up to a batch budget, applies it in one SQLite transaction, commits once (one sync
//! of the write-ahead log) and answers everybody. There is no artificial delay: a batch is what arrived during the
//! previous sync.
//!
//! When SQLite fails before the commit, nothing happened and callers are told `Unavailable`; when the commit itself
//! fails the outcome is `Unknown`, and the file is opened anew, because after a failed sync the page cache proves
//! nothing.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, ErrorCode, params};
use squall_store::engine::{OUTCOME_KEPT, Signals};
use squall_store::{Claimed, Committed, Error, Part, Queue, Result, Stamp};
use squall_types::{Clock, Millis};
use tokio::sync::oneshot;

use crate::apply::{self, Fail, Outcome, Touched};
use crate::cache::Changes;
use crate::dump;
use crate::inbox::{Inbox, Job, Lease, Waiter};
use crate::keeper::Keeper;
use crate::pace::Pace;
use crate::parked::Parked;
use crate::room::Room;
use crate::{queues, schema, streams};

/// Bytes that a batch may bring; the sync of a bigger one would hold up everybody behind it.
const BATCH_BYTES: usize = 8 << 20;
/// Jobs of a batch.
const BATCH_JOBS: usize = 4_096;
/// Rows that one sweep removes from each table.
const SWEEP: u32 = 500;
/// Pause between two attempts to open a file that failed.
const REOPEN: Duration = Duration::from_millis(100);

thread_local! {
    /// Pages in the write-ahead log after this thread's last commit.
    static WAL_PAGES: Cell<i32> = const { Cell::new(0) };
}

fn note_wal(_: &Wal, pages: i32) -> rusqlite::Result<()> {
    WAL_PAGES.set(pages);
    Ok(())
}

enum Answer {
    Commit(oneshot::Sender<Result<Committed>>, Result<Committed>),
    Claim(oneshot::Sender<Result<Lease>>, Vec<Claimed>),
}

impl Answer {
    fn give(self, inbox: &Arc<Inbox>) {
        // A caller that went away loses its answer; a claim's leases go back by themselves.
        match self {
            Answer::Commit(to, result) => drop(to.send(result)),
            Answer::Claim(to, claimed) => drop(to.send(Ok(Lease::new(claimed, inbox)))),
        }
    }

    fn refuse(self, error: Error) {
        match self {
            Answer::Commit(to, _) => drop(to.send(Err(error))),
            Answer::Claim(to, _) => drop(to.send(Err(error))),
        }
    }
}

pub(crate) struct Committer {
    pub path: PathBuf,
    pub conn: Option<Connection>,
    pub inbox: Arc<Inbox>,
    pub parts: Arc<Signals<Part>>,
    pub keeper: Arc<Keeper>,
    pub room: Arc<Room>,
    pub pace: Pace,
    pub clock: Arc<dyn Clock>,
    pub stamp: i64,
    pub synchronous: bool,
    pub parked: Parked,
    pub changes: Changes,
    pub backlog: VecDeque<Job>,
}

/// What a batch has gathered so far.
#[derive(Default)]
struct Batch {
    answers: Vec<Answer>,
    touched: Touched,
    sweep_again: bool,
    jobs: usize,
    now: Millis,
}

impl Committer {
    /// Works until the inbox is closed and empty.
    ///
    /// A panic would be a bug of this crate (a rule's own is caught where it runs). It drops the batch, whose callers
    /// are told `Unknown`, and the connection with its open transaction; work goes on with a new one, because a
    /// committer that is gone would leave everybody waiting.
    pub fn run(mut self) {
        while catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
            tracing::error!("the committer panicked; a batch is lost");
        }
    }

    fn work(&mut self) {
        loop {
            let now = self.clock.now();
            if self.backlog.is_empty() && !self.parked.is_due(now) {
                let pause = self.parked.pause(now, self.clock.runs_by_itself());
                if !self.inbox.wait(&mut self.backlog, pause) {
                    break;
                }
            } else {
                self.inbox.drain(&mut self.backlog);
            }
            let now = self.clock.now();
            let due = if self.parked.is_due(now) { self.tick(now) } else { Vec::new() };
            if self.backlog.is_empty() && due.is_empty() {
                continue;
            }
            self.turn(due, now);
        }
    }

    fn tick(&mut self, now: Millis) -> Vec<Queue> {
        let (over, due) = self.parked.tick(now);
        for waiter in over {
            drop(waiter.reply.send(Ok(Lease::new(Vec::new(), &self.inbox))));
        }
        due
    }

    fn turn(&mut self, due: Vec<Queue>, now: Millis) {
        let room = Arc::clone(&self.room);
        let writing = room.writing();
        self.write(due, now);
        MutexGuard::unlock_fair(writing);
        let pages = WAL_PAGES.get();
        room.used(pages);
        if self.keeper.wants(pages) {
            self.keeper.ask();
        }
    }

    fn write(&mut self, due: Vec<Queue>, now: Millis) {
        let Some(conn) = self.connection() else {
            for job in self.backlog.drain(..) {
                job.refuse(|| Error::Unavailable("the state file cannot be opened".into()));
            }
            std::thread::sleep(REOPEN);
            return;
        };
        let done = match self.backlog.front() {
            Some(job) if job.is_exclusive() => self.exclusive(&conn),
            _ => self.batch(&conn, due, now),
        };
        match done {
            Ok(()) => self.conn = Some(conn),
            Err(error) => {
                tracing::error!(%error, path = %self.path.display(), "the state file failed; opening it anew");
                // A close that fails leaves nothing to do: the file is opened anew in any case.
                drop(conn);
            }
        }
    }

    fn connection(&mut self) -> Option<Connection> {
        if let Some(conn) = self.conn.take() {
            conn.wal_hook(Some(note_wal));
            return Some(conn);
        }
        self.changes.forget();
        match schema::writer(&self.path) {
            Ok(conn) => {
                conn.wal_hook(Some(note_wal));
                self.synchronous = true;
                Some(conn)
            }
            Err(error) => {
                tracing::error!(%error, "open the state file anew");
                None
            }
        }
    }

    fn next_stamp(&mut self) -> Stamp {
        self.stamp += 1;
        Stamp(self.stamp)
    }

    /// Applies and commits what waits. `Err`: the connection is not to be used again.
    fn batch(&mut self, conn: &Connection, due: Vec<Queue>, now: Millis) -> rusqlite::Result<()> {
        let lazy = self.parked.is_lazy() && self.backlog.iter().all(Job::is_lazy);
        let mut batch = Batch { now, ..Batch::default() };
        let begun = Instant::now();
        let filled =
            self.begin(conn, !lazy).map_err(Fail::Broken).and_then(|()| self.fill(conn, &mut batch, lazy, due));
        match filled {
            Ok(()) => {}
            Err(Fail::Broken(error)) => return self.lost(conn, batch, error),
            Err(Fail::Refused(error)) => {
                // Only single transactions are refused; this would be a bug, and nothing of the batch may stay.
                tracing::error!(%error, "a batch was refused");
                return self.lost(conn, batch, rusqlite::Error::InvalidQuery);
            }
        }
        let applied = begun.elapsed();
        let committed = self.changes.commit(|| conn.prepare_cached("commit").and_then(|mut commit| commit.execute([])));
        if let Err(error) = committed {
            if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
                return self.lost(conn, batch, error);
            }
            batch.answers.into_iter().for_each(|answer| answer.refuse(Error::Unknown));
            return Err(error);
        }
        if !lazy {
            let waiting = self.backlog.len() + self.inbox.len();
            self.pace.note(batch.jobs, applied, begun.elapsed().saturating_sub(applied), waiting);
        }
        self.parts.notify(&batch.touched.parts);
        for answer in batch.answers {
            answer.give(&self.inbox);
        }
        if batch.sweep_again {
            self.inbox.push(Job::Sweep);
        }
        Ok(())
    }

    fn begin(&mut self, conn: &Connection, synchronous: bool) -> rusqlite::Result<()> {
        if self.synchronous != synchronous {
            // Without the sync a commit is in the log but may be lost with the machine's power; the next synced
            // commit carries it to the disk.
            conn.execute_batch(if synchronous { "pragma synchronous = full" } else { "pragma synchronous = normal" })?;
            self.synchronous = synchronous;
        }
        conn.prepare_cached("begin immediate")?.execute([]).map(drop)
    }

    fn fill(&mut self, conn: &Connection, batch: &mut Batch, lazy: bool, due: Vec<Queue>) -> Outcome<()> {
        let mut bytes = 0;
        batch.touched.queues = due;
        let most = if lazy { BATCH_JOBS } else { self.pace.jobs_max(BATCH_JOBS) };
        while bytes < BATCH_BYTES && batch.jobs < most {
            if self.backlog.is_empty() {
                self.inbox.drain(&mut self.backlog);
                // These came after the batch began: a lease must not begin before it was asked for.
                batch.now = Millis(batch.now.0.max(self.clock.now().0));
            }
            let fits = |job: &Job| !job.is_exclusive() && (!lazy || job.is_lazy());
            if !self.backlog.front().is_some_and(fits) {
                break;
            }
            let Some(job) = self.backlog.pop_front() else { break };
            bytes += job.bytes();
            batch.jobs += 1;
            self.job(conn, batch, job)?;
        }
        self.serve_parked(conn, batch)
    }

    fn job(&mut self, conn: &Connection, batch: &mut Batch, job: Job) -> Outcome<()> {
        match job {
            Job::Commit(txn, reply) => {
                let stamp = self.next_stamp();
                // The answer is booked before anything can break, so that it is given in any case.
                batch.answers.push(Answer::Commit(reply, Err(Error::Unknown)));
                let done = apply::txn(conn, txn, (stamp, batch.now), &mut batch.touched, &mut self.changes)?;
                if let Some(Answer::Commit(_, result)) = batch.answers.last_mut() {
                    *result = done;
                }
            }
            Job::Claim(waiter) => {
                if let Some(waiter) = self.claim(conn, batch, waiter)? {
                    if waiter.deadline <= batch.now.0 {
                        batch.answers.push(Answer::Claim(waiter.reply, Vec::new()));
                    } else {
                        let next_due = queues::next_due(conn, waiter.queue)?;
                        self.parked.park(waiter, next_due);
                    }
                }
            }
            Job::Release(claimed) => queues::release(conn, &claimed, &mut batch.touched)?,
            Job::Sweep => batch.sweep_again = sweep(conn, batch.now)?,
            Job::Import(..) | Job::Restart => {}
        }
        Ok(())
    }

    /// Serves a claim, or gives it back when nothing is due.
    fn claim(&mut self, conn: &Connection, batch: &mut Batch, waiter: Waiter) -> Outcome<Option<Waiter>> {
        if waiter.reply.is_closed() {
            return Ok(None);
        }
        let lease = self.next_stamp();
        let claimed = queues::claim(conn, waiter.queue, &waiter.spec, lease, batch.now)?;
        if claimed.is_empty() {
            return Ok(Some(waiter));
        }
        batch.answers.push(Answer::Claim(waiter.reply, claimed));
        Ok(None)
    }

    /// Gives entries that became due in this very batch to those who wait for them: one sync for both.
    fn serve_parked(&mut self, conn: &Connection, batch: &mut Batch) -> Outcome<()> {
        let mut touched = std::mem::take(&mut batch.touched.queues);
        touched.retain(|queue| self.parked.waits_for(*queue));
        touched.sort_unstable();
        touched.dedup();
        for queue in touched {
            while let Some(waiter) = self.parked.next(queue) {
                if let Some(waiter) = self.claim(conn, batch, waiter)? {
                    let next_due = queues::next_due(conn, queue)?;
                    self.parked.unserved(waiter, next_due);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Nothing of the batch happened. `Err`: the connection is not to be used again.
    fn lost(&mut self, conn: &Connection, batch: Batch, error: rusqlite::Error) -> rusqlite::Result<()> {
        self.changes.forget();
        let rolled_back = conn.is_autocommit() || conn.execute_batch("rollback").is_ok();
        for answer in batch.answers {
            answer.refuse(if rolled_back { refusal(&error) } else { Error::Unknown });
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::TooBig) if rolled_back => {
                tracing::error!(%error, "a batch was rolled back");
                Ok(())
            }
            _ => Err(error),
        }
    }

    fn exclusive(&mut self, conn: &Connection) -> rusqlite::Result<()> {
        match self.backlog.pop_front() {
            Some(Job::Import(mut records, reply)) => {
                self.begin(conn, true)?;
                let first = self.stamp;
                let done = dump::import(conn, &mut records, first);
                self.stamp = first + 1;
                let end = if done.is_ok() { "commit" } else { "rollback" };
                self.changes.rows();
                let ended = self.changes.commit(|| conn.execute_batch(end));
                let unknown = |_| Error::Unknown;
                drop(reply.send(done.and_then(|()| ended.map_err(unknown))));
            }
            Some(Job::Restart) => {
                // What is left to copy is little, the keeper did the rest; readers that hold the log are not
                // waited for long.
                conn.busy_timeout(Duration::from_millis(20))?;
                let log = checkpoint(conn, "restart")?;
                conn.busy_timeout(Duration::from_secs(5))?;
                tracing::debug!(?log, "the write-ahead log begins anew");
            }
            _ => {}
        }
        Ok(())
    }
}

/// Runs a checkpoint: (was blocked, pages in the log, pages copied).
pub(crate) fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<(bool, i64, i64)> {
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    conn.query_row(&format!("pragma wal_checkpoint({mode})"), [], row)
}

/// What a failure of SQLite means to a caller when nothing happened.
pub(crate) fn refusal(error: &rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::Corrupt(error.to_string()),
        _ => Error::Unavailable(error.to_string()),
    }
}

/// Removes a slice of what has expired, was trimmed, or need not be remembered. `true`: there may be more.
fn sweep(conn: &Connection, now: Millis) -> rusqlite::Result<bool> {
    let mut again = streams::sweep(conn, SWEEP)?;
    let forgotten = now.0.saturating_sub(OUTCOME_KEPT.0);
    for (sql, before) in [
        ("delete from kv where k in (select k from kv where exp <= ?1 limit ?2)", now.0),
        ("delete from ix where k in (select k from ix where exp <= ?1 limit ?2)", now.0),
        ("delete from done where id in (select id from done where at < ?1 limit ?2)", forgotten),
    ] {
        again |= conn.prepare_cached(sql)?.execute(params![before, SWEEP])? == SWEEP as usize;
    }
    Ok(again)
}

#[cfg(test)]
mod tests;
