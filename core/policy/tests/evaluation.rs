//! The evaluation logic as tables: who, what, which policies, and the decision with AWS's text.

use std::sync::Arc;

use squall_policy::{
    Context, Decision, DocumentKind, Policy, PolicyKind, PolicySets, Principal, Request, ResourcePolicy, access_denied,
    access_denied_short, evaluate,
};

const TABLE: &str = "arn:aws:dynamodb:us-east-1:123456789012:table/orders";
const USER: &str = "arn:aws:iam::123456789012:user/team/ana";
const ROLE: &str = "arn:aws:iam::123456789012:role/app/worker";
const SESSION: &str = "arn:aws:sts::123456789012:assumed-role/worker/run";

fn policy(kind: DocumentKind, statements: &str) -> Policy {
    let document = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
    Policy::parse(&document, kind).unwrap_or_else(|error| panic!("{error}: {document}"))
}

fn inline(statements: &str) -> Arc<Policy> {
    Arc::new(policy(DocumentKind::Inline, statements))
}

fn statement(effect: &str, action: &str, resource: &str) -> String {
    format!(r#"{{"Effect":"{effect}","Action":"{action}","Resource":"{resource}"}}"#)
}

fn on_resource(effect: &str, principal: &str) -> Policy {
    policy(
        DocumentKind::Resource,
        &format!(r#"{{"Effect":"{effect}","Principal":{principal},"Action":"dynamodb:*","Resource":"*"}}"#),
    )
}

fn user() -> Principal {
    Principal::user(USER, "AIDAQWERTYUIOPASDFGHJ")
}

fn session() -> Principal {
    Principal::assumed_role(SESSION, ROLE, "AROAQWERTYUIOPASDFGHJ:run")
}

fn decide(principal: &Principal, sets: &PolicySets<'_>) -> Decision {
    let context = Context::new();
    evaluate(&Request { principal, action: "dynamodb:PutItem", resource: TABLE, context: &context }, sets)
}

fn deny(explicit: bool, kind: PolicyKind) -> Decision {
    Decision::Deny { explicit, kind }
}

#[test]
fn identity_policies_allow_deny_and_stay_silent() {
    use PolicyKind::IdentityBased;
    type Statements = &'static [(&'static str, &'static str, &'static str)];
    let cases: &[(Statements, Decision)] = &[
        (&[], deny(false, IdentityBased)),
        (&[("Allow", "*", "*")], Decision::Allow),
        (&[("Allow", "dynamodb:*", "*")], Decision::Allow),
        (&[("Allow", "DynamoDB:putitem", "*")], Decision::Allow),
        (&[("Allow", "dynamodb:Put*", TABLE)], Decision::Allow),
        (&[("Allow", "dynamodb:P?tItem", TABLE)], Decision::Allow),
        (&[("Allow", "*:PutItem", "*")], Decision::Allow),
        (&[("Allow", "dynamodb:GetItem", "*")], deny(false, IdentityBased)),
        (&[("Allow", "dynamodb:Put", "*")], deny(false, IdentityBased)),
        (&[("Allow", "s3:*", "*")], deny(false, IdentityBased)),
        (&[("Allow", "*", "arn:aws:dynamodb:*:*:table/ord*")], Decision::Allow),
        (&[("Allow", "*", "arn:aws:dynamodb:*:*:table/Orders")], deny(false, IdentityBased)),
        (&[("Allow", "*", "*"), ("Deny", "dynamodb:Put*", "*")], deny(true, IdentityBased)),
        (&[("Deny", "dynamodb:Put*", "*"), ("Allow", "*", "*")], deny(true, IdentityBased)),
        (&[("Allow", "*", "*"), ("Deny", "dynamodb:Get*", "*")], Decision::Allow),
        (&[("Deny", "*", "*")], deny(true, IdentityBased)),
    ];
    for (statements, want) in cases {
        let policies: Vec<_> = statements.iter().map(|(e, a, r)| inline(&statement(e, a, r))).collect();
        let sets = PolicySets { identity: &policies, ..PolicySets::default() };
        assert_eq!(decide(&user(), &sets), *want, "{statements:?}");
        let joined = statements.iter().map(|(e, a, r)| statement(e, a, r)).collect::<Vec<_>>().join(",");
        if !joined.is_empty() {
            let one = [inline(&joined)];
            assert_eq!(decide(&user(), &PolicySets { identity: &one, ..PolicySets::default() }), *want, "{joined}");
        }
    }
}

