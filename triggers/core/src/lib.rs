//! Runs event source mappings: reads sources in batches and calls functions with them.
//!
//! Shape: an adapter ([`StreamAdapter`]) says what is particular to a kind of source; everything else is here once. A mapping has
//! a supervisor, which looks for shards, and a follower per shard, which reads, filters, batches, calls, retries and keeps its
//! place.
//!
//! Invariants:
//! - A shard is followed by one holder of its lease; what it keeps is written under that lease, so a holder that lost it can
//!   write nothing any more.
//! - The place moves on after the function has answered (or the records were given up): at least once, nothing lost by a crash.
//! - Records with equal keys are handed over in order, one batch after the other; a child shard begins when its parent has ended.
//!
//! What this crate does not do: keep mappings (the lambda room does), know the function's permissions, or read sources itself.

mod batch;
mod failure;
mod follow;
mod gather;
mod progress;
mod supervise;
mod tables;
#[cfg(test)]
mod tests;
mod verdict;
mod window;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use progress::{Place, Progress};
use squall_pattern::Pattern;
use squall_service::{
    Deps, Destination, EventSources, Invoke, Mapping, SourceKind, StartingPosition, StreamError, StreamSource,
    StreamStart,
};
use squall_store::{StateExt as _, Txn};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use tokio::sync::{Notify, watch};

/// A kind of ordered source.
pub struct StreamAdapter {
    /// What the lambda room asks.
    pub kind: SourceKind,
    /// Reads it.
    pub source: Arc<dyn StreamSource>,
    /// Name of the batch's description in failure records, such as `DDBStreamBatchInfo`.
    pub batch_info: &'static str,
    /// Whether failure records give arrival times with milliseconds.
    pub arrival_millis: bool,
}

/// Runs mappings. Cheap to clone.
#[derive(Clone)]
pub struct Triggers(Arc<Inner>);

struct Inner {
    deps: Deps,
    /// The functions; weak, since the room that has them holds the triggers.
    invoke: Weak<dyn Invoke>,
    adapters: Vec<Arc<StreamAdapter>>,
    destinations: Vec<Arc<dyn Destination>>,
    running: Mutex<HashMap<String, Arc<Running>>>,
    results: Mutex<HashMap<String, String>>,
}

/// A mapping that runs.
struct Running {
    mapping: Mapping,
    filters: Vec<Pattern>,
    adapter: Arc<StreamAdapter>,
    /// Tells everything of this mapping to stop; closed when all of it has.
    stop: watch::Sender<bool>,
    /// Shards that are followed here.
    followed: Mutex<HashSet<String>>,
    /// Wakes the supervisor.
    look: Notify,
}

impl Triggers {
    /// Starts the machinery; it ends when the last clone is dropped.
    #[must_use]
    pub fn start(
        deps: Deps,
        invoke: Weak<dyn Invoke>,
        adapters: Vec<StreamAdapter>,
        destinations: Vec<Arc<dyn Destination>>,
    ) -> Self {
        let inner = Arc::new(Inner {
            deps,
            invoke,
            adapters: adapters.into_iter().map(Arc::new).collect(),
            destinations,
            running: Mutex::default(),
            results: Mutex::default(),
        });
        tokio::spawn(supervise::claim_shards(Arc::downgrade(&inner)));
        Self(inner)
    }

    /// Pauses every mapping; batches in flight end first.
    pub async fn shutdown(&self) {
        let all: Vec<String> = self.0.running.lock().keys().cloned().collect();
        futures_util::future::join_all(all.iter().map(|uuid| self.pause(uuid))).await;
    }
}

impl Inner {
    fn adapter(&self, source_arn: &str) -> Option<&Arc<StreamAdapter>> {
        self.adapters.iter().find(|a| a.source.owns(source_arn))
    }

    fn note(&self, uuid: &str, result: &str) {
        self.results.lock().insert(uuid.to_owned(), result.to_owned());
    }

