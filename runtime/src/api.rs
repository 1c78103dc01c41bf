//! The Lambda Runtime API of one instance (2018-06-01), as documented for custom runtimes.
//!
//! Served: `invocation/next`, `invocation/{id}/response`, `invocation/{id}/error`, `init/error`, and beside them the
//! Extensions API ([`crate::extensions`]) and what our own client needs for SnapStart ([`crate::snapshots`]). The Logs and Telemetry APIs are refused with a clear text: nothing subscribes and then waits
//! for events that never come.

use crate::extensions::api as extensions;
use crate::http::{Connection, Incoming};
use crate::instance::{Connected, Ending, Instance, NextError};
use crate::logline::{Failure, RESPONSE_BYTES_MAX};
use crate::snapshots::api as snapshots;
use bytes::Bytes;
use serde_json::json;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const PREFIX: &str = "/2018-06-01/runtime/";
/// Connections of one instance at a time: more than any runtime keeps, less than would hurt the server.
const CONNECTIONS_MAX: usize = 32;

/// Accepts the instance's connections until its task is aborted, which closes them too.
pub async fn accept(listener: TcpListener, instance: Arc<Instance>) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => {
                    // Out of descriptors, most likely: leave the others time to close some.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        let Some(guard) = Connected::new(&instance, CONNECTIONS_MAX) else { continue };
        let instance = instance.clone();
        connections.spawn(async move {
            let _guard = guard;
            // A broken connection is the instance's own affair: it may open another.
            let _ = serve(stream, &instance).await;
        });
    }
}

async fn serve(stream: TcpStream, instance: &Arc<Instance>) -> io::Result<()> {
    let mut connection = Connection::new(stream);
    while let Some(request) = connection.read(RESPONSE_BYTES_MAX).await? {
        if let Some(rest) = request.path.strip_prefix(extensions::PREFIX) {
            extensions::answer(&mut connection, instance, rest, &request).await?;
            continue;
        }
        if request.path == snapshots::CREDENTIALS_PATH && request.method == "GET" {
            snapshots::credentials(&mut connection, instance, &request);
            break;
        }
        let Some(rest) = request.path.strip_prefix(PREFIX) else {
            refuse_unknown(&mut connection, &request.path);
            continue;
        };
        let parts: Vec<&str> = rest.split('/').collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["invocation", "next"]) => next(&mut connection, instance).await?,
            ("POST", ["invocation", id, "response"]) => respond(&mut connection, instance, id, &request),
            ("POST", ["invocation", id, "error"]) => fail(&mut connection, instance, id, &request),
            ("POST", ["init", "error"]) => init_error(&mut connection, instance, &request),
            ("POST", ["snapshot", ..]) => snapshots::answer(&mut connection, instance, &parts, &request).await?,
            _ => refuse_unknown(&mut connection, &request.path),
        }
    }
    connection.flush().await
}

fn refuse_unknown(connection: &mut Connection, path: &str) {
    if path.starts_with("/2020-08-15/logs") {
        refuse(connection, "403 Forbidden", "Logs.NotSupported", "Logs API is not supported");
    } else if path.starts_with("/2022-07-01/telemetry") {
        refuse(connection, "403 Forbidden", "Telemetry.NotSupported", "Telemetry API is not supported");
    } else {
        connection.answer("404 Not Found", b"404 page not found");
    }
}

pub fn refuse(connection: &mut Connection, status: &str, kind: &str, message: &str) {
    let body = json!({"errorMessage": message, "errorType": kind}).to_string();
    connection.answer(status, body.as_bytes());
}

pub fn accepted(connection: &mut Connection) {
    connection.answer("202 Accepted", b"{\"status\":\"OK\"}\n");
}

async fn next(connection: &mut Connection, instance: &Arc<Instance>) -> io::Result<()> {
    match instance.asks_for_next() {
        Ok(()) => {}
        Err(NextError::Running) => {
            let text = "State transition is not allowed: the current invocation has no response yet";
            refuse(connection, "403 Forbidden", "InvalidStateTransition", text);
            return Ok(());
        }
    }
    let job = loop {
        // In this order: the permit of a job that is taken right away is spent here and not mistaken for a later one.
        if let Some(job) = instance.take_job() {
            break job;
        }
        tokio::select! {
            () = instance.job_there.notified() => {}
            () = connection.closed() => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    };
    connection.send(&job.head, &job.payload).await
}

fn respond(connection: &mut Connection, instance: &Arc<Instance>, id: &str, request: &Incoming) {
    let ending = match &request.body {
        _ if request.is_streaming => Ending::Error { payload: streaming().payload().into(), is_handled: false },
        Some(body) => Ending::Response(body.clone()),
        None => Ending::TooLarge,
    };
    let is_too_large = matches!(ending, Ending::TooLarge);
    if !instance.end_request(Some(id), ending) {
        refuse(connection, "400 Bad Request", "InvalidRequestID", "Invalid request ID");
    } else if request.is_streaming {
        refuse(connection, "400 Bad Request", "StreamingNotSupported", &streaming().message);
    } else if is_too_large {
        let text = format!("Exceeded maximum allowed payload size ({RESPONSE_BYTES_MAX} bytes).");
        refuse(connection, "413 Payload Too Large", "RequestEntityTooLarge", &text);
    } else {
        accepted(connection);
    }
}

fn streaming() -> Failure {
    let message = "Response streaming is not supported: send the response as one body".to_owned();
    Failure { kind: "Runtime.StreamingNotSupported".into(), message }
}

fn fail(connection: &mut Connection, instance: &Arc<Instance>, id: &str, request: &Incoming) {
    let body = request.body.clone().unwrap_or_else(|| Bytes::from(crate::logline::too_large().payload()));
    // The header's value "Handled" is the one thing that makes the difference on the Invoke API.
    let is_handled = request.error_type.as_deref() == Some("Handled");
    if instance.end_request(Some(id), Ending::Error { payload: body, is_handled }) {
        accepted(connection);
    } else {
        refuse(connection, "400 Bad Request", "InvalidRequestID", "Invalid request ID");
    }
}

fn init_error(connection: &mut Connection, instance: &Arc<Instance>, request: &Incoming) {
    let body = request.body.clone().unwrap_or_default();
    let in_body = || {
        let value: serde_json::Value = serde_json::from_slice(&body).ok()?;
        Some(value.get("errorType")?.as_str()?.to_owned())
    };
    let kind =
        request.error_type.clone().filter(|t| !t.is_empty()).or_else(in_body).unwrap_or_else(|| "Unhandled".into());
    if instance.init_error(kind, body.clone()) {
        accepted(connection);
    } else {
        let text = "State transition is not allowed: the runtime is initialised";
        refuse(connection, "403 Forbidden", "InvalidStateTransition", text);
    }
}
