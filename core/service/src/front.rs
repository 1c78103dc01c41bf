//! The data plane of deployed HTTP APIs and function URLs.

use crate::{CredentialError, Principal};
use async_trait::async_trait;
use bytes::Bytes;
use squall_protocol::Reply;
use squall_types::Millis;
use std::net::IpAddr;

/// A request to a deployed API or function URL, body read within the front's bound.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// Upper-case method.
    pub method: String,
    /// Path below the API's own root, percent-encoded as sent, starting with `/` (for execute-api it begins with the stage
    /// unless the API has `$default`).
    pub path: String,
    /// Query as sent, without `?`.
    pub query: String,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Bytes,
    /// `Host` header as the caller sent it.
    pub host: String,
    /// HTTP version, such as `HTTP/1.1`.
    pub protocol: String,
    /// Address of the caller.
    pub source_ip: IpAddr,
    /// When it arrived.
    pub time: Millis,
    /// Request id, a UUID.
    pub request_id: String,
    /// What the gateway found of a signature; APIs under their own auth type ignore it.
    pub caller: Caller,
}

/// The signature of a data-plane request.
#[derive(Clone, Debug)]
pub enum Caller {
    /// No signature.
    Anonymous,
    /// A valid one.
    Signed(Principal),
    /// A wrong one; the code and text of the refusal.
    Refused(Option<CredentialError>, String),
}

/// Serves one kind of host: `execute-api` or `lambda-url`.
#[async_trait]
pub trait Front: Send + Sync {
    /// Most bytes of a request body; beyond it the gateway answers 413 without reading on.
    fn body_bytes_max(&self) -> usize;

    /// Answers a request to the API or URL with that id.
    async fn serve(&self, id: &str, region: &str, request: HttpRequest) -> Reply;
}
