//! The operations of the streams' API.

mod describe_stream;
mod get_records;
mod get_shard_iterator;
mod iterator;
mod list_streams;
pub(super) mod setting;
