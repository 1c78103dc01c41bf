//! The iam and sts rooms.

pub mod api;
