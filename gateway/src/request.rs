//! From hyper's types to the wire layer's and back.

use crate::InternalReply;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::header::{HeaderName, HeaderValue};
use squall_protocol::{Head, Headers, Reply};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Body of every answer: there already, which needs no allocation of its own, or made while it is sent.
pub enum Body {
    /// The whole body.
    Whole(Full<Bytes>),
    /// Its pieces.
    Streamed(Streamed),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match self.get_mut() {
            Body::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Body::Streamed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(body) => body.is_end_stream(),
            Body::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(body) => body.size_hint(),
            Body::Streamed(body) => body.size_hint(),
        }
    }
}

/// Why a request's head cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// A header value is not text.
    Header,
}

/// Why a body cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// Longer than allowed.
    TooLarge,
    /// The caller went away or broke the protocol.
    Broken,
}

/// Copies the head. HTTP/2's `:authority` becomes a `host` header, because signatures cover it.
pub fn head(parts: &hyper::http::request::Parts) -> Result<Head, HeadError> {
    let bytes: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let mut headers = Headers::with_capacity(parts.headers.len() + 1, bytes);
    for (name, value) in &parts.headers {
        let value = std::str::from_utf8(value.as_bytes()).map_err(|_| HeadError::Header)?;
        headers.push(name.as_str(), value);
    }
    if let (Some(authority), false) = (parts.uri.authority(), parts.headers.contains_key("host")) {
        headers.push("host", authority.as_str());
    }
    Ok(Head {
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers,
    })
}

/// Memory for large bodies that are being read, shared by all connections: signatures are checked after the body is there, so
/// without a bound anybody could fill the memory.
#[derive(Debug)]
pub struct Intake(Semaphore);

/// KiB of large bodies at the same time.
const INTAKE_KIB: usize = 512 * 1024;
/// Bodies up to this size do not count: their number is bounded by the connections.
const SMALL_BYTES: usize = 256 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(120);

impl Default for Intake {
    fn default() -> Self {
        Self(Semaphore::new(INTAKE_KIB))
    }
}

impl Intake {
    /// Reads a body of at most `bytes_max`. A declared length beyond it is refused before anything is read; large bodies wait
    /// until there is room for them.
    pub async fn read(&self, body: Incoming, head: &Head, bytes_max: usize) -> Result<Bytes, BodyError> {
        let declared = head.header("content-length").and_then(|l| l.parse::<usize>().ok());
        if declared.is_some_and(|l| l > bytes_max) {
            return Err(BodyError::TooLarge);
        }
        let expected = declared.unwrap_or(if body.is_end_stream() { 0 } else { bytes_max });
        let _room = match expected {
            n if n <= SMALL_BYTES => None,
            n => {
                let kib = u32::try_from(n / 1024).unwrap_or(u32::MAX).min(INTAKE_KIB as u32);
                Some(self.0.acquire_many(kib).await.map_err(|_| BodyError::Broken)?)
            }
        };
        let mut body = body;
        let begun = match std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx))).await {
            // Mostly the whole body came together with the head: nothing to wait for, nothing to put together.
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) if data.len() <= bytes_max && body.is_end_stream() => return Ok(data),
                Ok(data) => data,
                Err(_) => Bytes::new(),
            },
            Poll::Ready(Some(Err(_))) => return Err(BodyError::Broken),
            Poll::Ready(None) => return Ok(Bytes::new()),
            Poll::Pending => Bytes::new(),
        };
        let left = bytes_max.checked_sub(begun.len()).ok_or(BodyError::TooLarge)?;
        let rest = match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, left).collect()).await {
            Ok(Ok(rest)) => rest,
            Ok(Err(e)) if e.is::<LengthLimitError>() => return Err(BodyError::TooLarge),
            Ok(Err(_)) | Err(_) => return Err(BodyError::Broken),
        };
        if begun.is_empty() {
            return Ok(rest.to_bytes());
        }
        let rest = rest.aggregate();
        let mut whole = BytesMut::with_capacity(begun.len() + rest.remaining());
        whole.extend_from_slice(&begun);
        whole.put(rest);
        Ok(whole.freeze())
    }
}

/// A whole answer.
pub fn response(reply: Reply) -> hyper::Response<Body> {
    let mut out = hyper::Response::new(whole(reply.body));
    *out.status_mut() = hyper::StatusCode::from_u16(reply.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    out.headers_mut().reserve(reply.headers.len() + 2);
    for (name, value) in reply.headers {
        match (header_name(&name), HeaderValue::try_from(value)) {
            (Ok(n), Ok(v)) => {
                out.headers_mut().append(n, v);
            }
            // A function may answer any header; one that HTTP cannot carry is left out, the answer still goes.
            _ => tracing::debug!(name, "answer header dropped: not valid in HTTP"),
        }
    }
    out
}

/// A header's name; those of every answer are not read again each time.
fn header_name(name: &str) -> Result<HeaderName, hyper::header::InvalidHeaderName> {
    Ok(match name {
        "x-amzn-RequestId" => HeaderName::from_static("x-amzn-requestid"),
        "x-amz-crc32" => HeaderName::from_static("x-amz-crc32"),
        "Content-Type" | "content-type" => hyper::header::CONTENT_TYPE,
        other => HeaderName::try_from(other)?,
    })
}

/// An internal page's answer.
pub fn internal(reply: InternalReply) -> hyper::Response<Body> {
    let body = match reply.stream {
        None => whole(reply.body),
        Some(stream) => Body::Streamed(Streamed(stream)),
    };
    let mut out = hyper::Response::new(body);
    *out.status_mut() = hyper::StatusCode::from_u16(reply.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    out.headers_mut().insert("content-type", HeaderValue::from_static(reply.content_type));
    out
}

fn whole(body: Bytes) -> Body {
    Body::Whole(Full::new(body))
}

/// A body's pieces as somebody makes them.
pub struct Streamed(tokio::sync::mpsc::Receiver<std::io::Result<Bytes>>);

impl hyper::body::Body for Streamed {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(cx).map(|next| next.map(|chunk| chunk.map(Frame::data)))
    }
}
