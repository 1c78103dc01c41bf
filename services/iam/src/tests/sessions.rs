//! Sessions of roles.

use super::*;
use crate::api::iam::*;
use crate::api::sts::{AssumeRoleInput, AssumeRoleOutput, Credentials, PolicyDescriptorType};
use crate::api::sts::{GetCallerIdentityInput, GetCallerIdentityOutput};
use squall_service::{Credential, CredentialError};

const KEY: &str = "arn:aws:s3:::bucket/key";

fn assume(arn: &str) -> AssumeRoleInput {
    AssumeRoleInput { role_arn: arn.into(), role_session_name: "shift".into(), ..Default::default() }
}

async fn credentials(cloud: &Cloud, who: Principal, input: AssumeRoleInput) -> Credentials {
    let made: AssumeRoleOutput = cloud.call_as(who, "AssumeRole", input).await.expect("assumed");
    made.credentials.expect("credentials")
}

async fn open(cloud: &Cloud, made: &Credentials) -> Result<Credential, CredentialError> {
    cloud.iam.credential(&made.access_key_id, Some(&made.session_token)).await
}

async fn put(cloud: &Cloud, role: &str, document: String) {
    let input = PutRolePolicyInput { role_name: role.into(), policy_name: "p".into(), policy_document: document };
    let _: PutRolePolicyOutput = cloud.call("PutRolePolicy", input).await.expect("put");
}

#[tokio::test]
async fn a_session_acts_as_its_role_until_it_ends() {
    let cloud = Cloud::new().await;
    let arn = cloud.role("worker", TRUST_ACCOUNT).await;
    put(&cloud, "worker", allow("s3:GetObject", "*")).await;
    let made: AssumeRoleOutput = cloud.call("AssumeRole", assume(&arn)).await.expect("assumed");
    let user = made.assumed_role_user.expect("a user");
    assert_eq!(user.arn, "arn:aws:sts::000000000000:assumed-role/worker/shift");
    assert!(user.assumed_role_id.starts_with("AROA") && user.assumed_role_id.ends_with(":shift"));
    let made = made.credentials.expect("credentials");
    assert!(made.access_key_id.starts_with("ASIA") && made.access_key_id.len() == 20);
    assert_eq!((made.secret_access_key.len(), made.expiration), (40, START.plus(Duration::from_secs(3600))));
    let found = open(&cloud, &made).await.expect("known");
    assert_eq!(found.secret, made.secret_access_key);
    let who: GetCallerIdentityOutput =
        cloud.call_as(found.principal.clone(), "GetCallerIdentity", GetCallerIdentityInput {}).await.expect("known");
    assert_eq!((who.arn, who.user_id), (Some(user.arn), Some(user.assumed_role_id)));
    assert!(cloud.may(&found.principal, "s3:GetObject", KEY).await.is_ok());
    let text = cloud.may(&found.principal, "s3:PutObject", KEY).await.expect_err("denied").message;
    assert!(text.starts_with("User: arn:aws:sts::000000000000:assumed-role/worker/shift is not"), "{text}");
    let got: GetRoleOutput = cloud.call("GetRole", GetRoleInput { role_name: "worker".into() }).await.expect("got");
    let used = got.role.role_last_used.expect("shown");
    assert_eq!((used.last_used_date, used.region.as_deref()), (Some(START), Some("us-east-1")));

    cloud.pass(3599);
    assert!(open(&cloud, &made).await.is_ok());
    cloud.pass(1);
    assert_eq!(open(&cloud, &made).await.map(|c| c.secret), Err(CredentialError::Expired));
    assert_eq!(open(&cloud, &made).await.map(|c| c.secret), Err(CredentialError::Expired));
}

