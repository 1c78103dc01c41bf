//! Frames on their way out: whoever has one puts it there, one task writes all that waits at once.

use parking_lot::Mutex;
use std::io;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;

/// What waits to be sent. Bounded by what its users send: answers by the number of calls, logs by [`Outbox::room`].
#[derive(Default)]
pub struct Outbox {
    waiting: Mutex<Vec<u8>>,
    is_there: Notify,
    has_room: Notify,
}

/// Bytes that wait at most before those who can wait do.
const ROOM_BYTES: usize = 1 << 20;
/// A buffer that grew beyond this is given back.
const KEEP_BYTES: usize = 1 << 20;

impl Outbox {
    /// Adds a frame.
    pub fn push(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut waiting = self.waiting.lock();
        let was_empty = waiting.is_empty();
        write(&mut waiting);
        drop(waiting);
        if was_empty {
            self.is_there.notify_one();
        }
    }

    /// Waits until less than a megabyte waits.
    pub async fn room(&self) {
        loop {
            let notified = self.has_room.notified();
            if self.waiting.lock().len() < ROOM_BYTES {
                return;
            }
            notified.await;
        }
    }

    /// Sends until the connection breaks.
    ///
    /// # Errors
    /// The connection's.
    pub async fn send_to(&self, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
        let mut sending = Vec::new();
        loop {
            std::mem::swap(&mut *self.waiting.lock(), &mut sending);
            if sending.is_empty() {
                self.is_there.notified().await;
                continue;
            }
            self.has_room.notify_waiters();
            to.write_all(&sending).await?;
            sending.clear();
            if sending.capacity() > KEEP_BYTES {
                sending = Vec::new();
            }
        }
    }
}
