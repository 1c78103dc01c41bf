//! Why a policy document is refused, in AWS's words.

/// A policy document that is refused; the text is what AWS puts into `MalformedPolicyDocument`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ParseError {
    message: String,
}

impl ParseError {
    /// AWS's message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }

    pub(crate) fn syntax() -> Self {
        Self::new("Syntax errors in policy.")
    }

    pub(crate) fn legacy() -> Self {
        Self::new("The policy failed legacy parsing")
    }

    pub(crate) fn invalid_principal() -> Self {
        Self::new("Invalid principal in policy")
    }

    pub(crate) fn principal(class: &str, name: &str) -> Self {
        Self::new(format!("Invalid principal in policy: \"{}\":\"{name}\"", class.to_uppercase()))
    }
}
