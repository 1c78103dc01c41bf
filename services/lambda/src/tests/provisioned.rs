//! Provisioned concurrency, from the API to started instances.

use super::*;

fn put(qualifier: &str, count: i32) -> PutProvisionedConcurrencyConfigInput {
    PutProvisionedConcurrencyConfigInput {
        function_name: "f".into(),
        qualifier: qualifier.into(),
        provisioned_concurrent_executions: count,
    }
}

fn get(qualifier: &str) -> GetProvisionedConcurrencyConfigInput {
    GetProvisionedConcurrencyConfigInput { function_name: "f".into(), qualifier: qualifier.into() }
}

async fn shown(cloud: &Cloud, qualifier: &str) -> GetProvisionedConcurrencyConfigOutput {
    cloud.call("GetProvisionedConcurrencyConfig", get(qualifier)).await.expect("a configuration")
}

async fn status(cloud: &Cloud, qualifier: &str, wanted: &str) -> GetProvisionedConcurrencyConfigOutput {
    for _ in 0..5000 {
        let now = shown(cloud, qualifier).await;
        if now.status.as_deref() == Some(wanted) {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never {wanted}: {:?}", shown(cloud, qualifier).await.status)
}

async fn publish(cloud: &Cloud) -> String {
    let input = PublishVersionInput { function_name: "f".into(), ..Default::default() };
    let made: FunctionConfiguration = cloud.call("PublishVersion", input).await.expect("published");
    made.version.expect("a version")
}

async fn alias(cloud: &Cloud, name: &str, version: &str) {
    let input = CreateAliasInput {
        function_name: "f".into(),
        name: name.into(),
        function_version: version.into(),
        ..Default::default()
    };
    let _: AliasConfiguration = cloud.call("CreateAlias", input).await.expect("an alias");
}

#[tokio::test]
async fn instances_are_ready_before_the_first_request_and_know_why() {
    let cloud = Cloud::new().await;
    cloud.function("f", "env AWS_LAMBDA_INITIALIZATION_TYPE").await;
    publish(&cloud).await;
    let answer: PutProvisionedConcurrencyConfigOutput =
        cloud.call("PutProvisionedConcurrencyConfig", put("1", 2)).await.expect("accepted");
    assert_eq!(
        (answer.status.as_deref(), answer.allocated_provisioned_concurrent_executions),
        (Some("IN_PROGRESS"), Some(0))
    );
    let ready = status(&cloud, "1", "READY").await;
    assert_eq!(ready.requested_provisioned_concurrent_executions, Some(2));
    assert_eq!(ready.available_provisioned_concurrent_executions, Some(2));
    assert!(ready.last_modified.is_some_and(|t| t.len() == 24 && t.ends_with("+0000")));
    assert_eq!(cloud.room.runtime.stats().idle, 2);
    let own: InvokeOutput =
        cloud.call("Invoke", InvokeInput { qualifier: Some("1".into()), ..invoke("f", "{}") }).await.expect("runs");
    assert_eq!(own.payload.as_deref(), Some(&b"\"provisioned-concurrency\""[..]));
    let latest: InvokeOutput = cloud.call("Invoke", invoke("f", "{}")).await.expect("runs");
    assert_eq!(latest.payload.as_deref(), Some(&b"\"on-demand\""[..]));
    let input = DeleteProvisionedConcurrencyConfigInput { function_name: "f".into(), qualifier: "1".into() };
    let _: DeleteProvisionedConcurrencyConfigOutput =
        cloud.call("DeleteProvisionedConcurrencyConfig", input).await.expect("deleted");
    let ((code, http), text) =
        cloud.refused::<GetProvisionedConcurrencyConfigOutput>("GetProvisionedConcurrencyConfig", get("1")).await;
    assert_eq!((code, http), ("ProvisionedConcurrencyConfigNotFoundException", 404));
    assert_eq!(text, "No Provisioned Concurrency Config found for this function");
    eventually("they end", || cloud.room.runtime.stats().instances == 1).await;
}

#[tokio::test]
async fn an_alias_takes_its_instances_along_and_a_restart_brings_them_back() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    publish(&cloud).await;
    alias(&cloud, "live", "1").await;
    let _: PutProvisionedConcurrencyConfigOutput =
        cloud.call("PutProvisionedConcurrencyConfig", put("live", 1)).await.expect("accepted");
    status(&cloud, "live", "READY").await;
    let describe = UpdateFunctionConfigurationInput {
        function_name: "f".into(),
        description: Some("two".into()),
        ..Default::default()
    };
    let _: FunctionConfiguration = cloud.call("UpdateFunctionConfiguration", describe).await.expect("updated");
    cloud.settled("f").await;
    assert_eq!(publish(&cloud).await, "2");
    let input = UpdateAliasInput {
        function_name: "f".into(),
        name: "live".into(),
        function_version: Some("2".into()),
        ..Default::default()
    };
    let _: AliasConfiguration = cloud.call("UpdateAlias", input).await.expect("moved");
    status(&cloud, "live", "READY").await;
    let arn = |v: &str| format!("arn:aws:lambda:us-east-1:{ACCOUNT}:function:f:{v}");
    eventually("version 1 has none", || cloud.room.runtime.provisioned(&arn("1")).wanted == 0).await;
    assert_eq!(cloud.room.runtime.provisioned(&arn("2")).ready, 1);
    let cloud = cloud.reopened().await;
    status(&cloud, "live", "READY").await;
}

#[tokio::test]
async fn what_cannot_be_provisioned_is_refused_in_the_words_of_aws() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    publish(&cloud).await;
    alias(&cloud, "live", "1").await;
    alias(&cloud, "latest", "$LATEST").await;
    let refused =
        |input| cloud.refused::<PutProvisionedConcurrencyConfigOutput>("PutProvisionedConcurrencyConfig", input);
    let invalid = ("InvalidParameterValueException", 400);
    let unpublished = "Provisioned Concurrency Configs cannot be applied to unpublished function versions.";
    for qualifier in ["$LATEST", "latest"] {
        assert_eq!(refused(put(qualifier, 1)).await, (invalid, unpublished.into()));
    }
    assert_eq!(refused(put("7", 1)).await.0, ("ResourceNotFoundException", 404));
    assert_eq!(refused(put("none", 1)).await.0, ("ResourceNotFoundException", 404));
    assert_eq!(refused(put("1", 0)).await.0, ("ValidationException", 400));
    let unreserved =
        "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [1000].";
    assert_eq!(refused(put("1", 1001)).await, (invalid, unreserved.into()));
    let minimum = "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100].";
    assert_eq!(refused(put("1", 901)).await, (invalid, minimum.into()));
    let _: PutProvisionedConcurrencyConfigOutput =
        cloud.call("PutProvisionedConcurrencyConfig", put("1", 1)).await.expect("accepted");
    let twice = "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version";
    assert_eq!(refused(put("live", 1)).await, (invalid, twice.into()));
    let settings: GetAccountSettingsOutput =
        cloud.call("GetAccountSettings", GetAccountSettingsInput::default()).await.expect("settings");
    assert_eq!(settings.account_limit.and_then(|l| l.unreserved_concurrent_executions), Some(999));
}

