//! DynamoDB: durable puts of 1 KiB, gets of the same size, queries of a whole partition of 16.

use crate::client::Client;
use crate::load::{self, Load};
use crate::report::Report;
use crate::server::Server;
use anyhow::{Result, ensure};
use serde_json::json;
use std::time::Duration;

const TABLE: &str = "bench";
/// Partitions of the data set that is read.
const PARTITIONS: u64 = 64;
/// Items of each of them; a query reads them all.
const ITEMS: u64 = 16;
/// An item's payload; with names and keys the item counts 1 KiB.
const PAYLOAD_BYTES: usize = 1000;
const WARMUP: Duration = Duration::from_millis(300);

/// Loads a data set, then measures.
///
/// # Errors
/// An operation failed.
pub async fn measure(report: &mut Report, server: &Server, length: Duration) -> Result<()> {
    let mut client = Client::connect(&server.target).await?;
    create_table(&mut client).await?;
    let payload = "x".repeat(PAYLOAD_BYTES);
    for n in 0..PARTITIONS * ITEMS {
        client.dynamodb("PutItem", put(&format!("read-{}", n % PARTITIONS), n / PARTITIONS, &payload)).await?;
    }
    for workers in [1, 64] {
        let load = Load { workers, warmup: WARMUP, length };
        let payload = payload.clone();
        let puts = load::run(load, &server.target, async move |client: &mut Client, n: u64| {
            // Spread over partitions; every item is new to its load.
            client.dynamodb("PutItem", put(&format!("write-{}-{}", workers, n % 997), n, &payload)).await.map(drop)
        });
        puts.await?.report(report, &format!("ddb.put_1k.c{workers}"));
        let gets = load::run(load, &server.target, async |client: &mut Client, n: u64| {
            let answer = client.dynamodb("GetItem", get(n % PARTITIONS, n / PARTITIONS % ITEMS)).await?;
            ensure!(answer.len() > PAYLOAD_BYTES, "GetItem found nothing: {}", String::from_utf8_lossy(&answer));
            Ok(())
        });
        gets.await?.report(report, &format!("ddb.get_1k.c{workers}"));
    }
    let load = Load { workers: 64, warmup: WARMUP, length };
    let queries = load::run(load, &server.target, async |client: &mut Client, n: u64| {
        let answer = client.dynamodb("Query", query(n % PARTITIONS)).await?;
        ensure!(answer.len() > PAYLOAD_BYTES * ITEMS as usize, "Query found {} bytes", answer.len());
        Ok(())
    });
    queries.await?.report(report, "ddb.query_16k.c64");
    Ok(())
}

async fn create_table(client: &mut Client) -> Result<()> {
    let table = json!({
        "TableName": TABLE,
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"}, {"AttributeName": "sk", "AttributeType": "N"},
        ],
    });
    client.dynamodb("CreateTable", table.to_string()).await?;
    let name = json!({ "TableName": TABLE }).to_string();
    for _ in 0..500 {
        let answer: serde_json::Value = serde_json::from_slice(&client.dynamodb("DescribeTable", name.clone()).await?)?;
        if answer.pointer("/Table/TableStatus") == Some(&json!("ACTIVE")) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anyhow::bail!("the table did not become active")
}

// Bodies are put together as text: a JSON tree for each request would cost the client more than the request.

fn put(pk: &str, sk: u64, payload: &str) -> String {
    format!(
        r#"{{"TableName":"{TABLE}","Item":{{"pk":{{"S":"{pk}"}},"sk":{{"N":"{sk}"}},"data":{{"S":"{payload}"}}}}}}"#
    )
}

fn get(partition: u64, sk: u64) -> String {
    format!(r#"{{"TableName":"{TABLE}","Key":{{"pk":{{"S":"read-{partition}"}},"sk":{{"N":"{sk}"}}}}}}"#)
}

fn query(partition: u64) -> String {
    format!(
        r#"{{"TableName":"{TABLE}","KeyConditionExpression":"pk = :p","ExpressionAttributeValues":{{":p":{{"S":"read-{partition}"}}}}}}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json() {
        for body in [put("a", 1, "x"), get(1, 2), query(3)] {
            let value: serde_json::Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{body}: {e}"));
            assert_eq!(value["TableName"], TABLE);
        }
    }
}
