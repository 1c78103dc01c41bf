//! Cases for every protocol: the forms of AWS's protocol descriptions, and recorded texts of errors.

mod json;
mod query;
mod random;
mod rest;

use crate::fixture::NODE;
use crate::http::{Head, Reply};
use crate::route::{Route, route};
use crate::schema::{Service, Shape};
use crate::{ServiceError, Value};
use bytes::Bytes;

/// A structure by member names.
fn fields(shape: &Shape, members: &[(&str, Value)]) -> Value {
    let index = |name: &str| shape.members().iter().position(|m| m.name == name).expect("a member");
    Value::Struct(members.iter().map(|(name, v)| (index(name) as u16, v.clone())).collect())
}

fn node(members: &[(&str, Value)]) -> Value {
    fields(&NODE, members)
}

fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> Head {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let headers = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Head { method: method.into(), path: path.into(), query: query.into(), headers }
}

/// The named operation of a service whose operations have names on the wire.
fn named(service: &'static Service, name: &str) -> Route {
    Route { op: service.operation(name).expect("an operation"), labels: Vec::new() }
}

fn decode(service: &'static Service, name: &str, body: &[u8]) -> Result<Value, ServiceError> {
    super::decode(service, &named(service, name), &Head::default(), &Bytes::copy_from_slice(body))
}

/// Routes and decodes.
fn request(service: &'static Service, head: &Head, body: &[u8]) -> Result<Value, ServiceError> {
    let body = Bytes::copy_from_slice(body);
    super::decode(service, &route(service, head, &body).expect("an operation"), head, &body)
}

fn answer(service: &'static Service, name: &str, value: Value) -> Reply {
    super::encode(service, named(service, name).op, value, "req-1")
}

fn body(reply: &Reply) -> &str {
    std::str::from_utf8(&reply.body).expect("text")
}

fn header<'r>(reply: &'r Reply, name: &str) -> Option<&'r str> {
    reply.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
}
