//! What the rooms keep of their APIs.

pub mod http;
pub mod rest;

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How callers of a method or route prove who they are.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub enum Auth {
    /// Anybody may call.
    #[default]
    #[serde(rename = "NONE")]
    None,
    /// Signed requests, decided on by IAM policies.
    #[serde(rename = "AWS_IAM")]
    Iam,
}

impl Auth {
    /// The API's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Iam => "AWS_IAM",
        }
    }
}

/// A function that answers requests, as compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Function ARN; may hold `${stageVariables.NAME}`.
    pub function: String,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Role that the call is made with; without one the function's own policy decides.
    pub role: Option<String>,
}
