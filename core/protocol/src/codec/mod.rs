//! From the wire's bytes to a [`Value`] and back, by the operation's shapes.
//!
//! One file per concern: `json` and `xml` know the two body formats, `form` the query protocol's parameters, `rest` the
//! bindings to URI, query and headers, `scalar` single values as text, `quirk` where services answer in words of their own.
//! Decoders hold memory in proportion to the body, refuse nesting past a bound, and never panic on what they read.

mod form;
mod json;
pub(crate) mod quirk;
mod rest;
mod scalar;
mod xml;

#[cfg(test)]
mod tests;

pub use json::write_text;

use crate::error::{Extra, Fault};
use crate::http::{Head, Reply};
use crate::route::Route;
use crate::schema::{Operation, Protocol, Service};
use crate::{ServiceError, Value};
use bytes::Bytes;

/// Reads a request into a [`Value::Struct`] shaped by the operation's input; an operation without input gives an empty one.
///
/// Absent and null members are left out; unknown members are passed over.
///
/// # Errors
/// `SerializationException` (JSON), `MalformedInput` and `MalformedQueryString` (query), `MalformedXML` (XML), each with status 400.
pub fn decode(service: &'static Service, route: &Route, head: &Head, body: &Bytes) -> Result<Value, ServiceError> {
    let Some(shape) = route.op.input else { return Ok(Value::Struct(Vec::new())) };
    match service.protocol {
        Protocol::Json => json::read_body(service, shape, body),
        Protocol::Query => form::read(shape, head, body),
        Protocol::RestJson | Protocol::RestXml => rest::read(service, shape, route, head, body),
    }
}

/// Writes an operation's answer.
#[must_use]
pub fn encode(service: &'static Service, op: &'static Operation, value: Value, request_id: &str) -> Reply {
    match service.protocol {
        Protocol::Json => {
            let mut body = Vec::with_capacity(256 + written_bytes(&value));
            if let Some(shape) = op.output {
                json::write(&mut body, shape, &value);
            }
            json_reply(service, op.status, body, request_id)
        }
        Protocol::Query => {
            let body = xml::query_answer(service, op, &value, request_id);
            xml_reply(op.status, "text/xml", body, request_id)
        }
        Protocol::RestJson | Protocol::RestXml => rest::write(service, op, value, request_id),
    }
}

/// Writes an operation's error.
#[must_use]
pub fn encode_error(service: &'static Service, error: &ServiceError, request_id: &str) -> Reply {
    match service.protocol {
        Protocol::Json => {
            let kind = format!("{}{}", quirk::error_namespace(service, error.code), error.code);
            json_reply(service, error.status, error_json(error, Some(&kind)), request_id)
        }
        Protocol::RestJson => Reply {
            status: error.status,
            headers: vec![
                ("x-amzn-RequestId".into(), request_id.into()),
                ("x-amzn-ErrorType".into(), error.code.into()),
                ("Content-Type".into(), "application/json".into()),
            ],
            body: error_json(error, None).into(),
        },
        Protocol::Query => {
            xml_reply(error.status, "text/xml", xml::query_error(service, error, request_id), request_id)
        }
        Protocol::RestXml => {
            let mut reply = xml_reply(error.status, "application/xml", xml::rest_error(service, error, request_id), "");
            reply.headers.insert(0, ("x-amz-request-id".into(), request_id.into()));
            reply
        }
    }
}

/// Bytes of JSON that a room has written already.
fn written_bytes(value: &Value) -> usize {
    match value {
        Value::Json(json) => json.len(),
        Value::Struct(members) => members.iter().map(|(_, v)| written_bytes(v)).sum(),
        _ => 0,
    }
}

fn json_reply(service: &Service, status: u16, body: Vec<u8>, request_id: &str) -> Reply {
    let mut headers = vec![
        ("x-amzn-RequestId".to_owned(), request_id.to_owned()),
        ("Content-Type".to_owned(), ["application/x-amz-json-", service.json_version].concat()),
    ];
    if quirk::has_checksum(service) {
        headers.push(("x-amz-crc32".to_owned(), crc32fast::hash(&body).to_string()));
    }
    Reply { status, headers, body: body.into() }
}

fn xml_reply(status: u16, content_type: &str, body: String, request_id: &str) -> Reply {
    let mut headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
    if !request_id.is_empty() {
        headers.insert(0, ("x-amzn-RequestId".to_owned(), request_id.to_owned()));
    }
    Reply { status, headers, body: body.into() }
}

/// An error's JSON object: `__type` where the protocol has it, the message unless it is empty, then the further members.
fn error_json(error: &ServiceError, kind: Option<&str>) -> Vec<u8> {
    let mut out = json::Object::new();
    if let Some(kind) = kind {
        out.text("__type", kind);
    }
    if !error.message.is_empty() {
        out.text(if error.upper_message { "Message" } else { "message" }, &error.message);
    }
    for (name, extra) in &error.members {
        match extra {
            Extra::Text(text) => out.text(name, text),
            Extra::Shaped(shape, value) => out.value(name, shape, value),
        }
    }
    out.end()
}

/// `Sender` or `Receiver`, as the query protocol names who is at fault.
fn fault_name(fault: Fault) -> &'static str {
    match fault {
        Fault::Client => "Sender",
        Fault::Server => "Receiver",
    }
}
