//! The logs room.
