//! Resource ids: small numbers that stand for (account, region, service, resource) in keys, and are never reused.

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
    let given = envelope::open_counter(row.map(|row| row.value.as_ref()))?;
    let id = u64::try_from(given).ok().and_then(|n| n.checked_add(FIRST));
    let id = id.ok_or_else(|| Error::Corrupt("the id counter is out of range".into()))?;
    out.put(counter(), envelope::seal_counter(given.saturating_add(1)));
    Ok(id)
}

/// Takes the next id in a transaction of its own. An id that is then not used is lost, which is harmless.
///
/// # Errors
/// As `commit`.
pub async fn allocate(state: &dyn State) -> Result<u64> {
    let txn = Txn::new().rule([counter()], |view, out| take(view.row(0), out));
    match state.commit(txn).await {
        Ok(done) => done.reply::<u64>().ok_or(Error::Unknown),
        Err(error) => Err(error.rejected::<Error>().unwrap_or_else(|other| other)),
    }
}

/// Takes so many ids at once, for one who needs them often and must not wait for the disk each time. Those that are then not
/// used are lost, which is harmless.
///
/// # Errors
/// As `commit`.
pub async fn allocate_many(state: &dyn State, count: u64) -> Result<std::ops::Range<u64>> {
    let txn = Txn::new().rule([counter()], move |view, out| {
        let given = envelope::open_counter(view.row(0).map(|row| row.value.as_ref()))?;
        let first = u64::try_from(given).ok().and_then(|n| n.checked_add(FIRST));
        let range = first.and_then(|first| Some(first..first.checked_add(count)?));
        let next = i64::try_from(count).ok().and_then(|count| given.checked_add(count));
        let (Some(range), Some(next)) = (range, next) else {
            return Err(Error::Corrupt("the id counter is out of range".into()));
        };
        out.put(counter(), envelope::seal_counter(next));
        Ok(range)
    });
    match state.commit(txn).await {
        Ok(done) => done.reply::<std::ops::Range<u64>>().ok_or(Error::Unknown),
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
