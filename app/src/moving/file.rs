//! The format of an export: a mark of 16 bytes, then frames.
//!
//! A frame is `kind u8 | length u32 | payload | check [16]`, numbers in network order; `check` is the beginning of the SHA-256
//! of the former frame's check, the kind, the length and the payload. Frames come in this order: one `Head` (JSON), `Records`
//! (records one after the other), then for each file a `Begin` (place and name), its `Data` and its `End`; at last `Tail`
//! (JSON) with the sums of everything. Nothing follows.

use crate::moving::digest::Digests;
use crate::moving::record;
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use squall_store::Record;
use squall_types::Millis;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

/// First bytes of every export, whatever its version.
const MARK: &[u8; 14] = b"SQUALL-EXPORT-";
/// First bytes of an export of this version.
pub const MARK_1: &[u8; 16] = b"SQUALL-EXPORT-1\n";
/// Bytes after which a frame of records or data is ended.
pub const FRAME_BYTES: usize = 256 << 10;
/// No frame is longer: a record has at most 1 MiB and its key.
const FRAME_BYTES_MAX: usize = 2 << 20;
const CHECK_BYTES: usize = 16;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// [`Head`].
    Head = 1,
    /// Records.
    Records = 2,
    /// A file begins: `o` or `l`, then its name.
    Begin = 3,
    /// Bytes of a file.
    Data = 4,
    /// A file ends: its length as a u64.
    End = 5,
    /// [`Digests`] of everything.
    Tail = 6,
}

/// What the first frame says.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Head {
    /// The program that wrote it.
    pub program: String,
    /// The engine it was read from.
    pub engine: String,
    /// The cloud's id: see `engine::Engine`.
    pub cloud: String,
    /// The cloud's account.
    pub account: String,
    /// The cloud's regions.
    pub regions: Vec<String>,
}

/// Where a file lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the store of objects.
    Objects,
    /// In the folder of logs.
    Logs,
}

impl Place {
    /// Its name in digests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Place::Objects => "objects",
            Place::Logs => "log files",
        }
    }
}

fn check(former: &[u8; CHECK_BYTES], kind: u8, payload: &[u8]) -> [u8; CHECK_BYTES] {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    let hash = Sha256::new().chain_update(former).chain_update([kind]).chain_update(length).chain_update(payload);
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(hash.finalize().get(..CHECK_BYTES).unwrap_or_default());
    check
}

/// Makes frames.
#[derive(Default)]
pub struct Framer {
    check: [u8; CHECK_BYTES],
}

impl Framer {
    /// The next frame.
    pub fn frame(&mut self, kind: Kind, payload: &[u8]) -> Bytes {
        self.check = check(&self.check, kind as u8, payload);
        let mut frame = Vec::with_capacity(payload.len() + 5 + CHECK_BYTES);
        frame.push(kind as u8);
        frame.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
        frame.extend_from_slice(payload);
        frame.extend(self.check);
        frame.into()
    }

    /// The frame by which a file begins.
    pub fn begin(&mut self, place: Place, name: &str) -> Bytes {
        let mut payload = vec![if place == Place::Objects { b'o' } else { b'l' }];
        payload.extend_from_slice(name.as_bytes());
        self.frame(Kind::Begin, &payload)
    }
}

/// A part of an export as it is read.
pub enum Item {
    /// A record of the cut.
    Record(Record),
    /// A file begins.
    Begin(Place, String),
    /// Bytes of the file that began last.
    Data(Bytes),
    /// It ends; the hash of its bytes.
    End(u64, [u8; 32]),
}

/// Reads an export from its beginning to its end; everything it gives has been checked against the frame's checksum.
pub struct Reader {
    input: BufReader<File>,
    shown: String,
    check: [u8; CHECK_BYTES],
    records: Bytes,
    open: Option<(u64, Sha256)>,
    /// What the first frame says.
    pub head: Head,
    /// What the last frame said, once it was read.
    pub tail: Option<Digests>,
    /// Bytes read so far.
    pub bytes: u64,
}

