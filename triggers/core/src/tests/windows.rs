//! Tumbling windows hand their state on and end with a last call.

use super::fake::*;
use serde_json::{Value, json};
use squall_service::{EventSources as _, Mapping};
use std::time::Duration;

fn count(event: &Value) -> String {
    let before = event["state"]["count"].as_i64().unwrap_or(0);
    json!({ "state": { "count": before + i64::try_from(numbers(event).len()).unwrap_or(0) } }).to_string()
}

#[tokio::test(start_paused = true)]
async fn a_windows_state_goes_from_batch_to_batch_and_ends_with_it() {
    let world = World::new();
    world.script(|event| answer(&count(event)));
    world.triggers.run(Mapping { batch_size: 2, tumbling_s: 30, ..mapping() }).await;
    world.write("s1", "k", 3);
    world.until("two batches", |w| w.batches().len() == 2).await;
    tokio::time::sleep(Duration::from_secs(31)).await;
    world.write("s1", "k", 1);
    world.until("the next window", |w| w.batches().len() >= 4).await;
    let calls: Vec<Value> = world.function.calls.lock().iter().map(|(_, e)| e.clone()).collect();
    let seen: Vec<(usize, i64, bool)> = calls
        .iter()
        .map(|e| (numbers(e).len(), e["state"]["count"].as_i64().unwrap_or(0), e["isFinalInvokeForWindow"] == true))
        .collect();
    assert_eq!(seen[..4], [(2, 0, false), (1, 2, false), (0, 3, true), (1, 0, false)]);
    assert_eq!(calls[0]["shardId"], "s1");
    assert_eq!(calls[0]["eventSourceARN"], ARN);
    assert_eq!(calls[0]["window"], json!({"start": "2023-11-14T22:13:00Z", "end": "2023-11-14T22:13:30Z"}));
    assert_eq!(calls[0]["isWindowTerminatedEarly"], false);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_is_too_big_ends_its_window_early() {
    let world = World::new();
    let big = json!({ "state": "x".repeat(crate::window::STATE_BYTES_MAX) }).to_string();
    world.script(move |event| answer(if event["isFinalInvokeForWindow"] == true { "{}" } else { &big }));
    world.triggers.run(Mapping { batch_size: 1, tumbling_s: 600, ..mapping() }).await;
    world.write("s1", "k", 2);
    world.until("three calls", |w| w.batches().len() >= 3).await;
    let calls = world.function.calls.lock();
    assert_eq!(calls[1].1["isFinalInvokeForWindow"], true);
    assert_eq!(calls[1].1["isWindowTerminatedEarly"], true);
    assert_eq!(numbers(&calls[2].1), [2]);
}
