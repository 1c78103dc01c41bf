//! Layers as this room keeps them: rows, in memory for reading.
//!
//! A layer is a name with numbered versions, which never change but for their policies; a number is never given twice, not
//! even after its version was deleted. The package of a deleted version stays as long as a function uses it.

use crate::error::Error;
use crate::model::Policy;
use crate::registry::{decode, encode};
use crate::tables;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use squall_store::{State, StateExt as _, Txn};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most versions that are loaded at start.
const VERSIONS_MAX: usize = 100_000;

/// A version of a layer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LayerVersion {
    /// Region.
    pub region: String,
    /// Name of the layer.
    pub name: String,
    /// Number, from 1.
    pub number: u32,
    /// Description.
    pub description: String,
    /// `LicenseInfo`.
    pub license: Option<String>,
    /// `CompatibleRuntimes` as given.
    pub runtimes: Option<Vec<String>>,
    /// `CompatibleArchitectures` as given.
    pub architectures: Option<Vec<String>>,
    /// Name of the package in the object store.
    pub object: String,
    /// Base64 of the package's SHA-256.
    pub sha256: String,
    /// Bytes of the package.
    pub bytes: u64,
    /// Milliseconds since the epoch.
    pub created_ms: i64,
    /// Who else may use it.
    pub policy: Option<Policy>,
}

/// Region and name.
type Id = (String, String);

/// A layer in memory.
#[derive(Clone, Debug, Default)]
struct Layer {
    /// The last number that was given.
    last: u32,
    versions: BTreeMap<u32, Arc<LayerVersion>>,
}

/// All layers.
pub struct Layers {
    state: Arc<dyn State>,
    all: RwLock<BTreeMap<Id, Layer>>,
    /// Serialises changes.
    writing: tokio::sync::Mutex<()>,
}

impl Layers {
    /// Loads everything.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn load(state: Arc<dyn State>) -> Result<Self, Error> {
        let mut all: BTreeMap<Id, Layer> = BTreeMap::new();
        for row in state.all(tables::layers(), VERSIONS_MAX).await? {
            let (region, name, last): (String, String, u32) = decode(&row.value)?;
            all.entry((region, name)).or_default().last = last;
        }
        for row in state.all(tables::layer_versions(), VERSIONS_MAX).await? {
            let version: LayerVersion = decode(&row.value)?;
            let layer = all.entry((version.region.clone(), version.name.clone())).or_default();
            layer.versions.insert(version.number, Arc::new(version));
        }
        Ok(Self { state, all: RwLock::new(all), writing: tokio::sync::Mutex::default() })
    }

    /// A version.
    #[must_use]
    pub fn find(&self, region: &str, name: &str, number: u32) -> Option<Arc<LayerVersion>> {
        self.all.read().get(&(region.to_owned(), name.to_owned()))?.versions.get(&number).cloned()
    }

    /// Versions of a layer, oldest first.
    #[must_use]
    pub fn versions(&self, region: &str, name: &str) -> Vec<Arc<LayerVersion>> {
        let all = self.all.read();
        let layer = all.get(&(region.to_owned(), name.to_owned()));
        layer.map(|l| l.versions.values().cloned().collect()).unwrap_or_default()
    }

    /// Names of a region's layers that have versions, in order.
    #[must_use]
    pub fn names(&self, region: &str) -> Vec<String> {
        let all = self.all.read();
        let own = all.iter().filter(|((r, _), layer)| r == region && !layer.versions.is_empty());
        own.map(|((_, name), _)| name.clone()).collect()
    }

    /// Whether a version has this package.
    #[must_use]
    pub fn uses(&self, object: &str) -> bool {
        self.all.read().values().any(|l| l.versions.values().any(|v| v.object == object))
    }

    /// Bytes of all packages in a region.
    #[must_use]
    pub fn stored_bytes(&self, region: &str) -> u64 {
        let all = self.all.read();
        let own = all.iter().filter(|((r, _), _)| r == region);
        own.flat_map(|(_, l)| l.versions.values()).map(|v| v.bytes).sum()
    }

    /// Adds a version under the next number.
    ///
    /// # Errors
    /// The state's errors.
    pub async fn publish(&self, version: LayerVersion) -> Result<Arc<LayerVersion>, Error> {
        let _writing = self.writing.lock().await;
        let id = (version.region.clone(), version.name.clone());
        let number = self.all.read().get(&id).map_or(0, |l| l.last) + 1;
        let version = LayerVersion { number, ..version };
        let txn = Txn::new()
            .put(tables::layer(&id.0, &id.1), encode(&(&id.0, &id.1, number))?)
            .put(tables::layer_version(&id.0, &id.1, number), encode(&version)?);
        self.state.commit(txn).await?;
        let version = Arc::new(version);
        let mut all = self.all.write();
        let layer = all.entry(id).or_default();
        layer.last = number;
        layer.versions.insert(number, version.clone());
        Ok(version)
    }

    /// Changes a version's policy; `None` when there is no such version.
    ///
    /// # Errors
    /// What `f` says, the state's errors.
    pub async fn change_policy(
        &self,
        region: &str,
        name: &str,
        number: u32,
        f: impl FnOnce(&mut Option<Policy>) -> Result<(), Error>,
    ) -> Result<Option<Arc<LayerVersion>>, Error> {
        let _writing = self.writing.lock().await;
        let Some(before) = self.find(region, name, number) else { return Ok(None) };
        let mut version = LayerVersion::clone(&before);
        f(&mut version.policy)?;
        self.state.commit(Txn::new().put(tables::layer_version(region, name, number), encode(&version)?)).await?;
        let version = Arc::new(version);
        if let Some(layer) = self.all.write().get_mut(&(region.to_owned(), name.to_owned())) {
            layer.versions.insert(number, version.clone());
        }
        Ok(Some(version))
    }

    /// Removes a version; answers what was there.
    ///
    /// # Errors
    /// The state's errors.
    pub async fn remove(&self, region: &str, name: &str, number: u32) -> Result<Option<Arc<LayerVersion>>, Error> {
        let _writing = self.writing.lock().await;
        let Some(gone) = self.find(region, name, number) else { return Ok(None) };
        self.state.commit(Txn::new().delete(tables::layer_version(region, name, number))).await?;
        if let Some(layer) = self.all.write().get_mut(&(region.to_owned(), name.to_owned())) {
            layer.versions.remove(&number);
        }
        Ok(Some(gone))
    }
}
