//! Fills an empty cloud from an export, and compares a cloud with one.

use crate::moving::digest::Digests;
use crate::moving::file::{self, Head, Item, Place, Reader};
use crate::moving::source::Source;
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use squall_store::objects::Objects;
use squall_store::{Record, State};
use squall_types::Millis;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// What an import did: both sides hold the same.
#[derive(Debug)]
pub struct Filled {
    /// What the export says about itself.
    pub head: Head,
    /// What the file holds, but for rows that have expired since.
    pub file: Digests,
    /// What the target holds.
    pub target: Digests,
}

/// Checks the file, lays down objects and log files, takes in the state, and compares.
///
/// # Errors
/// The file is damaged or of another account, or the target is not empty: nothing was changed. Objects and log files that
/// were laid down stay when something fails later, and do no harm: the next try finds them there.
pub async fn fill(to: &Source, path: &Path, say: &mut (dyn FnMut(&str) + Send)) -> Result<Filled> {
    say("checking the file");
    let (head, ..) = checked(path, None).await?;
    suits(&head, &to.head)?;
    if !is_empty(to.state.as_ref()).await? {
        bail!(
            "the state ({}) is not empty: import into a new one (another --data, or another database or ?schema=NAME), or \
             have what is there set aside by --replace",
            to.head.engine
        );
    }
    say("writing objects and log files");
    files(to, path, true).await?;
    say("writing the state");
    let (sender, mut receiver) = mpsc::channel(256);
    let from = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || read_records(&from, &sender));
    let records = stream::poll_fn(move |cx| receiver.poll_recv(cx)).boxed();
    let taken = to.state.import(records).await;
    reading.await??;
    taken.context("write the state")?;
    say("comparing both sides");
    let filled = compare(to, path).await?;
    let differences = filled.file.differences(&filled.target);
    if !differences.is_empty() {
        bail!("the target does not hold what the file says, in: {}", differences.join(", "));
    }
    Ok(filled)
}

/// Sums up what both sides hold at this moment.
///
/// # Errors
/// A side cannot be read.
pub async fn compare(to: &Source, path: &Path) -> Result<Filled> {
    let (mut target, mut now, mut records) = (Digests::default(), Millis(i64::MIN), to.state.export());
    while let Some(record) = records.next().await {
        let record = record.context("read the target's state")?;
        if let Record::Begin { at, .. } = &record {
            now = *at;
        }
        target.record(&record, now);
    }
    for (place, name, length, hash) in files(to, path, false).await? {
        target.file(place.name(), &name, length, &hash);
    }
    let (head, file, _) = checked(path, Some(now)).await?;
    Ok(Filled { head, file, target })
}

async fn checked(path: &Path, now: Option<Millis>) -> Result<(Head, Digests, u64)> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || file::check_file(&path, now)).await?
}

fn suits(file: &Head, target: &Head) -> Result<()> {
    if file.account != target.account {
        bail!("the export is of account {}: start the target with --account {}", file.account, file.account);
    }
    if file.regions != target.regions {
        let regions = file.regions.join(",");
        bail!("the export is of regions {regions}: start the target with --region {regions}");
    }
    Ok(())
}

async fn is_empty(state: &dyn State) -> Result<bool> {
    let mut records = state.export();
    while let Some(record) = records.next().await {
        match record.context("read the target's state")? {
            Record::Begin { .. } => {}
            Record::End { .. } => return Ok(true),
            _ => return Ok(false),
        }
    }
    bail!("read the target's state: the cut broke off")
}

/// Sends the file's records. A receiver that is gone has refused, and says why itself.
fn read_records(path: &Path, to: &mpsc::Sender<squall_store::Result<Record>>) -> Result<()> {
    let mut reader = Reader::open(path)?;
    loop {
        match reader.next() {
            Ok(Some(Item::Record(record))) => {
                if to.blocking_send(Ok(record)).is_err() {
                    return Ok(());
                }
            }
            // Records come first.
            Ok(_) => return Ok(()),
            Err(e) => {
                let _ = to.blocking_send(Err(squall_store::Error::Invalid(format!("{e:#}"))));
                return Err(e);
            }
        }
    }
}

/// A file of the export on its way to its place.
enum Step {
    Begin(Place, String),
    Data(Bytes),
    End(u64, [u8; 32]),
}

type Held = (Place, String, u64, Vec<u8>);