#[tokio::test]
async fn the_whole_reservation_can_belong_to_a_version() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    publish(&cloud).await;
    let input = PutFunctionConcurrencyInput { function_name: "f".into(), reserved_concurrent_executions: 1 };
    let _: Concurrency = cloud.call("PutFunctionConcurrency", input).await.expect("reserved");
    let refused =
        cloud.refused::<PutProvisionedConcurrencyConfigOutput>("PutProvisionedConcurrencyConfig", put("1", 2)).await;
    assert_eq!(
        refused.1,
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
    );
    let _: PutProvisionedConcurrencyConfigOutput =
        cloud.call("PutProvisionedConcurrencyConfig", put("1", 1)).await.expect("accepted");
    status(&cloud, "1", "READY").await;
    let throttled = cloud.refused::<InvokeOutput>("Invoke", invoke("f", "1")).await;
    assert_eq!(throttled, (("TooManyRequestsException", 429), "Rate Exceeded.".into()));
    let own = InvokeInput { qualifier: Some("1".into()), ..invoke("f", "1") };
    let _: InvokeOutput = cloud.call("Invoke", own).await.expect("its own");
    let less = PutFunctionConcurrencyInput { function_name: "f".into(), reserved_concurrent_executions: 0 };
    let refused = cloud.refused::<Concurrency>("PutFunctionConcurrency", less).await;
    assert!(refused.1.contains("should not be lower than function's total provisioned concurrency [1]"), "{refused:?}");
}

#[tokio::test]
async fn code_that_ends_at_once_fails_the_configuration() {
    let cloud = Cloud::new().await;
    cloud.function("f", "nothing").await;
    publish(&cloud).await;
    let _: PutProvisionedConcurrencyConfigOutput =
        cloud.call("PutProvisionedConcurrencyConfig", put("1", 1)).await.expect("accepted");
    let failed = status(&cloud, "1", "FAILED").await;
    assert_eq!(failed.status_reason.as_deref(), Some("FUNCTION_ERROR_INIT_FAILURE"));
    let input = ListProvisionedConcurrencyConfigsInput { function_name: "f".into(), ..Default::default() };
    let list: ListProvisionedConcurrencyConfigsOutput =
        cloud.call("ListProvisionedConcurrencyConfigs", input).await.expect("a list");
    let items = list.provisioned_concurrency_configs.expect("items");
    assert!(items.len() == 1 && items[0].function_arn.as_deref().is_some_and(|a| a.ends_with(":function:f:1")));
}
