//! Resource policies: their statements, and who gets in by them.

use super::*;
use squall_service::{Invocation, InvocationKind, Invoke, Invoker};

fn add(name: &str, sid: &str, principal: &str) -> AddPermissionInput {
    AddPermissionInput {
        function_name: name.into(),
        statement_id: sid.into(),
        action: "lambda:InvokeFunction".into(),
        principal: principal.into(),
        ..Default::default()
    }
}

fn remove(name: &str, sid: &str) -> RemovePermissionInput {
    RemovePermissionInput { function_name: name.into(), statement_id: sid.into(), ..Default::default() }
}

async fn allow(cloud: &Cloud, input: AddPermissionInput) -> String {
    let out: AddPermissionOutput = cloud.call("AddPermission", input).await.expect("added");
    out.statement.expect("a statement")
}

async fn policy(cloud: &Cloud, name: &str) -> Result<GetPolicyOutput, ServiceError> {
    cloud.call("GetPolicy", GetPolicyInput { function_name: name.into(), ..Default::default() }).await
}

/// A service calls a function for a resource.
async fn service(cloud: &Cloud, function: &str, principal: &str, source: &str) -> Result<String, &'static str> {
    let invocation = Invocation {
        function: function.into(),
        qualifier: None,
        region: "us-east-1".into(),
        payload: Bytes::from_static(b"1"),
        kind: InvocationKind::RequestResponse,
        log_tail: false,
        client_context: None,
        trace_header: None,
        invoker: Invoker::Service { principal: principal.into(), source_arn: source.into() },
        request_id: "r".into(),
    };
    let outcome = Invoke::invoke(&*cloud.room, invocation).await.map_err(|e| e.code)?;
    Ok(String::from_utf8(outcome.payload.to_vec()).expect("text"))
}

