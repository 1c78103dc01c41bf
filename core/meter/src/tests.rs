//! Counting, writing once, reading back, pricing.

use crate::price::{By, Prices, bill, first_hour, span};
use crate::{Hourly, Meter, Options, Subject, Usage, hour_of};
use squall_engine_memory::Memory;
use squall_store::{
    Change, ClaimSpec, Claimed, Committed, Consistency, Error, Part, Queue, ReadOp, ReadOut, Record, Result, State, Txn,
};
use squall_types::{Clock, ManualClock, Millis, Random, SystemRandom};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const START: Millis = Millis(1_800_000_000_000);

fn subject(function: &str) -> Subject {
    Subject {
        region: "us-east-1".into(),
        function: function.into(),
        version: "$LATEST".into(),
        architecture: "x86_64".into(),
    }
}

fn requests(requests: u64) -> Usage {
    Usage { requests, mb_ms: requests * 128 * 10, ..Usage::default() }
}

fn meter(state: Arc<dyn State>, clock: &Arc<ManualClock>) -> Meter {
    Meter::new(state, clock.clone(), Arc::new(SystemRandom), Options::default())
}

#[tokio::test]
async fn usage_is_kept_by_the_hour_and_outlives_the_meter() {
    let clock = Arc::new(ManualClock::new(START));
    let state = squall_testkit_state::state(clock.clone());
    let first = meter(state.clone(), &clock);
    let (f, g) = (first.tally(&subject("f")), first.tally(&subject("g")));
    f.add(requests(1));
    f.add(requests(2));
    g.add(requests(5));
    first.flush().await.expect("written");
    clock.advance(Duration::from_secs(3600));
    f.add(requests(4));
    first.flush().await.expect("written");
    f.add(requests(8));
    drop((first, f, g));

    let hour = hour_of(START);
    let second = meter(state, &clock);
    let found = second.usage(hour, hour + 2).await.expect("read");
    let seen: Vec<_> = found.iter().map(|h| (h.hour - hour, h.subject.function.as_str(), h.usage.requests)).collect();
    // The eight came after the last flush and are lost with the meter, as in a crash.
    assert_eq!(seen, [(0, "f", 3), (0, "g", 5), (1, "f", 4)]);
    assert_eq!(second.usage(hour + 1, hour + 2).await.expect("read").len(), 1);
    assert_eq!(second.usage(hour + 2, hour + 1).await.expect("read").len(), 0);
    second.tally(&subject("f")).add(requests(1));
    let now = second.usage(hour + 1, hour + 2).await.expect("read");
    assert_eq!(now.first().map(|h| h.usage.requests), Some(5), "what is not written yet counts, in the same row");
}

#[tokio::test]
async fn tallies_that_nobody_holds_are_forgotten() {
    let clock = Arc::new(ManualClock::new(START));
    let meter = meter(squall_testkit_state::state(clock.clone()), &clock);
    meter.tally(&subject("f")).add(requests(1));
    let held = meter.tally(&subject("g"));
    meter.flush().await.expect("written");
    assert_eq!(meter.subjects(), 1);
    drop(held);
    meter.flush().await.expect("nothing to write");
    assert_eq!(meter.subjects(), 0);
}

/// An engine whose first answers are lost, or that is away.
struct Shaky {
    inner: Memory,
    lost: AtomicUsize,
    away: AtomicUsize,
}

#[async_trait::async_trait]
impl State for Shaky {
    async fn read(&self, ops: Vec<ReadOp>, c: Consistency) -> Result<Vec<ReadOut>> {
        self.inner.read(ops, c).await
    }
    async fn commit(&self, txn: Txn) -> Result<Committed> {
        let count = |n: &AtomicUsize| n.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if count(&self.away) {
            return Err(Error::Unavailable("away".into()));
        }
        let done = self.inner.commit(txn).await;
        if count(&self.lost) { Err(Error::Unknown) } else { done }
    }
    async fn claim(&self, queue: Queue, spec: ClaimSpec) -> Result<Vec<Claimed>> {
        self.inner.claim(queue, spec).await
    }
    fn watch(&self, part: Part, after: u64) -> futures_util::stream::BoxStream<'static, Result<Change>> {
        self.inner.watch(part, after)
    }
    fn export(&self) -> futures_util::stream::BoxStream<'static, Result<Record>> {
        self.inner.export()
    }
    async fn import(&self, records: futures_util::stream::BoxStream<'static, Result<Record>>) -> Result<()> {
        self.inner.import(records).await
    }
    fn now(&self) -> Millis {
        self.inner.now()
    }
}

