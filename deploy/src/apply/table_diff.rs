//! What has to change about a table, and what cannot. Pure.

use serde_json::{Map, Value as Json, json};

use super::text;

/// Steps from a table as it is to a table as it should be, each an input of UpdateTable without the name.
///
/// # Errors
/// Words for a change that would replace the table: it is never done, as it would lose the items.
pub(super) fn changes(now: &Json, wanted: &Json) -> Result<Vec<Json>, String> {
    let key = |t: &Json| keys(t);
    if key(now) != key(wanted) {
        return Err(format!("its key schema changes from {} to {}", shown(&key(now)), shown(&key(wanted))));
    }
    for (name, kind) in types(wanted) {
        if let Some((_, old)) = types(now).into_iter().find(|(n, k)| *n == name && *k != kind) {
            return Err(format!("the type of attribute {name} changes from {old} to {kind}"));
        }
    }
    if indexes(now, "LocalSecondaryIndexes") != indexes(wanted, "LocalSecondaryIndexes") {
        return Err("its local secondary indexes change".into());
    }
    let mut steps = Vec::new();
    let mut general = Map::new();
    let mode = billing(now);
    let wanted_mode = text(wanted, "BillingMode");
    let wanted_mode = if wanted_mode.is_empty() { "PROVISIONED" } else { wanted_mode };
    let units = |t: &Json| {
        t.get("ProvisionedThroughput")
            .map(|p| (p.get("ReadCapacityUnits").cloned(), p.get("WriteCapacityUnits").cloned()))
    };
    if mode != wanted_mode {
        general.insert("BillingMode".into(), wanted_mode.into());
    }
    let has_new_units = wanted_mode == "PROVISIONED" && (mode != wanted_mode || units(now) != units(wanted));
    if let Some(throughput) = wanted.get("ProvisionedThroughput").filter(|_| has_new_units) {
        general.insert("ProvisionedThroughput".into(), throughput.clone());
    }
    let protected = |t: &Json| t.get("DeletionProtectionEnabled").and_then(Json::as_bool).unwrap_or(false);
    if protected(now) != protected(wanted) {
        general.insert("DeletionProtectionEnabled".into(), protected(wanted).into());
    }
    let class = |t: &Json| {
        let text = text(t.get("TableClassSummary").unwrap_or(t), "TableClass");
        if text.is_empty() { "STANDARD" } else { text }.to_owned()
    };
    if class(now) != class(wanted) {
        general.insert("TableClass".into(), class(wanted).into());
    }
    if wanted_mode == "PAY_PER_REQUEST" && bounds(now) != bounds(wanted) {
        let (read, write) = bounds(wanted);
        let most = json!({ "MaxReadRequestUnits": read, "MaxWriteRequestUnits": write });
        general.insert("OnDemandThroughput".into(), most);
    }
    if let Some(warm) = wanted.get("WarmThroughput").filter(|w| is_warmer(w, now.get("WarmThroughput"))) {
        general.insert("WarmThroughput".into(), warm.clone());
    }
    if !general.is_empty() {
        steps.push(Json::Object(general));
    }
    steps.extend(stream_steps(now, wanted));
    steps.extend(index_steps(now, wanted)?);
    Ok(steps)
}

/// The bounds of an on-demand table or index, -1 for none.
fn bounds(table: &Json) -> (i64, i64) {
    let most = table.get("OnDemandThroughput");
    let one = |key: &str| most.and_then(|m| m.get(key)).and_then(Json::as_i64).unwrap_or(-1);
    (one("MaxReadRequestUnits"), one("MaxWriteRequestUnits"))
}

/// Warm throughput only grows, so less than there is asks for nothing.
fn is_warmer(wanted: &Json, now: Option<&Json>) -> bool {
    let units = |of: Option<&Json>, key: &str| of.and_then(|w| w.get(key)).and_then(Json::as_i64).unwrap_or(0);
    ["ReadUnitsPerSecond", "WriteUnitsPerSecond"].iter().any(|key| units(Some(wanted), key) > units(now, key))
}

