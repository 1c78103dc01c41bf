//! The files that hold log lines: one per stream, only ever appended to.
//!
//! Record: `length u32 | crc32 u32 | time i64 | ingested i64 | text`, little-endian; length and checksum cover what follows
//! them. A record that is cut off or damaged ends the file for readers: what a crash left half-written is overwritten by
//! nothing and read by nobody, because the writer cuts it off when it opens the file.

use crate::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Most bytes of one line: AWS takes 1 MB; room for the fixed part comes on top.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
const HEAD: usize = 8;
const FIXED: usize = 16;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Time of the event, milliseconds.
    pub time: i64,
    /// When it was taken in, milliseconds.
    pub ingested: i64,
    /// Where its record begins in the file.
    pub offset: u64,
    /// Text.
    pub text: String,
}

/// Appends a record to a buffer.
pub fn encode(time: i64, ingested: i64, text: &str, out: &mut Vec<u8>) {
    let text = clip(text);
    let length = u32::try_from(FIXED + text.len()).expect("texts are clipped to 1 MiB");
    let mut hash = crc32fast::Hasher::new();
    hash.update(&time.to_le_bytes());
    hash.update(&ingested.to_le_bytes());
    hash.update(text.as_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&hash.finalize().to_le_bytes());
    out.extend_from_slice(&time.to_le_bytes());
    out.extend_from_slice(&ingested.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn clip(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What a file holds, without its texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of whole records.
    pub bytes: u64,
    /// Bytes of texts.
    pub text_bytes: u64,
    /// Earliest event.
    pub first: Option<i64>,
    /// Latest event.
    pub last: Option<i64>,
    /// Latest intake.
    pub ingested: Option<i64>,
}

impl Summary {
    /// Counts one more line.
    pub fn add(&mut self, time: i64, ingested: i64, text_bytes: usize) {
        self.bytes += (HEAD + FIXED + text_bytes) as u64;
        self.text_bytes += text_bytes as u64;
        self.first = Some(self.first.map_or(time, |f| f.min(time)));
        self.last = Some(self.last.map_or(time, |l| l.max(time)));
        self.ingested = Some(self.ingested.map_or(ingested, |i| i.max(ingested)));
    }
}

/// Reads the lines of a file from its beginning; an absent file has none. `each` answers whether to go on.
///
/// # Errors
/// The disk's. Damage is no error: reading ends before it.
pub fn read(path: &Path, mut each: impl FnMut(Line) -> bool) -> io::Result<()> {
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let mut input = BufReader::with_capacity(256 * 1024, file);
    let mut offset = 0;
    while let Some((line, length)) = next(&mut input, offset)? {
        offset += length;
        if !each(line) {
            break;
        }
    }
    Ok(())
}

fn next(input: &mut impl Read, offset: u64) -> io::Result<Option<(Line, u64)>> {
    let mut head = [0; HEAD];
    if !fill(input, &mut head)? {
        return Ok(None);
    }
    let (length, crc) = head.split_at(4);
    let length = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
    let crc = u32::from_le_bytes(crc.try_into().expect("four bytes"));
    if !(FIXED..=FIXED + TEXT_BYTES_MAX).contains(&length) {
        return Ok(None);
    }
    let mut body = vec![0; length];
    if !fill(input, &mut body)? || crc32fast::hash(&body) != crc {
        return Ok(None);
    }
    let text = body.split_off(FIXED);
    let (time, ingested) = body.split_at(8);
    let number = |b: &[u8]| i64::from_le_bytes(b.try_into().expect("eight bytes"));
    let Ok(text) = String::from_utf8(text) else { return Ok(None) };
    let line = Line { time: number(time), ingested: number(ingested), offset, text };
    Ok(Some((line, (HEAD + length) as u64)))
}

/// Whether the whole buffer could be filled.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match input.read_exact(buffer) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        done => done.map(|()| true),
    }
}

/// Sums a file up.
///
/// # Errors
/// The disk's.
pub fn summarise(path: &Path) -> Result<Summary, Error> {
    let mut sum = Summary::default();
    read(path, |line| {
        sum.add(line.time, line.ingested, line.text.len());
        true
    })
    .map_err(|e| Error::internal("read a log file", e))?;
    Ok(sum)
}

/// Opens a file for appending and cuts off what a crash left half-written.
///
/// # Errors
/// The disk's.
pub fn open_for_append(path: &Path) -> io::Result<File> {
    let mut whole = 0;
    read(path, |line| {
        whole = line.offset + (HEAD + FIXED + line.text.len()) as u64;
        true
    })?;
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    file.set_len(whole)?;
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn lines(path: &Path) -> Vec<(i64, String)> {
        let mut all = Vec::new();
        read(path, |l| {
            all.push((l.time, l.text));
            true
        })
        .unwrap();
        all
    }

    #[test]
    fn a_torn_record_is_cut_off_and_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let mut bytes = Vec::new();
        encode(1, 2, "first", &mut bytes);
        let whole = bytes.len();
        encode(3, 4, "second", &mut bytes);
        for cut in whole..bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            assert_eq!(lines(&path), [(1, "first".to_owned())], "cut at {cut}");
            let mut file = open_for_append(&path).unwrap();
            let mut more = Vec::new();
            encode(5, 6, "third", &mut more);
            file.write_all(&more).unwrap();
            assert_eq!(lines(&path), [(1, "first".to_owned()), (5, "third".to_owned())], "cut at {cut}");
        }
    }

    #[test]
    fn damage_ends_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let mut bytes = Vec::new();
        encode(1, 2, "first", &mut bytes);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x40;
            std::fs::write(&path, &bad).unwrap();
            assert!(lines(&path).is_empty(), "byte {at}");
        }
    }

    #[test]
    fn long_texts_are_clipped_at_a_character() {
        let mut bytes = Vec::new();
        encode(1, 1, &"é".repeat(TEXT_BYTES_MAX), &mut bytes);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(lines(&path)[0].1.len(), TEXT_BYTES_MAX);
    }
}
