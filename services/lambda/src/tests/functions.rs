//! Creating, showing, listing and deleting functions; tags; the account's numbers.

use super::*;

#[tokio::test]
async fn a_new_function_is_pending_then_active() {
    let cloud = Cloud::new().await;
    let mut input = create("f", "echo");
    input.environment = Some(Environment { variables: Some(map(&[("TABLE", "users")])) });
    input.tags = Some(map(&[("team", "a")]));
    let made = cloud.create(input).await.expect("created");
    assert_eq!(made.state.as_deref(), Some("Pending"));
    assert_eq!(made.state_reason.as_deref(), Some("The function is being created."));
    assert_eq!(made.state_reason_code.as_deref(), Some("Creating"));
    assert_eq!(made.last_update_status, None);
    assert_eq!((made.version.as_deref(), made.package_type.as_deref()), (Some("$LATEST"), Some("Zip")));
    assert_eq!((made.timeout, made.memory_size), (Some(3), Some(128)));
    assert_eq!(made.ephemeral_storage, Some(EphemeralStorage { size: 512 }));
    assert_eq!(made.last_modified.as_deref(), Some("2026-01-02T03:04:05.000+0000"));
    assert_eq!(made.function_arn, Some(arn("f")));

    let got = cloud.settled("f").await;
    assert_eq!((got.state.as_deref(), got.last_update_status.as_deref()), (Some("Active"), Some("Successful")));
    assert_eq!((got.state_reason, got.state_reason_code), (None, None));
    assert_ne!(got.revision_id, made.revision_id, "getting ready is a change");
    assert_eq!(got.environment.and_then(|e| e.variables), Some(map(&[("TABLE", "users")])));
    let function: GetFunctionOutput =
        cloud.call("GetFunction", GetFunctionInput { function_name: "f".into(), ..Default::default() }).await.unwrap();
    assert_eq!(function.tags, Some(map(&[("team", "a")])));
    assert_eq!(function.code.and_then(|c| c.repository_type).as_deref(), Some("S3"));
    assert_eq!(function.configuration.and_then(|c| c.code_sha256), made.code_sha256);
}

#[tokio::test]
async fn every_way_of_naming_a_function_finds_it() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    let names = ["f", "f:$LATEST", "function:f", "000000000000:function:f", &arn("f"), &arn("f:$LATEST")];
    for name in names {
        assert_eq!(cloud.get(name).await.expect(name).function_name.as_deref(), Some("f"), "{name}");
    }
    let qualified = cloud.get("f:$LATEST").await.expect("found");
    assert_eq!(qualified.function_arn, Some(arn("f:$LATEST")));
}

#[tokio::test]
async fn functions_are_listed_in_pages() {
    let cloud = Cloud::new().await;
    for name in ["a", "b", "c", "d", "e"] {
        cloud.function(name, "echo").await;
    }
    let (mut names, mut marker, mut pages) = (Vec::new(), None, 0);
    loop {
        let input = ListFunctionsInput { marker, max_items: Some(2), ..Default::default() };
        let page: ListFunctionsOutput = cloud.call("ListFunctions", input).await.unwrap();
        let functions = page.functions.expect("a list");
        assert!(functions.len() <= 2);
        assert!(functions.iter().all(|f| f.state.is_none() && f.last_update_status.is_none()));
        names.extend(functions.into_iter().filter_map(|f| f.function_name));
        pages += 1;
        marker = page.next_marker;
        if marker.is_none() {
            break;
        }
    }
    assert_eq!((names.join(""), pages), ("abcde".to_owned(), 3));
}

#[tokio::test]
async fn listing_all_shows_versions_too() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    let input = PublishVersionInput { function_name: "f".into(), ..Default::default() };
    let _: FunctionConfiguration = cloud.call("PublishVersion", input).await.unwrap();
    let input = ListFunctionsInput { function_version: Some("ALL".into()), ..Default::default() };
    let all: ListFunctionsOutput = cloud.call("ListFunctions", input).await.unwrap();
    let shown = all.functions.unwrap_or_default().into_iter().filter_map(|f| f.function_arn);
    assert_eq!(shown.collect::<Vec<_>>(), [arn("f:$LATEST"), arn("f:1")]);
}