#[tokio::test]
async fn a_lost_answer_and_an_absent_engine_count_once() {
    let clock = Arc::new(ManualClock::new(START));
    let state = Shaky { inner: Memory::new(clock.clone()), lost: AtomicUsize::new(1), away: AtomicUsize::new(0) };
    let state = Arc::new(state);
    let meter = meter(state.clone(), &clock);
    let f = meter.tally(&subject("f"));
    f.add(requests(3));
    meter.flush().await.expect("the second answer arrives");
    state.away.store(1, Ordering::SeqCst);
    f.add(requests(4));
    assert!(meter.flush().await.is_err());
    state.lost.store(2, Ordering::SeqCst);
    f.add(requests(5));
    assert!(meter.flush().await.is_err(), "both answers are lost, the write is not");
    let found = meter.usage(hour_of(START), hour_of(START) + 1).await.expect("read");
    assert_eq!(found.first().map(|h| h.usage.requests), Some(12));
}

#[tokio::test]
async fn many_subjects_are_written_in_several_batches() {
    let clock = Arc::new(ManualClock::new(START));
    let meter = meter(squall_testkit_state::state(clock.clone()), &clock);
    for i in 0..500 {
        meter.tally(&subject(&format!("f{i}"))).add(requests(1));
    }
    let found = meter.usage(hour_of(START), hour_of(START) + 1).await.expect("read");
    assert_eq!(found.len(), 500);
    assert!((&SystemRandom as &dyn Random).uuid().len() == 36 && clock.now() == START);
}

#[test]
fn bills_follow_the_table() {
    let arm = Subject { architecture: "arm64".into(), ..subject("g") };
    let day = first_hour("2027-01-15").expect("a day");
    // One GB·s each: 1024 MB for 1000 ms.
    let usage = |mb_ms| Usage { requests: 1_000_000, mb_ms, ..Usage::default() };
    let hours = [
        Hourly { hour: day, subject: subject("f"), usage: usage(1_024_000) },
        Hourly { hour: day + 23, subject: Subject { version: "7".into(), ..subject("f") }, usage: usage(0) },
        Hourly {
            hour: day + 24,
            subject: arm,
            usage: Usage { provisioned_mb_ms: 1_024_000, provisioned_run_mb_ms: 2_048_000, ..Usage::default() },
        },
    ];
    let prices = Prices::default();
    let by_function = bill(&hours, &prices, By::Function);
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
    assert_eq!(by_function.lines.len(), 2);
    near(by_function.lines[0].amount, 0.4 + 0.000_016_666_7);
    near(by_function.lines[1].amount, 0.000_003_333_4 + 2.0 * 0.000_007_777_8);
    near(by_function.total.amount, by_function.lines.iter().map(|l| l.amount).sum());
    let by_day: Vec<_> = bill(&hours, &prices, By::Day).lines.into_iter().map(|l| (l.name, l.requests)).collect();
    assert_eq!(by_day, [("2027-01-15".to_owned(), 2_000_000), ("2027-01-16".to_owned(), 0)]);
}

#[test]
fn days_are_read_strictly() {
    assert_eq!(first_hour("1970-01-01"), Some(0));
    assert_eq!(first_hour("2024-02-29"), Some(19_782 * 24));
    for wrong in ["2023-02-29", "2024-13-01", "2024-1-1", "", "2024-01-01-", "2024-01-0x", "1969-12-31", "2024-00-10"] {
        assert_eq!(first_hour(wrong), None, "{wrong}");
    }
}

#[test]
fn spans_are_this_month_unless_told() {
    let hour = |day: &str| first_hour(day).expect("a day");
    let now = hour("2026-03-15") + 7;
    assert_eq!(span(None, None, now), Ok((hour("2026-03-01"), hour("2026-03-16"))));
    assert_eq!(span(Some("2026-02-27"), Some("2026-02-27"), now), Ok((hour("2026-02-27"), hour("2026-02-28"))));
    assert!(span(Some("2026-04-01"), None, now).is_err_and(|e| e.contains("ends before")));
    assert!(span(Some("yesterday"), None, now).is_err_and(|e| e.contains("yesterday")));
}
