//! Bad input: every operation answers AWS's code, and the room goes on.

use super::*;

/// The bounds of every member come from the model; these are the ones that the room adds or words by itself.
#[tokio::test]
async fn settings_out_of_bounds_are_refused() {
    let cloud = Cloud::new().await;
    let base = || create("f", "echo");
    let vars = |pairs: &[(&str, &str)]| Some(Environment { variables: Some(map(pairs)) });
    let big = "x".repeat(5000);
    let (invalid, validation) = ("InvalidParameterValueException", "ValidationException");
    let cases = [
        (CreateFunctionInput { function_name: String::new(), ..base() }, validation),
        (CreateFunctionInput { function_name: "a b".into(), ..base() }, validation),
        (CreateFunctionInput { function_name: "x".repeat(141), ..base() }, validation),
        (CreateFunctionInput { function_name: "x".repeat(65), ..base() }, validation),
        (CreateFunctionInput { function_name: "f:live".into(), ..base() }, invalid),
        (CreateFunctionInput { role: "r1".into(), ..base() }, validation),
        (CreateFunctionInput { role: "arn:aws:iam::000000000000:role/none".into(), ..base() }, invalid),
        (CreateFunctionInput { role: "arn:aws:iam::000000000000:role/stranger".into(), ..base() }, invalid),
        (CreateFunctionInput { runtime: None, ..base() }, invalid),
        (CreateFunctionInput { handler: None, ..base() }, invalid),
        (CreateFunctionInput { handler: Some("a b".into()), ..base() }, validation),
        (CreateFunctionInput { handler: Some("x".repeat(129)), ..base() }, validation),
        (CreateFunctionInput { runtime: Some("PYTHON3.9".into()), ..base() }, invalid),
        (CreateFunctionInput { runtime: Some("go1.x".into()), ..base() }, invalid),
        (CreateFunctionInput { runtime: Some("dotnet8".into()), ..base() }, invalid),
        (CreateFunctionInput { timeout: Some(0), ..base() }, validation),
        (CreateFunctionInput { timeout: Some(901), ..base() }, validation),
        (CreateFunctionInput { timeout: Some(i32::MIN), ..base() }, validation),
        (CreateFunctionInput { memory_size: Some(127), ..base() }, validation),
        (CreateFunctionInput { memory_size: Some(i32::MAX), ..base() }, validation),
        (CreateFunctionInput { ephemeral_storage: Some(EphemeralStorage { size: 511 }), ..base() }, validation),
        (CreateFunctionInput { ephemeral_storage: Some(EphemeralStorage { size: 10_241 }), ..base() }, validation),
        (CreateFunctionInput { description: Some("x".repeat(257)), ..base() }, validation),
        (CreateFunctionInput { architectures: Some(vec!["X86_64".into()]), ..base() }, validation),
        (CreateFunctionInput { architectures: Some(vec!["x86_64".into(), "arm64".into()]), ..base() }, validation),
        (CreateFunctionInput { environment: vars(&[("AWS_REGION", "x")]), ..base() }, invalid),
        (CreateFunctionInput { environment: vars(&[("1A", "x")]), ..base() }, validation),
        (CreateFunctionInput { environment: vars(&[("AB", &big)]), ..base() }, invalid),
        (CreateFunctionInput { environment: vars(&[("AB", "a\0b")]), ..base() }, invalid),
        (CreateFunctionInput { tags: Some(map(&[("aws:x", "1")])), ..base() }, invalid),
        (CreateFunctionInput { code: FunctionCode::default(), ..base() }, invalid),
    ];
    for (at, (input, code)) in cases.into_iter().enumerate() {
        let (found, text) = cloud.refused::<FunctionConfiguration>("CreateFunction", input).await;
        assert_eq!(found, (code, 400), "case {at}: {text}");
    }
    cloud.create(base()).await.expect("the room goes on");
}

/// A setting is served or refused, never ignored.
#[tokio::test]
async fn what_is_not_served_is_refused_by_name() {
    let cloud = Cloud::new().await;
    let base = || create("f", "echo");
    let bucket = || FunctionCode { s3_bucket: Some("bucket".into()), s3_key: Some("k".into()), ..Default::default() };
    let vpc = || VpcConfig { subnet_ids: Some(vec!["subnet-1".into()]), ..Default::default() };
    let layer = "arn:aws:lambda:us-east-1:000000000000:layer:l:1".to_owned();
    let queue = || DeadLetterConfig { target_arn: Some("arn:aws:sqs:us-east-1:000000000000:q".into()) };
    let level = || LoggingConfig { system_log_level: Some("WARN".into()), ..Default::default() };
    let cases = [
        (CreateFunctionInput { code: bucket(), ..base() }, "S3"),
        (CreateFunctionInput { package_type: Some("Image".into()), ..base() }, "PackageType"),
        (CreateFunctionInput { vpc_config: Some(vpc()), ..base() }, "VpcConfig"),
        (CreateFunctionInput { layers: Some(vec![layer]), ..base() }, "does not exist"),
        (CreateFunctionInput { dead_letter_config: Some(queue()), ..base() }, "DeadLetterConfig"),
        (CreateFunctionInput { logging_config: Some(level()), ..base() }, "LogLevel"),
        (
            CreateFunctionInput {
                runtime: Some("provided.al2023".into()),
                snap_start: Some(SnapStart { apply_on: Some("PublishedVersions".into()) }),
                ..base()
            },
            "SnapStart",
        ),
        (
            CreateFunctionInput { kms_key_arn: Some("arn:aws:kms:us-east-1:000000000000:key/k".into()), ..base() },
            "KMSKeyArn",
        ),
    ];
    for (input, name) in cases {
        let (code, text) = cloud.refused::<FunctionConfiguration>("CreateFunction", input).await;
        assert_eq!(code, ("InvalidParameterValueException", 400), "{name}");
        assert!(text.contains(name), "{text}");
    }
}

