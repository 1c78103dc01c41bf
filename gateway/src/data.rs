//! Requests to deployed APIs and function URLs.

use crate::auth::{self, Refusal};
use crate::request::BodyError;
use crate::server::{Gateway, plain};
use bytes::Bytes;
use hyper::body::Incoming;
use squall_protocol::sigv4::{Family, RequestHead, has_signature};
use squall_protocol::{Head, Reply};
use squall_service::{Caller, Front, HttpRequest};
use std::net::IpAddr;

/// Which deployed endpoint.
pub struct Target<'a> {
    /// Serves it.
    pub front: &'a dyn Front,
    /// API or URL id.
    pub id: String,
    /// Region, or empty.
    pub region: String,
    /// Path below the root.
    pub path: String,
}

/// Serves one request.
pub async fn call(g: &Gateway, target: Target<'_>, head: Head, protocol: String, body: Incoming, ip: IpAddr) -> Reply {
    let body = match g.intake.read(body, &head, target.front.body_bytes_max()).await {
        Ok(body) => body,
        Err(BodyError::TooLarge) => return plain(413, "Request Too Long"),
        Err(BodyError::Broken) => return plain(400, "Bad Request"),
    };
    let caller = caller(g, &head, &body).await;
    let request = HttpRequest {
        host: head.header("host").unwrap_or_default().to_owned(),
        method: head.method,
        path: target.path,
        query: head.query,
        headers: head.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        body,
        protocol,
        source_ip: ip,
        time: g.parts.clock.now(),
        request_id: g.parts.random.uuid(),
        caller,
    };
    target.front.serve(&target.id, &target.region, request).await
}

/// An `Authorization` header that is no AWS signature (a bearer token, say) is the API's own affair.
async fn caller(g: &Gateway, head: &Head, body: &Bytes) -> Caller {
    if !has_signature(&RequestHead::from(head)) {
        return Caller::Anonymous;
    }
    match auth::authenticate(g, head, body).await {
        Ok(found) if found.signed => Caller::Signed(found.principal),
        Ok(_) => Caller::Anonymous,
        Err(Refusal { cause, error }) => Caller::Refused(cause, error.answer(Family::RestJson).message),
    }
}
