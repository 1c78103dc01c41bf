//! Conditions as a table: operator, key and values of the policy, the request's keys, and whether the statement applies.

use squall_policy::{Context, DocumentKind, Policy, PolicySets, Principal, Request, evaluate};
use std::sync::Arc;

type Keys = &'static [(&'static str, &'static [&'static str])];

fn applies(condition: &str, keys: Keys) -> bool {
    let document = format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"*","Resource":"*","Condition":{condition}}}}}"#
    );
    let policy = Policy::parse(&document, DocumentKind::Inline).unwrap_or_else(|e| panic!("{e}: {document}"));
    let mut context = Context::new();
    for (key, values) in keys {
        context.set(*key, values.iter().map(|v| (*v).to_owned()));
    }
    context.set_now_ms(1_767_225_600_000); // 2026-01-01T00:00:00Z
    let mut principal = Principal::user("arn:aws:iam::123456789012:user/ana", "AIDAEXAMPLE");
    principal.tags.push(("team".into(), "red".into()));
    let identity = [Arc::new(policy)];
    let request = Request { principal: &principal, action: "s3:GetObject", resource: "*", context: &context };
    evaluate(&request, &PolicySets { identity: &identity, ..PolicySets::default() }).is_allowed()
}

fn check(cases: &[(&str, Keys, bool)]) {
    for (condition, keys, want) in cases {
        assert_eq!(applies(condition, keys), *want, "{condition} {keys:?}");
    }
}

