//! What a restart finds, and finishes.

use super::*;

#[tokio::test]
async fn everything_is_there_again() {
    let cloud = Cloud::new().await;
    let mut input = create("f", "say 1");
    input.tags = Some(map(&[("a", "1")]));
    input.environment = Some(Environment { variables: Some(map(&[("TABLE", "users")])) });
    cloud.create(input).await.unwrap();
    cloud.settled("f").await;
    let publish = PublishVersionInput { function_name: "f".into(), ..Default::default() };
    let _: FunctionConfiguration = cloud.call("PublishVersion", publish).await.unwrap();
    let alias = CreateAliasInput {
        function_name: "f".into(),
        name: "live".into(),
        function_version: "1".into(),
        ..Default::default()
    };
    let alias: AliasConfiguration = cloud.call("CreateAlias", alias).await.unwrap();
    let url =
        CreateFunctionUrlConfigInput { function_name: "f".into(), auth_type: "NONE".into(), ..Default::default() };
    let url: CreateFunctionUrlConfigOutput = cloud.call("CreateFunctionUrlConfig", url).await.unwrap();
    super::urls::open_to_all(&cloud).await;
    let one = PutFunctionConcurrencyInput { function_name: "f".into(), reserved_concurrent_executions: 0 };
    let _: Concurrency = cloud.call("PutFunctionConcurrency", one).await.unwrap();

    let before = cloud.get("f").await.unwrap();
    let cloud = cloud.reopened().await;
    assert_eq!(cloud.get("f").await.unwrap(), before);
    let get = GetAliasInput { function_name: "f".into(), name: "live".into() };
    assert_eq!(cloud.call::<AliasConfiguration>("GetAlias", get).await.unwrap(), alias);
    let get = GetFunctionUrlConfigInput { function_name: "f".into(), ..Default::default() };
    let again: GetFunctionUrlConfigOutput = cloud.call("GetFunctionUrlConfig", get).await.unwrap();
    assert_eq!(again.function_url, url.function_url);
    let tags: ListTagsOutput = cloud.call("ListTags", ListTagsInput { resource: arn("f") }).await.unwrap();
    assert_eq!(tags.tags, Some(map(&[("a", "1")])));
    assert_eq!(cloud.invoke("f", "{}").await.expect_err("reserved: none").code, "TooManyRequestsException");
    let free = DeleteFunctionConcurrencyInput { function_name: "f".into() };
    let _: DeleteFunctionConcurrencyOutput = cloud.call("DeleteFunctionConcurrency", free).await.unwrap();
    assert_eq!(cloud.answer("f:live", "{}").await, "1");
    let id = url.function_url.trim_start_matches("http://").split('.').next().expect("an id").to_owned();
    let reply = squall_service::Front::serve(&*cloud.room, &id, "", super::urls::request("GET", "/")).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn functions_that_were_being_made_are_finished() {
    let cloud = Cloud::new().await;
    // No turn for the background work in between: the row says `Pending` when the next room opens.
    cloud.create(create("f", "say 1")).await.unwrap();
    let cloud = cloud.reopened().await;
    assert_eq!(cloud.settled("f").await.state.as_deref(), Some("Active"));
    assert_eq!(cloud.answer("f", "{}").await, "1");
    let _: FunctionConfiguration = cloud.call("UpdateFunctionCode", new_code("f", "say 2")).await.unwrap();
    let cloud = cloud.reopened().await;
    assert_eq!(cloud.settled("f").await.last_update_status.as_deref(), Some("Successful"));
    assert_eq!(cloud.answer("f", "{}").await, "2");
}

#[tokio::test]
async fn deleted_functions_stay_deleted() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    let publish = PublishVersionInput { function_name: "f".into(), ..Default::default() };
    let _: FunctionConfiguration = cloud.call("PublishVersion", publish).await.unwrap();
    let delete = DeleteFunctionInput { function_name: "f".into(), ..Default::default() };
    let _: DeleteFunctionOutput = cloud.call("DeleteFunction", delete).await.unwrap();
    let cloud = cloud.reopened().await;
    assert_eq!(cloud.get("f").await.expect_err("gone").code, "ResourceNotFoundException");
    cloud.function("f", "echo").await;
    let list = ListVersionsByFunctionInput { function_name: "f".into(), ..Default::default() };
    let versions: ListVersionsByFunctionOutput = cloud.call("ListVersionsByFunction", list).await.unwrap();
    assert_eq!(versions.versions.map(|v| v.len()), Some(1), "the old versions are gone");
}

#[tokio::test]
async fn a_lost_package_fails_the_function_and_not_the_server() {
    use squall_store::objects::Objects as _;
    let cloud = Cloud::new().await;
    cloud.create(create("f", "echo")).await.unwrap();
    for object in cloud.objects.list("lambda/").await.unwrap() {
        cloud.objects.delete(&object).await.unwrap();
    }
    let cloud = cloud.reopened().await;
    let failed = cloud.settled("f").await;
    assert_eq!((failed.state.as_deref(), failed.state_reason_code.as_deref()), (Some("Failed"), Some("InternalError")));
    let e = cloud.invoke("f", "{}").await.expect_err("it cannot run");
    assert_eq!((e.code, e.status), ("ResourceConflictException", 409));
    cloud.function("g", "echo").await;
}
