//! Rules: pure conditions and updates over rows whose keys were declared beforehand.

use std::any::Any;

use squall_types::Millis;

use crate::key::Key;
use crate::read::Row;
use crate::txn::Mutation;

/// What a rule answers, in the room's own type.
pub type Reply = Box<dyn Any + Send + Sync>;

/// A condition and the mutations that follow from it.
///
/// Pure: no clock but [`View::now`], no randomness, no I/O. An engine may run it more than once, and only the last run
/// counts. It sees the state as it is before the mutations of its own transaction. A panic rejects only its own
/// transaction.
pub trait Rule: Send + Sync {
    /// Decides. `Ok`: the mutations in `out` are applied after those of the transaction. `Err`: nothing happens.
    ///
    /// # Errors
    /// The refusal, handed to the caller in `Error::Rejected`.
    fn run(&self, view: &View<'_>, out: &mut Vec<Mutation>) -> Result<Reply, Reply>;
}

/// A closure with typed answers as a rule.
pub(crate) struct Closure<F>(pub F);

impl<F, T, E> Rule for Closure<F>
where
    F: Fn(&View<'_>, &mut Vec<Mutation>) -> Result<T, E> + Send + Sync,
    T: Any + Send + Sync,
    E: Any + Send + Sync,
{
    fn run(&self, view: &View<'_>, out: &mut Vec<Mutation>) -> Result<Reply, Reply> {
        match (self.0)(view, out) {
            Ok(reply) => Ok(Box::new(reply)),
            Err(refusal) => Err(Box::new(refusal)),
        }
    }
}

/// What a rule sees: its declared rows in the declared order, and the engine's time.
pub struct View<'a> {
    /// The declared keys.
    pub keys: &'a [Key],
    /// Their rows; `None` where there is none (or it has expired).
    pub rows: &'a [Option<Row>],
    /// The engine's time.
    pub now: Millis,
}

impl<'a> View<'a> {
    /// The row of the declared key with this index.
    pub fn row(&self, index: usize) -> Option<&'a Row> {
        self.rows.get(index)?.as_ref()
    }

    /// The value of the declared key with this index.
    pub fn value(&self, index: usize) -> Option<&'a [u8]> {
        self.row(index).map(|row| row.value.as_ref())
    }

    /// The declared key with this index.
    ///
    /// # Panics
    /// If the rule declared fewer keys.
    pub fn key(&self, index: usize) -> Key {
        self.keys.get(index).expect("the rule declared this key").clone()
    }
}
