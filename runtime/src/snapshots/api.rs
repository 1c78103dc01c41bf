//! What instances with snapshots ask of their Runtime API beyond AWS's paths, and the credentials that their SDKs fetch.

use super::{Made, is_off};
use crate::api::{accepted, refuse};
use crate::http::{Connection, Incoming};
use crate::instance::{Instance, Phase};
use crate::logline::{Status, iso};
use crate::platform;
use serde_json::json;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

/// Where AWS's SDKs find credentials that change, by `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
pub const CREDENTIALS_PATH: &str = "/2021-04-23/credentials";
/// Most bytes of a reason.
const REASON_BYTES_MAX: usize = 2048;

/// Answers with the session's credentials; the connection is to be closed, so that none is left open when a snapshot is made.
pub fn credentials(connection: &mut Connection, instance: &Instance, request: &Incoming) {
    let token = request.authorization.as_deref().unwrap_or_default();
    let Some(session) = instance.snapshot.credentials(token) else {
        return refuse(connection, "401 Unauthorized", "AccessDenied", "The authorization token is wrong");
    };
    let body = json!({
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret_access_key,
        "Token": session.session_token,
        "Expiration": iso(session.expires),
    });
    connection.answer_with("200 OK", &[("Connection", "close")], body.to_string().as_bytes());
}

/// Takes a snapshot, or why there is none.
///
/// # Errors
/// The connection is of no use any more.
pub async fn answer(
    connection: &mut Connection,
    instance: &Arc<Instance>,
    parts: &[&str],
    request: &Incoming,
) -> io::Result<()> {
    let body = request.body.clone().unwrap_or_default();
    let reason = String::from_utf8_lossy(body.get(..REASON_BYTES_MAX).unwrap_or(&body)).into_owned();
    let is_init = instance.state.lock().phase == Phase::Init;
    match (parts, instance.snapshot.making()) {
        (["snapshot"], Some(_)) if is_init => return receive(connection, instance, request.size).await,
        (["snapshot"], _) => return Err(io::Error::new(io::ErrorKind::InvalidData, "nobody asked for a snapshot")),
        (["snapshot", "refused"], Some(_)) if is_init => over(instance, Made::Refused(reason)),
        (["snapshot", "unusable"], None) if is_init && instance.snapshot.is_restored() => {
            instance.snapshot.failed();
            instance.output.platform([instance.engine.snapshots.give_up(&instance.function, &reason)]);
        }
        _ => {
            connection.answer("404 Not Found", b"404 page not found");
            return Ok(());
        }
    }
    accepted(connection);
    Ok(())
}

async fn receive(connection: &mut Connection, instance: &Arc<Instance>, size: usize) -> io::Result<()> {
    let Some(take) = instance.snapshot.making() else { return Ok(()) };
    if size as u64 > take.bytes_max {
        over(instance, Made::Refused(format!("its memory is larger than {} MB", take.bytes_max >> 20)));
        return Err(io::ErrorKind::InvalidData.into());
    }
    let saved = async {
        let mut file = tokio::fs::File::create(&take.image).await?;
        connection.save(size, &mut file).await?;
        // The user inside is another.
        std::fs::set_permissions(&take.image, std::fs::Permissions::from_mode(0o644))
    };
    let made = match saved.await {
        Ok(()) => Made::Snapshot,
        Err(e) => Made::Refused(format!("it could not be stored: {e}")),
    };
    accepted(connection);
    connection.flush().await?;
    over(instance, made);
    Ok(())
}

/// The process has done what it was for.
fn over(instance: &Arc<Instance>, made: Made) {
    let Some(take) = instance.snapshot.making() else { return };
    instance.output.drain();
    let (now, took) = (instance.engine.clock.now(), instance.born.elapsed());
    let line = platform::init_report(&instance.function, now, took, "init", "snap-start", &Status::Fine);
    instance.output.platform(line);
    if let Made::Refused(reason) = &made {
        instance.output.platform([is_off(reason)]);
    }
    // Its end is no failure any more.
    instance.kill();
    take.end(made);
}
