//! Ids, ARNs, clock and units that every room shares. No I/O beyond the system clock's one implementation, no async.

mod arn;
mod id;
mod time;

pub use arn::{Arn, ArnError};
pub use id::{AccountId, Random, Region, SystemRandom};
pub use time::{Clock, ManualClock, Millis, SystemClock};

/// One kibibyte in bytes.
pub const KIB: u64 = 1024;
/// One mebibyte in bytes.
pub const MIB: u64 = 1024 * KIB;
