//! Groups and streams in memory, backed by rows. Lines are elsewhere: see [`crate::segment`].

use crate::error::Error;
use crate::segment::Summary;
use crate::tables;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use squall_store::{Check, Durability, Mutation, State, StateExt as _, Txn, envelope, ids};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most groups or streams of a group that are loaded.
const ROWS_MAX: usize = 1_000_000;
/// Ids taken at a time. Taking them is synced, so that no file's name is ever given twice; what functions log must not wait for
/// that at each first call.
const IDS_AT_A_TIME: u32 = 64;

/// A group as it is stored.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct GroupRecord {
    /// Region.
    pub region: String,
    /// Name.
    pub name: String,
    /// Id: names its streams' rows and its folder.
    pub id: u64,
    /// Creation, milliseconds.
    pub created_ms: i64,
    /// Days that lines are kept; `None` = for ever.
    pub retention_days: Option<i32>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Refuses to be deleted.
    #[serde(default)]
    pub protected: bool,
}

/// A stream as it is stored.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct StreamRecord {
    /// Name.
    pub name: String,
    /// Name of its file in the group's folder.
    pub file: u64,
    /// Creation, milliseconds.
    pub created_ms: i64,
}

/// A group.
pub struct Group {
    /// What is stored.
    pub record: RwLock<GroupRecord>,
    /// Its folder.
    pub folder: PathBuf,
    /// Its streams by name.
    pub streams: RwLock<BTreeMap<String, Arc<Stream>>>,
}

/// A stream.
pub struct Stream {
    /// What is stored.
    pub record: StreamRecord,
    /// Its file.
    pub path: PathBuf,
    /// What the file holds; `None` until somebody needs it.
    pub summary: Mutex<Option<Summary>>,
}

impl Stream {
    /// What the file holds, read on first need.
    ///
    /// # Errors
    /// The disk's.
    pub fn summary(&self) -> Result<Summary, Error> {
        let mut held = self.summary.lock();
        if let Some(s) = *held {
            return Ok(s);
        }
        let s = crate::segment::summarise(&self.path)?;
        *held = Some(s);
        Ok(s)
    }
}

type GroupKey = (String, String);

/// All groups.
pub struct Catalog {
    state: Arc<dyn State>,
    root: PathBuf,
    groups: RwLock<BTreeMap<GroupKey, Arc<Group>>>,
    /// Serialises changes; holds ids that were taken and not used yet.
    writing: tokio::sync::Mutex<Range<u64>>,
}

impl Catalog {
    /// Loads everything, and removes folders of groups that do not exist (a crash between row and folder).
    ///
    /// # Errors
    /// The state or the disk.
    pub async fn load(state: Arc<dyn State>, root: &Path) -> Result<Self, Error> {
        let mut groups = BTreeMap::new();
        for row in state.all(tables::groups(), ROWS_MAX).await? {
            let record: GroupRecord = decode(&row.value)?;
            let folder = root.join(record.id.to_string());
            let mut streams = BTreeMap::new();
            for row in state.all(tables::streams(record.id), ROWS_MAX).await? {
                let stream: StreamRecord = decode(&row.value)?;
                streams.insert(stream.name.clone(), Arc::new(open_stream(stream, &folder, None)));
            }
            let key = (record.region.clone(), record.name.clone());
            let group = Group { record: RwLock::new(record), folder, streams: RwLock::new(streams) };
            groups.insert(key, Arc::new(group));
        }
        let known: Vec<&PathBuf> = groups.values().map(|g| &g.folder).collect();
        let io = |e: std::io::Error| Error::internal("open the log folder", e);
        std::fs::create_dir_all(root).map_err(io)?;
        for entry in std::fs::read_dir(root).map_err(io)?.flatten() {
            if !known.contains(&&entry.path()) {
                std::fs::remove_dir_all(entry.path()).map_err(io)?;
            }
        }
        Ok(Self { state, root: root.to_owned(), groups: RwLock::new(groups), writing: tokio::sync::Mutex::new(0..0) })
    }

    /// A group.
    #[must_use]
    pub fn group(&self, region: &str, name: &str) -> Option<Arc<Group>> {
        self.groups.read().get(&(region.to_owned(), name.to_owned())).cloned()
    }

    /// Groups of a region by name.
    #[must_use]
    pub fn groups_of(&self, region: &str) -> Vec<Arc<Group>> {
        let from = (region.to_owned(), String::new());
        self.groups.read().range(from..).take_while(|(k, _)| k.0 == region).map(|(_, g)| g.clone()).collect()
    }

