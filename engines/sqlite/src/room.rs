//! Room in the write-ahead log: zeros that are written ahead of the commits, by a thread of its own.
//!
//! The sync of bytes in a place that was written before takes half the time of one that makes the file longer (106 against
//! 218 us for 8 KiB, 252 against 640 us for 256 KiB), because the file's length and where it lies need not be written too;
//! space that is only reserved (`fallocate`) takes as long as none. A log that began anew is such a place by itself; this is
//! for the first round of every start.
//!
//! Invariant: only who holds the fence writes to the log. The committer holds it during its batches, so zeros, which are
//! always written behind the file's end, never meet a frame. They are no frames either: a recovery stops where the checksums
//! end, as it does at the left-overs of an earlier round.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::schema::LOG_KEPT;

/// Bytes of a page in the log, with its frame's head.
const FRAME_BYTES: u64 = 4_096 + 24;
/// A log shorter than this gets no room: a server that nobody writes to needs no more disk.
const FIRST_BYTES: u64 = 512 << 10;
/// Room that is made ahead of what is used; more of it is made when half is left. 64 callers use 150 MiB a second.
const AHEAD_BYTES: u64 = 32 << 20;
/// Written at once; the committer may have to wait for so much.
const CHUNK_BYTES: usize = 512 << 10;

#[derive(Default)]
struct Asked {
    room: bool,
    closed: bool,
}

/// What the committer and the thread share.
#[derive(Default)]
pub(crate) struct Room {
    fence: Mutex<()>,
    asked: Mutex<Asked>,
    wake: Condvar,
    /// Bytes of the log that hold frames.
    used: AtomicU64,
    /// The file's length, as far as it is known.
    len: AtomicU64,
    /// Making room failed (the disk is full, say); commits go on without.
    failed: AtomicBool,
}

impl Room {
    /// The right to write to the log. Give it back with [`MutexGuard::unlock_fair`], or the other side starves.
    pub fn writing(&self) -> MutexGuard<'_, ()> {
        self.fence.lock()
    }

    /// So many pages of the log are used now: asks for room if little is left.
    pub fn used(&self, pages: i32) {
        let used = u64::try_from(pages).unwrap_or(0) * FRAME_BYTES;
        self.used.store(used, Ordering::Relaxed);
        let left = self.len.load(Ordering::Relaxed).saturating_sub(used);
        let wanted = used >= FIRST_BYTES && left < (AHEAD_BYTES / 2).min(LOG_KEPT.saturating_sub(used));
        if wanted && !self.failed.load(Ordering::Relaxed) {
            self.asked.lock().room = true;
            self.wake.notify_one();
        }
    }

    /// Ends the thread.
    pub fn close(&self) {
        self.asked.lock().closed = true;
        self.wake.notify_one();
    }

    /// Waits for work. `false`: closed.
    fn wait(&self) -> bool {
        let mut asked = self.asked.lock();
        while !asked.room && !asked.closed {
            self.wake.wait(&mut asked);
        }
        asked.room = false;
        !asked.closed
    }

    /// The thread.
    pub fn run(&self, log: &Path) {
        while self.wait() {
            if let Err(error) = self.make(log) {
                self.failed.store(true, Ordering::Relaxed);
                tracing::warn!(%error, "make room in the write-ahead log; commits go on without it");
            }
        }
    }

    /// Makes room until there is enough.
    fn make(&self, log: &Path) -> io::Result<()> {
        let zeros = vec![0; CHUNK_BYTES];
        while !self.asked.lock().closed {
            let writing = self.writing();
            // Opened for each chunk: a log that was closed and made anew is another file. It is never made here.
            let file = match File::options().write(true).open(log) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            };
            let len = file.metadata()?.len();
            self.len.store(len, Ordering::Relaxed);
            let wanted = self.used.load(Ordering::Relaxed).saturating_add(AHEAD_BYTES).min(LOG_KEPT);
            let more = wanted.saturating_sub(len).min(CHUNK_BYTES as u64);
            if more == 0 {
                return Ok(());
            }
            file.write_all_at(&zeros[..more as usize], len)?;
            drop(writing);
            // Else the next commit's sync would do it. If this one fails, the committer's descriptor meets the error too.
            file.sync_data()?;
            self.len.store(len + more, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(room: &Room, log: &Path, pages: i32) -> u64 {
        room.used(pages);
        assert!(room.wait(), "asked, and not closed");
        room.make(log).expect("room");
        std::fs::metadata(log).map_or(0, |meta| meta.len())
    }

    #[test]
    fn room_is_made_behind_the_end_and_not_without_bound() {
        let dir = tempfile::tempdir().expect("folder");
        let (log, room) = (dir.path().join("log"), Room::default());
        assert_eq!(make(&room, &log, 1_000), 0, "a log is never made");
        std::fs::write(&log, b"frames").expect("write");
        let used = 1_000 * FRAME_BYTES;
        assert_eq!(make(&room, &log, 1_000), used + AHEAD_BYTES);
        let bytes = std::fs::read(&log).expect("read");
        assert!(bytes.starts_with(b"frames\0"), "what was there stays");
        room.used(1_001);
        assert!(!room.asked.lock().room, "there is enough");
        let most = i32::try_from(LOG_KEPT / FRAME_BYTES).expect("pages");
        assert_eq!(make(&room, &log, most), LOG_KEPT);
        room.used(most + 10_000);
        assert!(!room.asked.lock().room, "a longer log would be cut back");
    }

    #[test]
    fn a_log_that_is_hardly_used_stays_short() {
        let room = Room::default();
        room.used(10);
        assert!(!room.asked.lock().room);
    }
}
