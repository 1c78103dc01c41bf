//! How long one decision takes: `cargo run --release -p squall-policy --example timing`.

use std::hint::black_box;
use std::time::Instant;

use squall_policy::{Context, DocumentKind, Policy, PolicySets, Principal, Request, evaluate, managed};
use std::sync::Arc;

fn main() {
    const ROUNDS: u32 = 200_000;
    let table = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
        "Action":["dynamodb:GetItem","dynamodb:Query","dynamodb:PutItem"],
        "Resource":"arn:aws:dynamodb:us-east-1:123456789012:table/orders"}]}"#;
    let own_rows = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"dynamodb:*",
        "Resource":"arn:aws:dynamodb:*:*:table/${aws:PrincipalTag/team}-*",
        "Condition":{"ForAllValues:StringLike":{"dynamodb:LeadingKeys":["${aws:userid}*"]},
        "IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}]}"#;
    let parse = |text| Arc::new(Policy::parse(text, DocumentKind::Managed).expect("valid"));
    let logs = managed::find("AWSLambdaBasicExecutionRole").expect("known").policy();
    let read_only = managed::find("ReadOnlyAccess").expect("known").policy();
    let session = "arn:aws:sts::123456789012:assumed-role/worker/run";
    let mut principal = Principal::assumed_role(session, "arn:aws:iam::123456789012:role/worker", "AROAEXAMPLE:run");
    principal.tags.push(("team".into(), "orders".into()));
    for (name, identity, resource) in [
        ("role with logs and one table", vec![Arc::clone(&logs), parse(table)], "table/orders"),
        ("ReadOnlyAccess, refused", vec![read_only], "table/orders"),
        ("variables and conditions", vec![logs, parse(own_rows)], "table/orders-eu"),
    ] {
        let resource = format!("arn:aws:dynamodb:us-east-1:123456789012:{resource}");
        let mut context = Context::new()
            .with("aws:SourceIp", "10.1.2.3")
            .with("aws:SecureTransport", "true")
            .with("dynamodb:LeadingKeys", "AROAEXAMPLE:run#1");
        context.set_now_ms(1_767_225_600_000);
        let request =
            Request { principal: &principal, action: "dynamodb:PutItem", resource: &resource, context: &context };
        let sets = PolicySets { identity: &identity, ..PolicySets::default() };
        let start = Instant::now();
        for _ in 0..ROUNDS {
            black_box(evaluate(black_box(&request), black_box(&sets)));
        }
        println!("{name}: {} ns, {:?}", start.elapsed().as_nanos() / u128::from(ROUNDS), evaluate(&request, &sets));
    }
}
