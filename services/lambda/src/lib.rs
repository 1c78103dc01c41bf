//! The lambda room: functions, versions, aliases, URLs, permissions and their invocation.
//!
//! Shapes: function = `$LATEST` + numbered versions + aliases; a record in memory ([`registry`]) backed by a row; code as an
//! immutable package among the objects, unpacked into a folder on first need ([`code`]).
//!
//! Invariants: nothing on the invoke path reads the state; an operation is answered after its row is durable; a function that
//! is being created or changed is finished after a crash ([`worker`]).
//!
//! What this room does not do: run processes (the runtime does), keep logs (the logs room), decide on callers (the gateway),
//! container images: those are refused by name.

pub mod api;
mod code;
mod config;
mod download;
mod error;
mod events;
mod functions;
mod invoke;
mod layers;
mod mapping;
mod model;
mod names;
mod ops;
mod package;
mod provisioned;
mod registry;
mod room;
mod rules;
mod snap_start;
mod tables;
#[cfg(test)]
mod tests;
mod url;
mod view;
mod wasm;
mod worker;

pub use config::Options;
pub use room::Lambda;
