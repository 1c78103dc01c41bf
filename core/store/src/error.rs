//! What a state engine may answer instead of a result.

use std::any::Any;

use crate::key::Key;
use crate::rule::Reply;

/// Result of a state verb.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a verb of the state did not succeed.
///
/// Everything above [`Error::Unknown`] means that nothing happened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The rule refused; the reply says why, in the room's own type.
    #[error("refused by the rule")]
    Rejected(Reply),
    /// The check with this index did not hold.
    #[error("check {0} failed")]
    Check(usize),
    /// A guarded row changed since it was read.
    #[error("the guarded row {0} changed")]
    Guard(Key),
    /// An `Add` would have left its bounds. `now` is the counter's present value.
    #[error("counter {key} would leave its bounds (now {now})")]
    Bounds {
        /// The counter.
        key: Key,
        /// Its value before the refused addition.
        now: i64,
    },
    /// A settled handle no longer names its entry: it was settled, replaced, or leased to somebody else.
    #[error("the lease is no longer held")]
    Stale,
    /// The asked position of a stream was trimmed away.
    #[error("the stream was trimmed past this position")]
    Trimmed,
    /// The request breaks a limit or is malformed: a bug of the caller, not of the data.
    #[error("invalid state request: {0}")]
    Invalid(String),
    /// The rule panicked; only its own transaction is lost.
    #[error("the rule panicked: {0}")]
    Panicked(String),
    /// Stored data cannot be understood (damaged, or written by a newer version).
    #[error("stored data cannot be read: {0}")]
    Corrupt(String),
    /// The engine cannot serve now; nothing happened.
    #[error("state is unavailable: {0}")]
    Unavailable(String),
    /// The outcome is not known: it may or may not have been written. Ask again with the same `Txn::id`.
    #[error("the outcome of the commit is not known")]
    Unknown,
}

impl Error {
    /// An [`Error::Invalid`] with this text.
    pub fn invalid(text: impl Into<String>) -> Self {
        Error::Invalid(text.into())
    }

    /// The rule's own refusal, or the error itself if it is anything else.
    ///
    /// # Errors
    /// Gives `self` back when it is not a refusal of type `E`.
    pub fn rejected<E: Any>(self) -> std::result::Result<E, Error> {
        match self {
            Error::Rejected(reply) => reply.downcast::<E>().map(|e| *e).map_err(Error::Rejected),
            other => Err(other),
        }
    }

    /// Whether the same call may succeed when it is simply made again.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Unavailable(_))
    }
}
