//! MOCK integrations: answers without a backend.

use super::call::Call;
use super::text;
use crate::model::rest::{Mock, MockAnswer};
use serde_json::Value;
use squall_protocol::Reply;

/// Why a MOCK integration does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No template takes the request's type, and it may not pass through.
    UnsupportedType,
    /// No status, no answer for it, or one that the method does not declare.
    Broken,
}

/// Answers.
///
/// # Errors
/// Why not.
pub fn answer(mock: &Mock, call: &Call<'_>) -> Result<Reply, Failure> {
    let status = status(mock, call)?;
    let text = status.to_string();
    let matches = |a: &&MockAnswer| a.pattern.as_ref().is_some_and(|p| p.is_match(&text));
    let chosen = mock.answers.iter().find(matches).or_else(|| mock.answers.iter().find(|a| a.pattern.is_none()));
    let chosen = chosen.filter(|a| a.is_declared).ok_or(Failure::Broken)?;
    let mut reply = Reply { status: chosen.status, headers: chosen.headers.clone(), ..Reply::default() };
    let (kind, body) = chosen.template.clone().unwrap_or_else(|| ("application/json".into(), String::new()));
    if !reply.headers.iter().any(|(n, _)| n == "content-type") {
        reply.headers.push(("content-type".into(), kind));
    }
    reply.body = body.into();
    Ok(reply)
}

/// The status that the request's template names, or the request's own body where it passes through.
fn status(mock: &Mock, call: &Call<'_>) -> Result<u16, Failure> {
    let kind = match text::media_type(call.header("content-type").unwrap_or_default()) {
        kind if kind.is_empty() => "application/json".to_owned(),
        kind => kind,
    };
    if let Some((_, status)) = mock.statuses.iter().find(|(k, _)| text::media_type(k) == kind) {
        return Ok(*status);
    }
    let passes = match mock.passthrough.as_str() {
        "NEVER" => false,
        "WHEN_NO_TEMPLATES" => mock.statuses.is_empty(),
        _ => true,
    };
    if !passes {
        return Err(Failure::UnsupportedType);
    }
    let body: Value = serde_json::from_slice(&call.request.body).map_err(|_| Failure::Broken)?;
    let status = body.get("statusCode").and_then(Value::as_u64).and_then(|s| u16::try_from(s).ok());
    status.ok_or(Failure::Broken)
}
