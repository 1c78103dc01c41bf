//! Tests of the verifier: vectors made by other signers, AWS's documented examples, and refusals.

mod chunks;
mod noise;
mod refusals;

use serde::Deserialize;
use squall_types::Millis;

use super::key::SigningKey;
use super::*;

/// Signed requests in `vectors.json`: made with botocore and with the JavaScript SDK's signer from inputs of our own.
#[derive(Deserialize)]
struct Vectors {
    access_key: String,
    secret: String,
    region: String,
    now_ms: i64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    service: String,
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    /// One character a byte.
    body: String,
    token: Option<String>,
}

impl Case {
    fn head(&self) -> RequestHead<'_> {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        RequestHead { method: &self.method, path: &self.path, query: &self.query, headers }
    }

    fn body_hash(&self) -> String {
        let bytes: Vec<u8> = self.body.chars().filter_map(|c| u8::try_from(u32::from(c)).ok()).collect();
        sha256_hex(&bytes)
    }
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors.json")).expect("the vectors are JSON")
}

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const NOW: Millis = Millis(1_440_938_160_000); // 2015-08-30T12:36:00Z

fn credentials() -> Credentials<'static> {
    Credentials { access_key: "AKIDEXAMPLE", secret: SECRET, session_token: None }
}

fn scope(service: &'static str) -> Scope<'static> {
    Scope { region: "us-east-1", service, now: NOW }
}

/// A head together with the headers that signing adds.
fn signed<'a>(head: &RequestHead<'a>, added: &'a [(&'static str, String)]) -> RequestHead<'a> {
    let mut head = head.clone();
    head.headers.extend(added.iter().map(|(name, value)| (*name, value.as_str())));
    head
}

fn read<'a>(head: &RequestHead<'a>) -> Parsed<'a> {
    parse(head).expect("readable").expect("signed")
}

#[test]
fn requests_of_other_signers_verify() {
    let vectors = vectors();
    assert!(vectors.cases.len() >= 25);
    for case in &vectors.cases {
        let head = case.head();
        let parsed = read(&head);
        assert_eq!((&*parsed.access_key, &*parsed.region), (&*vectors.access_key, &*vectors.region), "{}", case.name);
        let token = parsed.session_token.as_deref();
        assert_eq!((&*parsed.service, token), (&*case.service, case.token.as_deref()), "{}", case.name);
        let hash = case.body_hash();
        // A chunked or unsigned body is not compared with its hash.
        let hash = (!matches!(parsed.payload, Payload::Chunked(_) | Payload::Unsigned)).then_some(hash.as_str());
        let check = |secret: &str| verify(&parsed, &head, secret, hash, Millis(vectors.now_ms));
        if let Err(error) = check(&vectors.secret) {
            panic!("{}: {error:?}", case.name);
        }
        assert!(matches!(check("another"), Err(Error::Mismatch(_))), "{}", case.name);
        assert_eq!(check(&vectors.secret), Ok(()), "a refusal leaves the cached key right: {}", case.name);
    }
}

#[test]
fn changed_requests_do_not_verify() {
    let vectors = vectors();
    let now = Millis(vectors.now_ms);
    for case in &vectors.cases {
        let head = case.head();
        let parsed = read(&head);
        let hash = case.body_hash();
        let hash = (!matches!(parsed.payload, Payload::Chunked(_) | Payload::Unsigned)).then_some(hash.as_str());
        let path = format!("{}x", head.path);
        let query = format!("{}&zz=1", head.query);
        let mut other_host = head.clone();
        other_host.headers.retain(|(name, _)| *name != "host");
        other_host.headers.push(("host", "evil.example"));
        let changed = [
            RequestHead { method: "PATCH", ..head.clone() },
            RequestHead { path: &path, ..head.clone() },
            RequestHead { query: &query, ..head.clone() },
            other_host,
        ];
        for changed in &changed {
            let result = verify(&parsed, changed, &vectors.secret, hash, now);
            assert!(matches!(result, Err(Error::Mismatch(_))), "{}: {changed:?}", case.name);
        }
        if let Some(hash) = hash {
            let other = sha256_hex(format!("{hash}!").as_bytes());
            assert!(verify(&parsed, &head, &vectors.secret, Some(&other), now).is_err(), "{}", case.name);
        }
        for (field, value) in [("region", "us-east-2"), ("service", "iot"), ("access_key", "AKIDOTHER")] {
            let mut other = parsed.clone();
            match field {
                "region" => other.region = value.into(),
                "service" => other.service = value.into(),
                _ => other.access_key = value.into(),
            }
            let accepted = verify(&other, &head, &vectors.secret, hash, now).is_ok();
            // The key id reaches the signature only through its secret (and, presigned, through the query).
            assert_eq!(accepted, field == "access_key", "{} {field}", case.name);
        }
    }
}

