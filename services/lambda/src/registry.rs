//! Functions in memory, backed by the state: reads never wait for the disk, writes commit before they show.
//!
//! Every change goes through [`Registry::change`]: it copies the record, lets the caller change it, commits it under the
//! version that was read, and only then swaps the copy in. Changes of one function are serialised; a change that lost a race
//! (another node wrote first) is answered with a conflict.

use crate::error::Error;
use crate::model::{Phase, Record, Version};
use crate::names::version_number;
use crate::tables;
use parking_lot::RwLock;
use squall_store::{Check, Stamp, State, StateExt as _, Txn, envelope};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// Most functions that are loaded at start.
const FUNCTIONS_MAX: usize = 100_000;

/// A function as it is in memory.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The record.
    pub record: Arc<Record>,
    /// Published versions by number.
    pub versions: Arc<BTreeMap<u32, Arc<Version>>>,
    stamp: Stamp,
}

type Id = (String, String);

/// All functions.
pub struct Registry {
    state: Arc<dyn State>,
    entries: RwLock<BTreeMap<Id, Entry>>,
    /// URL id → function and qualifier.
    urls: RwLock<HashMap<String, (Id, String)>>,
    /// Counts changes, for those who wait for one.
    changes: tokio::sync::watch::Sender<u64>,
    /// Serialises changes. They are rare next to reads, and each is one commit.
    writing: tokio::sync::Mutex<()>,
}

/// What a change does besides the record.
#[derive(Default)]
pub struct Extra {
    /// A version to add.
    pub publish: Option<Version>,
    /// Published versions whose state has changed.
    pub amend: Vec<Version>,
}

