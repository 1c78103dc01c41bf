//! Random conditions, updates, filters and projections against the naive reading of them.

use super::naive::{self, Map, Step};
use super::random::{self, Writer};
use super::*;
use crate::testing::{Random, rounds};

fn with_key(mut item: Map) -> Json {
    item.insert("pk".into(), json!({"S": "k"}));
    Json::Object(item)
}

async fn put(cloud: &Cloud, r: &mut Random) -> Map {
    let item = random::attributes(r, 3);
    cloud.ok("PutItem", json!({"TableName": "ttt", "Item": with_key(item.clone())})).await;
    item
}

#[tokio::test]
async fn conditions_mean_what_a_naive_reading_of_them_says() {
    let (cloud, mut r) = (with_tables().await, Random::new(11));
    let mut held = 0;
    for _ in 0..rounds(600) {
        let item = put(&cloud, &mut r).await;
        for _ in 0..4 {
            let condition = random::condition(&mut r);
            let mut writer = Writer::default();
            let text = writer.condition(&condition);
            let mut request = json!({"TableName": "ttt", "Key": {"pk": {"S": "k"}}, "ConditionExpression": text});
            writer.finish(&mut request);
            let shown = request.to_string();
            let got = cloud.call("UpdateItem", request).await;
            let failed = Err("ConditionalCheckFailedException: The conditional request failed".to_owned());
            let expected = if naive::holds(&condition, &item) { Ok(json!({})) } else { failed };
            held += usize::from(expected.is_ok());
            assert_eq!(got, expected, "{shown} on {}", Json::Object(item.clone()));
        }
    }
    assert!(held > rounds(400) && held < rounds(2_000), "{held} held");
}

#[tokio::test]
async fn updates_do_what_a_naive_reading_of_them_says() {
    let (cloud, mut r) = (with_tables().await, Random::new(12));
    let mut done = 0;
    for _ in 0..rounds(1_500) {
        let item = put(&cloud, &mut r).await;
        let actions = random::update(&mut r);
        let mut writer = Writer::default();
        let text = writer.update(&actions);
        let mut request = json!({"TableName": "ttt", "Key": {"pk": {"S": "k"}}, "UpdateExpression": text,
            "ReturnValues": "ALL_NEW"});
        writer.finish(&mut request);
        let shown = format!("{request} on {}", Json::Object(item.clone()));
        match (naive::updated(&actions, &item), cloud.call("UpdateItem", request).await) {
            (Some(expected), Ok(answer)) => {
                let expected = with_key(expected);
                let got = answer["Attributes"].as_object().expect("attributes");
                assert!(
                    naive::same_items(got, expected.as_object().expect("a map")),
                    "{shown}: {answer}, not {expected}"
                );
                let read = cloud.ok("GetItem", json!({"TableName": "ttt", "Key": {"pk": {"S": "k"}}})).await;
                assert_eq!(read["Item"].as_object(), Some(got), "{shown}");
                done += 1;
            }
            (None, Err(refusal)) => {
                assert!(refusal.starts_with("ValidationException"), "{shown}: {refusal}");
                let read = cloud.ok("GetItem", json!({"TableName": "ttt", "Key": {"pk": {"S": "k"}}})).await;
                let same = naive::same_items(
                    read["Item"].as_object().expect("an item"),
                    with_key(item).as_object().expect("a map"),
                );
                assert!(same, "{shown} left {read}");
            }
            (expected, got) => panic!("{shown}: {got:?}, not {expected:?}"),
        }
    }
    assert!(done > rounds(300), "{done} were done");
}

/// A projection of one path as the service answers it.
fn projected(item: &Map, path: &[Step]) -> Option<Json> {
    let mut value = naive::find(item, path)?.clone();
    for step in path[1..].iter().rev() {
        value = match step {
            Step::Name(name) => json!({"M": {name: value}}),
            Step::Index(_) => json!({"L": [value]}),
        };
    }
    Some(value)
}

#[tokio::test]
async fn projections_pick_what_paths_lead_to() {
    let (cloud, mut r) = (with_tables().await, Random::new(13));
    for _ in 0..rounds(500) {
        let item = put(&cloud, &mut r).await;
        let mut paths: Vec<naive::Path> = Vec::new();
        for _ in 0..3 {
            let path = random::path(&mut r);
            if paths.iter().all(|known| known[0] != path[0]) {
                paths.push(path);
            }
        }
        let mut writer = Writer::default();
        let text: Vec<String> = paths.iter().map(|p| writer.path(p)).collect();
        let mut request =
            json!({"TableName": "ttt", "Key": {"pk": {"S": "k"}}, "ProjectionExpression": text.join(" , ")});
        writer.finish(&mut request);
        let shown = format!("{request} on {}", Json::Object(item.clone()));
        let answer = cloud.ok("GetItem", request).await;
        let mut expected = Map::new();
        for path in &paths {
            let Step::Name(root) = &path[0] else { panic!("a name") };
            if let Some(value) = projected(&item, path) {
                expected.insert(root.clone(), value);
            }
        }
        let got = answer["Item"].as_object().expect("an item");
        assert!(naive::same_items(got, &expected), "{shown}: {answer}");
    }
}

#[tokio::test]
async fn filters_keep_what_a_naive_reading_keeps_whatever_the_pages() {
    let (cloud, mut r) = (with_tables().await, Random::new(14));
    let mut items: Vec<Map> = Vec::new();
    for sk in 0..40 {
        let item = random::attributes(&mut r, 2);
        let mut keyed = item.clone();
        keyed.insert("pk".into(), json!({"S": "k"}));
        keyed.insert("sk".into(), json!({"N": sk.to_string()}));
        cloud.ok("PutItem", json!({"TableName": "uuu", "Item": keyed})).await;
        items.push(keyed);
    }
    for _ in 0..rounds(80) {
        let condition = random::condition(&mut r);
        let mut writer = Writer::default();
        let text = writer.condition(&condition);
        let (limit, forward) = (1 + r.below(50), r.below(2) == 0);
        let mut request = json!({"TableName": "uuu", "FilterExpression": text, "Limit": limit});
        writer.finish(&mut request);
        let op = if r.below(2) == 0 { "Scan" } else { "Query" };
        if op == "Query" {
            request["KeyConditionExpression"] = json!("pk = :pk");
            request["ExpressionAttributeValues"][":pk"] = json!({"S": "k"});
            request["ScanIndexForward"] = json!(forward);
        }
        let mut expected: Vec<Json> =
            items.iter().filter(|i| naive::holds(&condition, i)).map(|i| Json::Object(i.clone())).collect();
        if op == "Query" && !forward {
            expected.reverse();
        }
        let (mut found, mut scanned) = (Vec::new(), 0);
        loop {
            let page = cloud.ok(op, request.clone()).await;
            let on_page = page["Items"].as_array().cloned().unwrap_or_default();
            assert_eq!(page["Count"], json!(on_page.len()));
            assert!(page["ScannedCount"].as_u64() <= Some(limit));
            scanned += page["ScannedCount"].as_u64().unwrap_or_default();
            found.extend(on_page);
            if page["LastEvaluatedKey"].is_null() {
                break;
            }
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"].clone();
        }
        let same =
            |(a, b): (&Json, &Json)| naive::same_items(a.as_object().expect("a map"), b.as_object().expect("a map"));
        assert_eq!(scanned, 40, "{request}");
        assert_eq!(found.len(), expected.len(), "{request}");
        assert!(found.iter().zip(&expected).all(same), "{request}: {found:?}, not {expected:?}");
    }
}
