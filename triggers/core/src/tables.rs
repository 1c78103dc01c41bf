//! Keys of this crate; nothing else builds them.

use squall_store::{Key, Kind, Queue};

const PROGRESS: Kind = Kind::kv(0x10, 1);

/// Where a mapping is in a shard.
#[must_use]
pub fn progress(uuid: &str, shard: &str) -> Key {
    progress_of(uuid).text(shard)
}

/// The prefix of a mapping's places.
#[must_use]
pub fn progress_of(uuid: &str) -> Key {
    Key::new(PROGRESS, 0, 0).text(uuid)
}

/// The shard that a progress row is about.
#[must_use]
pub fn shard_of(key: &Key) -> Option<String> {
    let mut parts = key.parts();
    parts.string()?;
    parts.string()
}

/// The queue whose lanes are shards to follow.
#[must_use]
pub fn queue() -> Queue {
    Queue(0x1000)
}

/// The lane of a mapping's shard.
#[must_use]
pub fn lane(uuid: &str, shard: &str) -> Vec<u8> {
    format!("{uuid}/{shard}").into_bytes()
}

/// Mapping and shard of a lane.
#[must_use]
pub fn mapping_and_shard(lane: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(lane).ok()?.split_once('/')
}