/// Goes through the file's objects and log files, writes those that are not there yet if asked, and answers what the target
/// holds under their names.
async fn files(to: &Source, path: &Path, is_writing: bool) -> Result<Vec<Held>> {
    let (sender, mut steps) = mpsc::channel(8);
    let from = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || read_files(&from, &sender));
    let mut held = Vec::new();
    while let Some(step) = steps.recv().await {
        let Step::Begin(place, name) = step else { bail!("a file's bytes without its name") };
        let found = match place {
            Place::Objects => object(&to.objects, &name).await?,
            Place::Logs => None,
        };
        let is_there = found.is_some() || place == Place::Logs && to.logs.join(&name).exists();
        if is_writing && !is_there {
            write(to, place, &name, &mut steps).await?;
            continue;
        }
        let (length, hash) = skip(&mut steps).await?;
        let found = match place {
            Place::Objects => found,
            Place::Logs => log_file(to.logs.join(&name), length).await?,
        };
        match found {
            Some(found) if is_writing && found != (length, hash.to_vec()) => {
                bail!("the target has other {} under the name {name}", place.name())
            }
            Some((length, hash)) => held.push((place, name, length, hash)),
            None => {}
        }
    }
    reading.await??;
    Ok(held)
}

fn read_files(path: &Path, to: &mpsc::Sender<Step>) -> Result<()> {
    let mut reader = Reader::open(path)?;
    while let Some(item) = reader.next()? {
        let step = match item {
            Item::Record(_) => continue,
            Item::Begin(place, name) => Step::Begin(place, name),
            Item::Data(bytes) => Step::Data(bytes),
            Item::End(length, hash) => Step::End(length, hash),
        };
        if to.blocking_send(step).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

async fn skip(steps: &mut mpsc::Receiver<Step>) -> Result<(u64, [u8; 32])> {
    while let Some(step) = steps.recv().await {
        match step {
            Step::Data(_) => {}
            Step::End(length, hash) => return Ok((length, hash)),
            Step::Begin(..) => break,
        }
    }
    bail!("the file of the export broke off")
}

/// The length and hash of an object.
async fn object(objects: &dyn Objects, name: &str) -> Result<Option<(u64, Vec<u8>)>> {
    let Some(mut body) = objects.get_stream(name).await? else { return Ok(None) };
    let (mut length, mut hash) = (0, Sha256::new());
    while let Some(chunk) = body.next().await {
        let chunk = chunk.with_context(|| format!("read object {name}"))?;
        length += chunk.len() as u64;
        hash.update(&chunk);
    }
    Ok(Some((length, hash.finalize().to_vec())))
}

/// The hash of a log file's first bytes: where the target keeps its own cloud's files, they may have grown since.
async fn log_file(path: PathBuf, length: u64) -> Result<Option<(u64, Vec<u8>)>> {
    let read = move || {
        let mut file = match std::fs::File::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?.take(length),
        };
        let (mut hash, mut buffer, mut all) = (Sha256::new(), vec![0; file::FRAME_BYTES], 0);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok::<_, io::Error>(Some((all, hash.finalize().to_vec()))),
                n => {
                    hash.update(buffer.get(..n).unwrap_or_default());
                    all += n as u64;
                }
            }
        }
    };
    Ok(tokio::task::spawn_blocking(read).await??)
}

async fn write(to: &Source, place: Place, name: &str, steps: &mut mpsc::Receiver<Step>) -> Result<()> {
    if place == Place::Logs {
        return log(to.logs.join(name), steps).await;
    }
    let (sender, mut chunks) = mpsc::channel(8);
    let (store, put_name) = (to.objects.clone(), name.to_owned());
    let body = stream::poll_fn(move |cx| chunks.poll_recv(cx)).boxed();
    let put = tokio::spawn(async move { store.put_stream(&put_name, body).await });
    loop {
        let step = steps.recv().await;
        let is_last = !matches!(step, Some(Step::Data(_)));
        let chunk = match step {
            Some(Step::Data(bytes)) => Ok(bytes),
            Some(Step::End(..)) => break,
            // The store takes back what it has of it.
            _ => Err(io::Error::other("the file of the export broke off")),
        };
        // A store that has failed says why itself.
        if sender.send(chunk).await.is_err() || is_last {
            break;
        }
    }
    drop(sender);
    Ok(put.await?.map(drop)?)
}

async fn log(path: PathBuf, steps: &mut mpsc::Receiver<Step>) -> Result<()> {
    let shown = path.display().to_string();
    let failed = || format!("write {shown}");
    let parent = path.parent().context("a log file lies in a folder")?.to_owned();
    std::fs::create_dir_all(&parent).with_context(failed)?;
    let made = path.with_extension("importing");
    let mut out = std::fs::File::create(&made).with_context(failed)?;
    loop {
        match steps.recv().await {
            Some(Step::Data(bytes)) => out.write_all(&bytes).with_context(failed)?,
            Some(Step::End(..)) => break,
            _ => bail!("the file of the export broke off"),
        }
    }
    out.sync_all().with_context(failed)?;
    std::fs::rename(&made, &path).with_context(failed)?;
    std::fs::File::open(&parent)?.sync_all().with_context(failed)
}
