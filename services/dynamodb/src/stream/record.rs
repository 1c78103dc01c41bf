//! The stored form of a stream's record, and what a write adds to the stream and to the history.
//!
//! A record is `envelope | name | flags | keys | [old] | [new]`, each image behind its length as the item's own stored form.
//! Two images that are too long for one change of the state come as two changes: the old one goes ahead.

use crate::codec;
use crate::error::Error;
use crate::item::Item;
use crate::key::KeyBytes;
use crate::table::Table;
use squall_store::{Mutation, Mutations, envelope, limits};

const BY_SERVICE: u8 = 1;
const HAS_OLD: u8 = 2;
const HAS_NEW: u8 = 4;
/// Only an old image, which belongs to the next change.
const AHEAD: u8 = 8;
/// The old image was the change before.
const OLD_AHEAD: u8 = 16;

/// What happened to an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was made.
    Insert,
    /// It was changed.
    Modify,
    /// It was removed.
    Remove,
}

impl Event {
    /// The wire name.
    pub fn name(self) -> &'static str {
        match self {
            Event::Insert => "INSERT",
            Event::Modify => "MODIFY",
            Event::Remove => "REMOVE",
        }
    }
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What happened.
    pub event: Event,
    /// Time to live removed the item.
    pub by_service: bool,
    /// The item's key.
    pub keys: Item,
    /// The item before, where the view shows it.
    pub old: Option<Item>,
    /// The item after, where the view shows it.
    pub new: Option<Item>,
}

impl Record {
    /// `SizeBytes`.
    pub fn size_bytes(&self) -> usize {
        let size = |item: &Option<Item>| item.as_ref().map_or(0, Item::size_bytes);
        self.keys.size_bytes() + size(&self.old) + size(&self.new)
    }
}

/// An item with its stored form.
#[derive(Clone, Copy)]
pub struct Image<'a> {
    /// The item.
    pub item: &'a Item,
    /// Its stored form.
    pub bytes: &'a [u8],
}

/// Adds what a change of an item means to the table's stream and history; nothing for a change that changes nothing.
pub fn emit(
    table: &Table,
    key: &KeyBytes,
    old: Option<Image<'_>>,
    new: Option<Image<'_>>,
    by_service: bool,
    out: &mut Vec<Mutation>,
) {
    let event = match (old, new) {
        (None, None) => return,
        (Some(old), Some(new)) if old.item == new.item => return,
        (None, Some(_)) => Event::Insert,
        (Some(_), Some(_)) => Event::Modify,
        (Some(_), None) => Event::Remove,
    };
    if let Some(history) = &table.history {
        out.emit(history.part(), undo(key, old.map(|o| o.bytes)));
    }
    let Some(stream) = table.stream.as_ref().filter(|s| s.closed.is_none()) else { return };
    let Some(shown) = new.or(old) else { return };
    let old = old.filter(|_| stream.view.has_old()).map(|o| o.bytes);
    let new = new.filter(|_| stream.view.has_new()).map(|n| n.bytes);
    let keys = codec::encode(&table.schema.project(shown.item));
    let length = |image: Option<&[u8]>| image.map_or(0, |b| b.len() + 8);
    let part = stream.part_of(key);
    let mut flags = if by_service { BY_SERVICE } else { 0 };
    let mut old = old;
    if 16 + length(Some(&keys)) + length(old) + length(new) > limits::VALUE_BYTES_MAX {
        out.emit(part, body(event, AHEAD, &keys, old.take(), None));
        flags |= OLD_AHEAD;
    }
    flags |= if old.is_some() { HAS_OLD } else { 0 } | if new.is_some() { HAS_NEW } else { 0 };
    out.emit(part, body(event, flags, &keys, old, new));
}

fn body(event: Event, flags: u8, keys: &[u8], old: Option<&[u8]>, new: Option<&[u8]>) -> Vec<u8> {
    let mut out = envelope::seal(&[event as u8, flags]).to_vec();
    for part in [Some(keys), old, new].into_iter().flatten() {
        codec::write_bytes(part, &mut out);
    }
    out
}

/// What one change of the state says.
pub enum Read {
    /// A whole record.
    Record(Record),
    /// The old image of the next change's record.
    Ahead(Item),
}

/// Reads a change's body; `ahead` is the old image that the change before gave.
///
/// # Errors
/// `Internal` for bytes that are no record.
pub fn read(bytes: &[u8], ahead: Option<Item>) -> Result<Read, Error> {
    let damaged = || Error::Internal("a stream's record is damaged".into());
    let mut input = envelope::open(bytes)?;
    let (event, flags) = match input {
        [event, flags, rest @ ..] => {
            let pair = (*event, *flags);
            input = rest;
            pair
        }
        _ => return Err(damaged()),
    };
    let event = [Event::Insert, Event::Modify, Event::Remove].get(usize::from(event)).copied().ok_or_else(damaged)?;
    let mut image =
        || -> Result<Item, Error> { Ok(codec::decode(codec::read_bytes(&mut input).ok_or_else(damaged)?)?) };
    let keys = image()?;
    if flags & AHEAD != 0 {
        return Ok(Read::Ahead(image()?));
    }
    let old = if flags & HAS_OLD != 0 { Some(image()?) } else { ahead.filter(|_| flags & OLD_AHEAD != 0) };
    let new = if flags & HAS_NEW != 0 { Some(image()?) } else { None };
    Ok(Read::Record(Record { event, by_service: flags & BY_SERVICE != 0, keys, old, new }))
}

/// A change in a history: the key, and the stored item before.
fn undo(key: &KeyBytes, old: Option<&[u8]>) -> Vec<u8> {
    let mut out = envelope::seal(&[u8::from(old.is_some())]).to_vec();
    codec::write_bytes(&key.hash, &mut out);
    codec::write_bytes(&key.range, &mut out);
    out.extend_from_slice(old.unwrap_or_default());
    out
}

/// Reads a change of a history: the key, and the item before.
///
/// # Errors
/// `Internal` for bytes that are none.
pub fn read_undo(bytes: &[u8]) -> Result<(KeyBytes, Option<Item>), Error> {
    let damaged = || Error::Internal("a change in a history is damaged".into());
    let (flag, mut input) = envelope::open(bytes)?.split_first().ok_or_else(damaged)?;
    let hash = codec::read_bytes(&mut input).and_then(|b| b.try_into().ok()).ok_or_else(damaged)?;
    let range = codec::read_bytes(&mut input).ok_or_else(damaged)?.to_vec();
    let old = if *flag == 1 { Some(codec::decode(input)?) } else { None };
    Ok((KeyBytes { hash, range }, old))
}