impl Reader {
    /// Opens an export.
    ///
    /// # Errors
    /// No such file, no export, or one of another version.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let mut input =
            BufReader::with_capacity(FRAME_BYTES, File::open(path).with_context(|| format!("open {shown}"))?);
        let mut mark = [0; MARK_1.len()];
        if input.read_exact(&mut mark).is_err() || !mark.starts_with(MARK) {
            bail!("{shown} is not an export made by `squall export`");
        }
        if mark != *MARK_1 {
            let version = String::from_utf8_lossy(mark.get(MARK.len()..).unwrap_or_default()).trim().to_owned();
            bail!("{shown} has the export format {version}, this program reads 1: upgrade the program");
        }
        let head = Head::default();
        let bytes = MARK_1.len() as u64;
        let (records, check) = (Bytes::new(), [0; CHECK_BYTES]);
        let mut reader = Self { input, shown, check, records, open: None, head, tail: None, bytes };
        match reader.frame()? {
            (kind, payload) if kind == Kind::Head as u8 => {
                reader.head = serde_json::from_slice(&payload).with_context(|| reader.damaged("its head"))?;
            }
            _ => bail!(reader.damaged("its head is missing")),
        }
        Ok(reader)
    }

    fn damaged(&self, what: &str) -> String {
        format!("{} is damaged or not whole at byte {} ({what}): export again", self.shown, self.bytes)
    }

    fn frame(&mut self) -> Result<(u8, Bytes)> {
        let mut head = [0; 5];
        self.input.read_exact(&mut head).with_context(|| self.damaged("it ends too early"))?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length) as usize;
        if length > FRAME_BYTES_MAX {
            bail!(self.damaged("a frame's length"));
        }
        let mut payload = vec![0; length];
        let mut found = [0; CHECK_BYTES];
        let read = self.input.read_exact(&mut payload).and_then(|()| self.input.read_exact(&mut found));
        read.with_context(|| self.damaged("it ends too early"))?;
        self.check = check(&self.check, kind, &payload);
        if self.check != found {
            bail!(self.damaged("a checksum"));
        }
        self.bytes += (5 + length + CHECK_BYTES) as u64;
        Ok((kind, payload.into()))
    }

    /// The next part; `None` at the end of a whole export.
    ///
    /// # Errors
    /// What was read is damaged.
    pub fn next(&mut self) -> Result<Option<Item>> {
        loop {
            if !self.records.is_empty() {
                let record = record::decode(&mut self.records);
                return Ok(Some(Item::Record(record.with_context(|| self.damaged("a record"))?)));
            }
            let (kind, payload) = self.frame()?;
            match (kind, self.open.is_some()) {
                (k, false) if k == Kind::Records as u8 => self.records = payload,
                (k, false) if k == Kind::Begin as u8 => {
                    self.open = Some((0, Sha256::new()));
                    let (place, name) = self.name(&payload)?;
                    return Ok(Some(Item::Begin(place, name)));
                }
                (k, true) if k == Kind::Data as u8 => {
                    if let Some((length, hash)) = &mut self.open {
                        *length += payload.len() as u64;
                        hash.update(&payload);
                    }
                    return Ok(Some(Item::Data(payload)));
                }
                (k, true) if k == Kind::End as u8 => return self.end(&payload).map(Some),
                (k, false) if k == Kind::Tail as u8 => {
                    let tail = serde_json::from_slice(&payload).with_context(|| self.damaged("its tail"))?;
                    self.tail = Some(tail);
                    if self.input.read(&mut [0])? != 0 {
                        bail!(self.damaged("something follows its end"));
                    }
                    return Ok(None);
                }
                _ => bail!(self.damaged("an unexpected frame")),
            }
        }
    }

    fn name(&self, payload: &[u8]) -> Result<(Place, String)> {
        let (place, name) = match payload.split_first() {
            Some((b'o', name)) => (Place::Objects, name),
            Some((b'l', name)) => (Place::Logs, name),
            _ => bail!(self.damaged("a file's place")),
        };
        let name = String::from_utf8_lossy(name).into_owned();
        // Names become paths below the target's folders.
        if !squall_store::objects::is_valid_name(&name) {
            bail!(self.damaged("a file's name"));
        }
        Ok((place, name))
    }

    fn end(&mut self, payload: &[u8]) -> Result<Item> {
        let said = payload.try_into().map(u64::from_be_bytes).ok();
        match self.open.take() {
            Some((length, hash)) if Some(length) == said => Ok(Item::End(length, hash.finalize().into())),
            _ => bail!(self.damaged("a file's length")),
        }
    }
}

/// Reads an export through, and sums up what a side holds at `now` that has taken it in.
///
/// # Errors
/// It is damaged, or its sums are not those that it names.
pub fn check_file(path: &Path, now: Option<Millis>) -> Result<(Head, Digests, u64)> {
    let mut reader = Reader::open(path)?;
    let (mut all, mut live, mut file) = (Digests::default(), Digests::default(), None);
    while let Some(item) = reader.next()? {
        match item {
            Item::Record(record) => {
                all.record(&record, Millis(i64::MIN));
                if let Some(now) = now {
                    live.record(&record, now);
                }
            }
            Item::Begin(place, name) => file = Some((place, name)),
            Item::Data(_) => {}
            Item::End(length, hash) => {
                let (place, name) = file.take().context("a file ends that did not begin")?;
                for digests in [&mut all, &mut live] {
                    digests.file(place.name(), &name, length, &hash);
                }
            }
        }
    }
    if reader.tail.as_ref() != Some(&all) {
        bail!(reader.damaged("its sums"));
    }
    Ok((reader.head, if now.is_some() { live } else { all }, reader.bytes))
}
