//! Writes an export: the cut of the state, then objects, then log files.

use crate::moving::digest::Digests;
use crate::moving::file::{FRAME_BYTES, Framer, Head, Kind, MARK_1, Place};
use crate::moving::held::{HeldObjects, Hold};
use crate::moving::record;
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use squall_store::{Record, State};
use squall_types::Millis;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;

/// What is exported.
#[derive(Clone)]
pub struct Source {
    /// The state.
    pub state: Arc<dyn State>,
    /// The objects.
    pub objects: HeldObjects,
    /// The folder with log files.
    pub logs: PathBuf,
    /// What the export says about itself.
    pub head: Head,
}

/// Starts an export; what it gives is the file, chunk by chunk. It ends early when nobody takes the chunks any more.
pub fn stream(source: Source) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        // Before the cut: whatever the cut names stays until the end.
        let hold = source.objects.hold();
        let mut out = Out { sender: sender.clone(), framer: Framer::default(), digests: Digests::default() };
        if let Err(e) = write(&source, &hold, &mut out).await {
            tracing::error!(error = format!("{e:#}"), "export");
            // The connection is cut, so the client knows that the file is not whole.
            let _ = sender.send(Err(io::Error::other(format!("the export failed: {e:#}")))).await;
        }
        hold.release().await;
    });
    receiver
}

struct Out {
    sender: mpsc::Sender<io::Result<Bytes>>,
    framer: Framer,
    digests: Digests,
}

impl Out {
    async fn send(&self, bytes: Bytes) -> Result<()> {
        self.sender.send(Ok(bytes)).await.ok().context("nobody takes the export any more")
    }

    async fn frame(&mut self, kind: Kind, payload: &[u8]) -> Result<()> {
        let frame = self.framer.frame(kind, payload);
        self.send(frame).await
    }
}

async fn write(source: &Source, hold: &Hold, out: &mut Out) -> Result<()> {
    out.send(Bytes::from_static(MARK_1)).await?;
    out.frame(Kind::Head, &serde_json::to_vec(&source.head)?).await?;
    records(source, out).await?;
    for name in hold.all().list("").await? {
        let Some(mut body) = hold.all().get_stream(&name).await? else { continue };
        let begin = out.framer.begin(Place::Objects, &name);
        out.send(begin).await?;
        let (mut length, mut hash) = (0, Sha256::new());
        while let Some(chunk) = body.next().await {
            let chunk = chunk.with_context(|| format!("read object {name}"))?;
            for part in chunk.chunks(FRAME_BYTES) {
                hash.update(part);
                length += part.len() as u64;
                out.frame(Kind::Data, part).await?;
            }
        }
        end(out, Place::Objects, &name, length, hash).await?;
    }
    let folder = source.logs.clone();
    for (name, path) in tokio::task::spawn_blocking(move || log_files(&folder)).await?? {
        log_file(&name, &path, out).await.with_context(|| format!("read {}", path.display()))?;
    }
    let tail = serde_json::to_vec(&out.digests)?;
    out.frame(Kind::Tail, &tail).await
}

async fn records(source: &Source, out: &mut Out) -> Result<()> {
    let (mut records, mut buffer, mut is_whole) = (source.state.export(), Vec::new(), false);
    while let Some(record) = records.next().await {
        let record = record.context("read the state")?;
        is_whole = matches!(record, Record::End { .. });
        out.digests.record(&record, Millis(i64::MIN));
        record::encode(&record, &mut buffer);
        if buffer.len() >= FRAME_BYTES {
            out.frame(Kind::Records, &buffer).await?;
            buffer.clear();
        }
    }
    if !is_whole {
        bail!("read the state: the cut broke off");
    }
    out.frame(Kind::Records, &buffer).await
}

async fn end(out: &mut Out, place: Place, name: &str, length: u64, hash: Sha256) -> Result<()> {
    out.digests.file(place.name(), name, length, &hash.finalize());
    out.frame(Kind::End, &length.to_be_bytes()).await
}

/// A log file grows while it is read: its length is fixed when it is opened. A torn last record is what a crash leaves too.
async fn log_file(name: &str, path: &Path, out: &mut Out) -> Result<()> {
    let path = path.to_owned();
    let (file, length) = match tokio::task::spawn_blocking(move || {
        let file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        Ok::<_, io::Error>((file, length))
    })
    .await?
    {
        // Its retention ended just now.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let begin = out.framer.begin(Place::Logs, name);
    out.send(begin).await?;
    let (mut input, mut read, mut hash) = (file.take(length), 0, Sha256::new());
    loop {
        let chunk;
        (input, chunk) = tokio::task::spawn_blocking(move || {
            let mut chunk = Vec::new();
            input.by_ref().take(FRAME_BYTES as u64).read_to_end(&mut chunk)?;
            Ok::<_, io::Error>((input, chunk))
        })
        .await??;
        if chunk.is_empty() {
            break;
        }
        hash.update(&chunk);
        read += chunk.len() as u64;
        out.frame(Kind::Data, &chunk).await?;
    }
    end(out, Place::Logs, name, read, hash).await
}

/// The files below a folder by name, with slashes between, sorted.
///
/// # Errors
/// The disk's.
pub fn log_files(root: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let (mut found, mut folders) = (Vec::new(), vec![(String::new(), root.to_owned())]);
    while let Some((prefix, folder)) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            if entry.file_type()?.is_dir() {
                folders.push((name, entry.path()));
            } else if squall_store::objects::is_valid_name(&name) {
                found.push((name, entry.path()));
            }
        }
    }
    found.sort();
    Ok(found)
}
