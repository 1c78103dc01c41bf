//! The Extensions API (2020-01-01), on the connections of the Runtime API: `register`, `event/next`, `init/error`, `exit/error`.

use crate::http::{Connection, Incoming};
use crate::instance::Instance;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use std::io;
use std::sync::Arc;

/// Where its paths begin.
pub const PREFIX: &str = "/2020-01-01/extension/";

#[derive(Deserialize)]
struct Registration {
    #[serde(default)]
    events: Vec<String>,
}

/// Answers one request.
pub async fn answer(
    connection: &mut Connection,
    instance: &Arc<Instance>,
    path: &str,
    request: &Incoming,
) -> io::Result<()> {
    match (request.method.as_str(), path) {
        ("POST", "register") => register(connection, instance, request),
        ("GET", "event/next") => return next(connection, instance, request).await,
        ("POST", "init/error") => fail(connection, instance, request, "Extension.InitError"),
        ("POST", "exit/error") => fail(connection, instance, request, "Extension.ExitError"),
        _ => connection.answer("404 Not Found", b"404 page not found"),
    }
    Ok(())
}

fn refuse(connection: &mut Connection, kind: &str, message: &str) {
    let body = json!({"errorMessage": message, "errorType": kind}).to_string();
    connection.answer("403 Forbidden", body.as_bytes());
}

fn register(connection: &mut Connection, instance: &Arc<Instance>, request: &Incoming) {
    let name = request.extension.name.clone().unwrap_or_default();
    if name.is_empty() {
        return refuse(connection, "Extension.InvalidExtensionName", "Empty extension name");
    }
    let body = request.body.clone().unwrap_or_default();
    let Ok(registration) = serde_json::from_slice::<Registration>(&body) else {
        return refuse(connection, "InvalidRequestFormat", "the body is no object with a list `events`");
    };
    let id = instance.engine.uuid();
    if let Err((kind, text)) = instance.extensions.register(id.clone(), &name, &registration.events) {
        return refuse(connection, kind, &text);
    }
    let function = &instance.function;
    let mut fields = json!({
        "functionName": function.name,
        "functionVersion": function.version,
        "handler": function.handler,
    });
    let accepts = request.extension.accepts.as_deref().unwrap_or_default();
    if accepts.split(',').any(|feature| feature.trim() == "accountId") {
        fields["accountId"] = json!(function.account);
    }
    connection.answer_with("200 OK", &[("Lambda-Extension-Identifier", &id)], fields.to_string().as_bytes());
}

/// The identifier of a registered extension, or its refusal.
fn known(connection: &mut Connection, instance: &Instance, request: &Incoming) -> Option<(String, String)> {
    let Some(id) = request.extension.id.clone().filter(|id| !id.is_empty()) else {
        refuse(connection, "Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header");
        return None;
    };
    match instance.extensions.name(&id) {
        Some(name) => Some((id, name)),
        None => {
            refuse(connection, "Extension.UnknownExtensionIdentifier", &format!("Unknown extension {id}"));
            None
        }
    }
}

async fn next(connection: &mut Connection, instance: &Arc<Instance>, request: &Incoming) -> io::Result<()> {
    let Some((id, name)) = known(connection, instance, request) else { return Ok(()) };
    let Some(wake) = instance.extensions.asks(&id) else { return Ok(()) };
    if instance.settle() {
        // The runtime waits already.
        instance.job_there.notify_one();
    }
    let event = loop {
        if let Some(event) = instance.extensions.take(&id) {
            break event;
        }
        connection.flush().await?;
        tokio::select! {
            () = wake.notified() => {}
            () = connection.closed() => {
                // It has ended while it should wait: without it the instance is not what it should be.
                let text = format!("RequestId: {} Error: the extension {name} has exited", instance.engine.uuid());
                fail_instance(instance, "Extension.Crash", &text);
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    };
    let event_id = instance.engine.uuid();
    connection.answer_with("200 OK", &[("Lambda-Extension-Event-Identifier", &event_id)], event.as_bytes());
    connection.flush().await
}

fn fail_instance(instance: &Arc<Instance>, kind: &str, message: &str) {
    let payload = json!({"errorType": kind, "errorMessage": message}).to_string();
    instance.extension_failed(kind, Bytes::from(payload));
}

/// `init/error` and `exit/error`: the extension gives up, and with it the instance.
fn fail(connection: &mut Connection, instance: &Arc<Instance>, request: &Incoming, usual: &str) {
    let Some((_, name)) = known(connection, instance, request) else { return };
    let Some(kind) = request.extension.error_type.clone().filter(|k| !k.is_empty()) else {
        let text = "Missing Lambda-Extension-Function-Error-Type header";
        return refuse(connection, "MissingHeader", text);
    };
    connection.answer("202 Accepted", b"{\"status\":\"OK\"}\n");
    let said = request.body.as_deref().and_then(|b| serde_json::from_slice::<serde_json::Value>(b).ok());
    let said = said.as_ref().and_then(|v| v.get("errorMessage")?.as_str()).unwrap_or(&kind).to_owned();
    fail_instance(instance, usual, &format!("Extension {name}: {said}"));
}
