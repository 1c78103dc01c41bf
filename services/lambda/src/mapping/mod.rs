//! Event source mappings as this room keeps them: rows, in memory for reading; the triggers run them.
//!
//! A mapping goes through `Creating`, `Enabled`, `Updating`, `Disabling`, `Disabled`, `Enabling`, `Deleting`. An operation
//! writes the state that leads to what was asked and answers; [`worker`] does the rest, after a crash too.

pub mod rules;
pub mod view;
pub mod worker;

use crate::error::Error;
use crate::tables;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use squall_service::Mapping;
use squall_store::{Check, Stamp, State, StateExt as _, Txn, envelope};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most mappings that are loaded at start.
const MAPPINGS_MAX: usize = 100_000;

/// Where a mapping stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Standing {
    /// Being made.
    Creating,
    /// Being switched on.
    Enabling,
    /// Runs.
    Enabled,
    /// Being switched off.
    Disabling,
    /// Does not run.
    Disabled,
    /// Its settings are being changed.
    Updating,
    /// Being deleted.
    Deleting,
}

impl Standing {
    /// As the API has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Creating => "Creating",
            Standing::Enabling => "Enabling",
            Standing::Enabled => "Enabled",
            Standing::Disabling => "Disabling",
            Standing::Disabled => "Disabled",
            Standing::Updating => "Updating",
            Standing::Deleting => "Deleting",
        }
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_settled(self) -> bool {
        matches!(self, Standing::Enabled | Standing::Disabled)
    }
}

/// A mapping's row.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Stored {
    /// What the triggers need.
    pub mapping: Mapping,
    /// Where it stands.
    pub standing: Standing,
    /// Whether it is to run.
    pub enabled: bool,
    /// Last change, milliseconds since the epoch.
    pub modified_ms: i64,
    /// Tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// All mappings, by id.
pub struct Mappings {
    state: Arc<dyn State>,
    all: RwLock<BTreeMap<String, (Arc<Stored>, Stamp)>>,
    /// Serialises changes.
    writing: tokio::sync::Mutex<()>,
}

impl Mappings {
    /// Loads everything.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn load(state: Arc<dyn State>) -> Result<Self, Error> {
        let mut all = BTreeMap::new();
        for row in state.all(tables::mappings(), MAPPINGS_MAX).await? {
            let json = envelope::open(&row.value)?;
            let stored: Stored = serde_json::from_slice(json).map_err(|e| Error::internal("read a mapping", e))?;
            all.insert(stored.mapping.uuid.clone(), (Arc::new(stored), row.ver));
        }
        Ok(Self { state, all: RwLock::new(all), writing: tokio::sync::Mutex::default() })
    }

    /// A mapping of a region.
    #[must_use]
    pub fn find(&self, region: &str, uuid: &str) -> Option<Arc<Stored>> {
        self.all.read().get(uuid).map(|(s, _)| s.clone()).filter(|s| s.mapping.region == region)
    }

    /// Every mapping, by id.
    #[must_use]
    pub fn everything(&self) -> Vec<Arc<Stored>> {
        self.all.read().values().map(|(s, _)| s.clone()).collect()
    }

    /// Adds a mapping, unless one of the same source and function is there.
    ///
    /// # Errors
    /// `ResourceConflictException`.
    pub async fn create(&self, stored: Stored) -> Result<Arc<Stored>, Error> {
        let _writing = self.writing.lock().await;
        self.check_unique(&stored.mapping)?;
        self.write(stored, None).await
    }

    /// Changes a mapping; `None` when it is gone.
    ///
    /// # Errors
    /// What `f` says, the state's errors.
    pub async fn change(
        &self,
        uuid: &str,
        f: impl FnOnce(&mut Stored) -> Result<(), Error>,
    ) -> Result<Option<Arc<Stored>>, Error> {
        let _writing = self.writing.lock().await;
        let Some((before, stamp)) = self.all.read().get(uuid).cloned() else { return Ok(None) };
        let mut stored = Stored::clone(&before);
        f(&mut stored)?;
        if stored.mapping.function_arn != before.mapping.function_arn {
            self.check_unique(&stored.mapping)?;
        }
        if stored == *before {
            return Ok(Some(before));
        }
        self.write(stored, Some(stamp)).await.map(Some)
    }

    /// Removes a mapping.
    ///
    /// # Errors
    /// The state's errors.
    pub async fn remove(&self, uuid: &str) -> Result<(), Error> {
        let _writing = self.writing.lock().await;
        self.state.commit(Txn::new().delete(tables::mapping(uuid))).await?;
        self.all.write().remove(uuid);
        Ok(())
    }

    fn check_unique(&self, m: &Mapping) -> Result<(), Error> {
        let all = self.all.read();
        let twin = all.values().map(|(s, _)| &s.mapping).find(|other| {
            other.source_arn == m.source_arn && other.function_arn == m.function_arn && other.uuid != m.uuid
        });
        let Some(twin) = twin else { return Ok(()) };
        let function = m.function_arn.split(":function:").nth(1).unwrap_or_default();
        Err(Error::Conflict(format!(
            "The event source arn (\" {} \") and function (\" {function} \") provided mapping already exists. Please update or \
             delete the existing mapping with UUID {}",
            m.source_arn, twin.uuid
        )))
    }

    async fn write(&self, stored: Stored, before: Option<Stamp>) -> Result<Arc<Stored>, Error> {
        let key = tables::mapping(&stored.mapping.uuid);
        let json = serde_json::to_vec(&stored).map_err(|e| Error::internal("write a mapping", e))?;
        let check = match before {
            Some(stamp) => Check::Ver(key.clone(), stamp),
            None => Check::Absent(key.clone()),
        };
        let done = self.state.commit(Txn::new().check(check).put(key, envelope::seal(&json))).await?;
        let stored = Arc::new(stored);
        self.all.write().insert(stored.mapping.uuid.clone(), (stored.clone(), done.stamp));
        Ok(stored)
    }
}
