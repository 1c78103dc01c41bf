//! The words of a refusal: each family of services has its own codes, statuses and texts.

use super::Error;

/// A family of services that refuse signatures in the same words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `application/x-amz-json` and CBOR: DynamoDB, Kinesis, logs, … Everything is 400.
    Json,
    /// REST with JSON: Lambda, API Gateway. 403.
    RestJson,
    /// The query protocol: IAM, STS, SNS, CloudFormation, … 403.
    Query,
    /// S3.
    S3,
}

/// One refusal on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Error code.
    pub code: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Message for the caller.
    pub message: String,
    /// Further elements of S3's error document, in order; empty for other families.
    pub details: Vec<(&'static str, String)>,
}

const NO_MATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
     Access Key and signing method. Consult the service documentation for details.";
const NO_MATCH_S3: &str = "The request signature we calculated does not match the signature you provided. Check your key and \
     signing method.";

impl Error {
    /// The refusal in the words of a family.
    #[must_use]
    pub fn answer(&self, family: Family) -> Answer {
        let (code, status) = self.code_for(family);
        if family == Family::S3 {
            return Answer { code, status, message: self.s3_message(), details: self.s3_details() };
        }
        let message = match self {
            Self::MissingAuthenticationToken if family != Family::RestJson => {
                "Request is missing Authentication Token".into()
            }
            Self::Mismatch(_) => NO_MATCH.into(),
            Self::UnsupportedAlgorithm(found) => format!(
                "AWS query-string parameters or Authorization header must use 'AWS4-HMAC-SHA256', not '{found}'."
            ),
            other => other.to_string(),
        };
        Answer { code, status, message, details: Vec::new() }
    }

    /// Code and status of the refusal in a family.
    #[must_use]
    pub fn code_for(&self, family: Family) -> (&'static str, u16) {
        // The order of each triple: JSON families, query, S3 with its status.
        let (json, query, s3, s3_status) = match self {
            Self::MissingAuthenticationToken => {
                ("MissingAuthenticationTokenException", "MissingAuthenticationToken", "AccessDenied", 403)
            }
            Self::IncompleteSignature(_) => {
                ("IncompleteSignatureException", "IncompleteSignature", "AuthorizationHeaderMalformed", 400)
            }
            Self::QueryParameters(_) => {
                ("IncompleteSignatureException", "IncompleteSignature", "AuthorizationQueryParametersError", 400)
            }
            Self::TwoMechanisms => ("IncompleteSignatureException", "IncompleteSignature", "InvalidArgument", 400),
            Self::UnsupportedAlgorithm(_) => {
                ("IncompleteSignatureException", "IncompleteSignature", "InvalidRequest", 400)
            }
            Self::Mismatch(_) => ("InvalidSignatureException", "SignatureDoesNotMatch", "SignatureDoesNotMatch", 403),
            Self::Expired { presigned: true, .. } | Self::NotYetCurrent { presigned: true, .. } => {
                ("InvalidSignatureException", "SignatureDoesNotMatch", "AccessDenied", 403)
            }
            Self::Expired { .. } | Self::NotYetCurrent { .. } => {
                ("InvalidSignatureException", "SignatureDoesNotMatch", "RequestTimeTooSkewed", 403)
            }
            Self::WrongRegion { presigned: true, .. } | Self::WrongService { presigned: true, .. } => {
                ("InvalidSignatureException", "SignatureDoesNotMatch", "AuthorizationQueryParametersError", 400)
            }
            Self::WrongRegion { .. } | Self::WrongService { .. } | Self::Scope(_) => {
                ("InvalidSignatureException", "SignatureDoesNotMatch", "AuthorizationHeaderMalformed", 400)
            }
            Self::HeadersNotSigned(_) => ("InvalidSignatureException", "SignatureDoesNotMatch", "AccessDenied", 403),
            Self::MissingContentHash => ("InvalidSignatureException", "SignatureDoesNotMatch", "InvalidRequest", 400),
            Self::InvalidContentHash(_) => {
                ("InvalidSignatureException", "SignatureDoesNotMatch", "InvalidArgument", 400)
            }
            Self::ContentHashMismatch { .. } => {
                ("InvalidSignatureException", "SignatureDoesNotMatch", "XAmzContentSHA256Mismatch", 400)
            }
            Self::UnknownKey(_) => ("UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId", 403),
            Self::ExpiredToken => ("ExpiredTokenException", "ExpiredToken", "ExpiredToken", 400),
            Self::IncompleteBody => ("SerializationException", "MalformedInput", "IncompleteBody", 400),
            Self::MalformedChunk => ("SerializationException", "MalformedInput", "InvalidRequest", 400),
            Self::ChunkTooSmall { .. } => ("SerializationException", "MalformedInput", "InvalidChunkSizeError", 403),
            Self::MalformedTrailer => ("SerializationException", "MalformedInput", "MalformedTrailerError", 400),
        };
        let is_body = matches!(json, "SerializationException");
        match family {
            Family::Json => (json, 400),
            Family::RestJson => (json, if is_body { 400 } else { 403 }),
            Family::Query => (query, if is_body || query == "IncompleteSignature" { 400 } else { 403 }),
            Family::S3 => (s3, s3_status),
        }
    }

    fn s3_message(&self) -> String {
        match self {
            Self::MissingAuthenticationToken => "Access Denied".into(),
            Self::IncompleteSignature(_) => "The authorization header is malformed; the authorization header requires \
                 three components: Credential, SignedHeaders, and Signature."
                .into(),
            Self::TwoMechanisms => {
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature \
                 query string parameter or the Authorization header should be specified"
                    .into()
            }
            Self::UnsupportedAlgorithm(_) => {
                "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.".into()
            }
            Self::Mismatch(_) => NO_MATCH_S3.into(),
            Self::Expired { presigned: true, .. } => "Request has expired".into(),
            Self::NotYetCurrent { presigned: true, .. } => "Request is not yet valid".into(),
            Self::Expired { .. } | Self::NotYetCurrent { .. } => {
                "The difference between the request time and the current time is too large.".into()
            }
            Self::WrongRegion { found, expected, presigned } => {
                format!("{}; the region '{found}' is wrong; expecting '{expected}'", malformed(*presigned))
            }
            Self::WrongService { found, expected, presigned } => format!(
                "{}; incorrect service \"{found}\". This endpoint belongs to \"{expected}\".",
                malformed(*presigned)
            ),
            Self::Scope(text) => format!("The authorization header is malformed; {text}"),
            Self::InvalidContentHash(_) => "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, \
                 STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, \
                 STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value."
                .into(),
            Self::UnknownKey(_) => "The AWS Access Key Id you provided does not exist in our records.".into(),
            Self::ExpiredToken => "The provided token has expired.".into(),
            Self::IncompleteBody => "The request body terminated unexpectedly".into(),
            Self::MalformedChunk => "The chunked body does not follow the aws-chunked encoding.".into(),
            Self::ChunkTooSmall { .. } => "Only the last chunk is allowed to have a size less than 8192 bytes".into(),
            Self::MalformedTrailer => {
                "The request contained trailing data that was not well-formed or did not conform to our published \
                 schema."
                    .into()
            }
            other => other.to_string(),
        }
    }
}

fn malformed(presigned: bool) -> &'static str {
    if presigned { "Error parsing the X-Amz-Credential parameter" } else { "The authorization header is malformed" }
}
