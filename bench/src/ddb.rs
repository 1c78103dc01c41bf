//! DynamoDB: durable puts of 1 KiB, gets of the same size, queries of a whole partition of 16, transactions of four, one hot
//! item; and how their cost grows with the table.

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

/// Loads a data set, then measures; the figures' names begin with `prefix`.
///
/// # Errors
/// An operation failed.
pub async fn measure(report: &mut Report, server: &Server, prefix: &str, length: Duration) -> Result<()> {
    let name = |figure: &str| format!("{prefix}.{figure}");
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
        puts.await?.report(report, &name(&format!("put_1k.c{workers}")));
        let gets = load::run(load, &server.target, async |client: &mut Client, n: u64| {
            let answer = client.dynamodb("GetItem", get(n % PARTITIONS, n / PARTITIONS % ITEMS)).await?;
            ensure!(answer.len() > PAYLOAD_BYTES, "GetItem found nothing: {}", String::from_utf8_lossy(&answer));
            Ok(())
        });
        gets.await?.report(report, &name(&format!("get_1k.c{workers}")));
    }
    let load = Load { workers: 64, warmup: WARMUP, length };
    let queries = load::run(load, &server.target, async |client: &mut Client, n: u64| {
        let answer = client.dynamodb("Query", query(n % PARTITIONS)).await?;
        ensure!(answer.len() > PAYLOAD_BYTES * ITEMS as usize, "Query found {} bytes", answer.len());
        Ok(())
    });
    queries.await?.report(report, &name("query_16k.c64"));
    transactions(report, server, length, &name("transact_4.c64")).await?;
    hot(report, server, length, &name("hot_update.c64")).await
}

/// Transactions of four small items each, with the token that every SDK sends.
async fn transactions(report: &mut Report, server: &Server, length: Duration, name: &str) -> Result<()> {
    let load = Load { workers: 64, warmup: WARMUP, length };
    let done = load::run(load, &server.target, async |client: &mut Client, n: u64| {
        client.dynamodb("TransactWriteItems", transact(n)).await.map(drop)
    });
    done.await?.report(report, name);
    Ok(())
}

/// One item that everybody counts up.
async fn hot(report: &mut Report, server: &Server, length: Duration, name: &str) -> Result<()> {
    let load = Load { workers: 64, warmup: WARMUP, length };
    let done = load::run(load, &server.target, async |client: &mut Client, _: u64| {
        client.dynamodb("UpdateItem", count_up()).await.map(drop)
    });
    done.await?.report(report, name);
    Ok(())
}

/// How the cost of an operation grows with the table: the same puts and gets by one caller at `sizes` rows, ascending.
///
/// # Errors
/// An operation failed.
pub async fn growth(report: &mut Report, server: &Server, length: Duration, sizes: &[u64]) -> Result<()> {
    let mut client = Client::connect(&server.target).await?;
    create_table(&mut client).await?;
    let mut loaded = 0;
    for size in sizes {
        fill(server, loaded, *size).await?;
        loaded = *size;
        let rows = loaded;
        let label = if rows >= 1_000_000 { format!("{}m", rows / 1_000_000) } else { format!("{}k", rows / 1000) };
        for workers in [1, 64] {
            let load = Load { workers, warmup: WARMUP, length };
            let gets = load::run(load, &server.target, async move |client: &mut Client, n: u64| {
                let row = scatter(n) % rows;
                let answer = client.dynamodb("GetItem", key(row)).await?;
                ensure!(answer.len() > GROWTH_BYTES, "row {row} of {rows} is missing");
                Ok(())
            });
            gets.await?.report(report, &format!("growth.{label}.get.c{workers}"));
            let puts = load::run(load, &server.target, async move |client: &mut Client, n: u64| {
                client.dynamodb("PutItem", row(scatter(n) % rows)).await.map(drop)
            });
            puts.await?.report(report, &format!("growth.{label}.put.c{workers}"));
        }
    }
    Ok(())
}

