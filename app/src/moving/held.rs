//! Objects that can be held: what is deleted while somebody copies them is gone for everybody else at once, and is removed
//! from the store when the last copy has ended. A crash in between leaves such an object behind, which costs its bytes only.

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use squall_store::objects::{Chunks, ObjectError, Objects};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

/// The wrapper. Cheap to clone.
#[derive(Clone)]
pub struct HeldObjects {
    inner: Arc<dyn Objects>,
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    copies: usize,
    deleted: BTreeSet<String>,
}

/// A copy under way: everything that was there when it began stays readable through it.
pub struct Hold {
    objects: HeldObjects,
}

impl HeldObjects {
    /// Around that store.
    #[must_use]
    pub fn new(inner: Arc<dyn Objects>) -> Self {
        Self { inner, held: Arc::default() }
    }

    /// Begins a copy.
    #[must_use]
    pub fn hold(&self) -> Hold {
        self.held.lock().copies += 1;
        Hold { objects: self.clone() }
    }

    fn is_deleted(&self, name: &str) -> bool {
        self.held.lock().deleted.contains(name)
    }

    /// A name that is written is there again.
    fn revive(&self, name: &str) {
        self.held.lock().deleted.remove(name);
    }
}

impl Hold {
    /// The store with everything that is held.
    #[must_use]
    pub fn all(&self) -> &dyn Objects {
        self.objects.inner.as_ref()
    }

    /// Ends the copy; with the last one, what was deleted meanwhile goes.
    pub async fn release(self) {
        let objects = self.objects.clone();
        drop(self);
        loop {
            let next = {
                let mut held = objects.held.lock();
                if held.copies > 0 { None } else { held.deleted.pop_first() }
            };
            let Some(name) = next else { return };
            if let Err(error) = objects.inner.delete(&name).await {
                tracing::warn!(%error, "remove an object that was deleted during an export");
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.objects.held.lock();
        held.copies = held.copies.saturating_sub(1);
    }
}

#[async_trait]
impl Objects for HeldObjects {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), ObjectError> {
        self.inner.put(name, bytes).await?;
        self.revive(name);
        Ok(())
    }

    async fn put_stream(&self, name: &str, body: Chunks) -> Result<u64, ObjectError> {
        let length = self.inner.put_stream(name, body).await?;
        self.revive(name);
        Ok(length)
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>, ObjectError> {
        if self.is_deleted(name) { Ok(None) } else { self.inner.get(name).await }
    }

    async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Option<Bytes>, ObjectError> {
        if self.is_deleted(name) { Ok(None) } else { self.inner.get_range(name, range).await }
    }

    async fn get_stream(&self, name: &str) -> Result<Option<Chunks>, ObjectError> {
        if self.is_deleted(name) { Ok(None) } else { self.inner.get_stream(name).await }
    }

    async fn length(&self, name: &str) -> Result<Option<u64>, ObjectError> {
        if self.is_deleted(name) { Ok(None) } else { self.inner.length(name).await }
    }

    async fn delete(&self, name: &str) -> Result<(), ObjectError> {
        let is_held = {
            let mut held = self.held.lock();
            held.copies > 0 && {
                held.deleted.insert(name.to_owned());
                true
            }
        };
        if is_held { Ok(()) } else { self.inner.delete(name).await }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ObjectError> {
        let mut names = self.inner.list(prefix).await?;
        let held = self.held.lock();
        names.retain(|name| !held.deleted.contains(name));
        Ok(names)
    }
}
