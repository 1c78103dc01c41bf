//! A file on its way to its name.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that are being written beside the objects; gone when it is dropped before it was published.
pub(crate) struct Draft {
    root: Arc<PathBuf>,
    tmp: PathBuf,
    target: PathBuf,
    file: Option<File>,
    length: u64,
}

impl Draft {
    pub fn new(root: Arc<PathBuf>, tmp: PathBuf, target: PathBuf) -> Draft {
        Draft { root, tmp, target, file: None, length: 0 }
    }

    fn file(&mut self) -> io::Result<&mut File> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => Ok(none.insert(File::create(&self.tmp)?)),
        }
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file()?.write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Gives the bytes their name, durably; answers their number.
    pub fn publish(mut self) -> io::Result<u64> {
        self.file()?.sync_data()?;
        let parent = self.target.parent().unwrap_or(&self.root).to_owned();
        fs::create_dir_all(&parent)?;
        fs::rename(&self.tmp, &self.target)?;
        self.file = None;
        sync_up(&parent, &self.root)?;
        Ok(self.length)
    }
}

/// New folders are entries of their parents: syncs up to the root.
fn sync_up(from: &Path, root: &Path) -> io::Result<()> {
    let mut dir = Some(from);
    while let Some(d) = dir {
        File::open(d)?.sync_all()?;
        dir = if d == root { None } else { d.parent() };
    }
    Ok(())
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.file.is_some() {
            // What cannot be removed now is removed when the folder is opened again.
            drop(fs::remove_file(&self.tmp));
        }
    }
}
