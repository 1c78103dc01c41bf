//! What is refused, with the code, status and words of each family.

use super::*;
use crate::sigv4::Family::{Json, Query, RestJson, S3};

fn request<'a>(authorization: &'a str, date: &'a str, query: &'a str) -> RequestHead<'a> {
    let mut headers = vec![("host", "h")];
    if !authorization.is_empty() {
        headers.push(("authorization", authorization));
    }
    if !date.is_empty() {
        headers.push(("x-amz-date", date));
    }
    RequestHead { method: "GET", path: "/", query, headers }
}

fn refused(authorization: &str, date: &str, query: &str) -> Error {
    match parse(&request(authorization, date, query)) {
        Err(error) => error,
        Ok(parsed) => panic!("accepted: {authorization} {query}: {parsed:?}"),
    }
}

const DATE: &str = "20150830T123600Z";
const SIG: &str = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";

#[test]
fn malformed_headers_are_refused_in_words_of_aws() {
    let with = |credential: &str, headers: &str| {
        format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={headers}, Signature={SIG}")
    };
    let cases = [
        (
            with("AK/20150830/us-east-1/aws4_request", "host"),
            DATE,
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'AK/20150830/us-east-1/aws4_request'",
        ),
        (
            with("AK/20150830/us-east-1/iam/aws3", "host"),
            DATE,
            "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws3'. ",
        ),
        (
            with("AK/20150829/us-east-1/iam/aws4_request", "host"),
            DATE,
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20150829' != '20150830', from '20150830T123600Z'.",
        ),
        (
            with("AK/2015/us-east-1/iam/aws4_request", "host"),
            DATE,
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '2015' != '20150830', from '20150830T123600Z'.",
        ),
        (
            with("AK/20150830/us-east-1/iam/aws4_request", "x-amz-date"),
            DATE,
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        ),
        (
            with("AK/20150830/us-east-1/iam/aws4_request", "host"),
            "yesterday",
            "Date must be in ISO-8601 'basic format'. Got 'yesterday'. See http://en.wikipedia.org/wiki/ISO_8601",
        ),
    ];
    for (authorization, date, want) in cases {
        assert_eq!(refused(&authorization, date, "").to_string(), want);
    }
    let text = refused("AWS4-HMAC-SHA256 Credential=x", "", "").to_string();
    assert!(
        text.starts_with(
            "Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. \
             Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. (Hashed"
        ),
        "{text}"
    );
    let text = refused("secret-words", DATE, "").to_string();
    assert!(text.starts_with("Authorization header requires 'Credential' parameter."), "{text}");
    assert!(!text.contains("secret-words"), "the value is echoed hashed: {text}");
    let text = refused("AWS4-HMAC-SHA256 nonsense", DATE, "").to_string();
    assert!(text.starts_with("Invalid key=value pair (missing equal-sign) in Authorization header"), "{text}");
    for old in ["AWS AKID:signature", "AWS4-ECDSA-P256-SHA256 Credential=x", "AWS3-HTTPS x=y"] {
        assert!(matches!(refused(old, DATE, ""), Error::UnsupportedAlgorithm(_)), "{old}");
    }
    let version_2 = refused("", "", "AWSAccessKeyId=AK&Expires=1&Signature=x").answer(S3);
    assert_eq!((version_2.code, version_2.status), ("InvalidRequest", 400));
    assert_eq!(refused("AWS4-HMAC-SHA256 x=y", DATE, "X-Amz-Signature=1"), Error::TwoMechanisms);
}

