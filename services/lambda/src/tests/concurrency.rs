//! Reserved concurrency.

use super::*;

async fn reserve(cloud: &Cloud, name: &str, count: i32) -> Result<Concurrency, ServiceError> {
    let input = PutFunctionConcurrencyInput { function_name: name.into(), reserved_concurrent_executions: count };
    cloud.call("PutFunctionConcurrency", input).await
}

async fn reserved(cloud: &Cloud, name: &str) -> Option<i32> {
    let input = GetFunctionConcurrencyInput { function_name: name.into() };
    let out: GetFunctionConcurrencyOutput = cloud.call("GetFunctionConcurrency", input).await.expect("exists");
    out.reserved_concurrent_executions
}

#[tokio::test]
async fn a_reservation_is_kept_shown_and_given_back() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    assert_eq!(reserved(&cloud, "f").await, None);
    assert_eq!(reserve(&cloud, "f", 5).await.unwrap().reserved_concurrent_executions, Some(5));
    assert_eq!(reserved(&cloud, "f").await, Some(5));
    let get = GetFunctionInput { function_name: "f".into(), ..Default::default() };
    let shown: GetFunctionOutput = cloud.call("GetFunction", get).await.unwrap();
    assert_eq!(shown.concurrency.and_then(|c| c.reserved_concurrent_executions), Some(5));
    let settings: GetAccountSettingsOutput =
        cloud.call("GetAccountSettings", GetAccountSettingsInput::default()).await.unwrap();
    assert_eq!(settings.account_limit.and_then(|l| l.unreserved_concurrent_executions), Some(995));
    let input = DeleteFunctionConcurrencyInput { function_name: "f".into() };
    let _: DeleteFunctionConcurrencyOutput = cloud.call("DeleteFunctionConcurrency", input).await.unwrap();
    assert_eq!(reserved(&cloud, "f").await, None);
}

#[tokio::test]
async fn a_hundred_stay_unreserved() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    cloud.function("g", "echo").await;
    reserve(&cloud, "f", 500).await.expect("there is room");
    let e = reserve(&cloud, "g", 401).await.expect_err("too much");
    assert_eq!((e.code, e.status), ("InvalidParameterValueException", 400));
    assert_eq!(
        e.message,
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100]."
    );
    reserve(&cloud, "g", 400).await.expect("there is just room");
    assert_eq!(reserve(&cloud, "g", -1).await.expect_err("negative").code, "ValidationException");
}

#[tokio::test]
async fn nothing_runs_beyond_the_reservation() {
    let cloud = Arc::new(Cloud::new().await);
    cloud.function("f", "hold").await;
    reserve(&cloud, "f", 1).await.unwrap();
    let call = {
        let cloud = cloud.clone();
        tokio::spawn(async move { cloud.answer("f", "1").await })
    };
    let fake = cloud.fake.clone();
    eventually("the call runs", || fake.taken() == 1).await;
    let e = cloud.invoke("f", "2").await.expect_err("throttled");
    assert_eq!((e.code, e.status, e.message.as_str()), ("TooManyRequestsException", 429, "Rate Exceeded."));
    let reason = e.members.iter().find(|(n, _)| *n == "Reason").map(|(_, v)| format!("{v:?}"));
    assert!(reason.is_some_and(|r| r.contains("ReservedFunctionConcurrentInvocationLimitExceeded")));
    cloud.fake.gate.add_permits(1);
    call.await.expect("a task");

    reserve(&cloud, "f", 0).await.unwrap();
    assert_eq!(cloud.invoke("f", "3").await.expect_err("throttled").code, "TooManyRequestsException");
    // Accepted all the same: it waits for its turn.
    let event = InvokeInput { invocation_type: Some("Event".into()), ..invoke("f", "4") };
    let out: InvokeOutput = cloud.call("Invoke", event).await.unwrap();
    assert_eq!(out.status_code, Some(202));
}
