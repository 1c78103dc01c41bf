//! Users and access keys.

use super::*;
use crate::api::iam::*;
use crate::api::sts::{GetAccessKeyInfoInput, GetAccessKeyInfoOutput, GetCallerIdentityInput, GetCallerIdentityOutput};
use squall_service::CredentialError;

async fn key(cloud: &Cloud, user: &str) -> AccessKey {
    let input = CreateAccessKeyInput { user_name: Some(user.into()) };
    let made: CreateAccessKeyOutput = cloud.call("CreateAccessKey", input).await.expect("made");
    made.access_key
}

#[tokio::test]
async fn a_key_stands_for_its_user_while_it_is_active() {
    let cloud = Cloud::new().await;
    let ana = cloud.user("Ana").await;
    let made = key(&cloud, "ana").await;
    assert!(made.access_key_id.starts_with("AKIA") && made.access_key_id.len() == 20);
    assert_eq!((made.secret_access_key.len(), made.status.as_str(), made.user_name.as_str()), (40, "Active", "Ana"));
    let found = cloud.iam.credential(&made.access_key_id, None).await.expect("known");
    assert_eq!((found.secret, found.principal), (made.secret_access_key, ana));
    let token = cloud.iam.credential(&made.access_key_id, Some("token")).await;
    assert_eq!(token.map(|c| c.secret), Err(CredentialError::Unknown));

    let set = |status: &str| UpdateAccessKeyInput {
        user_name: Some("Ana".into()),
        access_key_id: made.access_key_id.clone(),
        status: status.into(),
    };
    let _: UpdateAccessKeyOutput = cloud.call("UpdateAccessKey", set("Inactive")).await.expect("updated");
    let got = cloud.iam.credential(&made.access_key_id, None).await;
    assert_eq!(got.map(|c| c.secret), Err(CredentialError::Unknown));
    let want = "1 validation error detected: Value at 'status' failed to satisfy constraint: Member must satisfy enum value \
                set";
    let (code, status, text) = cloud.refused::<UpdateAccessKeyOutput>("UpdateAccessKey", set("Sleeping")).await;
    assert_eq!((code, status), ("ValidationError", 400));
    assert!(text.starts_with(want), "{text}");
    let _: UpdateAccessKeyOutput = cloud.call("UpdateAccessKey", set("Active")).await.expect("updated");

    let input = UpdateUserInput {
        user_name: "ana".into(),
        new_path: Some("/staff/".into()),
        new_user_name: Some("Anna".into()),
    };
    let _: UpdateUserOutput = cloud.call("UpdateUser", input).await.expect("renamed");
    let found = cloud.iam.credential(&made.access_key_id, None).await.expect("known after the change of name");
    assert_eq!(found.principal.arn(), "arn:aws:iam::000000000000:user/staff/Anna");

    let gone = DeleteAccessKeyInput { user_name: Some("Anna".into()), access_key_id: made.access_key_id.clone() };
    let _: DeleteAccessKeyOutput = cloud.call("DeleteAccessKey", gone.clone()).await.expect("deleted");
    let want = format!("The Access Key with id {} cannot be found.", made.access_key_id);
    let got = cloud.refused::<DeleteAccessKeyOutput>("DeleteAccessKey", gone).await;
    expect_refusal(got, ("NoSuchEntity", 404, &want));
    assert!(cloud.iam.credential(&made.access_key_id, None).await.is_err());
}

#[tokio::test]
async fn keys_are_two_at_most_and_keep_their_user() {
    let cloud = Cloud::new().await;
    cloud.user("ana").await;
    let (first, _) = (key(&cloud, "ana").await, key(&cloud, "ana").await);
    let third = CreateAccessKeyInput { user_name: Some("ana".into()) };
    let want = ("LimitExceeded", 409, "Cannot exceed quota for AccessKeysPerUser: 2");
    expect_refusal(cloud.refused::<CreateAccessKeyOutput>("CreateAccessKey", third).await, want);
    let want = ("DeleteConflict", 409, "Cannot delete entity, must delete access keys first.");
    let delete = DeleteUserInput { user_name: "ana".into() };
    expect_refusal(cloud.refused::<DeleteUserOutput>("DeleteUser", delete).await, want);
    let list = ListAccessKeysInput { user_name: Some("ana".into()), max_items: Some(1), ..Default::default() };
    let page: ListAccessKeysOutput = cloud.call("ListAccessKeys", list).await.expect("listed");
    assert_eq!(page.access_key_metadata.first().and_then(|k| k.access_key_id.clone()), Some(first.access_key_id));
    assert_eq!(page.is_truncated, Some(true));
    let want = ("EntityAlreadyExists", 409, "User with name ANA already exists.");
    let again = CreateUserInput { user_name: "ANA".into(), ..Default::default() };
    expect_refusal(cloud.refused::<CreateUserOutput>("CreateUser", again).await, want);
}

