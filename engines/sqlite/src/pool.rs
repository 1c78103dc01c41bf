//! Reading connections: opened on first use, shared by whoever finds one free.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rusqlite::Connection;
use squall_store::Result;

use crate::committer::refusal;
use crate::schema;

/// A fixed number of connections.
pub(crate) struct Pool {
    path: PathBuf,
    conns: Vec<Mutex<Option<Connection>>>,
    turn: AtomicUsize,
}

impl Pool {
    pub fn new(path: &Path, size: usize) -> Pool {
        let conns = (0..size.max(1)).map(|_| Mutex::new(None)).collect();
        Pool { path: path.to_owned(), conns, turn: AtomicUsize::new(0) }
    }

    /// Closes every connection.
    pub fn close(&self) {
        self.conns.iter().for_each(|conn| drop(conn.lock().take()));
    }

    /// Reads on the first free connection; waits for one when all are busy. A connection that fails is not used again.
    pub fn with<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let free = self.conns.iter().find_map(|conn| conn.try_lock());
        let mut slot = match free {
            Some(slot) => slot,
            None => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.conns.len();
                match self.conns.get(turn) {
                    Some(conn) => conn.lock(),
                    None => return Err(squall_store::Error::Unavailable("no reader".into())),
                }
            }
        };
        let conn = match slot.take() {
            Some(conn) => conn,
            None => schema::reader(&self.path).map_err(|error| refusal(&error))?,
        };
        let done = read(&conn).map_err(|error| refusal(&error));
        if done.is_ok() {
            *slot = Some(conn);
        }
        done
    }
}

/// Runs several statements at one snapshot.
pub(crate) fn snapshot<T>(
    conn: &Connection,
    read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    conn.prepare_cached("begin")?.execute([])?;
    let done = read(conn);
    // Ends the snapshot; a failure of it would pin the log, so it counts.
    conn.prepare_cached("commit")?.execute([])?;
    done
}
