//! Managed policies and their versions.

use super::*;
use crate::api::iam::*;

async fn policy(cloud: &Cloud, name: &str, document: String) -> String {
    let input = CreatePolicyInput { policy_name: name.into(), policy_document: document, ..Default::default() };
    let made: CreatePolicyOutput = cloud.call("CreatePolicy", input).await.expect("made");
    made.policy.and_then(|policy| policy.arn).expect("an arn")
}

fn version(arn: &str, document: String, default: bool) -> CreatePolicyVersionInput {
    CreatePolicyVersionInput { policy_arn: arn.into(), policy_document: document, set_as_default: Some(default) }
}

fn named(arn: &str, id: &str) -> DeletePolicyVersionInput {
    DeletePolicyVersionInput { policy_arn: arn.into(), version_id: id.into() }
}

async fn attach_user(cloud: &Cloud, user: &str, arn: &str) {
    let input = AttachUserPolicyInput { user_name: user.into(), policy_arn: arn.into() };
    let _: AttachUserPolicyOutput = cloud.call("AttachUserPolicy", input).await.expect("attached");
}

#[tokio::test]
async fn a_policy_is_shown_with_its_use() {
    let cloud = Cloud::new().await;
    let input = CreatePolicyInput {
        policy_name: "Reader".into(),
        path: Some("/team/".into()),
        policy_document: allow("s3:Get*", "*"),
        description: Some("reads".into()),
        ..Default::default()
    };
    let made: CreatePolicyOutput = cloud.call("CreatePolicy", input.clone()).await.expect("made");
    let made = made.policy.expect("a policy");
    let arn = made.arn.expect("an arn");
    assert_eq!(arn, "arn:aws:iam::000000000000:policy/team/Reader");
    assert!(made.policy_id.is_some_and(|id| id.starts_with("ANPA") && id.len() == 21));
    assert_eq!((made.default_version_id.as_deref(), made.attachment_count), (Some("v1"), Some(0)));
    let want = ("EntityAlreadyExists", 409, "A policy called Reader already exists. Duplicate names are not allowed.");
    expect_refusal(cloud.refused::<CreatePolicyOutput>("CreatePolicy", input).await, want);

    cloud.user("ana").await;
    attach_user(&cloud, "ana", &arn).await;
    cloud.role("r", TRUST_LAMBDA).await;
    let input = PutRolePermissionsBoundaryInput { role_name: "r".into(), permissions_boundary: arn.clone() };
    let _: PutRolePermissionsBoundaryOutput = cloud.call("PutRolePermissionsBoundary", input).await.expect("put");
    let got: GetPolicyOutput = cloud.call("GetPolicy", GetPolicyInput { policy_arn: arn.clone() }).await.expect("got");
    let got = got.policy.expect("a policy");
    assert_eq!((got.attachment_count, got.permissions_boundary_usage_count), (Some(1), Some(1)));
    assert_eq!((got.description.as_deref(), got.tags), (Some("reads"), Some(Vec::new())));

    let input = ListEntitiesForPolicyInput { policy_arn: arn.clone(), ..Default::default() };
    let held: ListEntitiesForPolicyOutput = cloud.call("ListEntitiesForPolicy", input.clone()).await.expect("listed");
    assert_eq!((held.policy_users.map(|u| u.len()), held.policy_roles.map(|r| r.len())), (Some(1), Some(1)));
    let only = ListEntitiesForPolicyInput { policy_usage_filter: Some("PermissionsPolicy".into()), ..input };
    let held: ListEntitiesForPolicyOutput = cloud.call("ListEntitiesForPolicy", only).await.expect("listed");
    assert_eq!((held.policy_users.map(|u| u.len()), held.policy_roles.map(|r| r.len())), (Some(1), Some(0)));
    let delete = DeletePolicyInput { policy_arn: arn };
    let want = ("DeleteConflict", 409, "Cannot delete a policy attached to entities.");
    expect_refusal(cloud.refused::<DeletePolicyOutput>("DeletePolicy", delete).await, want);
}

