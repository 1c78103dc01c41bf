//! SIGKILL under load: a table, its index and its stream say the same afterwards.

use crate::load::{Customer, Writer};
use serde_json::{Value, json};
use squall_testkit::Server;
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

const ROUNDS: usize = 4;

fn call(customer: &Customer, target: &str, input: &Value) -> Value {
    let (status, answer) = customer.json(target, input).expect("an answer");
    assert_eq!(status, 200, "{target} {answer}");
    answer
}

/// `pk` to `n` of all items, read through the table or an index.
fn items(customer: &Customer, index: Option<&str>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut input = json!({ "TableName": "told" });
    if let Some(index) = index {
        input["IndexName"] = json!(index);
    }
    loop {
        let page = call(customer, "DynamoDB_20120810.Scan", &input);
        for item in page["Items"].as_array().expect("items") {
            let text = |v: &Value| v.as_str().expect("a text").to_owned();
            found.insert(text(&item["pk"]["S"]), text(&item["n"]["N"]));
        }
        match page.get("LastEvaluatedKey") {
            Some(key) => input["ExclusiveStartKey"] = key.clone(),
            None => return found,
        }
    }
}

/// What the stream's records make of an empty table; each record must fit what was there before it.
fn replayed(customer: &Customer, arn: &str) -> BTreeMap<String, String> {
    let streams = |op: &str, input: Value| call(customer, &format!("DynamoDBStreams_20120810.{op}"), &input);
    let described = streams("DescribeStream", json!({ "StreamArn": arn }));
    let mut found = BTreeMap::new();
    for shard in described["StreamDescription"]["Shards"].as_array().expect("shards") {
        let from = json!({ "StreamArn": arn, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON" });
        let mut next = streams("GetShardIterator", from)["ShardIterator"].clone();
        loop {
            let page = streams("GetRecords", json!({ "ShardIterator": next }));
            let records = page["Records"].as_array().expect("records");
            if records.is_empty() {
                break;
            }
            for record in records {
                let change = &record["dynamodb"];
                let pk = change["Keys"]["pk"]["S"].as_str().expect("a key").to_owned();
                let n = |image: &str| change[image]["n"]["N"].as_str().map(str::to_owned);
                assert_eq!(found.get(&pk).cloned(), n("OldImage"), "{record}");
                match n("NewImage") {
                    Some(new) => found.insert(pk, new),
                    None => found.remove(&pk),
                };
            }
            next = page["NextShardIterator"].clone();
        }
    }
    found
}

#[test]
fn table_index_and_stream_stay_in_step() {
    let Some(mut server) = Server::start_durable() else { return };
    let customer = Customer::of(&server);
    let attribute = |name: &str, kind: &str| json!({ "AttributeName": name, "AttributeType": kind });
    let made = call(
        &customer,
        "DynamoDB_20120810.CreateTable",
        &json!({
            "TableName": "told", "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [attribute("pk", "S"), attribute("n", "N")],
            "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
            "GlobalSecondaryIndexes": [{ "IndexName": "by-n", "Projection": { "ProjectionType": "ALL" },
                                         "KeySchema": [{ "AttributeName": "n", "KeyType": "HASH" }] }],
            "StreamSpecification": { "StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES" },
        }),
    );
    let arn = made["TableDescription"]["LatestStreamArn"].as_str().expect("an ARN").to_owned();
    let mut acknowledged: BTreeMap<String, String> = BTreeMap::new();
    for round in 0..ROUNDS {
        let writers: Vec<_> = (0..3)
            .map(|w| {
                let c = Customer::of(&server);
                Writer::start(round * 1_000_000, move |n| {
                    // Each writer has keys of its own, which it writes again and again.
                    let (pk, text) = (format!("{w}-{}", n % 7), n.to_string());
                    let item = json!({ "pk": { "S": pk }, "n": { "N": text } });
                    let answer = c.json("DynamoDB_20120810.PutItem", &json!({ "TableName": "told", "Item": item }))?;
                    Some((answer.0, format!("{pk} {text}")))
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(200 + 90 * (round as u64 % 3)));
        server.kill9();
        for writer in writers {
            for line in writer.end() {
                let (pk, n) = line.split_once(' ').expect("key and number");
                acknowledged.insert(pk.to_owned(), n.to_owned());
            }
        }
        server.restart();
        let customer = Customer::of(&server);
        let table = items(&customer, None);
        assert_eq!(items(&customer, Some("by-n")), table, "the index");
        assert_eq!(replayed(&customer, &arn), table, "the stream");
        for (pk, n) in &acknowledged {
            // What was under way when the server died may have been written too.
            let found = table.get(pk).unwrap_or_else(|| panic!("{pk} is lost"));
            assert!(found.parse::<u64>().ok() >= n.parse().ok(), "{pk}: {found}, acknowledged {n}");
        }
    }
    assert!(acknowledged.len() > 5, "there was a load");
    assert_eq!(server.stop(), Some(0));
}
