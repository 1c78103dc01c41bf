//! The rooms' errors and the one place that gives them codes, statuses and texts.

use squall_protocol::ServiceError;
use squall_store as store;

/// Why an operation of these rooms fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `NotFoundException`.
    #[error("{0}")]
    NotFound(String),
    /// `BadRequestException`.
    #[error("{0}")]
    BadRequest(String),
    /// `ConflictException`.
    #[error("{0}")]
    Conflict(String),
    /// `LimitExceededException`.
    #[error("{0}")]
    Limit(String),
    /// The state engine failed; the caller may try again.
    #[error("{action}")]
    Internal {
        /// What was tried.
        action: &'static str,
        /// The cause, for the operator.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// `BadRequestException` with that text.
    pub fn bad(text: impl Into<String>) -> Self {
        Self::BadRequest(text.into())
    }

    /// `NotFoundException` with that text.
    pub fn missing(text: impl Into<String>) -> Self {
        Self::NotFound(text.into())
    }

    /// A setting of the API that this server does not serve: refused, never ignored.
    pub fn unserved(setting: &str) -> Self {
        Self::BadRequest(format!("{setting} is not supported by this version of Squall"))
    }

    /// `Invalid API identifier specified ACCOUNT:ID`.
    pub fn no_api(account: &str, id: &str) -> Self {
        Self::NotFound(format!("Invalid API identifier specified {account}:{id}"))
    }

    /// Another node changed the API first.
    pub fn concurrent() -> Self {
        Self::Conflict("Unable to complete operation due to concurrent modification. Please try again later.".into())
    }

    /// Something below failed.
    pub fn internal(action: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal { action, source: source.into() }
    }
}

impl From<store::Error> for Error {
    fn from(e: store::Error) -> Self {
        match e {
            store::Error::Check(_) => Self::concurrent(),
            e => Self::internal("reach the state", e),
        }
    }
}

impl From<Error> for ServiceError {
    fn from(e: Error) -> Self {
        match e {
            Error::NotFound(text) => Self::client("NotFoundException", 404, text),
            Error::BadRequest(text) => Self::client("BadRequestException", 400, text),
            Error::Conflict(text) => Self::client("ConflictException", 409, text),
            Error::Limit(text) => Self::client("LimitExceededException", 429, text),
            Error::Internal { action, source } => {
                tracing::error!(action, error = %source, "apigateway");
                Self::server("InternalFailure", 500, "The request processing has failed because of an unknown error.")
            }
        }
    }
}