#[tokio::test]
async fn policies_are_listed_by_scope_and_use() {
    let cloud = Cloud::new().await;
    let arn = policy(&cloud, "mine", allow("s3:*", "*")).await;
    let list = |scope: &str, attached: bool| ListPoliciesInput {
        scope: Some(scope.into()),
        only_attached: Some(attached),
        max_items: Some(1000),
        ..Default::default()
    };
    let count = |output: ListPoliciesOutput| output.policies.map_or(0, |policies| policies.len());
    let local = count(cloud.call("ListPolicies", list("Local", false)).await.expect("listed"));
    let aws = count(cloud.call("ListPolicies", list("AWS", false)).await.expect("listed"));
    let all = count(cloud.call("ListPolicies", list("All", false)).await.expect("listed"));
    assert_eq!((local, all), (1, aws + 1));
    assert_eq!(count(cloud.call("ListPolicies", list("All", true)).await.expect("listed")), 0);
    cloud.user("ana").await;
    attach_user(&cloud, "ana", &arn).await;
    assert_eq!(count(cloud.call("ListPolicies", list("All", true)).await.expect("listed")), 1);
}

#[tokio::test]
async fn versions_follow_the_rules() {
    let cloud = Cloud::new().await;
    let arn = policy(&cloud, "p", allow("s3:GetObject", "*")).await;
    let ana = cloud.user("ana").await;
    attach_user(&cloud, "ana", &arn).await;
    assert!(cloud.may(&ana, "s3:PutObject", "arn:aws:s3:::b/k").await.is_err());
    let made: CreatePolicyVersionOutput =
        cloud.call("CreatePolicyVersion", version(&arn, allow("s3:PutObject", "*"), false)).await.expect("made");
    let shown = made.policy_version.expect("a version");
    assert_eq!((shown.version_id.as_deref(), shown.is_default_version), (Some("v2"), Some(false)));
    assert!(shown.document.is_none() && cloud.may(&ana, "s3:PutObject", "arn:aws:s3:::b/k").await.is_err());

    let input = SetDefaultPolicyVersionInput { policy_arn: arn.clone(), version_id: "v2".into() };
    let _: SetDefaultPolicyVersionOutput = cloud.call("SetDefaultPolicyVersion", input).await.expect("set");
    assert!(cloud.may(&ana, "s3:PutObject", "arn:aws:s3:::b/k").await.is_ok());
    assert!(cloud.may(&ana, "s3:GetObject", "arn:aws:s3:::b/k").await.is_err());

    let want = ("DeleteConflict", 409, "Cannot delete the default version of a policy.");
    let got = cloud.refused::<DeletePolicyVersionOutput>("DeletePolicyVersion", named(&arn, "v2")).await;
    expect_refusal(got, want);
    for _ in 3..=5 {
        let _: CreatePolicyVersionOutput =
            cloud.call("CreatePolicyVersion", version(&arn, allow("s3:*", "*"), true)).await.expect("made");
    }
    let want = "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing \
                version.";
    let sixth = version(&arn, allow("s3:*", "*"), true);
    let got = cloud.refused::<CreatePolicyVersionOutput>("CreatePolicyVersion", sixth).await;
    expect_refusal(got, ("LimitExceeded", 409, want));
    let _: DeletePolicyVersionOutput = cloud.call("DeletePolicyVersion", named(&arn, "v1")).await.expect("deleted");
    let next: CreatePolicyVersionOutput =
        cloud.call("CreatePolicyVersion", version(&arn, allow("s3:*", "*"), true)).await.expect("made");
    assert_eq!(next.policy_version.and_then(|v| v.version_id).as_deref(), Some("v6"));
    let input = ListPolicyVersionsInput { policy_arn: arn.clone(), ..Default::default() };
    let listed: ListPolicyVersionsOutput = cloud.call("ListPolicyVersions", input).await.expect("listed");
    let ids: Vec<_> = listed.versions.unwrap_or_default().into_iter().filter_map(|v| v.version_id).collect();
    assert_eq!(ids, ["v6", "v5", "v4", "v3", "v2"]);
    let missing = format!("Policy {arn} version v1 does not exist or is not attachable.");
    let input = GetPolicyVersionInput { policy_arn: arn.clone(), version_id: "v1".into() };
    let got = cloud.refused::<GetPolicyVersionOutput>("GetPolicyVersion", input).await;
    expect_refusal(got, ("NoSuchEntity", 404, &missing));
    let (code, status, text) =
        cloud.refused::<DeletePolicyOutput>("DeletePolicy", DeletePolicyInput { policy_arn: arn }).await;
    assert_eq!((code, status), ("DeleteConflict", 409));
    assert_eq!(text, "Cannot delete a policy attached to entities.");
}

