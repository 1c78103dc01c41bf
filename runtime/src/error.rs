//! Why an invocation was not run.

/// Which limit refused the request, in AWS's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThrottleReason {
    /// The function's reserved concurrency.
    ReservedFunctionConcurrentInvocationLimitExceeded,
    /// The account's concurrency.
    ConcurrentInvocationLimitExceeded,
}

impl ThrottleReason {
    /// The `Reason` member of `TooManyRequestsException`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReservedFunctionConcurrentInvocationLimitExceeded => {
                "ReservedFunctionConcurrentInvocationLimitExceeded"
            }
            Self::ConcurrentInvocationLimitExceeded => "ConcurrentInvocationLimitExceeded",
        }
    }
}

/// The request was not run. What the function itself does wrong is no error: it is an outcome.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// 429 `TooManyRequestsException` with this reason.
    #[error("Rate Exceeded.")]
    Throttled(ThrottleReason),
    /// The machine had no room for an instance before the function's timeout had passed: 429 as well.
    #[error("Rate Exceeded.")]
    NoCapacity,
    /// The host lacks the runtime: 502 `InvalidRuntimeException`. The text says what to install.
    #[error("{0}")]
    Runtime(String),
    /// An instance could not be started: 500 `ServiceException`. The text is for the operator.
    #[error("{0}")]
    Start(String),
    /// The cloud is stopping: 503.
    #[error("the server is shutting down")]
    Stopping,
}

impl InvokeError {
    /// AWS's error code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Throttled(_) | Self::NoCapacity => "TooManyRequestsException",
            Self::Runtime(_) => "InvalidRuntimeException",
            Self::Start(_) | Self::Stopping => "ServiceException",
        }
    }
}
