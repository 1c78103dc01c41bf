//! What principals may do.

use super::*;
use crate::api::iam::*;
use squall_service::RoleCheck;

const TABLE: &str = "arn:aws:dynamodb:us-east-1:000000000000:table/orders";

#[tokio::test]
async fn identity_policies_decide() {
    let cloud = Cloud::new().await;
    let ana = cloud.user("ana").await;
    let text = |action: &str, tail: &str| {
        format!(
            "User: arn:aws:iam::000000000000:user/ana is not authorized to perform: {action} on resource: {TABLE} {tail}"
        )
    };
    let denied = |answer: Result<(), AccessDenied>| answer.expect_err("denied").message;
    assert_eq!(
        denied(cloud.may(&ana, "dynamodb:GetItem", TABLE).await),
        text("dynamodb:GetItem", "because no identity-based policy allows the dynamodb:GetItem action")
    );
    cloud.grant("ana", "read", &allowed("dynamodb:*Item", "arn:aws:dynamodb:*:*:table/ord*")).await;
    assert!(cloud.may(&ana, "dynamodb:GetItem", TABLE).await.is_ok());
    assert!(cloud.may(&ana, "dynamodb:Query", TABLE).await.is_err());
    assert!(cloud.may(&ana, "dynamodb:GetItem", &TABLE.replace("orders", "users")).await.is_err());
    cloud.grant("ana", "stop", r#"{"Effect":"Deny","Action":"dynamodb:Delete*","Resource":"*"}"#).await;
    assert_eq!(
        denied(cloud.may(&ana, "dynamodb:DeleteItem", TABLE).await),
        text("dynamodb:DeleteItem", "with an explicit deny in an identity-based policy")
    );
    assert!(cloud.may(&root(), "dynamodb:DeleteItem", TABLE).await.is_ok());
    // The first refusal of several accesses wins.
    let accesses = [Access::new("dynamodb:GetItem", TABLE), Access::new("dynamodb:DeleteItem", TABLE)];
    let got = cloud.iam.authorise(&cloud.ctx(ana), &accesses, &[None, None]).await;
    assert!(denied(got).contains("dynamodb:DeleteItem"));
}

#[tokio::test]
async fn conditions_see_the_request() {
    let cloud = Cloud::new().await;
    let ana = cloud.user("ana").await;
    let cases = [
        (r#""IpAddress":{"aws:SourceIp":"127.0.0.0/8"}"#, true),
        (r#""IpAddress":{"aws:SourceIp":"10.0.0.0/8"}"#, false),
        (r#""DateLessThan":{"aws:CurrentTime":"2026-01-03T00:00:00Z"}"#, true),
        (r#""DateGreaterThan":{"aws:CurrentTime":"2026-01-03T00:00:00Z"}"#, false),
        (r#""NumericLessThan":{"aws:EpochTime":"1767323046"}"#, true),
        (r#""StringEquals":{"aws:RequestedRegion":"us-east-1"}"#, true),
        (r#""StringEquals":{"aws:UserAgent":"tests"}"#, true),
        (r#""Bool":{"aws:SecureTransport":"false"}"#, true),
        (r#""StringEquals":{"aws:username":"ana"}"#, true),
        (r#""StringEquals":{"aws:ResourceAccount":"000000000000"}"#, true),
        (r#""StringEquals":{"dynamodb:LeadingKeys":"k1"}"#, true),
        (r#""StringEquals":{"aws:PrincipalTag/team":"blue"}"#, true),
        (r#""StringEquals":{"aws:PrincipalTag/team":"red"}"#, false),
    ];
    let tag = TagUserInput { user_name: "ana".into(), tags: vec![Tag { key: "team".into(), value: "blue".into() }] };
    let _: TagUserOutput = cloud.call("TagUser", tag).await.expect("tagged");
    for (condition, want) in cases {
        let statement =
            format!(r#"{{"Effect":"Allow","Action":"dynamodb:*","Resource":"*","Condition":{{{condition}}}}}"#);
        cloud.grant("ana", "p", &statement).await;
        let mut access = Access::new("dynamodb:GetItem", TABLE);
        access.context.push(("dynamodb:LeadingKeys".into(), vec!["k1".into()]));
        assert_eq!(cloud.may_with(&ana, access, None).await.is_ok(), want, "{condition}");
    }
}

#[tokio::test]
async fn boundaries_and_attached_policies_weigh_in() {
    let cloud = Cloud::new().await;
    let input = CreateUserInput {
        user_name: "ana".into(),
        permissions_boundary: Some("arn:aws:iam::aws:policy/AmazonDynamoDBReadOnlyAccess".into()),
        ..Default::default()
    };
    let made: CreateUserOutput = cloud.call("CreateUser", input).await.expect("made");
    let made = made.user.expect("a user");
    let ana = Principal::User { arn: made.arn, name: made.user_name, id: made.user_id };
    let arn = "arn:aws:iam::aws:policy/AmazonDynamoDBFullAccess";
    let input = AttachUserPolicyInput { user_name: "ana".into(), policy_arn: arn.into() };
    let _: AttachUserPolicyOutput = cloud.call("AttachUserPolicy", input).await.expect("attached");
    assert!(cloud.may(&ana, "dynamodb:GetItem", TABLE).await.is_ok());
    let text = cloud.may(&ana, "dynamodb:PutItem", TABLE).await.expect_err("denied").message;
    assert!(text.ends_with("because no permissions boundary allows the dynamodb:PutItem action"), "{text}");
    let input = DetachUserPolicyInput { user_name: "ana".into(), policy_arn: arn.into() };
    let _: DetachUserPolicyOutput = cloud.call("DetachUserPolicy", input).await.expect("detached");
    assert!(cloud.may(&ana, "dynamodb:GetItem", TABLE).await.is_err());
    // A principal that was authenticated and then deleted holds nothing.
    let _: DeleteUserOutput =
        cloud.call("DeleteUser", DeleteUserInput { user_name: "ana".into() }).await.expect("deleted");
    assert!(cloud.may(&ana, "dynamodb:GetItem", TABLE).await.is_err());
}

#[tokio::test]
async fn resource_policies_weigh_in() {
    let cloud = Cloud::new().await;
    let ana = cloud.user("ana").await;
    let function = "arn:aws:lambda:us-east-1:000000000000:function:f";
    let policy = |effect: &str, principal: &str| {
        document(&format!(
            r#"{{"Effect":"{effect}","Principal":{principal},"Action":"lambda:InvokeFunction","Resource":"{function}"}}"#
        ))
    };
    let user = r#"{"AWS":"arn:aws:iam::000000000000:user/ana"}"#;
    let account = r#"{"AWS":"arn:aws:iam::000000000000:root"}"#;
    let service = Principal::Service { name: "apigateway.amazonaws.com".into() };
    let gateway = r#"{"Service":"apigateway.amazonaws.com"}"#;
    let cases = [
        (&ana, policy("Allow", user), true),
        (&ana, policy("Allow", account), false),
        (&ana, policy("Allow", gateway), false),
        (&service, policy("Allow", gateway), true),
        (&service, policy("Allow", account), false),
        (&Principal::Anonymous, policy("Allow", r#""*""#), true),
        (&Principal::Anonymous, policy("Allow", user), false),
        (&ana, "this is no policy".to_owned(), false),
    ];
    for (who, policy, want) in cases {
        let access = Access::new("lambda:InvokeFunction", function);
        assert_eq!(cloud.may_with(who, access, Some(&policy)).await.is_ok(), want, "{who:?} {policy}");
    }
    cloud.grant("ana", "p", &allowed("lambda:*", "*")).await;
    let access = Access::new("lambda:InvokeFunction", function);
    let denied = cloud.may_with(&ana, access, Some(&policy("Deny", user))).await.expect_err("denied");
    assert!(denied.message.ends_with("with an explicit deny in a resource-based policy"), "{}", denied.message);
}

#[tokio::test]
async fn operations_name_their_resources_with_paths() {
    let cloud = Cloud::new().await;
    let ana = cloud.user("ana").await;
    let create = |name: &str, path: &str| CreateRoleInput {
        role_name: name.into(),
        path: Some(path.into()),
        assume_role_policy_document: TRUST_LAMBDA.into(),
        ..Default::default()
    };
    cloud.grant("ana", "roles", &allowed("iam:*", "arn:aws:iam::000000000000:role/app/*")).await;
    let made = cloud.call_as::<CreateRoleOutput>(ana.clone(), "CreateRole", create("a", "/app/")).await;
    assert!(made.is_ok());
    let (code, status, text) =
        refusal(cloud.call_as::<CreateRoleOutput>(ana.clone(), "CreateRole", create("b", "/sys/")).await);
    assert_eq!((code, status), ("AccessDenied", 403));
    assert!(text.contains("on resource: arn:aws:iam::000000000000:role/sys/b because"), "{text}");
    let get = GetRoleInput { role_name: "a".into() };
    assert!(cloud.call_as::<GetRoleOutput>(ana.clone(), "GetRole", get).await.is_ok());
    let (_, _, text) =
        refusal(cloud.call_as::<ListRolesOutput>(ana.clone(), "ListRoles", ListRolesInput::default()).await);
    assert!(text.contains("iam:ListRoles on resource: arn:aws:iam::000000000000:role/ because"), "{text}");

    // Only one policy may be attached.
    let only = r#"{"Effect":"Allow","Action":"iam:AttachRolePolicy","Resource":"*","Condition":{"ArnEquals":{"iam:PolicyARN":"arn:aws:iam::aws:policy/ReadOnlyAccess"}}}"#;
    cloud.grant("ana", "roles", only).await;
    for (arn, want) in
        [("arn:aws:iam::aws:policy/ReadOnlyAccess", true), ("arn:aws:iam::aws:policy/AdministratorAccess", false)]
    {
        let input = AttachRolePolicyInput { role_name: "a".into(), policy_arn: arn.into() };
        let got = cloud.call_as::<AttachRolePolicyOutput>(ana.clone(), "AttachRolePolicy", input).await;
        assert_eq!(got.is_ok(), want, "{arn}");
    }
    // A change of name needs a grant on both names.
    cloud.grant("ana", "roles", &allowed("iam:UpdateUser", "arn:aws:iam::000000000000:user/ana")).await;
    let input = UpdateUserInput { user_name: "ana".into(), new_user_name: Some("boss".into()), ..Default::default() };
    let (code, _, _) = refusal(cloud.call_as::<UpdateUserOutput>(ana, "UpdateUser", input).await);
    assert_eq!(code, "AccessDenied");
}

#[tokio::test]
async fn services_take_on_roles_that_trust_them() {
    let cloud = Cloud::new().await;
    let arn = cloud.role("r", TRUST_LAMBDA).await;
    let check = |arn: &str, service: &str| {
        let (arn, service, iam) = (arn.to_owned(), service.to_owned(), cloud.iam.clone());
        async move { iam.role_check(&arn, &service).await }
    };
    assert_eq!(check(&arn, "lambda.amazonaws.com").await, RoleCheck::Trusted);
    assert_eq!(check(&arn, "events.amazonaws.com").await, RoleCheck::NotTrusted);
    for missing in ["arn:aws:iam::000000000000:role/none", "arn:aws:iam::000000000000:role/path/r", "r"] {
        assert_eq!(check(missing, "lambda.amazonaws.com").await, RoleCheck::Missing, "{missing}");
    }
    let own = TRUST_LAMBDA.replace(
        r#""Action":"sts:AssumeRole""#,
        r#""Action":"sts:AssumeRole","Condition":{"StringEquals":{"aws:SourceAccount":"000000000000"}}"#,
    );
    let own = cloud.role("own", &own).await;
    assert_eq!(check(&own, "lambda.amazonaws.com").await, RoleCheck::Trusted);
}
