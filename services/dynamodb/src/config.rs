//! What an operator may choose.

use std::time::Duration;

/// Options of the room.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Seconds between two looks for expired items of a table with time to live. Default 60; AWS promises days. A table
    /// whose look takes long is looked at less often. Since 0.1.
    pub ttl_interval_s: u64,
    /// Seconds between two counts of items and bytes per table, which DescribeTable shows. Default 21600, as on AWS.
    /// Since 0.1.
    pub count_interval_s: u64,
    /// Shards of a new stream. Default 1, as a small table has on AWS; more let several readers share a stream, and order
    /// holds per item only. At most 64. Since 0.2.
    pub stream_shards: u16,
    /// Whether provisioned capacity and on-demand bounds are enforced by throttling. Default true, as on AWS. Since 0.2.
    pub throttle: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { ttl_interval_s: 60, count_interval_s: 6 * 3600, stream_shards: 1, throttle: true }
    }
}

impl Options {
    /// Time between two looks for expired items.
    pub fn ttl_interval(&self) -> Duration {
        Duration::from_secs(self.ttl_interval_s.max(1))
    }

    /// Shards of a new stream.
    pub fn stream_shards(&self) -> u16 {
        self.stream_shards.clamp(1, 64)
    }

    /// Time between two counts.
    pub fn count_interval(&self) -> Duration {
        Duration::from_secs(self.count_interval_s.max(1))
    }
}
