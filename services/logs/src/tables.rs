//! Keys of this room; nothing else builds them.

use squall_store::{Key, Kind};

const GROUP: Kind = Kind::kv(0x04, 1);
const STREAM: Kind = Kind::kv(0x04, 2);

/// The prefix of all groups.
#[must_use]
pub fn groups() -> Key {
    Key::new(GROUP, 0, 0)
}

/// The row of a group.
#[must_use]
pub fn group(region: &str, name: &str) -> Key {
    groups().text(region).text(name)
}

/// The prefix of a group's streams; the group's id is never reused.
#[must_use]
pub fn streams(group: u64) -> Key {
    Key::new(STREAM, group, 0)
}

/// The row of a stream.
#[must_use]
pub fn stream(group: u64, name: &str) -> Key {
    streams(group).text(name)
}
