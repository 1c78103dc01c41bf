//! What the platform logs for functions: taken without waiting, written in the background.

use crate::catalog::{Catalog, GroupRecord, Stream};
use crate::error::Error;
use crate::writer::Writer;
use squall_service::{LogEvent, LogSink};
use squall_store::Durability;
use squall_types::Clock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};

/// Batches that may wait.
const QUEUE_MAX: usize = 4096;

enum Job {
    Lines { region: String, group: String, stream: String, events: Vec<LogEvent> },
    Drain(oneshot::Sender<()>),
}

/// Takes lines. Cheap to clone.
#[derive(Clone)]
pub struct Sink {
    jobs: mpsc::Sender<Job>,
    dropped: Arc<AtomicU64>,
}

impl Sink {
    /// Starts the background task; it ends when the last handle is gone.
    #[must_use]
    pub fn start(catalog: Arc<Catalog>, writer: Writer, clock: Arc<dyn Clock>) -> Self {
        let (jobs, mut queue) = mpsc::channel(QUEUE_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = dropped.clone();
        tokio::spawn(async move {
            while let Some(job) = queue.recv().await {
                match job {
                    Job::Drain(done) => {
                        // Whoever asked may have gone.
                        let _ = done.send(());
                    }
                    Job::Lines { region, group, stream, events } => {
                        let count = events.len() as u64;
                        let now = clock.now().0;
                        let found = match stream_of(&catalog, &region, &group, &stream, now).await {
                            Ok(found) => found,
                            Err(e) => {
                                tracing::error!(error = %e, group, "make a log stream");
                                lost.fetch_add(count, Ordering::Relaxed);
                                continue;
                            }
                        };
                        let lines = events.into_iter().map(|e| (e.time.0, e.message)).collect();
                        if !writer.append(found, lines, now) {
                            lost.fetch_add(count, Ordering::Relaxed);
                        }
                    }
                }
            }
        });
        Self { jobs, dropped }
    }

    /// Waits until everything handed over so far has reached the writer.
    pub async fn drain(&self) {
        let (done, reached) = oneshot::channel();
        if self.jobs.send(Job::Drain(done)).await.is_ok() {
            let _ = reached.await;
        }
    }

    /// Lines lost so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Takes a batch, or counts it as lost.
    pub fn take(&self, region: &str, group: &str, stream: &str, events: Vec<LogEvent>) {
        let count = events.len() as u64;
        let job = Job::Lines { region: region.to_owned(), group: group.to_owned(), stream: stream.to_owned(), events };
        if self.jobs.try_send(job).is_err() {
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl LogSink for crate::Logs {
    fn append(&self, region: &str, group: &str, stream: &str, events: Vec<LogEvent>) {
        self.sink.take(region, group, stream, events);
    }
}

/// Finds the stream, making it and its group if they are not there. Their rows ride on the next sync: like the lines, they
/// are allowed to be a second behind.
async fn stream_of(catalog: &Catalog, region: &str, group: &str, stream: &str, now: i64) -> Result<Arc<Stream>, Error> {
    let found = match catalog.group(region, group) {
        Some(found) => found,
        None => {
            let record = GroupRecord {
                region: region.to_owned(),
                name: group.to_owned(),
                id: 0,
                created_ms: now,
                retention_days: None,
                tags: BTreeMap::new(),
                protected: false,
            };
            match catalog.create_group(record, Durability::Lazy).await {
                Err(Error::Exists(_)) => catalog.group(region, group).ok_or(Error::NoGroup)?,
                made => made?,
            }
        }
    };
    let held = found.streams.read().get(stream).cloned();
    match held {
        Some(held) => Ok(held),
        None => match catalog.create_stream(&found, stream, now, Durability::Lazy).await {
            Err(Error::Exists(_)) => found.streams.read().get(stream).cloned().ok_or(Error::NoStream),
            made => made,
        },
    }
}
