//! Recomputing a signature and comparing it.

use std::sync::LazyLock;

use squall_types::Millis;

use super::canonical::{Canonical, equal, string_to_sign, unhex};
use super::error::Mismatch;
use super::parse::UNSIGNED;
use super::{ChunkDecoder, EMPTY_SHA256, Error, Parsed, Payload, RequestHead, SKEW_SECS_MAX, SigningKeys, is_s3};

/// Keys of this process; 1,024 places hold every key, region and service of a busy hour.
static KEYS: LazyLock<SigningKeys> = LazyLock::new(|| SigningKeys::new(1024));

/// Checks a signature against the secret of its access key.
///
/// `body_hash` is the lower-case hex SHA-256 of the body. S3 requests may be verified before the body is read: then it is
/// none, and a caller with [`Payload::Hash`] compares when the body is there. Elsewhere none stands for an empty body.
///
/// # Errors
/// [`Error::Expired`], [`Error::NotYetCurrent`], [`Error::HeadersNotSigned`], [`Error::ContentHashMismatch`],
/// [`Error::Mismatch`].
pub fn verify(
    parsed: &Parsed<'_>,
    head: &RequestHead<'_>,
    secret: &str,
    body_hash: Option<&str>,
    now: Millis,
) -> Result<(), Error> {
    verify_with(&KEYS, parsed, head, secret, body_hash, now)
}

/// [`verify`] with a key cache of the caller's.
///
/// # Errors
/// As [`verify`].
pub fn verify_with(
    keys: &SigningKeys,
    parsed: &Parsed<'_>,
    head: &RequestHead<'_>,
    secret: &str,
    body_hash: Option<&str>,
    now: Millis,
) -> Result<(), Error> {
    check_time(parsed, now)?;
    if is_s3(&parsed.service) {
        check_signed_headers(parsed, head)?;
    }
    let payload = match &parsed.payload {
        Payload::Body => body_hash.unwrap_or(EMPTY_SHA256),
        Payload::Hash(declared) => {
            if let Some(computed) = body_hash.filter(|computed| computed != declared) {
                let (declared, computed) = (declared.clone(), computed.to_owned());
                return Err(Error::ContentHashMismatch { declared, computed });
            }
            declared
        }
        Payload::Unsigned => UNSIGNED,
        Payload::Chunked(kind) => kind.as_str(),
    };
    let canonical = Canonical {
        service: &parsed.service,
        signed_headers: &parsed.signed_headers,
        payload,
        presigned: parsed.presigned_secs.is_some(),
    };
    let request = canonical.request(head);
    let to_sign = string_to_sign(&parsed.amz_date, parsed.scope(), &request);
    let calculated = keys.key(&parsed.access_key, secret, parsed.scope()).sign(to_sign.as_bytes());
    if unhex(&parsed.signature).is_some_and(|provided| equal(&provided, &calculated)) {
        return Ok(());
    }
    Err(Error::Mismatch(Box::new(Mismatch {
        access_key: parsed.access_key.to_string(),
        provided: parsed.signature.to_string(),
        string_to_sign: to_sign,
        canonical_request: Some(request),
    })))
}

fn check_time(parsed: &Parsed<'_>, now: Millis) -> Result<(), Error> {
    let (now, signed) = (now.secs(), parsed.signed_at);
    let presigned = parsed.presigned_secs.is_some();
    let window = parsed.presigned_secs.unwrap_or(SKEW_SECS_MAX);
    if signed < now - window {
        return Err(Error::Expired { signed, now, window, presigned });
    }
    if signed > now + SKEW_SECS_MAX {
        return Err(Error::NotYetCurrent { signed, now, presigned });
    }
    Ok(())
}

/// S3 wants every `x-amz-…` header signed, but for the payload's hash, which the signature holds in any case.
fn check_signed_headers(parsed: &Parsed<'_>, head: &RequestHead<'_>) -> Result<(), Error> {
    let unsigned = |name: &&str| {
        name.starts_with("x-amz-")
            && *name != "x-amz-content-sha256"
            && !parsed.signed_headers.split(';').any(|signed| signed == *name)
    };
    let mut names: Vec<String> =
        head.headers.iter().map(|(name, _)| *name).filter(unsigned).map(str::to_owned).collect();
    if names.is_empty() {
        return Ok(());
    }
    names.sort_unstable();
    names.dedup();
    Err(Error::HeadersNotSigned(names))
}

/// A decoder for the chunked body of a verified request; none if the body is not chunked.
///
/// `decoded_bytes` is `x-amz-decoded-content-length`.
#[must_use]
pub fn chunk_decoder(parsed: &Parsed<'_>, secret: &str, decoded_bytes: u64) -> Option<ChunkDecoder> {
    chunk_decoder_with(&KEYS, parsed, secret, decoded_bytes)
}

/// [`chunk_decoder`] with a key cache of the caller's.
#[must_use]
pub fn chunk_decoder_with(
    keys: &SigningKeys,
    parsed: &Parsed<'_>,
    secret: &str,
    decoded_bytes: u64,
) -> Option<ChunkDecoder> {
    let Payload::Chunked(kind) = parsed.payload else {
        return None;
    };
    let key = keys.key(&parsed.access_key, secret, parsed.scope());
    Some(ChunkDecoder::new(kind, key, parsed, decoded_bytes))
}
