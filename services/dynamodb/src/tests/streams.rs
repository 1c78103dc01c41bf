//! Streams: what records say, where iterators stand, how long all of it lasts.

use super::{Cloud, table};
use serde_json::{Value as Json, json};
use squall_service::{StreamError, StreamSource, StreamStart};

async fn with_stream(view: &str) -> (Cloud, String) {
    let cloud = Cloud::new().await;
    let mut input = table("ttt", Some("N"));
    input["StreamSpecification"] = json!({"StreamEnabled": true, "StreamViewType": view});
    let made = cloud.ok("CreateTable", input).await;
    let arn = made["TableDescription"]["LatestStreamArn"].as_str().expect("an ARN").to_owned();
    (cloud, arn)
}

async fn shard(cloud: &Cloud, arn: &str) -> String {
    let described = cloud.ok("DescribeStream", json!({"StreamArn": arn})).await;
    described["StreamDescription"]["Shards"][0]["ShardId"].as_str().expect("a shard").to_owned()
}

async fn iterator(cloud: &Cloud, arn: &str, more: Json) -> String {
    let mut input = json!({"StreamArn": arn, "ShardId": shard(cloud, arn).await});
    input.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
    cloud.ok("GetShardIterator", input).await["ShardIterator"].as_str().expect("an iterator").to_owned()
}

async fn records(cloud: &Cloud, arn: &str) -> Vec<Json> {
    let from = iterator(cloud, arn, json!({"ShardIteratorType": "TRIM_HORIZON"})).await;
    let got = cloud.ok("GetRecords", json!({"ShardIterator": from})).await;
    got["Records"].as_array().cloned().expect("records")
}

fn item(pk: &str, sk: u32, a: &str) -> Json {
    json!({"pk": {"S": pk}, "sk": {"N": sk.to_string()}, "a": {"S": a}})
}

async fn write_some(cloud: &Cloud) {
    let key = json!({"pk": {"S": "p"}, "sk": {"N": "1"}});
    cloud.ok("PutItem", json!({"TableName": "ttt", "Item": item("p", 1, "x")})).await;
    // Changes nothing, so there is no record of it.
    cloud.ok("PutItem", json!({"TableName": "ttt", "Item": item("p", 1, "x")})).await;
    cloud
        .ok(
            "UpdateItem",
            json!({"TableName": "ttt", "Key": key, "UpdateExpression": "SET a = :y",
                   "ExpressionAttributeValues": {":y": {"S": "y"}}}),
        )
        .await;
    cloud.ok("DeleteItem", json!({"TableName": "ttt", "Key": key})).await;
    cloud.ok("DeleteItem", json!({"TableName": "ttt", "Key": key})).await;
}

#[tokio::test]
async fn views_show_what_they_should() {
    for (view, old, new) in [
        ("KEYS_ONLY", false, false),
        ("NEW_IMAGE", false, true),
        ("OLD_IMAGE", true, false),
        ("NEW_AND_OLD_IMAGES", true, true),
    ] {
        let (cloud, arn) = with_stream(view).await;
        write_some(&cloud).await;
        let got = records(&cloud, &arn).await;
        let image = |shown: bool, value: Option<&str>| match value.filter(|_| shown) {
            Some(a) => item("p", 1, a),
            None => Json::Null,
        };
        let expected = [("INSERT", None, Some("x")), ("MODIFY", Some("x"), Some("y")), ("REMOVE", Some("y"), None)];
        assert_eq!(got.len(), expected.len(), "{view} {got:?}");
        let mut last = String::new();
        for (record, (event, before, after)) in got.iter().zip(expected) {
            let change = &record["dynamodb"];
            assert_eq!(record["eventName"], event);
            assert_eq!(change["Keys"], json!({"pk": {"S": "p"}, "sk": {"N": "1"}}));
            assert_eq!(change["OldImage"], image(old, before), "{view} {event}");
            assert_eq!(change["NewImage"], image(new, after), "{view} {event}");
            assert_eq!(change["StreamViewType"], view);
            assert_eq!(record["eventSource"], "aws:dynamodb");
            assert_eq!(record["userIdentity"], Json::Null);
            let sequence = change["SequenceNumber"].as_str().expect("a number").to_owned();
            assert!(sequence.len() == 21 && sequence > last, "{sequence}");
            last = sequence;
        }
    }
}

