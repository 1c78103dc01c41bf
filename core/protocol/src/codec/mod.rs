//! From the wire's bytes to a [`Value`] and back, by the operation's shapes.

use crate::http::{Head, Reply};
use crate::route::Route;
use crate::schema::{Operation, Service};
use crate::{ServiceError, Value};
use bytes::Bytes;

/// Reads a request into a [`Value::Struct`] shaped by the operation's input; an operation without input gives an empty one.
///
/// # Errors
/// `SerializationException` and its like, in the service's own words.
pub fn decode(service: &'static Service, route: &Route, head: &Head, body: &Bytes) -> Result<Value, ServiceError> {
    let _ = (service, route, head, body);
    Err(ServiceError::server("InternalFailure", 500, ""))
}

/// Writes an operation's answer.
#[must_use]
pub fn encode(service: &'static Service, op: &'static Operation, value: Value, request_id: &str) -> Reply {
    let _ = (service, op, value, request_id);
    Reply::default()
}

/// Writes an operation's error.
#[must_use]
pub fn encode_error(service: &'static Service, error: &ServiceError, request_id: &str) -> Reply {
    let _ = (service, error, request_id);
    Reply::default()
}
