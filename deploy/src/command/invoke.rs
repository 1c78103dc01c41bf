//! `invoke`: one synchronous call of a function.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value as Json;

use super::find_function;
use crate::client::{Call, Client, encode};
use crate::error::{Doing, Error};

/// What a function answered.
#[derive(Clone, Debug, Serialize)]
pub struct Invoked {
    /// Name of the function that ran.
    pub function: String,
    /// HTTP status of the call itself.
    pub status: u16,
    /// `Handled` or `Unhandled` when the function failed.
    pub function_error: Option<String>,
    /// Last 4 KiB of its log, when that was asked for.
    pub log: Option<String>,
    /// Its answer: JSON, or text where it is none.
    pub payload: Json,
    /// Its answer byte for byte.
    #[serde(skip)]
    pub raw: Bytes,
}

/// Calls a function by its name, its ARN, or its key in a deployed file.
///
/// # Errors
/// [`Error::Call`]; a function that fails is no error here, see [`Invoked::function_error`].
pub async fn invoke(client: &Client, name: &str, payload: impl Into<Bytes>, with_log: bool) -> Result<Invoked, Error> {
    let (function, region) = find_function(client, name).await?;
    let path = format!("/2015-03-31/functions/{}/invocations", encode(&function));
    let headers: &[(&str, &str)] = if with_log { &[("x-amz-log-type", "Tail")] } else { &[] };
    let call =
        Call { service: "lambda", method: "POST", path: &path, headers, body: payload.into(), ..Call::default() };
    let answer = client.with_region(&region).send(call).await.doing(|| format!("invoking {function}"))?;
    let log = answer.header("x-amz-log-result").and_then(|l| STANDARD.decode(l).ok());
    let payload = serde_json::from_slice(&answer.body)
        .unwrap_or_else(|_| Json::String(String::from_utf8_lossy(&answer.body).into_owned()));
    Ok(Invoked {
        status: answer.status,
        function_error: answer.header("x-amz-function-error").map(str::to_owned),
        log: log.map(|l| String::from_utf8_lossy(&l).into_owned()),
        payload,
        raw: answer.body,
        function,
    })
}
