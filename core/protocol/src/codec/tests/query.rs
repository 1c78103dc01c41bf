//! The query protocol.

use super::{answer, body, decode, head, header, node, request};
use crate::codec::encode_error;
use crate::fixture::{IAM, text};
use crate::{ServiceError, Value};
use squall_types::Millis;

#[test]
fn parameters_spell_out_structures() {
    let list = |all: &[&str]| Value::List(all.iter().map(|t| text(t)).collect());
    let cases = [
        ("", node(&[])),
        ("Text=a%20b+c%2B&Unknown=1&Int=5", node(&[("Text", text("a b c+")), ("Int", Value::Int(5))])),
        ("Text=", node(&[("Text", text(""))])),
        ("Text", node(&[("Text", text(""))])),
        ("Text=a&Text=b", node(&[("Text", text("b"))])),
        ("Bool=True&Double=1.5", node(&[("Double", Value::Double(1.5)), ("Bool", Value::Bool(true))])),
        ("Time=2023-11-14T22%3A13%3A20Z", node(&[("Time", Value::Time(Millis(1_700_000_000_000)))])),
        ("Blob=YWJj", node(&[("Blob", Value::Blob(b"abc".as_slice().into()))])),
        ("Texts.member.1=a&Texts.member.2=b", node(&[("Texts", list(&["a", "b"]))])),
        ("Texts.member.10=b&Texts.member.9=a&Texts.member.x=c", node(&[("Texts", list(&["a", "b"]))])),
        ("Texts=", node(&[("Texts", list(&[]))])),
        ("Flat.1=a&Flat.2=b", node(&[("Flat", list(&["a", "b"]))])),
        ("Node.Node.Text=deep", node(&[("Node", node(&[("Node", node(&[("Text", text("deep"))]))]))])),
        ("Nodes.Item.1.Text=a", node(&[("Nodes", Value::List(vec![node(&[("Text", text("a"))])]))])),
        ("Nodes.member.1.Text=a", node(&[("Nodes", Value::List(vec![node(&[("Text", text("a"))])]))])),
        (
            "TextMap.entry.1.key=k&TextMap.entry.1.value=v&TextMap.entry.2.key=only",
            node(&[("TextMap", Value::Map(vec![("k".into(), text("v"))]))]),
        ),
        ("FlatMap.1.key=k&FlatMap.1.value=7", node(&[("FlatMap", Value::Map(vec![("k".into(), Value::Int(7))]))])),
        (
            "NodeMap.entry.1.key=k&NodeMap.entry.1.value.Text=v",
            node(&[("NodeMap", Value::Map(vec![("k".into(), node(&[("Text", text("v"))]))]))]),
        ),
        ("&&=x&Text=%ff", node(&[("Text", text("\u{fffd}"))])),
    ];
    for (form, expected) in cases {
        assert_eq!(decode(&IAM, "GetNode", form.as_bytes()).ok(), Some(expected), "{form}");
    }
}

#[test]
fn parameters_may_come_in_the_query_string() {
    let value = request(&IAM, &head("GET", "/?Action=GetNode&Text=a&Int=1", &[]), b"Text=b");
    assert_eq!(value.ok(), Some(node(&[("Text", text("b")), ("Int", Value::Int(1))])));
}

#[test]
fn wrong_types_and_excess_are_refused() {
    let refusal = |form: &str| {
        let error = decode(&IAM, "GetNode", form.as_bytes()).expect_err("refused");
        (error.code, error.status, error.message)
    };
    assert_eq!(refusal("Nodes.Item.2.Int=x"), ("MalformedInput", 400, "Nodes.2.Int must be of type Integer".into()));
    assert_eq!(refusal("Int=2147483648").0, "MalformedInput");
    assert_eq!(refusal("Bool=yes").0, "MalformedInput");
    assert_eq!(refusal(&"a=b&".repeat(10_001)).0, "MalformedQueryString");
    assert_eq!(refusal(&"Node.".repeat(50_000)).0, "MalformedQueryString");
}

#[test]
fn answers_are_written() {
    let value = node(&[
        ("Text", text("a<b>&\"\r\u{1}")),
        ("Time", Value::Time(Millis(1_700_000_000_000))),
        ("Texts", Value::List(vec![text("x"), text("y")])),
        ("Flat", Value::List(vec![text("z")])),
        ("FlatMap", Value::Map(vec![("k".into(), Value::Int(1))])),
        ("Nodes", Value::List(vec![])),
        ("TextMap", Value::Map(vec![("k".into(), text("v"))])),
    ]);
    let reply = answer(&IAM, "GetNode", value);
    assert_eq!(
        body(&reply),
        "<GetNodeResponse xmlns=\"https://iam.amazonaws.com/doc/\"><GetNodeResult>\
         <Text>a&lt;b&gt;&amp;&quot;&#xD;\u{fffd}</Text><Time>2023-11-14T22:13:20Z</Time>\
         <Texts><member>x</member><member>y</member></Texts><FlatText>z</FlatText>\
         <FlatMap><key>k</key><value>1</value></FlatMap><Nodes></Nodes>\
         <TextMap><entry><key>k</key><value>v</value></entry></TextMap></GetNodeResult>\
         <ResponseMetadata><RequestId>req-1</RequestId></ResponseMetadata></GetNodeResponse>"
    );
    assert_eq!(header(&reply, "content-type"), Some("text/xml"));
    assert_eq!(
        body(&answer(&IAM, "Nothing", Value::Struct(Vec::new()))),
        "<NothingResponse xmlns=\"https://iam.amazonaws.com/doc/\"><ResponseMetadata><RequestId>req-1</RequestId>\
         </ResponseMetadata></NothingResponse>"
    );
}

#[test]
fn errors_are_written() {
    let error = ServiceError::client("NoSuchEntity", 404, "The role <x> cannot be found.");
    let reply = encode_error(&IAM, &error, "req-1");
    assert_eq!(reply.status, 404);
    assert_eq!(
        body(&reply),
        "<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/\"><Error><Type>Sender</Type><Code>NoSuchEntity</Code>\
         <Message>The role &lt;x&gt; cannot be found.</Message></Error><RequestId>req-1</RequestId></ErrorResponse>"
    );
    let fault = encode_error(&IAM, &ServiceError::server("ServiceFailure", 500, "later"), "req-1");
    assert!(body(&fault).contains("<Type>Receiver</Type>"));
}
