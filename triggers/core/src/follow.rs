//! Follows one shard for one mapping: gathers batches, calls the function, retries, keeps its place.

use crate::batch::{self, Item};
use crate::failure::{self, Calls, Condition};
use crate::gather::{Buffer, Gathered};
use crate::progress::{Place, Progress};
use crate::supervise::{LEASE, RENEW};
use crate::verdict::{Verdict, judge};
use crate::window::Open;
use crate::{Inner, Running, internal, tables};
use bytes::Bytes;
use futures_util::future::join_all;
use squall_protocol::ServiceError;
use squall_service::{Invocation, InvocationKind, Invoker, Outcome, StreamError};
use squall_store::{Check, Handle, Settle, StateExt as _, Txn};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// First and longest pause before a batch is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How often a failure record is offered to its destination.
const DELIVERIES: u32 = 5;

/// Why a follower ended.
#[derive(Debug)]
pub enum End {
    /// The mapping is paused.
    Stopped,
    /// The shard is at its end.
    Finished,
    /// The source or the state failed.
    Failed(StreamError),
    /// Another holder has the lease.
    Lost,
}

/// Follows one shard.
pub struct Follower {
    pub inner: Arc<Inner>,
    pub running: Arc<Running>,
    pub shard: String,
    pub stopped: watch::Receiver<bool>,
    handle: Handle,
}

/// A call's answer with what failure records tell of it.
struct Answer {
    outcome: Result<Outcome, ServiceError>,
    request_id: String,
}

/// Items with the number of times they have failed.
type Work = (Vec<Item>, u32);

impl Follower {
    pub fn new(
        inner: Arc<Inner>,
        running: Arc<Running>,
        shard: String,
        handle: Handle,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        Self { inner, running, shard, stopped, handle }
    }

    /// Runs to an end.
    pub async fn run(&mut self) -> End {
        let (inner, handle) = (self.inner.clone(), self.handle);
        tokio::select! {
            end = self.follow() => match end {
                Ok(()) => End::Finished,
                Err(end) => end,
            },
            () = renew(&inner, handle) => End::Lost,
        }
    }

    pub fn is_stopped(&self) -> bool {
        *self.stopped.borrow()
    }

    async fn follow(&mut self) -> Result<(), End> {
        let key = tables::progress(&self.running.mapping.uuid, &self.shard);
        let row = self.inner.deps.state.get(key).await.map_err(|e| End::Failed(internal(e)))?;
        let progress = row.and_then(|row| Progress::decode(&row.value));
        let mut progress = progress.unwrap_or_else(|| Progress::at(Some(Place::Horizon)));
        let mut buffer = Buffer::new(progress.from.clone());
        loop {
            match self.gather(&mut buffer, &mut progress).await? {
                Gathered::Items if self.running.mapping.tumbling_s > 0 => {
                    self.windowed(&mut buffer, &mut progress).await?;
                }
                Gathered::Items => self.round(&mut buffer, &mut progress).await?,
                Gathered::WindowOver => self.close_window(&mut progress).await?,
                Gathered::Ended => {
                    self.close_window(&mut progress).await?;
                    progress.from = None;
                    return self.save(&progress, false).await;
                }
            }
        }
    }

    /// Hands over what is there, in parallel where keys differ and the mapping wants it.
    async fn round(&mut self, buffer: &mut Buffer, progress: &mut Progress) -> Result<(), End> {
        let mapping = &self.running.mapping;
        let (size, lanes) = (mapping.batch_size as usize, mapping.parallel);
        if lanes <= 1 {
            let items = buffer.take(|all| batch::fits(all, size, 0));
            let after = items.last().and_then(|last| buffer.place_after(last));
            let attempts = progress.attempts;
            self.drive(items, attempts, Some(progress)).await?;
            *progress = Progress::at(after);
        } else {
            let items = buffer.take(<[Item]>::len);
            let after = items.last().and_then(|last| buffer.place_after(last));
            let this: &Self = self;
            let all = batch::lanes(items, lanes).into_iter().map(|mut lane| async move {
                while !lane.is_empty() {
                    let rest = lane.split_off(batch::fits(&lane, size, 0));
                    this.drive(lane, 0, None).await?;
                    lane = rest;
                }
                Ok(())
            });
            join_all(all).await.into_iter().collect::<Result<(), End>>()?;
            *progress = Progress::at(after);
        }
        self.save(progress, false).await
    }

