//! Limits that every engine enforces the same way, before anything else happens.

use crate::error::{Error, Result};
use crate::key::Key;
use crate::queue::ClaimSpec;
use crate::read::{Range, ReadOp};
use crate::txn::{Mutation, Txn};

/// Longest key in bytes (a B-tree page of PostgreSQL refuses 2,704).
pub const KEY_BYTES_MAX: usize = 2_400;
/// Longest value or stream body in bytes; longer ones belong in objects.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Longest lane in bytes.
pub const LANE_BYTES_MAX: usize = 1_024;
/// Most keys that a rule declares.
pub const RULE_KEYS_MAX: usize = 256;
/// Most mutations of a transaction, those of its rule included.
pub const MUTATIONS_MAX: usize = 4_096;
/// Most bytes that a transaction writes.
pub const TXN_BYTES_MAX: usize = 8 << 20;
/// Most rows of a `DeleteRange` or entries of a `DropQueue`.
pub const SLICE_MAX: u32 = 1_000;
/// Most entries of a claim.
pub const CLAIM_MAX: u32 = 1_000;
/// Most operations of a read.
pub const READ_OPS_MAX: usize = 1_000;

/// Checks a key that names a row.
///
/// # Errors
/// `Invalid` if it is too short or too long.
pub fn key(key: &Key) -> Result<()> {
    match key.as_bytes().len() {
        Key::HEAD..=KEY_BYTES_MAX => Ok(()),
        len => Err(Error::invalid(format!("key of {len} bytes"))),
    }
}

/// Checks what is known of a transaction before its rule runs.
///
/// # Errors
/// `Invalid`, naming the limit.
pub fn txn(txn: &Txn) -> Result<()> {
    if let Some((keys, _)) = &txn.rule {
        if keys.len() > RULE_KEYS_MAX {
            return Err(Error::invalid(format!("rule over {} keys", keys.len())));
        }
        keys.iter().try_for_each(key)?;
    }
    mutations(&txn.muts)
}

/// Checks a list of mutations: a transaction's, or what a rule wrote. Answers nothing but the verdict.
///
/// # Errors
/// `Invalid`, naming the limit.
pub fn mutations(muts: &[Mutation]) -> Result<()> {
    if muts.len() > MUTATIONS_MAX {
        return Err(Error::invalid(format!("{} mutations", muts.len())));
    }
    muts.iter().try_for_each(mutation)?;
    match muts.iter().map(bytes).sum::<usize>() {
        0..=TXN_BYTES_MAX => Ok(()),
        sum => Err(Error::invalid(format!("transaction of {sum} bytes"))),
    }
}

/// Bytes that a mutation brings, for batch budgets.
pub fn bytes(mutation: &Mutation) -> usize {
    match mutation {
        Mutation::Put { key, value, .. } => key.as_bytes().len() + value.len(),
        Mutation::Enqueue { value, lane, .. } => value.len() + lane.as_ref().map_or(0, |l| l.len()),
        Mutation::Emit { body, .. } => body.len(),
        // A slice touches many pages: it is charged as if it wrote them.
        Mutation::DeleteRange { limit, .. } | Mutation::DropQueue { limit, .. } => *limit as usize * 64,
        _ => 64,
    }
}

fn mutation(mutation: &Mutation) -> Result<()> {
    match mutation {
        Mutation::Put { key: k, value, .. } => key(k).and_then(|()| value_len(value.len())),
        Mutation::Delete(k) => key(k),
        Mutation::Add { key: k, min, max, .. } if min <= max => key(k),
        Mutation::Add { .. } => Err(Error::invalid("bounds of a counter are the wrong way round")),
        Mutation::DeleteRange { from, to, limit } => {
            if from.is_ix() != to.is_ix() {
                return Err(Error::invalid("range over two tables"));
            }
            slice(*limit)
        }
        Mutation::Enqueue { lane, value, .. } => {
            lane_len(lane.as_ref().map_or(1, |lane| lane.len()))?;
            value_len(value.len())
        }
        Mutation::Arm { lane, .. } => lane_len(lane.len()),
        Mutation::DropQueue { limit, .. } => slice(*limit),
        Mutation::Emit { body, .. } => value_len(body.len()),
        Mutation::Settle { to: crate::Settle::Again { value: Some(value), .. }, .. } => value_len(value.len()),
        Mutation::Settle { .. } | Mutation::Trim { .. } => Ok(()),
    }
}

fn value_len(len: usize) -> Result<()> {
    if len > VALUE_BYTES_MAX {
        return Err(Error::invalid(format!("value of {len} bytes")));
    }
    Ok(())
}

fn lane_len(len: usize) -> Result<()> {
    match len {
        1..=LANE_BYTES_MAX => Ok(()),
        len => Err(Error::invalid(format!("lane of {len} bytes"))),
    }
}

fn slice(limit: u32) -> Result<()> {
    match limit {
        1..=SLICE_MAX => Ok(()),
        limit => Err(Error::invalid(format!("slice of {limit}"))),
    }
}

/// Checks a claim.
///
/// # Errors
/// `Invalid`, naming the limit.
pub fn claim(spec: &ClaimSpec) -> Result<()> {
    if !(1..=CLAIM_MAX).contains(&spec.lanes) {
        return Err(Error::invalid(format!("claim of {} entries", spec.lanes)));
    }
    if spec.lease.0 <= 0 || spec.wait.0 < 0 {
        return Err(Error::invalid("claim without a lease, or with a negative wait"));
    }
    match &spec.items {
        Some((_, rows)) if !(1..=SLICE_MAX).contains(rows) => Err(Error::invalid(format!("claim of {rows} items"))),
        _ => Ok(()),
    }
}

/// Checks a read.
///
/// # Errors
/// `Invalid`, naming the limit.
pub fn read(ops: &[ReadOp]) -> Result<()> {
    if ops.len() > READ_OPS_MAX {
        return Err(Error::invalid(format!("read of {} operations", ops.len())));
    }
    ops.iter().try_for_each(|op| match op {
        ReadOp::Range(Range { fold: Some(fold), .. }) if fold.delim.is_empty() => {
            Err(Error::invalid("fold with an empty delimiter"))
        }
        _ => Ok(()),
    })
}
