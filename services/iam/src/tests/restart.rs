//! What survives a restart, and what a new cloud has.

use super::*;
use crate::api::iam::*;
use crate::api::sts::{AssumeRoleInput, AssumeRoleOutput};

#[tokio::test]
async fn everything_but_use_survives_a_restart() {
    let cloud = Cloud::new().await;
    let (key, secret) = cloud.iam.root_credentials();
    assert!(key.starts_with("AKIA") && key.len() == 20 && secret.len() == 40);
    let arn = cloud.role("worker", TRUST_ACCOUNT).await;
    let input = CreatePolicyInput {
        policy_name: "p".into(),
        policy_document: allow("s3:GetObject", "*"),
        ..Default::default()
    };
    let policy: CreatePolicyOutput = cloud.call("CreatePolicy", input).await.expect("made");
    let policy_arn = policy.policy.and_then(|policy| policy.arn).expect("an arn");
    let input = AttachRolePolicyInput { role_name: "worker".into(), policy_arn: policy_arn.clone() };
    let _: AttachRolePolicyOutput = cloud.call("AttachRolePolicy", input).await.expect("attached");
    let ana = cloud.user("ana").await;
    let input = CreateAccessKeyInput { user_name: Some("ana".into()) };
    let made: CreateAccessKeyOutput = cloud.call("CreateAccessKey", input).await.expect("made");
    let input = AssumeRoleInput { role_arn: arn.clone(), role_session_name: "shift".into(), ..Default::default() };
    let session: AssumeRoleOutput = cloud.call("AssumeRole", input).await.expect("assumed");
    let session = session.credentials.expect("credentials");
    cloud.role("gone", TRUST_ACCOUNT).await;
    let _: DeleteRoleOutput =
        cloud.call("DeleteRole", DeleteRoleInput { role_name: "gone".into() }).await.expect("deleted");

    let cloud = cloud.reopened().await;
    assert_eq!(cloud.iam.root_credentials(), (key.clone(), secret.clone()));
    let found = cloud.iam.credential(&key, None).await.expect("known");
    assert_eq!((found.secret, found.principal), (secret, root()));
    let found = cloud.iam.credential(&made.access_key.access_key_id, None).await.expect("known");
    assert_eq!((found.secret, found.principal), (made.access_key.secret_access_key, ana));
    let found = cloud.iam.credential(&session.access_key_id, Some(&session.session_token)).await.expect("known");
    assert_eq!(found.secret, session.secret_access_key);
    assert!(cloud.may(&found.principal, "s3:GetObject", "arn:aws:s3:::b/k").await.is_ok());
    assert!(cloud.may(&found.principal, "s3:PutObject", "arn:aws:s3:::b/k").await.is_err());
    let (code, _, _) = cloud.refused::<GetRoleOutput>("GetRole", GetRoleInput { role_name: "gone".into() }).await;
    assert_eq!(code, "NoSuchEntity");
}

#[tokio::test]
async fn a_change_by_another_node_is_not_overwritten() {
    let cloud = Cloud::new().await;
    cloud.role("worker", TRUST_ACCOUNT).await;
    let other = Iam::open(cloud.deps.clone()).await.expect("opens");
    let input = |text: &str| UpdateRoleDescriptionInput { role_name: "worker".into(), description: text.into() };
    let _: UpdateRoleDescriptionOutput = cloud.call("UpdateRoleDescription", input("mine")).await.expect("updated");
    let behind = Cloud { iam: other, deps: cloud.deps.clone(), clock: cloud.clock.clone() };
    let (code, status, _) =
        behind.refused::<UpdateRoleDescriptionOutput>("UpdateRoleDescription", input("theirs")).await;
    assert_eq!((code, status), ("ConcurrentModification", 409));
    let two = (cloud.iam.root_credentials(), behind.iam.root_credentials());
    assert_eq!(two.0, two.1);
}

#[tokio::test]
async fn an_unknown_key_is_unknown() {
    let cloud = Cloud::new().await;
    assert!(cloud.iam.credential("AKIAAAAAAAAAAAAAAAAA", None).await.is_err());
    assert!(cloud.iam.credential("", None).await.is_err());
    assert_eq!(cloud.iam.rooms().iter().map(|room| room.service().name).collect::<Vec<_>>(), ["iam", "sts"]);
}

#[test]
fn the_callers_text_hides_what_broke() {
    let error = crate::Error::internal("read a record", "row 17 of /var/lib/cloud is damaged");
    let shown = ServiceError::from(error);
    let text = "The request processing has failed because of an unknown error.";
    assert_eq!((shown.code, shown.status, shown.message.as_str()), ("ServiceFailure", 500, text));
}
