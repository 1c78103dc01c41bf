//! Objects as plain files under one folder, and objects in memory for `--state memory`.
//!
//! A file is written to `.tmp`, synced, renamed and its folder synced, so that a name either has its old bytes, its new bytes
//! or is absent, whenever the power goes. Leftovers in `.tmp` are removed at open.

use async_trait::async_trait;
use parking_lot::RwLock;
use squall_store::Bytes;
use squall_store::objects::{ObjectError, Objects, is_valid_name};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Objects under one folder of this machine. Cheap to clone.
#[derive(Clone)]
pub struct FileObjects {
    root: Arc<PathBuf>,
    next: Arc<AtomicU64>,
}

impl FileObjects {
    /// Opens the folder, making it if it is absent.
    ///
    /// # Errors
    /// The folder cannot be made or cleaned.
    pub fn open(root: &Path) -> io::Result<Self> {
        let tmp = root.join(".tmp");
        match fs::remove_dir_all(&tmp) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        fs::create_dir_all(&tmp)?;
        Ok(Self { root: Arc::new(root.to_owned()), next: Arc::default() })
    }

    async fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        name: &str,
        work: impl FnOnce(&Path, &Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, ObjectError> {
        if !is_valid_name(name) {
            return Err(ObjectError::Name(name.to_owned()));
        }
        let (root, path) = (self.root.clone(), self.root.join(name));
        let done = tokio::task::spawn_blocking(move || work(&root, &path)).await;
        let done = done.unwrap_or_else(|e| Err(io::Error::other(e)));
        done.map_err(|source| ObjectError::Io { action, name: name.to_owned(), source })
    }
}

fn write_whole(root: &Path, path: &Path, tmp: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().unwrap_or(root);
    fs::create_dir_all(parent)?;
    let mut file = File::create(tmp)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(tmp, path)?;
    // New folders are entries of their parents: sync up to the root.
    let mut dir = Some(parent);
    while let Some(d) = dir {
        File::open(d)?.sync_all()?;
        dir = if d == root { None } else { d.parent() };
    }
    Ok(())
}

fn or_absent<T>(r: io::Result<T>) -> io::Result<Option<T>> {
    match r {
        Ok(t) => Ok(Some(t)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn collect(dir: &Path, name: &str, out: &mut Vec<String>) -> io::Result<()> {
    for entry in or_absent(fs::read_dir(dir))?.into_iter().flatten() {
        let entry = entry?;
        let Ok(file) = entry.file_name().into_string() else { continue };
        if file == ".tmp" {
            continue;
        }
        let full = if name.is_empty() { file } else { format!("{name}/{file}") };
        if entry.file_type()?.is_dir() { collect(&entry.path(), &full, out)? } else { out.push(full) }
    }
    Ok(())
}

#[async_trait]
impl Objects for FileObjects {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), ObjectError> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        self.run("write", name, move |root, path| {
            write_whole(root, path, &root.join(".tmp").join(n.to_string()), &bytes)
        })
        .await
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>, ObjectError> {
        self.run("read", name, |_, path| Ok(or_absent(fs::read(path))?.map(Bytes::from))).await
    }

    async fn delete(&self, name: &str) -> Result<(), ObjectError> {
        self.run("delete", name, |_, path| or_absent(fs::remove_file(path)).map(|_| ())).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ObjectError> {
        let (root, wanted) = (self.root.clone(), prefix.to_owned());
        let work = move || {
            let mut out = Vec::new();
            collect(&root, "", &mut out)?;
            out.retain(|n| n.starts_with(&wanted));
            out.sort_unstable();
            Ok(out)
        };
        let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(io::Error::other(e)));
        done.map_err(|source| ObjectError::Io { action: "list", name: prefix.to_owned(), source })
    }
}

/// Objects in memory, gone with the process.
#[derive(Default)]
pub struct MemoryObjects(RwLock<BTreeMap<String, Bytes>>);

#[async_trait]
impl Objects for MemoryObjects {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), ObjectError> {
        if !is_valid_name(name) {
            return Err(ObjectError::Name(name.to_owned()));
        }
        self.0.write().insert(name.to_owned(), bytes);
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>, ObjectError> {
        Ok(self.0.read().get(name).cloned())
    }

    async fn delete(&self, name: &str) -> Result<(), ObjectError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(o: &dyn Objects) {
        o.put("lambda/a.zip", Bytes::from_static(b"one")).await.unwrap();
        o.put("lambda/a.zip", Bytes::from_static(b"two")).await.unwrap();
        o.put("lambda/b/c", Bytes::from_static(b"3")).await.unwrap();
        assert_eq!(o.get("lambda/a.zip").await.unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(o.get("lambda/none").await.unwrap(), None);
        assert_eq!(o.list("lambda/").await.unwrap(), ["lambda/a.zip", "lambda/b/c"]);
        o.delete("lambda/a.zip").await.unwrap();
        o.delete("lambda/a.zip").await.unwrap();
        assert_eq!(o.list("").await.unwrap(), ["lambda/b/c"]);
        assert!(matches!(o.put("../x", Bytes::new()).await, Err(ObjectError::Name(_))));
    }

    #[tokio::test]
    async fn both_stores_behave_the_same() {
        let dir = tempfile::tempdir().unwrap();
        check(&FileObjects::open(dir.path()).unwrap()).await;
        check(&MemoryObjects::default()).await;
    }
}
