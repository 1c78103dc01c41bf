//! The rooms' errors and the one place that gives them codes, statuses and texts.

use squall_policy::ParseError;
use squall_protocol::ServiceError;
use squall_store as store;

/// Why an operation of these rooms fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `NoSuchEntity`.
    #[error("{0}")]
    NoSuchEntity(String),
    /// `EntityAlreadyExists`.
    #[error("{0}")]
    Exists(String),
    /// `DeleteConflict`.
    #[error("{0}")]
    DeleteConflict(&'static str),
    /// `LimitExceeded`.
    #[error("{0}")]
    Limit(String),
    /// `MalformedPolicyDocument`.
    #[error("{0}")]
    Malformed(String),
    /// `InvalidInput`.
    #[error("{0}")]
    InvalidInput(String),
    /// `ValidationError`.
    #[error("{0}")]
    Validation(String),
    /// `InvalidParameterValue`.
    #[error("{0}")]
    InvalidParameter(String),
    /// `UnmodifiableEntity`.
    #[error("{0}")]
    Unmodifiable(&'static str),
    /// `ConcurrentModification`: another node changed the entity first.
    #[error("concurrent modification")]
    Concurrent,
    /// `PackedPolicyTooLarge`, with the share of the allowed size in percent.
    #[error("session policies take {0} percent")]
    PackedPolicy(usize),
    /// `AccessDenied`.
    #[error("{0}")]
    Denied(String),
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
    /// `The KIND with name NAME cannot be found.`, where the kind is `role`, `user`, `role policy` or `user policy`.
    pub fn cannot_be_found(kind: &str, name: &str) -> Self {
        Self::NoSuchEntity(format!("The {kind} with name {name} cannot be found."))
    }

    /// A policy that is not there, as reading and detaching word it.
    pub fn policy_not_found(arn: &str) -> Self {
        Self::NoSuchEntity(format!("Policy {arn} was not found."))
    }

    /// `Cannot exceed quota for QUOTA: MAX`.
    pub fn quota(quota: &str, max: usize) -> Self {
        Self::Limit(format!("Cannot exceed quota for {quota}: {max}"))
    }

    /// A setting of the API that this server does not serve: refused, never ignored.
    pub fn unserved(setting: &str) -> Self {
        Self::InvalidParameter(format!("{setting} is not supported by this version of Squall"))
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

impl From<ParseError> for Error {
    fn from(e: ParseError) -> Self {
        Self::Malformed(e.message().to_owned())
    }
}

impl From<Error> for ServiceError {
    fn from(e: Error) -> Self {
        let client = |code, status, text: String| Self::client(code, status, text);
        match e {
            Error::NoSuchEntity(text) => client("NoSuchEntity", 404, text),
            Error::Exists(text) => client("EntityAlreadyExists", 409, text),
            Error::DeleteConflict(text) => client("DeleteConflict", 409, text.to_owned()),
            Error::Limit(text) => client("LimitExceeded", 409, text),
            Error::Malformed(text) => client("MalformedPolicyDocument", 400, text),
            Error::InvalidInput(text) => client("InvalidInput", 400, text),
            Error::Validation(text) => client("ValidationError", 400, text),
            Error::InvalidParameter(text) => client("InvalidParameterValue", 400, text),
            Error::Unmodifiable(text) => client("UnmodifiableEntity", 400, text.to_owned()),
            Error::Concurrent => {
                let text = "Another request changed this entity at the same time; try again.";
                client("ConcurrentModification", 409, text.to_owned())
            }
            Error::PackedPolicy(percent) => client(
                "PackedPolicyTooLarge",
                400,
                format!("Packed policy consumes {percent}% of allotted space, please use smaller policy."),
            ),
            Error::Denied(text) => client("AccessDenied", 403, text),
            Error::Internal { action, source } => {
                tracing::error!(action, error = %source, "iam");
                Self::server("ServiceFailure", 500, "The request processing has failed because of an unknown error.")
            }
        }
    }
}
