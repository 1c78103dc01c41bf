//! AWS's wire protocols, written once: a service is described by static tables, and codecs read and write by them.
//!
//! The way of a request head: [`route()`] finds the operation, [`decode`] turns the wire's bytes into a [`Value`] shaped by the
//! operation's input [`Shape`], [`constraint`] checks required members, lengths, ranges, patterns and enums with AWS's texts,
//! and the generated `from_value` makes the typed input. The way back: typed output, `into_value`, [`encode`].
//!
//! This crate does no I/O, and tells services apart by name only where AWS's own answers differ (`codec/quirk.rs`). Its only state
//! are caches of what static tables imply: URI matchers, compiled patterns, SigV4's signing keys.

pub mod codec;
pub mod constraint;
pub mod convert;
pub mod error;
#[cfg(test)]
mod fixture;
pub mod http;
pub mod route;
pub mod schema;
pub mod sigv4;
pub mod timestamp;
mod value;

pub use codec::{decode, encode, encode_error};
pub use convert::{FromValue, IntoValue};
pub use error::{Fault, ServiceError};
pub use http::{Head, Headers, Reply};
pub use route::{Route, RouteError, route};
pub use schema::{Operation, Protocol, Service, Shape};
pub use value::Value;
