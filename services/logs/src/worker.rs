//! Work that goes on by itself: streams whose lines are all over their retention lose their files.

use crate::catalog::Group;
use crate::error::Error;
use crate::room::Logs;
use crate::segment::Summary;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often files are looked at.
const EVERY: Duration = Duration::from_secs(3600);
const DAY_MS: i64 = 24 * 3600 * 1000;

/// Lines older than this are over the group's retention; they are not shown any more.
#[must_use]
pub fn expired_before(group: &Group, now: i64) -> i64 {
    group.record.read().retention_days.map_or(i64::MIN, |days| now - i64::from(days) * DAY_MS)
}

/// Starts the background work; it ends when the room is dropped.
pub fn start(room: &Arc<Logs>) {
    tokio::spawn(run(Arc::downgrade(room)));
}

async fn run(room: Weak<Logs>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(room) = room.upgrade() else { return };
        if let Err(e) = sweep(&room).await {
            tracing::error!(error = %e, "remove old logs");
        }
    }
}

/// Removes the files of streams whose last line is over the retention. The streams stay, as on AWS.
///
/// # Errors
/// The disk's.
pub async fn sweep(room: &Logs) -> Result<(), Error> {
    let now = room.deps.clock.now().0;
    for group in room.catalog.everything() {
        let limit = expired_before(&group, now);
        let streams: Vec<_> = group.streams.read().values().cloned().collect();
        for stream in streams {
            if stream.summary()?.last.is_some_and(|l| l < limit) {
                room.writer.forget(vec![stream.path.clone()]).await?;
                *stream.summary.lock() = Some(Summary::default());
            }
        }
    }
    Ok(())
}
