//! The page walker: decides, row by row, what a range read takes.
//!
//! The engine walks live rows in the asked order and offers each one; the walker filters, folds, counts and says how to
//! go on.

use std::ops::Bound;

use bytes::Bytes;

use crate::key::Key;
use crate::read::{Fold, Keep, Page, Range, Row, Sift};
use crate::txn::Stamp;

/// How the engine goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Offer the next row.
    Next,
    /// Offer the first row at or behind this bound: the new beginning, or the new end of a reverse walk.
    Jump(Bound<Key>),
    /// The page is complete.
    Done,
}

/// A page being made.
pub struct Scan {
    reverse: bool,
    limit: usize,
    max_bytes: usize,
    fold: Option<Fold>,
    sift: Option<Sift>,
    examined: usize,
    page: Page,
}

impl Scan {
    /// Begins a page; gives the bounds of the walk too.
    pub fn new(range: Range) -> (Scan, Bound<Key>, Bound<Key>) {
        let Range { from, to, reverse, limit, max_bytes, fold, sift } = range;
        let scan = Scan { reverse, limit, max_bytes, fold, sift, examined: 0, page: Page::default() };
        (scan, from, to)
    }

    /// Looks at a row. `key` and `value` give shared bytes when the row is taken.
    pub fn offer(&mut self, key: &[u8], value: &[u8], take: impl FnOnce() -> (Key, Bytes, Stamp)) -> Step {
        let len = key.len() + value.len();
        let full = self.page.rows.len() + self.page.groups.len() >= self.limit;
        if full || (self.examined > 0 && self.examined + len > self.max_bytes) {
            return self.stop(key);
        }
        self.examined += len;
        match self.sift.as_mut().map_or(Keep::Take, |sift| sift(key, value)) {
            Keep::Take => {}
            Keep::Skip => return Step::Next,
            Keep::Stop => return self.stop(key),
        }
        if let Some(group) = self.fold.as_ref().and_then(|fold| fold.group(key)) {
            let group = Key::from_bytes(group.to_vec());
            let bound = if self.reverse { Bound::Excluded(group.clone()) } else { behind(&group) };
            self.page.groups.push(group);
            return bound_or_done(bound);
        }
        let (key, value, ver) = take();
        self.page.rows.push(Row { key, value, ver });
        Step::Next
    }

    fn stop(&mut self, key: &[u8]) -> Step {
        self.page.next = Some(Key::from_bytes(key.to_vec()));
        Step::Done
    }

    /// The page as it is.
    pub fn finish(self) -> Page {
        self.page
    }
}

fn behind(group: &Key) -> Bound<Key> {
    match group.prefix_end() {
        Bound::Excluded(end) => Bound::Included(end),
        other => other,
    }
}

fn bound_or_done(bound: Bound<Key>) -> Step {
    match bound {
        Bound::Unbounded => Step::Done,
        bound => Step::Jump(bound),
    }
}

/// Whether nothing can lie between two bounds (asking a B-tree map for such a range would panic).
pub fn is_empty(from: &Bound<Key>, to: &Bound<Key>) -> bool {
    match (from, to) {
        (Bound::Included(a), Bound::Included(b)) => a > b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a >= b,
        _ => false,
    }
}
