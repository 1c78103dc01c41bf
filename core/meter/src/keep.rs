//! Gathering, writing and reading back.

use crate::{Hourly, Subject, Tally, Usage};
use parking_lot::Mutex;
use serde::Deserialize;
use squall_store::{Error, Key, Kind, Mutation, Range, State, StateExt as _, Txn, View, envelope};
use squall_types::{Clock, Random};
use std::collections::HashMap;
use std::ops::Bound;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// One row per hour and subject.
const HOURLY: Kind = Kind::kv(0x0c, 1);
/// Rows of one commit: below the 256 keys that a rule may declare.
const BATCH_ROWS_MAX: usize = 200;
/// Rows that one question may read.
const ROWS_MAX: usize = 2_000_000;

/// What the operator can set, in the section `[meter]`. Since 0.2.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Seconds between two writes of what was used; a crash loses no more than that. Default 5, at least 1.
    pub flush_s: u64,
    /// Days that usage is kept. Default 400.
    pub keep_days: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { flush_s: 5, keep_days: 400 }
    }
}

/// A write under way: its id makes sure that it counts once, however often it is tried.
#[derive(Clone)]
struct Batch {
    id: [u8; 16],
    rows: Vec<(Key, Usage)>,
}

/// Counts, keeps and answers. Cheap to clone.
#[derive(Clone)]
pub struct Meter(Arc<Inner>);

struct Inner {
    state: Arc<dyn State>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    options: Options,
    tallies: Mutex<HashMap<Subject, Tally>>,
    /// Batches that the engine did not take yet, oldest first; also what keeps two flushes apart.
    late: tokio::sync::Mutex<Vec<Batch>>,
}

impl Meter {
    /// A meter over that state that writes by itself as long as it lives. Must be called within a tokio runtime.
    #[must_use]
    pub fn start(state: Arc<dyn State>, clock: Arc<dyn Clock>, random: Arc<dyn Random>, options: Options) -> Self {
        let meter = Self::new(state, clock, random, options);
        tokio::spawn(write_now_and_then(Arc::downgrade(&meter.0)));
        meter
    }

    /// A meter that writes when [`Meter::flush`] is called.
    #[must_use]
    pub fn new(state: Arc<dyn State>, clock: Arc<dyn Clock>, random: Arc<dyn Random>, options: Options) -> Self {
        let (tallies, late) = (Mutex::default(), tokio::sync::Mutex::default());
        Self(Arc::new(Inner { state, clock, random, options, tallies, late }))
    }

    /// What counts for that subject.
    #[must_use]
    pub fn tally(&self, subject: &Subject) -> Tally {
        let mut tallies = self.0.tallies.lock();
        if let Some(tally) = tallies.get(subject) {
            return tally.clone();
        }
        let tally = Tally::new(self.0.clock.clone());
        tallies.insert(subject.clone(), tally.clone());
        tally
    }

    /// Writes what has gathered; durable when it returns.
    ///
    /// # Errors
    /// The state's errors; what could not be written stays for the next time.
    pub async fn flush(&self) -> Result<(), Error> {
        self.0.flush().await
    }

    /// How many subjects are being counted.
    #[cfg(test)]
    pub(crate) fn subjects(&self) -> usize {
        self.0.tallies.lock().len()
    }

    /// Usage of the hours `from..to`, with what is not written yet, ordered by hour and subject.
    ///
    /// # Errors
    /// The state's errors, and `Invalid` for a span with too many rows.
    pub async fn usage(&self, from: u32, to: u32) -> Result<Vec<Hourly>, Error> {
        self.flush().await?;
        let mut found = Vec::new();
        let mut next = (from < to).then(|| hours(from));
        while let Some(start) = next {
            let range = Range::new(Bound::Included(start), Bound::Excluded(hours(to)));
            let page = self.0.state.range(range).await?;
            for row in &page.rows {
                found.push(read(&row.key, &row.value)?);
            }
            if found.len() > ROWS_MAX {
                return Err(Error::invalid("the span holds too many rows: ask for a shorter one"));
            }
            next = page.next;
        }
        Ok(found)
    }
}

impl Inner {
    async fn flush(&self) -> Result<(), Error> {
        let mut late = self.late.lock().await;
        self.gather(&mut late);
        while let Some(batch) = late.first().cloned() {
            match self.write(&batch).await {
                Ok(()) => drop(late.remove(0)),
                // The same id once more, at once: the answer was lost, perhaps only that.
                Err(Error::Unknown) => self.write(&batch).await.map(|()| drop(late.remove(0)))?,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn gather(&self, late: &mut Vec<Batch>) {
        let mut rows = Vec::new();
        let mut tallies = self.tallies.lock();
        for (subject, tally) in tallies.iter() {
            rows.extend(tally.take().into_iter().map(|(hour, usage)| (key(hour, subject), usage)));
        }
        tallies.retain(|_, tally| !tally.is_done());
        drop(tallies);
        for rows in rows.chunks(BATCH_ROWS_MAX) {
            let mut id = [0; 16];
            self.random.fill(&mut id);
            late.push(Batch { id, rows: rows.to_vec() });
        }
    }

    async fn write(&self, batch: &Batch) -> Result<(), Error> {
        let keys: Vec<Key> = batch.rows.iter().map(|(key, _)| key.clone()).collect();
        let rows = batch.rows.clone();
        let keep = Duration::from_secs(self.options.keep_days.max(1) * 86_400);
        let rule = move |view: &View<'_>, out: &mut Vec<Mutation>| -> Result<(), String> {
            for (index, (key, usage)) in rows.iter().enumerate() {
                let mut sum = match view.value(index) {
                    Some(value) => open(value).map_err(|e| e.to_string())?,
                    None => Usage::default(),
                };
                sum += *usage;
                let value = envelope::seal(&serde_json::to_vec(&sum).map_err(|e| e.to_string())?);
                out.push(Mutation::Put { key: key.clone(), value, expires: Some(view.now.plus(keep)) });
            }
            Ok(())
        };
        self.state.commit(Txn::new().id(batch.id).rule(keys, rule)).await.map(|_| ())
    }
}

async fn write_now_and_then(inner: Weak<Inner>) {
    loop {
        let Some(pause) = inner.upgrade().map(|i| Duration::from_secs(i.options.flush_s.max(1))) else { return };
        tokio::time::sleep(pause).await;
        let Some(inner) = inner.upgrade() else { return };
        if let Err(e) = inner.flush().await {
            tracing::error!(error = %e, "write what functions used: tried again");
        }
    }
}

fn hours(from: u32) -> Key {
    Key::new(HOURLY, 0, 0).u32(from)
}

fn key(hour: u32, s: &Subject) -> Key {
    hours(hour).text(&s.region).text(&s.function).text(&s.version).text(&s.architecture)
}

fn open(value: &[u8]) -> Result<Usage, Error> {
    serde_json::from_slice(envelope::open(value)?).map_err(|e| Error::Corrupt(format!("usage: {e}")))
}

fn read(key: &Key, value: &[u8]) -> Result<Hourly, Error> {
    let mut parts = key.parts();
    let mut fields = || {
        let hour = parts.u32()?;
        let mut text = || parts.string();
        let (region, function, version, architecture) = (text()?, text()?, text()?, text()?);
        Some((hour, Subject { region, function, version, architecture }))
    };
    let (hour, subject) = fields().ok_or_else(|| Error::Corrupt("the key of a usage row".into()))?;
    Ok(Hourly { hour, subject, usage: open(value)? })
}