    /// Every group.
    #[must_use]
    pub fn everything(&self) -> Vec<Arc<Group>> {
        self.groups.read().values().cloned().collect()
    }

    /// Makes a group.
    ///
    /// # Errors
    /// It exists; the state.
    pub async fn create_group(&self, record: GroupRecord, sync: Durability) -> Result<Arc<Group>, Error> {
        let mut writing = self.writing.lock().await;
        let key = (record.region.clone(), record.name.clone());
        if self.groups.read().contains_key(&key) {
            return Err(Error::Exists("group"));
        }
        let id = self.new_id(&mut writing).await?;
        let record = GroupRecord { id, ..record };
        let row = tables::group(&key.0, &key.1);
        let mut txn = Txn::new().check(Check::Absent(row.clone())).put(row, encode(&record)?);
        txn.sync = sync;
        self.state.commit(txn).await?;
        let folder = self.root.join(id.to_string());
        std::fs::create_dir_all(&folder).map_err(|e| Error::internal("make a log folder", e))?;
        let group = Arc::new(Group { record: RwLock::new(record), folder, streams: RwLock::default() });
        self.groups.write().insert(key, group.clone());
        Ok(group)
    }

    /// Makes a stream.
    ///
    /// # Errors
    /// It exists; the state.
    pub async fn create_stream(
        &self,
        group: &Group,
        name: &str,
        now: i64,
        sync: Durability,
    ) -> Result<Arc<Stream>, Error> {
        let mut writing = self.writing.lock().await;
        if group.streams.read().contains_key(name) {
            return Err(Error::Exists("stream"));
        }
        let file = self.new_id(&mut writing).await?;
        let record = StreamRecord { name: name.to_owned(), file, created_ms: now };
        let id = group.record.read().id;
        let mut txn = Txn::new().put(tables::stream(id, name), encode(&record)?);
        txn.sync = sync;
        self.state.commit(txn).await?;
        let stream = Arc::new(open_stream(record, &group.folder, Some(Summary::default())));
        group.streams.write().insert(name.to_owned(), stream.clone());
        Ok(stream)
    }

    async fn new_id(&self, held: &mut Range<u64>) -> Result<u64, Error> {
        if held.is_empty() {
            *held = ids::allocate_many(self.state.as_ref(), IDS_AT_A_TIME).await?;
        }
        held.next().ok_or_else(|| Error::internal("take an id", "none was given"))
    }

    /// Changes a group's record.
    ///
    /// # Errors
    /// What `f` says; the state.
    pub async fn change(
        &self,
        group: &Group,
        f: impl FnOnce(&mut GroupRecord) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let _writing = self.writing.lock().await;
        let mut record = group.record.read().clone();
        f(&mut record)?;
        let row = tables::group(&record.region, &record.name);
        self.state.commit(Txn::new().put(row, encode(&record)?)).await?;
        *group.record.write() = record;
        Ok(())
    }

    /// Removes a group with its streams; its folder goes afterwards.
    ///
    /// # Errors
    /// The state.
    pub async fn delete_group(&self, group: &Group) -> Result<(), Error> {
        let _writing = self.writing.lock().await;
        let record = group.record.read().clone();
        self.state.commit(Txn::new().delete(tables::group(&record.region, &record.name))).await?;
        self.groups.write().remove(&(record.region.clone(), record.name.clone()));
        self.state.delete_prefix(tables::streams(record.id)).await?;
        Ok(())
    }

    /// Removes a stream; its file goes afterwards.
    ///
    /// # Errors
    /// The state.
    pub async fn delete_stream(&self, group: &Group, name: &str) -> Result<(), Error> {
        let _writing = self.writing.lock().await;
        let id = group.record.read().id;
        self.state.commit(Txn::new().mutation(Mutation::Delete(tables::stream(id, name)))).await?;
        group.streams.write().remove(name);
        Ok(())
    }
}

fn open_stream(record: StreamRecord, folder: &Path, summary: Option<Summary>) -> Stream {
    let path = folder.join(format!("{}.log", record.file));
    Stream { record, path, summary: Mutex::new(summary) }
}

fn encode<T: Serialize>(value: &T) -> Result<bytes::Bytes, Error> {
    let json = serde_json::to_vec(value).map_err(|e| Error::internal("write a record", e))?;
    Ok(envelope::seal(&json))
}

fn decode<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<T, Error> {
    let json = envelope::open(value)?;
    serde_json::from_slice(json).map_err(|e| Error::internal("read a record", e))
}
