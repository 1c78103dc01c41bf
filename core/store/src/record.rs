//! Export records: a consistent cut of the whole state, in a form that any engine imports.

use bytes::Bytes;
use squall_types::Millis;

use crate::key::Key;
use crate::queue::Queue;
use crate::stream::{Change, Part};

/// The export format that this program writes and reads.
pub const FORMAT: u16 = 1;

/// One record of an export. `Begin` comes first, `End` last; a cut without its `End` is incomplete and refused.
///
/// Versions and leases are not carried: after an import every row has a new version, and a leased entry becomes due
/// when its lease would have ended, under a new handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The cut begins.
    Begin {
        /// See [`FORMAT`].
        format: u16,
        /// When it was made.
        at: Millis,
    },
    /// A row.
    Row {
        /// Its key.
        key: Key,
        /// Its value.
        value: Bytes,
        /// When it expires.
        expires: Option<Millis>,
    },
    /// A queue entry. Entries come in the order of their ids.
    Entry {
        /// Its queue.
        queue: Queue,
        /// Its lane.
        lane: Option<Bytes>,
        /// When it is due.
        due: Millis,
        /// How often it was claimed.
        tries: u32,
        /// Its value.
        value: Bytes,
    },
    /// A stream part at the moment of the cut. Comes before the part's changes.
    Head {
        /// The part.
        part: Part,
        /// Its last sequence number.
        seq: u64,
        /// Trimmed up to and with this number.
        low: u64,
    },
    /// A change that is not trimmed.
    Change {
        /// Its part.
        part: Part,
        /// The change.
        change: Change,
    },
    /// The cut is complete.
    End {
        /// Records between `Begin` and `End`.
        records: u64,
    },
}
