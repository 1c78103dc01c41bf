//! XML bodies: rest-xml's both ways, and the query protocol's answers.

mod read;
mod write;

use super::fault_name;
use crate::error::Extra;
use crate::schema::{Kind, Member, Operation, Service, Shape};
use crate::{ServiceError, Value};
use bytes::Bytes;

/// Reads a document into a value of the shape; the root element's name does not matter, as with AWS.
///
/// # Errors
/// `MalformedXML`, 400.
pub(crate) fn read(shape: &'static Shape, body: &Bytes) -> Result<Value, ServiceError> {
    read::document(shape, body).ok_or_else(|| {
        let text = "The XML you provided was not well-formed or did not validate against our published schema";
        ServiceError::client("MalformedXML", 400, text)
    })
}

/// A whole document with that root element, whose members are those of the body.
pub(crate) fn document(service: &Service, root: &str, shape: &'static Shape, fields: &[(u16, Value)]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    write::root(&mut out, root, service.xml_namespace, |out| write::body_members(out, shape, fields));
    out
}

/// The query protocol's answer.
pub(crate) fn query_answer(service: &Service, op: &Operation, value: &Value, request_id: &str) -> String {
    let mut out = String::with_capacity(512);
    write::root(&mut out, &format!("{}Response", op.name), service.xml_namespace, |out| {
        if let (Some(shape), Value::Struct(fields)) = (op.output, value) {
            let result = |out: &mut String| write::body_members(out, shape, fields);
            if op.result_wrapper.is_empty() { result(out) } else { write::wrapped(out, op.result_wrapper, result) }
        }
        write::wrapped(out, "ResponseMetadata", |out| write::text_element(out, "RequestId", request_id));
    });
    out
}

/// The query protocol's error.
pub(crate) fn query_error(service: &Service, error: &ServiceError, request_id: &str) -> String {
    let mut out = String::with_capacity(512);
    write::root(&mut out, "ErrorResponse", service.xml_namespace, |out| {
        write::wrapped(out, "Error", |out| {
            write::text_element(out, "Type", fault_name(error.fault));
            error_members(out, error);
        });
        write::text_element(out, "RequestId", request_id);
    });
    out
}

/// rest-xml's error: S3's stands alone, others wrap it as the query protocol does.
pub(crate) fn rest_error(service: &Service, error: &ServiceError, request_id: &str) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    if !super::quirk::has_bare_error(service) {
        out.push_str(&query_error(service, error, request_id));
        return out;
    }
    write::wrapped(&mut out, "Error", |out| {
        error_members(out, error);
        write::text_element(out, "RequestId", request_id);
    });
    out
}

fn error_members(out: &mut String, error: &ServiceError) {
    write::text_element(out, "Code", error.code);
    write::text_element(out, "Message", &error.message);
    for (name, extra) in &error.members {
        match extra {
            Extra::Text(text) => write::text_element(out, name, text),
            Extra::Shaped(shape, value) => write::element(out, name, shape, value),
        }
    }
}

/// The element's name of a member. A flattened list has no element of its own, so its elements' name stands for it.
fn member_name(member: &Member) -> &'static str {
    match member.shape.kind {
        Kind::List { flattened: true, member_name, .. } if member_name != "member" => member_name,
        _ => member.wire,
    }
}
