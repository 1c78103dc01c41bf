//! What functions answer, read into HTTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value};
use squall_protocol::Reply;

/// Headers that REST APIs pass under another name.
const REMAPPED: [&str; 14] = [
    "authorization",
    "connection",
    "content-length",
    "content-md5",
    "date",
    "expect",
    "host",
    "max-forwards",
    "proxy-authenticate",
    "server",
    "trailer",
    "upgrade",
    "user-agent",
    "www-authenticate",
];
/// Headers that belong to the connection and cannot come from a function.
const OWN: [&str; 6] = ["connection", "content-length", "keep-alive", "transfer-encoding", "upgrade", "date"];

/// How format 1.0 is read.
#[derive(Clone, Copy, Debug)]
pub enum Reader {
    /// REST APIs: members that AWS does not know make the answer malformed; base64 is decoded for binary answers only.
    Rest {
        /// Whether the caller wants a binary type.
        is_binary: bool,
    },
    /// HTTP APIs.
    Http,
}

/// Format 1.0; `None` when it is malformed.
pub fn version_1(payload: &[u8], reader: Reader) -> Option<Reply> {
    const MEMBERS: [&str; 5] = ["statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"];
    let answer: Map<String, Value> = serde_json::from_slice(payload).ok()?;
    let is_rest = matches!(reader, Reader::Rest { .. });
    if answer.is_empty() || (is_rest && answer.keys().any(|k| !MEMBERS.contains(&k.as_str()))) {
        return None;
    }
    let mut reply = Reply { status: status(answer.get("statusCode"))?, ..Reply::default() };
    for (name, values) in object(answer.get("multiValueHeaders"))?.into_iter().flatten() {
        for value in values.as_array()? {
            add(&mut reply, name, scalar(value)?, reader)?;
        }
    }
    for (name, value) in object(answer.get("headers"))?.into_iter().flatten() {
        let value = scalar(value)?;
        let wire = name.to_ascii_lowercase();
        if !reply.headers.iter().any(|(n, v)| *n == wire && *v == value) {
            add(&mut reply, name, value, reader)?;
        }
    }
    let default = if is_rest { "application/json" } else { "text/plain;charset=UTF-8" };
    content_type(&mut reply, default);
    let decodes = match reader {
        Reader::Rest { is_binary } => is_binary,
        Reader::Http => true,
    };
    reply.body = body(&answer, decodes)?;
    Some(reply)
}

/// Format 2.0; `None` when it is malformed. What is no object with a status is the body of a 200.
pub fn version_2(payload: &Bytes) -> Option<Reply> {
    let value: Value = serde_json::from_slice(payload).ok()?;
    let answer = match value {
        Value::Object(answer) if answer.contains_key("statusCode") => answer,
        other => {
            let body = match other {
                Value::String(text) => text.into(),
                _ => payload.clone(),
            };
            return Some(Reply {
                status: 200,
                headers: vec![("content-type".into(), "application/json".into())],
                body,
            });
        }
    };
    let mut reply = Reply { status: status(answer.get("statusCode"))?, ..Reply::default() };
    for (name, value) in object(answer.get("headers"))?.into_iter().flatten() {
        add(&mut reply, name, scalar(value)?, Reader::Http)?;
    }
    if let Some(cookies) = answer.get("cookies").filter(|c| !c.is_null()) {
        for cookie in cookies.as_array()? {
            add(&mut reply, "set-cookie", cookie.as_str()?.to_owned(), Reader::Http)?;
        }
    }
    content_type(&mut reply, "text/plain;charset=UTF-8");
    reply.body = body(&answer, true)?;
    Some(reply)
}

fn status(value: Option<&Value>) -> Option<u16> {
    let Some(value) = value else { return Some(200) };
    let number = match value {
        Value::String(text) => text.parse().ok()?,
        value => u16::try_from(value.as_u64()?).ok()?,
    };
    (200..=599).contains(&number).then_some(number)
}

