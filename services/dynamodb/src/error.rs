//! What can go wrong, and the one place that gives each error its AWS code and status.

use crate::api;
use crate::item::Item;
use crate::wire;
use squall_protocol::{ServiceError, Value};

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
    /// There is no such table, where the operation has an error of its own for it.
    #[error("{0}")]
    TableNotFound(String),
    /// A quota of the account.
    #[error("{0}")]
    LimitExceeded(String),
    /// What the service knows and this one refuses instead of ignoring.
    #[error("{0}")]
    Unsupported(String),
    /// A transaction was cancelled; one reason per item.
    #[error("{}", cancellation_text(.0))]
    TransactionCanceled(Vec<Reason>),
    /// A transaction's token was used with other parameters.
    #[error("{0}")]
    IdempotentParameterMismatch(String),
    /// A PartiQL INSERT of an item that is there.
    #[error("{0}")]
    DuplicateItem(String),
    /// The table's or index's provisioned capacity is spent.
    #[error("{0}")]
    ProvisionedThroughputExceeded(String),
    /// The table's or index's on-demand bound is reached.
    #[error("{0}")]
    Throttling(String),
    /// There is no such backup.
    #[error("{0}")]
    BackupNotFound(String),
    /// The backup is being made or restored from.
    #[error("{0}")]
    BackupInUse(String),
    /// A restore's target exists.
    #[error("{0}")]
    TableAlreadyExists(String),
    /// The table is being changed, where the operation has an error of its own for it.
    #[error("{0}")]
    TableInUse(String),
    /// The table's continuous backups cannot be changed now.
    #[error("{0}")]
    ContinuousBackupsUnavailable(String),
    /// Point-in-time recovery is off.
    #[error("{0}")]
    PointInTimeRecoveryUnavailable(String),
    /// The time is outside of what can be restored.
    #[error("{0}")]
    InvalidRestoreTime(String),
    /// The table has no resource policy, or another revision of it.
    #[error("{0}")]
    PolicyNotFound(String),
    /// There is no such global table.
    #[error("{0}")]
    GlobalTableNotFound(String),
    /// There is no such export.
    #[error("{0}")]
    ExportNotFound(String),
    /// There is no such import.
    #[error("{0}")]
    ImportNotFound(String),
    /// A shard iterator is older than its life.
    #[error("{0}")]
    ExpiredIterator(String),
    /// The records asked for are older than the stream keeps.
    #[error("{0}")]
    TrimmedDataAccess(String),
    /// The state engine is away or answered nonsense; the text is for the operator.
    #[error("{0}")]
    Internal(String),
}

/// Why one item of a transaction did not go through, or that it would have.
#[derive(Clone, Debug)]
pub struct Reason {
    /// `None`, `ConditionalCheckFailed`, `ValidationError`, …
    pub code: &'static str,
    /// Text; absent for `None`.
    pub message: Option<String>,
    /// The item, when asked for.
    pub item: Option<Item>,
}

impl Reason {
    /// Nothing is wrong with this item.
    pub fn none() -> Reason {
        Reason { code: "None", message: None, item: None }
    }

    /// What this error means for one item of a transaction; `None` for errors that are not about the item.
    pub fn of(error: &Error) -> Option<Reason> {
        let code = match error {
            Error::Validation(_) => "ValidationError",
            Error::ConditionalCheckFailed(_) => "ConditionalCheckFailed",
            Error::ProvisionedThroughputExceeded(_) => "ProvisionedThroughputExceeded",
            Error::Throttling(_) => "ThrottlingError",
            _ => return None,
        };
        let item = match error {
            Error::ConditionalCheckFailed(item) => item.as_deref().cloned(),
            _ => None,
        };
        Some(Reason { code, message: Some(error.to_string()), item })
    }

    fn into_value(self) -> Value {
        let mut out = wire::Output::new(&api::shapes::CANCELLATION_REASON);
        out.set("Item", self.item.map(wire::item_value));
        out.set("Code", Some(Value::Str(self.code.into())));
        out.set("Message", self.message.map(Value::Str));
        out.finish()
    }
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

impl From<squall_store::Error> for Error {
    fn from(error: squall_store::Error) -> Error {
        Error::Internal(error.to_string())
    }
}

impl From<Error> for ServiceError {
    fn from(error: Error) -> ServiceError {
        let message = error.to_string();
        let client = |code| ServiceError::client(code, 400, message.clone());
        match error {
            Error::Validation(_) | Error::Unsupported(_) => client("ValidationException"),
            Error::ConditionalCheckFailed(item) => {
                let error = client("ConditionalCheckFailedException");
                match item {
                    Some(item) => error.with_value("Item", &api::shapes::ATTRIBUTE_MAP, wire::item_value(*item)),
                    None => error,
                }
            }
            Error::ResourceNotFound(_) => client("ResourceNotFoundException"),
            Error::TableNotFound(_) => client("TableNotFoundException"),
            Error::ResourceInUse(_) => client("ResourceInUseException"),
            Error::LimitExceeded(_) => client("LimitExceededException"),
            Error::DuplicateItem(_) => client("DuplicateItemException"),
            Error::ProvisionedThroughputExceeded(_) => client("ProvisionedThroughputExceededException"),
            Error::Throttling(_) => client("ThrottlingException"),
            Error::BackupNotFound(_) => client("BackupNotFoundException"),
            Error::BackupInUse(_) => client("BackupInUseException"),
            Error::TableAlreadyExists(_) => client("TableAlreadyExistsException"),
            Error::TableInUse(_) => client("TableInUseException"),
            Error::ContinuousBackupsUnavailable(_) => client("ContinuousBackupsUnavailableException"),
            Error::PointInTimeRecoveryUnavailable(_) => client("PointInTimeRecoveryUnavailableException"),
            Error::InvalidRestoreTime(_) => client("InvalidRestoreTimeException"),
            Error::PolicyNotFound(_) => client("PolicyNotFoundException"),
            Error::GlobalTableNotFound(_) => client("GlobalTableNotFoundException"),
            Error::ExportNotFound(_) => client("ExportNotFoundException"),
            Error::ImportNotFound(_) => client("ImportNotFoundException"),
            Error::ExpiredIterator(_) => client("ExpiredIteratorException"),
            Error::TrimmedDataAccess(_) => client("TrimmedDataAccessException"),
            Error::IdempotentParameterMismatch(_) => client("IdempotentParameterMismatchException").upper(),
            Error::TransactionCanceled(reasons) => {
                let reasons = Value::List(reasons.into_iter().map(Reason::into_value).collect());
                client("TransactionCanceledException").upper().with_value(
                    "CancellationReasons",
                    &api::shapes::CANCELLATION_REASON_LIST,
                    reasons,
                )
            }
            Error::Internal(cause) => {
                tracing::error!(cause, "dynamodb: the state engine failed");
                ServiceError::server("InternalServerError", 500, "Internal server error")
            }
        }
    }
}
