//! Work that goes on by itself: finishing functions that are being made or changed, and running asynchronous calls.
//!
//! Asynchronous calls are entries of one queue, durable before they are acknowledged. A worker leases them, runs them and
//! ends them; a crash lets the lease run out, so a call may run twice but is never lost. A call that failed is tried again
//! after one and two minutes, as AWS does; one that could not run (throttled) for up to six hours.

use crate::error::Error;
use crate::model::{Phase, Record, Version};
use crate::names::Name;
use crate::room::Lambda;
use crate::tables;
use crate::view;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use squall_runtime::SdkState;
use squall_service::{Invocation, InvocationKind, Invoker, Outcome};
use squall_store::{ClaimSpec, Claimed, Handle, Settle, Txn, envelope};
use squall_types::Millis;
use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How many asynchronous calls run at the same time.
const ASYNC_MAX: usize = 64;
/// How long a claimed call is leased; renewed while it runs. After a crash its call waits no longer than this.
const LEASE: Duration = Duration::from_secs(10);
/// How often leases of running calls are renewed.
const RENEW: Duration = Duration::from_secs(3);
/// How long one wait for calls takes; also the longest time until the worker sees that the room is gone.
const WAIT: Millis = Millis(1000);
/// AWS tries a failed call again after one minute and once more after two.
const RETRIES: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(120)];
/// A call that could not run is given up after this time.
const AGE_MAX: Duration = Duration::from_secs(6 * 3600);
/// First and longest pause before a call that could not run is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// How long an update shows as under way at least. On AWS it takes seconds, and clients that do not wait for it are refused;
/// they should find out here.
const UPDATE_MIN: Duration = Duration::from_millis(100);

/// An asynchronous call as it is kept.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AsyncEvent {
    region: String,
    name: String,
    qualifier: Option<String>,
    request_id: String,
    payload: String,
    client_context: Option<String>,
    trace_header: Option<String>,
    /// When it was accepted.
    accepted_ms: i64,
    /// How often the function failed.
    errors: usize,
    /// How often it could not run since.
    refusals: u32,
}

impl AsyncEvent {
    /// The call, to be kept.
    #[must_use]
    pub fn new(record: &Record, qualifier: Option<String>, i: &Invocation) -> Self {
        Self {
            region: record.region.clone(),
            name: record.name.clone(),
            qualifier,
            request_id: i.request_id.clone(),
            // The payload was checked to be JSON, which is UTF-8.
            payload: String::from_utf8_lossy(&i.payload).into_owned(),
            client_context: i.client_context.clone(),
            trace_header: i.trace_header.clone(),
            accepted_ms: 0,
            errors: 0,
            refusals: 0,
        }
    }

    fn invocation(&self) -> Invocation {
        Invocation {
            function: self.name.clone(),
            qualifier: self.qualifier.clone(),
            region: self.region.clone(),
            payload: Bytes::from(self.payload.clone()),
            kind: InvocationKind::RequestResponse,
            log_tail: false,
            client_context: self.client_context.clone(),
            trace_header: self.trace_header.clone(),
            invoker: Invoker::Authorised,
            request_id: self.request_id.clone(),
        }
    }

    /// What becomes of the call after one try: `None` = it is over, else when it is due again. Counts the try.
    fn again(&mut self, tried: Tried, now: Millis) -> Option<Millis> {
        match tried {
            Tried::Succeeded | Tried::Gone => None,
            Tried::Failed => {
                let pause = RETRIES.get(self.errors)?;
                self.errors += 1;
                self.refusals = 0;
                Some(now.plus(*pause))
            }
            Tried::Refused => {
                if now.since(Millis(self.accepted_ms)) > AGE_MAX {
                    return None;
                }
                let pause = BACKOFF.0.saturating_mul(1 << self.refusals.min(12)).min(BACKOFF.1);
                self.refusals += 1;
                Some(now.plus(pause))
            }
        }
    }
}

/// How a try of an asynchronous call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    Succeeded,
    /// The function failed.
    Failed,
    /// It could not run.
    Refused,
    /// The function does not exist any more.
    Gone,
}

impl Lambda {
    /// Keeps an asynchronous call; durable when it returns.
    pub(crate) async fn enqueue(&self, mut event: AsyncEvent) -> Result<(), Error> {
        event.accepted_ms = self.deps.state.now().0;
        let txn = Txn::new().enqueue(tables::async_queue(), self.deps.state.now(), encode(&event)?);
        self.deps.state.commit(txn).await?;
        Ok(())
    }

    async fn try_event(&self, event: &AsyncEvent) -> Tried {
        let Some(entry) = self.registry.find(&event.region, &event.name) else { return Tried::Gone };
        let name = Name { name: event.name.clone(), qualifier: event.qualifier.clone() };
        let Some(target) = self.resolve(&entry, &name, self.roll()) else { return Tried::Gone };
        match self.run(&entry, &target, event.invocation()).await {
            Ok(Outcome { function_error: None, .. }) => Tried::Succeeded,
            Ok(_) => Tried::Failed,
            Err(_) => Tried::Refused,
        }
    }
}

