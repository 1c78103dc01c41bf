//! Reads: points, ranges, queue depths and stream heads, all at one snapshot.

use std::fmt;
use std::ops::Bound;

use bytes::Bytes;

use crate::key::Key;
use crate::queue::Queue;
use crate::stream::Part;
use crate::txn::Stamp;

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Consistency {
    /// Sees every commit that was acknowledged before the read began.
    #[default]
    Strong,
    /// May lag behind where that is cheaper.
    Eventual,
}

/// One operation of a read.
#[derive(Debug)]
pub enum ReadOp {
    /// The row of a key.
    Get(Key),
    /// Rows in key order.
    Range(Range),
    /// How many entries a queue holds.
    Depth(Queue),
    /// The last sequence number of a stream part; 0 if nothing was emitted yet.
    Head(Part),
}

/// The answer to the [`ReadOp`] of the same index.
#[derive(Debug)]
pub enum ReadOut {
    /// Answers `Get`.
    Row(Option<Row>),
    /// Answers `Range`.
    Rows(Page),
    /// Answers `Depth`.
    Depth {
        /// Entries that a claim would take now.
        ready: u64,
        /// Entries leased and not yet due again.
        leased: u64,
        /// Entries that wait for their due time.
        delayed: u64,
    },
    /// Answers `Head`.
    Head(u64),
}

/// A row as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub key: Key,
    /// Its value, in its envelope.
    pub value: Bytes,
    /// Changes with every write of the row.
    pub ver: Stamp,
}

/// One page of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The rows taken, in the order asked for.
    pub rows: Vec<Row>,
    /// The groups that [`Fold`] made, in the order asked for. Each counts as one row against the limit.
    pub groups: Vec<Key>,
    /// `Some`: the page ended early, and the first row not examined has this key; continue there, inclusive.
    /// `None`: the range is exhausted.
    pub next: Option<Key>,
}

/// Looks at a row in place (key, value) and says what to do with it.
pub type Sift = Box<dyn FnMut(&[u8], &[u8]) -> Keep + Send>;

/// What a sift says of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Take it.
    Take,
    /// Leave it out and go on.
    Skip,
    /// End the page before this row: it becomes `next`.
    Stop,
}

/// Folds keys into groups, as a listing with a delimiter does: a taken row whose key holds `delim` at or after byte
/// `skip` is not returned; its prefix up to and with the delimiter is, once, and the engine jumps behind the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// Bytes of the key that are not searched.
    pub skip: usize,
    /// What ends a group's name; not empty.
    pub delim: Bytes,
}

impl Fold {
    /// The group that a key belongs to, if it holds the delimiter.
    pub fn group<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        let tail = key.get(self.skip..)?;
        if self.delim.is_empty() {
            return None;
        }
        let at = tail.windows(self.delim.len()).position(|w| w == self.delim)?;
        key.get(..self.skip + at + self.delim.len())
    }
}

/// A range of rows of one table.
pub struct Range {
    /// Where it begins.
    pub from: Bound<Key>,
    /// Where it ends.
    pub to: Bound<Key>,
    /// Walk from the end to the beginning.
    pub reverse: bool,
    /// Rows and groups at most in the page.
    pub limit: usize,
    /// Bytes of keys and values to examine at most; the first row is always examined.
    pub max_bytes: usize,
    /// Folding into groups.
    pub fold: Option<Fold>,
    /// A filter that runs beside the data.
    pub sift: Option<Sift>,
}

impl Range {
    /// Rows of a page unless said otherwise.
    pub const LIMIT: usize = 1_000;
    /// Examined bytes of a page unless said otherwise.
    pub const MAX_BYTES: usize = 4 << 20;

    /// A range between two bounds.
    pub fn new(from: Bound<Key>, to: Bound<Key>) -> Range {
        Range { from, to, reverse: false, limit: Range::LIMIT, max_bytes: Range::MAX_BYTES, fold: None, sift: None }
    }

    /// All rows whose key begins with this one.
    pub fn prefix(prefix: &Key) -> Range {
        Range::new(Bound::Included(prefix.clone()), prefix.prefix_end())
    }

    /// Begins at this key, inclusive: where a forward page's `next` said.
    pub fn starting(mut self, key: Key) -> Range {
        self.from = Bound::Included(key);
        self
    }

    /// Begins behind this key.
    pub fn after(mut self, key: Key) -> Range {
        self.from = Bound::Excluded(key);
        self
    }

    /// Ends before this key.
    pub fn before(mut self, key: Key) -> Range {
        self.to = Bound::Excluded(key);
        self
    }

    /// Ends with this key: where a reverse page's `next` said.
    pub fn upto(mut self, key: Key) -> Range {
        self.to = Bound::Included(key);
        self
    }

    /// Continues a page: from its `next`, in this range's direction.
    pub fn resume(self, next: Key) -> Range {
        if self.reverse { self.upto(next) } else { self.starting(next) }
    }

    /// Walks backwards.
    pub fn reversed(mut self, reverse: bool) -> Range {
        self.reverse = reverse;
        self
    }

    /// Sets the most rows.
    pub fn limit(mut self, rows: usize) -> Range {
        self.limit = rows;
        self
    }

    /// Sets the most examined bytes.
    pub fn max_bytes(mut self, bytes: usize) -> Range {
        self.max_bytes = bytes;
        self
    }

    /// Folds keys into groups.
    pub fn fold(mut self, skip: usize, delim: impl Into<Bytes>) -> Range {
        self.fold = Some(Fold { skip, delim: delim.into() });
        self
    }

    /// Filters rows in place.
    pub fn sift(mut self, sift: impl FnMut(&[u8], &[u8]) -> Keep + Send + 'static) -> Range {
        self.sift = Some(Box::new(sift));
        self
    }

    /// Whether the range lies in the scan table: its beginning decides, or its end where it has no beginning.
    pub fn is_ix(&self) -> bool {
        match (&self.from, &self.to) {
            (Bound::Included(k) | Bound::Excluded(k), _) => k.is_ix(),
            (Bound::Unbounded, Bound::Included(k) | Bound::Excluded(k)) => k.is_ix(),
            (Bound::Unbounded, Bound::Unbounded) => false,
        }
    }
}

impl fmt::Debug for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Range")
            .field("from", &self.from)
            .field("to", &self.to)
            .field("reverse", &self.reverse)
            .field("limit", &self.limit)
            .field("max_bytes", &self.max_bytes)
            .field("fold", &self.fold)
            .field("sift", &self.sift.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_end_with_their_delimiter() {
        let fold = Fold { skip: 2, delim: Bytes::from_static(b"//") };
        let cases: [(&[u8], Option<&[u8]>); 5] =
            [(b"xxa//b", Some(b"xxa//")), (b"xx//b", Some(b"xx//")), (b"//ab", None), (b"x", None), (b"xxa/b", None)];
        for (key, group) in cases {
            assert_eq!(fold.group(key), group, "{key:?}");
        }
    }
}
