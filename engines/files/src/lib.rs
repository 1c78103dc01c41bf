//! Objects as plain files under one folder, and objects in memory for `--state memory`.
//!
//! A file is written to `.tmp`, synced, renamed and its folder synced, so that a name either has its old bytes, its new bytes
//! or is absent, whenever the power goes. Leftovers in `.tmp` are removed at open.

mod memory;
mod write;

pub use memory::MemoryObjects;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream;
use squall_store::Bytes;
use squall_store::objects::{Chunks, ObjectError, Objects, check_name, io_error};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use write::Draft;

/// Bytes of a chunk that is read.
const CHUNK_BYTES: usize = 256 << 10;

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

    fn draft(&self, name: &str) -> Draft {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        Draft::new(self.root.clone(), self.root.join(".tmp").join(n.to_string()), self.root.join(name))
    }

    async fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        name: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, ObjectError> {
        check_name(name)?;
        let path = self.root.join(name);
        blocking(move || work(&path)).await.map_err(io_error(action, name))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(io::Error::other(e)))
}

fn or_absent<T>(r: io::Result<T>) -> io::Result<Option<T>> {
    match r {
        Ok(t) => Ok(Some(t)),
        // A folder of objects is no object.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e),
    }
}

fn read_range(path: &Path, range: Range<u64>) -> io::Result<Option<Bytes>> {
    let Some(mut file) = or_absent(File::open(path))? else { return Ok(None) };
    file.seek(SeekFrom::Start(range.start))?;
    let mut bytes = Vec::new();
    file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes)?;
    Ok(Some(bytes.into()))
}

/// The next chunk of an open file; `None` at its end.
async fn read_chunk(mut file: File) -> Option<(io::Result<Bytes>, Option<File>)> {
    let read = blocking(move || {
        let mut bytes = vec![0; CHUNK_BYTES];
        let length = file.read(&mut bytes)?;
        bytes.truncate(length);
        Ok((Bytes::from(bytes), file))
    });
    match read.await {
        Ok((bytes, _)) if bytes.is_empty() => None,
        Ok((bytes, file)) => Some((Ok(bytes), Some(file))),
        Err(e) => Some((Err(e), None)),
    }
}

fn collect(dir: &Path, name: &str, prefix: &str, out: &mut Vec<String>) -> io::Result<()> {
    for entry in or_absent(fs::read_dir(dir))?.into_iter().flatten() {
        let entry = entry?;
        let Ok(file) = entry.file_name().into_string() else { continue };
        let full = if name.is_empty() { file } else { format!("{name}/{file}") };
        // Only folders that lie on the way to the prefix, or below it, are looked into.
        let on_the_way = full.starts_with(prefix) || prefix.starts_with(&format!("{full}/"));
        if full == ".tmp" || !on_the_way {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &full, prefix, out)?;
        } else if full.starts_with(prefix) {
            out.push(full);
        }
    }
    Ok(())
}

#[async_trait]
impl Objects for FileObjects {
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), ObjectError> {
        check_name(name)?;
        let mut draft = self.draft(name);
        let work = move || {
            draft.write(&bytes)?;
            draft.publish()
        };
        blocking(work).await.map(drop).map_err(io_error("write", name))
    }

    async fn put_stream(&self, name: &str, mut body: Chunks) -> Result<u64, ObjectError> {
        check_name(name)?;
        let mut draft = self.draft(name);
        let write = async {
            while let Some(chunk) = body.next().await {
                let chunk = chunk?;
                draft = blocking(move || draft.write(&chunk).map(|()| draft)).await?;
            }
            blocking(move || draft.publish()).await
        };
        write.await.map_err(io_error("write", name))
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>, ObjectError> {
        self.run("read", name, |path| Ok(or_absent(fs::read(path))?.map(Bytes::from))).await
    }

    async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Option<Bytes>, ObjectError> {
        self.run("read", name, |path| read_range(path, range)).await
    }

    async fn get_stream(&self, name: &str) -> Result<Option<Chunks>, ObjectError> {
        let file = self.run("read", name, |path| or_absent(File::open(path))).await?;
        Ok(file.map(|file| {
            let next = |file: Option<File>| async move { read_chunk(file?).await };
            stream::unfold(Some(file), next).boxed()
        }))
    }

    async fn length(&self, name: &str) -> Result<Option<u64>, ObjectError> {
        self.run("read", name, |path| Ok(or_absent(fs::metadata(path))?.filter(fs::Metadata::is_file).map(|m| m.len())))
            .await
    }

    async fn delete(&self, name: &str) -> Result<(), ObjectError> {
        self.run("delete", name, |path| or_absent(fs::remove_file(path)).map(drop)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ObjectError> {
        let (root, wanted) = (self.root.clone(), prefix.to_owned());
        let work = move || {
            let mut out = Vec::new();
            collect(&root, "", &wanted, &mut out)?;
            out.sort_unstable();
            Ok(out)
        };
        blocking(work).await.map_err(io_error("list", prefix))
    }
}
