//! Provisioned throughput: what is unused is kept for five minutes, what is spent is refused.

use super::{Cloud, table};
use serde_json::json;

async fn with_table(name: &str, change: impl Fn(&mut serde_json::Value)) -> Cloud {
    let cloud = Cloud::new().await;
    let mut input = table(name, None);
    change(&mut input);
    cloud.ok("CreateTable", input).await;
    cloud
}

#[tokio::test]
async fn provisioned_tables_refuse_what_is_beyond() {
    let cloud = with_table("ttt", |t| {
        t["BillingMode"] = json!("PROVISIONED");
        t["ProvisionedThroughput"] = json!({"ReadCapacityUnits": 1, "WriteCapacityUnits": 1});
    })
    .await;
    let item = json!({"pk": {"S": "a"}, "x": {"S": "x".repeat(200_000)}});
    let put = json!({"TableName": "ttt", "Item": item});
    // 300 units are there; each write takes 196.
    cloud.ok("PutItem", put.clone()).await;
    cloud.ok("PutItem", put.clone()).await;
    let beyond = "ProvisionedThroughputExceededException: The level of configured provisioned throughput for the table was \
                  exceeded. Consider increasing your provisioning level with the UpdateTable API.";
    assert_eq!(cloud.call("PutItem", put.clone()).await, Err(beyond.into()));
    let small = |pk: &str| json!({"PutRequest": {"Item": {"pk": {"S": pk}}}});
    let batch = json!({"RequestItems": {"ttt": [small("b"), small("c")]}});
    assert_eq!(cloud.call("BatchWriteItem", batch.clone()).await, Err(beyond.into()));
    let transaction = json!({"TransactItems": [{"Put": {"TableName": "ttt", "Item": {"pk": {"S": "b"}}}}]});
    let refused = cloud.call("TransactWriteItems", transaction).await.expect_err("throttled");
    assert!(refused.contains("specific reasons [ProvisionedThroughputExceeded]"), "{refused}");
    // 92 units are owed.
    cloud.advance(93);
    let got = cloud.ok("BatchWriteItem", batch).await;
    assert_eq!(got, json!({"UnprocessedItems": {"ttt": [small("c")]}}));
    let get = json!({"TableName": "ttt", "Key": {"pk": {"S": "a"}}, "ConsistentRead": true});
    for _ in 0..7 {
        cloud.ok("GetItem", get.clone()).await;
    }
    assert_eq!(cloud.call("GetItem", get).await, Err(beyond.into()));
    assert_eq!(cloud.call("Scan", json!({"TableName": "ttt"})).await, Err(beyond.into()));
    let keys = json!({"RequestItems": {"ttt": {"Keys": [{"pk": {"S": "a"}}]}}});
    assert_eq!(cloud.call("BatchGetItem", keys).await, Err(beyond.into()));
}

#[tokio::test]
async fn bounds_of_on_demand_tables_hold_each_second() {
    let cloud = with_table("ttt", |t| t["OnDemandThroughput"] = json!({"MaxWriteRequestUnits": 2})).await;
    let described = cloud.ok("DescribeTable", json!({"TableName": "ttt"})).await;
    let shown = &described["Table"]["OnDemandThroughput"];
    assert_eq!(*shown, json!({"MaxReadRequestUnits": -1, "MaxWriteRequestUnits": 2}));
    let put = json!({"TableName": "ttt", "Item": {"pk": {"S": "a"}}});
    let beyond = "ThrottlingException: Throughput exceeds the maximum OnDemandThroughput configured on table or index"
        .to_owned();
    for _ in 0..2 {
        cloud.ok("PutItem", put.clone()).await;
        cloud.ok("PutItem", put.clone()).await;
        assert_eq!(cloud.call("PutItem", put.clone()).await, Err(beyond.clone()));
        cloud.advance(1);
    }
    let change = json!({"TableName": "ttt", "OnDemandThroughput": {"MaxWriteRequestUnits": -1}});
    cloud.ok("UpdateTable", change).await;
    for _ in 0..5 {
        cloud.ok("PutItem", put.clone()).await;
    }
}
