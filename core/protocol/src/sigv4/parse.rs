//! Finding and reading a request's signature, in the `Authorization` header or in the query.

use std::borrow::Cow;

use base64::Engine as _;
use sha2::{Digest, Sha256};

use super::canonical::{query_pairs, unhex};
use super::{ALGORITHM, Error, PRESIGN_SECS_MAX, RequestHead, SKEW_SECS_MAX, TERMINATOR, date, is_s3};

/// A signature's parts, read but not yet verified. Those of a header are borrowed from it, a query's are decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// Access key id.
    pub access_key: Cow<'a, str>,
    /// Day of the scope, `YYYYMMDD`.
    pub day: Cow<'a, str>,
    /// Region of the scope.
    pub region: Cow<'a, str>,
    /// Service of the scope.
    pub service: Cow<'a, str>,
    /// Names of the signed headers, lower case, in the order given, joined by semicolons.
    pub signed_headers: Cow<'a, str>,
    /// Signature as sent, 64 hex digits.
    pub signature: Cow<'a, str>,
    /// Time of the signature, `YYYYMMDDTHHMMSSZ`.
    pub amz_date: Cow<'a, str>,
    /// The same in seconds since 1970.
    pub signed_at: i64,
    /// Life in seconds of a presigned URL; none for a signed header.
    pub presigned_secs: Option<i64>,
    /// Session token, for temporary credentials.
    pub session_token: Option<Cow<'a, str>>,
    /// What is signed of the body.
    pub payload: Payload,
}

/// What a signature covers of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// The hash of the whole body, which the caller computes: every service but S3.
    Body,
    /// S3: this declared hash, hex in lower case. A caller that does not have the body yet compares when it has.
    Hash(String),
    /// S3: nothing.
    Unsigned,
    /// S3: a stream in aws-chunked encoding.
    Chunked(Chunked),
}