#[tokio::test]
async fn statements_are_written_as_aws_writes_them() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    let head = |sid: &str, principal: &str| {
        let resource = arn("f");
        format!(
            r#"{{"Sid":"{sid}","Effect":"Allow","Principal":{principal},"Action":"lambda:InvokeFunction","Resource":"{resource}""#
        )
    };
    let cases = [
        (add("f", "a", "s3.amazonaws.com"), head("a", r#"{"Service":"s3.amazonaws.com"}"#) + "}"),
        (
            AddPermissionInput { source_arn: Some("arn:aws:s3:::b".into()), ..add("f", "b", "s3.amazonaws.com") },
            head("b", r#"{"Service":"s3.amazonaws.com"}"#)
                + r#","Condition":{"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::b"}}}"#,
        ),
        (
            AddPermissionInput { source_account: Some("111122223333".into()), ..add("f", "c", "s3.amazonaws.com") },
            head("c", r#"{"Service":"s3.amazonaws.com"}"#)
                + r#","Condition":{"StringEquals":{"AWS:SourceAccount":"111122223333"}}}"#,
        ),
        (add("f", "d", "111122223333"), head("d", r#"{"AWS":"arn:aws:iam::111122223333:root"}"#) + "}"),
        (
            AddPermissionInput { principal_org_id: Some("o-1234567890".into()), ..add("f", "e", "*") },
            head("e", r#""*""#) + r#","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-1234567890"}}}"#,
        ),
    ];
    let mut all = Vec::new();
    for (input, expected) in cases {
        let sid = input.statement_id.clone();
        assert_eq!(allow(&cloud, input).await, expected, "{sid}");
        all.push(expected);
    }
    let whole = format!(r#"{{"Version":"2012-10-17","Id":"default","Statement":[{}]}}"#, all.join(","));
    assert_eq!(policy(&cloud, "f").await.expect("there").policy, Some(whole));
}

#[tokio::test]
async fn policies_are_refused_with_awss_words() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    let missing = (("ResourceNotFoundException", 404), "The resource you requested does not exist.".to_owned());
    let get = GetPolicyInput { function_name: "f".into(), ..Default::default() };
    assert_eq!(cloud.refused::<GetPolicyOutput>("GetPolicy", get).await, missing);
    allow(&cloud, add("f", "s1", "s3.amazonaws.com")).await;
    assert_eq!(
        cloud.refused::<AddPermissionOutput>("AddPermission", add("f", "s1", "sns.amazonaws.com")).await,
        (
            ("ResourceConflictException", 409),
            "The statement id (s1) provided already exists. Please provide a new statement id, or remove the existing statement."
                .to_owned()
        )
    );
    let latest = AddPermissionInput { qualifier: Some("$LATEST".into()), ..add("f", "s2", "s3.amazonaws.com") };
    let (code, text) = cloud.refused::<AddPermissionOutput>("AddPermission", latest).await;
    assert_eq!(code, ("InvalidParameterValueException", 400));
    assert_eq!(text, "We currently do not support adding policies for $LATEST.");
    let stale = AddPermissionInput { revision_id: Some("old".into()), ..add("f", "s2", "s3.amazonaws.com") };
    let (code, text) = cloud.refused::<AddPermissionOutput>("AddPermission", stale).await;
    assert_eq!(code, ("PreconditionFailedException", 412));
    assert!(text.contains("Call the GetPolicy API"), "{text}");
    assert_eq!(
        cloud.refused::<RemovePermissionOutput>("RemovePermission", remove("f", "nope")).await,
        (("ResourceNotFoundException", 404), "Statement nope is not found in resource policy.".to_owned())
    );
    let version = AddPermissionInput { qualifier: Some("7".into()), ..add("f", "s2", "s3.amazonaws.com") };
    assert_eq!(
        cloud.refused::<AddPermissionOutput>("AddPermission", version).await,
        (("ResourceNotFoundException", 404), format!("Function not found: {}", arn("f:7")))
    );
    let nobody = cloud.refused::<AddPermissionOutput>("AddPermission", add("f", "s2", "arn:aws:iam::1:nonsense"));
    assert_eq!(nobody.await.0, ("InvalidParameterValueException", 400));
    let action = AddPermissionInput { action: "s3:GetObject".into(), ..add("f", "s2", "s3.amazonaws.com") };
    assert_eq!(cloud.refused::<AddPermissionOutput>("AddPermission", action).await.0, ("ValidationException", 400));
}

#[tokio::test]
async fn the_last_statement_takes_the_policy_with_it() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    allow(&cloud, add("f", "a", "s3.amazonaws.com")).await;
    allow(&cloud, add("f", "b", "s3.amazonaws.com")).await;
    let before = policy(&cloud, "f").await.expect("there").revision_id;
    let _: RemovePermissionOutput = cloud.call("RemovePermission", remove("f", "a")).await.unwrap();
    let after = policy(&cloud, "f").await.expect("still there");
    assert_ne!(after.revision_id, before);
    assert!(!after.policy.expect("a policy").contains(r#""Sid":"a""#));
    let _: RemovePermissionOutput = cloud.call("RemovePermission", remove("f", "b")).await.unwrap();
    assert_eq!(policy(&cloud, "f").await.expect_err("gone").code, "ResourceNotFoundException");
}

#[tokio::test]
async fn a_policy_has_a_size() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    let mut refused = None;
    for i in 0..200 {
        let source_arn = Some(format!("arn:aws:s3:::{}", "b".repeat(100)));
        let input = AddPermissionInput { source_arn, ..add("f", &format!("s{i}"), "s3.amazonaws.com") };
        if let Err(e) = cloud.call::<AddPermissionOutput>("AddPermission", input).await {
            refused = Some((e.code, e.status));
            break;
        }
    }
    assert_eq!(refused, Some(("PolicyLengthExceededException", 400)));
    let held = policy(&cloud, "f").await.expect("there").policy.expect("a policy");
    assert!(held.len() <= 20 * 1024);
}

#[tokio::test]
async fn a_service_gets_in_by_the_policy_alone() {
    let cloud = Cloud::new().await;
    cloud.function("f", "echo").await;
    let api = "arn:aws:execute-api:us-east-1:000000000000:a1/*/GET/users";
    let call = "arn:aws:execute-api:us-east-1:000000000000:a1/dev/GET/users";
    let gateway = "apigateway.amazonaws.com";
    assert_eq!(service(&cloud, &arn("f"), gateway, call).await, Err("AccessDeniedException"));
    let input = AddPermissionInput { source_arn: Some(api.into()), ..add("f", "api", gateway) };
    allow(&cloud, input).await;
    assert_eq!(service(&cloud, &arn("f"), gateway, call).await, Ok("1".into()));
    let other = "arn:aws:execute-api:us-east-1:000000000000:a2/dev/GET/users";
    assert_eq!(service(&cloud, &arn("f"), gateway, other).await, Err("AccessDeniedException"));
    assert_eq!(service(&cloud, &arn("f"), "s3.amazonaws.com", call).await, Err("AccessDeniedException"));
    assert_eq!(service(&cloud, &arn("g"), gateway, call).await, Err("ResourceNotFoundException"));
    let elsewhere = "arn:aws:lambda:eu-west-1:000000000000:function:f";
    assert_eq!(service(&cloud, elsewhere, gateway, call).await, Err("ResourceNotFoundException"));
}

#[tokio::test]
async fn an_alias_has_a_policy_of_its_own() {
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
    let statement = allow(&cloud, add("f:live", "api", "events.amazonaws.com")).await;
    assert!(statement.contains(&arn("f:live")), "{statement}");
    let source = "arn:aws:events:us-east-1:000000000000:rule/r";
    assert_eq!(service(&cloud, &arn("f:live"), "events.amazonaws.com", source).await, Ok("1".into()));
    assert_eq!(service(&cloud, &arn("f"), "events.amazonaws.com", source).await, Err("AccessDeniedException"));
    let access = Access::new("lambda:InvokeFunction", arn("f:live"));
    let shown = cloud.room.resource_policy(&cloud.ctx(), &access).await.expect("a policy guards it");
    assert!(shown.contains("events.amazonaws.com"));
}

#[tokio::test]
async fn operations_say_what_they_touch() {
    let cloud = Cloud::new().await;
    let access = |op: &str, input: squall_protocol::Value| {
        let op = cloud.room.service().operation(op).expect("served");
        let all = cloud.room.access(&cloud.ctx(), op, &input);
        all.into_iter().map(|a| format!("{} {}", a.action, a.resource)).collect::<Vec<_>>()
    };
    let run = access("Invoke", InvokeInput { qualifier: Some("live".into()), ..invoke("f", "{}") }.into_value());
    assert_eq!(run, [format!("lambda:InvokeFunction {}", arn("f:live"))]);
    let make = access("CreateFunction", create("f", "echo").into_value());
    assert_eq!(make, [format!("lambda:CreateFunction {}", arn("f")), format!("iam:PassRole {ROLE}")]);
    let list = access("ListFunctions", ListFunctionsInput::default().into_value());
    assert_eq!(list, ["lambda:ListFunctions *"]);
    let tags = access("ListTags", ListTagsInput { resource: arn("f") }.into_value());
    assert_eq!(tags, [format!("lambda:ListTags {}", arn("f"))]);
}
