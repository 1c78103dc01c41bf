//! One function per operation.

pub mod access_key;
pub mod assume_role;
pub mod caller;
mod held;
pub mod policy;
pub mod policy_version;
pub mod role;
pub mod role_policy;
pub mod user;
pub mod user_policy;
