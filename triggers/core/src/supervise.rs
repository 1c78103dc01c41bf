//! Looks for the shards of each mapping, and takes their lanes.
//!
//! A shard to follow is a lane of one queue. The supervisor of a mapping arms the lanes of shards whose parents have ended; the
//! claimer leases them and starts followers. Lanes of mappings that do not run any more are dropped.

use crate::follow::{End, Follower};
use crate::progress::Progress;
use crate::{Inner, Running, internal, tables};
use squall_service::StreamError;
use squall_store::{ClaimSpec, Claimed, Key, Mutation, Settle, StateExt as _, Txn};
use squall_types::Millis;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::watch;

/// How long a shard is leased; after a crash it waits no longer than this.
pub const LEASE: Duration = Duration::from_secs(10);
/// How often a follower renews its lease.
pub const RENEW: Duration = Duration::from_secs(3);
/// How often the supervisor looks for new shards.
const LOOK: Duration = Duration::from_secs(10);
/// Pause after an error of the source or the state.
const PAUSE: Duration = Duration::from_secs(2);
/// Most lanes leased at once.
const CLAIM: u32 = 64;
/// One wait for lanes; also the longest time until the claimer sees that everything is gone.
const WAIT: Millis = Millis(1000);
/// Most shards of a mapping.
const SHARDS_MAX: usize = 10_000;

/// Runs until the mapping is paused.
pub async fn supervise(inner: Arc<Inner>, running: Arc<Running>, mut stopped: watch::Receiver<bool>) {
    loop {
        let pause = match arm_shards(&inner, &running).await {
            Ok(()) => LOOK,
            Err(e) => {
                tracing::warn!(uuid = running.mapping.uuid, error = %e, "look for shards");
                inner.note(&running.mapping.uuid, "PROBLEM: Cannot access the event source");
                PAUSE
            }
        };
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return,
            () = running.look.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn arm_shards(inner: &Inner, running: &Running) -> Result<(), StreamError> {
    let mapping = &running.mapping;
    let shards = running.adapter.source.shards(&mapping.source_arn).await?;
    let prefix = tables::progress_of(&mapping.uuid);
    let rows = inner.deps.state.all(prefix, SHARDS_MAX).await.map_err(internal)?;
    let kept: HashMap<String, (Key, Option<Progress>)> = rows
        .into_iter()
        .filter_map(|row| Some((tables::shard_of(&row.key)?, (row.key, Progress::decode(&row.value)))))
        .collect();
    let listed: HashSet<&str> = shards.iter().map(|s| s.id.as_str()).collect();
    let done = |id: &str| kept.get(id).is_some_and(|(_, p)| p.as_ref().is_some_and(|p| p.from.is_none()));
    let mut txn = Txn::new();
    let now = inner.deps.state.now();
    for shard in &shards {
        // A parent that is not listed any more has been trimmed: nothing of it is left to wait for.
        let waits = shard.parent.as_deref().is_some_and(|p| listed.contains(p) && !done(p));
        if waits || done(&shard.id) || running.followed.lock().contains(&shard.id) {
            continue;
        }
        let lane = tables::lane(&mapping.uuid, &shard.id).into();
        txn = txn.mutation(Mutation::Arm { queue: tables::queue(), lane, due: now });
    }
    for (shard, (key, _)) in &kept {
        if !listed.contains(shard.as_str()) && !running.followed.lock().contains(shard) {
            txn = txn.delete(key.clone());
        }
    }
    if txn.muts.is_empty() {
        return Ok(());
    }
    inner.deps.state.commit(txn).await.map(|_| ()).map_err(internal)
}

/// Takes lanes for as long as the triggers are there.
pub async fn claim_shards(weak: Weak<Inner>) {
    loop {
        let Some(inner) = weak.upgrade() else { return };
        let spec = ClaimSpec::new(CLAIM, Millis(0).plus(LEASE)).wait(WAIT).lazy();
        match inner.deps.state.claim(tables::queue(), spec).await {
            Ok(claimed) => {
                for lane in claimed {
                    take(&inner, lane);
                }
            }
            Err(e) => {
                tracing::error!(error = %e, "claim shards");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn take(inner: &Arc<Inner>, claimed: Claimed) {
    let found = claimed.lane.as_deref().and_then(tables::mapping_and_shard).and_then(|(uuid, shard)| {
        let all = inner.running.lock();
        let running = all.get(uuid)?;
        // Subscribed under the lock: a pause that comes now waits for this follower.
        Some((running.clone(), running.stop.subscribe(), shard.to_owned()))
    });
    let inner = inner.clone();
    let Some((running, stopped, shard)) = found else {
        tokio::spawn(async move { settle(&inner, &claimed, Settle::Ack).await });
        return;
    };
    running.followed.lock().insert(shard.clone());
    tokio::spawn(async move {
        let handle = claimed.handle;
        let mut follower = Follower::new(inner.clone(), running.clone(), shard.clone(), handle, stopped);
        let end = follower.run().await;
        let to = match &end {
            End::Stopped | End::Finished => Some(Settle::Ack),
            End::Failed(e) => {
                tracing::warn!(uuid = running.mapping.uuid, shard, error = %e, "follow a shard");
                inner.note(&running.mapping.uuid, "PROBLEM: Cannot access the event source");
                Some(Settle::Again { due: inner.deps.state.now().plus(PAUSE), value: None })
            }
            End::Lost => None,
        };
        if let Some(to) = to {
            settle(&inner, &claimed, to).await;
        }
        running.followed.lock().remove(&shard);
        if matches!(end, End::Finished | End::Lost) {
            running.look.notify_one();
        }
        // The follower's receiver goes last: a pause waits until the lane is given back.
        drop(follower);
    });
}

async fn settle(inner: &Inner, claimed: &Claimed, to: Settle) {
    if let Err(e) = inner.deps.state.commit(Txn::new().settle(claimed.handle, to).lazy()).await {
        // The lease runs out by itself.
        tracing::debug!(error = %e, "give back a shard");
    }
}