#[test]
fn not_action_and_not_resource_take_the_rest() {
    let not_action = |action: &str| format!(r#"{{"Effect":"Allow","NotAction":["{action}","s3:*"],"Resource":"*"}}"#);
    let not_resource = |r: &str| format!(r#"{{"Effect":"Allow","Action":"*","NotResource":["{r}"]}}"#);
    let cases = [
        (not_action("iam:*"), true),
        (not_action("dynamodb:Put*"), false),
        (not_resource("arn:aws:dynamodb:*:*:table/secret"), true),
        (not_resource("arn:aws:dynamodb:*:*:table/*"), false),
    ];
    for (text, want) in cases {
        let identity = [inline(&text)];
        let sets = PolicySets { identity: &identity, ..PolicySets::default() };
        assert_eq!(decide(&user(), &sets).is_allowed(), want, "{text}");
    }
}

#[test]
fn boundaries_and_session_policies_only_narrow() {
    let all = [inline(&statement("Allow", "*", "*"))];
    let reads = inline(&statement("Allow", "dynamodb:Get*", "*"));
    let writes = inline(&statement("Allow", "dynamodb:*", "*"));
    let denies = inline(&format!("{},{}", statement("Allow", "*", "*"), statement("Deny", "dynamodb:Put*", "*")));
    use PolicyKind::{IdentityBased, PermissionsBoundary, Session};
    type Limits<'a> = (&'a [Arc<Policy>], Option<&'a Policy>, Option<&'a [Arc<Policy>]>);
    let (only_reads, only_writes, only_denies) = ([reads.clone()], [writes.clone()], [denies.clone()]);
    let both = [reads.clone(), writes.clone()];
    let cases: &[(Limits<'_>, Decision)] = &[
        ((&all, Some(&writes), None), Decision::Allow),
        ((&all, Some(&reads), None), deny(false, PermissionsBoundary)),
        ((&all, Some(&denies), None), deny(true, PermissionsBoundary)),
        ((&[], Some(&writes), None), deny(false, IdentityBased)),
        ((&all, None, Some(&only_writes)), Decision::Allow),
        ((&all, None, Some(&both)), Decision::Allow),
        ((&all, None, Some(&only_reads)), deny(false, Session)),
        ((&all, None, Some(&[])), deny(false, Session)),
        ((&all, None, Some(&only_denies)), deny(true, Session)),
        ((&all, Some(&reads), Some(&only_reads)), deny(false, PermissionsBoundary)),
        ((&[], None, Some(&only_writes)), deny(false, IdentityBased)),
    ];
    for (index, ((identity, boundary, session_policies), want)) in cases.iter().enumerate() {
        let sets = PolicySets { identity, boundary: *boundary, session: *session_policies, ..PolicySets::default() };
        assert_eq!(decide(&session(), &sets), *want, "case {index}");
    }
}

#[test]
fn resource_policies_of_the_same_account_add_up() {
    use PolicyKind::{IdentityBased, PermissionsBoundary, ResourceBased, Session};
    let reads = policy(DocumentKind::Inline, &statement("Allow", "dynamodb:Get*", "*"));
    let session_reads = [inline(&statement("Allow", "dynamodb:Get*", "*"))];
    let all = [inline(&statement("Allow", "*", "*"))];
    let none: &[Arc<Policy>] = &[];
    let (user, role) = (user(), session());
    let aws = |arn: &str| format!(r#"{{"AWS":"{arn}"}}"#);
    let cases = [
        (&user, none, false, "\"*\"".to_owned(), Decision::Allow),
        (&user, none, false, aws("*"), Decision::Allow),
        (&user, none, false, aws(USER), Decision::Allow),
        (&user, none, false, aws("arn:aws:iam::123456789012:user/bob"), deny(false, IdentityBased)),
        // The account's root delegates to identity policies and grants nothing by itself.
        (&user, none, false, aws("arn:aws:iam::123456789012:root"), deny(false, IdentityBased)),
        (&user, none, false, aws("123456789012"), deny(false, IdentityBased)),
        (&user, &all[..], false, aws("123456789012"), Decision::Allow),
        // A user's or a session's own ARN passes the limits, a role's ARN does not.
        (&user, none, true, aws(USER), Decision::Allow),
        (&role, none, false, aws(ROLE), Decision::Allow),
        (&role, none, true, aws(ROLE), deny(false, PermissionsBoundary)),
        (&role, none, true, aws(SESSION), Decision::Allow),
        (&role, none, true, "\"*\"".to_owned(), deny(false, PermissionsBoundary)),
    ];
    for (index, (principal, identity, bounded, named, want)) in cases.into_iter().enumerate() {
        let resource = on_resource("Allow", &named);
        let boundary = bounded.then_some(&reads);
        let sets =
            PolicySets { identity, boundary, resource: ResourcePolicy::Additive(&resource), ..PolicySets::default() };
        assert_eq!(decide(principal, &sets), want, "case {index}: {named}");
    }
    let allow_role = on_resource("Allow", &aws(ROLE));
    let sets = PolicySets {
        session: Some(&session_reads),
        resource: ResourcePolicy::Additive(&allow_role),
        ..PolicySets::default()
    };
    assert_eq!(decide(&role, &sets), deny(false, Session));
    for named in [aws(USER), aws("123456789012"), "\"*\"".into()] {
        let resource = on_resource("Deny", &named);
        let sets =
            PolicySets { identity: &all, resource: ResourcePolicy::Additive(&resource), ..PolicySets::default() };
        assert_eq!(decide(&user, &sets), deny(true, ResourceBased), "{named}");
    }
}

#[test]
fn not_principal_denies_everybody_else() {
    let all = [inline(&statement("Allow", "*", "*"))];
    let document = |arn: &str| {
        policy(
            DocumentKind::Resource,
            &format!(r#"{{"Effect":"Deny","NotPrincipal":{{"AWS":["{arn}"]}},"Action":"*","Resource":"*"}}"#),
        )
    };
    for (arn, allowed) in [(USER, true), ("arn:aws:iam::123456789012:user/bob", false)] {
        let resource = document(arn);
        let sets =
            PolicySets { identity: &all, resource: ResourcePolicy::Additive(&resource), ..PolicySets::default() };
        assert_eq!(decide(&user(), &sets).is_allowed(), allowed, "{arn}");
    }
}

#[test]
fn across_accounts_both_sides_must_allow() {
    let stranger = Principal::user("arn:aws:iam::999999999999:user/eve", "AIDAEVE");
    let all = [inline(&statement("Allow", "*", "*"))];
    let named = on_resource("Allow", r#"{"AWS":"arn:aws:iam::999999999999:root"}"#);
    let with = |identity, resource| PolicySets { identity, resource, ..PolicySets::default() };
    let granted = ResourcePolicy::Additive(&named);
    assert_eq!(decide(&stranger, &with(&all, granted)), Decision::Allow);
    assert_eq!(decide(&stranger, &with(&[], granted)), deny(false, PolicyKind::IdentityBased));
    assert_eq!(decide(&stranger, &with(&all, ResourcePolicy::None)), deny(false, PolicyKind::ResourceBased));
}

#[test]
fn services_and_anonymous_callers_need_the_resource_policy() {
    let lambda = Principal::service("lambda.amazonaws.com");
    let nobody = Principal::anonymous();
    let all = [inline(&statement("Allow", "*", "*"))];
    let service = on_resource("Allow", r#"{"Service":["lambda.amazonaws.com"]}"#);
    let public = on_resource("Allow", r#"{"AWS":"*"}"#);
    let denied = on_resource("Deny", "\"*\"");
    let cases = [
        (&lambda, None, deny(false, PolicyKind::ResourceBased)),
        (&lambda, Some(&service), Decision::Allow),
        (&nobody, Some(&service), deny(false, PolicyKind::ResourceBased)),
        (&nobody, Some(&public), Decision::Allow),
        (&lambda, Some(&denied), deny(true, PolicyKind::ResourceBased)),
    ];
    for (principal, resource, want) in cases {
        let resource = resource.map_or(ResourcePolicy::None, ResourcePolicy::Additive);
        let sets = PolicySets { identity: &all, resource, ..PolicySets::default() };
        assert_eq!(decide(principal, &sets), want, "{principal:?}");
    }
    assert!(public.is_public() && !service.is_public());
}

#[test]
fn root_passes_unless_the_resource_refuses() {
    let root = Principal::root("123456789012");
    let nothing = policy(DocumentKind::Inline, &statement("Allow", "iam:Get*", "*"));
    let sets = PolicySets { boundary: Some(&nothing), session: Some(&[]), ..PolicySets::default() };
    assert_eq!(decide(&root, &sets), Decision::Allow);
    let denied = on_resource("Deny", "\"*\"");
    let sets = PolicySets { resource: ResourcePolicy::Additive(&denied), ..PolicySets::default() };
    assert_eq!(decide(&root, &sets), deny(true, PolicyKind::ResourceBased));
}

#[test]
fn trust_policies_are_required() {
    let trust = |principal: &str| {
        policy(
            DocumentKind::Trust,
            &format!(r#"{{"Effect":"Allow","Principal":{principal},"Action":"sts:AssumeRole"}}"#),
        )
    };
    let all = [inline(&statement("Allow", "sts:*", "*"))];
    let context = Context::new();
    let check = |principal: &Principal, trust: &Policy, identity: &[Arc<Policy>]| {
        let request = Request { principal, action: "sts:AssumeRole", resource: ROLE, context: &context };
        evaluate(&request, &PolicySets { identity, resource: ResourcePolicy::Trust(trust), ..PolicySets::default() })
    };
    let lambda = trust(r#"{"Service":"lambda.amazonaws.com"}"#);
    let account = trust(r#"{"AWS":"arn:aws:iam::123456789012:root"}"#);
    let ana = trust(&format!(r#"{{"AWS":"{USER}"}}"#));
    let not_trusted = deny(false, PolicyKind::RoleTrust);
    assert_eq!(check(&Principal::service("lambda.amazonaws.com"), &lambda, &[]), Decision::Allow);
    assert_eq!(check(&Principal::service("ec2.amazonaws.com"), &lambda, &[]), not_trusted);
    assert_eq!(check(&user(), &lambda, &all), not_trusted);
    assert_eq!(check(&user(), &account, &[]), deny(false, PolicyKind::IdentityBased));
    assert_eq!(check(&user(), &account, &all), Decision::Allow);
    assert_eq!(check(&user(), &ana, &[]), Decision::Allow);
    assert_eq!(check(&Principal::root("123456789012"), &account, &[]), Decision::Allow);
    assert_eq!(check(&Principal::root("123456789012"), &lambda, &[]), not_trusted);
    assert_eq!(lambda.service_principals().collect::<Vec<_>>(), ["lambda.amazonaws.com"]);
    assert_eq!(ana.aws_principals().collect::<Vec<_>>(), [USER]);
}

#[test]
fn refusals_read_as_aws_writes_them() {
    let (principal, context) = (session(), Context::new());
    let request = Request { principal: &principal, action: "dynamodb:PutItem", resource: TABLE, context: &context };
    let head = format!("User: {SESSION} is not authorized to perform: dynamodb:PutItem on resource: {TABLE}");
    use PolicyKind::{IdentityBased, PermissionsBoundary, ResourceBased, RoleTrust, Session};
    let cases = [
        (deny(false, IdentityBased), "because no identity-based policy allows the dynamodb:PutItem action"),
        (deny(true, IdentityBased), "with an explicit deny in an identity-based policy"),
        (deny(false, ResourceBased), "because no resource-based policy allows the dynamodb:PutItem action"),
        (deny(true, ResourceBased), "with an explicit deny in a resource-based policy"),
        (deny(false, PermissionsBoundary), "because no permissions boundary allows the dynamodb:PutItem action"),
        (deny(true, PermissionsBoundary), "with an explicit deny in a permissions boundary"),
        (deny(false, Session), "because no session policy allows the dynamodb:PutItem action"),
        (deny(true, Session), "with an explicit deny in a session policy"),
        (deny(false, RoleTrust), "because no role trust policy allows the dynamodb:PutItem action"),
        (deny(true, RoleTrust), "with an explicit deny in the role trust policy"),
    ];
    for (decision, tail) in cases {
        assert_eq!(access_denied(&request, decision), Some(format!("{head} {tail}")));
    }
    assert_eq!(access_denied(&request, Decision::Allow), None);
    assert_eq!(access_denied_short(&request), head);
}
