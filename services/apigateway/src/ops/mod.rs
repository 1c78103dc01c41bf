//! One function per operation: validate, rule, commit, output.

pub mod http;
mod patch;
pub mod rest;
