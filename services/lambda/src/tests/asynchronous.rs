//! Calls of type `Event`: durable, run later, tried again.

use super::*;

async fn send(cloud: &Cloud, name: &str, payload: &str) {
    let input = InvokeInput { invocation_type: Some("Event".into()), ..invoke(name, payload) };
    let out: InvokeOutput = cloud.call("Invoke", input).await.expect("accepted");
    assert_eq!((out.status_code, text(&out.payload).as_str(), out.executed_version), (Some(202), "", None));
}

async fn taken(cloud: &Cloud, count: usize) {
    let fake = cloud.fake.clone();
    eventually(&format!("{count} events are taken"), || fake.taken() == count).await;
    // None of them was one too many.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(cloud.fake.taken(), count);
}

#[tokio::test]
async fn an_event_runs_once() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    send(&cloud, "f", "{\"a\":1}").await;
    taken(&cloud, 1).await;
    cloud.clock.advance(Duration::from_secs(3600));
    taken(&cloud, 1).await;
}

#[tokio::test]
async fn a_failed_event_is_tried_after_one_and_two_minutes() {
    let cloud = Cloud::new().await;
    cloud.function("f", "fail").await;
    send(&cloud, "f", "{}").await;
    taken(&cloud, 1).await;
    cloud.clock.advance(Duration::from_secs(59));
    taken(&cloud, 1).await;
    cloud.clock.advance(Duration::from_secs(1));
    taken(&cloud, 2).await;
    cloud.clock.advance(Duration::from_secs(119));
    taken(&cloud, 2).await;
    cloud.clock.advance(Duration::from_secs(1));
    taken(&cloud, 3).await;
    cloud.clock.advance(Duration::from_secs(24 * 3600));
    taken(&cloud, 3).await;
}

#[tokio::test]
async fn a_retry_that_succeeds_is_the_last() {
    let cloud = Cloud::new().await;
    cloud.function("f", "fail").await;
    send(&cloud, "f", "{}").await;
    taken(&cloud, 1).await;
    cloud.fake.is_well.store(true, std::sync::atomic::Ordering::SeqCst);
    cloud.clock.advance(Duration::from_secs(60));
    taken(&cloud, 2).await;
    cloud.clock.advance(Duration::from_secs(3600));
    taken(&cloud, 2).await;
}

#[tokio::test]
async fn a_throttled_event_waits_for_room() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    let none = PutFunctionConcurrencyInput { function_name: "f".into(), reserved_concurrent_executions: 0 };
    let _: Concurrency = cloud.call("PutFunctionConcurrency", none).await.unwrap();
    send(&cloud, "f", "{}").await;
    taken(&cloud, 0).await;
    let free = DeleteFunctionConcurrencyInput { function_name: "f".into() };
    let _: DeleteFunctionConcurrencyOutput = cloud.call("DeleteFunctionConcurrency", free).await.unwrap();
    cloud.clock.advance(Duration::from_secs(300));
    taken(&cloud, 1).await;
}

#[tokio::test]
async fn events_survive_a_restart() {
    let cloud = Cloud::new().await;
    cloud.function("f", "fail").await;
    send(&cloud, "f", "{}").await;
    taken(&cloud, 1).await;
    let cloud = cloud.reopened().await;
    cloud.fake.is_well.store(true, std::sync::atomic::Ordering::SeqCst);
    cloud.clock.advance(Duration::from_secs(60));
    taken(&cloud, 2).await;
}

#[tokio::test]
async fn events_of_a_deleted_function_end() {
    let cloud = Cloud::new().await;
    cloud.function("f", "fail").await;
    send(&cloud, "f", "{}").await;
    taken(&cloud, 1).await;
    let delete = DeleteFunctionInput { function_name: "f".into(), ..Default::default() };
    let _: DeleteFunctionOutput = cloud.call("DeleteFunction", delete).await.unwrap();
    cloud.clock.advance(Duration::from_secs(60));
    taken(&cloud, 1).await;
}

#[tokio::test]
async fn an_event_to_an_alias_runs_its_version() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    let publish = PublishVersionInput { function_name: "f".into(), ..Default::default() };
    let _: FunctionConfiguration = cloud.call("PublishVersion", publish).await.unwrap();
    let alias = CreateAliasInput {
        function_name: "f".into(),
        name: "live".into(),
        function_version: "1".into(),
        ..Default::default()
    };
    let _: AliasConfiguration = cloud.call("CreateAlias", alias).await.unwrap();
    send(&cloud, "f:live", "{}").await;
    taken(&cloud, 1).await;
}

#[tokio::test]
async fn large_events_are_refused_at_once() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    let payload = format!("\"{}\"", "x".repeat(1 << 20));
    let input = InvokeInput { invocation_type: Some("Event".into()), ..invoke("f", &payload) };
    let refused = cloud.refused::<InvokeOutput>("Invoke", input).await;
    assert_eq!(refused.0, ("RequestEntityTooLargeException", 413));
}
