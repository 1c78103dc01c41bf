//! The lambda room.
