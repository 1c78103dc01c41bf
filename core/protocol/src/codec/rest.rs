//! The REST protocols: what travels in URI, query and headers; the body's format is JSON's or XML's business.

use super::{form, json, quirk, scalar, xml};
use crate::http::{Head, Reply};
use crate::route::Route;
use crate::schema::{Kind, Location, Member, Operation, Protocol, Service, Shape, TimestampFormat};
use crate::{ServiceError, Value};
use bytes::Bytes;

/// Reads all parts of a request.
///
/// # Errors
/// `SerializationException` or, for XML, `MalformedXML` and `InvalidArgument`; all 400.
pub(crate) fn read(
    service: &'static Service,
    shape: &'static Shape,
    route: &Route,
    head: &Head,
    body: &Bytes,
) -> Result<Value, ServiceError> {
    let params: Vec<(String, String)> = form::pairs(head.query.as_bytes()).collect();
    let mut out = Vec::new();
    for (index, member) in (0_u16..).zip(shape.members()) {
        let read = match member.location {
            Location::Uri => label(member, route),
            Location::Query => parameter(shape, member, &params),
            Location::Header => header(member, head),
            Location::Headers => prefixed(member, head),
            Location::Body | Location::Status => Ok(None),
        };
        match read {
            Ok(Some(value)) => out.push((index, value)),
            Ok(None) => {}
            Err(not) => return Err(bad_text(service, member, not)),
        }
    }
    match (&shape.kind, payload(shape)) {
        (Kind::Structure { .. }, Some((index, member))) => {
            if let Some(value) = read_payload(service, member, body)? {
                out.push((index, value));
            }
        }
        _ => {
            let has_body = shape.members().iter().any(|m| m.location == Location::Body);
            if has_body && !body.is_empty() {
                let members = match service.protocol {
                    Protocol::RestXml => xml::read(shape, body)?,
                    _ => json::read_body(service, shape, body)?,
                };
                if let Value::Struct(members) = members {
                    out.extend(members);
                }
            }
        }
    }
    Ok(Value::Struct(out))
}

fn payload(shape: &'static Shape) -> Option<(u16, &'static Member)> {
    let Kind::Structure { members, payload: Some(index) } = shape.kind else { return None };
    Some((index, members.get(usize::from(index))?))
}

fn bad_text(service: &Service, member: &Member, not: scalar::NotA) -> ServiceError {
    match service.protocol {
        Protocol::RestXml => {
            let text = format!("Provided {} not an {} or within its range", member.wire, not.0.to_lowercase());
            ServiceError::client("InvalidArgument", 400, text)
        }
        _ => {
            let text = format!("STRING_VALUE can not be converted to an {}", not.0);
            ServiceError::client("SerializationException", 400, text).upper()
        }
    }
}

type Read = Result<Option<Value>, scalar::NotA>;

fn label(member: &Member, route: &Route) -> Read {
    let found = route.labels.iter().find(|(name, _)| *name == member.wire);
    found.map(|(_, text)| scalar::from_text(member.shape, text)).transpose()
}

fn parameter(shape: &Shape, member: &Member, params: &[(String, String)]) -> Read {
    let mut named = params.iter().filter(|(name, _)| name == member.wire).map(|(_, text)| text.as_str());
    match &member.shape.kind {
        Kind::List { member: element, .. } => {
            let list: Result<Vec<Value>, _> = named.map(|text| scalar::from_text(element, text)).collect();
            list.map(|l| (!l.is_empty()).then_some(Value::List(l)))
        }
        Kind::Map { value, .. } => {
            let bound = |name: &str| {
                shape.members().iter().any(|m| {
                    m.location == Location::Query && m.wire == name && !matches!(m.shape.kind, Kind::Map { .. })
                })
            };
            every_parameter(value, params.iter().filter(|(name, _)| !bound(name)))
        }
        _ => named.next().map(|text| scalar::from_text(member.shape, text)).transpose(),
    }
}

/// All parameters as a map; one that is given several times keeps its last value, or all of them where values are lists.
fn every_parameter<'p>(shape: &Shape, params: impl Iterator<Item = &'p (String, String)>) -> Read {
    let mut at = std::collections::BTreeMap::new();
    let mut out: Vec<(String, Value)> = Vec::new();
    for (name, text) in params {
        let value = match &shape.kind {
            Kind::List { member, .. } => Value::List(vec![scalar::from_text(member, text)?]),
            _ => scalar::from_text(shape, text)?,
        };
        match (at.get(name.as_str()).and_then(|i: &usize| out.get_mut(*i)), value) {
            (Some((_, Value::List(before))), Value::List(more)) => before.extend(more),
            (Some(before), value) => before.1 = value,
            (None, value) => {
                at.insert(name.as_str(), out.len());
                out.push((name.clone(), value));
            }
        }
    }
    Ok((!out.is_empty()).then_some(Value::Map(out)))
}

fn header(member: &Member, head: &Head) -> Read {
    let mut named = head.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(member.wire));
    match &member.shape.kind {
        Kind::List { member: element, .. } => {
            let all: Vec<&str> = named.map(|(_, v)| v).collect();
            let list: Result<Vec<Value>, _> =
                split_list(element, &all.join(",")).iter().map(|text| scalar::from_text(element, text)).collect();
            list.map(|l| (!l.is_empty()).then_some(Value::List(l)))
        }
        _ => named.next().map(|(_, text)| scalar::from_text(member.shape, text)).transpose(),
    }
}

