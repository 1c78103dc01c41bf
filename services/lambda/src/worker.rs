//! Work that goes on by itself: finishing functions that are being made or changed. Asynchronous calls: [`crate::events`].

use crate::error::Error;
use crate::events;
use crate::model::{Phase, Version};
use crate::room::Lambda;
use crate::{snap_start, view};
use squall_runtime::{SdkState, WASM_RUNTIME};
use std::sync::Arc;
use std::time::Duration;

/// How long an update shows as under way at least. On AWS it takes seconds, and clients that do not wait for it are refused;
/// they should find out here.
const UPDATE_MIN: Duration = Duration::from_millis(100);

/// Starts the background work of a room; it ends when the room is dropped.
pub fn start(room: &Arc<Lambda>) {
    for entry in room.registry.everything() {
        let latest = &entry.record.latest;
        if entry.record.reserved.is_some() {
            room.runtime.reserve(&view::arn(room.deps.account.as_str(), &entry.record, None), entry.record.reserved);
        }
        if latest.state == Phase::Pending || latest.update == Phase::Pending {
            finish(room, &entry.record.region, &entry.record.name);
        }
        snap_start::finish(room, &entry.record.region, &entry.record.name);
    }
    tokio::spawn(events::run_events(Arc::downgrade(room)));
}

/// Finishes a function that was made or changed: unpacks its package, prepares its runtime's SDK, then shows it as ready.
pub fn finish(room: &Lambda, region: &str, name: &str) {
    let Some(room) = room.me.upgrade() else { return };
    let (region, name) = (region.to_owned(), name.to_owned());
    tokio::spawn(async move {
        if let Err(e) = finish_now(&room, &region, &name).await {
            tracing::error!(function = name, error = %e, "finish a function");
        }
    });
}

async fn finish_now(room: &Lambda, region: &str, name: &str) -> Result<(), Error> {
    let missing = || Error::NotFound(name.to_owned());
    let entry = room.registry.find(region, name).ok_or_else(missing)?;
    let revision = entry.record.revision;
    let latest = &entry.record.latest;
    let code = room.code.open(&latest.code_object).await;
    let layers = room.code.open_layers(latest.layers.iter().map(|l| l.object.as_str())).await;
    let phase = match code.and_then(|code| Ok((code, layers?))) {
        Ok((code, _layers)) => {
            match room.runtime.prepare(&latest.runtime, latest.memory_mb).await {
                // Functions that bundle their SDK still run; `doctor` and the health page tell the operator.
                Ok(SdkState::Failed(why)) => {
                    tracing::warn!(function = name, ?why, "the runtime's SDK is not available")
                }
                Ok(_) => {}
                // The interpreter went away since the function was made; an invocation says so.
                Err(why) => tracing::warn!(function = name, why, "the runtime is not on this host"),
            }
            if latest.runtime == WASM_RUNTIME {
                room.runtime.know_wasm(&code.path).await;
            }
            Phase::Done
        }
        Err(e) => {
            tracing::error!(function = name, error = %e, "unpack a package");
            Phase::Failed("InternalError".into(), "The function's package could not be unpacked.".into())
        }
    };
    if entry.record.latest.state != Phase::Pending {
        tokio::time::sleep(UPDATE_MIN).await;
    }
    let id = room.new_id();
    let (entry, changed) = room
        .registry
        .change(region, name, missing, |record, before, extra| {
            if record.revision != revision {
                return Ok(false);
            }
            record.latest.update = phase.clone();
            // As on AWS, a change of state is a change: the revision id moves on.
            record.latest.revision_id = id;
            if record.latest.state == Phase::Pending {
                record.latest.state = phase.clone();
            }
            // A version that was published while the function was being made waits for the same package.
            let waiting = before.versions.values().filter(|v| v.state == Phase::Pending);
            // With SnapStart it waits for its snapshot too.
            let waiting = waiting.filter(|v| !v.snap_start || phase != Phase::Done);
            extra.amend = waiting.map(|v| Version { state: phase.clone(), ..Version::clone(v) }).collect();
            Ok(true)
        })
        .await?;
    if changed {
        let arn = view::arn(room.deps.account.as_str(), &entry.record, None);
        room.runtime.retire(&arn, Some(revision));
        snap_start::finish(room, region, name);
    }
    Ok(())
}