/// A stream with another view is a new stream.
fn stream_steps(now: &Json, wanted: &Json) -> Vec<Json> {
    let view = |t: &Json| t.get("StreamSpecification").map_or("", |s| text(s, "StreamViewType")).to_owned();
    let (old, new) = (view(now), view(wanted));
    let mut steps = Vec::new();
    if old != new && !old.is_empty() {
        steps.push(json!({ "StreamSpecification": { "StreamEnabled": false } }));
    }
    if old != new && !new.is_empty() {
        steps.push(json!({ "StreamSpecification": { "StreamEnabled": true, "StreamViewType": new } }));
    }
    steps
}

/// DynamoDB changes one global index per call.
fn index_steps(now: &Json, wanted: &Json) -> Result<Vec<Json>, String> {
    let (old, new) = (indexes(now, "GlobalSecondaryIndexes"), indexes(wanted, "GlobalSecondaryIndexes"));
    let mut steps = Vec::new();
    for (name, _) in old.iter().filter(|(n, _)| !new.iter().any(|(m, _)| m == n)) {
        steps.push(json!({ "GlobalSecondaryIndexUpdates": [{ "Delete": { "IndexName": name } }] }));
    }
    let full = wanted.get("GlobalSecondaryIndexes").and_then(Json::as_array);
    for (name, shape) in &new {
        match old.iter().find(|(n, _)| n == name) {
            Some((_, same)) if same == shape => steps.extend(throughput_step(now, wanted, name)),
            Some(_) => {
                return Err(format!(
                    "index {name} changes; remove it in one deploy and add it in the next, or rename it"
                ));
            }
            None => {
                let index = full.and_then(|f| f.iter().find(|i| text(i, "IndexName") == name)).cloned();
                steps.push(json!({
                    "AttributeDefinitions": wanted.get("AttributeDefinitions"),
                    "GlobalSecondaryIndexUpdates": [{ "Create": index }],
                }));
            }
        }
    }
    Ok(steps)
}

/// What changes about the throughput of an index that stays; a table that changes its mode brings its indexes along itself.
fn throughput_step(now: &Json, wanted: &Json, name: &str) -> Option<Json> {
    let index = |t: &Json| {
        let list = t.get("GlobalSecondaryIndexes").and_then(Json::as_array);
        list.and_then(|l| l.iter().find(|i| text(i, "IndexName") == name)).cloned().unwrap_or_default()
    };
    let (old, new) = (index(now), index(wanted));
    let mut update = Map::new();
    let units = |i: &Json| {
        let of = |key: &str| i.get("ProvisionedThroughput").and_then(|p| p.get(key)).and_then(Json::as_i64);
        (of("ReadCapacityUnits"), of("WriteCapacityUnits"))
    };
    if let Some(throughput) = new.get("ProvisionedThroughput").filter(|_| units(&old) != units(&new)) {
        update.insert("ProvisionedThroughput".into(), throughput.clone());
    }
    if text(wanted, "BillingMode") == "PAY_PER_REQUEST" && bounds(&old) != bounds(&new) {
        let (read, write) = bounds(&new);
        let most = json!({ "MaxReadRequestUnits": read, "MaxWriteRequestUnits": write });
        update.insert("OnDemandThroughput".into(), most);
    }
    if let Some(warm) = new.get("WarmThroughput").filter(|w| is_warmer(w, old.get("WarmThroughput"))) {
        update.insert("WarmThroughput".into(), warm.clone());
    }
    if update.is_empty() {
        return None;
    }
    update.insert("IndexName".into(), name.into());
    Some(json!({ "GlobalSecondaryIndexUpdates": [{ "Update": update }] }))
}

fn billing(now: &Json) -> &str {
    let summary = now.get("BillingModeSummary").map_or("", |s| text(s, "BillingMode"));
    if summary.is_empty() { "PROVISIONED" } else { summary }
}

fn keys(table: &Json) -> Vec<(String, String)> {
    let list = table.get("KeySchema").and_then(Json::as_array).into_iter().flatten();
    list.map(|k| (text(k, "KeyType").to_owned(), text(k, "AttributeName").to_owned())).collect()
}

fn shown(keys: &[(String, String)]) -> String {
    keys.iter().map(|(kind, name)| format!("{name} {kind}")).collect::<Vec<_>>().join(", ")
}

