//! One function per operation: validate → change → answer.

pub mod event;
pub mod group;
pub mod stream;
pub mod tag;
