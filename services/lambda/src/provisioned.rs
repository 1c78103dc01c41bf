//! Keeps the runtime's provisioned concurrency as the records have it: after every change, and after a start.
//!
//! A configuration belongs to a version or to an alias, and then to whatever version the alias stands for. The loop follows the
//! registry, so moving an alias, deleting a version or a restart needs nothing of its own.

use crate::model::Record;
use crate::names::version_number;
use crate::registry::Entry;
use crate::room::Lambda;
use crate::view;
use squall_runtime::Function;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Pause after a package could not be had.
const RETRY: Duration = Duration::from_secs(5);

/// Counts by version, aliases resolved.
#[must_use]
pub fn wanted(record: &Record) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for (qualifier, config) in &record.provisioned {
        let version = match record.aliases.get(qualifier) {
            Some(alias) => alias.version.clone(),
            None if version_number(qualifier).is_some() => qualifier.clone(),
            None => continue,
        };
        *counts.entry(version).or_insert(0) += config.count;
    }
    counts
}

/// What a function takes from the account for itself alone: its reservation, else what is provisioned.
#[must_use]
pub fn own_concurrency(record: &Record) -> u32 {
    record.reserved.unwrap_or_else(|| record.provisioned.values().map(|p| p.count).sum())
}

/// Follows the registry as long as the room lives.
pub async fn follow(weak: Weak<Lambda>) {
    let Some(mut changes) = weak.upgrade().map(|room| room.registry.changes()) else { return };
    // What the runtime was told, by ARN with version.
    let mut applied: BTreeMap<String, (Arc<Function>, u32)> = BTreeMap::new();
    loop {
        changes.mark_unchanged();
        let Some(room) = weak.upgrade() else { return };
        let is_whole = apply(&room, &mut applied).await;
        drop(room);
        let retry = async { if is_whole { std::future::pending().await } else { tokio::time::sleep(RETRY).await } };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = retry => {}
        }
    }
}

/// Tells the runtime what has changed. False when something could not be done yet.
async fn apply(room: &Lambda, applied: &mut BTreeMap<String, (Arc<Function>, u32)>) -> bool {
    let mut is_whole = true;
    let mut told: BTreeMap<String, (Arc<Function>, u32)> = BTreeMap::new();
    for entry in room.registry.everything().iter().filter(|e| !e.record.provisioned.is_empty()) {
        for (version, count) in wanted(&entry.record) {
            match runnable(room, entry, &version).await {
                Some(function) => drop(told.insert(function.arn_of_version(), (function, count))),
                None => is_whole = false,
            }
        }
    }
    for (arn, (function, _)) in applied.iter().filter(|(arn, _)| !told.contains_key(*arn)) {
        tracing::debug!(arn, "provisioned concurrency ends");
        room.runtime.provision(function, 0);
    }
    for (arn, (function, count)) in &told {
        let same = applied.get(arn).is_some_and(|(f, c)| c == count && f.revision == function.revision);
        if !same {
            room.runtime.provision(function, *count);
        }
    }
    *applied = told;
    is_whole
}

async fn runnable(room: &Lambda, entry: &Entry, version: &str) -> Option<Arc<Function>> {
    let found = version_number(version).and_then(|n| entry.versions.get(&n))?;
    match room.runnable(entry, found).await {
        Ok(function) => Some(function),
        Err(e) => {
            let arn = view::arn(room.deps.account.as_str(), &entry.record, Some(version));
            tracing::warn!(arn, error = %e, "provisioned concurrency waits");
            None
        }
    }
}
