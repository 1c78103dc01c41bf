//! SIGKILL under load: a table, its index and its stream say the same afterwards, and functions hear of every change.

use crate::load::{Customer, Writer, zip};
use serde_json::{Value, json};
use squall_testkit::Server;
use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

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

/// Puts the key of every record into the table `ran`.
const TELLER: &str = "
import boto3
table = boto3.resource('dynamodb').Table('ran')
def handler(event, context):
    ids = {record['dynamodb']['Keys']['id']['S'] for record in event['Records']}
    with table.batch_writer() as batch:
        for id in ids:
            batch.put_item(Item={'id': id})
";

/// The ids of all items of a table.
fn ids(customer: &Customer, table: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut input = json!({ "TableName": table, "ConsistentRead": true });
    loop {
        let page = call(customer, "DynamoDB_20120810.Scan", &input);
        let items = page["Items"].as_array().expect("items");
        found.extend(items.iter().map(|i| i["id"]["S"].as_str().expect("an id").to_owned()));
        match page.get("LastEvaluatedKey") {
            Some(key) => input["ExclusiveStartKey"] = key.clone(),
            None => return found,
        }
    }
}

/// Puts one item, or two in a transaction, which are there together or not at all.
fn write(customer: &Customer, writer: usize, n: usize) -> Option<(u16, String)> {
    // Not so many that telling them takes the test's whole time.
    thread::sleep(Duration::from_millis(5));
    if writer > 0 {
        let id = format!("{writer}-{n}");
        return Some((customer.put("changes", &id)?, id));
    }
    let put = |half: &str| {
        let id = format!("pair-{n}-{half}");
        json!({ "Put": { "TableName": "changes", "Item": { "id": { "S": id } } } })
    };
    let input = json!({ "TransactItems": [put("a"), put("b")] });
    let (status, _) = customer.json("DynamoDB_20120810.TransactWriteItems", &input)?;
    Some((status, format!("pair-{n}-a")))
}

fn assert_whole_pairs(found: &BTreeSet<String>, what: &str) {
    let half = |end: &str| -> BTreeSet<String> {
        let ids = found.iter().filter(|id| id.starts_with("pair-"));
        ids.filter_map(|id| id.strip_suffix(end)).map(str::to_owned).collect()
    };
    assert_eq!(half("-a"), half("-b"), "{what} has half a transaction");
}

#[test]
fn every_acknowledged_change_reaches_the_function() {
    let Some(mut server) = Server::start_durable() else { return };
    let customer = Customer::of(&server);
    customer.make_table("ran");
    let made = call(
        &customer,
        "DynamoDB_20120810.CreateTable",
        &json!({
            "TableName": "changes", "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
            "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
            "StreamSpecification": { "StreamEnabled": true, "StreamViewType": "KEYS_ONLY" },
        }),
    );
    let role = customer.make_role("r");
    assert_eq!(customer.make_function("teller", &role, "python3.11", &zip("index.py", TELLER)), Some(201));
    customer.wait_active("teller");
    let mapping = json!({
        "FunctionName": "teller", "EventSourceArn": made["TableDescription"]["LatestStreamArn"],
        "StartingPosition": "TRIM_HORIZON",
    });
    let (headers, path) = ([("content-type", "application/json")], "/2015-03-31/event-source-mappings");
    let answer = customer.call("lambda", ("POST", path), &headers, mapping.to_string().as_bytes()).expect("an answer");
    assert_eq!(answer.0, 202, "{}", String::from_utf8_lossy(&answer.1));
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let writers: Vec<_> = (0..3)
            .map(|w| {
                let c = Customer::of(&server);
                Writer::start(round * 1_000_000, move |n| write(&c, w, n))
            })
            .collect();
        // Once before a function has started, then in the middle of batches.
        thread::sleep(Duration::from_millis(250 + 700 * (round as u64 % 3)));
        server.kill9();
        writers.into_iter().for_each(|w| acknowledged.extend(w.end()));
        server.restart();
        assert_whole_pairs(&ids(&Customer::of(&server), "changes"), "the table");
    }
    let customer = Customer::of(&server);
    let written = ids(&customer, "changes");
    let lost: Vec<_> = acknowledged.iter().filter(|id| !written.contains(*id)).collect();
    assert!(lost.is_empty() && acknowledged.len() > 50, "{} acknowledged, lost: {lost:?}", acknowledged.len());
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let heard = ids(&customer, "ran");
        assert!(heard.is_subset(&written), "what was never written is not told");
        if heard == written {
            break;
        }
        assert!(Instant::now() < deadline, "not told: {:?}", written.difference(&heard).take(9).collect::<Vec<_>>());
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(server.stop(), Some(0));
}
