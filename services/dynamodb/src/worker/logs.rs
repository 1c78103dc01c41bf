//! Streams and histories: marks are set, what is too old is trimmed, streams go a day after their end.

use crate::error::Error;
use crate::features::Stream;
use crate::room::DynamoDb;
use crate::stream::{RETENTION, retention};
use crate::tables;
use squall_store::{Part, Txn};
use squall_types::Millis;
use std::time::Duration;

/// Time between two looks at one log.
const LOOK: Duration = Duration::from_secs(60);

impl DynamoDb {
    /// Looks after every stream and history that is due.
    pub(super) async fn keep_logs(&self) -> Result<(), Error> {
        let now = self.deps.clock.now();
        for stream in self.streams.all() {
            if now < self.counts.due(stream.id).log_due {
                continue;
            }
            let ended = stream.closed.is_some_and(|at| now.since(at) > RETENTION);
            if ended {
                self.drop_stream(&stream).await?;
            } else {
                for part in stream.parts() {
                    self.keep_log(part, minus(now, RETENTION)).await?;
                }
            }
            self.counts.change(stream.id, |c| c.log_due = now.plus(LOOK));
        }
        for table in self.catalog.all() {
            let Some(history) = table.history else { continue };
            // What is restored from must stay: it is looked after again when that is done.
            if now >= self.counts.due(history.id).log_due && !self.is_restored_from(table.id) {
                self.keep_log(history.part(), history.earliest(now)).await?;
                self.counts.change(history.id, |c| c.log_due = now.plus(LOOK));
            }
        }
        Ok(())
    }

    async fn keep_log(&self, part: Part, since: Millis) -> Result<(), Error> {
        retention::mark(self.deps.state.as_ref(), part).await?;
        retention::trim(self.deps.state.as_ref(), part, since).await
    }

    async fn drop_stream(&self, stream: &Stream) -> Result<(), Error> {
        let txn = Txn::new().delete(tables::stream(&stream.arn));
        let txn = stream.parts().fold(txn, |txn, part| retention::drop_part(part, txn));
        self.deps.state.commit(txn).await?;
        self.streams.remove(&stream.arn);
        Ok(())
    }

    /// Whether a restore still reads that table or its history.
    pub(crate) fn is_restored_from(&self, id: u64) -> bool {
        let from = |t: &crate::table::TableRef| t.restore.as_ref()?.work.as_ref().map(|w| w.from);
        self.catalog.all().iter().any(|t| from(t) == Some(id))
    }
}

fn minus(time: Millis, span: Duration) -> Millis {
    Millis(time.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
}
