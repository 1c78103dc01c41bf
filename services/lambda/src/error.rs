//! The room's errors and the one place that gives them codes, statuses and texts.

use squall_protocol::ServiceError;
use squall_store as store;

/// Why an operation of this room fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `ResourceNotFoundException` with that text.
    #[error("{0}")]
    NotFound(String),
    /// The ARN names another region.
    #[error("function of {given} asked for in {here}")]
    WrongRegion {
        /// Region of the ARN.
        given: String,
        /// Region of the request.
        here: String,
    },
    /// `InvalidParameterValueException`.
    #[error("{0}")]
    Invalid(String),
    /// `InvalidParameterValueException` about reserved concurrency, which AWS sends without a `Type`.
    #[error("{0}")]
    Reservation(String),
    /// `ValidationException`: a constraint is broken.
    #[error("{0}")]
    Validation(String),
    /// `ResourceConflictException`.
    #[error("{0}")]
    Conflict(String),
    /// `ResourceInUseException`: another change is under way.
    #[error("{0}")]
    InUse(String),
    /// `PreconditionFailedException`: a revision id does not match.
    #[error("{0}")]
    Precondition(String),
    /// `InvalidRequestContentException`: the payload is not JSON.
    #[error("{0}")]
    BadContent(String),
    /// `RequestEntityTooLargeException`.
    #[error("{0}")]
    TooLarge(String),
    /// `PolicyLengthExceededException` with the size that the policy would have.
    #[error("The final policy size ({0}) is bigger than the limit (20480).")]
    PolicyLength(usize),
    /// `CodeStorageExceededException`.
    #[error("code storage exceeded")]
    CodeStorage,
    /// `TooManyRequestsException` with its reason.
    #[error("throttled: {0}")]
    Throttled(&'static str),
    /// `ProvisionedConcurrencyConfigNotFoundException`.
    #[error("No Provisioned Concurrency Config found for this function")]
    NoProvision,
    /// `AccessDeniedException`: the function's policy does not allow a service.
    #[error("{0}")]
    Denied(String),
    /// The state engine or the file system failed; the caller may try again.
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
    /// `InvalidParameterValueException`.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    /// A setting of the API that this server does not serve: refused, never ignored.
    pub fn unserved(setting: &str) -> Self {
        Self::Invalid(format!("{setting} is not supported by this version of Squall"))
    }

    /// A name that matches none of the written forms.
    pub fn bad_name(text: &str) -> Self {
        Self::Validation(format!(
            "1 validation error detected: Value '{text}' at 'functionName' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{{2}}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{{1}}:)?\
             (\\d{{12}}:)?(function:)?([a-zA-Z0-9-_\\.]+)(:(\\$LATEST(\\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
        ))
    }

    /// `Function not found: ARN`.
    pub fn no_function(region: &str, account: &str, name: &str, qualifier: Option<&str>) -> Self {
        let tail = qualifier.map(|q| format!(":{q}")).unwrap_or_default();
        Self::NotFound(format!("Function not found: arn:aws:lambda:{region}:{account}:function:{name}{tail}"))
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
        let user = |code, status, text: String| Self::client(code, status, text).with("Type", "User");
        match e {
            Error::NotFound(text) => user("ResourceNotFoundException", 404, text).upper(),
            Error::WrongRegion { given, here } => {
                let text = format!("Functions from '{given}' are not reachable in this region ('{here}')");
                user("ResourceNotFoundException", 404, text).upper()
            }
            Error::Invalid(text) => user("InvalidParameterValueException", 400, text),
            Error::Reservation(text) => Self::client("InvalidParameterValueException", 400, text),
            Error::Validation(text) => Self::client("ValidationException", 400, text),
            Error::Conflict(text) => user("ResourceConflictException", 409, text),
            Error::InUse(text) => user("ResourceInUseException", 400, text).upper(),
            Error::Precondition(text) => user("PreconditionFailedException", 412, text),
            Error::BadContent(text) => user("InvalidRequestContentException", 400, text),
            Error::TooLarge(text) => user("RequestEntityTooLargeException", 413, text),
            e @ Error::PolicyLength(_) => user("PolicyLengthExceededException", 400, e.to_string()),
            Error::CodeStorage => user("CodeStorageExceededException", 400, "Code storage limit exceeded.".into()),
            Error::Throttled(reason) => Self::client("TooManyRequestsException", 429, "Rate Exceeded.")
                .with("Type", "User")
                .with("Reason", reason),
            e @ Error::NoProvision => user("ProvisionedConcurrencyConfigNotFoundException", 404, e.to_string()),
            Error::Denied(text) => Self::client("AccessDeniedException", 403, text).upper(),
            Error::Internal { action, source } => {
                tracing::error!(action, error = %source, "lambda");
                Self::server("ServiceException", 500, "Service encountered an internal error. Please try again.")
                    .with("Type", "Service")
                    .upper()
            }
        }
    }
}