    /// Hands over items until each is done or given up. With `progress`, the place and the failures are kept in between.
    async fn drive(&self, items: Vec<Item>, attempts: u32, mut progress: Option<&mut Progress>) -> Result<(), End> {
        let mapping = &self.running.mapping;
        let mut work: VecDeque<Work> = VecDeque::from([(items, attempts)]);
        let mut pauses = 0;
        while let Some((items, attempts)) = work.pop_front() {
            let (items, expired) = self.young(items);
            if !expired.is_empty() {
                self.give_up(&expired, Condition::RecordAgeExceeded, attempts, None).await;
            }
            if items.is_empty() {
                continue;
            }
            let answer = self.call(batch::event(&items, None)).await;
            let sequences: Vec<&str> = items.iter().map(|i| i.sequence.as_str()).collect();
            let verdict = judge(&answer.outcome, mapping.reports_failures, &sequences);
            self.note(&verdict);
            match verdict {
                Verdict::Done => {
                    pauses = 0;
                    if let (Some(p), Some(last), false) = (progress.as_deref_mut(), items.last(), work.is_empty()) {
                        *p = Progress::at(Some(Place::After(last.sequence.clone())));
                        self.save(p, false).await?;
                    }
                }
                Verdict::From(at) => {
                    let mut done = items;
                    let rest = done.split_off(at);
                    if let (Some(p), Some(last)) = (progress.as_deref_mut(), done.last()) {
                        *p = Progress::at(Some(Place::After(last.sequence.clone())));
                        self.save(p, false).await?;
                    }
                    work.push_front((rest, 0));
                    self.pause(&mut pauses).await?;
                }
                Verdict::Failed(_) if mapping.bisect && items.len() > 1 => {
                    // Cutting a batch counts no attempt.
                    let mut first = items;
                    let second = first.split_off(first.len() / 2);
                    work.push_front((second, attempts));
                    work.push_front((first, attempts));
                    self.pause(&mut pauses).await?;
                }
                Verdict::Failed(kind) => {
                    let attempts = attempts + 1;
                    if mapping.retries.is_some_and(|most| attempts > most) {
                        let response = Some((&answer, kind.as_deref()));
                        self.give_up(&items, Condition::RetryAttemptsExhausted, attempts, response).await;
                        pauses = 0;
                        continue;
                    }
                    if let (Some(p), true) = (progress.as_deref_mut(), work.is_empty()) {
                        p.attempts = attempts;
                        self.save(p, true).await?;
                    }
                    work.push_front((items, attempts));
                    self.pause(&mut pauses).await?;
                }
                Verdict::NotRun(_) => {
                    work.push_front((items, attempts));
                    self.pause(&mut pauses).await?;
                }
            }
        }
        Ok(())
    }

    /// Parts items that are young enough from those at the front that are too old.
    fn young(&self, mut items: Vec<Item>) -> (Vec<Item>, Vec<Item>) {
        let Some(age) = self.running.mapping.record_age_s else { return (items, Vec::new()) };
        let (now, age) = (self.inner.deps.clock.now(), Duration::from_secs(u64::from(age)));
        let old = items.iter().take_while(|i| now.since(i.at) > age).count();
        let young = items.split_off(old);
        (young, items)
    }

    async fn call(&self, payload: Bytes) -> Answer {
        let mapping = &self.running.mapping;
        let request_id = self.inner.deps.random.uuid();
        let invocation = Invocation {
            function: mapping.function_arn.clone(),
            qualifier: None,
            region: mapping.region.clone(),
            payload,
            kind: InvocationKind::RequestResponse,
            log_tail: false,
            client_context: None,
            trace_header: None,
            invoker: Invoker::Authorised,
            request_id: request_id.clone(),
        };
        let outcome = match self.inner.invoke.upgrade() {
            Some(invoke) => invoke.invoke(invocation).await,
            None => Err(ServiceError::server("ServiceUnavailableException", 503, "The server is shutting down")),
        };
        Answer { outcome, request_id }
    }

    fn note(&self, verdict: &Verdict) {
        let text = match verdict {
            Verdict::Done => "OK",
            Verdict::From(_) | Verdict::Failed(_) => "PROBLEM: Function call failed",
            Verdict::NotRun(code) if code == "TooManyRequestsException" => "PROBLEM: Function call throttled",
            Verdict::NotRun(code) if code == "ResourceNotFoundException" => "PROBLEM: Function does not exist",
            Verdict::NotRun(_) => "PROBLEM: Function call failed",
        };
        self.inner.note(&self.running.mapping.uuid, text);
    }

