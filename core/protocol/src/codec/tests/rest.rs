//! The REST protocols.

use super::{body, fields, head, header, node, request};
use crate::codec::{encode, encode_error};
use crate::fixture::{LAMBDA, NODE, PLACES, S3, text};
use crate::http::Reply;
use crate::schema::Service;
use crate::{ServiceError, Value};
use squall_types::Millis;

fn answer(service: &'static Service, name: &str, members: &[(&str, Value)]) -> Reply {
    let op = service.operation(name).expect("an operation");
    encode(service, op, fields(op.output.expect("an output"), members), "req-1")
}

#[test]
fn every_place_of_a_request_is_read() {
    let head = head(
        "GET",
        "/places/a%2Fb?limit=10&keys=x&keys=y+z&other=1&other=2&more=%3D",
        &[
            ("if-since", "Tue, 14 Nov 2023 22:13:20 GMT"),
            ("x-flag", "true"),
            ("x-words", "a, \"b, c\" ,d"),
            ("x-meta-one", "1"),
            ("X-Meta-Two", "2"),
        ],
    );
    let value = request(&LAMBDA, &head, br#"{"Note":"n","Id":"ignored","limit":"ignored"}"#).expect("valid");
    let pair = |k: &str, v: &str| (k.to_owned(), text(v));
    let expected = [
        ("Id", text("a/b")),
        ("Limit", Value::Int(10)),
        ("Keys", Value::List(vec![text("x"), text("y z")])),
        ("Rest", Value::Map(vec![pair("other", "2"), pair("more", "=")])),
        ("Since", Value::Time(Millis(1_700_000_000_000))),
        ("Flag", Value::Bool(true)),
        ("Words", Value::List(vec![text("a"), text("b, c"), text("d")])),
        ("Meta", Value::Map(vec![pair("one", "1"), pair("two", "2")])),
        ("Note", text("n")),
    ];
    assert_eq!(value, fields(&PLACES, &expected));
}

#[test]
fn wrong_types_outside_the_body_are_refused() {
    let get = |service, uri: &str| request(service, &head("GET", uri, &[]), b"").expect_err("refused");
    let error = get(&LAMBDA, "/places/x?limit=many");
    assert_eq!((error.code, error.status), ("SerializationException", 400));
    assert_eq!(error.message, "STRING_VALUE can not be converted to an Integer");
    assert_eq!(get(&S3, "/places/x?limit=many").code, "InvalidArgument");
}

#[test]
fn a_payload_is_the_whole_body() {
    let blob = |bytes: &'static [u8]| Value::Blob(bytes.into());
    let invoke = |body: &[u8]| {
        let head = head("POST", "/places/f/invocations", &[("x-kind", "Event")]);
        let value = request(&LAMBDA, &head, body).expect("valid");
        value.member(1).cloned()
    };
    assert_eq!(invoke(b"\xff\x00 not text"), Some(blob(b"\xff\x00 not text")));
    assert_eq!(invoke(b""), None);

    let put = head("PUT", "/nodes", &[]);
    let value = request(&LAMBDA, &put, br#"{"Text":"a"}"#).expect("valid");
    assert_eq!(value.member(1), Some(&node(&[("Text", text("a"))])));
    assert_eq!(request(&LAMBDA, &put, b"[]").expect_err("no structure").code, "SerializationException");
    let value = request(&S3, &put, b"<Node xmlns='http://x/'><Text>a</Text></Node>").expect("valid");
    assert_eq!(value.member(1), Some(&node(&[("Text", text("a"))])));
}

#[test]
fn every_place_of_an_answer_is_written() {
    let members = [
        ("Since", Value::Time(Millis(1_700_000_000_000))),
        ("Flag", Value::Bool(true)),
        ("Words", Value::List(vec![text("a"), text("b")])),
        ("Meta", Value::Map(vec![("k".into(), text("v\r\nx: y")), ("bad name".into(), text("v"))])),
        ("Status", Value::Int(202)),
        ("Note", text("n")),
    ];
    let reply = answer(&LAMBDA, "GetPlaces", &members);
    assert_eq!((reply.status, body(&reply)), (202, r#"{"Note":"n"}"#));
    let expected = [
        ("x-amzn-RequestId", "req-1"),
        ("If-Since", "Tue, 14 Nov 2023 22:13:20 GMT"),
        ("x-flag", "true"),
        ("x-words", "a, b"),
        ("x-meta-k", "v  x: y"),
        ("Content-Type", "application/json"),
    ];
    let expected: Vec<_> = expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    assert_eq!(reply.headers, expected);
    let reply = answer(&LAMBDA, "GetPlaces", &[("Status", Value::Int(204))]);
    assert_eq!((reply.status, body(&reply), header(&reply, "content-type")), (204, "", None));
    let reply = answer(&LAMBDA, "Invoke", &[("Kind", text("k")), ("Data", Value::Blob(b"\xff".as_slice().into()))]);
    assert_eq!((&reply.body[..], header(&reply, "x-kind")), (&b"\xff"[..], Some("k")));
}

fn xml(body: &str) -> Option<Value> {
    let value = request(&S3, &head("PUT", "/nodes", &[]), body.as_bytes());
    value.ok().map(|v| v.member(1).cloned().unwrap_or(Value::Null))
}

#[test]
fn xml_is_read_by_the_shape() {
    let list = |all: &[&str]| Value::List(all.iter().map(|t| text(t)).collect());
    let cases = [
        ("<N/>", node(&[])),
        ("<?xml version=\"1.0\"?><!-- c --><n:N xmlns:n='u'><n:Text>a</n:Text></n:N>\n", node(&[("Text", text("a"))])),
        ("<N><Text> a &amp;&lt;&#x41;&#66; <![CDATA[<x>]]></Text></N>", node(&[("Text", text(" a &<AB <x>"))])),
        ("<N><Int> 7 </Int><Bool>true</Bool></N>", node(&[("Int", Value::Int(7)), ("Bool", Value::Bool(true))])),
        ("<N><Blob>YW\nJj</Blob></N>", node(&[("Blob", Value::Blob(b"abc".as_slice().into()))])),
        ("<N><Time>2023-11-14T22:13:20.000Z</Time></N>", node(&[("Time", Value::Time(Millis(1_700_000_000_000)))])),
        ("<N><Texts><member>a</member><x/><member>b</member></Texts></N>", node(&[("Texts", list(&["a", "b"]))])),
        ("<N><Texts/></N>", node(&[("Texts", list(&[]))])),
        ("<N><FlatText>a</FlatText><Int>1</Int><FlatText>b</FlatText></N>", {
            node(&[("Int", Value::Int(1)), ("Flat", list(&["a", "b"]))])
        }),
        ("<N><FlatMap><key>k</key><value>1</value></FlatMap></N>", {
            node(&[("FlatMap", Value::Map(vec![("k".into(), Value::Int(1))]))])
        }),
        ("<N><TextMap><entry><key>k</key><value>v</value></entry></TextMap></N>", {
            node(&[("TextMap", Value::Map(vec![("k".into(), text("v"))]))])
        }),
        ("\u{feff}<N><Unknown><deep/></Unknown></N>", node(&[])),
    ];
    for (body, expected) in cases {
        assert_eq!(xml(body), Some(expected), "{body}");
    }
}

#[test]
fn xml_that_is_broken_or_dangerous_is_refused() {
    let wide = format!("<N {}/>", (0..100).map(|i| format!("a{i}='' ")).collect::<String>());
    let deep = format!("{}{}", "<Node>".repeat(100_000), "</Node>".repeat(100_000));
    let bomb = "<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><N><Text>&b;</Text></N>";
    let many = format!("<N>{}</N>", "<x/>".repeat(300_000));
    for body in [
        "",
        " ",
        "x",
        "<N>",
        "<N></M>",
        "<N/><N/>",
        "<N/>x",
        "<N><Int>x</Int></N>",
        "<N><Text>&b;</Text></N>",
        "<N a='1' a='2'/>",
        "<N><Blob>!</Blob></N>",
        "<N><TextMap><entry><key>k</key></entry></TextMap></N>",
        "<N><Text>&#xD800;</Text></N>",
        bomb,
        &wide,
        &deep,
        &many,
    ] {
        let found = xml(body);
        // An empty body is no payload at all.
        assert_eq!(found, body.is_empty().then_some(Value::Null), "{}", body.get(..60).unwrap_or(body));
    }
}

#[test]
fn xml_is_written_with_namespaces_and_attributes() {
    let grantee = Value::Struct(vec![(0, text("Canonical\"User")), (1, text("7"))]);
    let reply = answer(&S3, "PutGrant", &[("Grantee", grantee.clone())]);
    assert_eq!(
        body(&reply),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Granted xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Grantee \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Canonical&quot;User\"><ID>7</ID></Grantee></Granted>"
    );
    let value = request(&S3, &head("PUT", "/grant", &[]), &reply.body).expect("valid");
    assert_eq!(value, Value::Struct(vec![(0, grantee)]));
    let reply = answer(&S3, "PutNode", &[("Node", node(&[("Text", text("a"))]))]);
    assert!(body(&reply).ends_with("<Node xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Text>a</Text></Node>"));
    assert_eq!(xml(body(&reply)), Some(node(&[("Text", text("a"))])));
    assert_eq!(NODE.name, "Node");
}

#[test]
fn s3_errors_stand_alone() {
    let reply = encode_error(&S3, &ServiceError::client("NoSuchKey", 404, "gone").with("Key", "k"), "req-1");
    assert_eq!(
        body(&reply),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code><Message>gone</Message><Key>k</Key>\
         <RequestId>req-1</RequestId></Error>"
    );
    assert_eq!(header(&reply, "x-amz-request-id"), Some("req-1"));
}
