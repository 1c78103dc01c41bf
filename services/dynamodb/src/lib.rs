//! The dynamodb room.

pub mod api;
pub mod codec;
pub mod error;
pub mod expr;
pub mod item;
pub mod key;
pub mod number;
#[cfg(test)]
mod testing;
