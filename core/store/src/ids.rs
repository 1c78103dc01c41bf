//! Resource ids: small numbers that stand for (account, region, service, resource) in keys, and are never reused.

use std::ops::Range;

use squall_types::Millis;

use crate::envelope;
use crate::error::{Error, Result};
use crate::key::{Key, Kind};
use crate::read::Row;
use crate::state::State;
use crate::txn::{Mutation, Mutations, Txn};

/// The first id that is given out; those below are constants of the rooms (`room << 8 | number`).
pub const FIRST: u64 = 1 << 16;

const COUNTER: Kind = Kind::kv(0, 1);

/// The row that holds how many ids were given out. A rule that creates a resource declares it and calls [`take`].
pub fn counter() -> Key {
    Key::new(COUNTER, 0, 0)
}

/// Takes the next id inside a rule that declared [`counter`]; `row` is what the view shows for it.
///
/// # Errors
/// `Corrupt` if the counter cannot be read.
pub fn take(row: Option<&Row>, out: &mut Vec<Mutation>) -> Result<u64> {
    take_many(row, out, 1).map(|taken| taken.start)
}

fn take_many(row: Option<&Row>, out: &mut Vec<Mutation>, count: u32) -> Result<Range<u64>> {
    let given = envelope::open_counter(row.map(|row| row.value.as_ref()))?;
    let first = u64::try_from(given).ok().and_then(|n| n.checked_add(FIRST));
    let end = first.and_then(|first| first.checked_add(count.into()));
    let (Some(first), Some(end), Some(next)) = (first, end, given.checked_add(count.into())) else {
        return Err(Error::Corrupt("the id counter is out of range".into()));
    };
    out.put(counter(), envelope::seal_counter(next));
    Ok(first..end)
}

/// Takes the next id in a transaction of its own. An id that is then not used is lost, which is harmless.
///
/// # Errors
/// As `commit`.
pub async fn allocate(state: &dyn State) -> Result<u64> {
    allocate_many(state, 1).await.map(|taken| taken.start)
}

/// Takes so many ids at once, for one who needs them often and must not wait for the disk each time. Those that are then not
/// used are lost, which is harmless.
///
/// # Errors
/// As `commit`.
pub async fn allocate_many(state: &dyn State, count: u32) -> Result<Range<u64>> {
    let txn = Txn::new().rule([counter()], move |view, out| take_many(view.row(0), out, count));
    match state.commit(txn).await {
        Ok(done) => done.reply::<Range<u64>>().ok_or(Error::Unknown),
        Err(error) => Err(error.rejected::<Error>().unwrap_or_else(|other| other)),
    }
}

/// A fresh 16-byte transaction id from the engine's time and a caller's unique number.
pub fn txn_id(now: Millis, unique: u64) -> [u8; 16] {
    let mut id = [0; 16];
    for (to, from) in id.iter_mut().zip(now.0.to_be_bytes().into_iter().chain(unique.to_be_bytes())) {
        *to = from;
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_are_taken_together_follow_each_other() {
        let mut out = Vec::new();
        assert_eq!(take(None, &mut out).ok(), Some(FIRST));
        assert_eq!(take_many(None, &mut out, 64).ok(), Some(FIRST..FIRST + 64));
        let row = |value: bytes::Bytes| Row { key: counter(), value, ver: crate::txn::Stamp(1) };
        let full = row(envelope::seal_counter(i64::MAX));
        assert!(take_many(Some(&full), &mut out, 1).is_err(), "never the same again");
        let some = row(envelope::seal_counter(64));
        assert_eq!(take_many(Some(&some), &mut out, 2).ok(), Some(FIRST + 64..FIRST + 66));
    }
}
