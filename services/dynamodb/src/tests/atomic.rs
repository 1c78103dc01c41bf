//! Transactions happen whole or not at all, and indexes hold what the table holds.

use super::naive::Map;
use super::programs::{indexed, item, key, transaction};
use super::*;
use crate::testing::{Random, rounds};
use std::collections::BTreeMap;

/// Everything in the table or index, by the key of the item.
async fn everything(cloud: &Cloud, index: Option<&str>) -> BTreeMap<String, Map> {
    let (mut all, mut start) = (BTreeMap::new(), Json::Null);
    loop {
        let mut request = json!({"TableName": "ttt", "Limit": 5});
        if let Some(index) = index {
            request["IndexName"] = json!(index);
        }
        if !start.is_null() {
            request["ExclusiveStartKey"] = start;
        }
        let page = cloud.ok("Scan", request).await;
        for item in page["Items"].as_array().expect("items") {
            let item = item.as_object().expect("an item").clone();
            let known = all.insert(format!("{} {}", item["pk"]["S"], item["sk"]["N"]), item);
            assert!(known.is_none(), "{index:?} has {known:?} twice");
        }
        start = page["LastEvaluatedKey"].clone();
        if start.is_null() {
            return all;
        }
    }
}

/// What an index must hold of the table's items.
fn indexed_part(base: &BTreeMap<String, Map>, keys: [&str; 2], kept: Option<&[&str]>) -> BTreeMap<String, Map> {
    let fits = |item: &&Map| keys.iter().all(|key| item.contains_key(*key));
    let part = |item: &Map| -> Map {
        let wanted = |name: &str| kept.is_none_or(|kept| kept.contains(&name));
        item.iter().filter(|(name, _)| wanted(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
    };
    base.iter().filter(|(_, item)| fits(item)).map(|(key, item)| (key.clone(), part(item))).collect()
}

async fn agree(cloud: &Cloud) -> BTreeMap<String, Map> {
    let base = everything(cloud, None).await;
    assert_eq!(everything(cloud, Some("bya")).await, indexed_part(&base, ["aa", "pk"], None));
    let kept = ["pk", "sk", "bb", "cc"];
    assert_eq!(everything(cloud, Some("byb")).await, indexed_part(&base, ["bb", "sk"], Some(&kept)));
    assert_eq!(everything(cloud, Some("bye")).await, indexed_part(&base, ["ee", "pk"], Some(&["pk", "sk", "ee"])));
    base
}

/// Does the parts of a transaction one by one, as far as they go.
async fn apart(cloud: &Cloud, request: &Json) -> Result<(), usize> {
    for (place, part) in request["TransactItems"].as_array().expect("items").iter().enumerate() {
        let (verb, body) = part.as_object().and_then(|o| o.iter().next()).expect("one verb");
        let op = match verb.as_str() {
            "Put" => "PutItem",
            "Delete" => "DeleteItem",
            "Update" => "UpdateItem",
            _ => {
                // A check alone: an update without changes would make an item.
                let mut read = body.clone();
                read["Key"] = body["Key"].clone();
                let put = json!({"TransactItems": [{"ConditionCheck": read}]});
                if cloud.call("TransactWriteItems", put).await.is_err() {
                    return Err(place);
                }
                continue;
            }
        };
        if cloud.call(op, body.clone()).await.is_err() {
            return Err(place);
        }
    }
    Ok(())
}

#[tokio::test]
async fn transactions_do_all_their_parts_or_none() {
    let (one, other) = (Cloud::new().await, Cloud::new().await);
    let mut r = Random::new(21);
    let (mut whole, mut cancelled) = (0, 0);
    for cloud in [&one, &other] {
        cloud.ok("CreateTable", indexed("ttt")).await;
    }
    for _ in 0..rounds(300) {
        let put = json!({"TableName": "ttt", "Item": item(&mut r)});
        assert_eq!(one.call("PutItem", put.clone()).await, other.call("PutItem", put).await);
        let request = transaction(&mut r);
        let before = agree(&one).await;
        match one.call("TransactWriteItems", request.clone()).await {
            Ok(_) => {
                // The parts are about different items, so they go through one after the other too.
                assert_eq!(apart(&other, &request).await, Ok(()), "{request}");
                assert_eq!(agree(&one).await, everything(&other, None).await, "{request}");
                whole += 1;
            }
            Err(refusal) => {
                assert_eq!(agree(&one).await, before, "{request}: {refusal}");
                if refusal.starts_with("TransactionCanceledException") {
                    cancelled += 1;
                    told(&refusal, &request);
                }
            }
        }
    }
    assert!(whole > rounds(30) && cancelled > rounds(30), "{whole} whole, {cancelled} cancelled");
}

/// A cancellation has a reason per part, and one of them at least is one.
fn told(refusal: &str, request: &Json) {
    let parts = request["TransactItems"].as_array().expect("items").len();
    let reasons = refusal.split_once(" {").expect("reasons").1;
    let reasons: Json = serde_json::from_str(&format!("{{{reasons}")).expect("JSON");
    let reasons = reasons["CancellationReasons"].as_array().expect("a list").clone();
    assert_eq!(reasons.len(), parts, "{refusal}");
    assert!(reasons.iter().any(|reason| reason["Code"] != "None"), "{refusal}");
}

#[tokio::test]
async fn a_transaction_reads_and_deletes_the_keys_it_names() {
    let cloud = Cloud::new().await;
    cloud.ok("CreateTable", indexed("ttt")).await;
    let mut r = Random::new(22);
    for _ in 0..rounds(100) {
        let key = key(&mut r);
        let name = json!({"TableName": "ttt", "Key": key});
        cloud.ok("TransactWriteItems", json!({"TransactItems": [{"Delete": name}]})).await;
        let read = cloud.ok("TransactGetItems", json!({"TransactItems": [{"Get": name}]})).await;
        assert_eq!(read, json!({"Responses": [{}]}));
        let _ = cloud.call("PutItem", json!({"TableName": "ttt", "Item": item(&mut r)})).await;
    }
    agree(&cloud).await;
}
