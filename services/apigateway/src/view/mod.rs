//! How stored things are shown.

pub mod http;
pub mod rest;