#[tokio::test]
async fn tokens_cannot_be_made_up_or_swapped() {
    let cloud = Cloud::new().await;
    let arn = cloud.role("worker", TRUST_ACCOUNT).await;
    let (one, two) = (credentials(&cloud, root(), assume(&arn)).await, credentials(&cloud, root(), assume(&arn)).await);
    let unknown = Err(CredentialError::Unknown);
    let ask = async |key: &str, token: Option<&str>| cloud.iam.credential(key, token).await.map(|c| c.secret);
    assert_eq!(ask(&one.access_key_id, Some(&two.session_token)).await, unknown);
    assert!(ask(&one.access_key_id, Some(&one.session_token)).await.is_ok());
    // Known by now: still nothing else passes for its token.
    assert_eq!(ask(&one.access_key_id, Some(&two.session_token)).await, unknown);
    assert_eq!(ask(&one.access_key_id, None).await, unknown);
    assert_eq!(ask("ASIAAAAAAAAAAAAAAAAA", Some("")).await, unknown);
    for at in [0, 10, 60, 100] {
        let mut bytes = one.session_token.clone().into_bytes();
        let byte = bytes.get_mut(at).expect("long enough");
        *byte = if *byte == b'A' { b'B' } else { b'A' };
        let token = String::from_utf8(bytes).expect("ascii");
        assert_eq!(ask(&one.access_key_id, Some(&token)).await, unknown, "{at}");
    }
    let long = "A".repeat(1 << 20);
    assert_eq!(ask(&one.access_key_id, Some(&long)).await, unknown);
    let elsewhere = Cloud::new().await;
    elsewhere.role("worker", TRUST_ACCOUNT).await;
    assert_eq!(open(&elsewhere, &one).await.map(|c| c.secret), unknown);
}

#[tokio::test]
async fn a_session_ends_with_its_role() {
    let cloud = Cloud::new().await;
    let arn = cloud.role("worker", TRUST_ACCOUNT).await;
    let made = credentials(&cloud, root(), assume(&arn)).await;
    let found = open(&cloud, &made).await.expect("known");
    let gone = DeleteRoleInput { role_name: "worker".into() };
    let _: DeleteRoleOutput = cloud.call("DeleteRole", gone).await.expect("deleted");
    assert_eq!(open(&cloud, &made).await.map(|c| c.secret), Err(CredentialError::Unknown));
    cloud.role("worker", TRUST_ACCOUNT).await;
    put(&cloud, "worker", allow("s3:*", "*")).await;
    assert_eq!(open(&cloud, &made).await.map(|c| c.secret), Err(CredentialError::Unknown));
    assert!(cloud.may(&found.principal, "s3:GetObject", KEY).await.is_err());
}

#[tokio::test]
async fn session_policies_only_narrow() {
    let cloud = Cloud::new().await;
    let arn = cloud.role("worker", TRUST_ACCOUNT).await;
    put(&cloud, "worker", allow("s3:*", "*")).await;
    let narrow = AssumeRoleInput { policy: Some(document(&allowed("s3:Get*", "*"))), ..assume(&arn) };
    let made: AssumeRoleOutput = cloud.call("AssumeRole", narrow).await.expect("assumed");
    assert!(made.packed_policy_size.is_some_and(|percent| (1..100).contains(&percent)));
    let found = open(&cloud, &made.credentials.expect("credentials")).await.expect("known");
    assert!(cloud.may(&found.principal, "s3:GetObject", KEY).await.is_ok());
    let text = cloud.may(&found.principal, "s3:PutObject", KEY).await.expect_err("denied").message;
    assert!(text.ends_with("because no session policy allows the s3:PutObject action"), "{text}");

    let input = CreatePolicyInput {
        policy_name: "writer".into(),
        policy_document: allow("s3:Put*", "*"),
        ..Default::default()
    };
    let made: CreatePolicyOutput = cloud.call("CreatePolicy", input).await.expect("made");
    let writer = made.policy.and_then(|policy| policy.arn).expect("an arn");
    let both = AssumeRoleInput {
        policy: Some(document(&allowed("s3:Get*", "*"))),
        policy_arns: Some(vec![PolicyDescriptorType { arn: Some(writer.clone()) }]),
        ..assume(&arn)
    };
    let both = credentials(&cloud, root(), both).await;
    let found = open(&cloud, &both).await.expect("known");
    for (action, want) in [("s3:GetObject", true), ("s3:PutObject", true), ("s3:DeleteObject", false)] {
        assert_eq!(cloud.may(&found.principal, action, KEY).await.is_ok(), want, "{action}");
    }
    // The session follows the managed policy, and loses what it granted when it is gone.
    let gone = DeletePolicyInput { policy_arn: writer };
    let _: DeletePolicyOutput = cloud.call("DeletePolicy", gone).await.expect("deleted");
    let found = open(&cloud, &both).await.expect("known");
    assert!(cloud.may(&found.principal, "s3:PutObject", KEY).await.is_err());
    assert!(cloud.may(&found.principal, "s3:GetObject", KEY).await.is_ok());

    let bad = AssumeRoleInput { policy: Some("{}".into()), ..assume(&arn) };
    assert_eq!(refusal(cloud.call::<AssumeRoleOutput>("AssumeRole", bad).await).0, "MalformedPolicyDocument");
    let long = document(&vec![allowed("s3:GetObject", KEY); 40].join(","));
    let long = AssumeRoleInput { policy: Some(long), ..assume(&arn) };
    let (code, status, text) = refusal(cloud.call::<AssumeRoleOutput>("AssumeRole", long).await);
    assert_eq!((code, status), ("PackedPolicyTooLarge", 400));
    assert!(text.starts_with("Packed policy consumes 1") && text.ends_with("please use smaller policy."), "{text}");
}

