//! Keys of this room; nothing else builds them.

use squall_store::{Key, Kind, Queue};

const FUNCTION: Kind = Kind::kv(0x02, 1);
const VERSION: Kind = Kind::kv(0x02, 2);
const MAPPING: Kind = Kind::kv(0x02, 3);
const LAYER: Kind = Kind::kv(0x02, 4);
const LAYER_VERSION: Kind = Kind::kv(0x02, 5);

/// The row of a function.
#[must_use]
pub fn function(region: &str, name: &str) -> Key {
    functions().text(region).text(name)
}

/// The prefix of all functions, ordered by region and name.
#[must_use]
pub fn functions() -> Key {
    Key::new(FUNCTION, 0, 0)
}

/// The row of a published version.
#[must_use]
pub fn version(region: &str, name: &str, number: u32) -> Key {
    versions(region, name).u32(number)
}

/// The prefix of all versions of a function.
#[must_use]
pub fn versions(region: &str, name: &str) -> Key {
    Key::new(VERSION, 0, 0).text(region).text(name)
}

/// The prefix of all versions of all functions.
#[must_use]
pub fn all_versions() -> Key {
    Key::new(VERSION, 0, 0)
}

/// The row of an event source mapping.
#[must_use]
pub fn mapping(uuid: &str) -> Key {
    mappings().text(uuid)
}

/// The prefix of all event source mappings.
#[must_use]
pub fn mappings() -> Key {
    Key::new(MAPPING, 0, 0)
}

/// The row of a layer, which holds its last number.
#[must_use]
pub fn layer(region: &str, name: &str) -> Key {
    layers().text(region).text(name)
}

/// The prefix of all layers.
#[must_use]
pub fn layers() -> Key {
    Key::new(LAYER, 0, 0)
}

/// The row of a layer's version.
#[must_use]
pub fn layer_version(region: &str, name: &str, number: u32) -> Key {
    layer_versions().text(region).text(name).u32(number)
}

/// The prefix of all versions of all layers.
#[must_use]
pub fn layer_versions() -> Key {
    Key::new(LAYER_VERSION, 0, 0)
}

/// The queue of asynchronous invocations.
#[must_use]
pub fn async_queue() -> Queue {
    Queue(0x0200)
}
