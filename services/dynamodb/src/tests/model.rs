//! Random writes, queries and scans against a naive model of tables with indexes.

use super::*;
use crate::testing::Random;
use std::collections::BTreeMap;

type Model = BTreeMap<(String, i64), Json>;

fn random_item(r: &mut Random) -> ((String, i64), Json) {
    let (pk, sk) = (format!("p{}", r.below(3)), r.below(12) as i64 - 4);
    let mut item = json!({"pk": {"S": pk}, "sk": {"N": sk.to_string()}});
    if r.below(3) > 0 {
        item["g"] = json!({"S": format!("g{}", r.below(3))});
    }
    if r.below(3) > 0 {
        item["n"] = json!({"N": (r.below(9) as i64 - 4).to_string()});
    }
    ((pk, sk), item)
}

fn number(item: &Json, name: &str) -> Option<i64> {
    item[name]["N"].as_str()?.parse().ok()
}

/// All items that pages of this request hold, in order.
async fn read_all(cloud: &Cloud, op: &str, input: &Json) -> Vec<Json> {
    let (mut all, mut start) = (Vec::new(), Json::Null);
    loop {
        let mut input = input.clone();
        if !start.is_null() {
            input["ExclusiveStartKey"] = start;
        }
        let page = cloud.ok(op, input).await;
        all.extend(page["Items"].as_array().cloned().unwrap_or_default());
        start = page["LastEvaluatedKey"].clone();
        if start.is_null() {
            return all;
        }
    }
}

async fn indexed(cloud: Cloud) -> Cloud {
    let mut input = table("ttt", Some("N"));
    let definitions = input["AttributeDefinitions"].as_array_mut().expect("a list");
    definitions.push(json!({"AttributeName": "g", "AttributeType": "S"}));
    definitions.push(json!({"AttributeName": "n", "AttributeType": "N"}));
    input["GlobalSecondaryIndexes"] = json!([{"IndexName": "byg", "Projection": {"ProjectionType": "ALL"}, "KeySchema":
        [{"AttributeName": "g", "KeyType": "HASH"}, {"AttributeName": "n", "KeyType": "RANGE"}]}]);
    cloud.ok("CreateTable", input).await;
    cloud
}

async fn write(cloud: &Cloud, model: &mut Model, r: &mut Random) {
    let (key, item) = random_item(r);
    let wire_key = json!({"pk": item["pk"], "sk": item["sk"]});
    match r.below(5) {
        0 => {
            cloud.ok("DeleteItem", json!({"TableName": "ttt", "Key": wire_key})).await;
            model.remove(&key);
        }
        1 => {
            let input = json!({"TableName": "ttt", "Key": wire_key, "UpdateExpression": "ADD n :one REMOVE g",
                "ExpressionAttributeValues": {":one": {"N": "1"}}});
            cloud.ok("UpdateItem", input).await;
            let entry = model.entry(key).or_insert(wire_key);
            let n = number(entry, "n").unwrap_or(0) + 1;
            entry["n"] = json!({"N": n.to_string()});
            entry.as_object_mut().expect("an object").remove("g");
        }
        2 => {
            let input = json!({"TableName": "ttt", "Item": item, "ConditionExpression": "n < :two OR g = :g",
                "ExpressionAttributeValues": {":two": {"N": "2"}, ":g": {"S": "g1"}}});
            let held =
                model.get(&key).is_some_and(|old| number(old, "n").is_some_and(|n| n < 2) || old["g"]["S"] == "g1");
            assert_eq!(cloud.call("PutItem", input).await.is_ok(), held);
            if held {
                model.insert(key, item);
            }
        }
        _ => {
            cloud.ok("PutItem", json!({"TableName": "ttt", "Item": item})).await;
            model.insert(key, item);
        }
    }
}

#[tokio::test]
async fn tables_and_indexes_agree_with_a_naive_model() {
    agrees(Cloud::new().await, 1_500).await;
}

#[tokio::test]
async fn they_agree_over_sqlite_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |clock| squall_engine_sqlite::Sqlite::open(folder.path(), clock).expect("an empty folder");
    let cloud = Cloud::over(|clock| Arc::new(open(clock))).await;
    agrees(cloud, 400).await;
}

async fn agrees(cloud: Cloud, rounds: usize) {
    let cloud = indexed(cloud).await;
    let (mut model, mut r) = (Model::new(), Random::new(77));
    for round in 0..rounds {
        write(&cloud, &mut model, &mut r).await;
        if round % 5 > 0 {
            continue;
        }
        let limit = 1 + r.below(5);
        let forward = r.below(2) == 0;
        let pk = format!("p{}", r.below(3));
        let bound = r.below(12) as i64 - 4;
        let input = json!({"TableName": "ttt", "Limit": limit, "ScanIndexForward": forward,
            "KeyConditionExpression": "pk = :p AND sk >= :s",
            "ExpressionAttributeValues": {":p": {"S": pk}, ":s": {"N": bound.to_string()}}});
        let mut expected: Vec<Json> =
            model.iter().filter(|((p, s), _)| *p == pk && *s >= bound).map(|(_, item)| item.clone()).collect();
        if !forward {
            expected.reverse();
        }
        assert_eq!(read_all(&cloud, "Query", &input).await, expected);

        let g = format!("g{}", r.below(3));
        let input = json!({"TableName": "ttt", "IndexName": "byg", "Limit": limit, "ScanIndexForward": forward,
            "KeyConditionExpression": "g = :g", "ExpressionAttributeValues": {":g": {"S": g}}});
        let found = read_all(&cloud, "Query", &input).await;
        let order: Vec<i64> = found.iter().filter_map(|item| number(item, "n")).collect();
        assert!(if forward { order.is_sorted() } else { order.iter().rev().is_sorted() });
        let expected = model.values().filter(|item| item["g"]["S"] == g.as_str() && number(item, "n").is_some());
        assert_eq!(sorted(found), sorted(expected.cloned().collect()));

        let input = json!({"TableName": "ttt", "Limit": 1 + r.below(7), "FilterExpression": "attribute_exists(g)"});
        let expected = model.values().filter(|item| !item["g"].is_null());
        assert_eq!(sorted(read_all(&cloud, "Scan", &input).await), sorted(expected.cloned().collect()));
    }
    assert!(model.len() > 10);
}

fn sorted(items: Vec<Json>) -> Vec<String> {
    let mut texts: Vec<String> = items
        .into_iter()
        .map(|item| {
            let ordered: BTreeMap<String, Json> = item.as_object().cloned().unwrap_or_default().into_iter().collect();
            serde_json::to_string(&ordered).expect("JSON")
        })
        .collect();
    texts.sort();
    texts
}
