//! Changing code and configuration: states, preconditions, and what runs meanwhile.

use super::*;

fn change(name: &str) -> UpdateFunctionConfigurationInput {
    UpdateFunctionConfigurationInput { function_name: name.into(), ..Default::default() }
}

#[tokio::test]
async fn an_update_is_in_progress_then_successful() {
    let cloud = Cloud::new().await;
    let made = cloud.function("f", "say 1").await;
    assert_eq!(cloud.answer("f", "{}").await, "1");
    cloud.clock.advance(Duration::from_secs(60));
    let updated: FunctionConfiguration = cloud.call("UpdateFunctionCode", new_code("f", "say 2")).await.unwrap();
    assert_eq!((updated.state.as_deref(), updated.last_update_status.as_deref()), (Some("Active"), Some("InProgress")));
    assert_eq!(updated.last_update_status_reason.as_deref(), Some("The function is being created."));
    assert_eq!(updated.last_update_status_reason_code.as_deref(), Some("Creating"));
    assert_eq!(updated.last_modified.as_deref(), Some("2026-01-02T03:05:05.000+0000"));
    assert_ne!((&updated.code_sha256, &updated.revision_id), (&made.code_sha256, &made.revision_id));
    let done = cloud.settled("f").await;
    assert_eq!((done.last_update_status.as_deref(), done.last_update_status_reason), (Some("Successful"), None));
    assert_eq!(cloud.answer("f", "{}").await, "2");
}

#[tokio::test]
async fn the_configuration_changes_where_the_request_says_so() {
    let cloud = Cloud::new().await;
    let mut first = create("f", "env GREETING");
    first.description = Some("stays".into());
    first.environment = Some(Environment { variables: Some(map(&[("GREETING", "hi")])) });
    cloud.create(first).await.unwrap();
    cloud.settled("f").await;
    assert_eq!(cloud.answer("f", "{}").await, "\"hi\"");
    let input = UpdateFunctionConfigurationInput {
        environment: Some(Environment { variables: Some(map(&[("GREETING", "hello")])) }),
        timeout: Some(20),
        memory_size: Some(256),
        handler: Some("other".into()),
        role: Some("arn:aws:iam::000000000000:role/r2".into()),
        ephemeral_storage: Some(EphemeralStorage { size: 1024 }),
        tracing_config: Some(TracingConfig { mode: Some("Active".into()) }),
        logging_config: Some(LoggingConfig { log_group: Some("mine".into()), ..Default::default() }),
        ..change("f")
    };
    let _: FunctionConfiguration = cloud.call("UpdateFunctionConfiguration", input).await.unwrap();
    let now = cloud.settled("f").await;
    assert_eq!((now.timeout, now.memory_size), (Some(20), Some(256)));
    assert_eq!((now.handler.as_deref(), now.description.as_deref()), (Some("other"), Some("stays")));
    assert_eq!(now.role.as_deref(), Some("arn:aws:iam::000000000000:role/r2"));
    assert_eq!(now.ephemeral_storage, Some(EphemeralStorage { size: 1024 }));
    assert_eq!(now.tracing_config.and_then(|t| t.mode).as_deref(), Some("Active"));
    assert_eq!(now.logging_config.and_then(|l| l.log_group).as_deref(), Some("mine"));
    assert_eq!(cloud.answer("f", "{}").await, "\"hello\"");
    let clear = UpdateFunctionConfigurationInput { environment: Some(Environment::default()), ..change("f") };
    let _: FunctionConfiguration = cloud.call("UpdateFunctionConfiguration", clear).await.unwrap();
    let shown = cloud.settled("f").await.environment.expect("shown, as it was given");
    assert_eq!(shown.variables, Some(BTreeMap::new()));
}

#[tokio::test]
async fn preconditions_guard_updates() {
    let cloud = Cloud::new().await;
    let made = cloud.function("f", "echo").await;
    let code = UpdateFunctionCodeInput { revision_id: Some("old".into()), ..new_code("f", "say 1") };
    let refused = cloud.refused::<FunctionConfiguration>("UpdateFunctionCode", code).await;
    assert_eq!(refused.0, ("PreconditionFailedException", 412));
    let config = UpdateFunctionConfigurationInput { revision_id: Some("old".into()), ..change("f") };
    let refused = cloud.refused::<FunctionConfiguration>("UpdateFunctionConfiguration", config).await;
    assert_eq!(refused.0, ("PreconditionFailedException", 412));
    let code = UpdateFunctionCodeInput { revision_id: made.revision_id, ..new_code("f", "say 1") };
    let _: FunctionConfiguration = cloud.call("UpdateFunctionCode", code).await.expect("the right revision");
}

#[tokio::test]
async fn one_update_at_a_time() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    let _: FunctionConfiguration = cloud.call("UpdateFunctionCode", new_code("f", "say 1")).await.unwrap();
    // The first is finished by a task that has had no turn yet: this test runs on one thread.
    let refused = cloud.refused::<FunctionConfiguration>("UpdateFunctionConfiguration", change("f")).await;
    let text =
        format!("The operation cannot be performed at this time. An update is in progress for resource: {}", arn("f"));
    assert_eq!(refused, (("ResourceConflictException", 409), text));
}

#[tokio::test]
async fn a_new_function_takes_no_update_yet() {
    let cloud = Cloud::new().await;
    cloud.create(create("f", "echo")).await.unwrap();
    let refused = cloud.refused::<FunctionConfiguration>("UpdateFunctionConfiguration", change("f")).await;
    assert_eq!(refused.0, ("ResourceConflictException", 409));
    assert!(refused.1.starts_with("The operation cannot be performed at this time."), "{}", refused.1);
}

#[tokio::test]
async fn code_can_be_published_with_its_update() {
    let cloud = Cloud::new().await;
    cloud.function("f", "say 1").await;
    let input = UpdateFunctionCodeInput { publish: Some(true), ..new_code("f", "say 2") };
    let done: FunctionConfiguration = cloud.call("UpdateFunctionCode", input).await.unwrap();
    assert_eq!((done.version.as_deref(), done.function_arn), (Some("1"), Some(arn("f:1"))));
    cloud.settled("f").await;
    assert_eq!((cloud.answer("f", "{}").await, cloud.answer("f:1", "{}").await), ("2".into(), "2".into()));
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let cloud = Cloud::new().await;
    let made = cloud.function("f", "say 1").await;
    let input = UpdateFunctionCodeInput { dry_run: Some(true), ..new_code("f", "say 2") };
    let shown: FunctionConfiguration = cloud.call("UpdateFunctionCode", input).await.unwrap();
    assert_ne!(shown.code_sha256, made.code_sha256);
    let now = cloud.get("f").await.unwrap();
    assert_eq!((now.code_sha256, now.revision_id), (made.code_sha256, made.revision_id));
    assert_eq!(cloud.answer("f", "{}").await, "1");
}

#[tokio::test]
async fn running_calls_end_on_the_code_they_began_with() {
    let cloud = Arc::new(Cloud::new().await);
    cloud.function("f", "hold").await;
    let call = {
        let cloud = cloud.clone();
        tokio::spawn(async move { cloud.answer("f", "\"old\"").await })
    };
    let fake = cloud.fake.clone();
    eventually("the call runs", || fake.taken() == 1).await;
    let _: FunctionConfiguration = cloud.call("UpdateFunctionCode", new_code("f", "say \"new\"")).await.unwrap();
    cloud.settled("f").await;
    assert_eq!(cloud.answer("f", "{}").await, "\"new\"");
    cloud.fake.gate.add_permits(1);
    assert_eq!(call.await.expect("a task"), "\"old\"");
}
