//! Backup of a running cloud as a tar stream, and a data directory made from one.
//!
//! Order matters: objects are linked aside, then the state is cut, then objects are linked again. Objects are immutable and
//! written before the state names them, so whatever the cut names is in one of the two sets of links, even if it was deleted
//! in between.

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Name of the state inside a backup and a data directory.
pub const STATE_FILE: &str = "state.db";
/// Folders of the data directory that a backup carries besides the state.
const FOLDERS: [&str; 2] = ["objects", "logs"];
/// First entry of a backup, so that other files are told apart at once.
const MARK: &str = "squall-backup-2";
/// The first entry of backups without [`SUMS`], which are restored too.
const MARK_1: &str = "squall-backup-1";
/// The last entry: the SHA-256 of every other one, as JSON. A backup without it is not whole.
const SUMS: &str = "sums.json";

/// Hashes of entries by name.
type Sums = BTreeMap<String, String>;

/// A state engine that can be copied while it runs.
#[async_trait]
pub trait Source: Send + Sync {
    /// Writes a consistent cut of the state to a new file.
    async fn cut(&self, to: &Path) -> Result<()>;
}

/// Starts a backup; what it gives is a tar archive.
pub fn stream(source: Arc<dyn Source>, data: PathBuf) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(8);
    tokio::spawn(async move {
        let scratch = data.join("backup.tmp");
        if let Err(e) = write(source.as_ref(), &data, &scratch, sender.clone()).await {
            tracing::error!(error = format!("{e:#}"), "backup");
            // The connection is cut, so the client knows that the archive is not whole.
            let _ = sender.send(Err(io::Error::other("backup failed"))).await;
        }
        let _ = fs::remove_dir_all(&scratch);
    });
    receiver
}

async fn write(
    source: &dyn Source,
    data: &Path,
    scratch: &Path,
    sender: mpsc::Sender<io::Result<Bytes>>,
) -> Result<()> {
    fs::create_dir(scratch).with_context(|| format!("make {} (is another backup running?)", scratch.display()))?;
    link_all(data, scratch)?;
    source.cut(&scratch.join(STATE_FILE)).await?;
    link_all(data, scratch)?;
    let scratch = scratch.to_owned();
    tokio::task::spawn_blocking(move || archive(&scratch, Channel { sender, buffer: Vec::new() })).await?
}

fn link_all(data: &Path, scratch: &Path) -> Result<()> {
    for folder in FOLDERS {
        // Objects never change, so links are enough; log segments grow, so they are copied when archived (a torn last
        // record is what a crash leaves too, and readers stop before it).
        link(&data.join(folder), &scratch.join(folder)).with_context(|| format!("collect {folder}"))?;
    }
    Ok(())
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let entries = match fs::read_dir(from) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_name() == ".tmp" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            link(&source, &target)?;
            continue;
        }
        match fs::hard_link(&source, &target) {
            Err(e) if matches!(e.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {}
            done => done?,
        }
    }
    Ok(())
}

fn archive(scratch: &Path, out: Channel) -> Result<()> {
    let mut tar = tar::Builder::new(out);
    tar.mode(tar::HeaderMode::Deterministic);
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o600);
    tar.append_data(&mut header, MARK, io::empty())?;
    let mut sums = Sums::new();
    append_file(&mut tar, &scratch.join(STATE_FILE), Path::new(STATE_FILE), &mut sums)?;
    for folder in FOLDERS {
        append_folder(&mut tar, &scratch.join(folder), Path::new(folder), &mut sums)?;
    }
    let sums = serde_json::to_vec(&sums)?;
    header.set_size(sums.len() as u64);
    tar.append_data(&mut header, SUMS, sums.as_slice())?;
    tar.into_inner()?.flush()?;
    Ok(())
}

fn append_folder(tar: &mut tar::Builder<Channel>, folder: &Path, name: &Path, sums: &mut Sums) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = name.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            append_folder(tar, &entry.path(), &name, sums)?;
        } else {
            append_file(tar, &entry.path(), &name, sums)?;
        }
    }
    Ok(())
}

/// The length is fixed when the file is opened: a log segment may grow meanwhile.
fn append_file(tar: &mut tar::Builder<Channel>, path: &Path, name: &Path, sums: &mut Sums) -> Result<()> {
    let file = fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
    let length = file.metadata()?.len();
    let mut header = tar::Header::new_gnu();
    header.set_size(length);
    header.set_mode(0o600);
    let mut content = Hashed { inner: file.take(length), hash: Sha256::new() };
    tar.append_data(&mut header, name, &mut content).with_context(|| format!("archive {}", name.display()))?;
    sums.insert(name.display().to_string(), content.sum());
    Ok(())
}

/// Reads, and hashes what was read.
struct Hashed<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..length).unwrap_or_default());
        Ok(length)
    }
}

