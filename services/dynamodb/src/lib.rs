//! The dynamodb room.

pub mod api;
