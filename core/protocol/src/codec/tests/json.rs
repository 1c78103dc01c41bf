//! The JSON protocols.

use super::{answer, body, decode, header, node};
use crate::codec::encode_error;
use crate::fixture::{DYNAMODB, LAMBDA, LOGS, text};
use crate::schema::Service;
use crate::{ServiceError, Value};
use squall_types::Millis;

#[test]
fn members_of_every_kind_are_read() {
    let cases = [
        ("{}", node(&[])),
        (r#"{"Text":"a\u00e4\n\ud83d\ude00"}"#, node(&[("Text", text("aä\n😀"))])),
        (
            r#"{"Int":1,"Long":9007199254740993}"#,
            node(&[("Int", Value::Int(1)), ("Long", Value::Int(9_007_199_254_740_993))]),
        ),
        (
            r#"{"Int":3000000000,"Long":1e30}"#,
            node(&[("Int", Value::Int(i32::MAX.into())), ("Long", Value::Int(i64::MAX))]),
        ),
        (r#"{"Int":34.56}"#, node(&[("Int", Value::Int(34))])),
        (r#"{"Double":1}"#, node(&[("Double", Value::Double(1.0))])),
        (r#"{"Double":"-Infinity"}"#, node(&[("Double", Value::Double(f64::NEG_INFINITY))])),
        (r#"{"Bool":true}"#, node(&[("Bool", Value::Bool(true))])),
        (r#"{"Bool":"False"}"#, node(&[("Bool", Value::Bool(false))])),
        (r#"{"Time":1.700000000123E9}"#, node(&[("Time", Value::Time(Millis(1_700_000_000_123)))])),
        (r#"{"Time":"2023-11-14T22:13:20Z"}"#, node(&[("Time", Value::Time(Millis(1_700_000_000_000)))])),
        (r#"{"Blob":"AAEC"}"#, node(&[("Blob", Value::Blob(b"\0\x01\x02".as_slice().into()))])),
        (r#"{"Texts":[],"TextMap":{}}"#, node(&[("Texts", Value::List(vec![])), ("TextMap", Value::Map(vec![]))])),
        (r#"{"Texts":["a",null]}"#, node(&[("Texts", Value::List(vec![text("a"), Value::Null]))])),
        (r#"{"Node":{"Node":{}}}"#, node(&[("Node", node(&[("Node", node(&[]))]))])),
        (r#"{"Text":null,"Other":[{"x":1}],"text":"no"}"#, node(&[])),
        (r#"{"Text":"a","Text":"b"}"#, node(&[("Text", text("b"))])),
        (r#"{"Text":"a","Text":null}"#, node(&[])),
        (
            r#"{"TextMap":{"a":"1","b":"2","a":"3"}}"#,
            node(&[("TextMap", Value::Map(vec![("a".into(), text("3")), ("b".into(), text("2"))]))]),
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(decode(&DYNAMODB, "GetNode", json.as_bytes()).ok(), Some(expected), "{json}");
    }
}

#[test]
fn the_last_of_many_equal_keys_counts() {
    let entries: Vec<String> = (0..2000).map(|i| format!("\"k{}\":\"{i}\"", i % 1000)).collect();
    let json = format!("{{\"TextMap\":{{{}}}}}", entries.join(","));
    let value = decode(&DYNAMODB, "GetNode", json.as_bytes()).expect("valid");
    let Some(Value::Map(map)) = value.named(&crate::fixture::NODE, "TextMap") else { panic!("{value:?}") };
    assert_eq!(map.len(), 1000);
    assert_eq!(map[999], ("k999".to_owned(), text("1999")));
}

fn refusal(service: &'static Service, json: &str) -> String {
    let error = decode(service, "GetNode", json.as_bytes()).expect_err(json);
    assert_eq!((error.code, error.status), ("SerializationException", 400));
    error.message
}

#[test]
fn dynamodb_refuses_wrong_types_in_its_words() {
    let cases = [
        (r#"{"Text":true}"#, "TRUE_VALUE cannot be converted to String"),
        (r#"{"Text":23}"#, "NUMBER_VALUE cannot be converted to String"),
        (r#"{"Text":34.56}"#, "DECIMAL_VALUE cannot be converted to String"),
        (r#"{"Text":[]}"#, "Unrecognized collection type class java.lang.String"),
        (r#"{"Text":{}}"#, "Start of structure or map found where not expected"),
        (r#"{"Int":"23"}"#, "STRING_VALUE cannot be converted to Integer"),
        (r#"{"Long":false}"#, "FALSE_VALUE cannot be converted to Long"),
        (r#"{"Bool":"23"}"#, "Unexpected token received from parser"),
        (r#"{"Bool":23}"#, "NUMBER_VALUE cannot be converted to Boolean"),
        (r#"{"Blob":1}"#, "only base-64-encoded strings are convertible to bytes"),
        (r#"{"Blob":[]}"#, "Unrecognized collection type class java.nio.ByteBuffer"),
        (r#"{"Blob":"23456"}"#, "Base64 encoded length is expected a multiple of 4 bytes but found: 5"),
        (r#"{"Blob":"=+/="}"#, "Invalid last non-pad Base64 character dectected"),
        (r#"{"Blob":"+/+="}"#, "Invalid last non-pad Base64 character dectected"),
        (r#"{"Blob":"a$=="}"#, "Invalid Base64 character: '$'"),
        (r#"{"Texts":"23"}"#, "Unexpected field type"),
        (r#"{"Texts":{}}"#, "Start of structure or map found where not expected"),
        (r#"{"TextMap":1}"#, "Unexpected field type"),
        (r#"{"TextMap":[]}"#, "Unrecognized collection type java.util.Map<java.lang.String, java.lang.String>"),
        (
            r#"{"NodeMap":[]}"#,
            "Unrecognized collection type java.util.Map<java.lang.String, com.amazonaws.dynamodb.v20120810.Node>",
        ),
        (r#"{"Node":"a"}"#, "Unexpected field type"),
        (r#"{"Node":[]}"#, "Unrecognized collection type class com.amazonaws.dynamodb.v20120810.Node"),
        (r#"{"Nodes":[1]}"#, "Unexpected value type in payload"),
        (r#"{"NodeMap":{"a":"b"}}"#, "Unexpected value type in payload"),
        ("[]", ""),
        ("null", ""),
        ("\"a\"", ""),
        ("", ""),
        ("{", ""),
        ("{} x", ""),
        (r#"{"Text":"a"#, ""),
        ("{\"Text\":\"\\ud800\"}", ""),
    ];
    for (json, expected) in cases {
        assert_eq!(refusal(&DYNAMODB, json), expected, "{json}");
    }
}

#[test]
fn other_services_refuse_wrong_types_in_theirs() {
    let cases = [
        (r#"{"Text":true}"#, "class java.lang.Boolean can not be converted to an String"),
        (
            r#"{"Text":1}"#,
            "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to an String",
        ),
        (r#"{"Int":"1"}"#, "class java.lang.String can not be converted to an Integer"),
        (r#"{"Time":"now"}"#, "class java.lang.String can not be converted to milliseconds since epoch"),
        (r#"{"Text":{}}"#, "Start of structure or map found where not expected."),
        (r#"{"Texts":1}"#, "Expected list or null"),
        (r#"{"Node":1}"#, "Expected null"),
    ];
    for (json, expected) in cases {
        assert_eq!(refusal(&LOGS, json), expected, "{json}");
    }
    assert_eq!(decode(&LOGS, "GetNode", b"").ok(), Some(node(&[])), "old clients send no body");
}

#[test]
fn nesting_is_bounded() {
    let deep = |open: &str, close: &str, n: usize| format!("{}{}", open.repeat(n), close.repeat(n));
    assert!(decode(&LOGS, "GetNode", deep("{\"Node\":", "}", 60).replace(":}", ":{}}").as_bytes()).is_ok());
    assert!(decode(&LOGS, "GetNode", deep("{\"Node\":", "}", 100_000).as_bytes()).is_err());
    let any = format!("{{\"Any\":{}}}", deep("[", "]", 100_000));
    assert!(decode(&LOGS, "PutDocument", any.as_bytes()).is_err());
    assert_eq!(decode(&LOGS, "GetNode", any.as_bytes()).ok(), Some(node(&[])), "unknown members cost nothing");
}

#[test]
fn documents_keep_any_json() {
    let json = r#"{"Any":{"b":[1,2.5,"x",null,true],"a":{}}}"#;
    let value = decode(&LOGS, "PutDocument", json.as_bytes()).expect("valid");
    assert_eq!(body(&answer(&LOGS, "PutDocument", value)), json);
}

#[test]
fn answers_are_written() {
    let value = node(&[
        ("Text", text("a\"\\\n\u{1}ä")),
        ("Int", Value::Int(-5)),
        ("Double", Value::Double(1e21)),
        ("Bool", Value::Bool(false)),
        ("Time", Value::Time(Millis(1_700_000_000_120))),
        ("Iso", Value::Time(Millis(1_700_000_000_000))),
        ("Blob", Value::Blob(b"abc".as_slice().into())),
        ("Texts", Value::List(vec![text("x"), Value::Null])),
        ("Node", Value::Null),
        ("TextMap", Value::Map(vec![("k".into(), text("v"))])),
        ("Nodes", Value::List(vec![node(&[]), node(&[("Double", Value::Double(f64::NAN))])])),
    ]);
    let reply = answer(&DYNAMODB, "GetNode", value);
    assert_eq!(
        body(&reply),
        r#"{"Text":"a\"\\\n\u0001ä","Int":-5,"Double":1e21,"Bool":false,"Time":1700000000.12,"Iso":"2023-11-14T22:13:20Z","Blob":"YWJj","Texts":["x",null],"TextMap":{"k":"v"},"Nodes":[{},{"Double":"NaN"}]}"#
    );
    assert_eq!(reply.status, 200);
    assert_eq!(header(&reply, "x-amzn-requestid"), Some("req-1"));
    assert_eq!(header(&reply, "content-type"), Some("application/x-amz-json-1.0"));
}

#[test]
fn dynamodb_answers_carry_a_checksum() {
    let reply = answer(&DYNAMODB, "GetNode", node(&[]));
    assert_eq!((body(&reply), header(&reply, "x-amz-crc32")), ("{}", Some("2745614147")));
    assert_eq!(header(&answer(&LOGS, "GetNode", node(&[])), "x-amz-crc32"), None);
}

#[test]
fn an_operation_without_output_answers_nothing() {
    let reply = answer(&LOGS, "Nothing", Value::Struct(Vec::new()));
    assert_eq!((reply.status, body(&reply)), (200, ""));
}

#[test]
fn errors_are_written() {
    let error = |code, message: &str| ServiceError::client(code, 400, message);
    let written = |service: &'static Service, error: &ServiceError| {
        let reply = encode_error(service, error, "req-1");
        assert_eq!(header(&reply, "x-amzn-requestid"), Some("req-1"));
        body(&reply).to_owned()
    };
    let cases = [
        (error("ResourceNotFoundException", "gone"), "com.amazonaws.dynamodb.v20120810#", r#","message":"gone""#),
        (error("ValidationException", "bad"), "com.amazon.coral.validate#", r#","message":"bad""#),
        (error("SerializationException", "bad").upper(), "com.amazon.coral.service#", r#","Message":"bad""#),
        (error("UnrecognizedClientException", "who"), "com.amazon.coral.service#", r#","message":"who""#),
    ];
    for (error, namespace, rest) in cases {
        let code = error.code;
        assert_eq!(written(&DYNAMODB, &error), format!(r#"{{"__type":"{namespace}{code}"{rest}}}"#));
    }
    let error = error("ResourceNotFoundException", "gone").with("Type", "User").with_value(
        "Item",
        &crate::fixture::NODE,
        node(&[("Text", text("x"))]),
    );
    assert_eq!(
        written(&LOGS, &error),
        r#"{"__type":"ResourceNotFoundException","message":"gone","Type":"User","Item":{"Text":"x"}}"#
    );
    let reply = encode_error(&LAMBDA, &error.upper(), "req-1");
    assert_eq!(body(&reply), r#"{"Message":"gone","Type":"User","Item":{"Text":"x"}}"#);
    assert_eq!(header(&reply, "x-amzn-errortype"), Some("ResourceNotFoundException"));
    assert_eq!(header(&reply, "content-type"), Some("application/json"));
}
