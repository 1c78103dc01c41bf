//! The Invoke operation.

use super::*;

#[tokio::test]
async fn a_call_answers_what_the_function_said() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    let out = cloud.invoke("f", "{\"a\": [1, 2]}").await.unwrap();
    assert_eq!((out.status_code, out.function_error, out.log_result), (Some(200), None, None));
    assert_eq!(text(&out.payload), "{\"a\": [1, 2]}", "the bytes are passed through");
    assert_eq!(out.executed_version.as_deref(), Some("$LATEST"));
}

#[tokio::test]
async fn no_payload_is_an_empty_object() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    assert_eq!(cloud.answer("f", "").await, "{}");
    let none = InvokeInput { function_name: "f".into(), ..Default::default() };
    let out: InvokeOutput = cloud.call("Invoke", none).await.unwrap();
    assert_eq!(text(&out.payload), "{}");
}

#[tokio::test]
async fn a_functions_error_is_no_error_of_the_call() {
    let cloud = Cloud::new().await;
    cloud.function("f", "fail").await;
    let input = InvokeInput { log_type: Some("Tail".into()), ..invoke("f", "{}") };
    let out: InvokeOutput = cloud.call("Invoke", input).await.unwrap();
    assert_eq!((out.status_code, out.function_error.as_deref()), (Some(200), Some("Unhandled")));
    assert_eq!(text(&out.payload), r#"{"errorMessage":"no","errorType":"Error"}"#);
    assert_eq!(out.executed_version.as_deref(), Some("$LATEST"));
    let tail = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, out.log_result.expect("a tail")).unwrap();
    let tail = String::from_utf8(tail).unwrap();
    for mark in ["START RequestId: ", "handling ", "END RequestId: ", "REPORT RequestId: "] {
        assert!(tail.contains(mark), "{mark} in {tail}");
    }
}

#[tokio::test]
async fn the_tail_is_only_for_those_who_ask() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    let none = InvokeInput { log_type: Some("None".into()), ..invoke("f", "{}") };
    let out: InvokeOutput = cloud.call("Invoke", none).await.unwrap();
    assert_eq!(out.log_result, None);
}

#[tokio::test]
async fn a_process_that_ends_is_an_unhandled_error() {
    let cloud = Cloud::new().await;
    cloud.function("f", "exit").await;
    let out = cloud.invoke("f", "{}").await.unwrap();
    assert_eq!(out.function_error.as_deref(), Some("Unhandled"));
    assert!(text(&out.payload).contains("Runtime.ExitError"), "{}", text(&out.payload));
}

#[tokio::test]
async fn a_dry_run_checks_and_runs_nothing() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    let dry = |name: &str| InvokeInput { invocation_type: Some("DryRun".into()), ..invoke(name, "{}") };
    let out: InvokeOutput = cloud.call("Invoke", dry("f")).await.unwrap();
    assert_eq!((out.status_code, text(&out.payload).as_str(), out.executed_version), (Some(204), "", None));
    assert_eq!(cloud.fake.taken(), 0);
    assert_eq!(cloud.refused::<InvokeOutput>("Invoke", dry("g")).await.0, ("ResourceNotFoundException", 404));
}

#[tokio::test]
async fn the_qualifier_comes_by_name_or_parameter() {
    let cloud = Cloud::new().await;
    cloud.function("f", "header lambda-runtime-invoked-function-arn").await;
    let publish = PublishVersionInput { function_name: "f".into(), ..Default::default() };
    let _: FunctionConfiguration = cloud.call("PublishVersion", publish).await.unwrap();
    let alias = CreateAliasInput {
        function_name: "f".into(),
        name: "live".into(),
        function_version: "1".into(),
        ..Default::default()
    };
    let _: AliasConfiguration = cloud.call("CreateAlias", alias).await.unwrap();
    let cases = [
        ("f", None, arn("f"), "$LATEST"),
        ("f", Some("$LATEST"), arn("f:$LATEST"), "$LATEST"),
        ("f", Some("1"), arn("f:1"), "1"),
        ("f:1", None, arn("f:1"), "1"),
        ("f", Some("live"), arn("f:live"), "1"),
        ("f:live", Some("live"), arn("f:live"), "1"),
    ];
    for (name, qualifier, expected, version) in cases {
        let input = InvokeInput { qualifier: qualifier.map(str::to_owned), ..invoke(name, "{}") };
        let out: InvokeOutput = cloud.call("Invoke", input).await.unwrap();
        assert_eq!(text(&out.payload), format!("\"{expected}\""), "{name} {qualifier:?}");
        assert_eq!(out.executed_version.as_deref(), Some(version), "{name} {qualifier:?}");
    }
    let both = InvokeInput { qualifier: Some("1".into()), ..invoke("f:live", "{}") };
    let (code, text) = cloud.refused::<InvokeOutput>("Invoke", both).await;
    assert_eq!(code, ("InvalidParameterValueException", 400));
    assert_eq!(text, "The derived qualifier from the function name does not match the specified qualifier.");
}

#[tokio::test]
async fn the_client_context_is_passed_on_and_checked() {
    let cloud = Cloud::new().await;
    cloud.function("f", "header lambda-runtime-client-context").await;
    let with = |context: &str| InvokeInput { client_context: Some(context.into()), ..invoke("f", "{}") };
    let out: InvokeOutput = cloud.call("Invoke", with("eyJhIjoxfQ==")).await.unwrap();
    assert_eq!(text(&out.payload), r#""{\"a\":1}""#);
    for wrong in ["{}", "!!!", "bm8="] {
        let refused = cloud.refused::<InvokeOutput>("Invoke", with(wrong)).await;
        assert_eq!(refused.0, ("InvalidRequestContentException", 400), "{wrong}");
    }
}

#[tokio::test]
async fn a_function_sees_its_environment() {
    let cloud = Cloud::new().await;
    let cases = [
        ("AWS_LAMBDA_FUNCTION_NAME", "f"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "ASIATEST"),
        ("AWS_SESSION_TOKEN", "token-f"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
    ];
    for (name, value) in cases {
        cloud.function("f", &format!("env {name}")).await;
        assert_eq!(cloud.answer("f", "{}").await, format!("\"{value}\""), "{name}");
        let delete = DeleteFunctionInput { function_name: "f".into(), ..Default::default() };
        let _: DeleteFunctionOutput = cloud.call("DeleteFunction", delete).await.unwrap();
    }
}

#[tokio::test]
async fn a_call_waits_for_a_function_that_is_being_made() {
    let cloud = Cloud::new().await;
    cloud.create(create("f", "echo")).await.unwrap();
    assert_eq!(cloud.answer("f", "1").await, "1");
}
