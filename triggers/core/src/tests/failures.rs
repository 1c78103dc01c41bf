//! What happens to records that the function does not take.

use super::fake::*;
use serde_json::{Value, json};
use squall_protocol::ServiceError;
use squall_service::{EventSources as _, Mapping};
use std::time::Duration;

fn poisoned(event: &Value, poison: i64) -> bool {
    numbers(event).contains(&poison)
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_a_batch_is_tried_until_it_succeeds() {
    let world = World::new();
    world.write("s1", "k", 2);
    let mut left = 6;
    world.script(move |_| {
        left -= 1;
        if left > 0 { failure() } else { answer("null") }
    });
    world.triggers.run(mapping()).await;
    world.until("six calls", |w| w.batches().len() == 6).await;
    world.write("s1", "k", 1);
    world.until("the next", |w| w.batches().len() == 7).await;
    assert_eq!(world.batches()[6], [3]);
    let calls = world.function.calls.lock();
    let gaps: Vec<Duration> = calls.windows(2).map(|w| w[1].0 - w[0].0).take(5).collect();
    assert!(gaps.windows(2).all(|g| g[1] > g[0]), "pauses grow: {gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn after_the_last_retry_the_record_goes_to_the_destination() {
    let world = World::new();
    world.write("s1", "k", 1);
    world.script(|_| failure());
    let on_failure = Some("arn:test:target".to_owned());
    world.triggers.run(Mapping { retries: Some(2), on_failure, ..mapping() }).await;
    world.until("a failure record", |w| !w.target.0.lock().is_empty()).await;
    assert_eq!(world.batches().len(), 3);
    let record = world.target.0.lock()[0].clone();
    assert_eq!(record["requestContext"]["condition"], "RetryAttemptsExhausted");
    assert_eq!(record["requestContext"]["approximateInvokeCount"], 3);
    assert_eq!(
        record["responseContext"],
        json!({"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"})
    );
    assert_eq!(
        record["TestBatchInfo"],
        json!({
            "shardId": "s1", "startSequenceNumber": "1", "endSequenceNumber": "1", "batchSize": 1, "streamArn": ARN,
            "approximateArrivalOfFirstRecord": "2023-11-14T22:13:20Z",
            "approximateArrivalOfLastRecord": "2023-11-14T22:13:20Z",
        })
    );
    world.script(|_| answer("null"));
    world.write("s1", "k", 1);
    world.until("the shard goes on", |w| w.batches().last() == Some(&vec![2])).await;
}

#[tokio::test(start_paused = true)]
async fn bisecting_isolates_the_poison() {
    let world = World::new();
    world.write("s1", "k", 8);
    world.script(|event| if poisoned(event, 6) { failure() } else { answer("null") });
    let on_failure = Some("arn:test:target".to_owned());
    world.triggers.run(Mapping { retries: Some(1), bisect: true, on_failure, ..mapping() }).await;
    world.until("a failure record", |w| !w.target.0.lock().is_empty()).await;
    world.until("the rest", |w| w.batches().last() == Some(&vec![7, 8])).await;
    let expected: [&[i64]; 8] =
        [&[1, 2, 3, 4, 5, 6, 7, 8], &[1, 2, 3, 4], &[5, 6, 7, 8], &[5, 6], &[5], &[6], &[6], &[7, 8]];
    assert_eq!(world.batches(), expected);
    assert_eq!(world.target.0.lock()[0]["TestBatchInfo"]["startSequenceNumber"], "6");
}

#[tokio::test(start_paused = true)]
async fn reported_items_are_where_the_next_try_begins() {
    let world = World::new();
    world.write("s1", "k", 6);
    world.script(|event| {
        let last = numbers(event).last().copied().unwrap_or_default().to_string();
        answer(&json!({ "batchItemFailures": [{ "itemIdentifier": last }] }).to_string())
    });
    let on_failure = Some("arn:test:target".to_owned());
    world.triggers.run(Mapping { retries: Some(3), reports_failures: true, on_failure, ..mapping() }).await;
    world.until("a failure record", |w| !w.target.0.lock().is_empty()).await;
    // What came before is done, and its success begins the counting anew.
    let expected: [&[i64]; 5] = [&[1, 2, 3, 4, 5, 6], &[6], &[6], &[6], &[6]];
    assert_eq!(world.batches(), expected);
    let record = world.target.0.lock()[0].clone();
    assert_eq!(record["requestContext"]["approximateInvokeCount"], 4);
    assert_eq!(record["responseContext"]["functionError"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn answers_are_read_as_documented() {
    use crate::verdict::{Verdict, judge};
    let sequences = ["a", "b", "c"];
    for (payload, expected) in [
        ("", Verdict::Done),
        ("null", Verdict::Done),
        ("[]", Verdict::Done),
        ("{}", Verdict::Done),
        (r#"{"batchItemFailures":[]}"#, Verdict::Done),
        (r#"{"batchItemFailures":null}"#, Verdict::Done),
        (r#"{"batchItemFailures":[{"itemIdentifier":"c"},{"itemIdentifier":"b"}]}"#, Verdict::From(1)),
        (r#"{"batchItemFailures":[{"itemIdentifier":"a"}]}"#, Verdict::Failed(None)),
        (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, Verdict::Failed(None)),
        (r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, Verdict::Failed(None)),
        (r#"{"batchItemFailures":[{"foo":"b"}]}"#, Verdict::Failed(None)),
        (r#"{"batchItemFailures":[{"itemIdentifier":"z"}]}"#, Verdict::Failed(None)),
        (r#"{"batchItemFailures":"b"}"#, Verdict::Failed(None)),
        (r#""text""#, Verdict::Failed(None)),
    ] {
        assert_eq!(judge(&answer(payload), true, &sequences), expected, "{payload}");
        assert_eq!(judge(&answer(payload), false, &sequences), Verdict::Done, "{payload}");
    }
}

#[tokio::test(start_paused = true)]
async fn throttles_do_not_count_as_attempts() {
    let world = World::new();
    world.write("s1", "k", 1);
    let mut calls = 0;
    world.script(move |_| {
        calls += 1;
        if calls < 10 {
            Err(ServiceError::client("TooManyRequestsException", 429, "Rate Exceeded."))
        } else {
            answer("1")
        }
    });
    world.triggers.run(Mapping { retries: Some(0), ..mapping() }).await;
    world.until("a success", |w| w.triggers.last_result("u").as_deref() == Some("OK")).await;
    assert_eq!(world.batches().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn old_records_are_not_handed_over() {
    let world = World::new();
    world.write("s1", "k", 2);
    tokio::time::sleep(Duration::from_secs(100)).await;
    world.write("s1", "k", 1);
    let on_failure = Some("arn:test:target".to_owned());
    world.triggers.run(Mapping { record_age_s: Some(60), on_failure, ..mapping() }).await;
    world.until("the young one", |w| w.batches() == [vec![3]]).await;
    let record = world.target.0.lock()[0].clone();
    assert_eq!(record["requestContext"]["condition"], "RecordAgeExceeded");
    assert_eq!(record["TestBatchInfo"]["batchSize"], 2);
    assert!(record.get("responseContext").is_none());
}

#[tokio::test(start_paused = true)]
async fn failures_are_counted_across_restarts() {
    let world = World::new();
    world.write("s1", "k", 1);
    world.script(|_| failure());
    let on_failure = Some("arn:test:target".to_owned());
    let m = Mapping { retries: Some(3), on_failure, ..mapping() };
    world.triggers.run(m.clone()).await;
    world.until("two calls", |w| w.batches().len() == 2).await;
    world.triggers.pause("u").await;
    world.triggers.run(m).await;
    world.until("a failure record", |w| !w.target.0.lock().is_empty()).await;
    assert_eq!(world.batches().len(), 4);
}