/// Payload of a row of [`growth`]: small, so that ten million of them fit a disk.
const GROWTH_BYTES: usize = 200;

/// Writes rows `from..to`, 25 a request, by eight callers.
async fn fill(server: &Server, from: u64, to: u64) -> Result<()> {
    const BATCH: u64 = 25;
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..8 {
        let target = server.target.clone();
        workers.spawn_local(async move {
            let mut client = Client::connect(&target).await?;
            let mut at = from + worker * BATCH;
            while at < to {
                let rows: Vec<String> =
                    (at..to.min(at + BATCH)).map(|n| format!(r#"{{"PutRequest":{{"Item":{}}}}}"#, item(n))).collect();
                let body = format!(r#"{{"RequestItems":{{"{TABLE}":[{}]}}}}"#, rows.join(","));
                let answer = client.dynamodb("BatchWriteItem", body).await?;
                ensure!(answer.len() < 64, "rows were left: {}", String::from_utf8_lossy(&answer));
                at += 8 * BATCH;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = workers.join_next().await {
        done??;
    }
    Ok(())
}

/// Makes the table and waits until it serves.
pub async fn create_table(client: &mut Client) -> Result<()> {
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

/// PutItem of a payload.
pub fn put(pk: &str, sk: u64, payload: &str) -> String {
    format!(
        r#"{{"TableName":"{TABLE}","Item":{{"pk":{{"S":"{pk}"}},"sk":{{"N":"{sk}"}},"data":{{"S":"{payload}"}}}}}}"#
    )
}

/// GetItem of the data set that is read.
pub fn get(partition: u64, sk: u64) -> String {
    format!(r#"{{"TableName":"{TABLE}","Key":{{"pk":{{"S":"read-{partition}"}},"sk":{{"N":"{sk}"}}}}}}"#)
}

fn query(partition: u64) -> String {
    format!(
        r#"{{"TableName":"{TABLE}","KeyConditionExpression":"pk = :p","ExpressionAttributeValues":{{":p":{{"S":"read-{partition}"}}}}}}"#
    )
}

/// Four items of partitions of their own, under a token that no other request has.
fn transact(n: u64) -> String {
    let puts: Vec<String> = (0..4)
        .map(|i| {
            let item = format!(r#"{{"pk":{{"S":"t{n}-{i}"}},"sk":{{"N":"0"}},"data":{{"S":"payload"}}}}"#);
            format!(r#"{{"Put":{{"TableName":"{TABLE}","Item":{item}}}}}"#)
        })
        .collect();
    format!(r#"{{"TransactItems":[{}],"ClientRequestToken":"bench-{n}"}}"#, puts.join(","))
}

fn count_up() -> String {
    format!(
        r#"{{"TableName":"{TABLE}","Key":{{"pk":{{"S":"hot"}},"sk":{{"N":"0"}}}},"UpdateExpression":"ADD n :one","ExpressionAttributeValues":{{":one":{{"N":"1"}}}}}}"#
    )
}

/// Numbers that come in no order, each again only after 2^64 others.
fn scatter(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn item(n: u64) -> String {
    format!(r#"{{"pk":{{"S":"row-{n}"}},"sk":{{"N":"0"}},"data":{{"S":"{}"}}}}"#, "x".repeat(GROWTH_BYTES))
}

fn row(n: u64) -> String {
    format!(r#"{{"TableName":"{TABLE}","Item":{}}}"#, item(n))
}

fn key(n: u64) -> String {
    format!(r#"{{"TableName":"{TABLE}","Key":{{"pk":{{"S":"row-{n}"}},"sk":{{"N":"0"}}}}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json() {
        for body in [put("a", 1, "x"), get(1, 2), query(3), count_up(), row(4), key(5)] {
            let value: serde_json::Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{body}: {e}"));
            assert_eq!(value["TableName"], TABLE);
        }
        let value: serde_json::Value = serde_json::from_str(&transact(7)).expect("JSON");
        assert_eq!(value["TransactItems"].as_array().map(Vec::len), Some(4));
    }
}