/// An object; absent and null are none.
#[allow(clippy::option_option, reason = "malformed and absent are two things")]
fn object(value: Option<&Value>) -> Option<Option<&Map<String, Value>>> {
    match value {
        None | Some(Value::Null) => Some(None),
        Some(value) => value.as_object().map(Some),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null => Some(String::new()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

fn add(reply: &mut Reply, name: &str, value: String, reader: Reader) -> Option<()> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) || value.bytes().any(|b| (b < b' ' && b != b'\t') || b == 0x7f) {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let name = match reader {
        Reader::Rest { .. } if REMAPPED.contains(&name.as_str()) => format!("x-amzn-remapped-{name}"),
        _ if OWN.contains(&name.as_str()) => return Some(()),
        _ => name,
    };
    reply.headers.push((name, value));
    Some(())
}

fn content_type(reply: &mut Reply, default: &str) {
    if !reply.headers.iter().any(|(n, _)| n == "content-type") {
        reply.headers.push(("content-type".into(), default.into()));
    }
}

fn body(answer: &Map<String, Value>, decodes: bool) -> Option<Bytes> {
    let text = match answer.get("body") {
        None => String::new(),
        Some(value) => scalar(value)?,
    };
    let is_base64 = match answer.get("isBase64Encoded") {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => text == "true",
        Some(value) => value.as_bool()?,
    };
    if is_base64 && decodes { STANDARD.decode(text).ok().map(Bytes::from) } else { Some(text.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A payload, and status, headers and body of the answer.
    type Case = (&'static str, Option<(u16, &'static str, &'static str)>);

    fn shown(reply: Option<Reply>) -> Option<(u16, String, String)> {
        let reply = reply?;
        let headers: Vec<String> = reply.headers.iter().map(|(n, v)| format!("{n}={v}")).collect();
        Some((reply.status, headers.join(" "), String::from_utf8_lossy(&reply.body).into_owned()))
    }

    #[test]
    fn format_1_is_read_as_rest_apis_do() {
        let json = "content-type=application/json";
        let cases: [Case; 18] = [
            (r#"{"statusCode":200}"#, Some((200, json, ""))),
            (r#"{"statusCode":"201","body":"x"}"#, Some((201, json, "x"))),
            (r#"{"headers":{"a":true,"B":1}}"#, Some((200, "a=true b=1 content-type=application/json", ""))),
            (r#"{"statusCode":200,"headers":null,"body":null}"#, Some((200, json, ""))),
            (r#"{"statusCode":200,"wrongValue":1}"#, None),
            ("{}", None),
            (r#""text""#, None),
            ("null", None),
            (r#"{"statusCode":"wrong"}"#, None),
            (r#"{"statusCode":99}"#, None),
            (r#"{"statusCode":200,"body":{"a":1}}"#, None),
            (r#"{"statusCode":200,"body":"aGk=","isBase64Encoded":true}"#, Some((200, json, "aGk="))),
            (r#"{"multiValueHeaders":{"m":["1","2"]}}"#, Some((200, "m=1 m=2 content-type=application/json", ""))),
            (
                r#"{"multiValueHeaders":{"m":["multi"]},"headers":{"M":"solo"}}"#,
                Some((200, "m=multi m=solo content-type=application/json", "")),
            ),
            (r#"{"multiValueHeaders":{"m":"1"}}"#, None),
            (r#"{"headers":{"a":"x\r\ny: z"}}"#, None),
            (r#"{"headers":{"a b":"x"}}"#, None),
            (
                r#"{"headers":{"Content-Type":"text/html","Server":"s","Content-Length":"9"}}"#,
                Some((200, "content-type=text/html x-amzn-remapped-server=s x-amzn-remapped-content-length=9", "")),
            ),
        ];
        for (payload, expected) in cases {
            let found = shown(version_1(payload.as_bytes(), Reader::Rest { is_binary: false }));
            assert_eq!(found, expected.map(|(s, h, b)| (s, h.to_owned(), b.to_owned())), "{payload}");
        }
    }

    #[test]
    fn base64_is_decoded_for_binary_answers() {
        let payload = br#"{"statusCode":200,"body":"aGk=","isBase64Encoded":true}"#;
        let body = |reader| shown(version_1(payload, reader)).map(|(_, _, body)| body);
        assert_eq!(body(Reader::Rest { is_binary: true }).as_deref(), Some("hi"));
        assert_eq!(body(Reader::Http).as_deref(), Some("hi"));
        let broken = br#"{"body":"%%","isBase64Encoded":true}"#;
        assert!(version_1(broken, Reader::Http).is_none());
    }

    #[test]
    fn format_2_infers_what_is_missing() {
        let (json, text) = ("content-type=application/json", "content-type=text/plain;charset=UTF-8");
        let cases: [Case; 9] = [
            (r#"{"a":1}"#, Some((200, json, r#"{"a":1}"#))),
            (r#""Hello""#, Some((200, json, "Hello"))),
            ("[1]", Some((200, json, "[1]"))),
            (r#"{"statusCode":204}"#, Some((204, text, ""))),
            (
                r#"{"statusCode":200,"cookies":["a=1","b=2"],"body":"x"}"#,
                Some((200, "set-cookie=a=1 set-cookie=b=2 content-type=text/plain;charset=UTF-8", "x")),
            ),
            (r#"{"statusCode":200,"body":"aGk=","isBase64Encoded":true}"#, Some((200, text, "hi"))),
            (r#"{"statusCode":200,"body":{}}"#, None),
            (r#"{"statusCode":true}"#, None),
            ("nonsense", None),
        ];
        for (payload, expected) in cases {
            let found = shown(version_2(&Bytes::from(payload)));
            assert_eq!(found, expected.map(|(s, h, b)| (s, h.to_owned(), b.to_owned())), "{payload}");
        }
    }
}
