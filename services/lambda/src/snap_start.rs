//! SnapStart: which functions may have it, and the snapshots of their published versions.
//!
//! A version with SnapStart is `Pending` while its init code runs and the runtime makes a snapshot of the process; then it is
//! `Active`, optimised (`OptimizationStatus: On`) or, where the process cannot be kept, not (`Off`; its log says why). Init code
//! that fails makes the version `Failed`, as on AWS.

use crate::api::SnapStart;
use crate::error::Error;
use crate::model::{Phase, Version};
use crate::names::version_number;
use crate::registry::Entry;
use crate::room::Lambda;
use squall_runtime::Made;

/// Versions whose snapshots are being made, by revision id.
#[derive(Default)]
pub struct Making(parking_lot::Mutex<std::collections::HashSet<String>>);

/// What is asked for, if anything is.
#[must_use]
pub fn asked(given: Option<&SnapStart>) -> Option<bool> {
    given?.apply_on.as_deref().map(|on| on == "PublishedVersions")
}

/// A function of this runtime with so much `/tmp` may have it. AWS has it for Python from 3.12 on, Java and .NET; here it is served for
/// every Python and every Node.js, and Java is refused.
///
/// # Errors
/// `InvalidParameterValueException`.
pub fn check(is_on: bool, runtime: &str, tmp_mb: u32) -> Result<(), Error> {
    if !is_on {
        return Ok(());
    }
    if runtime.starts_with("java") || runtime.starts_with("dotnet") {
        return Err(Error::unserved(&format!("SnapStart for {runtime}")));
    }
    if !runtime.starts_with("python") && !runtime.starts_with("nodejs") {
        return Err(Error::invalid(format!("{runtime} is not supported for SnapStart enabled functions.")));
    }
    if tmp_mb > crate::rules::TMP_DEFAULT_MB {
        return Err(Error::invalid(
            "Ephemeral storage greater than 512 MB is not supported for SnapStart enabled functions.",
        ));
    }
    Ok(())
}

/// Provisioned concurrency and SnapStart exclude each other.
///
/// # Errors
/// `InvalidParameterValueException`.
pub fn check_unprovisioned(entry: &Entry, version: &str) -> Result<(), Error> {
    let found = version_number(version).and_then(|n| entry.versions.get(&n));
    match found {
        Some(v) if v.snap_start => {
            Err(Error::invalid("Provisioned Concurrency is not supported for SnapStart enabled function versions."))
        }
        _ => Ok(()),
    }
}

/// Makes the snapshots of a function's versions that wait for them.
pub fn finish(room: &Lambda, region: &str, name: &str) {
    let Some(room) = room.me.upgrade() else { return };
    let Some(entry) = room.registry.find(region, name) else { return };
    if entry.record.latest.state == Phase::Pending {
        // Its packages are not there yet; whoever finishes it comes back.
        return;
    }
    for version in entry.versions.values().filter(|v| v.snap_start && v.state == Phase::Pending) {
        let (room, entry, version) = (room.clone(), entry.clone(), version.clone());
        if !room.snapshots.0.lock().insert(version.revision_id.clone()) {
            continue;
        }
        tokio::spawn(async move {
            if let Err(e) = make(&room, &entry, &version).await {
                tracing::error!(function = entry.record.name, version = version.version, error = %e, "make a snapshot");
            }
            room.snapshots.0.lock().remove(&version.revision_id);
        });
    }
}

async fn make(room: &Lambda, entry: &Entry, version: &Version) -> Result<(), Error> {
    // The SDK of a runtime that was just added may still be on its way.
    if let Err(why) = room.runtime.prepare(&version.runtime, version.memory_mb).await {
        tracing::warn!(function = entry.record.name, why, "the runtime is not on this host");
    }
    let (state, is_optimized) = match room.function(entry, version).await {
        Ok(function) => match room.runtime.snapshot(&function).await {
            Made::Snapshot => (Phase::Done, true),
            Made::Refused(_) => (Phase::Done, false),
            Made::Failed { code, reason } => (Phase::Failed(code.to_owned(), reason), false),
        },
        Err(e) => {
            tracing::error!(function = entry.record.name, error = %e, "unpack a package");
            let reason = "The function's package could not be unpacked.";
            (Phase::Failed("InternalError".into(), reason.into()), false)
        }
    };
    let (region, name) = (entry.record.region.as_str(), entry.record.name.as_str());
    let missing = || Error::NotFound(name.to_owned());
    let changed = room.registry.change(region, name, missing, |_, before, extra| {
        let held = version_number(&version.version).and_then(|n| before.versions.get(&n));
        // A version of the same number of a function that was made anew is another.
        if held.is_some_and(|v| v.revision_id == version.revision_id) {
            extra.amend.push(Version { state, is_optimized, ..version.clone() });
        }
        Ok(())
    });
    match changed.await {
        // Deleted meanwhile.
        Err(Error::NotFound(_)) => Ok(()),
        done => done.map(|_| ()),
    }
}
