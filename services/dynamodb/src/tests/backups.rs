//! Backups and point-in-time recovery: what comes back is what was.

use super::{Cloud, table};
use serde_json::{Value as Json, json};

async fn put(cloud: &Cloud, pk: &str, a: &str) {
    cloud.ok("PutItem", json!({"TableName": "ttt", "Item": {"pk": {"S": pk}, "a": {"S": a}}})).await;
}

async fn items(cloud: &Cloud, name: &str) -> Vec<(String, String)> {
    let got = cloud.ok("Scan", json!({"TableName": name})).await;
    let text = |v: &Json| v["S"].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<_> =
        got["Items"].as_array().into_iter().flatten().map(|i| (text(&i["pk"]), text(&i["a"]))).collect();
    all.sort();
    all
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// A restore has two steps, each a look of the worker.
async fn work(cloud: &Cloud) {
    for _ in 0..3 {
        // The room's own worker may be at the same piece of work, and win: then this one looks again.
        while let Err(e) = cloud.room.work().await {
            assert!(format!("{e:?}").contains("guarded row"), "{e:?}");
        }
    }
}

#[tokio::test]
async fn a_backup_outlives_its_table() {
    let cloud = Cloud::new().await;
    cloud.ok("CreateTable", table("ttt", None)).await;
    put(&cloud, "k", "old").await;
    let made = cloud.ok("CreateBackup", json!({"TableName": "ttt", "BackupName": "bbb"})).await;
    let arn = made["BackupDetails"]["BackupArn"].clone();
    let mut described = json!({});
    // The room's own worker may be making it; until it is made, it takes in what is written.
    while described["BackupDescription"]["BackupDetails"]["BackupStatus"] != "AVAILABLE" {
        work(&cloud).await;
        described = cloud.ok("DescribeBackup", json!({"BackupArn": arn})).await;
        tokio::task::yield_now().await;
    }
    put(&cloud, "k", "new").await;
    assert_eq!(described["BackupDescription"]["SourceTableDetails"]["ItemCount"], 1);
    cloud.ok("DeleteTable", json!({"TableName": "ttt"})).await;
    let cloud = cloud.reopened().await;
    let listed = cloud.ok("ListBackups", json!({})).await;
    assert_eq!(listed["BackupSummaries"][0]["BackupArn"], arn);
    cloud.ok("RestoreTableFromBackup", json!({"TargetTableName": "rrr", "BackupArn": arn})).await;
    work(&cloud).await;
    let table = cloud.ok("DescribeTable", json!({"TableName": "rrr"})).await;
    assert_eq!(table["Table"]["TableStatus"], "ACTIVE");
    assert_eq!(items(&cloud, "rrr").await, pairs(&[("k", "old")]));
    cloud.ok("DeleteBackup", json!({"BackupArn": arn})).await;
    let gone = cloud.call("DescribeBackup", json!({"BackupArn": arn})).await;
    assert!(gone.is_err_and(|e| e.starts_with("BackupNotFoundException")));
}

#[tokio::test]
async fn a_table_comes_back_as_it_was_at_a_time() {
    let cloud = Cloud::new().await;
    cloud.ok("CreateTable", table("ttt", None)).await;
    let restore = |to: &str, at: i64| json!({"SourceTableName": "ttt", "TargetTableName": to, "RestoreDateTime": at});
    let off = cloud.call("RestoreTableToPointInTime", restore("rrr", 1_700_000_000)).await;
    assert!(off.is_err_and(|e| e.starts_with("PointInTimeRecoveryUnavailableException")));
    put(&cloud, "before", "1").await;
    let on = json!({"TableName": "ttt", "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": true}});
    let on = cloud.ok("UpdateContinuousBackups", on).await;
    let shown = &on["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"];
    assert_eq!(shown["PointInTimeRecoveryStatus"], "ENABLED");
    put(&cloud, "kept", "1").await;
    put(&cloud, "changed", "1").await;
    put(&cloud, "deleted", "1").await;
    cloud.advance(10);
    for a in ["2", "3"] {
        put(&cloud, "changed", a).await;
        put(&cloud, "before", a).await;
    }
    put(&cloud, "made", "2").await;
    cloud.ok("DeleteItem", json!({"TableName": "ttt", "Key": {"pk": {"S": "deleted"}}})).await;
    cloud.advance(10);
    for (at, wrong) in [(1_699_999_999, true), (1_700_000_021, true), (1_700_000_005, false)] {
        let got = cloud.call("RestoreTableToPointInTime", restore("rrr", at)).await;
        assert_eq!(got.as_ref().is_err_and(|e| e.starts_with("InvalidRestoreTimeException")), wrong, "{at} {got:?}");
    }
    work(&cloud).await;
    let was = [("before", "1"), ("changed", "1"), ("deleted", "1"), ("kept", "1")];
    assert_eq!(items(&cloud, "rrr").await, pairs(&was));
    let latest = json!({"SourceTableName": "ttt", "TargetTableName": "lll", "UseLatestRestorableTime": true});
    cloud.ok("RestoreTableToPointInTime", latest).await;
    put(&cloud, "kept", "9").await;
    work(&cloud).await;
    let now = items(&cloud, "lll").await;
    assert_eq!(now[0], ("before".to_owned(), "3".to_owned()));
    assert!(now.iter().all(|(k, _)| k != "deleted"));
    cloud.ok("DeleteTable", json!({"TableName": "ttt"})).await;
    let listed = cloud.ok("ListBackups", json!({"BackupType": "SYSTEM"})).await;
    assert_eq!(listed["BackupSummaries"][0]["BackupName"], "ttt$DeletedTableBackup");
}
