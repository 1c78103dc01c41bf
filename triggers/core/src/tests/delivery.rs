//! Records reach the function: in batches, in order, once each when nothing goes wrong, again after a crash.

use super::fake::*;
use crate::tables;
use serde_json::{Value, json};
use squall_service::{EventSources as _, Mapping, StartingPosition};
use squall_store::StateExt as _;
use std::time::Duration;

fn all(world: &World) -> Vec<i64> {
    world.batches().concat()
}

#[tokio::test(start_paused = true)]
async fn batches_are_cut_by_size_and_come_in_order() {
    let world = World::new();
    world.write("s1", "k", 7);
    world.triggers.run(Mapping { batch_size: 3, ..mapping() }).await;
    world.until("7 records", |w| all(w).len() == 7).await;
    assert_eq!(world.batches(), [vec![1, 2, 3], vec![4, 5, 6], vec![7]]);
    world.until("a result", |w| w.triggers.last_result("u").as_deref() == Some("OK")).await;
}

#[tokio::test(start_paused = true)]
async fn a_window_waits_for_more() {
    let world = World::new();
    world.triggers.run(Mapping { batch_size: 10, window_s: 5, ..mapping() }).await;
    for _ in 0..3 {
        world.write("s1", "k", 1);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    world.until("one batch", |w| !w.batches().is_empty()).await;
    assert_eq!(world.batches(), [vec![1, 2, 3]]);
    world.write("s1", "k", 10);
    let before = tokio::time::Instant::now();
    world.until("a full batch", |w| w.batches().len() == 2).await;
    assert!(before.elapsed() < Duration::from_secs(1), "a full batch does not wait");
}

#[tokio::test(start_paused = true)]
async fn batches_are_cut_by_bytes() {
    let world = World::new();
    let big = Value::from("x".repeat(2_500_000));
    world.stream.change(|all| {
        let shard = all.get_mut("s1").expect("a shard");
        shard.records = (0..5).map(|_| ("k".to_owned(), squall_types::Millis(0), big.clone())).collect();
    });
    world.triggers.run(mapping()).await;
    world.until("5 records", |w| all(w).len() == 5).await;
    assert_eq!(world.batches(), [vec![1, 2], vec![3, 4], vec![5]]);
}

#[tokio::test(start_paused = true)]
async fn filters_drop_and_the_place_moves_on() {
    let world = World::new();
    for key in ["a", "b", "a", "c"] {
        world.write("s1", key, 2);
    }
    let filters = vec![r#"{"key":["a"]}"#.to_owned(), r#"{"key":[{"prefix":"c"}]}"#.to_owned()];
    world.triggers.run(Mapping { filters, ..mapping() }).await;
    world.until("the matches", |w| all(w).len() == 6).await;
    assert_eq!(all(&world), [1, 2, 5, 6, 7, 8]);
    world.write("s1", "b", 3);
    let row = tables::progress("u", "s1");
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let kept = world.state.get(row).await.expect("read").expect("a row");
    assert!(String::from_utf8_lossy(&kept.value).contains("11"), "records that do not match are passed");
}

#[tokio::test(start_paused = true)]
async fn latest_begins_behind_what_is_there_and_loses_nothing_after() {
    let world = World::new();
    world.write("s1", "k", 3);
    let m = Mapping { start: StartingPosition::Latest, ..mapping() };
    world.triggers.prepare(&m).await.expect("prepare");
    // Written after the mapping was made, before it runs.
    world.write("s1", "k", 2);
    world.triggers.run(m).await;
    world.until("2 records", |w| all(w).len() == 2).await;
    assert_eq!(all(&world), [4, 5]);
}

#[tokio::test(start_paused = true)]
async fn children_wait_for_their_parents() {
    let world = World::new();
    world.write("s1", "k", 2);
    world.stream.change(|all| {
        let child = Shard { parent: Some("s1".into()), ..Shard::default() };
        all.insert("s2".into(), child);
    });
    world.write("s2", "k", 2);
    world.triggers.run(mapping()).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.batches(), [vec![1, 2]], "the parent is open");
    world.stream.change(|all| all.get_mut("s1").expect("s1").closed = true);
    world.until("the child's records", |w| w.batches().len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn keys_run_in_parallel_but_each_in_order() {
    let world = World::new();
    for n in 0..40 {
        world.write("s1", &format!("k{}", n % 8), 1);
    }
    *world.function.takes.lock() = Duration::from_secs(1);
    let begin = tokio::time::Instant::now();
    world.triggers.run(Mapping { batch_size: 2, parallel: 4, ..mapping() }).await;
    world.until("40 records", |w| all(w).len() == 40).await;
    assert!(begin.elapsed() < Duration::from_secs(19), "{:?}", begin.elapsed());
    let mut last = std::collections::HashMap::new();
    for (_, event) in world.function.calls.lock().iter() {
        for record in event["Records"].as_array().expect("records") {
            let n = record["n"].as_i64();
            let before = last.insert(record["key"].clone(), n).flatten();
            assert!(before < n, "records of a key are in order");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_waits_for_the_batch_in_flight_and_running_again_goes_on() {
    let world = World::new();
    world.write("s1", "k", 1);
    *world.function.takes.lock() = Duration::from_secs(5);
    world.triggers.run(mapping()).await;
    world.until("a call", |w| w.batches().len() == 1).await;
    let begin = tokio::time::Instant::now();
    world.triggers.pause("u").await;
    assert!(begin.elapsed() > Duration::from_secs(4), "the call in flight ended");
    world.write("s1", "k", 1);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.batches(), [vec![1]], "nothing runs while it is paused");
    world.triggers.run(mapping()).await;
    world.until("the second", |w| w.batches().len() == 2).await;
    assert_eq!(world.batches(), [vec![1], vec![2]]);
}

#[test]
fn after_a_crash_another_process_goes_on_and_nothing_is_lost() {
    let process = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().expect("a runtime")
    };
    let m = Mapping { batch_size: 1, ..mapping() };
    let first = process();
    let world = first.block_on(async {
        let world = World::new();
        world.write("s1", "k", 3);
        *world.function.takes.lock() = Duration::from_secs(3600);
        world.triggers.run(m.clone()).await;
        world.until("a call", |w| w.batches().len() == 1).await;
        world
    });
    // Every task is gone at once, with the call in flight.
    drop(first);
    process().block_on(async {
        let next = world.restarted();
        *next.function.takes.lock() = Duration::ZERO;
        next.triggers.run(m).await;
        next.until("every record", |w| all(w) == [1, 1, 2, 3]).await;
    });
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_mapping_leaves_nothing() {
    let world = World::new();
    world.write("s1", "k", 1);
    world.triggers.run(mapping()).await;
    world.until("a record", |w| all(w).len() == 1).await;
    world.triggers.forget("u").await.expect("forget");
    let left = world.state.all(tables::progress_of("u"), 10).await.expect("read");
    assert!(left.is_empty());
    assert_eq!(world.triggers.last_result("u"), None);
    assert_eq!(json!(world.triggers.kind("arn:other").is_none()), json!(true));
}