    async fn deliver(&self, arn: &str, body: Bytes) -> bool {
        let Some(to) = self.destinations.iter().find(|d| d.owns(arn)) else { return false };
        match to.deliver(arn, body).await {
            Ok(()) => true,
            Err(e) => {
                tracing::warn!(arn, code = %e.code, "a failure record was not delivered");
                false
            }
        }
    }
}

fn no_trigger(arn: &str) -> StreamError {
    StreamError::NotFound(format!("no trigger reads {arn}"))
}

fn internal(e: impl std::fmt::Display) -> StreamError {
    StreamError::Internal(e.to_string())
}

#[async_trait]
impl EventSources for Triggers {
    fn kind(&self, source_arn: &str) -> Option<SourceKind> {
        self.0.adapter(source_arn).map(|a| a.kind)
    }

    async fn exists(&self, source_arn: &str) -> Result<bool, StreamError> {
        let Some(adapter) = self.0.adapter(source_arn) else { return Ok(false) };
        match adapter.source.shards(source_arn).await {
            Ok(_) => Ok(true),
            Err(StreamError::NotFound(_)) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn delivers_to(&self, arn: &str) -> bool {
        self.0.destinations.iter().any(|d| d.owns(arn))
    }

    async fn prepare(&self, mapping: &Mapping) -> Result<(), StreamError> {
        let arn = &mapping.source_arn;
        let from = match mapping.start {
            // Where nothing is kept, a shard is read from its beginning.
            StartingPosition::TrimHorizon => return Ok(()),
            StartingPosition::Latest => StreamStart::Latest,
            StartingPosition::AtTimestamp(at) => StreamStart::At(at),
        };
        let source = &self.0.adapter(arn).ok_or_else(|| no_trigger(arn))?.source;
        let mut txn = Txn::new();
        for shard in source.shards(arn).await? {
            let place = match &from {
                StreamStart::Latest => source.read(arn, &shard.id, &from, 1).await?.next,
                other => Some(other.clone()),
            };
            let progress = Progress::at(place.map(Place::from));
            txn = txn.put(tables::progress(&mapping.uuid, &shard.id), progress.encode());
        }
        self.0.deps.state.commit(txn).await.map(|_| ()).map_err(internal)
    }

    async fn run(&self, mapping: Mapping) {
        if self.0.running.lock().get(&mapping.uuid).is_some_and(|r| r.mapping == mapping) {
            return;
        }
        self.pause(&mapping.uuid).await;
        let Some(adapter) = self.0.adapter(&mapping.source_arn).cloned() else {
            tracing::error!(uuid = mapping.uuid, source = mapping.source_arn, "no trigger reads this source");
            return;
        };
        // Patterns were checked when the mapping was made; one that a newer program wrote may not be known here.
        let filters = match mapping.filters.iter().map(|f| Pattern::parse(f)).collect::<Result<Vec<_>, _>>() {
            Ok(filters) => filters,
            Err(e) => {
                tracing::error!(uuid = mapping.uuid, error = %e, "a mapping's filter cannot be read");
                return;
            }
        };
        let (stop, stopped) = watch::channel(false);
        let uuid = mapping.uuid.clone();
        let followed = Mutex::default();
        let running = Arc::new(Running { mapping, filters, adapter, stop, followed, look: Notify::new() });
        self.0.running.lock().insert(uuid, running.clone());
        tokio::spawn(supervise::supervise(self.0.clone(), running, stopped));
    }

    async fn pause(&self, uuid: &str) {
        let running = self.0.running.lock().remove(uuid);
        if let Some(running) = running {
            running.stop.send_replace(true);
            running.stop.closed().await;
        }
    }

    async fn forget(&self, uuid: &str) -> Result<(), StreamError> {
        self.pause(uuid).await;
        self.0.results.lock().remove(uuid);
        self.0.deps.state.delete_prefix(tables::progress_of(uuid)).await.map(|_| ()).map_err(internal)
    }

    fn last_result(&self, uuid: &str) -> Option<String> {
        self.0.results.lock().get(uuid).cloned()
    }
}
