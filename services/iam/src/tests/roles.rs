//! Roles, their inline and attached policies, tags and paging.

use super::*;
use crate::api::iam::*;

fn create(name: &str) -> CreateRoleInput {
    CreateRoleInput {
        role_name: name.to_owned(),
        assume_role_policy_document: TRUST_LAMBDA.to_owned(),
        ..Default::default()
    }
}

fn put(role: &str, policy: &str, document: String) -> PutRolePolicyInput {
    PutRolePolicyInput { role_name: role.to_owned(), policy_name: policy.to_owned(), policy_document: document }
}

fn attach(role: &str, arn: &str) -> AttachRolePolicyInput {
    AttachRolePolicyInput { role_name: role.to_owned(), policy_arn: arn.to_owned() }
}

fn detach(role: &str, arn: &str) -> DetachRolePolicyInput {
    DetachRolePolicyInput { role_name: role.to_owned(), policy_arn: arn.to_owned() }
}

const BASIC: &str = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";

#[tokio::test]
async fn a_role_is_shown_as_each_operation_shows_it() {
    let cloud = Cloud::new().await;
    let input = CreateRoleInput {
        path: Some("/app/".into()),
        description: Some("worker".into()),
        tags: Some(vec![Tag { key: "team".into(), value: "blue".into() }]),
        ..create("Worker")
    };
    let made: CreateRoleOutput = cloud.call("CreateRole", input).await.expect("made");
    let role = made.role;
    assert_eq!(role.arn, "arn:aws:iam::000000000000:role/app/Worker");
    assert!(role.role_id.starts_with("AROA") && role.role_id.len() == 21, "{}", role.role_id);
    assert_eq!(role.max_session_duration, None);
    let trust = role.assume_role_policy_document.expect("shown");
    assert!(trust.starts_with("%7B%22Version%22%3A%222012-10-17%22%2C"), "{trust}");
    assert!(role.role_last_used.is_none() && role.tags.is_some_and(|tags| tags.len() == 1));

    let got: GetRoleOutput = cloud.call("GetRole", GetRoleInput { role_name: "worker".into() }).await.expect("got");
    assert_eq!((got.role.role_name.as_str(), got.role.max_session_duration), ("Worker", Some(3600)));
    assert_eq!(got.role.role_last_used, Some(RoleLastUsed::default()));
    assert_eq!(got.role.description.as_deref(), Some("worker"));

    let listed: ListRolesOutput = cloud.call("ListRoles", ListRolesInput::default()).await.expect("listed");
    let first = listed.roles.first().expect("one");
    assert!(first.tags.is_none() && first.role_last_used.is_none() && first.max_session_duration == Some(3600));
    assert_eq!((listed.is_truncated, listed.marker), (Some(false), None));
}

