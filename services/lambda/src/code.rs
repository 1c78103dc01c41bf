//! Unpacked packages: one folder per package, made on first need, removed when nothing uses it any more.

use crate::error::Error;
use crate::package;
use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use squall_store::objects::Objects;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// How the folders of several layers begin.
const MERGED: &str = "layers-";
/// Numbers them.
static MERGES: AtomicU64 = AtomicU64::new(0);

/// An unpacked package. Its folder stays as long as somebody holds it.
pub struct CodeDir {
    /// The folder.
    pub path: PathBuf,
    doomed: AtomicBool,
}

impl Drop for CodeDir {
    fn drop(&mut self) {
        if self.doomed.load(Ordering::Acquire)
            && let Err(e) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), error = %e, "remove an unpacked package");
        }
    }
}

/// Slots are locked while a package is unpacked, so that it happens once.
type Slot = Arc<tokio::sync::Mutex<Weak<CodeDir>>>;

/// The unpacked packages.
pub struct Code {
    root: PathBuf,
    objects: Arc<dyn Objects>,
    slots: Mutex<HashMap<String, Slot>>,
}

impl Code {
    /// Packages below `root`; what a crash left half-unpacked there is removed.
    #[must_use]
    pub fn new(root: &Path, objects: Arc<dyn Objects>) -> Self {
        package::sweep(root, MERGED);
        Self { root: root.to_owned(), objects, slots: Mutex::default() }
    }

    /// The folder of a package.
    ///
    /// # Errors
    /// The package is gone or cannot be unpacked.
    pub async fn open(&self, object: &str) -> Result<Arc<CodeDir>, Error> {
        let slot = self.slots.lock().entry(object.to_owned()).or_default().clone();
        let mut held = slot.lock().await;
        if let Some(dir) = held.upgrade() {
            return Ok(dir);
        }
        let name = object.rsplit('/').next().unwrap_or(object).trim_end_matches(".zip");
        let path = self.root.join(name);
        if !path.is_dir() {
            self.unpack(object, path.clone()).await?;
        }
        let dir = Arc::new(CodeDir { path, doomed: AtomicBool::new(false) });
        *held = Arc::downgrade(&dir);
        Ok(dir)
    }

    /// The folder of a function's layers, later ones over earlier ones; `None` without layers.
    ///
    /// # Errors
    /// As [`Code::open`].
    pub async fn open_layers(&self, objects: impl Iterator<Item = &str>) -> Result<Option<Arc<CodeDir>>, Error> {
        let objects: Vec<&str> = objects.collect();
        match objects.as_slice() {
            [] => return Ok(None),
            [one] => return self.open(one).await.map(Some),
            _ => {}
        }
        let digest = Sha256::digest(objects.join("\n"));
        let id: String = digest.iter().take(16).map(|b| format!("{b:02x}")).collect();
        let name = format!("{MERGED}{id}");
        let slot = self.slots.lock().entry(name.clone()).or_default().clone();
        let mut held = slot.lock().await;
        if let Some(dir) = held.upgrade() {
            return Ok(Some(dir));
        }
        // A folder of its own each time: the last one of these layers may just be going.
        let path = self.root.join(format!("{name}-{}", MERGES.fetch_add(1, Ordering::Relaxed)));
        let mut zips = Vec::new();
        for object in objects {
            zips.push(self.read(object).await?);
        }
        let target = path.clone();
        let work = tokio::task::spawn_blocking(move || package::unpack_all(&zips, &target));
        work.await.map_err(|e| Error::internal("unpack layers", Box::new(e)))??;
        // It can be made again at any time, so nothing is kept that nobody uses.
        let dir = Arc::new(CodeDir { path, doomed: AtomicBool::new(true) });
        *held = Arc::downgrade(&dir);
        Ok(Some(dir))
    }

    async fn read(&self, object: &str) -> Result<Bytes, Error> {
        let zip = self.objects.get(object).await.map_err(|e| Error::internal("read a package", Box::new(e)))?;
        zip.ok_or_else(|| Error::internal("read a package", format!("{object} is missing")))
    }

    async fn unpack(&self, object: &str, path: PathBuf) -> Result<(), Error> {
        let zip = self.read(object).await?;
        let work = tokio::task::spawn_blocking(move || package::unpack(&zip, &path));
        work.await.map_err(|e| Error::internal("unpack a package", Box::new(e)))?
    }

    /// Forgets a package that no version uses any more: the object now, the folder when its last user lets go.
    pub async fn discard(&self, object: &str) {
        if let Err(e) = self.objects.delete(object).await {
            tracing::warn!(object, error = %e, "delete a package");
        }
        match self.open_existing(object).await {
            Some(dir) => dir.doomed.store(true, Ordering::Release),
            None => return,
        }
        self.slots.lock().remove(object);
    }

    async fn open_existing(&self, object: &str) -> Option<Arc<CodeDir>> {
        let name = object.rsplit('/').next().unwrap_or(object).trim_end_matches(".zip");
        self.root.join(name).is_dir().then_some(())?;
        self.open(object).await.ok()
    }
}
