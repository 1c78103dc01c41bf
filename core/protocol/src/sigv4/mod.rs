//! Signature Version 4, one verifier for all services: header and query signatures, chunked uploads, and a signer.
//!
//! The way of a request: [`parse`] reads the signature's parts (or finds none), the caller looks up the access key's secret,
//! [`Parsed::check_scope`] compares region and service, [`verify`] recomputes the signature. Refusals are one [`Error`];
//! [`Error::answer`] gives each family of services its own code, status and words.
//!
//! What is signed of the body: every service but S3 signs the hash of the whole body, which the caller passes in. S3 declares it
//! in `x-amz-content-sha256` ([`Payload`]): a hash, nothing, or a chunked stream that [`ChunkDecoder`] checks while it flows.
//!
//! Not here: Signature Version 2 and the asymmetric version 4a (both refused), POST form policies of S3.

mod answer;
mod canonical;
mod chunked;
mod date;
mod error;
mod key;
mod parse;
mod sign;
mod verify;

pub use answer::{Answer, Family};
pub use canonical::{sha256_hex, uri_encode};
pub use chunked::{ChunkDecoder, ChunkSigner};
pub use error::{Error, Mismatch};
pub use key::SigningKeys;
pub use parse::{Chunked, Parsed, Payload, has_signature, parse};
pub use sign::{Credentials, Scope, presign, sign, sign_with};
pub use verify::{chunk_decoder, chunk_decoder_with, verify, verify_with};

use crate::http::Head;

/// The SHA-256 of nothing.
pub const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// How far a request's clock may be from ours, in seconds.
pub const SKEW_SECS_MAX: i64 = 900;
/// The longest life of a presigned URL, in seconds: a week.
pub const PRESIGN_SECS_MAX: i64 = 604_800;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";

/// What a signature covers of a request.
#[derive(Clone, Debug)]
pub struct RequestHead<'a> {
    /// Upper-case method.
    pub method: &'a str,
    /// Path as sent, still percent-encoded.
    pub path: &'a str,
    /// Query as sent, without `?`.
    pub query: &'a str,
    /// Headers in order, names in lower case. HTTP/2's `:authority` stands here as `host`.
    pub headers: Vec<(&'a str, &'a str)>,
}

impl<'a> RequestHead<'a> {
    /// The first header of that lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| *value)
    }
}

impl<'a> From<&'a Head> for RequestHead<'a> {
    fn from(head: &'a Head) -> Self {
        let mut headers = Vec::with_capacity(head.headers.len());
        headers.extend(head.headers.iter());
        Self { method: &head.method, path: &head.path, query: &head.query, headers }
    }
}

/// Whether the service signs as S3 does: path encoded once and not normalised, payload declared in a header.
fn is_s3(service: &str) -> bool {
    matches!(service, "s3" | "s3express" | "s3-object-lambda" | "s3-outposts")
}

#[cfg(test)]
mod tests;