#[tokio::test]
async fn wrong_roles_are_refused_in_the_words_of_iam() {
    let cloud = Cloud::new().await;
    cloud.role("Taken", TRUST_LAMBDA).await;
    let with = |f: fn(&mut CreateRoleInput)| {
        let mut input = create("fresh");
        f(&mut input);
        input
    };
    let long_trust = document(
        &[r#"{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}"#; 30]
            .join(","),
    );
    let cases = [
        (create("taken"), ("EntityAlreadyExists", 409, "Role with name taken already exists.")),
        (
            create("a b"),
            (
                "ValidationError",
                400,
                "The specified value for roleName is invalid. It must contain only alphanumeric characters and/or the \
                 following: +=,.@_-",
            ),
        ),
        (
            with(|i| i.path = Some("app".into())),
            (
                "ValidationError",
                400,
                "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric \
                 characters and/or / characters.",
            ),
        ),
        (
            with(|i| i.max_session_duration = Some(60)),
            (
                "ValidationError",
                400,
                "1 validation error detected: Value '60' at 'maxSessionDuration' failed to satisfy constraint: Member must \
                 have value greater than or equal to 3600",
            ),
        ),
        (
            with(|i| i.assume_role_policy_document = "{".into()),
            ("MalformedPolicyDocument", 400, "This policy contains invalid Json"),
        ),
        (
            with(|i| {
                i.assume_role_policy_document = TRUST_ACCOUNT.replace(ACCOUNT, "arn:aws:iam::000000000000:user/nobody");
            }),
            (
                "MalformedPolicyDocument",
                400,
                "Invalid principal in policy: \"AWS\":\"arn:aws:iam::000000000000:user/nobody\"",
            ),
        ),
        (
            with(|i| i.permissions_boundary = Some("arn:aws:iam::000000000000:policy/none".into())),
            (
                "NoSuchEntity",
                404,
                "Scope ARN: arn:aws:iam::000000000000:policy/none does not exist or is not attachable.",
            ),
        ),
        (
            with(|i| {
                let tag = |key: &str| Tag { key: key.into(), value: String::new() };
                i.tags = Some(vec![tag("a"), tag("A")]);
            }),
            ("InvalidInput", 400, "Duplicate tag keys found. Please note that Tag keys are case insensitive."),
        ),
        (
            CreateRoleInput { assume_role_policy_document: long_trust, ..create("fresh") },
            ("LimitExceeded", 409, "Cannot exceed quota for ACLSizePerRole: 2048"),
        ),
    ];
    for (input, want) in cases {
        expect_refusal(cloud.refused::<CreateRoleOutput>("CreateRole", input).await, want);
    }
}

#[tokio::test]
async fn a_role_that_is_not_there_cannot_be_found() {
    let cloud = Cloud::new().await;
    let want = ("NoSuchEntity", 404, "The role with name gone cannot be found.");
    let name = || "gone".to_owned();
    let got = cloud.refused::<GetRoleOutput>("GetRole", GetRoleInput { role_name: name() }).await;
    expect_refusal(got, want);
    let got = cloud.refused::<DeleteRoleOutput>("DeleteRole", DeleteRoleInput { role_name: name() }).await;
    expect_refusal(got, want);
    let got = cloud.refused::<AttachRolePolicyOutput>("AttachRolePolicy", attach("gone", BASIC)).await;
    expect_refusal(got, want);
    let input = ListRolePoliciesInput { role_name: name(), ..Default::default() };
    expect_refusal(cloud.refused::<ListRolePoliciesOutput>("ListRolePolicies", input).await, want);
    let input = ListInstanceProfilesForRoleInput { role_name: name(), ..Default::default() };
    let got = cloud.refused::<ListInstanceProfilesForRoleOutput>("ListInstanceProfilesForRole", input).await;
    expect_refusal(got, want);
}

#[tokio::test]
async fn a_role_with_policies_cannot_be_deleted() {
    let cloud = Cloud::new().await;
    cloud.role("r", TRUST_LAMBDA).await;
    let _: PutRolePolicyOutput = cloud.call("PutRolePolicy", put("r", "p", allow("s3:*", "*"))).await.expect("put");
    let _: AttachRolePolicyOutput = cloud.call("AttachRolePolicy", attach("r", BASIC)).await.expect("attached");
    let delete = || DeleteRoleInput { role_name: "r".into() };
    let want = ("DeleteConflict", 409, "Cannot delete entity, must detach all policies first.");
    expect_refusal(cloud.refused::<DeleteRoleOutput>("DeleteRole", delete()).await, want);
    let _: DetachRolePolicyOutput = cloud.call("DetachRolePolicy", detach("r", BASIC)).await.expect("detached");
    let want = ("DeleteConflict", 409, "Cannot delete entity, must delete policies first.");
    expect_refusal(cloud.refused::<DeleteRoleOutput>("DeleteRole", delete()).await, want);
    let gone = || DeleteRolePolicyInput { role_name: "r".into(), policy_name: "p".into() };
    let _: DeleteRolePolicyOutput = cloud.call("DeleteRolePolicy", gone()).await.expect("deleted");
    let want = ("NoSuchEntity", 404, "The role policy with name p cannot be found.");
    expect_refusal(cloud.refused::<DeleteRolePolicyOutput>("DeleteRolePolicy", gone()).await, want);
    let _: DeleteRoleOutput = cloud.call("DeleteRole", delete()).await.expect("deleted");
}

#[tokio::test]
async fn inline_policies_come_back_encoded_and_have_a_quota() {
    let cloud = Cloud::new().await;
    cloud.role("r", TRUST_LAMBDA).await;
    let text = allow("s3:Get*", "arn:aws:s3:::a%2Fb/~c_d-e.f");
    let _: PutRolePolicyOutput = cloud.call("PutRolePolicy", put("r", "p", text)).await.expect("put");
    let input = || GetRolePolicyInput { role_name: "r".into(), policy_name: "p".into() };
    let got: GetRolePolicyOutput = cloud.call("GetRolePolicy", input()).await.expect("got");
    assert!(got.policy_document.contains("s3%3AGet%2A"), "{}", got.policy_document);
    assert!(got.policy_document.contains("a%252Fb%2F~c_d-e.f"), "{}", got.policy_document);
    let statement = allowed("s3:GetObject", "arn:aws:s3:::bucket/key");
    let long = document(&vec![statement; 200].join(","));
    let want = ("LimitExceeded", 409, "Maximum policy size of 10240 bytes exceeded for role r");
    expect_refusal(cloud.refused::<PutRolePolicyOutput>("PutRolePolicy", put("r", "q", long)).await, want);
    let want = ("MalformedPolicyDocument", 400, "Syntax errors in policy.");
    expect_refusal(cloud.refused::<PutRolePolicyOutput>("PutRolePolicy", put("r", "q", "[]".into())).await, want);
    let mut missing = input();
    missing.policy_name = "nope".into();
    let want = ("NoSuchEntity", 404, "The role policy with name nope cannot be found.");
    expect_refusal(cloud.refused::<GetRolePolicyOutput>("GetRolePolicy", missing).await, want);
}

#[tokio::test]
async fn attached_policies_exist_and_are_few() {
    let cloud = Cloud::new().await;
    cloud.role("r", TRUST_LAMBDA).await;
    let none = "arn:aws:iam::000000000000:policy/none";
    let want =
        ("NoSuchEntity", 404, "Policy arn:aws:iam::000000000000:policy/none does not exist or is not attachable.");
    expect_refusal(cloud.refused::<AttachRolePolicyOutput>("AttachRolePolicy", attach("r", none)).await, want);
    let want = ("NoSuchEntity", 404, "Policy arn:aws:iam::000000000000:policy/none was not found.");
    expect_refusal(cloud.refused::<DetachRolePolicyOutput>("DetachRolePolicy", detach("r", none)).await, want);
    let bad = "this-is-no-arn-at-all";
    let want = ("InvalidInput", 400, "ARN this-is-no-arn-at-all is not valid.");
    expect_refusal(cloud.refused::<AttachRolePolicyOutput>("AttachRolePolicy", attach("r", bad)).await, want);
    let some: Vec<&str> = squall_policy::managed::all().map(|policy| policy.arn).take(11).collect();
    let (last, first) = some.split_last().expect("eleven");
    for arn in first {
        let _: AttachRolePolicyOutput = cloud.call("AttachRolePolicy", attach("r", arn)).await.expect("attached");
        let _: AttachRolePolicyOutput = cloud.call("AttachRolePolicy", attach("r", arn)).await.expect("twice is fine");
    }
    let want = ("LimitExceeded", 409, "Cannot exceed quota for PoliciesPerRole: 10");
    expect_refusal(cloud.refused::<AttachRolePolicyOutput>("AttachRolePolicy", attach("r", last)).await, want);
    let mut input = ListAttachedRolePoliciesInput { role_name: "r".into(), max_items: Some(4), ..Default::default() };
    let mut seen = Vec::new();
    loop {
        let page: ListAttachedRolePoliciesOutput =
            cloud.call("ListAttachedRolePolicies", input.clone()).await.expect("a page");
        seen.extend(page.attached_policies.unwrap_or_default().into_iter().filter_map(|policy| policy.policy_arn));
        assert_eq!(page.is_truncated, Some(page.marker.is_some()));
        match page.marker {
            Some(marker) => input.marker = Some(marker),
            None => break,
        }
    }
    assert_eq!(seen, first);
}

#[tokio::test]
async fn lists_are_paged_and_filtered_by_path() {
    let cloud = Cloud::new().await;
    for i in 0..7 {
        let path = Some(if i % 2 == 0 { "/even/" } else { "/odd/" }.to_owned());
        let input = CreateRoleInput { path, ..create(&format!("role{i}")) };
        let _: CreateRoleOutput = cloud.call("CreateRole", input).await.expect("made");
    }
    let input = ListRolesInput { path_prefix: Some("/even".into()), max_items: Some(3), marker: None };
    let page: ListRolesOutput = cloud.call("ListRoles", input.clone()).await.expect("a page");
    let names: Vec<_> = page.roles.iter().map(|role| role.role_name.as_str()).collect();
    assert_eq!((names, page.is_truncated), (vec!["role0", "role2", "role4"], Some(true)));
    let next = ListRolesInput { marker: page.marker, ..input.clone() };
    let page: ListRolesOutput = cloud.call("ListRoles", next).await.expect("a page");
    assert_eq!((page.roles.len(), page.is_truncated, page.marker), (1, Some(false), None));
    let bad = ListRolesInput { marker: Some("not a marker".into()), ..input };
    let want = ("ValidationError", 400, "Invalid Marker.");
    expect_refusal(cloud.refused::<ListRolesOutput>("ListRoles", bad).await, want);
}

#[tokio::test]
async fn a_role_changes_in_all_its_parts() {
    let cloud = Cloud::new().await;
    cloud.role("r", TRUST_LAMBDA).await;
    let name = || "r".to_owned();
    let input =
        UpdateRoleInput { role_name: name(), description: Some("new".into()), max_session_duration: Some(7200) };
    let _: UpdateRoleOutput = cloud.call("UpdateRole", input).await.expect("updated");
    let input = UpdateRoleDescriptionInput { role_name: name(), description: "newer".into() };
    let shown: UpdateRoleDescriptionOutput = cloud.call("UpdateRoleDescription", input).await.expect("updated");
    assert_eq!(shown.role.and_then(|role| role.description).as_deref(), Some("newer"));
    let trust = TRUST_LAMBDA.replace("lambda", "apigateway");
    let input = UpdateAssumeRolePolicyInput { role_name: name(), policy_document: trust };
    let _: UpdateAssumeRolePolicyOutput = cloud.call("UpdateAssumeRolePolicy", input).await.expect("updated");
    let arn = "arn:aws:iam::aws:policy/ReadOnlyAccess".to_owned();
    let input = PutRolePermissionsBoundaryInput { role_name: name(), permissions_boundary: arn.clone() };
    let _: PutRolePermissionsBoundaryOutput = cloud.call("PutRolePermissionsBoundary", input).await.expect("put");
    let tag = |key: &str, value: &str| Tag { key: key.into(), value: value.into() };
    let input = TagRoleInput { role_name: name(), tags: vec![tag("a", "1"), tag("b", "2")] };
    let _: TagRoleOutput = cloud.call("TagRole", input).await.expect("tagged");
    let input = TagRoleInput { role_name: name(), tags: vec![tag("A", "3")] };
    let _: TagRoleOutput = cloud.call("TagRole", input).await.expect("tagged");
    let input = UntagRoleInput { role_name: name(), tag_keys: vec!["b".into(), "zzz".into()] };
    let _: UntagRoleOutput = cloud.call("UntagRole", input).await.expect("untagged");

    let got: GetRoleOutput = cloud.call("GetRole", GetRoleInput { role_name: name() }).await.expect("got");
    assert_eq!(got.role.max_session_duration, Some(7200));
    assert!(got.role.assume_role_policy_document.is_some_and(|text| text.contains("apigateway.amazonaws.com")));
    assert_eq!(got.role.permissions_boundary.and_then(|b| b.permissions_boundary_arn), Some(arn));
    assert_eq!(got.role.tags, Some(vec![tag("A", "3")]));
    let input = DeleteRolePermissionsBoundaryInput { role_name: name() };
    let _: DeleteRolePermissionsBoundaryOutput =
        cloud.call("DeleteRolePermissionsBoundary", input).await.expect("deleted");
    let input = ListRoleTagsInput { role_name: name(), ..Default::default() };
    let tags: ListRoleTagsOutput = cloud.call("ListRoleTags", input).await.expect("listed");
    assert_eq!(tags.tags, vec![tag("A", "3")]);
    let many = (0..50).map(|i| tag(&format!("k{i}"), "")).collect();
    let want = ("LimitExceeded", 409, "The number of tags has reached the maximum limit.");
    let input = TagRoleInput { role_name: name(), tags: many };
    expect_refusal(cloud.refused::<TagRoleOutput>("TagRole", input).await, want);
}
