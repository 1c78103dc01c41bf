//! What a call can end with besides its answer.

use serde_json::Value as Json;

use super::{Answer, xml};

/// A failed call.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The endpoint cannot be used.
    #[error("the endpoint `{url}`: {why}")]
    Endpoint {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The cloud was not reached, or the connection broke.
    #[error("no cloud answers at {url} ({why}); start one with `squall up`, or set AWS_ENDPOINT_URL")]
    Unreached {
        /// The endpoint.
        url: String,
        /// The system's reason.
        why: String,
        /// Nothing was sent, so that it may be tried again.
        is_unsent: bool,
    },
    /// The cloud answered an error.
    #[error("{code}: {message}")]
    Service {
        /// AWS's code, such as `ResourceNotFoundException`.
        code: String,
        /// AWS's message.
        message: String,
        /// HTTP status.
        status: u16,
    },
    /// The answer was not understood or did not come in time.
    #[error("{operation}: {why}")]
    Answer {
        /// What was called.
        operation: String,
        /// What was wrong.
        why: String,
    },
}

impl Error {
    /// AWS's code, when the cloud answered one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Service { code, .. } => Some(code),
            _ => None,
        }
    }

    /// The thing asked for is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        let codes =
            ["ResourceNotFoundException", "NoSuchEntity", "NotFoundException", "NoSuchEntityException", "NotFound"];
        self.code().is_some_and(|c| codes.contains(&c))
    }

    /// Trying again is safe and may help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreached { is_unsent, .. } => *is_unsent,
            Self::Service { code, status, .. } => matches!(status, 429 | 503) || code.starts_with("Throttling"),
            Self::Endpoint { .. } | Self::Answer { .. } => false,
        }
    }
}

/// Code and message from wherever the protocol puts them.
pub(super) fn of_answer(answer: &Answer) -> Error {
    let status = answer.status;
    let service =
        |code: &str, message: &str| Error::Service { code: code.to_owned(), message: message.to_owned(), status };
    if let Ok(json) = serde_json::from_slice::<Json>(&answer.body) {
        let text = |names: &[&str]| names.iter().find_map(|n| json.get(n).and_then(Json::as_str)).unwrap_or_default();
        let code = answer.header("x-amzn-errortype").unwrap_or_else(|| text(&["__type", "code", "Code"]));
        let code = code.split(':').next().unwrap_or_default().rsplit('#').next().unwrap_or_default();
        return service(code, text(&["message", "Message", "errorMessage"]));
    }
    if let Ok(root) = xml::parse(&answer.body) {
        let error = root.child("Error").or_else(|| root.child("Errors").and_then(|e| e.child("Error")));
        let error = error.unwrap_or(&root);
        return service(error.text_of("Code"), error.text_of("Message"));
    }
    let text: String = String::from_utf8_lossy(&answer.body).chars().take(200).collect();
    let code = answer.header("x-amzn-errortype").map_or_else(|| format!("HTTP {status}"), str::to_owned);
    service(&code, text.trim())
}
