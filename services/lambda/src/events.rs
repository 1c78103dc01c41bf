//! Asynchronous calls: kept until they have run, tried again, and their results handed on.
//!
//! They are entries of one queue, durable before they are acknowledged. A worker leases them, runs them and ends them; a crash
//! lets the lease run out, so a call may run twice but is never lost. A call that failed is tried again after one and two
//! minutes, as AWS does; one that could not run (throttled) until it is too old. A function's configuration may ask for fewer
//! retries, a shorter life, and destinations: what goes there is enqueued in the transaction that ends the call.

use crate::error::Error;
use crate::model::{EventConfig, Record};
use crate::names::Name;
use crate::ops::event_invoke;
use crate::registry::Entry;
use crate::room::Lambda;
use crate::tables;
use crate::view;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use squall_service::{Ctx, Invocation, InvocationKind, Invoker, Outcome, Principal};
use squall_store::{ClaimSpec, Claimed, Handle, Settle, Txn, envelope};
use squall_types::{Millis, Region};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
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
/// A call is given up after this time.
const AGE_MAX: Duration = Duration::from_secs(6 * 3600);
/// First and longest pause before a call that could not run is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// How often results may be handed on from function to function: AWS stops such loops after 16 calls.
const HOPS_MAX: u32 = 16;
/// Most bytes of a record for a destination; beyond it the payloads are left out.
const RECORD_BYTES_MAX: usize = 1 << 20;

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
    /// How many calls handed it on before.
    #[serde(default)]
    hops: u32,
}

/// What became of a call that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Success,
    RetriesExhausted,
    EventAgeExceeded,
    /// The function does not exist any more.
    Gone,
}

impl End {
    fn as_str(self) -> &'static str {
        match self {
            End::Success => "Success",
            End::EventAgeExceeded => "EventAgeExceeded",
            End::RetriesExhausted | End::Gone => "RetriesExhausted",
        }
    }
}

/// What becomes of a call after one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Over(End),
    Again(Millis),
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
            hops: 0,
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

    /// What becomes of the call after one try. Counts the try.
    fn next(&mut self, tried: Tried, config: Option<&EventConfig>, now: Millis) -> Next {
        let age_max = config.and_then(|c| c.age_s).map_or(AGE_MAX, |s| Duration::from_secs(u64::from(s)));
        let retries = config.and_then(|c| c.retries).map_or(RETRIES.len(), |n| n as usize);
        let accepted = Millis(self.accepted_ms);
        match tried {
            Tried::Succeeded => Next::Over(End::Success),
            Tried::Gone => Next::Over(End::Gone),
            Tried::Failed => {
                let pause = RETRIES.get(self.errors).filter(|_| self.errors < retries);
                self.errors += 1;
                self.refusals = 0;
                match pause.map(|p| now.plus(*p)) {
                    None => Next::Over(End::RetriesExhausted),
                    Some(due) if due.since(accepted) > age_max => Next::Over(End::EventAgeExceeded),
                    Some(due) => Next::Again(due),
                }
            }
            Tried::Refused => {
                let pause = BACKOFF.0.saturating_mul(1 << self.refusals.min(12)).min(BACKOFF.1);
                if now.since(accepted) > age_max {
                    return Next::Over(End::EventAgeExceeded);
                }
                self.refusals += 1;
                Next::Again(now.plus(pause))
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

    async fn try_event(&self, event: &AsyncEvent) -> (Tried, Option<Entry>, Option<Outcome>) {
        let Some(entry) = self.registry.find(&event.region, &event.name) else { return (Tried::Gone, None, None) };
        let name = Name { name: event.name.clone(), qualifier: event.qualifier.clone() };
        let Some(target) = self.resolve(&entry, &name, self.roll()) else { return (Tried::Gone, None, None) };
        match self.run(&entry, &target, event.invocation()).await {
            Ok(outcome) => {
                let tried = if outcome.function_error.is_none() { Tried::Succeeded } else { Tried::Failed };
                (tried, Some(entry), Some(outcome))
            }
            Err(_) => (Tried::Refused, Some(entry), None),
        }
    }

    /// The call that hands a result on, where the function's configuration asks for one.
    async fn hand_on(
        &self,
        event: &AsyncEvent,
        end: End,
        entry: &Entry,
        outcome: Option<&Outcome>,
    ) -> Option<AsyncEvent> {
        let record = &entry.record;
        let qualifier = event.qualifier.as_deref().unwrap_or(crate::names::LATEST);
        let config = record.event_configs.get(qualifier)?;
        let arn = if end == End::Success { &config.on_success } else { &config.on_failure }.as_ref()?;
        if event.hops >= HOPS_MAX {
            tracing::warn!(function = event.name, to = arn, "a loop of destinations is stopped");
            return None;
        }
        let account = self.deps.account.as_str();
        let to = Name::parse(arn, None, &event.region, account).ok()?;
        let callee = self.registry.find(&event.region, &to.name)?;
        let name = Name { name: event.name.clone(), qualifier: event.qualifier.clone() };
        let role = self.resolve(entry, &name, 1.0)?.version.role.clone();
        if !event_invoke::may_invoke(self, &self.own_ctx(&event.region)?, &role, arn).await {
            tracing::warn!(function = event.name, to = arn, "the function's role may not call its destination");
            return None;
        }
        let function_arn = view::arn(account, record, Some(qualifier));
        let payload = destination_record(event, end, &function_arn, outcome, self.deps.state.now());
        Some(AsyncEvent {
            region: event.region.clone(),
            name: callee.record.name.clone(),
            qualifier: to.qualifier,
            request_id: self.new_id(),
            payload,
            client_context: None,
            trace_header: event.trace_header.clone(),
            accepted_ms: self.deps.state.now().0,
            errors: 0,
            refusals: 0,
            hops: event.hops + 1,
        })
    }

    /// The circumstances of what this room does by itself.
    fn own_ctx(&self, region: &str) -> Option<Ctx> {
        Some(Ctx {
            account: self.deps.account.clone(),
            region: Region::parse(region)?,
            principal: Principal::Service { name: "lambda.amazonaws.com".into() },
            request_id: self.new_id(),
            time: self.deps.clock.now(),
            source_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            user_agent: String::new(),
            host: String::new(),
            trace_header: None,
        })
    }
}

/// What destinations get, as AWS writes it.
fn destination_record(
    event: &AsyncEvent,
    end: End,
    function_arn: &str,
    outcome: Option<&Outcome>,
    now: Millis,
) -> String {
    let parse =
        |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(bytes)));
    let invoke_count = event.errors + usize::from(end == End::Success);
    let mut record = json!({
        "version": "1.0",
        "timestamp": view::time_text(now).replace("+0000", "Z"),
        "requestContext": {
            "requestId": event.request_id,
            "functionArn": function_arn,
            "condition": end.as_str(),
            "approximateInvokeCount": invoke_count,
        },
        "requestPayload": parse(event.payload.as_bytes()),
    });
    if let (Value::Object(members), Some(outcome)) = (&mut record, outcome) {
        let mut response = json!({ "statusCode": outcome.status, "executedVersion": outcome.executed_version });
        if let (Value::Object(r), Some(error)) = (&mut response, outcome.function_error) {
            r.insert("functionError".into(), json!(error));
        }
        members.insert("responseContext".into(), response);
        members.insert("responsePayload".into(), parse(&outcome.payload));
    }
    let text = record.to_string();
    if text.len() <= RECORD_BYTES_MAX {
        return text;
    }
    if let Value::Object(members) = &mut record {
        members.remove("responsePayload");
        members.remove("requestPayload");
    }
    record.to_string()
}