#[tokio::test]
async fn every_kind_of_write_is_told_once() {
    let (cloud, arn) = with_stream("NEW_AND_OLD_IMAGES").await;
    let put = |n: u32| json!({"PutRequest": {"Item": item("b", n, "x")}});
    cloud.ok("BatchWriteItem", json!({"RequestItems": {"ttt": [put(1), put(2)]}})).await;
    let write = |n: u32| json!({"Put": {"TableName": "ttt", "Item": item("b", n, "y")}});
    cloud.ok("TransactWriteItems", json!({"TransactItems": [write(2), write(3)]})).await;
    let refused = json!({"TransactItems": [write(4), {"ConditionCheck": {"TableName": "ttt",
        "Key": {"pk": {"S": "b"}, "sk": {"N": "9"}}, "ConditionExpression": "attribute_exists(pk)"}}]});
    assert!(cloud.call("TransactWriteItems", refused).await.is_err());
    let got = records(&cloud, &arn).await;
    let seen: Vec<(&str, &str)> = got
        .iter()
        .map(|r| (r["eventName"].as_str().unwrap_or(""), r["dynamodb"]["Keys"]["sk"]["N"].as_str().unwrap_or("")))
        .collect();
    assert_eq!(seen, [("INSERT", "1"), ("INSERT", "2"), ("MODIFY", "2"), ("INSERT", "3")]);
    assert_eq!(got[0]["dynamodb"]["SizeBytes"], json!((2 + 1 + 2 + 2) * 2 + 2));
}

#[tokio::test]
async fn images_too_long_for_one_change_are_read_as_one_record() {
    let (cloud, arn) = with_stream("NEW_AND_OLD_IMAGES").await;
    // Many short attributes take more bytes stored than counted.
    let long = |a: &str| {
        let mut item = item("p", 1, a);
        for n in 0..36_000 {
            item[format!("{n:08}")] = json!({"NULL": true});
        }
        item
    };
    for a in ["x", "y"] {
        cloud.ok("PutItem", json!({"TableName": "ttt", "Item": long(a)})).await;
    }
    let mut next = iterator(&cloud, &arn, json!({"ShardIteratorType": "TRIM_HORIZON"})).await;
    let mut got = Vec::new();
    while got.len() < 2 {
        let page = cloud.ok("GetRecords", json!({"ShardIterator": next})).await;
        got.extend(page["Records"].as_array().cloned().expect("records"));
        next = page["NextShardIterator"].as_str().expect("open").to_owned();
    }
    assert_eq!(got[1]["dynamodb"]["OldImage"]["a"], json!({"S": "x"}));
    assert_eq!(got[1]["dynamodb"]["NewImage"]["a"], json!({"S": "y"}));
    assert_eq!(got[1]["dynamodb"]["OldImage"].as_object().map(|o| o.len()), Some(36_003));
}

