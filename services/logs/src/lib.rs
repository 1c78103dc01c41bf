//! The logs room: groups, streams and lines, what functions print included.
//!
//! Shapes: groups and streams are rows, held in memory ([`catalog`]); lines are records in one append-only file per stream
//! ([`segment`]), written by one thread ([`writer`]) and found by reading files in a bounded amount of memory ([`search`]).
//!
//! Invariants: `PutLogEvents` is answered after its lines are on the disk; what functions print is there at most a second
//! later, and is dropped (with a counter) rather than holding a function up.
//!
//! What this room does not do: metric filters, subscriptions, queries, exports, encryption keys.

pub mod api;
mod catalog;
mod error;
mod ops;
mod pattern;
mod room;
mod search;
mod segment;
mod sink;
mod tables;
#[cfg(test)]
mod tests;
mod worker;
mod writer;

pub use room::Logs;
