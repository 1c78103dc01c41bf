//! The iam and sts rooms: users, roles, policies, keys, sessions, and every decision on who may do what.
//!
//! Shapes: a role, a user and a customer managed policy are one row each; everything is loaded at start and answered from
//! memory ([`registry`]), with policy documents compiled once per change. A session is no row at all: its token carries what
//! it stands for, sealed with a key of the cloud ([`session`]).
//!
//! Invariants: an operation is answered after its row is durable, and shows only then; deciding on a request reads no state;
//! the root of the account passes every check; a session ends when its role is deleted, also if a role of the same name is
//! made again.
//!
//! What this room does not do: groups, instance profiles, identity providers, login profiles, MFA, session tags, service
//! control policies.

mod access;
pub mod api;
mod decide;
mod error;
mod identity;
mod model;
mod names;
mod ops;
mod registry;
mod room;
mod rules;
mod session;
mod tables;
#[cfg(test)]
mod tests;
mod view;
mod world;

pub use error::Error;
pub use room::Iam;
