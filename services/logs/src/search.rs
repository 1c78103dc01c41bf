//! Pages of lines out of one stream or many, in the order of time, by cursor.
//!
//! A page is found by reading the files once and keeping the best lines so far, so memory is bounded by the page and not by
//! the files. The cursor is the place of a line: its time, its stream's file number and its offset.

use crate::catalog::Stream;
use crate::error::Error;
use crate::pattern::Pattern;
use crate::segment::{self, Line};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most bytes of a page's texts.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// What AWS counts per event besides its text.
const EVENT_BYTES: usize = 26;

/// The place of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Time, milliseconds.
    pub time: i64,
    /// The stream's file number.
    pub file: u64,
    /// Offset in the file.
    pub offset: u64,
}

impl Place {
    /// 56 digits, as AWS's event ids and tokens have.
    #[must_use]
    pub fn digits(self) -> String {
        format!("{:020}{:016}{:020}", self.time.max(0), self.file, self.offset)
    }

    /// Reads [`Place::digits`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 56 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Some(Self {
            time: text[..20].parse().ok()?,
            file: text[20..36].parse().ok()?,
            offset: text[36..].parse().ok()?,
        })
    }
}

/// What is wanted.
pub struct Query<'a> {
    /// Earliest time, inclusive.
    pub start: Option<i64>,
    /// Latest time, exclusive.
    pub end: Option<i64>,
    /// Lines older than this are over their retention.
    pub expired_before: i64,
    /// Only lines that match.
    pub pattern: &'a Pattern,
    /// Most lines.
    pub limit: usize,
    /// Which lines of those.
    pub from: From,
}

/// Where a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The earliest lines.
    Start,
    /// The latest lines.
    End,
    /// The earliest lines after a place.
    After(Place),
    /// The latest lines before a place.
    Before(Place),
}

/// A line and the stream it is from.
pub type Found = (Place, Line, Arc<Stream>);

/// One page, in the order of time, and whether lines were left out for want of room.
///
/// # Errors
/// The disk's.
pub fn page(streams: &[Arc<Stream>], query: &Query<'_>) -> Result<(Vec<Found>, bool), Error> {
    let latest_first = matches!(query.from, From::End | From::Before(_));
    let mut best: BTreeMap<Place, (Line, Arc<Stream>)> = BTreeMap::new();
    let (mut bytes, mut is_cut) = (0, false);
    for stream in streams {
        let summary = stream.summary()?;
        let is_outside = summary.last.is_none_or(|l| query.start.is_some_and(|s| l < s) || l < query.expired_before)
            || query.end.is_some_and(|e| summary.first.is_none_or(|f| f >= e));
        if is_outside {
            continue;
        }
        segment::read(&stream.path, |line| {
            let place = Place { time: line.time, file: stream.record.file, offset: line.offset };
            if !wanted(query, place, &line) {
                return true;
            }
            bytes += line.text.len() + EVENT_BYTES;
            best.insert(place, (line, stream.clone()));
            while best.len() > query.limit || (bytes > PAGE_BYTES_MAX && best.len() > 1) {
                let gone = if latest_first { best.pop_first() } else { best.pop_last() };
                is_cut = true;
                bytes -= gone.map_or(0, |(_, (l, _))| l.text.len() + EVENT_BYTES);
            }
            true
        })
        .map_err(|e| Error::internal("read a log file", e))?;
    }
    Ok((best.into_iter().map(|(p, (l, s))| (p, l, s)).collect(), is_cut))
}

fn wanted(query: &Query<'_>, place: Place, line: &Line) -> bool {
    let in_page = match query.from {
        From::Start | From::End => true,
        From::After(p) => place > p,
        From::Before(p) => place < p,
    };
    in_page
        && query.start.is_none_or(|s| line.time >= s)
        && query.end.is_none_or(|e| line.time < e)
        && line.time >= query.expired_before
        && query.pattern.matches(&line.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_back() {
        let place = Place { time: 1_700_000_000_123, file: 65_536, offset: 99 };
        assert_eq!(Place::parse(&place.digits()), Some(place));
        assert_eq!(place.digits().len(), 56);
        assert_eq!(Place::parse("x"), None);
    }
}
