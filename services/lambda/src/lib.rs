//! The lambda room.

pub mod api;
