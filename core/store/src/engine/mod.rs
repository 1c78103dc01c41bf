//! What engines share: the page walker, the rule runner and wake-ups. Rooms have no use for it.

mod scan;
mod signals;

use std::panic::{AssertUnwindSafe, catch_unwind};

use squall_types::Millis;

pub use scan::{Scan, Step, is_empty};
pub use signals::Signals;

use crate::error::{Error, Result};
use crate::key::Key;
use crate::read::Row;
use crate::rule::{Reply, Rule, View};
use crate::txn::Mutation;

/// How long an engine remembers the outcome of a transaction with an id.
pub const OUTCOME_KEPT: Millis = Millis(3_600_000);

/// Whether a row is there at this time.
pub fn is_live(expires: Option<Millis>, now: Millis) -> bool {
    expires.is_none_or(|expires| expires > now)
}

/// Runs a rule over its rows: gives its reply and its mutations, checked against the limits.
///
/// # Errors
/// `Rejected`, `Panicked`, `Invalid`.
pub fn run_rule(rule: &dyn Rule, keys: &[Key], rows: &[Option<Row>], now: Millis) -> Result<(Reply, Vec<Mutation>)> {
    let mut out = Vec::new();
    // The view is shared and the output is dropped after a panic: nothing half-done can be seen.
    let verdict = catch_unwind(AssertUnwindSafe(|| rule.run(&View { keys, rows, now }, &mut out)));
    match verdict {
        Ok(Ok(reply)) => {
            crate::limits::mutations(&out)?;
            Ok((reply, out))
        }
        Ok(Err(refusal)) => Err(Error::Rejected(refusal)),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(Error::Panicked(text.unwrap_or_else(|| "no message".into())))
        }
    }
}
