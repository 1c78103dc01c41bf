//! Who asks: the signature is parsed, its key looked up, its scope and itself verified.

use crate::server::Gateway;
use bytes::Bytes;
use squall_protocol::Head;
use squall_protocol::sigv4::{self, Error, Payload, RequestHead};
use squall_service::{CredentialError, Principal};
use squall_types::Region;

/// What authentication found.
pub struct Found {
    /// Who asks; [`Principal::Anonymous`] without a signature.
    pub principal: Principal,
    /// Region of the scope; the default one without a signature.
    pub region: Region,
    /// There was a valid signature (or, with `--dev`, any).
    pub signed: bool,
}

/// Why a signature is refused.
pub struct Refusal {
    /// The signature's fault.
    pub error: Error,
    /// Set when the key rather than the signature is at fault.
    pub cause: Option<CredentialError>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let cause = match error {
            Error::UnknownKey(_) => Some(CredentialError::Unknown),
            Error::ExpiredToken => Some(CredentialError::Expired),
            _ => None,
        };
        Self { error, cause }
    }
}

/// The service of the credential scope, read without checking anything: it tells where the request wants to go.
#[must_use]
pub fn scope_service(head: &Head) -> Option<&str> {
    let after = |text: &'_ str, mark: &str| text.find(mark).map(|at| at + mark.len());
    let scope = match head.header("authorization") {
        Some(auth) => {
            // What every SDK sends; others may have their parts in another order.
            let rest = match auth.strip_prefix("AWS4-HMAC-SHA256 Credential=") {
                Some(rest) => rest,
                None => &auth[after(auth, "Credential=")?..],
            };
            rest.split([',', ' ']).next()?.split('/').nth(3)?
        }
        None => {
            let rest = &head.query[after(&head.query, "X-Amz-Credential=")?..];
            let value = rest.split('&').next()?;
            // Presigned URLs carry the slashes encoded.
            if value.contains('/') { value.split('/').nth(3)? } else { value.split("%2F").nth(3)? }
        }
    };
    Some(scope)
}

/// Authenticates a request whose body has been read.
///
/// # Errors
/// Any fault of a signature that is there. No signature at all is no error here.
pub async fn authenticate(g: &Gateway, head: &Head, body: &Bytes) -> Result<Found, Refusal> {
    let checked = check(g, head, body).await;
    match checked {
        // `--dev` takes whatever comes as root, but a good signature still counts, so that functions keep their own roles.
        Err(_) if g.options.dev => Ok(root(g, head)),
        Ok(found) if g.options.dev && !found.signed => Ok(root(g, head)),
        checked => checked,
    }
}

async fn check(g: &Gateway, head: &Head, body: &Bytes) -> Result<Found, Refusal> {
    let signed_head = RequestHead::from(head);
    let Some(parsed) = sigv4::parse(&signed_head)? else { return Ok(anonymous(g)) };
    let credential = g.parts.identity.credential(&parsed.access_key, parsed.session_token.as_deref()).await;
    let credential = credential.map_err(|e| match e {
        CredentialError::Unknown => Error::UnknownKey(parsed.access_key.to_string()),
        CredentialError::Expired => Error::ExpiredToken,
    })?;
    let hash = match parsed.payload {
        Payload::Body | Payload::Hash(_) => Some(sigv4::sha256_hex(body)),
        Payload::Unsigned | Payload::Chunked(_) => None,
    };
    sigv4::verify(&parsed, &signed_head, &credential.secret, hash.as_deref(), g.parts.clock.now())?;
    let Some(region) = g.options.regions.iter().find(|r| r.as_str() == parsed.region).cloned() else {
        let regions: Vec<&str> = g.options.regions.iter().map(Region::as_str).collect();
        parsed.check_scope(&parsed.service, &regions)?;
        return Ok(Found { principal: credential.principal, region: default_region(g), signed: true });
    };
    Ok(Found { principal: credential.principal, region, signed: true })
}

fn default_region(g: &Gateway) -> Region {
    g.options.regions[0].clone()
}

fn anonymous(g: &Gateway) -> Found {
    Found { principal: Principal::Anonymous, region: default_region(g), signed: false }
}

/// Root of `--dev`, in the region that the signature names if it is an enabled one.
fn root(g: &Gateway, head: &Head) -> Found {
    let parsed = sigv4::parse(&RequestHead::from(head)).ok().flatten();
    let named = parsed.and_then(|p| g.options.regions.iter().find(|r| r.as_str() == p.region).cloned());
    let principal = Principal::Root { account: g.options.account.to_string() };
    Found { principal, region: named.unwrap_or_else(|| default_region(g)), signed: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scope_tells_the_service() {
        let head = |auth: Option<&str>, query: &str| Head {
            headers: auth.map(|a| ("authorization", a)).into_iter().collect(),
            query: query.to_owned(),
            ..Head::default()
        };
        let cases = [
            (
                head(
                    Some("AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/iam/aws4_request, SignedHeaders=host"),
                    "",
                ),
                Some("iam"),
            ),
            (head(None, "X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Fs3%2Faws4_request&x=1"), Some("s3")),
            (head(Some("Bearer x"), ""), None),
            (head(None, ""), None),
            (head(Some("AWS4-HMAC-SHA256 Credential=AK"), ""), None),
        ];
        for (head, expected) in cases {
            assert_eq!(scope_service(&head), expected);
        }
    }
}
