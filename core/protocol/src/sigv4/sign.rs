//! Signing requests, for this cloud's own clients and for tests.

use squall_types::Millis;

use super::canonical::{Canonical, hex, string_to_sign, uri_encode};
use super::key::{SigningKey, SigningKeys};
use super::parse::UNSIGNED;
use super::{ALGORITHM, EMPTY_SHA256, RequestHead, TERMINATOR, date, is_s3};

/// What to sign with.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// Access key id.
    pub access_key: &'a str,
    /// Secret access key.
    pub secret: &'a str,
    /// Session token of temporary credentials.
    pub session_token: Option<&'a str>,
}

impl std::fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// What to sign for.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Region.
    pub region: &'a str,
    /// Service as in scopes: `dynamodb`, `lambda`, `execute-api`.
    pub service: &'a str,
    /// Time of the signature.
    pub now: Millis,
}

/// Headers that proxies and HTTP clients change on the way.
const UNSIGNABLE: [&str; 6] =
    ["authorization", "connection", "expect", "transfer-encoding", "user-agent", "x-amzn-trace-id"];

/// Signs a request: the headers to add to those of `head`, which must have `host`.
///
/// `payload` is the body's hash in hex, or for S3 any word of `x-amz-content-sha256`.
#[must_use]
pub fn sign(
    head: &RequestHead<'_>,
    payload: &str,
    credentials: &Credentials<'_>,
    scope: &Scope<'_>,
) -> Vec<(&'static str, String)> {
    sign_by(head, payload, credentials, scope, None)
}

/// [`sign`] with kept keys, for clients that sign many requests.
#[must_use]
pub fn sign_with(
    head: &RequestHead<'_>,
    payload: &str,
    credentials: &Credentials<'_>,
    scope: &Scope<'_>,
    keys: &SigningKeys,
) -> Vec<(&'static str, String)> {
    sign_by(head, payload, credentials, scope, Some(keys))
}

fn sign_by(
    head: &RequestHead<'_>,
    payload: &str,
    credentials: &Credentials<'_>,
    scope: &Scope<'_>,
    keys: Option<&SigningKeys>,
) -> Vec<(&'static str, String)> {
    let amz_date = date::basic(scope.now.secs());
    let mut added: Vec<(&'static str, String)> = vec![("x-amz-date", amz_date.clone())];
    if let Some(token) = credentials.session_token {
        added.push(("x-amz-security-token", token.to_owned()));
    }
    if is_s3(scope.service) {
        added.push(("x-amz-content-sha256", payload.to_owned()));
    }
    let mut whole = head.clone();
    whole.headers.retain(|(name, _)| added.iter().all(|(new, _)| new != name));
    whole.headers.extend(added.iter().map(|(name, value)| (*name, value.as_str())));
    let names = signable(&whole).join(";");
    let canonical = Canonical { service: scope.service, signed_headers: &names, payload, presigned: false };
    let signature = signature(&canonical, &whole, &amz_date, credentials, scope, keys);
    let credential = credential(&amz_date, credentials, scope);
    added.push((
        "authorization",
        format!("{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"),
    ));
    added
}

/// Presigns a request: the query to send in place of `head.query`. Only `host` and `x-amz-…` headers are signed.
#[must_use]
pub fn presign(head: &RequestHead<'_>, credentials: &Credentials<'_>, scope: &Scope<'_>, expires_secs: u32) -> String {
    let amz_date = date::basic(scope.now.secs());
    let mut signed_headers = signable(head);
    signed_headers.retain(|name| name == "host" || name.starts_with("x-amz-"));
    let signed_headers = signed_headers.join(";");
    let mut query = String::from(head.query);
    let mut add = |name: &str, value: &str| {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        uri_encode(&mut query, value.as_bytes(), false);
    };
    add("X-Amz-Algorithm", ALGORITHM);
    add("X-Amz-Credential", &credential(&amz_date, credentials, scope));
    add("X-Amz-Date", &amz_date);
    add("X-Amz-Expires", &expires_secs.to_string());
    add("X-Amz-SignedHeaders", &signed_headers);
    if let Some(token) = credentials.session_token {
        add("X-Amz-Security-Token", token);
    }
    let payload = if is_s3(scope.service) { UNSIGNED } else { EMPTY_SHA256 };
    let whole = RequestHead { query: &query, ..head.clone() };
    let canonical = Canonical { service: scope.service, signed_headers: &signed_headers, payload, presigned: true };
    let signature = signature(&canonical, &whole, &amz_date, credentials, scope, None);
    query.push_str("&X-Amz-Signature=");
    query.push_str(&signature);
    query
}

fn signable(head: &RequestHead<'_>) -> Vec<String> {
    let names = head.headers.iter().map(|(name, _)| *name);
    let mut names: Vec<String> = names.filter(|name| !UNSIGNABLE.contains(name)).map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn day(amz_date: &str) -> &str {
    amz_date.get(..8).unwrap_or(amz_date)
}

fn credential(amz_date: &str, credentials: &Credentials<'_>, scope: &Scope<'_>) -> String {
    let (day, Scope { region, service, .. }) = (day(amz_date), scope);
    format!("{}/{day}/{region}/{service}/{TERMINATOR}", credentials.access_key)
}

fn signature(
    canonical: &Canonical<'_>,
    head: &RequestHead<'_>,
    amz_date: &str,
    credentials: &Credentials<'_>,
    scope: &Scope<'_>,
    keys: Option<&SigningKeys>,
) -> String {
    let day = day(amz_date);
    let to_sign = string_to_sign(amz_date, (day, scope.region, scope.service), &canonical.request(head));
    let key = match keys {
        Some(keys) => keys.key(credentials.access_key, credentials.secret, (day, scope.region, scope.service)),
        None => SigningKey::derive(credentials.secret, day, scope.region, scope.service),
    };
    hex(&key.sign(to_sign.as_bytes()))
}