fn encode(event: &AsyncEvent) -> Result<Bytes, Error> {
    let json = serde_json::to_vec(event).map_err(|e| Error::internal("write a call", e))?;
    Ok(envelope::seal(&json))
}

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
    }
    tokio::spawn(run_events(Arc::downgrade(room)));
}

async fn run_events(weak: Weak<Lambda>) {
    let slots = Arc::new(Semaphore::new(ASYNC_MAX));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let free = u32::try_from(slots.available_permits()).unwrap_or(0) + 1;
        drop(slot);
        let Some(room) = weak.upgrade() else { return };
        let spec = ClaimSpec::new(free, Millis(0).plus(LEASE)).wait(WAIT);
        let claimed = match room.deps.state.claim(tables::async_queue(), spec).await {
            Ok(claimed) => claimed,
            Err(e) => {
                tracing::error!(error = %e, "claim asynchronous calls");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        for call in claimed {
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            let room = room.clone();
            tokio::spawn(async move {
                run_event(&room, call).await;
                drop(slot);
            });
        }
    }
}

async fn run_event(room: &Lambda, call: Claimed) {
    let event = envelope::open(&call.value).ok().and_then(|json| serde_json::from_slice::<AsyncEvent>(json).ok());
    let Some(mut event) = event else {
        tracing::error!("an asynchronous call cannot be read: dropped");
        settle(room, call, Settle::Ack).await;
        return;
    };
    let tried = tokio::select! {
        tried = room.try_event(&event) => tried,
        never = renew(room, &call.handle) => match never {},
    };
    let to = match event.again(tried, room.deps.state.now()) {
        None => {
            if tried != Tried::Succeeded {
                tracing::warn!(
                    function = event.name,
                    request_id = event.request_id,
                    ?tried,
                    "asynchronous call given up"
                );
            }
            Settle::Ack
        }
        Some(due) => Settle::Again { due, value: encode(&event).ok() },
    };
    settle(room, call, to).await;
}

/// Keeps a running call's lease from running out.
async fn renew(room: &Lambda, handle: &Handle) -> Infallible {
    loop {
        tokio::time::sleep(RENEW).await;
        let due = room.deps.state.now().plus(LEASE);
        if let Err(e) = room.deps.state.commit(Txn::new().settle(*handle, Settle::Extend { due }).lazy()).await {
            tracing::warn!(error = %e, "renew the lease of an asynchronous call: it may run twice");
        }
    }
}

async fn settle(room: &Lambda, call: Claimed, to: Settle) {
    if let Err(e) = room.deps.state.commit(Txn::new().settle(call.handle, to)).await {
        // The lease runs out and the call runs again: at least once is what is promised.
        tracing::error!(error = %e, "end an asynchronous call");
    }
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
    let phase = match room.code.open(&entry.record.latest.code_object).await {
        Ok(_code) => {
            match room.runtime.prepare(&entry.record.latest.runtime).await {
                // Functions that bundle their SDK still run; `doctor` and the health page tell the operator.
                Ok(SdkState::Failed(why)) => {
                    tracing::warn!(function = name, ?why, "the runtime's SDK is not available")
                }
                Ok(_) => {}
                // The interpreter went away since the function was made; an invocation says so.
                Err(why) => tracing::warn!(function = name, why, "the runtime is not on this host"),
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
            extra.amend = waiting.map(|v| Version { state: phase.clone(), ..Version::clone(v) }).collect();
            Ok(true)
        })
        .await?;
    if changed {
        let arn = view::arn(room.deps.account.as_str(), &entry.record, None);
        room.runtime.retire(&arn, Some(revision));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> AsyncEvent {
        AsyncEvent {
            region: "us-east-1".into(),
            name: "f".into(),
            qualifier: None,
            request_id: "r".into(),
            payload: "{}".into(),
            client_context: None,
            trace_header: None,
            accepted_ms: 0,
            errors: 0,
            refusals: 0,
        }
    }

    #[test]
    fn a_failed_call_is_tried_twice_more() {
        let mut e = event();
        assert_eq!(e.again(Tried::Failed, Millis(0)), Some(Millis(60_000)));
        assert_eq!(e.again(Tried::Failed, Millis(60_000)), Some(Millis(180_000)));
        assert_eq!(e.again(Tried::Failed, Millis(180_000)), None);
        assert_eq!(event().again(Tried::Succeeded, Millis(0)), None);
    }

    #[test]
    fn a_refused_call_backs_off_for_six_hours() {
        let mut e = event();
        let (mut now, mut tries) = (Millis(0), 0);
        while let Some(due) = e.again(Tried::Refused, now) {
            assert!(due.since(now) <= BACKOFF.1 && due.since(now) >= BACKOFF.0);
            now = due;
            tries += 1;
        }
        assert!(now.since(Millis(0)) > AGE_MAX && tries > 70, "{tries}");
    }
}
