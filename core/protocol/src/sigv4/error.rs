//! Why a request's signature is refused.

use super::date::{basic, extended};

/// A refused signature. Variants carry facts; [`Error::answer`](super::Error::answer) finds the words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No signature where one is needed.
    #[error("Missing Authentication Token")]
    MissingAuthenticationToken,
    /// The header or the query lacks a part or has one that cannot be read.
    #[error("{0}")]
    IncompleteSignature(String),
    /// The query lacks a part or has one that cannot be read; S3 has a code of its own for it.
    #[error("{0}")]
    QueryParameters(String),
    /// Both a signed header and a signed query.
    #[error("Only one auth mechanism allowed")]
    TwoMechanisms,
    /// A signature of another version.
    #[error("unsupported signature algorithm: {0}")]
    UnsupportedAlgorithm(String),
    /// The signature is another than the one we calculate.
    #[error("the signature does not match")]
    Mismatch(Box<Mismatch>),
    /// The signed time lies too far back; all in seconds since 1970, the window in seconds.
    #[error("{}", Self::expired_text(*.signed, *.now, *.window))]
    Expired {
        /// Time of the signature.
        signed: i64,
        /// Our time.
        now: i64,
        /// How long it was good for.
        window: i64,
        /// By the query rather than by the header.
        presigned: bool,
    },
    /// The signed time lies too far ahead.
    #[error("{}", Self::early_text(*.signed, *.now))]
    NotYetCurrent {
        /// Time of the signature.
        signed: i64,
        /// Our time.
        now: i64,
        /// By the query rather than by the header.
        presigned: bool,
    },
    /// The scope's region is not served.
    #[error("Credential should be scoped to a valid region, not '{found}'. ")]
    WrongRegion {
        /// The scope's region.
        found: String,
        /// One that is served.
        expected: String,
        /// By the query rather than by the header.
        presigned: bool,
    },
    /// The scope names another service.
    #[error("Credential should be scoped to correct service: '{expected}'. ")]
    WrongService {
        /// The scope's service.
        found: String,
        /// The service that was called.
        expected: String,
        /// By the query rather than by the header.
        presigned: bool,
    },
    /// Another fault of the credential's scope.
    #[error("{0}")]
    Scope(String),
    /// S3: headers that must be signed are not.
    #[error("There were headers present in the request which were not signed")]
    HeadersNotSigned(Vec<String>),
    /// S3: no `x-amz-content-sha256`.
    #[error("Missing required header for this request: x-amz-content-sha256")]
    MissingContentHash,
    /// S3: `x-amz-content-sha256` is neither a hash nor a known word.
    #[error("invalid x-amz-content-sha256: {0}")]
    InvalidContentHash(String),
    /// S3: the body has another hash than declared.
    #[error("The provided 'x-amz-content-sha256' header does not match what was computed.")]
    ContentHashMismatch {
        /// The declared hash.
        declared: String,
        /// The body's.
        computed: String,
    },
    /// The access key is not known, or its token does not belong to it.
    #[error("The security token included in the request is invalid.")]
    UnknownKey(String),
    /// The session is over.
    #[error("The security token included in the request is expired")]
    ExpiredToken,
    /// A chunked body that breaks off or has more than it declared.
    #[error("incomplete chunked body")]
    IncompleteBody,
    /// A chunked body that does not follow the format.
    #[error("malformed chunked body")]
    MalformedChunk,
    /// A chunk that is not the last and has less than 8 KiB.
    #[error("chunk {chunk} has {size} bytes")]
    ChunkTooSmall {
        /// Number of the chunk, from 1.
        chunk: u64,
        /// Its bytes.
        size: u64,
    },
    /// The trailer is not the one that was announced.
    #[error("malformed trailer")]
    MalformedTrailer,
}

/// What both sides signed, for S3's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Access key.
    pub access_key: String,
    /// The signature as sent.
    pub provided: String,
    /// Our string to sign.
    pub string_to_sign: String,
    /// Our canonical request; none for chunks.
    pub canonical_request: Option<String>,
}

impl Error {
    fn expired_text(signed: i64, now: i64, window: i64) -> String {
        let (signed, edge, minutes) = (basic(signed), basic(now.saturating_sub(window)), window / 60);
        format!("Signature expired: {signed} is now earlier than {edge} ({} - {minutes} min.)", basic(now))
    }

    fn early_text(signed: i64, now: i64) -> String {
        let edge = basic(now.saturating_add(super::SKEW_SECS_MAX));
        let (signed, now) = (basic(signed), basic(now));
        format!("Signature not yet current: {signed} is still later than {edge} ({now} + 15 min.)")
    }

    /// The extra elements of S3's error document, in order.
    pub(super) fn s3_details(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Mismatch(m) => {
                let bytes = |text: &str| text.bytes().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
                let mut details = vec![
                    ("AWSAccessKeyId", m.access_key.clone()),
                    ("StringToSign", m.string_to_sign.clone()),
                    ("SignatureProvided", m.provided.clone()),
                    ("StringToSignBytes", bytes(&m.string_to_sign)),
                ];
                if let Some(canonical) = &m.canonical_request {
                    details.push(("CanonicalRequest", canonical.clone()));
                    details.push(("CanonicalRequestBytes", bytes(canonical)));
                }
                details
            }
            Self::Expired { signed, now, window, presigned: true } => vec![
                ("X-Amz-Expires", window.to_string()),
                ("Expires", extended(signed.saturating_add(*window))),
                ("ServerTime", extended(*now)),
            ],
            Self::NotYetCurrent { signed, now, presigned: true } => {
                vec![("RequestTime", extended(*signed)), ("ServerTime", extended(*now))]
            }
            Self::Expired { signed, now, .. } | Self::NotYetCurrent { signed, now, .. } => vec![
                ("RequestTime", basic(*signed)),
                ("ServerTime", extended(*now)),
                ("MaxAllowedSkewMilliseconds", (super::SKEW_SECS_MAX * 1000).to_string()),
            ],
            Self::WrongRegion { expected, .. } => vec![("Region", expected.clone())],
            Self::HeadersNotSigned(names) => vec![("HeadersNotSigned", names.join(", "))],
            Self::ContentHashMismatch { declared, computed } => {
                vec![("ClientComputedContentSHA256", declared.clone()), ("S3ComputedContentSHA256", computed.clone())]
            }
            Self::InvalidContentHash(value) => {
                vec![("ArgumentName", "x-amz-content-sha256".into()), ("ArgumentValue", value.clone())]
            }
            Self::UnknownKey(access_key) => vec![("AWSAccessKeyId", access_key.clone())],
            Self::ChunkTooSmall { chunk, size } => {
                vec![("Chunk", chunk.to_string()), ("BadChunkSize", size.to_string())]
            }
            _ => Vec::new(),
        }
    }
}