fn encode(event: &AsyncEvent) -> Result<Bytes, Error> {
    let json = serde_json::to_vec(event).map_err(|e| Error::internal("write a call", e))?;
    Ok(envelope::seal(&json))
}

/// Runs asynchronous calls for as long as the room is there.
pub async fn run_events(weak: Weak<Lambda>) {
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
        settle(room, Txn::new(), call, Settle::Ack).await;
        return;
    };
    let (tried, entry, outcome) = tokio::select! {
        tried = room.try_event(&event) => tried,
        never = renew(room, &call.handle) => match never {},
    };
    let qualifier = event.qualifier.clone().unwrap_or_else(|| crate::names::LATEST.to_owned());
    let config = entry.as_ref().and_then(|e| e.record.event_configs.get(&qualifier));
    let mut txn = Txn::new();
    let to = match event.next(tried, config, room.deps.state.now()) {
        Next::Again(due) => Settle::Again { due, value: encode(&event).ok() },
        Next::Over(end) => {
            if end != End::Success {
                tracing::warn!(
                    function = event.name,
                    request_id = event.request_id,
                    ?end,
                    "asynchronous call given up"
                );
            }
            let next = match &entry {
                Some(entry) => room.hand_on(&event, end, entry, outcome.as_ref()).await,
                None => None,
            };
            if let Some(value) = next.and_then(|e| encode(&e).ok()) {
                txn = txn.enqueue(tables::async_queue(), room.deps.state.now(), value);
            }
            Settle::Ack
        }
    };
    settle(room, txn, call, to).await;
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

async fn settle(room: &Lambda, txn: Txn, call: Claimed, to: Settle) {
    if let Err(e) = room.deps.state.commit(txn.settle(call.handle, to)).await {
        // The lease runs out and the call runs again: at least once is what is promised.
        tracing::error!(error = %e, "end an asynchronous call");
    }
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
            hops: 0,
        }
    }

    #[test]
    fn a_failed_call_is_tried_twice_more() {
        let mut e = event();
        assert_eq!(e.next(Tried::Failed, None, Millis(0)), Next::Again(Millis(60_000)));
        assert_eq!(e.next(Tried::Failed, None, Millis(60_000)), Next::Again(Millis(180_000)));
        assert_eq!(e.next(Tried::Failed, None, Millis(180_000)), Next::Over(End::RetriesExhausted));
        assert_eq!(event().next(Tried::Succeeded, None, Millis(0)), Next::Over(End::Success));
    }

    #[test]
    fn a_refused_call_backs_off_for_six_hours() {
        let mut e = event();
        let (mut now, mut tries) = (Millis(0), 0);
        while let Next::Again(due) = e.next(Tried::Refused, None, now) {
            assert!(due.since(now) <= BACKOFF.1 && due.since(now) >= BACKOFF.0);
            now = due;
            tries += 1;
        }
        assert!(now.since(Millis(0)) > AGE_MAX && tries > 70, "{tries}");
    }

    #[test]
    fn a_configuration_narrows_retries_and_age() {
        let config =
            |retries, age_s| EventConfig { retries, age_s, on_success: None, on_failure: None, modified_ms: 0 };
        let next = |c: &EventConfig| event().next(Tried::Failed, Some(c), Millis(0));
        assert_eq!(next(&config(Some(0), None)), Next::Over(End::RetriesExhausted));
        assert_eq!(next(&config(Some(1), Some(60))), Next::Again(Millis(60_000)));
        let mut e = event();
        assert_eq!(
            e.next(Tried::Failed, Some(&config(None, Some(60))), Millis(1_000)),
            Next::Over(End::EventAgeExceeded)
        );
    }
}