#[test]
fn strings_compare() {
    check(&[
        (r#"{"StringEquals":{"s3:prefix":"a"}}"#, &[("s3:prefix", &["a"])], true),
        (r#"{"StringEquals":{"S3:Prefix":"a"}}"#, &[("s3:prefix", &["a"])], true),
        (r#"{"StringEquals":{"s3:prefix":["x","a"]}}"#, &[("s3:prefix", &["a"])], true),
        (r#"{"StringEquals":{"s3:prefix":"A"}}"#, &[("s3:prefix", &["a"])], false),
        (r#"{"StringEquals":{"s3:prefix":"*"}}"#, &[("s3:prefix", &["a"])], false),
        (r#"{"StringEquals":{"s3:prefix":"a"}}"#, &[], false),
        (r#"{"StringEquals":{"s3:prefix":[]}}"#, &[("s3:prefix", &["a"])], false),
        (r#"{"StringNotEquals":{"s3:prefix":["a","b"]}}"#, &[("s3:prefix", &["b"])], false),
        (r#"{"StringNotEquals":{"s3:prefix":["a","b"]}}"#, &[("s3:prefix", &["c"])], true),
        (r#"{"StringNotEquals":{"s3:prefix":"a"}}"#, &[], true),
        (r#"{"StringEqualsIgnoreCase":{"s3:prefix":"ÄB"}}"#, &[("s3:prefix", &["äb"])], true),
        (r#"{"StringNotEqualsIgnoreCase":{"s3:prefix":"AB"}}"#, &[("s3:prefix", &["ab"])], false),
        (r#"{"StringLike":{"s3:prefix":"home/*/x?"}}"#, &[("s3:prefix", &["home/a/b/xy"])], true),
        (r#"{"StringNotLike":{"s3:prefix":"home/*"}}"#, &[("s3:prefix", &["home/a"])], false),
        (r#"{"StringLike":{"s3:prefix":"home/${aws:username}/*"}}"#, &[("s3:prefix", &["home/ana/x"])], true),
        (r#"{"StringLike":{"s3:prefix":"home/${aws:username}/*"}}"#, &[("s3:prefix", &["home/bob/x"])], false),
        (
            r#"{"StringEquals":{"aws:ResourceTag/team":"${aws:PrincipalTag/team}"}}"#,
            &[("aws:ResourceTag/team", &["red"])],
            true,
        ),
        (r#"{"StringEqualsIgnoreCase":{"aws:x":"T-${aws:PrincipalTag/team}"}}"#, &[("aws:x", &["t-RED"])], true),
        (r#"{"StringEquals":{"aws:x":"1","aws:y":"2"}}"#, &[("aws:x", &["1"])], false),
        (r#"{"StringEquals":{"aws:x":"1"},"StringLike":{"aws:y":"2"}}"#, &[("aws:x", &["1"]), ("aws:y", &["2"])], true),
        (r#"{}"#, &[], true),
        (r#"{"StringEquals":{}}"#, &[], true),
    ]);
}

#[test]
fn missing_keys_and_if_exists() {
    check(&[
        (r#"{"StringEqualsIfExists":{"aws:x":"1"}}"#, &[], true),
        (r#"{"StringEqualsIfExists":{"aws:x":"1"}}"#, &[("aws:x", &["2"])], false),
        (r#"{"StringNotEqualsIfExists":{"aws:x":"1"}}"#, &[], true),
        (r#"{"NumericLessThanIfExists":{"aws:x":"1"}}"#, &[], true),
        (r#"{"NumericLessThan":{"aws:x":"1"}}"#, &[], false),
        (r#"{"BoolIfExists":{"aws:MultiFactorAuthPresent":"true"}}"#, &[], true),
        (r#"{"Null":{"aws:x":"true"}}"#, &[], true),
        (r#"{"Null":{"aws:x":"true"}}"#, &[("aws:x", &["1"])], false),
        (r#"{"Null":{"aws:x":false}}"#, &[("aws:x", &["1"])], true),
        (r#"{"Null":{"aws:x":false}}"#, &[], false),
        (r#"{"ArnNotLike":{"aws:SourceArn":"arn:aws:s3:::b"}}"#, &[], true),
        (r#"{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#, &[], true),
    ]);
}

#[test]
fn quantifiers_over_many_values() {
    const AB: Keys = &[("dynamodb:LeadingKeys", &["a", "b"])];
    const NONE: Keys = &[("dynamodb:LeadingKeys", &[])];
    check(&[
        (r#"{"ForAllValues:StringEquals":{"dynamodb:LeadingKeys":["a","b","c"]}}"#, AB, true),
        (r#"{"ForAllValues:StringEquals":{"dynamodb:LeadingKeys":["a"]}}"#, AB, false),
        (r#"{"ForAllValues:StringEquals":{"dynamodb:LeadingKeys":["a"]}}"#, &[], true),
        (r#"{"ForAllValues:StringEquals":{"dynamodb:LeadingKeys":["a"]}}"#, NONE, true),
        (r#"{"ForAnyValue:StringEquals":{"dynamodb:LeadingKeys":["b"]}}"#, AB, true),
        (r#"{"ForAnyValue:StringEquals":{"dynamodb:LeadingKeys":["c"]}}"#, AB, false),
        (r#"{"ForAnyValue:StringEquals":{"dynamodb:LeadingKeys":["c"]}}"#, &[], false),
        (r#"{"ForAnyValue:StringEqualsIfExists":{"dynamodb:LeadingKeys":["c"]}}"#, &[], true),
        (r#"{"ForAllValues:StringNotEquals":{"dynamodb:LeadingKeys":["b"]}}"#, AB, false),
        (r#"{"ForAllValues:StringNotEquals":{"dynamodb:LeadingKeys":["c","d"]}}"#, AB, true),
        (r#"{"ForAnyValue:StringNotEquals":{"dynamodb:LeadingKeys":["b"]}}"#, AB, true),
        (r#"{"ForAnyValue:StringNotEquals":{"dynamodb:LeadingKeys":["a","b"]}}"#, AB, false),
        (r#"{"ForAnyValue:StringNotEquals":{"dynamodb:LeadingKeys":["a"]}}"#, &[], false),
        (
            r#"{"ForAllValues:StringLike":{"dynamodb:LeadingKeys":["${aws:username}*"]}}"#,
            &[("dynamodb:LeadingKeys", &["ana#1", "ana"])],
            true,
        ),
        (r#"{"StringEquals":{"dynamodb:LeadingKeys":["b"]}}"#, AB, true),
        (r#"{"StringNotEquals":{"dynamodb:LeadingKeys":["b"]}}"#, AB, false),
    ]);
}

#[test]
fn typed_values_compare() {
    check(&[
        (r#"{"NumericEquals":{"s3:max-keys":"10"}}"#, &[("s3:max-keys", &["10.0"])], true),
        (r#"{"NumericEquals":{"s3:max-keys":10}}"#, &[("s3:max-keys", &["10"])], true),
        (r#"{"NumericNotEquals":{"s3:max-keys":10}}"#, &[("s3:max-keys", &["10"])], false),
        (r#"{"NumericLessThan":{"s3:max-keys":10}}"#, &[("s3:max-keys", &["10"])], false),
        (r#"{"NumericLessThanEquals":{"s3:max-keys":10}}"#, &[("s3:max-keys", &["10"])], true),
        (r#"{"NumericGreaterThan":{"s3:max-keys":-3}}"#, &[("s3:max-keys", &["-2"])], true),
        (r#"{"NumericGreaterThanEquals":{"s3:max-keys":10}}"#, &[("s3:max-keys", &["9"])], false),
        (r#"{"NumericGreaterThan":{"s3:max-keys":1}}"#, &[("s3:max-keys", &["many"])], false),
        (r#"{"DateGreaterThan":{"aws:CurrentTime":"2025-12-31T23:59:59Z"}}"#, &[], true),
        (r#"{"DateLessThan":{"aws:CurrentTime":"2025-12-31T23:59:59Z"}}"#, &[], false),
        (r#"{"DateEquals":{"aws:CurrentTime":"2026-01-01T01:00:00+01:00"}}"#, &[], true),
        (r#"{"DateLessThanEquals":{"aws:EpochTime":"1767225600"}}"#, &[], true),
        (r#"{"DateNotEquals":{"aws:CurrentTime":"2026-01-01"}}"#, &[], false),
        (r#"{"Bool":{"aws:SecureTransport":"true"}}"#, &[("aws:SecureTransport", &["true"])], true),
        (r#"{"Bool":{"aws:SecureTransport":false}}"#, &[("aws:SecureTransport", &["true"])], false),
        (r#"{"Bool":{"aws:SecureTransport":"FALSE"}}"#, &[("aws:SecureTransport", &["false"])], true),
        (r#"{"Bool":{"aws:PrincipalIsAWSService":"false"}}"#, &[("aws:PrincipalIsAWSService", &["true"])], true),
        (r#"{"BinaryEquals":{"aws:x":"QmluYXJ5"}}"#, &[("aws:x", &["QmluYXJ5"])], true),
        (r#"{"BinaryEquals":{"aws:x":"QmluYXJ5"}}"#, &[("aws:x", &["QmluYXJ6"])], false),
        (
            r#"{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","203.0.113.0/24"]}}"#,
            &[("aws:SourceIp", &["203.0.113.9"])],
            true,
        ),
        (r#"{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#, &[("aws:SourceIp", &["unknown"])], false),
        (r#"{"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#, &[("aws:SourceIp", &["10.1.1.1"])], false),
        (
            r#"{"ArnLike":{"aws:SourceArn":"arn:aws:sns:*:*:t-*"}}"#,
            &[("aws:SourceArn", &["arn:aws:sns:r:1:t-1"])],
            true,
        ),
        (
            r#"{"ArnEquals":{"aws:SourceArn":"arn:aws:sns:*:*:t-*"}}"#,
            &[("aws:SourceArn", &["arn:aws:sns:r:1:t-1"])],
            true,
        ),
        (r#"{"ArnLike":{"aws:SourceArn":"arn:aws:*:t-1"}}"#, &[("aws:SourceArn", &["arn:aws:sns:r:1:t-1"])], false),
        (
            r#"{"ArnNotEquals":{"aws:SourceArn":"arn:aws:sns:*:*:t-*"}}"#,
            &[("aws:SourceArn", &["arn:aws:sns:r:1:t-1"])],
            false,
        ),
        (r#"{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::123456789012:user/*"}}"#, &[], true),
    ]);
}

#[test]
fn keys_of_the_principal_cannot_be_set_from_outside() {
    check(&[
        (r#"{"StringEquals":{"aws:username":"ana"}}"#, &[("aws:username", &["root"])], true),
        (r#"{"StringEquals":{"aws:PrincipalTag/team":"blue"}}"#, &[("aws:PrincipalTag/team", &["blue"])], false),
        (r#"{"StringEquals":{"aws:PrincipalTag/new":"blue"}}"#, &[("aws:PrincipalTag/new", &["blue"])], false),
        (
            r#"{"StringEquals":{"aws:userid":"AIDAEXAMPLE","aws:PrincipalType":"User","aws:PrincipalAccount":"123456789012"}}"#,
            &[],
            true,
        ),
        (r#"{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}"#, &[("aws:PrincipalOrgID", &["o-1"])], true),
    ]);
}