/// Wherever a name is taken, these are none.
#[tokio::test]
async fn names_that_are_none_are_refused_everywhere() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    let elsewhere = "arn:aws:lambda:eu-west-1:000000000000:function:f";
    let stranger = "arn:aws:lambda:us-east-1:111111111111:function:f";
    let long = "x".repeat(300);
    for name in ["", " ", "a/b", "../f", "f\0", "f:$LATEST:1", "arn:aws:lambda:us-east-1:1:function:f", "fünf", &long]
    {
        let (code, text) = cloud.refused::<InvokeOutput>("Invoke", invoke(name, "{}")).await;
        assert_eq!(code, ("ValidationException", 400), "{name:?}: {text}");
        assert!(text.contains("'functionName' failed to satisfy constraint"), "{text}");
    }
    let text = "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')".to_owned();
    assert_eq!(
        cloud.refused::<InvokeOutput>("Invoke", invoke(elsewhere, "{}")).await,
        (("ResourceNotFoundException", 404), text)
    );
    let refused = cloud.refused::<InvokeOutput>("Invoke", invoke(stranger, "{}")).await;
    assert_eq!(refused.0, ("ResourceNotFoundException", 404));
    assert_eq!(cloud.answer("f", "1").await, "1");
}

#[tokio::test]
async fn payloads_that_are_no_json_are_refused() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    let deep = "[".repeat(100_000);
    for payload in ["{", "nope", "{\"a\":}", "1 2", "\u{feff}{}", "'a'", "[1,]", deep.as_str()] {
        let (code, text) = cloud.refused::<InvokeOutput>("Invoke", invoke("f", payload)).await;
        assert_eq!(code, ("InvalidRequestContentException", 400), "{}", &payload[..payload.len().min(20)]);
        assert!(text.starts_with("Could not parse request body into json"), "{text}");
    }
    let bytes = InvokeInput { payload: Some(Bytes::from_static(b"\"\x87\"")), ..invoke("f", "") };
    let text = "Could not parse request body into json: Could not parse payload into json: Invalid UTF-8 start byte 0x87\n \
                at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: 3]";
    let refused = cloud.refused::<InvokeOutput>("Invoke", bytes).await;
    assert_eq!(refused, (("InvalidRequestContentException", 400), text.to_owned()));
    assert_eq!(cloud.fake.taken(), 0);
}

#[tokio::test]
async fn markers_that_nobody_gave_out_end_the_list() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    for marker in ["zzz", "\u{10ffff}", "-1", "99999999999999999999"] {
        let input = ListFunctionsInput { marker: Some(marker.into()), ..Default::default() };
        let out: ListFunctionsOutput = cloud.call("ListFunctions", input).await.expect(marker);
        assert!(out.next_marker.is_none(), "{marker}");
        let input = ListVersionsByFunctionInput {
            function_name: "f".into(),
            marker: Some(marker.into()),
            ..Default::default()
        };
        let out: ListVersionsByFunctionOutput = cloud.call("ListVersionsByFunction", input).await.expect(marker);
        assert!(out.next_marker.is_none(), "{marker}");
    }
    for max in [0, -1, 10_001] {
        let input = ListFunctionsInput { max_items: Some(max), ..Default::default() };
        assert_eq!(cloud.refused::<ListFunctionsOutput>("ListFunctions", input).await.0.0, "ValidationException");
    }
}

#[tokio::test]
async fn policies_take_no_principal_that_is_none() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    for principal in ["", "a b", "arn:", "arn:aws:iam::000000000000:\"},{", "\u{0}"] {
        let input = AddPermissionInput {
            function_name: "f".into(),
            statement_id: "s".into(),
            action: "lambda:InvokeFunction".into(),
            principal: principal.into(),
            ..Default::default()
        };
        let (code, _) = cloud.refused::<AddPermissionOutput>("AddPermission", input).await;
        assert_eq!(code.1, 400, "{principal:?}");
    }
    let get = GetPolicyInput { function_name: "f".into(), ..Default::default() };
    assert_eq!(cloud.refused::<GetPolicyOutput>("GetPolicy", get).await.0.1, 404, "nothing was kept");
}

#[tokio::test]
async fn many_at_once_make_one_function() {
    let cloud = Arc::new(Cloud::new().await);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let cloud = cloud.clone();
            tokio::spawn(async move { cloud.create(create("f", "echo")).await.map_err(|e| (e.code, e.message)) })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.expect("a task") {
            Ok(_) => made += 1,
            Err(e) => assert_eq!(e, ("ResourceConflictException", "Function already exist: f".to_owned())),
        }
    }
    assert_eq!(made, 1);
    use squall_store::objects::Objects as _;
    assert_eq!(cloud.objects.list("lambda/").await.unwrap().len(), 1, "the losers' packages are gone");
}

#[tokio::test]
async fn an_unknown_architecture_is_worded_as_by_aws() {
    let cloud = Cloud::new().await;
    let input = CreateFunctionInput { architectures: Some(vec!["X86_64".into()]), ..create("f", "echo") };
    let text = "1 validation error detected: Value '[X86_64]' at 'architectures' failed to satisfy constraint: Member must \
                satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]";
    let refused = cloud.refused::<FunctionConfiguration>("CreateFunction", input).await;
    assert_eq!(refused, (("ValidationException", 400), text.to_owned()));
}
