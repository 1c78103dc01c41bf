//! The logs room.

pub mod api;
