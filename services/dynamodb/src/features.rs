//! What a table has besides its items and indexes, as its definition holds it: a stream, time to live, a history, a policy.

use crate::key::{KeyBytes, KeySchema};
use serde::{Deserialize, Serialize};
use squall_store::Part;
use squall_types::Millis;

/// The stream of a table's changes. Its own row outlives the table by the retention time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// Resource id of its parts.
    pub id: u64,
    /// Region.
    pub region: String,
    /// Name of the table.
    pub table: String,
    /// ARN.
    pub arn: String,
    /// The end of the ARN: a time stamp.
    pub label: String,
    /// What records show.
    pub view: View,
    /// How many shards there are.
    pub shards: u16,
    /// The table's key.
    pub schema: KeySchema,
    /// When it was turned on.
    pub created: Millis,
    /// When it was turned off; nothing is written to it since.
    pub closed: Option<Millis>,
    /// Who may read it, besides the callers whose own policies allow it.
    pub policy: Option<ResourcePolicy>,
}

impl Stream {
    /// The part that has the changes of an item.
    pub fn part_of(&self, key: &KeyBytes) -> Part {
        let place = u32::from(u16::from_be_bytes([key.hash[0], key.hash[1]]));
        Part { stream: self.id, part: ((place * u32::from(self.shards)) >> 16) as u16 }
    }

    /// All parts, one per shard.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        let stream = self.id;
        (0..self.shards).map(move |part| Part { stream, part })
    }

    /// The id of a part's shard.
    pub fn shard_id(&self, part: Part) -> String {
        let mark = (self.id as u32).wrapping_mul(0x9e37_79b9) ^ u32::from(part.part);
        format!("shardId-{:020}-{mark:08x}", self.created.0.max(0))
    }

    /// The part of a shard.
    pub fn part(&self, shard: &str) -> Option<Part> {
        self.parts().find(|part| self.shard_id(*part) == shard)
    }
}

/// What a stream's records show besides the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum View {
    /// Nothing.
    KeysOnly,
    /// The item after.
    New,
    /// The item before.
    Old,
    /// Both.
    Both,
}

impl View {
    /// The wire name.
    pub fn name(self) -> &'static str {
        match self {
            View::KeysOnly => "KEYS_ONLY",
            View::New => "NEW_IMAGE",
            View::Old => "OLD_IMAGE",
            View::Both => "NEW_AND_OLD_IMAGES",
        }
    }

    /// The view of a wire name.
    pub fn of(name: &str) -> Option<View> {
        [View::KeysOnly, View::New, View::Old, View::Both].into_iter().find(|v| v.name() == name)
    }

    /// Whether records have the item before.
    pub fn has_old(self) -> bool {
        matches!(self, View::Old | View::Both)
    }

    /// Whether records have the item after.
    pub fn has_new(self) -> bool {
        matches!(self, View::New | View::Both)
    }
}

/// The rows that tell which items end when; see [`crate::tables::expiry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpiryRows {
    /// Resource id.
    pub id: u64,
    /// Items that were there before are still being entered.
    pub filling: bool,
}

/// What point-in-time recovery needs: every change since `since`, as far back as the period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Resource id of the part that has the changes.
    pub id: u64,
    /// When it began.
    pub since: Millis,
    /// `RecoveryPeriodInDays`.
    pub days: i32,
}

impl History {
    /// The part that has the changes.
    pub fn part(&self) -> Part {
        Part::sole(self.id)
    }

    /// The earliest time that can be restored.
    pub fn earliest(&self, now: Millis) -> Millis {
        Millis(self.since.0.max(now.0 - i64::from(self.days) * 24 * 3_600_000))
    }
}

/// Where a restored table comes from, and how far its restoring is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restore {
    /// The backup, if it was one.
    pub backup: Option<String>,
    /// ARN of the table that was.
    pub table: String,
    /// The time whose items are restored.
    pub at: Millis,
    /// What is left to do; `None` when it is done.
    pub work: Option<Restoring>,
}

/// The work of restoring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restoring {
    /// The table or backup whose rows are copied.
    pub from: u64,
    /// The source's history, for a restore to a point in time.
    pub history: Option<History>,
    /// Rows have been copied; the history up to this number is still to be undone.
    pub undo_until: Option<u64>,
    /// Resource id of the marks of items that were undone.
    pub marks: u64,
}

/// A policy on a table or stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourcePolicy {
    /// JSON as it came.
    pub text: String,
    /// Changes with every change.
    pub revision: String,
}