fn types(table: &Json) -> Vec<(String, String)> {
    let list = table.get("AttributeDefinitions").and_then(Json::as_array).into_iter().flatten();
    list.map(|a| (text(a, "AttributeName").to_owned(), text(a, "AttributeType").to_owned())).collect()
}

/// Name, keys and projection of each index, sorted.
fn indexes(table: &Json, kind: &str) -> Vec<(String, String)> {
    let list = table.get(kind).and_then(Json::as_array).into_iter().flatten();
    let mut out: Vec<(String, String)> = list
        .map(|i| {
            let projection = i.get("Projection").cloned().unwrap_or_default();
            let mut kept: Vec<&str> = projection
                .get("NonKeyAttributes")
                .and_then(Json::as_array)
                .into_iter()
                .flatten()
                .filter_map(Json::as_str)
                .collect();
            kept.sort_unstable();
            let shape = format!("{} {} {}", shown(&keys(i)), text(&projection, "ProjectionType"), kept.join(","));
            (text(i, "IndexName").to_owned(), shape)
        })
        .collect();
    out.sort();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(extra: &Json) -> Json {
        let mut base = json!({
            "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
            "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
        });
        let map = base.as_object_mut().expect("a mapping");
        map.extend(extra.as_object().cloned().expect("a mapping"));
        base
    }

    #[test]
    fn each_difference_is_a_step_or_a_refusal() {
        let on_demand = json!({ "BillingModeSummary": { "BillingMode": "PAY_PER_REQUEST" } });
        let gsi = |name: &str, kind: &str| {
            json!({ "IndexName": name, "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
                    "Projection": { "ProjectionType": kind } })
        };
        let cases = [
            (on_demand.clone(), json!({ "BillingMode": "PAY_PER_REQUEST" }), "[]"),
            (
                on_demand.clone(),
                json!({ "ProvisionedThroughput": { "ReadCapacityUnits": 1, "WriteCapacityUnits": 2 } }),
                r#"[{"BillingMode":"PROVISIONED","ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":2}}]"#,
            ),
            (
                on_demand.clone(),
                json!({ "BillingMode": "PAY_PER_REQUEST", "DeletionProtectionEnabled": true }),
                r#"[{"DeletionProtectionEnabled":true}]"#,
            ),
            (
                on_demand.clone(),
                json!({ "BillingMode": "PAY_PER_REQUEST",
                        "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }] }),
                "! its key schema changes from id HASH to pk HASH",
            ),
            (
                on_demand.clone(),
                json!({ "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "N" }] }),
                "! the type of attribute id changes from S to N",
            ),
            (
                json!({ "GlobalSecondaryIndexes": [gsi("a", "ALL"), gsi("b", "ALL")] }),
                json!({ "GlobalSecondaryIndexes": [gsi("b", "ALL")] }),
                r#"[{"GlobalSecondaryIndexUpdates":[{"Delete":{"IndexName":"a"}}]}]"#,
            ),
            (
                json!({ "StreamSpecification": { "StreamEnabled": true, "StreamViewType": "KEYS_ONLY" } }),
                json!({ "StreamSpecification": { "StreamEnabled": true, "StreamViewType": "NEW_IMAGE" } }),
                r#"[{"StreamSpecification":{"StreamEnabled":false}},{"StreamSpecification":{"StreamEnabled":true,"StreamViewType":"NEW_IMAGE"}}]"#,
            ),
            (
                json!({ "WarmThroughput": { "ReadUnitsPerSecond": 12000, "WriteUnitsPerSecond": 4000 } }),
                json!({ "TableClass": "STANDARD_INFREQUENT_ACCESS", "WarmThroughput": { "ReadUnitsPerSecond": 1 } }),
                r#"[{"TableClass":"STANDARD_INFREQUENT_ACCESS"}]"#,
            ),
            (
                json!({ "GlobalSecondaryIndexes": [gsi("a", "ALL")] }),
                json!({ "GlobalSecondaryIndexes": [gsi("a", "KEYS_ONLY")] }),
                "! index a changes; remove it in one deploy and add it in the next, or rename it",
            ),
        ];
        for (now, wanted, expected) in cases {
            let found = changes(&table(&now), &table(&wanted));
            let found = found.map_or_else(|e| format!("! {e}"), |s| Json::Array(s).to_string());
            assert_eq!(found, expected);
        }
    }
}
