//! Input that no client would send. Each gets an error of AWS's kind, and the server goes on.

use squall_testkit::{Response, Server};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const JSON_1_0: (&str, &str) = ("content-type", "application/x-amz-json-1.0");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[track_caller]
fn refused(server: &Server, what: &str, response: &Response, status: u16, part: &str) {
    let text = response.text();
    assert_eq!(response.status, status, "{what}: {text}");
    assert!(text.contains(part), "{what}: expected {part:?} in {text}");
    assert_eq!(server.health()["status"], "ok", "after {what}");
}

fn dynamo(server: &Server, operation: &str, body: &[u8]) -> Response {
    let target = format!("DynamoDB_20120810.{operation}");
    server.signed("dynamodb", ("POST", "/"), &[JSON_1_0, ("x-amz-target", &target)], body)
}

#[test]
fn malformed_bodies() {
    let server = Server::start();
    let deep = "[".repeat(100_000);
    let deep_item = format!(r#"{{"TableName":"t","Item":{}{}}}"#, r#"{"a":{"M":"#.repeat(5_000), "}".repeat(10_000));
    for (what, body) in [
        ("no JSON", "nope"),
        ("half JSON", r#"{"TableName": "t""#),
        ("a wrong type", r#"{"TableName": 7}"#),
        ("an array", "[]"),
        ("a string", "\"x\""),
        ("no UTF-8", "\u{FFFD}"),
        ("deep nesting", &deep),
        ("a deep item", &deep_item),
        ("a long number", &format!(r#"{{"Limit": {}}}"#, "9".repeat(100_000))),
        ("trailing text", r#"{"TableName": "t"} x"#),
    ] {
        refused(&server, what, &dynamo(&server, "PutItem", body.as_bytes()), 400, "Exception");
    }
    refused(&server, "bytes", &dynamo(&server, "PutItem", &[0xff, 0xfe, 0x00]), 400, "SerializationException");
    let lambda = |body: &str| {
        server.signed(
            "lambda",
            ("POST", "/2015-03-31/functions"),
            &[("content-type", "application/json")],
            body.as_bytes(),
        )
    };
    refused(&server, "lambda: no JSON", &lambda("nope"), 400, "");
    refused(&server, "lambda: a wrong type", &lambda(r#"{"FunctionName": {}}"#), 400, "");
    refused(&server, "lambda: an empty body", &lambda(""), 400, "");
    let form = |body: &str| server.signed("iam", ("POST", "/"), &[FORM], body.as_bytes());
    refused(&server, "no action", &form("Version=2010-05-08"), 400, "");
    refused(&server, "half an escape", &form("Action=GetUser&Version=2010-05-08&UserName=%"), 400, "ValidationError");
    refused(&server, "an odd form", &form("Action=ListUsers&Version=2010-05-08&MaxItems=many"), 400, "");
    refused(
        &server,
        "a huge index",
        &form("Action=TagUser&Version=2010-05-08&UserName=u&Tags.member.99999999999.Key=k"),
        400,
        "",
    );
    refused(&server, "binary form", &form("\u{0}\u{1}=&&&==&%00=%ff"), 400, "");
}

#[test]
fn unknown_operations() {
    let server = Server::start();
    refused(&server, "dynamodb", &dynamo(&server, "MakeCoffee", b"{}"), 400, "UnknownOperationException");
    refused(
        &server,
        "a feature that this cloud lacks",
        &dynamo(&server, "CreateGlobalTable", br#"{"GlobalTableName":"g00","ReplicationGroup":[]}"#),
        400,
        "CreateGlobalTable",
    );
    let query = [("x-amz-target", "Logs_20140328.StartQuery"), ("content-type", "application/x-amz-json-1.1")];
    let answer = server.signed("logs", ("POST", "/"), &query, b"{}");
    refused(&server, "a real one that is not served", &answer, 501, "StartQuery");
    let form = |body: &str| server.signed("iam", ("POST", "/"), &[FORM], body.as_bytes());
    refused(&server, "iam", &form("Action=MakeCoffee&Version=2010-05-08"), 400, "InvalidAction");
    refused(&server, "lambda", &server.signed("lambda", ("GET", "/2015-03-31/coffee"), &[], b""), 404, "");
    let target = [("x-amz-target", "Nowhere.DoIt"), ("content-type", "application/x-amz-json-1.1")];
    let nowhere = server.http("POST", "/", &target, b"{}");
    assert!((400..600).contains(&nowhere.status), "{nowhere:?}");
}

#[test]
fn bodies_beyond_the_limits() {
    let server = Server::start();
    let big = vec![b' '; 17 << 20];
    refused(&server, "dynamodb over 16 MiB", &dynamo(&server, "PutItem", &big), 413, "");
    let huge = vec![b' '; 71 << 20];
    let answer =
        server.signed("lambda", ("POST", "/2015-03-31/functions"), &[("content-type", "application/json")], &huge);
    refused(
        &server,
        "CreateFunction over 70 MB",
        &answer,
        413,
        "Request must be smaller than 70167211 bytes for the CreateFunction operation",
    );
    assert_eq!(answer.header("x-amzn-errortype"), Some("RequestEntityTooLargeException"));
    // The declared length alone is enough, before a byte of the body.
    let claimed = server.http("POST", "/2015-03-31/functions", &[("content-length", "99999999999")], b"");
    assert!((400..500).contains(&claimed.status), "{claimed:?}");
}

#[test]
fn broken_http() {
    let server = Server::start();
    for bytes in [
        &b"\r\n\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: abc\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nx-h: \xff\xfe\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\xff\xff\xff\xff\xff\xff\xff",
        b"GET /%zz%00%ff/../../../etc/passwd HTTP/1.1\r\nhost: \r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address()).expect("connect");
        stream.set_read_timeout(Some(Duration::from_millis(500))).expect("set a timeout");
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(
            !answer.starts_with(b"HTTP/1.1 2"),
            "{:?} → {:?}",
            String::from_utf8_lossy(bytes),
            String::from_utf8_lossy(&answer)
        );
        assert_eq!(server.health()["status"], "ok");
    }
    let long = "x".repeat(300_000);
    let answer = squall_testkit::send(server.address(), "GET", "/", &[("x-long", &long)], b"");
    assert!(answer.is_err() || answer.is_ok_and(|a| a.status >= 400), "a header of 300 kB");
    assert_eq!(server.health()["status"], "ok");
}

#[test]
fn connections_that_never_finish_hold_nobody_up() {
    let server = Server::start();
    let mut held = Vec::new();
    for i in 0..200 {
        let mut stream = TcpStream::connect(server.address()).expect("connect");
        let part: &[u8] = match i % 3 {
            0 => b"",
            1 => b"POST / HTTP/1.1\r\nhost: x\r\n",
            _ => b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nhalf",
        };
        stream.write_all(part).expect("send a part");
        held.push(stream);
    }
    for _ in 0..20 {
        assert_eq!(server.health()["status"], "ok");
    }
}

#[test]
fn packages() {
    let server = Server::start();
    println!("{}", server.python("packages.py", &[]).ok());
    assert_eq!(server.health()["status"], "ok");
}
