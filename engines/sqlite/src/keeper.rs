//! The keeper: a thread that copies the write-ahead log into the file and starts sweeps, off the commit path.
//!
//! A passive checkpoint runs beside the committer, but a log that is written all the time is never copied to its end,
//! and so never begins anew. So the keeper copies in passes, each of which only finds what was written during the
//! previous one; when little is left and the log is long, it asks the committer to do the rest between two batches.
//!
//! SQLite syncs the file only when a checkpoint reaches the log's end, which is the committer's part: it would sync for
//! everybody while everybody waits (165 ms after 24,576 pages, a quarter of the time under full load). So the keeper
//! syncs what it has copied.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, OpenFlags};

use crate::committer::checkpoint;
use crate::inbox::{Inbox, Job};

/// Pages of 4 KiB in the log after which a checkpoint begins, and the stretch after which a log that could not be ended is
/// tried again. The longer, the fewer pages are copied twice and the more of them lie side by side: copying 8,192 pages
/// of a table of 67,000 took 108 ms, 24,576 took 185 ms.
const SOFT_PAGES: i32 = 24_576;
/// Pages in the log after which the committer is asked to end it.
const HARD_PAGES: i64 = SOFT_PAGES as i64;
/// Pages that are quick enough to copy and sync between two batches.
const REST_PAGES: i64 = 1_536;
/// Passes of one checkpoint.
const PASSES: usize = 6;
/// Time between two sweeps, and between two checkpoints of a quiet state.
const TICK: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Asked {
    checkpoint: bool,
    closed: bool,
}

/// The committer's side of the keeper.
#[derive(Default)]
pub(crate) struct Keeper {
    asked: Mutex<Asked>,
    wake: Condvar,
    /// Log length at which to ask next.
    next: AtomicI32,
}

impl Keeper {
    /// Whether a log of this length wants a checkpoint (asked once per stretch of the log).
    pub fn wants(&self, pages: i32) -> bool {
        let next = self.next.load(Ordering::Relaxed);
        // The log began anew: count from its beginning.
        let next = if pages < next.saturating_sub(SOFT_PAGES) { SOFT_PAGES } else { next.max(SOFT_PAGES) };
        let wants = pages >= next;
        self.next.store(if wants { pages + SOFT_PAGES } else { next }, Ordering::Relaxed);
        wants
    }

    /// Asks for a checkpoint.
    pub fn ask(&self) {
        self.asked.lock().checkpoint = true;
        self.wake.notify_one();
    }

    /// Ends the thread.
    pub fn close(&self) {
        self.asked.lock().closed = true;
        self.wake.notify_one();
    }

    /// Waits for work. `false`: closed.
    fn wait(&self, until: Instant) -> bool {
        let mut asked = self.asked.lock();
        while !asked.checkpoint && !asked.closed && !self.wake.wait_until(&mut asked, until).timed_out() {}
        asked.checkpoint = false;
        !asked.closed
    }

    /// The thread.
    ///
    /// `file` is the state's; whoever closes it must close it after all connections, because that takes their locks away.
    pub fn run(self: Arc<Keeper>, path: &Path, file: &File, inbox: &Inbox) {
        let mut conn = None;
        let mut tick = Instant::now() + TICK;
        while self.wait(tick) {
            if Instant::now() >= tick {
                tick = Instant::now() + TICK;
                inbox.push(Job::Sweep);
            }
            let done = match conn.take() {
                Some(conn) => Ok(conn),
                None => open(path),
            };
            match done.and_then(|open| copy(&open, file).map(|log| (open, log))) {
                Ok((open, log)) => {
                    conn = Some(open);
                    if log >= HARD_PAGES {
                        inbox.push(Job::Restart);
                    }
                }
                Err(error) => tracing::warn!(%error, "checkpoint the write-ahead log"),
            }
        }
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.execute_batch("pragma synchronous = full; pragma wal_autocheckpoint = 0; pragma cache_size = -1024;")?;
    Ok(conn)
}

/// Copies the log in passes and syncs the file after each but a last short one; gives the log's length.
fn copy(conn: &Connection, file: &File) -> rusqlite::Result<i64> {
    let (mut pages, mut before) = (0, 0);
    for _ in 0..PASSES {
        let (_, log, copied) = checkpoint(conn, "passive")?;
        pages = log;
        // A log that began anew meanwhile is a short one.
        if copied - before < REST_PAGES {
            break;
        }
        before = copied;
        if let Err(error) = file.sync_data() {
            // Whoever ends the log syncs again, on a descriptor of its own, and meets the error too.
            tracing::error!(%error, "sync the state file");
        }
    }
    Ok(pages)
}