/// Elements of a header list; quoted ones may hold commas, and RFC 7231 dates hold one each.
fn split_list(element: &Shape, text: &str) -> Vec<String> {
    let dates = matches!(element.kind, Kind::Timestamp(_)) && text.contains(", ");
    let mut out = vec![String::new()];
    let (mut quoted, mut escaped, mut commas) = (false, false, 0);
    for c in text.chars() {
        let Some(last) = out.last_mut() else { break };
        match c {
            _ if escaped => {
                last.push(c);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                commas += 1;
                if dates && commas % 2 == 1 { last.push(c) } else { out.push(String::new()) }
            }
            _ => last.push(c),
        }
    }
    out.into_iter().map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect()
}

fn prefixed(member: &Member, head: &Head) -> Read {
    let prefix = member.wire.to_ascii_lowercase();
    let rest = |name: &str| name.to_ascii_lowercase().strip_prefix(&prefix).map(str::to_owned);
    let found = head.headers.iter().filter_map(|(name, v)| Some((rest(name)?, Value::Str(v.to_owned()))));
    let mut out: Vec<(String, Value)> = found.collect();
    out.sort_by(|a, b| a.0.cmp(&b.0));
    out.dedup_by(|a, b| a.0 == b.0);
    Ok((!out.is_empty()).then_some(Value::Map(out)))
}

fn read_payload(
    service: &'static Service,
    member: &'static Member,
    body: &Bytes,
) -> Result<Option<Value>, ServiceError> {
    match member.shape.kind {
        Kind::Blob { streaming, .. } => Ok((streaming || !body.is_empty()).then(|| Value::Blob(body.clone()))),
        _ if body.is_empty() => Ok(None),
        Kind::String { .. } => Ok(Some(Value::Str(String::from_utf8_lossy(body).into_owned()))),
        _ if service.protocol == Protocol::RestXml => xml::read(member.shape, body).map(Some),
        _ => json::read_payload(service, member.shape, body).map(Some),
    }
}

/// Writes an operation's answer.
pub(crate) fn write(service: &'static Service, op: &'static Operation, value: Value, request_id: &str) -> Reply {
    let id_name = if quirk::has_bare_error(service) { "x-amz-request-id" } else { "x-amzn-RequestId" };
    let mut reply = Reply { status: op.status, headers: vec![(id_name.into(), request_id.into())], body: Bytes::new() };
    let (Some(shape), Value::Struct(mut fields)) = (op.output, value) else { return reply };
    let members = shape.members();
    for (index, value) in &fields {
        let Some(member) = members.get(usize::from(*index)) else { continue };
        match (member.location, value) {
            (Location::Status, Value::Int(status)) => reply.status = u16::try_from(*status).unwrap_or(op.status),
            (Location::Header, _) => {
                reply.headers.extend(header_text(member.shape, value).map(|text| (member.wire.to_owned(), text)));
            }
            (Location::Headers, Value::Map(entries)) => {
                let text = |v: &Value| v.as_str().map(header_safe);
                let named = entries.iter().filter_map(|(k, v)| Some((format!("{}{k}", member.wire), text(v)?)));
                reply.headers.extend(named.filter(|(name, _)| is_token(name)));
            }
            _ => {}
        }
    }
    let (body, content_type) = match payload(shape) {
        Some((index, member)) => {
            let at = fields.iter().position(|(i, _)| *i == index);
            write_payload(service, member, at.map(|at| fields.swap_remove(at).1))
        }
        None if members.iter().any(|m| m.location == Location::Body) && reply.status != 204 => {
            write_members(service, op, shape, &fields)
        }
        None => (Bytes::new(), None),
    };
    reply.body = body;
    if let Some(content_type) = content_type
        && !reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
    {
        reply.headers.push(("Content-Type".into(), content_type.into()));
    }
    reply
}

type Body = (Bytes, Option<&'static str>);

fn write_members(service: &Service, op: &Operation, shape: &'static Shape, fields: &[(u16, Value)]) -> Body {
    if service.protocol == Protocol::RestXml {
        let root = if op.result_wrapper.is_empty() { shape.name } else { op.result_wrapper };
        return (xml::document(service, root, shape, fields).into(), Some("application/xml"));
    }
    let mut body = Vec::with_capacity(256);
    json::write_body_members(&mut body, shape, fields);
    (body.into(), Some("application/json"))
}

fn write_payload(service: &Service, member: &'static Member, value: Option<Value>) -> Body {
    match (value, service.protocol) {
        (None | Some(Value::Null), _) => (Bytes::new(), None),
        // Lambda's Invoke sends its function's JSON as a blob and says so; S3 names the type in a header of its own.
        (Some(Value::Blob(bytes)), Protocol::RestJson) => (bytes, Some("application/json")),
        (Some(Value::Blob(bytes)), _) => (bytes, Some("binary/octet-stream")),
        (Some(Value::Str(text)), _) => (text.into(), Some("text/plain")),
        (Some(Value::Struct(fields)), Protocol::RestXml) => {
            (xml::document(service, member.wire, member.shape, &fields).into(), Some("application/xml"))
        }
        (Some(value), _) => {
            let mut body = Vec::with_capacity(256);
            json::write(&mut body, member.shape, &value);
            (body.into(), Some("application/json"))
        }
    }
}

fn header_text(shape: &Shape, value: &Value) -> Option<String> {
    let text = match (value, &shape.kind) {
        (Value::List(list), Kind::List { member, .. }) => {
            let texts: Vec<String> = list.iter().filter_map(|v| header_text(member, v)).collect();
            texts.join(", ")
        }
        _ => scalar::to_text(shape, value, TimestampFormat::Rfc822)?,
    };
    Some(header_safe(&text))
}

/// Control characters become spaces: a value must not end its header line.
fn header_safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Whether the text may name a header.
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
