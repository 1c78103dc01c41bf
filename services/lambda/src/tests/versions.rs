//! Published versions.

use super::*;

async fn publish(cloud: &Cloud, description: Option<&str>) -> FunctionConfiguration {
    let description = description.map(str::to_owned);
    let input = PublishVersionInput { function_name: "f".into(), description, ..Default::default() };
    cloud.call("PublishVersion", input).await.expect("published")
}

async fn update(cloud: &Cloud, script: &str) {
    let _: FunctionConfiguration = cloud.call("UpdateFunctionCode", new_code("f", script)).await.expect("updated");
    cloud.settled("f").await;
}

#[tokio::test]
async fn a_version_keeps_its_code_and_configuration() {
    let cloud = Cloud::new().await;
    cloud.function("f", "say 1").await;
    let one = publish(&cloud, Some("first")).await;
    assert_eq!((one.version.as_deref(), one.function_arn), (Some("1"), Some(arn("f:1"))));
    assert_eq!((one.description.as_deref(), one.state.as_deref()), (Some("first"), Some("Active")));
    assert_eq!(publish(&cloud, None).await.version.as_deref(), Some("1"), "nothing has changed");
    update(&cloud, "say 2").await;
    let two = publish(&cloud, None).await;
    assert_eq!(two.version.as_deref(), Some("2"));
    assert_eq!(cloud.answer("f:1", "{}").await, "1");
    assert_eq!(cloud.answer("f:2", "{}").await, "2");
    update(&cloud, "say 3").await;
    assert_eq!((cloud.answer("f", "{}").await, cloud.answer("f:1", "{}").await), ("3".into(), "1".into()));
    let got = cloud.get("f:1").await.expect("exists");
    assert_eq!((got.code_sha256, got.revision_id), (one.code_sha256, one.revision_id));
}

#[tokio::test]
async fn versions_are_listed_in_pages_of_their_numbers() {
    let cloud = Cloud::new().await;
    cloud.function("f", "say 0").await;
    for i in 1..=11 {
        update(&cloud, &format!("say {i}")).await;
        publish(&cloud, None).await;
    }
    let (mut seen, mut marker) = (Vec::new(), None);
    loop {
        let input = ListVersionsByFunctionInput { function_name: "f".into(), marker, max_items: Some(5) };
        let page: ListVersionsByFunctionOutput = cloud.call("ListVersionsByFunction", input).await.unwrap();
        seen.extend(page.versions.unwrap_or_default().into_iter().filter_map(|v| v.version));
        marker = page.next_marker;
        if marker.is_none() {
            break;
        }
    }
    let expected: Vec<String> = ["$LATEST".to_owned()].into_iter().chain((1..=11).map(|i| i.to_string())).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn publishing_checks_what_the_caller_has_seen() {
    let cloud = Cloud::new().await;
    let made = cloud.function("f", "echo").await;
    let input =
        PublishVersionInput { function_name: "f".into(), code_sha256: Some("nope".into()), ..Default::default() };
    let (code, text) = cloud.refused::<FunctionConfiguration>("PublishVersion", input).await;
    assert_eq!(code, ("InvalidParameterValueException", 400));
    let sha = made.code_sha256.unwrap_or_default();
    let expected = format!(
        "CodeSHA256 (nope) is different from current CodeSHA256 in $LATEST ({sha}). Please try again with the CodeSHA256 in $LATEST."
    );
    assert_eq!(text, expected);
    let input =
        PublishVersionInput { function_name: "f".into(), revision_id: Some("nope".into()), ..Default::default() };
    let (code, text) = cloud.refused::<FunctionConfiguration>("PublishVersion", input).await;
    assert_eq!(code, ("PreconditionFailedException", 412));
    assert!(text.contains("Call the GetFunction/GetAlias API"), "{text}");
    let input = PublishVersionInput {
        function_name: "f".into(),
        code_sha256: Some(sha),
        revision_id: made.revision_id,
        ..Default::default()
    };
    let done: FunctionConfiguration = cloud.call("PublishVersion", input).await.expect("published");
    assert_eq!(done.version.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_function_can_be_born_with_a_version() {
    let cloud = Cloud::new().await;
    let made = cloud.create(CreateFunctionInput { publish: Some(true), ..create("f", "echo") }).await.unwrap();
    assert_eq!((made.version.as_deref(), made.state.as_deref()), (Some("1"), Some("Pending")));
    assert_eq!(made.function_arn, Some(arn("f:1")));
    cloud.settled("f").await;
    let version = cloud.settled("f:1").await;
    assert_eq!(version.state.as_deref(), Some("Active"));
    assert_eq!(cloud.answer("f:1", "7").await, "7");
}

#[tokio::test]
async fn versions_are_deleted_one_by_one_unless_an_alias_uses_them() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    publish(&cloud, None).await;
    let alias = CreateAliasInput {
        function_name: "f".into(),
        name: "live".into(),
        function_version: "1".into(),
        ..Default::default()
    };
    let _: AliasConfiguration = cloud.call("CreateAlias", alias).await.unwrap();
    let delete = |q: &str| DeleteFunctionInput { function_name: "f".into(), qualifier: Some(q.into()) };
    assert_eq!(
        cloud.refused::<DeleteFunctionOutput>("DeleteFunction", delete("1")).await.0,
        ("ResourceConflictException", 409)
    );
    let (code, text) = cloud.refused::<DeleteFunctionOutput>("DeleteFunction", delete("$LATEST")).await;
    assert_eq!(code.0, "InvalidParameterValueException");
    assert_eq!(text, "$LATEST version cannot be deleted without deleting the function.");
    let gone = DeleteAliasInput { function_name: "f".into(), name: "live".into() };
    let _: DeleteAliasOutput = cloud.call("DeleteAlias", gone).await.unwrap();
    let _: DeleteFunctionOutput = cloud.call("DeleteFunction", delete("1")).await.unwrap();
    assert_eq!(
        cloud.refused::<InvokeOutput>("Invoke", invoke("f:1", "{}")).await,
        (("ResourceNotFoundException", 404), format!("Function not found: {}", arn("f:1")))
    );
    // The number is not given again.
    update(&cloud, "say 2").await;
    assert_eq!(publish(&cloud, None).await.version.as_deref(), Some("2"));
}