impl Registry {
    /// Loads everything.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn load(state: Arc<dyn State>) -> Result<Self, Error> {
        let mut versions: HashMap<Id, BTreeMap<u32, Arc<Version>>> = HashMap::new();
        for row in state.all(tables::all_versions(), FUNCTIONS_MAX).await? {
            let (region, name, version): (String, String, Version) = decode(&row.value)?;
            let number = version.version.parse().map_err(|e| Error::internal("read a version", Box::new(e)))?;
            versions.entry((region, name)).or_default().insert(number, Arc::new(version));
        }
        let mut entries = BTreeMap::new();
        let mut urls = HashMap::new();
        for row in state.all(tables::functions(), FUNCTIONS_MAX).await? {
            let record: Record = decode(&row.value)?;
            let id = (record.region.clone(), record.name.clone());
            for (qualifier, url) in &record.urls {
                urls.insert(url.id.clone(), (id.clone(), qualifier.clone()));
            }
            let own = versions.remove(&id).unwrap_or_default();
            entries.insert(id, Entry { record: Arc::new(record), versions: Arc::new(own), stamp: row.ver });
        }
        Ok(Self {
            state,
            entries: RwLock::new(entries),
            urls: RwLock::new(urls),
            changes: tokio::sync::watch::Sender::new(0),
            writing: tokio::sync::Mutex::new(()),
        })
    }

    /// A function by region and name.
    #[must_use]
    pub fn find(&self, region: &str, name: &str) -> Option<Entry> {
        // The key type is a pair of owned strings; a lookup costs two short copies, which is nothing next to a request.
        self.entries.read().get(&(region.to_owned(), name.to_owned())).cloned()
    }

    /// The function once it is no longer being created, or as it is when `patience` is over.
    pub async fn settled(&self, region: &str, name: &str, patience: Duration) -> Option<Entry> {
        let is_pending = |e: &Entry| e.record.latest.state == Phase::Pending;
        let entry = self.find(region, name)?;
        if !is_pending(&entry) {
            return Some(entry);
        }
        let mut changes = self.changes.subscribe();
        let wait = async {
            while self.find(region, name).as_ref().is_some_and(is_pending) && changes.changed().await.is_ok() {}
        };
        // Out of patience is no error here: the caller sees the state.
        let _ = tokio::time::timeout(patience, wait).await;
        self.find(region, name)
    }

    /// The function, qualifier and record behind a URL id.
    #[must_use]
    pub fn by_url(&self, url_id: &str) -> Option<(Entry, String)> {
        let ((region, name), qualifier) = self.urls.read().get(url_id).cloned()?;
        Some((self.find(&region, &name)?, qualifier))
    }

    /// Functions of a region whose name comes after `after`, at most `limit`, and whether there are more.
    #[must_use]
    pub fn page(&self, region: &str, after: &str, limit: usize) -> (Vec<Entry>, bool) {
        let entries = self.entries.read();
        let from = (region.to_owned(), after.to_owned());
        let mut own = entries
            .range(from..)
            .filter(|(id, _)| after.is_empty() || id.1 != after)
            .take_while(|(id, _)| id.0 == region);
        let page: Vec<Entry> = own.by_ref().take(limit).map(|(_, e)| e.clone()).collect();
        let more = own.next().is_some();
        (page, more)
    }

    /// Every function of every region.
    #[must_use]
    pub fn everything(&self) -> Vec<Entry> {
        self.entries.read().values().cloned().collect()
    }

    /// Tells when something has changed.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Adds a function.
    ///
    /// # Errors
    /// `ResourceConflictException` when it exists.
    pub async fn create(&self, record: Record) -> Result<Entry, Error> {
        let _writing = self.writing.lock().await;
        let id = (record.region.clone(), record.name.clone());
        let exists = || Error::Conflict(format!("Function already exist: {}", id.1));
        if self.entries.read().contains_key(&id) {
            return Err(exists());
        }
        let key = tables::function(&id.0, &id.1);
        let txn = Txn::new().check(Check::Absent(key.clone())).put(key, encode(&record)?);
        let done = match self.state.commit(txn).await {
            Err(squall_store::Error::Check(_)) => return Err(exists()),
            done => done?,
        };
        let entry = Entry { record: Arc::new(record), versions: Arc::default(), stamp: done.stamp };
        self.entries.write().insert(id, entry.clone());
        Ok(entry)
    }

    /// Changes a function: `f` gets a copy of the record and of its versions' map to look at.
    ///
    /// # Errors
    /// What `f` says, `None` from [`Registry::find`] as `ResourceNotFoundException`, a conflict, the state's errors.
    pub async fn change<T>(
        &self,
        region: &str,
        name: &str,
        missing: impl FnOnce() -> Error,
        f: impl FnOnce(&mut Record, &Entry, &mut Extra) -> Result<T, Error>,
    ) -> Result<(Entry, T), Error> {
        let _writing = self.writing.lock().await;
        let before = self.find(region, name).ok_or_else(missing)?;
        let mut record = Record::clone(&before.record);
        let mut extra = Extra::default();
        let answer = f(&mut record, &before, &mut extra)?;
        if record == *before.record && extra.publish.is_none() && extra.amend.is_empty() {
            return Ok((before, answer));
        }
        let key = tables::function(region, name);
        let mut txn = Txn::new().check(Check::Ver(key.clone(), before.stamp)).put(key, encode(&record)?);
        let mut versions = before.versions.clone();
        let amended = extra.amend.into_iter().filter_map(|v| Some((version_number(&v.version)?, v)));
        for (number, version) in amended.chain(extra.publish.map(|v| (record.last_version, v))) {
            txn = txn.put(tables::version(region, name, number), encode(&(region, name, &version))?);
            Arc::make_mut(&mut versions).insert(number, Arc::new(version));
        }
        let done = match self.state.commit(txn).await {
            Err(squall_store::Error::Check(_)) => {
                return Err(Error::Conflict("The function was changed at the same time; try again".into()));
            }
            done => done?,
        };
        let entry = Entry { record: Arc::new(record), versions, stamp: done.stamp };
        self.index_urls(&before.record, &entry.record);
        self.entries.write().insert((region.to_owned(), name.to_owned()), entry.clone());
        self.changes.send_modify(|n| *n += 1);
        Ok((entry, answer))
    }

    /// Removes a function with its versions; answers what was there.
    ///
    /// # Errors
    /// The state's errors.
    pub async fn remove(&self, region: &str, name: &str) -> Result<Option<Entry>, Error> {
        let _writing = self.writing.lock().await;
        let Some(entry) = self.find(region, name) else { return Ok(None) };
        // Versions first: a crash in between leaves the function, never versions without one.
        self.state.delete_prefix(tables::versions(region, name)).await?;
        self.state.commit(Txn::new().delete(tables::function(region, name))).await?;
        self.entries.write().remove(&(region.to_owned(), name.to_owned()));
        self.urls.write().retain(|_, (id, _)| id.0 != region || id.1 != name);
        self.changes.send_modify(|n| *n += 1);
        Ok(Some(entry))
    }

    /// Removes one published version.
    ///
    /// # Errors
    /// The state's errors.
    pub async fn remove_version(&self, region: &str, name: &str, number: u32) -> Result<Option<Arc<Version>>, Error> {
        let _writing = self.writing.lock().await;
        let Some(mut entry) = self.find(region, name) else { return Ok(None) };
        let Some(gone) = Arc::make_mut(&mut entry.versions).remove(&number) else { return Ok(None) };
        self.state.commit(Txn::new().delete(tables::version(region, name, number))).await?;
        self.entries.write().insert((region.to_owned(), name.to_owned()), entry);
        self.changes.send_modify(|n| *n += 1);
        Ok(Some(gone))
    }

    /// Whether any version of any function still uses a code package.
    #[must_use]
    pub fn uses_code(&self, object: &str) -> bool {
        let entries = self.entries.read();
        let uses = |v: &Version| v.code_object == object || v.layers.iter().any(|l| l.object == object);
        entries.values().any(|e| uses(&e.record.latest) || e.versions.values().any(|v| uses(v)))
    }

    fn index_urls(&self, before: &Record, after: &Record) {
        if before.urls == after.urls {
            return;
        }
        let mut urls = self.urls.write();
        for url in before.urls.values() {
            urls.remove(&url.id);
        }
        for (qualifier, url) in &after.urls {
            urls.insert(url.id.clone(), ((after.region.clone(), after.name.clone()), qualifier.clone()));
        }
    }
}

/// A row's bytes.
///
/// # Errors
/// The value has no JSON form.
pub(crate) fn encode<T: serde::Serialize>(value: &T) -> Result<bytes::Bytes, Error> {
    let json = serde_json::to_vec(value).map_err(|e| Error::internal("write a record", Box::new(e)))?;
    Ok(envelope::seal(&json))
}

/// What a row's bytes hold.
///
/// # Errors
/// They hold something else.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<T, Error> {
    let json = envelope::open(value)?;
    serde_json::from_slice(json).map_err(|e| Error::internal("read a record", Box::new(e)))
}
