//! Objects in memory, gone with the process.

use async_trait::async_trait;
use parking_lot::RwLock;
use squall_store::Bytes;
use squall_store::objects::{ObjectError, Objects, check_name};
use std::collections::BTreeMap;

/// Objects in memory, gone with the process.
#[derive(Default)]
pub struct MemoryObjects(RwLock<BTreeMap<String, Bytes>>);

#[async_trait]
impl Objects for MemoryObjects {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), ObjectError> {
        check_name(name)?;
        self.0.write().insert(name.to_owned(), bytes);
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>, ObjectError> {
        check_name(name)?;
        Ok(self.0.read().get(name).cloned())
    }

    async fn delete(&self, name: &str) -> Result<(), ObjectError> {
        check_name(name)?;
        self.0.write().remove(name);
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ObjectError> {
        Ok(self
            .0
            .read()
            .range(prefix.to_owned()..)
            .map(|(k, _)| k)
            .take_while(|k| k.starts_with(prefix))
            .cloned()
            .collect())
    }
}
