//! Tables of earlier versions.

use super::*;
use crate::table::Table;
use crate::tables::{self, Rows};
use squall_store::{Mutations as _, Range, StateExt as _, Txn};

/// Makes a table as the version before layouts left it: its definition says none, and its rows lie elsewhere.
async fn age(cloud: &Cloud, name: &str) {
    let state = &cloud.deps.state;
    let key = tables::definition("us-east-1", name);
    let row = state.get(key.clone()).await.expect("a state").expect("the definition");
    let mut table = Table::open(&row.value).expect("a definition");
    table.layout = 0;
    let mut txn = Txn::new().put(key, table.seal().expect("JSON"));
    let mut rows = vec![(Rows::Table(table.id), 1)];
    rows.extend(table.indexes.iter().map(|index| (Rows::Index(index.id), 0)));
    for (rows, kept) in rows {
        for (n, row) in state.range(Range::prefix(&rows.prefix())).await.expect("rows").rows.into_iter().enumerate() {
            txn.muts.delete(row.key);
            if kept == 1 {
                txn.muts.put(rows.prefix().u64(u64::try_from(n).expect("few rows")).raw(b"elsewhere"), row.value);
            }
        }
    }
    state.commit(txn).await.expect("an older table");
}

#[tokio::test]
async fn a_table_of_an_earlier_version_is_brought_along() {
    let cloud = Cloud::new().await;
    let mut made = table("old", Some("N"));
    made["AttributeDefinitions"]
        .as_array_mut()
        .expect("a list")
        .push(json!({"AttributeName": "g", "AttributeType": "S"}));
    made["GlobalSecondaryIndexes"] = json!([{"IndexName": "byg", "Projection": {"ProjectionType": "ALL"},
        "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}]}]);
    cloud.ok("CreateTable", made).await;
    let item = |n: usize| json!({"pk": {"S": format!("k{}", n % 7)}, "sk": {"N": n.to_string()}, "g": {"S": "one"}});
    for n in 0..40 {
        cloud.ok("PutItem", json!({"TableName": "old", "Item": item(n)})).await;
    }
    age(&cloud, "old").await;
    let cloud = cloud.reopened().await.reopened().await;
    for n in 0..40 {
        let key = json!({"pk": item(n)["pk"], "sk": item(n)["sk"]});
        cloud.check("GetItem", json!({"TableName": "old", "Key": key}), Ok(json!({"Item": item(n)}))).await;
    }
    let values = json!({":g": {"S": "one"}});
    let query = json!({"TableName": "old", "IndexName": "byg", "KeyConditionExpression": "g = :g",
        "ExpressionAttributeValues": values, "Select": "COUNT"});
    cloud.check("Query", query, Ok(json!({"Count": 40, "ScannedCount": 40}))).await;
    let scan = json!({"TableName": "old", "Select": "COUNT"});
    cloud.check("Scan", scan, Ok(json!({"Count": 40, "ScannedCount": 40}))).await;
    cloud.ok("PutItem", json!({"TableName": "old", "Item": item(3)})).await;
    let scan = json!({"TableName": "old", "Select": "COUNT"});
    cloud.check("Scan", scan, Ok(json!({"Count": 40, "ScannedCount": 40}))).await;
}
