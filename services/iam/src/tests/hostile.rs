//! Bad input: each gets the service's code, and the rooms go on.

use super::*;
use crate::api::iam::*;
use crate::api::sts::{AssumeRoleInput, AssumeRoleOutput};

fn role(name: &str, trust: &str) -> CreateRoleInput {
    let (role_name, assume_role_policy_document) = (name.to_owned(), trust.to_owned());
    CreateRoleInput { role_name, assume_role_policy_document, ..Default::default() }
}

#[tokio::test]
async fn names_and_paths_that_are_none_are_refused() {
    let cloud = Cloud::new().await;
    let long = "x".repeat(65);
    for name in ["", "a b", "a/b", "a:b", "a*", "grüße", "a\0b", long.as_str()] {
        let made = cloud.refused::<CreateRoleOutput>("CreateRole", role(name, TRUST_LAMBDA)).await;
        assert_eq!((made.0, made.1), ("ValidationError", 400), "{name:?}");
        let input = CreateUserInput { user_name: name.to_owned(), ..Default::default() };
        let made = cloud.refused::<CreateUserOutput>("CreateUser", input).await;
        assert_eq!((made.0, made.1), ("ValidationError", 400), "{name:?}");
    }
    for path in ["", "x", "/x", "x/", "//x", "/a b/"] {
        let input = CreateRoleInput { path: Some(path.to_owned()), ..role("r", TRUST_LAMBDA) };
        let made = cloud.refused::<CreateRoleOutput>("CreateRole", input).await;
        assert_eq!((made.0, made.1), ("ValidationError", 400), "{path:?}");
    }
    cloud.role("r", TRUST_LAMBDA).await;
}

#[tokio::test]
async fn documents_that_are_none_are_refused() {
    let cloud = Cloud::new().await;
    let deep = format!(r#"{{"Version":"2012-10-17","Statement":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    let cases = [
        "{",
        "[]",
        "null",
        "\"x\"",
        "{}",
        r#"{"Version":"2012-10-17"}"#,
        r#"{"Version":"2026-01-01","Statement":[]}"#,
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Maybe","Action":"*","Resource":"*"}]}"#,
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":7,"Resource":"*"}]}"#,
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"NoSuch":{"a":"b"}}}]}"#,
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]} x"#,
        deep.as_str(),
    ];
    cloud.role("r", TRUST_LAMBDA).await;
    for document in cases {
        let input =
            PutRolePolicyInput { role_name: "r".into(), policy_name: "p".into(), policy_document: document.to_owned() };
        let shown = &document[..document.len().min(60)];
        let put = cloud.refused::<PutRolePolicyOutput>("PutRolePolicy", input).await;
        assert_eq!((put.0, put.1), ("MalformedPolicyDocument", 400), "{shown}");
        let made = cloud.refused::<CreateRoleOutput>("CreateRole", role("other", document)).await;
        assert_eq!((made.0, made.1), ("MalformedPolicyDocument", 400), "{shown}");
    }
}

#[tokio::test]
async fn markers_and_page_sizes_are_checked() {
    let cloud = Cloud::new().await;
    cloud.role("r", TRUST_LAMBDA).await;
    for max_items in [0, -1, 1001] {
        let input = ListRolesInput { max_items: Some(max_items), ..Default::default() };
        assert_eq!(cloud.refused::<ListRolesOutput>("ListRoles", input).await.0, "ValidationError", "{max_items}");
    }
    for marker in ["zzz", "%00", "AAAA", "é"] {
        let input = ListRolesInput { marker: Some(marker.into()), ..Default::default() };
        match cloud.call::<ListRolesOutput>("ListRoles", input).await {
            Ok(out) => assert_eq!(out.is_truncated, Some(false), "{marker}"),
            Err(e) => assert_eq!((e.code, e.status), ("ValidationError", 400), "{marker}"),
        }
    }
}

#[tokio::test]
async fn roles_are_assumed_by_sound_requests_only() {
    let cloud = Cloud::new().await;
    let arn = cloud.role("r", TRUST_ACCOUNT).await;
    let base = || AssumeRoleInput { role_arn: arn.clone(), role_session_name: "s1".into(), ..Default::default() };
    let cases = [
        AssumeRoleInput { role_session_name: "a:b".into(), ..base() },
        AssumeRoleInput { role_session_name: "x".into(), ..base() },
        AssumeRoleInput { role_session_name: "x".repeat(65), ..base() },
        AssumeRoleInput { duration_seconds: Some(899), ..base() },
        AssumeRoleInput { duration_seconds: Some(i32::MAX), ..base() },
        AssumeRoleInput { role_arn: "nothing-valid-in-here".into(), ..base() },
        AssumeRoleInput { role_arn: "arn:aws:iam::".into(), ..base() },
    ];
    for (at, input) in cases.into_iter().enumerate() {
        let refused = cloud.refused::<AssumeRoleOutput>("AssumeRole", input).await;
        assert_eq!((refused.0, refused.1), ("ValidationError", 400), "case {at}: {}", refused.2);
    }
    let policy = Some("{".to_owned());
    let refused = cloud.refused::<AssumeRoleOutput>("AssumeRole", AssumeRoleInput { policy, ..base() }).await;
    assert_eq!(refused.0, "MalformedPolicyDocument");
    cloud.call::<AssumeRoleOutput>("AssumeRole", base()).await.expect("a sound one goes");
}