#[tokio::test]
async fn a_policy_with_versions_cannot_be_deleted() {
    let cloud = Cloud::new().await;
    let arn = policy(&cloud, "p", allow("s3:*", "*")).await;
    let _: CreatePolicyVersionOutput =
        cloud.call("CreatePolicyVersion", version(&arn, allow("s3:*", "*"), false)).await.expect("made");
    let delete = || DeletePolicyInput { policy_arn: arn.clone() };
    let want = "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. \
                The default version is deleted with the policy.";
    let got = cloud.refused::<DeletePolicyOutput>("DeletePolicy", delete()).await;
    expect_refusal(got, ("DeleteConflict", 409, want));
    let _: DeletePolicyVersionOutput = cloud.call("DeletePolicyVersion", named(&arn, "v2")).await.expect("deleted");
    let _: DeletePolicyOutput = cloud.call("DeletePolicy", delete()).await.expect("deleted");
    let missing = format!("Policy {arn} was not found.");
    let got = cloud.refused::<GetPolicyOutput>("GetPolicy", GetPolicyInput { policy_arn: arn }).await;
    expect_refusal(got, ("NoSuchEntity", 404, &missing));
}

#[tokio::test]
async fn documents_are_checked_and_have_a_quota() {
    let cloud = Cloud::new().await;
    let create = |document: String| CreatePolicyInput {
        policy_name: "p".into(),
        policy_document: document,
        ..Default::default()
    };
    let long = document(&vec![allowed("s3:GetObject", "arn:aws:s3:::bucket/key"); 100].join(","));
    let cases = [
        (long, ("LimitExceeded", 409, "Cannot exceed quota for PolicySize: 6144")),
        ("nonsense".into(), ("MalformedPolicyDocument", 400, "Syntax errors in policy.")),
        (TRUST_LAMBDA.into(), ("MalformedPolicyDocument", 400, "Policy document should not specify a principal.")),
    ];
    for (document, want) in cases {
        expect_refusal(cloud.refused::<CreatePolicyOutput>("CreatePolicy", create(document)).await, want);
    }
}

#[tokio::test]
async fn policies_of_aws_are_there_and_stay() {
    let cloud = Cloud::new().await;
    let arn = "arn:aws:iam::aws:policy/AdministratorAccess";
    let got: GetPolicyOutput = cloud.call("GetPolicy", GetPolicyInput { policy_arn: arn.into() }).await.expect("got");
    let got = got.policy.expect("a policy");
    assert_eq!(got.policy_name.as_deref(), Some("AdministratorAccess"));
    let id = got.default_version_id.expect("a version");
    let input = GetPolicyVersionInput { policy_arn: arn.into(), version_id: id };
    let shown: GetPolicyVersionOutput = cloud.call("GetPolicyVersion", input).await.expect("got");
    assert!(shown.policy_version.and_then(|v| v.document).is_some_and(|text| text.starts_with("%7B")));
    let (code, status, text) =
        cloud.refused::<DeletePolicyOutput>("DeletePolicy", DeletePolicyInput { policy_arn: arn.into() }).await;
    assert_eq!((code, status), ("AccessDenied", 403));
    assert!(
        text.contains("iam:DeletePolicy on resource: policy arn:aws:iam::aws:policy/AdministratorAccess"),
        "{text}"
    );
}

#[tokio::test]
async fn policies_are_tagged() {
    let cloud = Cloud::new().await;
    let arn = policy(&cloud, "p", allow("s3:*", "*")).await;
    let tags = vec![Tag { key: "a".into(), value: "1".into() }, Tag { key: "b".into(), value: "2".into() }];
    let input = TagPolicyInput { policy_arn: arn.clone(), tags: tags.clone() };
    let _: TagPolicyOutput = cloud.call("TagPolicy", input).await.expect("tagged");
    let input = UntagPolicyInput { policy_arn: arn.clone(), tag_keys: vec!["a".into()] };
    let _: UntagPolicyOutput = cloud.call("UntagPolicy", input).await.expect("untagged");
    let input = ListPolicyTagsInput { policy_arn: arn, ..Default::default() };
    let listed: ListPolicyTagsOutput = cloud.call("ListPolicyTags", input).await.expect("listed");
    assert_eq!(listed.tags, tags.get(1..).expect("one"));
}
