//! What documents are refused, in AWS's words; and that no document, however broken, breaks the parser.

use squall_policy::DocumentKind::{Inline, Managed, Resource, Trust};
use squall_policy::{Context, DocumentKind, Policy, PolicySets, Principal, Request, ResourcePolicy, evaluate, size};

const SYNTAX: &str = "Syntax errors in policy.";
const VENDOR: &str = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.";

fn refused(document: &str, kind: DocumentKind) -> String {
    match Policy::parse(document, kind) {
        Ok(_) => panic!("accepted: {document}"),
        Err(error) => error.message().to_owned(),
    }
}

/// A document of one statement with these members.
fn one(members: &str) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":[{{{members}}}]}}"#)
}

#[test]
fn identity_documents_of_every_accepted_shape() {
    let accepted = [
        r#"{"Version":"2012-10-17","Id":"x","Statement":{"Sid":"A","Effect":"Allow","Action":"s3:*","Resource":"*"}}"#,
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","NotAction":["s3:Get*"],"NotResource":["arn:aws:s3:::b"]}]}"#,
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":[true]}}}]}"#,
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:PassRole","Resource":"arn:aws:iam::123456789012:role/*"}]}"#,
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:*","Resource":"arn:aws:iam::*:*"}]}"#,
        r#"{"Version":"2012-10-17","Statement":[{"Sid":"","Effect":"Allow","Action":"s3:*","Resource":"*"},{"Sid":"","Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#,
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:*","Resource":"arn:aws:iam::*:user/${aws:username}"}]}"#,
    ];
    for document in accepted {
        for kind in [Managed, Inline] {
            assert!(Policy::parse(document, kind).is_ok(), "{document}");
        }
    }
    let old = r#"{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::${aws:username}"}}"#;
    assert!(Policy::parse(old, Inline).is_ok());
}

#[test]
fn identity_documents_are_refused_in_the_words_of_iam() {
    let good = r#""Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::b""#;
    let with = |tail: &str| one(&format!("{good},{tail}"));
    let resource = |r: &str| one(&format!(r#""Effect":"Allow","Action":"s3:ListBucket","Resource":"{r}""#));
    let action = |a: &str| one(&format!(r#""Effect":"Allow","Action":"{a}","Resource":"*""#));
    let version = "Policy document must be version 2012-10-17 or greater.";
    let cases: Vec<(String, String)> = [
        ("not json".to_owned(), SYNTAX.to_owned()),
        (String::new(), SYNTAX.into()),
        ("[]".into(), SYNTAX.into()),
        (r#"{"Version":"2012-10-17"}"#.into(), SYNTAX.into()),
        (r#"{"Version":"2012-10-17","Statement":[]}"#.into(), SYNTAX.into()),
        (r#"{"Version":"2012-10-17","Statement":["afd"]}"#.into(), SYNTAX.into()),
        (format!(r#"{{"Version":"2013-10-17","Statement":{{{good}}}}}"#), SYNTAX.into()),
        (format!(r#"{{"Version":"2012-10-17","Version":"2012-10-17","Statement":{{{good}}}}}"#), SYNTAX.into()),
        (format!(r#"{{"Version":"2012-10-17","Id":[],"Statement":{{{good}}}}}"#), SYNTAX.into()),
        (format!(r#"{{"Version":"2012-10-17","Extra":1,"Statement":{{{good}}}}}"#), SYNTAX.into()),
        (format!(r#"{{"Version":"2008-10-17","Statement":{{{good}}}}}"#), version.into()),
        (format!(r#"{{"Statement":{{{good}}}}}"#), version.into()),
        (with(r#""Extra":"x""#), SYNTAX.into()),
        (with(r#""NotResource":[]"#), SYNTAX.into()),
        (with(r#""Condition":[]"#), SYNTAX.into()),
        (with(r#""Condition":{"a":"b"}"#), SYNTAX.into()),
        (with(r#""Condition":{"StringEqualz":{"s3:x":"b"}}"#), SYNTAX.into()),
        (with(r#""Condition":{"NullIfExists":{"s3:x":"true"}}"#), SYNTAX.into()),
        (with(r#""Condition":{"Null":{"s3:x":["true","false"]}}"#), SYNTAX.into()),
        (with(r#""Condition":{"ForAnyValue:ForAllValues:Bool":{"s3:x":"true"}}"#), SYNTAX.into()),
        (with(r#""Condition":{"Bool":{"s3:x":"perhaps"}}"#), SYNTAX.into()),
        (with(r#""Condition":{"NumericEquals":{"s3:x":"ten"}}"#), SYNTAX.into()),
        (with(r#""Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/40"}}"#), SYNTAX.into()),
        (with(r#""Condition":{"BinaryEquals":{"s3:x":"%"}}"#), SYNTAX.into()),
        (with(r#""Condition":{"StringEquals":{"s3:x":{}}}"#), SYNTAX.into()),
        (with(r#""Condition":{"StringEquals":{"s3:x":null}}"#), SYNTAX.into()),
        (with(r#""Condition":{"DateLessThan":{"aws:CurrentTime":"soon"}}"#), "The policy failed legacy parsing".into()),
        (with(r#""Condition":{"StringEquals":{"x":"b"}}"#), VENDOR.into()),
        (with(r#""Principal":"*""#), "Policy document should not specify a principal.".into()),
        (one(r#""Action":"s3:*","Resource":"*""#), SYNTAX.into()),
        (one(r#""Effect":"Maybe","Action":"s3:*","Resource":"*""#), SYNTAX.into()),
        (one(r#""Effect":"allow","Action":"s3:*","Resource":"*""#), "The policy failed legacy parsing".into()),
        (one(r#""Effect":"Allow","Action":{},"Resource":"*""#), SYNTAX.into()),
        (one(r#""Effect":"Allow","Action":[[]],"Resource":"*""#), SYNTAX.into()),
        (one(r#""Effect":"Allow","Resource":"*""#), "Policy statement must contain actions.".into()),
        (one(r#""Effect":"Allow","Action":[],"Resource":"*""#), "Policy statement must contain actions.".into()),
        (one(r#""Effect":"Allow","Action":"s3:*""#), "Policy statement must contain resources.".into()),
        (one(r#""Effect":"Allow","Action":"s3:*","Resource":[]"#), "Policy statement must contain resources.".into()),
        (one(r#""Effect":"Allow","Action":"invalid""#), VENDOR.into()),
        (action("invalid"), VENDOR.into()),
        (action("a a:ListBucket"), "Vendor a a is not valid".into()),
        (action("s3:List:Bucket"), "Actions/Condition can contain only one colon.".into()),
        (resource("invalid resource"), "Resource invalid resource must be in ARN format or \"*\".".into()),
        (resource(""), "Resource  must be in ARN format or \"*\".".into()),
        (resource("a:b:cadfsdf"), "Partition \"b\" is not valid for resource \"arn:b:cadfsdf:*:*:*\".".into()),
        (resource("a:b:c:d:e:f:g:h"), "Partition \"b\" is not valid for resource \"arn:b:c:d:e:f:g:h\".".into()),
        (resource("arn:aws"), "Resource vendor must be fully qualified and cannot contain regexes.".into()),
        (resource("arn:aws:s3::b"), "The policy failed legacy parsing".into()),
        (
            resource("arn:aws:s3:us-east-1::b"),
            "Resource arn:aws:s3:us-east-1::b can not contain region information.".into(),
        ),
        (
            format!(r#"{{"Version":"2012-10-17","Statement":[{{"Sid":"a",{good}}},{{"Sid":"a",{good}}}]}}"#),
            "Statement IDs (SID) in a single policy must be unique.".into(),
        ),
    ]
    .into();
    for (document, want) in cases {
        assert_eq!(refused(&document, Managed), want, "{document}");
    }
    let iam = refused(&resource("arn:aws:iam:::b"), Managed);
    assert!(iam.starts_with("IAM resource path must either be \"*\" or start with user/, federated-user/,"), "{iam}");
}

#[test]
fn trust_documents_are_refused_in_the_words_of_iam() {
    let assume = |rest: &str| one(&format!(r#""Effect":"Allow","Action":"sts:AssumeRole"{rest}"#));
    let cases = [
        ("{".to_owned(), "This policy contains invalid Json".to_owned()),
        (assume(""), "Missing required field Principal".into()),
        (
            assume(r#","Principal":{"Service":"lambda.amazonaws.com"},"Resource":"*""#),
            "Has prohibited field Resource".into(),
        ),
        (assume(r#","Principal":{"Service":"lambda.amazonaws.com"},"Extra":"*""#), "Unknown field Extra".into()),
        (assume(r#","Principal":{"Service":"lambda"}"#), r#"Invalid principal in policy: "SERVICE":"lambda""#.into()),
        (assume(r#","Principal":{"AWS":"ana"}"#), r#"Invalid principal in policy: "AWS":"ana""#.into()),
        (
            assume(r#","Principal":{"AWS":"arn:aws:iam::123456789012:user/*"}"#),
            r#"Invalid principal in policy: "AWS":"arn:aws:iam::123456789012:user/*""#.into(),
        ),
        (assume(r#","Principal":"ana""#), "Invalid principal in policy".into()),
        (assume(r#","Principal":{}"#), "Invalid principal in policy".into()),
        (assume(r#","Principal":{"AWS":[]}"#), "Invalid principal in policy".into()),
        (
            one(r#""Effect":"Allow","Principal":"*","Action":"s3:GetObject""#),
            "AssumeRole policy may only specify STS AssumeRole actions.".into(),
        ),
        (one(r#""Principal":"*","Action":"sts:AssumeRole""#), "Missing required field Effect".into()),
        (one(r#""Effect":"Allow","Principal":"*""#), "Missing required field Action".into()),
        (
            assume(r#","Principal":"*","Condition":{"StringEqualz":{"aws:x":"1"}}"#),
            "Invalid Condition type : StringEqualz".into(),
        ),
        (r#"{"Version":"2013"}"#.into(), "The policy must contain a valid version string".into()),
        (r#"{"Version":"2012-10-17"}"#.into(), "Missing required field Statement".into()),
    ];
    for (document, want) in cases {
        assert_eq!(refused(&document, Trust), want, "{document}");
    }
    let both =
        assume(r#","Principal":{"Service":["lambda.amazonaws.com","edgelambda.amazonaws.com"],"AWS":"123456789012"}"#);
    assert!(Policy::parse(&both, Trust).is_ok());
}

#[test]
fn resource_documents_need_principal_and_resource() {
    let cases = [
        (r#""Effect":"Allow","Action":"s3:*","Resource":"*""#, "Missing required field Principal"),
        (r#""Effect":"Allow","Principal":"*","Action":"s3:*""#, "Missing required field Resource"),
        (r#""Effect":"Allow","Principal":"*","Action":"s3","Resource":"*""#, "Policy has invalid action"),
        (r#""Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"b""#, "Policy has invalid resource"),
        (
            r#""Effect":"Allow","NotPrincipal":{"AWS":"*"},"Action":"s3:*","Resource":"*""#,
            "Allow with NotPrincipal is not allowed.",
        ),
    ];
    for (members, want) in cases {
        assert_eq!(refused(&one(members), Resource), want, "{members}");
    }
}

#[test]
fn bounds_hold() {
    let long = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, " ".repeat(140_000));
    assert_eq!(refused(&long, Managed), SYNTAX);
    let deep = format!("{}{}", "[".repeat(60_000), "]".repeat(60_000));
    assert_eq!(refused(&deep, Managed), SYNTAX);
    assert_eq!(size("{ \"a\":\n\t\"é\" }"), 9);
}

/// A small generator with a fixed seed: failures repeat.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

#[test]
fn mutated_documents_never_panic() {
    const SEEDS: [&str; 3] = [
        r#"{"Version":"2012-10-17","Id":"x","Statement":[{"Sid":"A","Effect":"Allow","Principal":{"AWS":["arn:aws:iam::123456789012:user/ana","123456789012"],"Service":"lambda.amazonaws.com"},"Action":["s3:Get*","s3:P?t"],"Resource":"arn:aws:s3:::${aws:username}/*","Condition":{"StringLike":{"s3:prefix":["${aws:PrincipalTag/é, 'x'}*"]},"IpAddress":{"aws:SourceIp":"10.0.0.0/8"},"DateLessThan":{"aws:CurrentTime":"2026-01-01T00:00:00.5+01:00"}}}]}"#,
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","NotAction":"*","NotResource":["arn:aws:iam::*:role/x","*"],"Condition":{"ForAllValues:NumericLessThanEqualsIfExists":{"aws:x":[1,-2.5e3]},"Null":{"aws:y":true},"BinaryEquals":{"aws:z":"QQ=="},"ArnLike":{"aws:SourceArn":"arn:*:s3:::b?"}}}}"#,
        r#"{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Condition":{"StringNotEqualsIgnoreCase":{"sts:ExternalId":"Ä"}}}]}"#,
    ];
    const PIECES: [&str; 14] =
        ["\"", "{", "}", "[", "]", ",", ":", "${", "*", "\\u0000", "é", "null", "1e999", "\"Effect\":\"Deny\""];
    let principals = [Principal::anonymous(), Principal::user("arn:aws:iam::123456789012:user/ana", "AIDAX")];
    let mut dice = Dice(11);
    let mut accepted = 0;
    for round in 0..40_000 {
        let mut text = SEEDS[dice.roll(SEEDS.len())].to_owned().into_bytes();
        for _ in 0..dice.roll(4) {
            let at = dice.roll(text.len());
            match dice.roll(4) {
                0 => drop(text.remove(at)),
                1 => text[at] = dice.roll(256) as u8,
                2 => drop(text.splice(at..at, PIECES[dice.roll(PIECES.len())].bytes())),
                _ => drop(text.drain(at..(at + dice.roll(40)).min(text.len()))),
            }
            if text.is_empty() {
                text.push(b'{');
            }
        }
        let text = String::from_utf8_lossy(&text);
        let kind = [Managed, Inline, Trust, Resource][round % 4];
        let Ok(policy) = Policy::parse(&text, kind) else { continue };
        accepted += 1;
        let mut context = Context::new().with("s3:prefix", "ana*").with("aws:x", "-3").with("aws:SourceIp", "::1");
        context.set_now_ms(i64::from(dice.roll(1 << 30) as i32) * 4096);
        for principal in &principals {
            let request =
                Request { principal, action: "s3:GetObject", resource: "arn:aws:s3:::ana/é", context: &context };
            let resource = ResourcePolicy::Additive(&policy);
            let _ = evaluate(&request, &PolicySets { resource, boundary: Some(&policy), ..PolicySets::default() });
        }
    }
    assert!(accepted > 1_000, "mutations must leave enough valid documents: {accepted}");
}

#[test]
fn random_bytes_never_panic() {
    let mut dice = Dice(5);
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..dice.roll(80)).map(|_| dice.roll(256) as u8).collect();
        let _ = Policy::parse(&String::from_utf8_lossy(&bytes), Managed);
    }
}