#[tokio::test]
async fn trust_and_identity_policies_decide_together() {
    let cloud = Cloud::new().await;
    let (ana, bob) = (cloud.user("ana").await, cloud.user("bob").await);
    let open = cloud.role("open", TRUST_ACCOUNT).await;
    let named = TRUST_ACCOUNT.replace(ACCOUNT, "arn:aws:iam::000000000000:user/ana");
    let named = cloud.role("named", &named).await;
    let lambda = cloud.role("lambda", TRUST_LAMBDA).await;
    let short = |arn: &str| {
        format!(
            "User: arn:aws:iam::000000000000:user/bob is not authorized to perform: sts:AssumeRole on resource: {arn}"
        )
    };
    let missing = "arn:aws:iam::000000000000:role/missing".to_owned();
    for arn in [&open, &named, &lambda, &missing] {
        let got = refusal(cloud.call_as::<AssumeRoleOutput>(bob.clone(), "AssumeRole", assume(arn)).await);
        expect_refusal(got, ("AccessDenied", 403, &short(arn)));
    }
    // The trust policy that names the user is enough; the one that names the account is not.
    assert!(cloud.call_as::<AssumeRoleOutput>(ana.clone(), "AssumeRole", assume(&named)).await.is_ok());
    assert!(cloud.call_as::<AssumeRoleOutput>(ana.clone(), "AssumeRole", assume(&open)).await.is_err());
    for user in ["ana", "bob"] {
        cloud.grant(user, "assume", &allowed("sts:AssumeRole", "*")).await;
    }
    assert!(cloud.call_as::<AssumeRoleOutput>(bob.clone(), "AssumeRole", assume(&open)).await.is_ok());
    assert!(cloud.call_as::<AssumeRoleOutput>(bob.clone(), "AssumeRole", assume(&named)).await.is_err());
    cloud.grant("ana", "stop", r#"{"Effect":"Deny","Action":"sts:AssumeRole","Resource":"*"}"#).await;
    let (_, _, text) = refusal(cloud.call_as::<AssumeRoleOutput>(ana, "AssumeRole", assume(&named)).await);
    assert!(text.ends_with("with an explicit deny in an identity-based policy"), "{text}");
    assert!(cloud.call::<AssumeRoleOutput>("AssumeRole", assume(&lambda)).await.is_err(), "not even the root");

    let external = TRUST_ACCOUNT.replace(
        r#""Action":"sts:AssumeRole""#,
        r#""Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"s3cret"}}"#,
    );
    let external = cloud.role("external", &external).await;
    for (id, want) in [(None, false), (Some("wrong"), false), (Some("s3cret"), true)] {
        let input = AssumeRoleInput { external_id: id.map(str::to_owned), ..assume(&external) };
        let got = cloud.call_as::<AssumeRoleOutput>(bob.clone(), "AssumeRole", input).await;
        assert_eq!(got.is_ok(), want, "{id:?}");
    }
}

#[tokio::test]
async fn wrong_requests_are_refused() {
    let cloud = Cloud::new().await;
    let arn = cloud.role("worker", TRUST_ACCOUNT).await;
    let refuse = async |input: AssumeRoleInput| cloud.refused::<AssumeRoleOutput>("AssumeRole", input).await;
    for bad in ["nothing-valid-in-here", "arn::b:::something/test-role", "arn:a::::something/test-role"] {
        let want = format!("{bad} is invalid");
        expect_refusal(refuse(assume(bad)).await, ("ValidationError", 400, &want));
    }
    for bad in ["arn:a:::something/test-role", "arn:a:a::aaaaaaaaaa:"] {
        let want = format!("{bad} is invalid");
        expect_refusal(refuse(assume(bad)).await, ("ValidationError", 400, &want));
    }
    let want = "1 validation error detected: Value 'Session1:2' at 'roleSessionName' failed to satisfy constraint: Member \
                must satisfy regular expression pattern: [\\w+=,.@-]*";
    let input = AssumeRoleInput { role_session_name: "Session1:2".into(), ..assume(&arn) };
    expect_refusal(refuse(input).await, ("ValidationError", 400, want));
    let want = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
    let input = AssumeRoleInput { duration_seconds: Some(3601), ..assume(&arn) };
    expect_refusal(refuse(input).await, ("ValidationError", 400, want));
    let input = AssumeRoleInput { source_identity: Some("ana".into()), ..assume(&arn) };
    let want = "SourceIdentity is not supported by this version of Squall";
    expect_refusal(refuse(input).await, ("InvalidParameterValue", 400, want));

    let input = UpdateRoleInput { role_name: "worker".into(), max_session_duration: Some(43200), description: None };
    let _: UpdateRoleOutput = cloud.call("UpdateRole", input).await.expect("updated");
    put(&cloud, "worker", allow("sts:AssumeRole", "*")).await;
    let long = || AssumeRoleInput { duration_seconds: Some(43200), ..assume(&arn) };
    let made = credentials(&cloud, root(), long()).await;
    let chained = open(&cloud, &made).await.expect("known").principal;
    let want = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining";
    let got = refusal(cloud.call_as::<AssumeRoleOutput>(chained.clone(), "AssumeRole", long()).await);
    expect_refusal(got, ("ValidationError", 400, want));
    assert!(cloud.call_as::<AssumeRoleOutput>(chained, "AssumeRole", assume(&arn)).await.is_ok());
}

#[tokio::test]
async fn services_get_sessions_of_roles() {
    let cloud = Cloud::new().await;
    let arn = cloud.role("fn", TRUST_LAMBDA).await;
    put(&cloud, "fn", allow("s3:*", "*")).await;
    let made = cloud.iam.session(&arn, "function", Duration::from_secs(43_200)).await.expect("a session");
    assert_eq!(made.expires, START.plus(Duration::from_secs(43_200)));
    let found = cloud.iam.credential(&made.access_key_id, Some(&made.session_token)).await.expect("known");
    assert_eq!(found.secret, made.secret_access_key);
    assert!(cloud.may(&found.principal, "s3:GetObject", KEY).await.is_ok());
    assert!(cloud.iam.session("arn:aws:iam::000000000000:role/none", "x", Duration::from_secs(900)).await.is_none());
}

#[tokio::test]
async fn trust_follows_the_identity_and_not_its_name() {
    let cloud = Cloud::new().await;
    let ana = cloud.user("ana").await;
    let worker = cloud.role("worker", &TRUST_ACCOUNT.replace(ACCOUNT, &ana.arn())).await;
    let input = UpdateUserInput { user_name: "ana".into(), new_user_name: Some("anna".into()), ..Default::default() };
    let _: UpdateUserOutput = cloud.call("UpdateUser", input).await.expect("renamed");
    let Principal::User { id, .. } = ana else { panic!("a user") };
    let anna =
        Principal::User { arn: "arn:aws:iam::000000000000:user/anna".into(), name: "anna".into(), id: id.clone() };
    assert!(cloud.call_as::<AssumeRoleOutput>(anna, "AssumeRole", assume(&worker)).await.is_ok());
    let _: DeleteUserOutput =
        cloud.call("DeleteUser", DeleteUserInput { user_name: "anna".into() }).await.expect("deleted");
    let again = cloud.user("anna").await;
    let cloud = cloud.reopened().await;
    assert!(cloud.call_as::<AssumeRoleOutput>(again, "AssumeRole", assume(&worker)).await.is_err());
    let got: GetRoleOutput = cloud.call("GetRole", GetRoleInput { role_name: "worker".into() }).await.expect("got");
    assert!(got.role.assume_role_policy_document.is_some_and(|text| text.contains(&format!("%22{id}%22"))));
}
