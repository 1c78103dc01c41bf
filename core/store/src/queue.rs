//! Queues: entries with a due time, leased by `claim` and ended by `Settle`.
//!
//! An entry without a lane is a message of its own. A *lane* is an entry that exists once per (queue, lane) and is
//! leased whole: a FIFO group, a shard, a schedule, a function's backlog.

use bytes::Bytes;
use squall_types::Millis;

use crate::key::Key;
use crate::read::Row;
use crate::txn::{Durability, Stamp};

/// A queue's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Queue(pub u64);

impl Queue {
    /// One of the 256 queues that belong to a resource.
    pub const fn of(resource: u64, number: u8) -> Queue {
        Queue(resource << 8 | number as u64)
    }
}

/// Names an entry together with the lease under which it may be settled (a fencing token).
///
/// It stays good until the entry is settled, replaced, or claimed again: an expired lease that nobody took over may
/// still be settled. A handle that `commit` answers for an `Enqueue` is good until the entry is first claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    /// The queue.
    pub queue: Queue,
    /// The entry.
    pub id: u64,
    /// The lease; `Stamp(0)` while the entry is not leased.
    pub lease: Stamp,
}

/// What to claim.
#[derive(Clone, Debug)]
pub struct ClaimSpec {
    /// Entries at most.
    pub lanes: u32,
    /// How long they are leased; an entry not settled by then is due again.
    pub lease: Millis,
    /// How long to wait for the first entry; 0 asks once.
    pub wait: Millis,
    /// For entries with a lane: read up to so many rows under `Key::lane(lane)` of this prefix along with the lease.
    pub items: Option<(Key, u32)>,
    /// Whether the lease must survive a crash before it is answered.
    pub sync: Durability,
}

impl ClaimSpec {
    /// Up to `lanes` entries for `lease`, without waiting, leased durably.
    pub fn new(lanes: u32, lease: Millis) -> ClaimSpec {
        ClaimSpec { lanes, lease, wait: Millis(0), items: None, sync: Durability::Durable }
    }

    /// Waits for the first entry.
    pub fn wait(mut self, wait: Millis) -> ClaimSpec {
        self.wait = wait;
        self
    }

    /// Reads a lane's first rows along with it.
    pub fn items(mut self, prefix: Key, rows: u32) -> ClaimSpec {
        self.items = Some((prefix, rows));
        self
    }

    /// The lease may be forgotten by a crash: the entry is then claimed again, with one try fewer counted.
    pub fn lazy(mut self) -> ClaimSpec {
        self.sync = Durability::Lazy;
        self
    }
}

/// A leased entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Settles it.
    pub handle: Handle,
    /// Its lane.
    pub lane: Option<Bytes>,
    /// Its value.
    pub value: Bytes,
    /// How often it was claimed since it was enqueued, this time included.
    pub tries: u32,
    /// When it had become due.
    pub due: Millis,
    /// The lane's first rows, if the claim asked for them.
    pub items: Vec<Row>,
}