#[test]
fn the_documented_signing_key_is_derived() {
    let key = SigningKey::derive(SECRET, "20120215", "us-east-1", "iam");
    let documented = "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d";
    let documented = Credentials { access_key: documented, ..credentials() };
    // The derived key itself stays inside; the same key made from the documented bytes signs the same.
    let bytes = super::canonical::unhex(documented.access_key).expect("hex");
    let mut mac = <hmac::Hmac<sha2::Sha256> as hmac::Mac>::new_from_slice(&bytes).expect("any length");
    hmac::Mac::update(&mut mac, b"text");
    let want: [u8; 32] = hmac::Mac::finalize(mac).into_bytes().into();
    assert_eq!(key.sign(b"text"), want);
}

#[test]
fn the_plainest_request_of_aws_test_suite_verifies() {
    let authorization = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    let headers =
        vec![("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z"), ("authorization", authorization)];
    let head = RequestHead { method: "GET", path: "/", query: "", headers };
    assert_eq!(verify(&read(&head), &head, SECRET, None, NOW), Ok(()));
}

#[test]
fn what_we_sign_we_verify() {
    let body = sha256_hex(b"{}");
    let cases = [
        ("dynamodb", "/", "", body.as_str()),
        ("lambda", "/2015-03-31/functions/a%3Ab/x", "b=2&a=x%20y", body.as_str()),
        ("s3", "/b/a%20b//c", "list-type=2", body.as_str()),
        ("s3", "/b/k", "", "UNSIGNED-PAYLOAD"),
    ];
    for (service, path, query, payload) in cases {
        for token in [None, Some("token+/=")] {
            let headers = vec![("host", "127.0.0.1:4566"), ("x-amz-target", "X.Y"), ("user-agent", "a  b")];
            let head = RequestHead { method: "POST", path, query, headers };
            let credentials = Credentials { session_token: token, ..credentials() };
            let added = sign(&head, payload, &credentials, &scope(service));
            let head = signed(&head, &added);
            let parsed = read(&head);
            assert_eq!(parsed.session_token.as_deref(), token);
            assert_eq!(verify(&parsed, &head, SECRET, (service != "s3").then_some(&body), NOW), Ok(()), "{service}");
            assert_eq!(parsed.check_scope(service, &["us-east-1"]), Ok(()));

            let mut head = RequestHead { method: "GET", path, query, headers: vec![("host", "h")] };
            let query = presign(&head, &credentials, &scope(service), 60);
            head.query = &query;
            let parsed = read(&head);
            assert_eq!((parsed.presigned_secs, parsed.session_token.as_deref()), (Some(60), token));
            assert_eq!(verify(&parsed, &head, SECRET, None, NOW), Ok(()), "{service} {query}");
        }
    }
}

#[test]
fn spaces_and_commas_in_the_header_do_not_matter() {
    let head = RequestHead { method: "GET", path: "/", query: "", headers: vec![("host", "h")] };
    let added = sign(&head, EMPTY_SHA256, &credentials(), &scope("iam"));
    let base = signed(&head, &added);
    let value = base.header("authorization").expect("signed").to_owned();
    let variants =
        [value.replace(", ", ","), value.replace(", ", " ,  "), value.replace(", ", " "), format!("  {value},  ")];
    for variant in &variants {
        let mut head = base.clone();
        head.headers.retain(|(name, _)| *name != "authorization");
        head.headers.push(("authorization", variant));
        assert_eq!(verify(&read(&head), &head, SECRET, None, NOW), Ok(()), "{variant}");
    }
}

#[test]
fn anonymous_and_foreign_schemes_are_told_apart() {
    let plain = RequestHead { method: "GET", path: "/", query: "a=b", headers: vec![("host", "h")] };
    assert_eq!(parse(&plain), Ok(None));
    assert!(!has_signature(&plain));
    let mut bearer = plain.clone();
    bearer.headers.push(("authorization", "Bearer abc"));
    assert!(!has_signature(&bearer));
    assert!(matches!(parse(&bearer), Err(Error::IncompleteSignature(_))));
    assert!(has_signature(&RequestHead { query: "X-Amz-Signature=1", ..plain }));
}