impl<R> Hashed<R> {
    fn sum(self) -> String {
        self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

struct Channel {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

const CHUNK_BYTES: usize = 256 * 1024;

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = Bytes::from(std::mem::take(&mut self.buffer));
        self.sender.blocking_send(Ok(chunk)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

/// Makes a data directory from a backup. Nothing is left behind when the archive is not whole.
///
/// # Errors
/// The directory is in use, or the file is no backup.
pub fn restore(file: &Path, data: &Path) -> Result<()> {
    if data.exists() && fs::read_dir(data).with_context(|| format!("read {}", data.display()))?.next().is_some() {
        bail!("{} is not empty: restore into a new directory", data.display());
    }
    let mut name = data.file_name().with_context(|| format!("{} has no name", data.display()))?.to_owned();
    name.push(".restoring");
    let staging = data.with_file_name(name);
    let _ = fs::remove_dir_all(&staging);
    let unpacked = unpack(file, &staging);
    if unpacked.is_err() {
        let _ = fs::remove_dir_all(&staging);
    }
    unpacked?;
    let _ = fs::remove_dir(data);
    fs::rename(&staging, data).with_context(|| format!("move the restored state to {}", data.display()))
}

fn unpack(file: &Path, staging: &Path) -> Result<()> {
    let input = fs::File::open(file).with_context(|| format!("open {}", file.display()))?;
    // As `up` makes it: the state holds root's credentials.
    let mut make = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(make.recursive(true), 0o700);
    make.create(staging).with_context(|| format!("make {}", staging.display()))?;
    let mut tar = tar::Archive::new(io::BufReader::new(input));
    let (mut mark, mut sums, mut said) = (None, Sums::new(), None);
    for entry in tar.entries()? {
        let entry = entry.with_context(|| format!("{} is not a whole backup", file.display()))?;
        let name = entry.path()?.into_owned();
        if mark.is_none() {
            mark = [MARK, MARK_1].into_iter().find(|known| name == Path::new(known));
            if mark.is_none() {
                bail!("{} is not a backup made by `squall backup`", file.display());
            }
            continue;
        }
        if name == Path::new(SUMS) {
            let read: Sums = serde_json::from_reader(entry)
                .with_context(|| format!("{} is not a whole backup: its sums", file.display()))?;
            said = Some(read);
            continue;
        }
        if !is_expected(&name) || !entry.header().entry_type().is_file() {
            bail!("{} holds an unexpected entry {}", file.display(), name.display());
        }
        let target = staging.join(&name);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut out = fs::File::create(&target).with_context(|| format!("write {}", target.display()))?;
        let mut content = Hashed { inner: entry, hash: Sha256::new() };
        io::copy(&mut content, &mut out).with_context(|| format!("{} is not a whole backup", file.display()))?;
        out.sync_all()?;
        sums.insert(name.display().to_string(), content.sum());
    }
    match said {
        None if mark == Some(MARK) => bail!("{} is not a whole backup: its end is missing", file.display()),
        Some(said) if said != sums => {
            let differs = |name: &&String| said.get(*name) != sums.get(*name);
            let bad: Vec<&String> = said.keys().chain(sums.keys()).filter(differs).take(3).collect();
            bail!("{} is damaged, in {bad:?}: use another backup", file.display());
        }
        _ => {}
    }
    if !sums.contains_key(STATE_FILE) {
        bail!("{} is not a whole backup: the state is missing", file.display());
    }
    Ok(())
}

fn is_expected(name: &Path) -> bool {
    let plain = name.components().all(|c| matches!(c, Component::Normal(_)));
    plain && (name == Path::new(STATE_FILE) || FOLDERS.iter().any(|f| name.starts_with(f)))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Copy;

    #[async_trait]
    impl Source for Copy {
        async fn cut(&self, to: &Path) -> Result<()> {
            fs::write(to, b"state")?;
            Ok(())
        }
    }

    async fn backup(data: &Path) -> Vec<u8> {
        let mut chunks = stream(Arc::new(Copy), data.to_owned());
        let mut all = Vec::new();
        while let Some(chunk) = chunks.recv().await {
            all.extend_from_slice(&chunk.unwrap());
        }
        all
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_restored_directory_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir_all(data.join("objects/lambda")).unwrap();
        fs::write(data.join("objects/lambda/a.zip"), b"code").unwrap();
        let file = dir.path().join("backup.tar");
        fs::write(&file, backup(&data).await).unwrap();
        assert!(!data.join("backup.tmp").exists());
        let target = dir.path().join("restored");
        restore(&file, &target).unwrap();
        assert_eq!(fs::read(target.join("objects/lambda/a.zip")).unwrap(), b"code");
        assert_eq!(fs::read(target.join(STATE_FILE)).unwrap(), b"state");
        assert!(restore(&file, &target).unwrap_err().to_string().contains("not empty"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn half_a_backup_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir_all(data.join("objects")).unwrap();
        fs::write(data.join("objects/a"), vec![7; 5000]).unwrap();
        let whole = backup(&data).await;
        let file = dir.path().join("half.tar");
        let target = dir.path().join("restored");
        // The last one ends between two entries.
        for cut in [0, 100, 700, 1536, 1800, 4000, 2048 + 5120] {
            fs::write(&file, &whole[..cut]).unwrap();
            assert!(restore(&file, &target).is_err(), "cut at {cut}");
            assert!(!target.exists(), "cut at {cut}");
        }
        for at in [1024, 1536, 2048 + 100, 2048 + 4999] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&file, &bytes).unwrap();
            assert!(restore(&file, &target).is_err(), "a bit at {at}");
            assert!(!target.exists(), "a bit at {at}");
        }
    }
}
