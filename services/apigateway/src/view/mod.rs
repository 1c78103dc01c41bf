//! How stored things are shown.

pub mod http;
pub mod rest;

use squall_types::Millis;

/// A time as AWS keeps it here: whole seconds.
fn seconds(ms: i64) -> Millis {
    Millis(ms.div_euclid(1000).saturating_mul(1000))
}
