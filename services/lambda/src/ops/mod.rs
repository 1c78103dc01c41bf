//! One function per operation: validate → change → answer.

pub mod alias;
pub mod concurrency;
pub mod event_invoke;
pub mod event_source;
pub mod function;
pub mod invocation;
pub mod layers;
pub mod logging;
pub mod permission;
pub mod provisioned;
pub mod tag;
pub mod update;
pub mod url_config;
pub mod version;
