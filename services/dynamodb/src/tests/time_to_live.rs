//! Time to live: what ends is removed, and the stream says by whom.

use super::{Cloud, table};
use serde_json::{Value as Json, json};

async fn with_ttl() -> (Cloud, String) {
    let cloud = Cloud::new().await;
    let mut input = table("ttt", None);
    input["StreamSpecification"] = json!({"StreamEnabled": true, "StreamViewType": "OLD_IMAGE"});
    let made = cloud.ok("CreateTable", input).await;
    let arn = made["TableDescription"]["LatestStreamArn"].as_str().expect("an ARN").to_owned();
    (cloud, arn)
}

async fn put(cloud: &Cloud, pk: &str, ends: Json) {
    cloud.ok("PutItem", json!({"TableName": "ttt", "Item": {"pk": {"S": pk}, "ends": ends}})).await;
}

async fn turn_on(cloud: &Cloud, on: bool) {
    let specification = json!({"Enabled": on, "AttributeName": "ends"});
    cloud.ok("UpdateTimeToLive", json!({"TableName": "ttt", "TimeToLiveSpecification": specification})).await;
}

async fn left(cloud: &Cloud) -> Vec<String> {
    let got = cloud.ok("Scan", json!({"TableName": "ttt"})).await;
    let mut left: Vec<String> = got["Items"]
        .as_array()
        .map(|items| items.iter().filter_map(|i| i["pk"]["S"].as_str().map(str::to_owned)).collect())
        .unwrap_or_default();
    left.sort();
    left
}

async fn after(cloud: &Cloud, seconds: u64) -> Vec<String> {
    cloud.advance(seconds);
    cloud.room.work().await.expect("the work is done");
    left(cloud).await
}

#[tokio::test]
async fn items_end_on_time_whenever_they_were_written() {
    let (cloud, arn) = with_ttl().await;
    let at = |n: i64| json!({"N": (1_700_000_000i64 + n).to_string()});
    put(&cloud, "before", at(100)).await;
    put(&cloud, "text", json!({"S": "1700000100"})).await;
    turn_on(&cloud, true).await;
    cloud.room.work().await.expect("old items are entered");
    for (pk, ends) in [("soon", at(90)), ("later", at(1000)), ("moved", at(100)), ("cleared", at(100))] {
        put(&cloud, pk, ends).await;
    }
    put(&cloud, "ages ago", json!({"N": "1000"})).await;
    put(&cloud, "half", json!({"N": "1700000100.5"})).await;
    put(&cloud, "huge", json!({"N": "1e100"})).await;
    put(&cloud, "moved", at(2000)).await;
    put(&cloud, "cleared", json!({"NULL": true})).await;
    let all = ["ages ago", "before", "cleared", "half", "huge", "later", "moved", "soon", "text"];
    assert_eq!(after(&cloud, 61).await, all);
    assert_eq!(after(&cloud, 61).await, ["ages ago", "cleared", "huge", "later", "moved", "text"]);
    let cloud = cloud.reopened().await;
    assert_eq!(after(&cloud, 1000).await, ["ages ago", "cleared", "huge", "moved", "text"]);
    turn_on(&cloud, false).await;
    assert_eq!(after(&cloud, 2000).await, ["ages ago", "cleared", "huge", "moved", "text"]);
    turn_on(&cloud, true).await;
    cloud.room.work().await.expect("items are entered again");
    assert_eq!(after(&cloud, 61).await, ["ages ago", "cleared", "huge", "text"]);
    let described = cloud.ok("DescribeStream", json!({"StreamArn": arn})).await;
    let shard = described["StreamDescription"]["Shards"][0]["ShardId"].clone();
    let from = json!({"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
    let from = cloud.ok("GetShardIterator", from).await["ShardIterator"].clone();
    let got = cloud.ok("GetRecords", json!({"ShardIterator": from})).await;
    let removed: Vec<&Json> =
        got["Records"].as_array().into_iter().flatten().filter(|r| r["eventName"] == "REMOVE").collect();
    assert_eq!(removed.len(), 5);
    for record in removed {
        assert_eq!(record["userIdentity"], json!({"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}));
        assert!(record["dynamodb"]["OldImage"]["ends"]["N"].is_string());
    }
}
