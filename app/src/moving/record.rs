//! Records as bytes: a tag, then fixed numbers in network order, then byte strings with their lengths before them.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use squall_store::{Change, Key, Part, Queue, Record};
use squall_types::Millis;

const BEGIN: u8 = 1;
const ROW: u8 = 2;
const ENTRY: u8 = 3;
const HEAD: u8 = 4;
const CHANGE: u8 = 5;
const END: u8 = 6;

/// Appends a record.
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    match record {
        Record::Begin { format, at } => {
            out.push(BEGIN);
            out.extend(format.to_be_bytes());
            out.extend(at.0.to_be_bytes());
        }
        Record::Row { key, value, expires } => {
            out.push(ROW);
            string(key.as_bytes(), out);
            string(value, out);
            optional(expires.map(|at| at.0.to_be_bytes()).as_ref().map(<[u8; 8]>::as_slice), out);
        }
        Record::Entry { queue, lane, due, tries, value } => {
            out.push(ENTRY);
            out.extend(queue.0.to_be_bytes());
            optional(lane.as_deref(), out);
            out.extend(due.0.to_be_bytes());
            out.extend(tries.to_be_bytes());
            string(value, out);
        }
        Record::Head { part, seq, low } => {
            out.push(HEAD);
            place(*part, out);
            out.extend(seq.to_be_bytes());
            out.extend(low.to_be_bytes());
        }
        Record::Change { part, change } => {
            out.push(CHANGE);
            place(*part, out);
            out.extend(change.seq.to_be_bytes());
            out.extend(change.at.0.to_be_bytes());
            string(&change.body, out);
        }
        Record::End { records } => {
            out.push(END);
            out.extend(records.to_be_bytes());
        }
    }
}

fn string(bytes: &[u8], out: &mut Vec<u8>) {
    // Values have at most 1 MiB.
    out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn optional(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    out.push(u8::from(bytes.is_some()));
    if let Some(bytes) = bytes {
        string(bytes, out);
    }
}

fn place(part: Part, out: &mut Vec<u8>) {
    out.extend(part.stream.to_be_bytes());
    out.extend(part.part.to_be_bytes());
}

/// Takes the first record off.
///
/// # Errors
/// The bytes are none of a record.
pub fn decode(from: &mut Bytes) -> Result<Record> {
    let [tag] = number(from)?;
    Ok(match tag {
        BEGIN => Record::Begin { format: u16::from_be_bytes(number(from)?), at: millis(from)? },
        ROW => {
            let (key, value) = (Key::from_bytes(take_string(from)?), take_string(from)?);
            let expires = match take_optional(from)? {
                Some(bytes) => Some(Millis(i64::from_be_bytes(bytes.as_ref().try_into().context("an expiry")?))),
                None => None,
            };
            Record::Row { key, value, expires }
        }
        ENTRY => Record::Entry {
            queue: Queue(u64::from_be_bytes(number(from)?)),
            lane: take_optional(from)?,
            due: millis(from)?,
            tries: u32::from_be_bytes(number(from)?),
            value: take_string(from)?,
        },
        HEAD => Record::Head {
            part: take_part(from)?,
            seq: u64::from_be_bytes(number(from)?),
            low: u64::from_be_bytes(number(from)?),
        },
        CHANGE => {
            let part = take_part(from)?;
            let (seq, at) = (u64::from_be_bytes(number(from)?), millis(from)?);
            Record::Change { part, change: Change { seq, at, body: take_string(from)? } }
        }
        END => Record::End { records: u64::from_be_bytes(number(from)?) },
        other => bail!("a record of the unknown kind {other}"),
    })
}

fn take(from: &mut Bytes, length: usize) -> Result<Bytes> {
    if from.len() < length {
        bail!("a record ends too early");
    }
    Ok(from.split_to(length))
}

fn number<const N: usize>(from: &mut Bytes) -> Result<[u8; N]> {
    Ok(take(from, N)?.as_ref().try_into()?)
}

fn millis(from: &mut Bytes) -> Result<Millis> {
    Ok(Millis(i64::from_be_bytes(number(from)?)))
}

fn take_string(from: &mut Bytes) -> Result<Bytes> {
    let length = u32::from_be_bytes(number(from)?);
    take(from, length as usize)
}

fn take_optional(from: &mut Bytes) -> Result<Option<Bytes>> {
    match number(from)? {
        [0] => Ok(None),
        [1] => take_string(from).map(Some),
        [other] => bail!("a record with the unknown mark {other}"),
    }
}

fn take_part(from: &mut Bytes) -> Result<Part> {
    Ok(Part { stream: u64::from_be_bytes(number(from)?), part: u16::from_be_bytes(number(from)?) })
}
