//! IAM policy evaluation: a pure function from a request and its policies to a decision.
//!
//! Documents are read once ([`Policy::parse`]) into compiled matchers; [`evaluate`] then decides without I/O, clock or
//! regular expressions. [`access_denied`] gives the text that AWS answers a refusal with. [`managed`] knows
//! AWS's common managed policies by name.
//!
//! What this crate does *not* do: find the policies of a principal, count quotas, or check that named principals exist.
//! Service control policies and VPC endpoint policies do not exist here.

mod condition;
mod context;
mod document;
mod error;
mod evaluate;
mod glob;
mod json;
pub mod managed;
mod message;
mod principal;
mod validate;
mod values;

pub use context::{Context, Principal, PrincipalKind, Request, account_of};
pub use document::{DOCUMENT_BYTES_MAX, DocumentKind, Effect, Policy, size};
pub use error::ParseError;
pub use evaluate::{Decision, PolicyKind, PolicySets, ResourcePolicy, evaluate};
pub use message::{access_denied, access_denied_short};