/// The kinds of aws-chunked bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunked {
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD`: each chunk signed.
    Signed,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER`: each chunk and the trailer signed.
    SignedTrailer,
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`: no signatures, a checksum in the trailer.
    UnsignedTrailer,
}

impl Chunked {
    /// The word of `x-amz-content-sha256`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signed => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            Self::SignedTrailer => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
            Self::UnsignedTrailer => "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        }
    }
}

pub(super) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// Whether a request carries a signature of any kind that [`parse`] would read or refuse: not for other schemes (`Bearer`).
#[must_use]
pub fn has_signature(head: &RequestHead<'_>) -> bool {
    let in_header = head.header("authorization").is_some_and(|value| value.trim_start().starts_with("AWS"));
    in_header || in_query(head.query)
}

fn in_query(query: &str) -> bool {
    query.contains("X-Amz-Algorithm=") || query.contains("X-Amz-Signature=")
}

/// Reads the signature of a request; none if it has none.
///
/// # Errors
/// [`Error::IncompleteSignature`], [`Error::QueryParameters`], [`Error::UnsupportedAlgorithm`], [`Error::TwoMechanisms`],
/// [`Error::Scope`], [`Error::MissingContentHash`], [`Error::InvalidContentHash`].
pub fn parse<'a>(head: &RequestHead<'a>) -> Result<Option<Parsed<'a>>, Error> {
    match (head.header("authorization"), in_query(head.query)) {
        // Version 2 signs by the query too; taking it for anonymous would hide why access is denied.
        (None, false) if head.query.contains("AWSAccessKeyId=") => Err(Error::UnsupportedAlgorithm("AWS".into())),
        (None, false) => Ok(None),
        (Some(_), true) => Err(Error::TwoMechanisms),
        (Some(value), false) => parse_header(head, value.trim()).map(Some),
        (None, true) => parse_query(head).map(Some),
    }
}

/// The header's value as AWS echoes it: hashed, so that nothing secret comes back.
fn echo(value: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(Sha256::digest(value))
}

fn parse_header<'a>(head: &RequestHead<'a>, value: &'a str) -> Result<Parsed<'a>, Error> {
    let (algorithm, rest) = value.split_once([' ', '\t']).unwrap_or((value, ""));
    if algorithm != ALGORITHM && (algorithm == "AWS" || algorithm.starts_with("AWS4-") || algorithm == "AWS3-HTTPS") {
        return Err(Error::UnsupportedAlgorithm(algorithm.to_owned()));
    }
    let rest = if algorithm == ALGORITHM { rest } else { "" };
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    let mut rest = rest;
    while !rest.is_empty() {
        // Bytes, not characters: this is the longest text of a head, and is read for every request.
        let end = rest.bytes().position(|b| matches!(b, b',' | b' ' | b'\t')).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        if part.is_empty() {
            continue;
        }
        match part.split_once('=') {
            Some(("Credential", text)) => credential = Some(text),
            Some(("SignedHeaders", text)) => signed_headers = Some(text),
            Some(("Signature", text)) => signature = Some(text),
            Some(_) => {}
            None => {
                return Err(Error::IncompleteSignature(format!(
                    "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded \
                     with Base64): '{}'.",
                    echo(value)
                )));
            }
        }
    }
    let date = head.header("x-amz-date").or_else(|| head.header("date"));
    let (Some(credential), Some(signed_headers), Some(signature), Some(date)) =
        (filled(credential), filled(signed_headers), filled(signature), date)
    else {
        let mut text = String::new();
        for (name, part) in [("Credential", credential), ("Signature", signature), ("SignedHeaders", signed_headers)] {
            if filled(part).is_none() {
                text.push_str(&format!("Authorization header requires '{name}' parameter. "));
            }
        }
        if date.is_none() {
            text.push_str("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ");
        }
        let echo = echo(value);
        text.push_str(&format!("(Hashed with SHA-256 and encoded with Base64) Authorization={echo}"));
        return Err(Error::IncompleteSignature(text));
    };
    let signed_at = date::parse_basic(date).or_else(|| date::parse_http(date)).ok_or_else(|| {
        Error::IncompleteSignature(format!(
            "Date must be in ISO-8601 'basic format'. Got '{date}'. See http://en.wikipedia.org/wiki/ISO_8601"
        ))
    })?;
    let session_token = head.header("x-amz-security-token").map(Cow::Borrowed);
    let raw = Raw { credential, signed_headers, signature, date, signed_at, presigned_secs: None, session_token };
    let mut parsed = raw.read(Error::IncompleteSignature)?;
    parsed.payload = header_payload(head, &parsed.service)?;
    Ok(parsed)
}

fn filled(part: Option<&str>) -> Option<&str> {
    part.filter(|text| !text.is_empty())
}

fn header_payload(head: &RequestHead<'_>, service: &str) -> Result<Payload, Error> {
    if !is_s3(service) {
        return Ok(Payload::Body);
    }
    let declared = head.header("x-amz-content-sha256").ok_or(Error::MissingContentHash)?;
    s3_payload(declared)
}

fn s3_payload(declared: &str) -> Result<Payload, Error> {
    if declared == UNSIGNED {
        return Ok(Payload::Unsigned);
    }
    for kind in [Chunked::Signed, Chunked::SignedTrailer, Chunked::UnsignedTrailer] {
        if declared == kind.as_str() {
            return Ok(Payload::Chunked(kind));
        }
    }
    match unhex(declared) {
        Some(_) => Ok(Payload::Hash(declared.to_ascii_lowercase())),
        None => Err(Error::InvalidContentHash(declared.to_owned())),
    }
}

/// Parts as text, the same for header and query.
struct Raw<'a> {
    credential: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
    /// The time as sent, in whichever form.
    date: &'a str,
    signed_at: i64,
    presigned_secs: Option<i64>,
    session_token: Option<Cow<'a, str>>,
}

impl<'a> Raw<'a> {
    fn read(self, incomplete: impl Fn(String) -> Error) -> Result<Parsed<'a>, Error> {
        let credential = self.credential;
        // From the right: everything before the scope is the key id.
        let mut parts = credential.rsplitn(5, '/');
        let scope = (parts.next(), parts.next(), parts.next(), parts.next(), parts.next());
        let (Some(terminator), Some(service), Some(region), Some(day), Some(access_key)) = scope else {
            return Err(incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
                 '{credential}'"
            )));
        };
        if terminator != TERMINATOR {
            return Err(Error::Scope(format!(
                "Credential should be scoped with a valid terminator: 'aws4_request', not '{terminator}'. "
            )));
        }
        // Nearly all clients send the basic form: it is not printed again.
        let amz_date = match date::parse_basic(self.date) {
            Some(_) => Cow::Borrowed(self.date),
            None => Cow::Owned(date::basic(self.signed_at)),
        };
        if !amz_date.starts_with(day) || day.len() != 8 {
            return Err(Error::Scope(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{day}' != \
                 '{}', from '{amz_date}'.",
                amz_date.get(..8).unwrap_or_default()
            )));
        }
        let signed_headers = match self.signed_headers.bytes().any(|b| b.is_ascii_uppercase()) {
            true => Cow::Owned(self.signed_headers.to_ascii_lowercase()),
            false => Cow::Borrowed(self.signed_headers),
        };
        if !signed_headers.split(';').any(|name| name == "host") {
            return Err(Error::Scope(
                "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".into(),
            ));
        }
        Ok(Parsed {
            access_key: access_key.into(),
            day: day.into(),
            region: region.into(),
            service: service.into(),
            signed_headers,
            signature: self.signature.into(),
            amz_date,
            signed_at: self.signed_at,
            presigned_secs: self.presigned_secs,
            session_token: self.session_token,
            payload: Payload::Body,
        })
    }
}

/// The parts of a presigned query, decoded.
#[derive(Default)]
struct Query {
    algorithm: Option<String>,
    credential: Option<String>,
    signature: Option<String>,
    signed_headers: Option<String>,
    date: Option<String>,
    expires: Option<String>,
    token: Option<String>,
    content_sha256: Option<String>,
}

impl Query {
    fn read(query: &str) -> Self {
        let mut found = Self::default();
        for (name, value) in query_pairs(query) {
            let slot = match name.as_slice() {
                b"X-Amz-Algorithm" => &mut found.algorithm,
                b"X-Amz-Credential" => &mut found.credential,
                b"X-Amz-Signature" => &mut found.signature,
                b"X-Amz-SignedHeaders" => &mut found.signed_headers,
                b"X-Amz-Date" => &mut found.date,
                b"X-Amz-Expires" => &mut found.expires,
                b"X-Amz-Security-Token" => &mut found.token,
                b"X-Amz-Content-Sha256" => &mut found.content_sha256,
                _ => continue,
            };
            // The first counts; a second one is still part of what is signed.
            if slot.is_none() {
                *slot = Some(String::from_utf8_lossy(&value).into_owned());
            }
        }
        found
    }

    fn missing(&self, s3: bool) -> Error {
        if s3 {
            return Error::QueryParameters(
                "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, \
                 X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
                    .into(),
            );
        }
        let parts = [
            ("X-Amz-Algorithm", &self.algorithm),
            ("X-Amz-Credential", &self.credential),
            ("X-Amz-Signature", &self.signature),
            ("X-Amz-SignedHeaders", &self.signed_headers),
            ("X-Amz-Date", &self.date),
        ];
        let mut text = String::new();
        for (name, _) in parts.iter().filter(|(_, part)| part.is_none()) {
            text.push_str(&format!("AWS query-string parameters must include '{name}'. "));
        }
        text.push_str("Re-examine the query-string parameters.");
        Error::QueryParameters(text)
    }
}

fn parse_query(head: &RequestHead<'_>) -> Result<Parsed<'static>, Error> {
    let query = Query::read(head.query);
    // Without a credential nothing tells the service; other families' texts name what is missing, which helps in any case.
    let s3 = query.credential.as_deref().is_some_and(|text| text.rsplit('/').nth(1).is_some_and(is_s3));
    let (Some(algorithm), Some(credential), Some(signature), Some(signed_headers), Some(date)) =
        (&query.algorithm, &query.credential, &query.signature, &query.signed_headers, &query.date)
    else {
        return Err(query.missing(s3));
    };
    if algorithm != ALGORITHM {
        return Err(Error::UnsupportedAlgorithm(algorithm.clone()));
    }
    let signed_at = date::parse_basic(date).ok_or_else(|| {
        Error::QueryParameters(if s3 {
            "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"".into()
        } else {
            format!("Date must be in ISO-8601 'basic format'. Got '{date}'. See http://en.wikipedia.org/wiki/ISO_8601")
        })
    })?;
    let expires = match &query.expires {
        Some(text) => lifetime(text)?,
        None if s3 => return Err(query.missing(true)),
        None => SKEW_SECS_MAX,
    };
    let raw = Raw {
        credential,
        signed_headers,
        signature,
        date,
        signed_at,
        presigned_secs: Some(expires),
        session_token: query.token.as_deref().map(Cow::Borrowed),
    };
    let mut parsed = raw.read(Error::QueryParameters)?.into_owned();
    if is_s3(&parsed.service) {
        let signed_header = parsed.signed_headers.split(';').any(|name| name == "x-amz-content-sha256");
        let in_header = head.header("x-amz-content-sha256").filter(|_| signed_header);
        parsed.payload = match query.content_sha256.as_deref().or(in_header) {
            Some(declared) => s3_payload(declared)?,
            None => Payload::Unsigned,
        };
    }
    Ok(parsed)
}

fn lifetime(text: &str) -> Result<i64, Error> {
    let seconds: i64 = text.parse().map_err(|_| Error::QueryParameters("X-Amz-Expires should be a number".into()))?;
    if seconds < 0 {
        return Err(Error::QueryParameters("X-Amz-Expires must be non-negative".into()));
    }
    if seconds > PRESIGN_SECS_MAX {
        return Err(Error::QueryParameters(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 \
             seconds"
                .into(),
        ));
    }
    Ok(seconds)
}

impl Parsed<'_> {
    /// The same, borrowed from nothing.
    pub(super) fn into_owned(self) -> Parsed<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Parsed {
            access_key: owned(self.access_key),
            day: owned(self.day),
            region: owned(self.region),
            service: owned(self.service),
            signed_headers: owned(self.signed_headers),
            signature: owned(self.signature),
            amz_date: owned(self.amz_date),
            signed_at: self.signed_at,
            presigned_secs: self.presigned_secs,
            session_token: self.session_token.map(owned),
            payload: self.payload,
        }
    }

    /// Compares the scope with the service that was called and the regions that are served (the first is named in answers).
    ///
    /// # Errors
    /// [`Error::WrongService`], [`Error::WrongRegion`].
    pub fn check_scope(&self, service: &str, regions: &[&str]) -> Result<(), Error> {
        let presigned = self.presigned_secs.is_some();
        if self.service != service {
            return Err(Error::WrongService {
                found: self.service.to_string(),
                expected: service.to_owned(),
                presigned,
            });
        }
        if !regions.contains(&&*self.region) {
            let expected = regions.first().copied().unwrap_or_default().to_owned();
            return Err(Error::WrongRegion { found: self.region.to_string(), expected, presigned });
        }
        Ok(())
    }

    pub(super) fn scope(&self) -> (&str, &str, &str) {
        (&self.day, &self.region, &self.service)
    }
}
