//! Change streams: dense, ordered per part.

use bytes::Bytes;
use squall_types::Millis;

/// One ordered part of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Part {
    /// The stream: a resource id, or a room's own constant.
    pub stream: u64,
    /// The part within it.
    pub part: u16,
}

impl Part {
    /// The only part of a stream that has one.
    pub const fn sole(stream: u64) -> Part {
        Part { stream, part: 0 }
    }
}

/// One change of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its number: 1, 2, 3, … without gaps.
    pub seq: u64,
    /// When it was emitted, by the engine's time.
    pub at: Millis,
    /// What the room wrote.
    pub body: Bytes,
}
