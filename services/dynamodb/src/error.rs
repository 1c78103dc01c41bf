//! What can go wrong, and the one place that gives each error its AWS code and status.

use crate::item::Item;

/// An error of this room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is not valid.
    #[error("{0}")]
    Validation(String),
    /// The condition does not hold; carries the item when the caller asked for it.
    #[error("The conditional request failed")]
    ConditionalCheckFailed(Option<Box<Item>>),
    /// There is no such table, index or resource.
    #[error("{0}")]
    ResourceNotFound(String),
    /// The table exists, or is being changed.
    #[error("{0}")]
    ResourceInUse(String),
    /// There is no such table, in the operations that have an error of their own for it.
    #[error("{0}")]
    LimitExceeded(String),
    /// A transaction was cancelled; one reason per item.
    #[error("{}", cancellation_text(.0))]
    TransactionCanceled(Vec<Reason>),
    /// A transaction's token was used with other parameters.
    #[error("{0}")]
    IdempotentParameterMismatch(String),
    /// The state engine is away or answered nonsense; the text is for the operator.
    #[error("{0}")]
    Internal(String),
}

/// Why one item of a transaction did not go through, or that it would have.
#[derive(Debug, Default)]
pub struct Reason {
    /// `None`, `ConditionalCheckFailed`, `ValidationError`, …
    pub code: &'static str,
    /// Text; absent for `None`.
    pub message: Option<String>,
    /// The item, when asked for.
    pub item: Option<Item>,
}

impl Error {
    /// A `ValidationException` of this text.
    pub fn validation(message: impl Into<String>) -> Error {
        Error::Validation(message.into())
    }
}

fn cancellation_text(reasons: &[Reason]) -> String {
    let codes: Vec<&str> = reasons.iter().map(|r| r.code).collect();
    format!("Transaction cancelled, please refer cancellation reasons for specific reasons [{}]", codes.join(", "))
}

impl From<crate::number::NumberError> for Error {
    fn from(error: crate::number::NumberError) -> Error {
        Error::Validation(error.to_string())
    }
}