#[tokio::test]
async fn iterators_stand_where_they_say() {
    let (cloud, arn) = with_stream("KEYS_ONLY").await;
    let put = async |n: u32| cloud.ok("PutItem", json!({"TableName": "ttt", "Item": item("p", n, "x")})).await;
    put(1).await;
    put(2).await;
    let all = records(&cloud, &arn).await;
    let first = all[0]["dynamodb"]["SequenceNumber"].clone();
    let keys = async |from: String| {
        let got = cloud.ok("GetRecords", json!({"ShardIterator": from, "Limit": 1})).await;
        got["Records"]
            .as_array()
            .map(|r| r.iter().map(|r| r["dynamodb"]["Keys"]["sk"]["N"].clone()).collect::<Vec<_>>())
    };
    let at = |kind: &str| json!({"ShardIteratorType": kind, "SequenceNumber": first});
    assert_eq!(keys(iterator(&cloud, &arn, at("AT_SEQUENCE_NUMBER")).await).await, Some(vec![json!("1")]));
    assert_eq!(keys(iterator(&cloud, &arn, at("AFTER_SEQUENCE_NUMBER")).await).await, Some(vec![json!("2")]));
    let latest = iterator(&cloud, &arn, json!({"ShardIteratorType": "LATEST"})).await;
    assert_eq!(keys(latest.clone()).await, Some(vec![]));
    put(3).await;
    assert_eq!(keys(latest.clone()).await, Some(vec![json!("3")]));
    cloud.advance(901);
    let late = cloud.call("GetRecords", json!({"ShardIterator": latest})).await;
    assert!(late.as_ref().is_err_and(|e| e.starts_with("ExpiredIteratorException")), "{late:?}");
    let input =
        json!({"StreamArn": arn, "ShardId": "shardId-00000000000000000000-00000000", "ShardIteratorType": "LATEST"});
    let missing = cloud.call("GetShardIterator", input).await;
    assert!(missing.as_ref().is_err_and(|e| e.starts_with("ResourceNotFoundException")), "{missing:?}");
    // Texts that are no names of streams or shards are another error.
    let text = "a-text-that-is-long-enough-to-be-one-of-them";
    for (arn, shard) in [(text, "shardId-00000000000000000000-00000000"), (arn.as_str(), text)] {
        let input = json!({"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "LATEST"});
        let wrong = cloud.call("GetShardIterator", input).await;
        assert!(wrong.as_ref().is_err_and(|e| e.starts_with("ValidationException: Invalid S")), "{wrong:?}");
    }
}

#[tokio::test]
async fn streams_end_and_are_kept_for_a_day() {
    let (cloud, arn) = with_stream("NEW_IMAGE").await;
    let cloud = cloud.reopened().await;
    write_some(&cloud).await;
    let set = |on: bool| match on {
        true => {
            json!({"TableName": "ttt", "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "OLD_IMAGE"}})
        }
        false => json!({"TableName": "ttt", "StreamSpecification": {"StreamEnabled": false}}),
    };
    let twice = cloud.call("UpdateTable", set(true)).await;
    assert_eq!(twice, Err("ValidationException: Table already has an enabled stream: TableName: ttt".into()));
    let off = cloud.ok("UpdateTable", set(false)).await;
    assert_eq!(off["TableDescription"]["StreamSpecification"], Json::Null);
    assert_eq!(off["TableDescription"]["LatestStreamArn"], json!(arn));
    assert!(cloud.call("UpdateTable", set(false)).await.is_err());
    let on = cloud.ok("UpdateTable", set(true)).await;
    let second = on["TableDescription"]["LatestStreamArn"].as_str().expect("an ARN").to_owned();
    assert_ne!(second, arn);
    write_some(&cloud).await;
    cloud.ok("DeleteTable", json!({"TableName": "ttt"})).await;
    let cloud = cloud.reopened().await;
    for arn in [&arn, &second] {
        let described = cloud.ok("DescribeStream", json!({"StreamArn": arn})).await;
        assert_eq!(described["StreamDescription"]["StreamStatus"], "DISABLED");
        let range = &described["StreamDescription"]["Shards"][0]["SequenceNumberRange"];
        assert_eq!(range["EndingSequenceNumber"], "100000000000000000003");
        let from = iterator(&cloud, arn, json!({"ShardIteratorType": "TRIM_HORIZON"})).await;
        let got = cloud.ok("GetRecords", json!({"ShardIterator": from})).await;
        assert_eq!(got["Records"].as_array().map(Vec::len), Some(3));
        assert_eq!(got["NextShardIterator"], Json::Null, "the shard is at its end");
    }
    let listed = cloud.ok("ListStreams", json!({"TableName": "ttt", "Limit": 1})).await;
    assert_eq!(listed["Streams"][0]["StreamArn"], json!(arn));
    let rest = json!({"TableName": "ttt", "ExclusiveStartStreamArn": listed["LastEvaluatedStreamArn"]});
    assert_eq!(cloud.ok("ListStreams", rest).await["Streams"][0]["StreamArn"], json!(second));
    cloud.advance(24 * 3600 + 61);
    cloud.room.work().await.expect("the work is done");
    assert_eq!(cloud.ok("ListStreams", json!({})).await, json!({"Streams": []}));
    assert!(cloud.call("DescribeStream", json!({"StreamArn": arn})).await.is_err());
}

#[tokio::test]
async fn records_are_forgotten_after_a_day() {
    let (cloud, arn) = with_stream("KEYS_ONLY").await;
    cloud.ok("PutItem", json!({"TableName": "ttt", "Item": item("p", 1, "x")})).await;
    cloud.room.work().await.expect("a mark");
    let first = records(&cloud, &arn).await[0]["dynamodb"]["SequenceNumber"].clone();
    for _ in 0..300 {
        cloud.advance(300);
        cloud.room.work().await.expect("the work is done");
    }
    cloud.ok("PutItem", json!({"TableName": "ttt", "Item": item("p", 2, "x")})).await;
    let kept = records(&cloud, &arn).await;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0]["dynamodb"]["Keys"]["sk"]["N"], "2");
    let at = json!({"StreamArn": arn, "ShardId": shard(&cloud, &arn).await, "ShardIteratorType": "AT_SEQUENCE_NUMBER",
                    "SequenceNumber": first});
    let gone = cloud.call("GetShardIterator", at).await;
    assert!(gone.as_ref().is_err_and(|e| e.starts_with("TrimmedDataAccessException")), "{gone:?}");
    let (shard, source) = (shard(&cloud, &arn).await, &cloud.room);
    let from = StreamStart::After("100000000000000000000".into());
    assert!(matches!(source.read(&arn, &shard, &from, 10).await, Err(StreamError::Trimmed(_))));
}

#[tokio::test]
async fn triggers_follow_streams() {
    let (cloud, arn) = with_stream("NEW_IMAGE").await;
    let source: &dyn StreamSource = cloud.room.as_ref();
    assert!(source.owns(&arn) && !source.owns("arn:aws:dynamodb:us-east-1:000000000000:table/ttt"));
    let shard = source.shards(&arn).await.expect("shards").remove(0);
    assert!(!shard.closed);
    let page = source.read(&arn, &shard.id, &StreamStart::Latest, 10).await.expect("a page");
    let from = page.next.expect("open");
    assert!(page.records.is_empty());
    let (waited, ()) = tokio::join!(source.wait(&arn, &shard.id, &from), write_some(&cloud));
    waited.expect("something came");
    let page = source.read(&arn, &shard.id, &from, 2).await.expect("a page");
    assert_eq!(page.records.len(), 2);
    assert_eq!(page.records[0].event["dynamodb"]["NewImage"], item("p", 1, "x"));
    assert_eq!(page.records[0].order_key, page.records[1].order_key);
    let rest = source.read(&arn, &shard.id, &page.next.expect("open"), 10).await.expect("a page");
    assert_eq!(rest.records.len(), 1);
    let next = rest.next.expect("open");
    let end = cloud.ok("DeleteTable", json!({"TableName": "ttt"}));
    let (waited, _) = tokio::join!(source.wait(&arn, &shard.id, &next), end);
    waited.expect("the end is told");
    assert_eq!(source.read(&arn, &shard.id, &next, 10).await.expect("a page").next, None);
}