#[tokio::test]
async fn users_are_shown_renamed_and_deleted() {
    let cloud = Cloud::new().await;
    cloud.user("ana").await;
    cloud.user("bob").await;
    let rename = UpdateUserInput { user_name: "ana".into(), new_user_name: Some("bob".into()), ..Default::default() };
    let want = ("EntityAlreadyExists", 409, "User with name bob already exists.");
    expect_refusal(cloud.refused::<UpdateUserOutput>("UpdateUser", rename).await, want);
    let listed: ListUsersOutput = cloud.call("ListUsers", ListUsersInput::default()).await.expect("listed");
    assert_eq!(listed.users.iter().map(|u| u.user_name.as_str()).collect::<Vec<_>>(), ["ana", "bob"]);
    let tag = TagUserInput { user_name: "ana".into(), tags: vec![Tag { key: "k".into(), value: "v".into() }] };
    let _: TagUserOutput = cloud.call("TagUser", tag.clone()).await.expect("tagged");
    let get = GetUserInput { user_name: Some("ana".into()) };
    let got: GetUserOutput = cloud.call("GetUser", get.clone()).await.expect("got");
    assert_eq!(got.user.tags, Some(tag.tags));
    let _: DeleteUserOutput =
        cloud.call("DeleteUser", DeleteUserInput { user_name: "ana".into() }).await.expect("deleted");
    let want = ("NoSuchEntity", 404, "The user with name ana cannot be found.");
    expect_refusal(cloud.refused::<GetUserOutput>("GetUser", get).await, want);
    cloud.grant("bob", "p", &allowed("s3:*", "*")).await;
    let want = ("NoSuchEntity", 404, "The user policy with name q cannot be found.");
    let missing = GetUserPolicyInput { user_name: "bob".into(), policy_name: "q".into() };
    expect_refusal(cloud.refused::<GetUserPolicyOutput>("GetUserPolicy", missing).await, want);
    let want = ("DeleteConflict", 409, "Cannot delete entity, must delete policies first.");
    let delete = DeleteUserInput { user_name: "bob".into() };
    expect_refusal(cloud.refused::<DeleteUserOutput>("DeleteUser", delete).await, want);
}

#[tokio::test]
async fn callers_ask_about_themselves() {
    let cloud = Cloud::new().await;
    let ana = cloud.user("ana").await;
    cloud.grant("ana", "self", &allowed("iam:*", "arn:aws:iam::000000000000:user/ana")).await;
    let got: GetUserOutput = cloud.call_as(ana.clone(), "GetUser", GetUserInput::default()).await.expect("got");
    assert_eq!(got.user.user_name, "ana");
    let got: GetUserOutput = cloud.call("GetUser", GetUserInput::default()).await.expect("got");
    assert_eq!((got.user.user_id.as_str(), got.user.arn.as_str()), (ACCOUNT, "arn:aws:iam::000000000000:root"));
    let listed: ListAccessKeysOutput =
        cloud.call("ListAccessKeys", ListAccessKeysInput::default()).await.expect("listed");
    let own = listed.access_key_metadata.first().and_then(|key| key.access_key_id.clone());
    assert_eq!(own, Some(cloud.iam.root_credentials().0));
    let (code, status, _) =
        cloud.refused::<CreateAccessKeyOutput>("CreateAccessKey", CreateAccessKeyInput::default()).await;
    assert_eq!((code, status), ("UnmodifiableEntity", 400));

    let other = GetUserInput { user_name: Some("bob".into()) };
    let (code, _, text) = refusal(cloud.call_as::<GetUserOutput>(ana.clone(), "GetUser", other).await);
    assert_eq!(code, "AccessDenied");
    assert_eq!(
        text,
        "User: arn:aws:iam::000000000000:user/ana is not authorized to perform: iam:GetUser on resource: \
         arn:aws:iam::000000000000:user/bob because no identity-based policy allows the iam:GetUser action"
    );

    for (principal, id, arn) in [
        (root(), ACCOUNT.to_owned(), "arn:aws:iam::000000000000:root"),
        (ana.clone(), user_id(&ana), "arn:aws:iam::000000000000:user/ana"),
    ] {
        let who: GetCallerIdentityOutput =
            cloud.call_as(principal, "GetCallerIdentity", GetCallerIdentityInput {}).await.expect("known");
        assert_eq!((who.user_id, who.arn.as_deref()), (Some(id), Some(arn)));
        assert_eq!(who.account.as_deref(), Some(ACCOUNT));
    }
}

fn user_id(principal: &Principal) -> String {
    match principal {
        Principal::User { id, .. } => id.clone(),
        other => panic!("{other:?} is no user"),
    }
}

#[tokio::test]
async fn keys_remember_their_use() {
    let cloud = Cloud::new().await;
    let ana = cloud.user("ana").await;
    let made = key(&cloud, "ana").await;
    let ask = || GetAccessKeyLastUsedInput { access_key_id: made.access_key_id.clone() };
    let got: GetAccessKeyLastUsedOutput = cloud.call("GetAccessKeyLastUsed", ask()).await.expect("got");
    let never = AccessKeyLastUsed { last_used_date: None, service_name: "N/A".into(), region: "N/A".into() };
    assert_eq!((got.user_name.as_deref(), got.access_key_last_used), (Some("ana"), Some(never)));
    cloud.pass(60);
    let _ = cloud.iam.credential(&made.access_key_id, None).await;
    let _ = cloud.may(&ana, "dynamodb:GetItem", "*").await;
    let got: GetAccessKeyLastUsedOutput = cloud.call("GetAccessKeyLastUsed", ask()).await.expect("got");
    let used = got.access_key_last_used.expect("used");
    assert_eq!((used.last_used_date, used.service_name.as_str()), (Some(cloud.clock.now()), "dynamodb"));
    let unknown = GetAccessKeyLastUsedInput { access_key_id: "AKIAAAAAAAAAAAAAAAAA".into() };
    let (code, _, _) = cloud.refused::<GetAccessKeyLastUsedOutput>("GetAccessKeyLastUsed", unknown).await;
    assert_eq!(code, "NoSuchEntity");

    let info = |id: &str| GetAccessKeyInfoInput { access_key_id: id.into() };
    let shown: GetAccessKeyInfoOutput = cloud.call("GetAccessKeyInfo", info(&made.access_key_id)).await.expect("known");
    assert_eq!(shown.account.as_deref(), Some(ACCOUNT));
    let (code, _, _) = cloud.refused::<GetAccessKeyInfoOutput>("GetAccessKeyInfo", info("NOTAKEYATALL12345678")).await;
    assert_eq!(code, "ValidationError");
}