#[test]
fn malformed_queries_are_refused_in_words_of_aws() {
    let query = |service: &str, change: (&str, &str)| {
        let credential = format!("AK%2F20150830%2Fus-east-1%2F{service}%2Faws4_request");
        let pairs = [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", &credential),
            ("X-Amz-Date", DATE),
            ("X-Amz-Expires", "60"),
            ("X-Amz-SignedHeaders", "host"),
            ("X-Amz-Signature", SIG),
        ];
        let changed = pairs.iter().map(|(name, value)| (*name, if *name == change.0 { change.1 } else { *value }));
        let kept = changed.filter(|(_, value)| !value.is_empty());
        kept.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    };
    let s3_missing = "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.";
    let cases = [
        ("s3", ("X-Amz-Signature", ""), s3_missing),
        ("s3", ("X-Amz-Expires", ""), s3_missing),
        (
            "sts",
            ("X-Amz-Signature", ""),
            "AWS query-string parameters must include 'X-Amz-Signature'. Re-examine the query-string parameters.",
        ),
        (
            "s3",
            ("X-Amz-Expires", "604801"),
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds",
        ),
        ("s3", ("X-Amz-Expires", "-1"), "X-Amz-Expires must be non-negative"),
        ("s3", ("X-Amz-Expires", "soon"), "X-Amz-Expires should be a number"),
        ("s3", ("X-Amz-Date", "2015"), "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""),
    ];
    for (service, change, want) in cases {
        let error = refused("", "", &query(service, change));
        assert_eq!(error.to_string(), want);
        assert_eq!(error.code_for(S3), ("AuthorizationQueryParametersError", 400));
    }
    assert!(matches!(refused("", "", &query("s3", ("X-Amz-Algorithm", "AWS4-X"))), Error::UnsupportedAlgorithm(_)));
    assert_eq!(read(&request("", "", &query("sts", ("X-Amz-Expires", "")))).presigned_secs, Some(900));
}

#[test]
fn clocks_apart_are_refused_with_both_times() {
    let head = RequestHead { method: "GET", path: "/", query: "", headers: vec![("host", "h")] };
    let added = sign(&head, EMPTY_SHA256, &credentials(), &scope("iam"));
    let head = signed(&head, &added);
    let parsed = read(&head);
    let at = |seconds: i64| verify(&parsed, &head, SECRET, None, Millis(NOW.0 + seconds * 1000));
    assert_eq!((at(900), at(-900)), (Ok(()), Ok(())));
    let late = at(901).expect_err("late");
    assert_eq!(
        late.to_string(),
        "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T125101Z - 15 min.)"
    );
    let early = at(-901).expect_err("early");
    assert_eq!(
        early.to_string(),
        "Signature not yet current: 20150830T123600Z is still later than 20150830T123559Z (20150830T122059Z + 15 min.)"
    );
    for error in [late, early] {
        let answer = error.answer(S3);
        assert_eq!((answer.code, answer.status), ("RequestTimeTooSkewed", 403));
        assert_eq!(answer.details.last(), Some(&("MaxAllowedSkewMilliseconds", "900000".to_owned())));
        assert_eq!(error.code_for(Query), ("SignatureDoesNotMatch", 403));
        assert_eq!(error.code_for(Json), ("InvalidSignatureException", 400));
        assert_eq!(error.code_for(RestJson), ("InvalidSignatureException", 403));
    }
}

#[test]
fn presigned_urls_end() {
    let mut head = RequestHead { method: "GET", path: "/b/k", query: "", headers: vec![("host", "h")] };
    let query = presign(&head, &credentials(), &scope("s3"), 3600);
    head.query = &query;
    let parsed = read(&head);
    let at = |seconds: i64| verify(&parsed, &head, SECRET, None, Millis(NOW.0 + seconds * 1000));
    assert_eq!(at(3600), Ok(()));
    let answer = at(3601).expect_err("over").answer(S3);
    assert_eq!((answer.code, answer.status, answer.message.as_str()), ("AccessDenied", 403, "Request has expired"));
    let details = [
        ("X-Amz-Expires", "3600".to_owned()),
        ("Expires", "2015-08-30T13:36:00Z".to_owned()),
        ("ServerTime", "2015-08-30T13:36:01Z".to_owned()),
    ];
    assert_eq!(answer.details, details);
    assert_eq!(at(-901).expect_err("early").answer(S3).message, "Request is not yet valid");
}

#[test]
fn s3_wants_its_headers_signed_and_its_hash_right() {
    let head = RequestHead { method: "PUT", path: "/b/k", query: "", headers: vec![("host", "h")] };
    let hash = sha256_hex(b"body");
    let added = sign(&head, &hash, &credentials(), &scope("s3"));
    let good = signed(&head, &added);
    let parsed = read(&good);
    assert_eq!(parsed.payload, Payload::Hash(hash.clone()));
    assert_eq!(verify(&parsed, &good, SECRET, Some(&hash), NOW), Ok(()));
    assert_eq!(verify(&parsed, &good, SECRET, None, NOW), Ok(()));
    let other = sha256_hex(b"other");
    let answer = verify(&parsed, &good, SECRET, Some(&other), NOW).expect_err("other body").answer(S3);
    assert_eq!((answer.code, answer.status), ("XAmzContentSHA256Mismatch", 400));

    let mut more = good.clone();
    more.headers.extend([("x-amz-meta-b", "1"), ("x-amz-acl", "private")]);
    let answer = verify(&parsed, &more, SECRET, None, NOW).expect_err("unsigned").answer(S3);
    assert_eq!((answer.code, answer.status), ("AccessDenied", 403));
    assert_eq!(answer.details, [("HeadersNotSigned", "x-amz-acl, x-amz-meta-b".to_owned())]);

    let mut bare = good.clone();
    bare.headers.retain(|(name, _)| *name != "x-amz-content-sha256");
    assert_eq!(parse(&bare), Err(Error::MissingContentHash));
    bare.headers.push(("x-amz-content-sha256", "STREAMING-WHATEVER"));
    assert_eq!(parse(&bare).expect_err("unknown word").code_for(S3), ("InvalidArgument", 400));

    let answer = verify(&parsed, &good, "wrong", None, NOW).expect_err("wrong secret").answer(S3);
    assert_eq!((answer.code, answer.status), ("SignatureDoesNotMatch", 403));
    let names: Vec<_> = answer.details.iter().map(|(name, _)| *name).collect();
    let want = [
        "AWSAccessKeyId",
        "StringToSign",
        "SignatureProvided",
        "StringToSignBytes",
        "CanonicalRequest",
        "CanonicalRequestBytes",
    ];
    assert_eq!(names, want);
}

#[test]
fn scopes_are_compared() {
    let head = RequestHead { method: "GET", path: "/", query: "", headers: vec![("host", "h")] };
    let added = sign(&head, EMPTY_SHA256, &credentials(), &scope("dynamodb"));
    let parsed = read(&signed(&head, &added));
    let region = parsed.check_scope("dynamodb", &["eu-west-1"]).expect_err("another region");
    assert_eq!(region.to_string(), "Credential should be scoped to a valid region, not 'us-east-1'. ");
    let answer = region.answer(S3);
    assert_eq!(
        answer.message,
        "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'"
    );
    assert_eq!(answer.details, [("Region", "eu-west-1".to_owned())]);
    let service = parsed.check_scope("lambda", &["us-east-1"]).expect_err("another service");
    assert_eq!(service.to_string(), "Credential should be scoped to correct service: 'lambda'. ");
    assert_eq!(service.code_for(RestJson), ("InvalidSignatureException", 403));
}

#[test]
fn every_family_has_its_codes() {
    let mismatch = Mismatch {
        access_key: "AK".into(),
        provided: SIG.into(),
        string_to_sign: "s".into(),
        canonical_request: Some("c".into()),
    };
    let mismatch = Error::Mismatch(Box::new(mismatch));
    let unknown = Error::UnknownKey("AK".into());
    let cases = [
        (
            &Error::MissingAuthenticationToken,
            Json,
            "MissingAuthenticationTokenException",
            400,
            "Request is missing Authentication Token",
        ),
        (
            &Error::MissingAuthenticationToken,
            RestJson,
            "MissingAuthenticationTokenException",
            403,
            "Missing Authentication Token",
        ),
        (
            &Error::MissingAuthenticationToken,
            Query,
            "MissingAuthenticationToken",
            403,
            "Request is missing Authentication Token",
        ),
        (&Error::MissingAuthenticationToken, S3, "AccessDenied", 403, "Access Denied"),
        (
            &mismatch,
            Json,
            "InvalidSignatureException",
            400,
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
        ),
        (
            &mismatch,
            Query,
            "SignatureDoesNotMatch",
            403,
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
        ),
        (
            &mismatch,
            S3,
            "SignatureDoesNotMatch",
            403,
            "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
        ),
        (&unknown, Json, "UnrecognizedClientException", 400, "The security token included in the request is invalid."),
        (
            &unknown,
            RestJson,
            "UnrecognizedClientException",
            403,
            "The security token included in the request is invalid.",
        ),
        (&unknown, Query, "InvalidClientTokenId", 403, "The security token included in the request is invalid."),
        (&unknown, S3, "InvalidAccessKeyId", 403, "The AWS Access Key Id you provided does not exist in our records."),
        (
            &Error::ExpiredToken,
            Json,
            "ExpiredTokenException",
            400,
            "The security token included in the request is expired",
        ),
        (&Error::ExpiredToken, Query, "ExpiredToken", 403, "The security token included in the request is expired"),
        (&Error::ExpiredToken, S3, "ExpiredToken", 400, "The provided token has expired."),
    ];
    for (error, family, code, status, message) in cases {
        let answer = error.answer(family);
        assert_eq!((answer.code, answer.status, answer.message.as_str()), (code, status, message), "{family:?}");
    }
    assert_eq!(Error::IncompleteSignature("x".into()).code_for(Query), ("IncompleteSignature", 400));
}
