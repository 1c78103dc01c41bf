//! The error that an operation answers, before a protocol writes it.

use crate::Value;

/// Who is at fault; SDKs decide on retries by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The caller (`Sender` in the query protocol).
    Client,
    /// This server (`Receiver`).
    Server,
}

/// An operation's error in AWS's terms.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ServiceError {
    /// Code on the wire, such as `ResourceNotFoundException`.
    pub code: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Who is at fault.
    pub fault: Fault,
    /// The caller's text. The operator's text goes to the log instead.
    pub message: String,
    /// Further members of the error's structure by their wire names (`Type`, `Item`, `CancellationReasons`), written after the message.
    pub members: Vec<(&'static str, Extra)>,
    /// The wire writes the message as `Message` instead of `message` (JSON protocols).
    pub upper_message: bool,
}

/// A further member of an error: ready JSON, or a shaped value.
#[derive(Clone, Debug)]
pub enum Extra {
    /// Plain text.
    Text(String),
    /// A value of that shape.
    Shaped(&'static crate::Shape, Value),
}

impl ServiceError {
    /// A caller's error.
    #[must_use]
    pub fn client(code: &'static str, status: u16, message: impl Into<String>) -> Self {
        Self { code, status, fault: Fault::Client, message: message.into(), members: Vec::new(), upper_message: false }
    }

    /// A server's error.
    #[must_use]
    pub fn server(code: &'static str, status: u16, message: impl Into<String>) -> Self {
        Self { fault: Fault::Server, ..Self::client(code, status, message) }
    }

    /// The same with a text member more.
    #[must_use]
    pub fn with(mut self, name: &'static str, text: impl Into<String>) -> Self {
        self.members.push((name, Extra::Text(text.into())));
        self
    }

    /// The same with a shaped member more.
    #[must_use]
    pub fn with_value(mut self, name: &'static str, shape: &'static crate::Shape, value: Value) -> Self {
        self.members.push((name, Extra::Shaped(shape, value)));
        self
    }

    /// The same with the message member written as `Message`.
    #[must_use]
    pub fn upper(mut self) -> Self {
        self.upper_message = true;
        self
    }
}
