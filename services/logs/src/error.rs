//! The room's errors and the one place that gives them codes, statuses and texts.

use squall_protocol::ServiceError;
use squall_store as store;

/// Why an operation of this room fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such group.
    #[error("The specified log group does not exist.")]
    NoGroup,
    /// No such stream.
    #[error("The specified log stream does not exist.")]
    NoStream,
    /// Another resource that does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The group or stream exists.
    #[error("The specified log {0} already exists")]
    Exists(&'static str),
    /// `InvalidParameterException`.
    #[error("{0}")]
    Invalid(String),
    /// `ValidationException`.
    #[error("{0}")]
    Validation(String),
    /// The state engine or the disk failed; the caller may try again.
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
    /// `InvalidParameterException`.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    /// Something below failed.
    pub fn internal(action: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal { action, source: source.into() }
    }
}

impl From<store::Error> for Error {
    fn from(e: store::Error) -> Self {
        Self::internal("reach the state", e)
    }
}

impl From<Error> for ServiceError {
    fn from(e: Error) -> Self {
        let text = e.to_string();
        match e {
            Error::NoGroup | Error::NoStream | Error::NotFound(_) => {
                Self::client("ResourceNotFoundException", 400, text)
            }
            Error::Exists(_) => Self::client("ResourceAlreadyExistsException", 400, text),
            Error::Invalid(_) => Self::client("InvalidParameterException", 400, text),
            Error::Validation(_) => Self::client("ValidationException", 400, text),
            Error::Internal { action, source } => {
                tracing::error!(action, error = %source, "logs");
                Self::server("ServiceUnavailableException", 500, "The service cannot complete the request.")
            }
        }
    }
}
