//! The service's own condition keys of a request: leading keys, attributes, Select, ReturnValues.
//!
//! Policies bind callers to their own items by `ForAllValues` over `dynamodb:LeadingKeys`, which holds when the key is
//! absent: so the keys are given for every request that has a partition key, also inside a key condition. A request that
//! cannot be read here gets none and fails its validation later.

use crate::expr::ast::Path;
use crate::expr::keycond::{Part, RangeCondition, parts};
use crate::expr::placeholders::Placeholders;
use crate::expr::{ExprKind, parser, update};
use crate::item::Value;
use crate::key::KeySchema;
use crate::legacy;
use crate::wire::{self, Fields};
use squall_protocol::{Shape, Value as Wire};
use std::collections::BTreeSet;

/// The condition keys, each with its values.
type Context = Vec<(String, Vec<String>)>;

/// The condition keys of a request, or of one part of it, on a table with this key.
pub fn of(shape: &'static Shape, input: &Wire, schema: Option<&KeySchema>, reads: bool) -> Context {
    let mut fields = Fields::new(shape, input.clone());
    let mut out = Vec::new();
    let named = fields.has("ProjectionExpression") || fields.has("AttributesToGet");
    let select = fields.text("Select").or_else(|| {
        let text = match (named, fields.has("IndexName")) {
            (true, _) => "SPECIFIC_ATTRIBUTES",
            (false, true) => "ALL_PROJECTED_ATTRIBUTES",
            (false, false) => "ALL_ATTRIBUTES",
        };
        reads.then(|| text.to_owned())
    });
    for (key, value) in [
        ("dynamodb:Select", select),
        ("dynamodb:ReturnValues", fields.text("ReturnValues")),
        ("dynamodb:ReturnConsumedCapacity", fields.text("ReturnConsumedCapacity")),
    ] {
        out.extend(value.map(|v| (key.to_owned(), vec![v])));
    }
    let mut attributes = BTreeSet::new();
    let mut leading = Vec::new();
    items(&mut fields, schema, &mut attributes, &mut leading);
    named_in_maps(&fields, input, shape, &mut attributes);
    attributes.extend(fields.texts("AttributesToGet").unwrap_or_default());
    expressions(&mut fields, schema, &mut attributes, &mut leading);
    if !leading.is_empty() {
        out.push(("dynamodb:LeadingKeys".into(), leading));
    }
    if !attributes.is_empty() {
        out.push(("dynamodb:Attributes".into(), attributes.into_iter().collect()));
    }
    out
}

/// Attributes and partition keys of items and keys.
fn items(
    fields: &mut Fields,
    schema: Option<&KeySchema>,
    attributes: &mut BTreeSet<String>,
    leading: &mut Vec<String>,
) {
    let keys = fields.list("Keys").unwrap_or_default();
    let single = ["Key", "Item"].map(|name| fields.take(name));
    for wire in keys.into_iter().chain(single.into_iter().flatten()) {
        let Wire::Map(map) = wire else { continue };
        for (name, value) in map {
            if schema.is_some_and(|s| s.hash.name == name) {
                leading.extend(wire::policy_text(&value).map(Into::into));
            }
            attributes.insert(name);
        }
    }
}

/// Attributes that name the entries of legacy parameters.
fn named_in_maps(fields: &Fields, input: &Wire, shape: &'static Shape, attributes: &mut BTreeSet<String>) {
    for name in ["AttributeUpdates", "Expected", "KeyConditions", "QueryFilter", "ScanFilter"] {
        if let (true, Some(Wire::Map(map))) = (fields.has(name), input.named(shape, name)) {
            attributes.extend(map.iter().map(|(name, _)| name.clone()));
        }
    }
}

/// Attributes that expressions name, and the partition key of a key condition.
fn expressions(
    fields: &mut Fields,
    schema: Option<&KeySchema>,
    attributes: &mut BTreeSet<String>,
    leading: &mut Vec<String>,
) {
    let names = fields.text_map("ExpressionAttributeNames").unwrap_or_default();
    let values = fields.map("ExpressionAttributeValues").unwrap_or_default();
    let values = values.into_iter().filter_map(|(key, v)| Some((key, wire::value(v).ok()?))).collect();
    let mut scope = Placeholders::new(names, values);
    let mut see = |path: &Path| {
        attributes.insert(path.root.clone());
    };
    let key_condition = fields.text("KeyConditionExpression");
    let key_condition = key_condition.map(|text| parser::condition(ExprKind::KeyCondition, &text, &mut scope));
    if let Some(Ok(condition)) = key_condition {
        condition.visit(&mut see);
        leading.extend(parts(condition).ok().and_then(|parts| hash_text(&parts, schema)));
    }
    leading.extend(legacy::key_conditions(fields).ok().flatten().and_then(|parts| hash_text(&parts, schema)));
    for (name, kind) in [("ConditionExpression", ExprKind::Condition), ("FilterExpression", ExprKind::Filter)] {
        if let Some(Ok(condition)) = fields.text(name).map(|text| parser::condition(kind, &text, &mut scope)) {
            condition.visit(&mut see);
        }
    }
    if let Some(Ok(update)) = fields.text("UpdateExpression").map(|text| update::update(&text, &mut scope)) {
        update.visit(&mut see);
    }
    if let Some(Ok(paths)) = fields.text("ProjectionExpression").map(|text| parser::projection(&text, &mut scope)) {
        paths.iter().for_each(see);
    }
}

/// The partition key that a key condition asks for.
fn hash_text(parts: &[Part], schema: Option<&KeySchema>) -> Option<String> {
    use base64::Engine as _;
    let part = parts.iter().find(|p| schema.is_some_and(|s| s.hash.name == p.name))?;
    let RangeCondition::Compare(_, value) = &part.test else { return None };
    match &**value {
        Value::S(text) => Some(text.clone()),
        Value::N(number) => Some(number.to_string()),
        Value::B(bytes) => Some(base64::engine::general_purpose::STANDARD.encode(bytes)),
        _ => None,
    }
}
