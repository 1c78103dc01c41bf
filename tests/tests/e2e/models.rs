//! The generated tables of every room, walked.

use squall_protocol::constraint::is_pattern_checked;
use squall_protocol::schema::{Kind, Service, Shape};
use std::collections::BTreeSet;

/// Every API that is served.
pub fn services() -> [&'static Service; 8] {
    [
        &squall_apigateway::api::apigateway::SERVICE,
        &squall_apigateway::api::apigatewayv2::SERVICE,
        &squall_dynamodb::api::SERVICE,
        &squall_dynamodb::api_streams::SERVICE,
        &squall_iam::api::iam::SERVICE,
        &squall_iam::api::sts::SERVICE,
        &squall_lambda::api::SERVICE,
        &squall_logs::api::SERVICE,
    ]
}

/// Patterns of inputs that are not checked, with the reason.
const UNCHECKED: [(&str, &str); 1] = [(
    r"(^(?!(system\x2e)))(^[_a-zA-Z0-9])([^$]*)",
    "a collection of DocumentDB, a source of events that is refused whatever its name",
)];

fn patterns(shape: &'static Shape, seen: &mut BTreeSet<usize>, found: &mut BTreeSet<&'static str>) {
    if !seen.insert(std::ptr::from_ref(shape).addr()) {
        return;
    }
    match &shape.kind {
        Kind::String { pattern: Some(pattern), .. } => {
            found.insert(*pattern);
        }
        Kind::List { member, .. } => patterns(member, seen, found),
        Kind::Map { key, value, .. } => {
            patterns(key, seen, found);
            patterns(value, seen, found);
        }
        Kind::Structure { members, .. } => members.iter().for_each(|m| patterns(m.shape, seen, found)),
        _ => {}
    }
}

#[test]
fn every_pattern_of_an_input_is_checked_or_listed() {
    let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
    for operation in services().iter().flat_map(|s| s.operations) {
        operation.input.iter().for_each(|shape| patterns(shape, &mut seen, &mut found));
    }
    assert!(found.len() > 20, "the walk finds patterns: {}", found.len());
    let unchecked: Vec<_> = found.iter().filter(|p| !is_pattern_checked(p)).collect();
    let unlisted: Vec<_> = unchecked.iter().filter(|p| UNCHECKED.iter().all(|(listed, _)| *listed != ***p)).collect();
    assert!(unlisted.is_empty(), "patterns that are not checked: {unlisted:#?}");
    let idle: Vec<_> = UNCHECKED.iter().filter(|(listed, _)| !unchecked.iter().any(|p| **p == *listed)).collect();
    assert!(idle.is_empty(), "listed, but checked or gone: {idle:#?}");
}

#[test]
fn tables_are_sorted_and_name_what_they_serve() {
    for service in services() {
        assert!(service.operations.windows(2).all(|w| w[0].name < w[1].name), "{}", service.name);
        assert!(service.unserved.windows(2).all(|w| w[0].0 < w[1].0), "{}", service.name);
        let both: Vec<_> = service.operations.iter().filter(|o| service.is_unserved(o.name)).map(|o| o.name).collect();
        assert!(both.is_empty(), "{}: served and unserved: {both:?}", service.name);
    }
}
