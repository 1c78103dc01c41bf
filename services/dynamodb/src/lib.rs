//! The dynamodb room: tables of items under a partition key and maybe a sort key, with secondary indexes.
//!
//! The way of a request: [`wire`] reads the protocol's values, `ops/` has one function per operation, [`expr`] reads and
//! evaluates expressions, [`rules`] decides inside the state engine what a write does to an item and to the indexes,
//! [`tables`] builds every key. Definitions of tables are in memory ([`catalog`]); what happens by itself (time to live,
//! index backfill, removal of deleted tables' rows) is in [`worker`].
//!
//! Invariants: an item and its index rows change in one transaction; every write is guarded by the version of the table's
//! definition that it was prepared with; a write without condition, old values and indexes is one blind commit.
//!
//! What it does not do: tables have one replica, are not exported or imported, and stream to Lambda but not to Kinesis.

pub mod api;
pub mod api_streams;
pub mod backup;
pub mod capacity;
pub mod catalog;
pub mod codec;
pub mod config;
mod context;
pub mod error;
pub mod expr;
pub mod features;
pub mod item;
pub mod key;
mod layout;
pub mod legacy;
pub mod number;
mod ops;
pub mod partiql;
mod policy;
pub mod request;
mod room;
pub mod rules;
pub mod scalars;
pub mod stream;
pub mod table;
pub mod tables;
pub mod throttle;
pub mod wire;
mod worker;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use config::Options;
pub use room::DynamoDb;