#[tokio::test]
async fn a_deleted_function_is_gone_with_all_that_hung_on_it() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    let url =
        CreateFunctionUrlConfigInput { function_name: "f".into(), auth_type: "NONE".into(), ..Default::default() };
    let _: CreateFunctionUrlConfigOutput = cloud.call("CreateFunctionUrlConfig", url).await.unwrap();
    let delete = || DeleteFunctionInput { function_name: "f".into(), ..Default::default() };
    let _: DeleteFunctionOutput = cloud.call("DeleteFunction", delete()).await.unwrap();
    let gone = (("ResourceNotFoundException", 404), format!("Function not found: {}", arn("f")));
    assert_eq!(cloud.refused::<DeleteFunctionOutput>("DeleteFunction", delete()).await, gone);
    assert_eq!(cloud.refused::<InvokeOutput>("Invoke", invoke("f", "{}")).await.0, gone.0);
    // A namesake starts from nothing.
    cloud.function("f", "echo").await;
    let get = GetFunctionUrlConfigInput { function_name: "f".into(), ..Default::default() };
    let (code, text) = cloud.refused::<GetFunctionUrlConfigOutput>("GetFunctionUrlConfig", get).await;
    assert_eq!((code.0, text.as_str()), ("ResourceNotFoundException", "The resource you requested does not exist."));
}

#[tokio::test]
async fn tags_are_set_and_removed() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    let list = || ListTagsInput { resource: arn("f") };
    let set = TagResourceInput { resource: arn("f"), tags: map(&[("a", "1"), ("b", "2")]) };
    let _: TagResourceOutput = cloud.call("TagResource", set).await.unwrap();
    let remove = UntagResourceInput { resource: arn("f"), tag_keys: vec!["a".into(), "nope".into()] };
    let _: UntagResourceOutput = cloud.call("UntagResource", remove).await.unwrap();
    let tags: ListTagsOutput = cloud.call("ListTags", list()).await.unwrap();
    assert_eq!(tags.tags, Some(map(&[("b", "2")])));

    let many = (0..51).map(|i| (format!("k{i}"), String::new())).collect();
    let refused =
        cloud.refused::<TagResourceOutput>("TagResource", TagResourceInput { resource: arn("f"), tags: many });
    assert_eq!(refused.await.0, ("InvalidParameterValueException", 400));
    let own = TagResourceInput { resource: arn("f"), tags: map(&[("aws:x", "1")]) };
    assert_eq!(cloud.refused::<TagResourceOutput>("TagResource", own).await.0.0, "InvalidParameterValueException");
    let tags: ListTagsOutput = cloud.call("ListTags", list()).await.unwrap();
    assert_eq!(tags.tags, Some(map(&[("b", "2")])), "a refused request changes nothing");
    let version = TagResourceInput { resource: arn("f:1"), tags: map(&[("a", "1")]) };
    let (code, text) = cloud.refused::<TagResourceOutput>("TagResource", version).await;
    assert_eq!(code.0, "InvalidParameterValueException");
    assert!(text.starts_with("Tags on function aliases and versions are not supported."), "{text}");
}

#[tokio::test]
async fn the_account_counts_what_is_there() {
    let cloud = Cloud::new().await;
    let zipped = zip(&[("bootstrap", "echo")]).len() as i64;
    cloud.function("f", "echo").await;
    let input = PublishVersionInput { function_name: "f".into(), ..Default::default() };
    let _: FunctionConfiguration = cloud.call("PublishVersion", input).await.unwrap();
    let settings: GetAccountSettingsOutput =
        cloud.call("GetAccountSettings", GetAccountSettingsInput::default()).await.unwrap();
    let usage = settings.account_usage.expect("usage");
    assert_eq!((usage.function_count, usage.total_code_size), (Some(1), Some(2 * zipped)));
    let limit = settings.account_limit.expect("limits");
    assert_eq!((limit.concurrent_executions, limit.unreserved_concurrent_executions), (Some(1000), Some(1000)));
}

#[tokio::test]
async fn what_tools_ask_besides_is_answered() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    let signing = GetFunctionCodeSigningConfigInput { function_name: "f".into() };
    let signing: GetFunctionCodeSigningConfigOutput =
        cloud.call("GetFunctionCodeSigningConfig", signing).await.unwrap();
    assert_eq!((signing.function_name.as_str(), signing.code_signing_config_arn.as_str()), ("f", ""));
    let input = GetRuntimeManagementConfigInput { function_name: "f".into(), ..Default::default() };
    let runtime: GetRuntimeManagementConfigOutput = cloud.call("GetRuntimeManagementConfig", input).await.unwrap();
    assert_eq!(runtime.update_runtime_on.as_deref(), Some("Auto"));
    assert_eq!(runtime.function_arn, Some(arn("f:$LATEST")));
}