    /// Waits before the next try; longer each time.
    async fn pause(&self, pauses: &mut u32) -> Result<(), End> {
        let pause = BACKOFF.0.saturating_mul(1 << (*pauses).min(16)).min(BACKOFF.1);
        *pauses += 1;
        let mut stopped = self.stopped.clone();
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => Err(End::Stopped),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    async fn give_up(&self, items: &[Item], why: Condition, calls: u32, answer: Option<(&Answer, Option<&str>)>) {
        let mapping = &self.running.mapping;
        let ids = items.first().zip(items.last()).map(|(a, b)| (&a.sequence, &b.sequence));
        tracing::warn!(uuid = mapping.uuid, shard = self.shard, ?why, records = items.len(), ?ids, "records given up");
        let Some(target) = &mapping.on_failure else { return };
        let fresh = self.inner.deps.random.uuid();
        let version = answer.and_then(|(a, _)| a.outcome.as_ref().ok()).map_or("$LATEST", |o| &o.executed_version);
        let calls = Calls {
            request_id: answer.map_or(&fresh, |(a, _)| &a.request_id),
            function_arn: &mapping.function_arn,
            condition: why,
            invoke_count: calls,
            response: answer.map(|(_, kind)| (version, kind)),
        };
        let adapter = &self.running.adapter;
        let now = self.inner.deps.clock.now();
        let (arn, millis) = (&mapping.source_arn, adapter.arrival_millis);
        let body = failure::record(&calls, items, now, adapter.batch_info, &self.shard, arn, millis);
        for attempt in 0..DELIVERIES {
            if self.inner.deliver(target, body.clone()).await {
                return;
            }
            tokio::time::sleep(BACKOFF.0.saturating_mul(1 << attempt)).await;
        }
        tracing::error!(uuid = mapping.uuid, target, "a failure record could not be delivered: dropped");
    }

    /// Keeps the place, if this follower still has its lease.
    pub async fn save(&self, progress: &Progress, lazily: bool) -> Result<(), End> {
        let key = tables::progress(&self.running.mapping.uuid, &self.shard);
        let txn = Txn::new().check(Check::Lease(self.handle)).put(key, progress.encode());
        match self.inner.deps.state.commit(if lazily { txn.lazy() } else { txn }).await {
            Ok(_) => Ok(()),
            Err(squall_store::Error::Check(_) | squall_store::Error::Stale) => Err(End::Lost),
            Err(e) => Err(End::Failed(internal(e))),
        }
    }

    /// Hands over what belongs to one window, with its state.
    async fn windowed(&mut self, buffer: &mut Buffer, progress: &mut Progress) -> Result<(), End> {
        let length = self.running.mapping.tumbling_s;
        let Some(first) = buffer.items.front() else { return Ok(()) };
        let window = Open::of(first.at, length);
        if progress.window.as_ref().is_some_and(|open| open.start_ms < window.start_ms) {
            self.close_window(progress).await?;
        }
        let mut open = progress.window.take().unwrap_or(window);
        let (size, spare) = (self.running.mapping.batch_size as usize, open.state.to_string().len() + 512);
        let end = open.end(length);
        let items = buffer.take(|all| {
            let within = all.iter().take_while(|i| i.at < end).count().max(1);
            batch::fits(all.get(..within).unwrap_or(all), size, spare)
        });
        let after = items.last().and_then(|last| buffer.place_after(last));
        let answer = self.insist(&items, &mut open, false, progress.attempts).await?;
        if let Some(answer) = answer {
            open.hand_on(&answer);
        }
        let is_early = open.early;
        *progress = Progress { from: after, attempts: 0, window: Some(open) };
        if is_early {
            // A state of that size is not kept: should the last call be cut off by a crash, the batch is handed over again.
            return self.close_window(progress).await;
        }
        self.save(progress, false).await
    }

    /// Ends the open window, if there is one.
    async fn close_window(&mut self, progress: &mut Progress) -> Result<(), End> {
        let Some(mut open) = progress.window.clone() else { return Ok(()) };
        self.insist(&[], &mut open, true, 0).await?;
        progress.window = None;
        self.save(progress, false).await
    }

    /// Calls until the function takes the batch or it is given up. Windows are not bisected: their state is handed on in order.
    async fn insist(
        &self,
        items: &[Item],
        open: &mut Open,
        last: bool,
        mut attempts: u32,
    ) -> Result<Option<Bytes>, End> {
        let mapping = &self.running.mapping;
        let members = open.members(mapping.tumbling_s, &self.shard, &mapping.source_arn, last);
        let mut items = items;
        let mut pauses = 0;
        loop {
            let answer = self.call(batch::event(items, Some(&members))).await;
            let sequences: Vec<&str> = items.iter().map(|i| i.sequence.as_str()).collect();
            let verdict = judge(&answer.outcome, mapping.reports_failures, &sequences);
            self.note(&verdict);
            match verdict {
                Verdict::Done => return Ok(answer.outcome.ok().map(|o| o.payload)),
                Verdict::From(at) => items = items.get(at..).unwrap_or_default(),
                Verdict::Failed(kind) => {
                    attempts += 1;
                    if mapping.retries.is_some_and(|most| attempts > most) {
                        let response = Some((&answer, kind.as_deref()));
                        self.give_up(items, Condition::RetryAttemptsExhausted, attempts, response).await;
                        return Ok(None);
                    }
                }
                Verdict::NotRun(_) => {}
            }
            self.pause(&mut pauses).await?;
        }
    }
}

/// Keeps the lease from running out; comes back when it is lost.
async fn renew(inner: &Inner, handle: Handle) {
    loop {
        tokio::time::sleep(RENEW).await;
        let due = inner.deps.state.now().plus(LEASE);
        match inner.deps.state.commit(Txn::new().settle(handle, Settle::Extend { due }).lazy()).await {
            Ok(_) => {}
            Err(squall_store::Error::Stale) => return,
            Err(e) => tracing::warn!(error = %e, "renew the lease of a shard"),
        }
    }
}
