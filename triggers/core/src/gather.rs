//! Reads a shard until a batch is there: full, or waited for long enough.

use crate::batch::{EVENT_BYTES_MAX, Item};
use crate::follow::{End, Follower};
use crate::progress::{Place, Progress};
use serde_json::Value;
use squall_service::{StreamError, StreamStart};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Most records of one read.
const READ_MAX: usize = 1_000;
/// A read that finds nothing is tried again after this time at the latest.
const IDLE: Duration = Duration::from_secs(60);

/// What was read and not yet handed over.
pub struct Buffer {
    /// Records that matched.
    pub items: VecDeque<Item>,
    /// Where to read on; `None`: the shard is read to its end.
    pub next: Option<Place>,
    bytes: usize,
}

/// What gathering ended with.
pub enum Gathered {
    /// Items are there.
    Items,
    /// The open window's time is over and nothing of it is left.
    WindowOver,
    /// The shard is at its end.
    Ended,
}

impl Buffer {
    /// Reads from there.
    pub fn new(next: Option<Place>) -> Self {
        Self { items: VecDeque::new(), next, bytes: 0 }
    }

    /// Takes the first items, as many as `want` says of them all.
    pub fn take(&mut self, want: impl FnOnce(&[Item]) -> usize) -> Vec<Item> {
        let count = want(self.items.make_contiguous()).min(self.items.len());
        let taken: Vec<Item> = self.items.drain(..count).collect();
        self.bytes -= taken.iter().map(|i| i.json.len()).sum::<usize>();
        taken
    }

    /// The place behind everything that was taken, given the last item taken.
    pub fn place_after(&self, last: &Item) -> Option<Place> {
        if self.items.is_empty() { self.next.clone() } else { Some(Place::After(last.sequence.clone())) }
    }
}

impl Follower {
    /// Fills the buffer. `progress` moves on over records that do not match.
    pub async fn gather(&mut self, buffer: &mut Buffer, progress: &mut Progress) -> Result<Gathered, End> {
        let mapping = &self.running.mapping;
        // Across windows nothing is gathered in parallel: their state goes from one batch to the next.
        let lanes = if mapping.tumbling_s > 0 { 1 } else { mapping.parallel.max(1) as usize };
        let (count, bytes) = (mapping.batch_size as usize * lanes, EVENT_BYTES_MAX * lanes);
        let window = Duration::from_secs(u64::from(mapping.window_s));
        let mut deadline = None;
        loop {
            if self.is_stopped() {
                return Err(End::Stopped);
            }
            if !buffer.items.is_empty() {
                let deadline = *deadline.get_or_insert_with(|| Instant::now() + window);
                let full = buffer.items.len() >= count || buffer.bytes >= bytes;
                if full || buffer.next.is_none() || Instant::now() >= deadline {
                    return Ok(Gathered::Items);
                }
            }
            let Some(from) = buffer.next.clone() else { return Ok(Gathered::Ended) };
            let from = StreamStart::from(from);
            let want = (count - buffer.items.len()).clamp(1, READ_MAX);
            if self.read(buffer, &from, want).await? {
                if buffer.items.is_empty() && buffer.next.is_some() {
                    progress.from.clone_from(&buffer.next);
                    self.save(progress, true).await?;
                }
                continue;
            }
            if buffer.next.is_some() && self.wait(buffer, progress, deadline).await? {
                return Ok(Gathered::WindowOver);
            }
        }
    }

    /// Reads once; whether there was something.
    async fn read(&self, buffer: &mut Buffer, from: &StreamStart, want: usize) -> Result<bool, End> {
        let (arn, source) = (&self.running.mapping.source_arn, &self.running.adapter.source);
        let page = match source.read(arn, &self.shard, from, want).await {
            Ok(page) => page,
            Err(StreamError::Trimmed(why)) => {
                tracing::warn!(arn, shard = self.shard, why, "records were trimmed before they were read");
                buffer.next = Some(Place::Horizon);
                return Ok(true);
            }
            Err(e) => return Err(End::Failed(e)),
        };
        let some = !page.records.is_empty();
        for record in page.records.into_iter().filter(|r| self.matches(&r.event)) {
            let item = Item::new(record);
            buffer.bytes += item.json.len();
            buffer.items.push_back(item);
        }
        buffer.next = page.next.map(Place::from);
        Ok(some)
    }

    /// Waits for more, a stop, or the time when what is there goes out; whether the open window's time is over.
    async fn wait(&mut self, buffer: &Buffer, progress: &Progress, deadline: Option<Instant>) -> Result<bool, End> {
        let Some(from) = buffer.next.clone().map(StreamStart::from) else { return Ok(false) };
        let idle = Instant::now() + IDLE;
        let mapping = &self.running.mapping;
        let open = progress.window.as_ref().filter(|_| buffer.items.is_empty());
        let window_ends = open.map(|w| {
            let left = w.end(mapping.tumbling_s).since(self.inner.deps.clock.now());
            Instant::now() + left
        });
        let until = [Some(idle), deadline, window_ends].into_iter().flatten().min().unwrap_or(idle);
        let source = self.running.adapter.source.clone();
        tokio::select! {
            _ = self.stopped.wait_for(|stop| *stop) => Err(End::Stopped),
            waited = source.wait(&mapping.source_arn, &self.shard, &from) => match waited {
                Ok(()) | Err(StreamError::Trimmed(_)) => Ok(false),
                Err(e) => Err(End::Failed(e)),
            },
            () = tokio::time::sleep_until(until) => Ok(window_ends.is_some_and(|end| Instant::now() >= end)),
        }
    }

    fn matches(&self, event: &Value) -> bool {
        let filters = &self.running.filters;
        filters.is_empty() || filters.iter().any(|f| f.matches(event))
    }
}
