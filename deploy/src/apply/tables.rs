//! DynamoDB tables.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::table_diff::changes;
use super::{Deployer, Pause, foreign, found, tag_changes, text};
use crate::error::{Doing, Error};
use crate::model::{Stack, Table};

impl Deployer<'_> {
    /// Each table as it is, or nothing; a change that would replace it is refused here.
    pub(super) async fn look_at_tables(&mut self, stack: &Stack) -> Result<Vec<Option<Json>>, Error> {
        let mut out = Vec::new();
        for table in &stack.tables {
            let now = self.describe(&table.name).await?;
            if let Some(now) = &now {
                if !self.record.tables.iter().any(|t| t.name == table.name) {
                    return Err(foreign("table", &table.name, &stack.name));
                }
                if let Err(why) = changes(now, &table.create) {
                    return Err(Error::Refused(format!(
                        "table {} ({}): {why}; this would replace the table and lose its items. Give it another name, \
                         or remove it from the file first (nothing was changed)",
                        table.name, table.logical
                    )));
                }
            }
            out.push(now);
        }
        Ok(out)
    }

    pub(super) async fn describe(&self, name: &str) -> Result<Option<Json>, Error> {
        let now = found(self.dynamodb("DescribeTable", &json!({ "TableName": name })).await);
        let now = now.doing(|| format!("looking at table {name}"))?;
        Ok(now.map(|n| n.get("Table").cloned().unwrap_or_default()))
    }

    pub(super) async fn dynamodb(&self, operation: &str, input: &Json) -> Result<Json, crate::client::Error> {
        self.client.json("dynamodb", &format!("DynamoDB_20120810.{operation}"), input).await
    }

    /// Makes or updates a table and waits until it is active.
    pub(super) async fn table(&mut self, table: &Table, now: Option<Json>) -> Result<(), Error> {
        let name = &table.name;
        match now {
            None => {
                self.step(format!("creating table {name}"));
                self.dynamodb("CreateTable", &table.create).await.doing(|| format!("creating table {name}"))?;
                self.await_table(name).await?;
            }
            Some(now) => {
                self.await_table(name).await?;
                let steps = changes(&now, &table.create).map_err(Error::Refused)?;
                for step in steps {
                    self.step(format!("updating table {name}"));
                    let mut input: Map<String, Json> = step.as_object().cloned().unwrap_or_default();
                    input.insert("TableName".into(), name.as_str().into());
                    let set = self.dynamodb("UpdateTable", &Json::Object(input)).await;
                    set.doing(|| format!("updating table {name}"))?;
                    self.await_table(name).await?;
                }
                self.table_tags(table, text(&now, "TableArn")).await?;
            }
        }
        self.ttl(table).await?;
        self.recovery(table).await?;
        let now = self.describe(name).await?.unwrap_or_default();
        self.table_policy(table, text(&now, "TableArn")).await?;
        let stream = text(&now, "LatestStreamArn");
        if !stream.is_empty() {
            self.late.insert(format!("{}.StreamArn", table.logical), stream.to_owned());
        }
        Ok(())
    }

    /// Point-in-time recovery as the file has it; off where it says nothing.
    async fn recovery(&mut self, table: &Table) -> Result<(), Error> {
        let name = &table.name;
        let doing = || format!("setting the point-in-time recovery of table {name}");
        let now = self.dynamodb("DescribeContinuousBackups", &json!({ "TableName": name })).await.doing(doing)?;
        let now = now.pointer("/ContinuousBackupsDescription/PointInTimeRecoveryDescription").cloned();
        let now = now.unwrap_or_default();
        let is_on = text(&now, "PointInTimeRecoveryStatus") == "ENABLED";
        let wanted = table.recovery.as_ref().filter(|r| r.is_enabled);
        let days = wanted.and_then(|r| r.days);
        let is_same_period = days.is_none_or(|d| now.get("RecoveryPeriodInDays").and_then(Json::as_i64) == Some(d));
        if is_on == wanted.is_some() && (!is_on || is_same_period) {
            return Ok(());
        }
        self.step(doing());
        let mut specification = json!({ "PointInTimeRecoveryEnabled": wanted.is_some() });
        if let Some(days) = days {
            specification["RecoveryPeriodInDays"] = days.into();
        }
        let input = json!({ "TableName": name, "PointInTimeRecoverySpecification": specification });
        self.dynamodb("UpdateContinuousBackups", &input).await.map(|_| ()).doing(doing)
    }

    /// The table's resource policy as the file has it; none where it says nothing.
    async fn table_policy(&mut self, table: &Table, arn: &str) -> Result<(), Error> {
        let doing = || format!("setting the policy of table {}", table.name);
        let now = match self.dynamodb("GetResourcePolicy", &json!({ "ResourceArn": arn })).await {
            Ok(now) => serde_json::from_str::<Json>(text(&now, "Policy")).ok(),
            Err(e) if e.code() == Some("PolicyNotFoundException") => None,
            Err(e) => return Err(e).doing(doing),
        };
        let done = match &table.policy {
            wanted if *wanted == now => return Ok(()),
            Some(policy) => {
                self.step(doing());
                let input = json!({ "ResourceArn": arn, "Policy": policy.to_string() });
                self.dynamodb("PutResourcePolicy", &input).await
            }
            None => self.dynamodb("DeleteResourcePolicy", &json!({ "ResourceArn": arn })).await,
        };
        done.map(|_| ()).doing(doing)
    }

    async fn await_table(&mut self, name: &str) -> Result<(), Error> {
        let mut pause = Pause::new();
        loop {
            let now = self.describe(name).await?.unwrap_or_default();
            let indexes = now.get("GlobalSecondaryIndexes").and_then(Json::as_array);
            let settled = indexes.into_iter().flatten().all(|i| matches!(text(i, "IndexStatus"), "ACTIVE" | ""));
            if text(&now, "TableStatus") == "ACTIVE" && settled {
                return Ok(());
            }
            if !pause.wait().await {
                return Err(Error::State(format!("table {name} is not active after fifteen minutes")));
            }
        }
    }

    async fn ttl(&mut self, table: &Table) -> Result<(), Error> {
        let name = &table.name;
        let now = self.dynamodb("DescribeTimeToLive", &json!({ "TableName": name })).await;
        let now = now.doing(|| format!("looking at the expiry of table {name}"))?;
        let now = now.get("TimeToLiveDescription").cloned().unwrap_or_default();
        let is_on = matches!(text(&now, "TimeToLiveStatus"), "ENABLED" | "ENABLING");
        let attribute = text(&now, "AttributeName");
        let (attribute, enabled) = match &table.ttl {
            Some(ttl) if ttl.is_enabled == is_on && (!is_on || ttl.attribute == attribute) => return Ok(()),
            Some(ttl) => (ttl.attribute.as_str(), ttl.is_enabled),
            None if is_on => (attribute, false),
            None => return Ok(()),
        };
        self.step(format!("setting the expiry of table {name}"));
        let specification = json!({ "AttributeName": attribute, "Enabled": enabled });
        let input = json!({ "TableName": name, "TimeToLiveSpecification": specification });
        let set = self.dynamodb("UpdateTimeToLive", &input).await;
        set.map(|_| ()).doing(|| format!("setting the expiry of table {name}"))
    }

    async fn table_tags(&mut self, table: &Table, arn: &str) -> Result<(), Error> {
        let doing = || format!("tagging table {}", table.name);
        let now = self.dynamodb("ListTagsOfResource", &json!({ "ResourceArn": arn })).await.doing(doing)?;
        let (set, unset) = tag_changes(&tags(&now), &tags(&table.create));
        if !set.is_empty() {
            let list: Vec<Json> = set.iter().map(|(k, v)| json!({ "Key": k, "Value": v })).collect();
            let input = json!({ "ResourceArn": arn, "Tags": list });
            self.dynamodb("TagResource", &input).await.doing(doing)?;
        }
        if !unset.is_empty() {
            let input = json!({ "ResourceArn": arn, "TagKeys": unset });
            self.dynamodb("UntagResource", &input).await.doing(doing)?;
        }
        Ok(())
    }

    /// Deletes a table and waits until it is gone.
    pub(super) async fn delete_table(&mut self, name: &str) -> Result<(), Error> {
        self.step(format!("deleting table {name}"));
        let gone = found(self.dynamodb("DeleteTable", &json!({ "TableName": name })).await);
        gone.doing(|| format!("deleting table {name}"))?;
        let mut pause = Pause::new();
        while self.describe(name).await?.is_some() {
            if !pause.wait().await {
                return Err(Error::State(format!("table {name} is still being deleted after fifteen minutes")));
            }
        }
        Ok(())
    }
}

fn tags(json: &Json) -> BTreeMap<String, String> {
    let list = json.get("Tags").and_then(Json::as_array).into_iter().flatten();
    list.map(|t| (text(t, "Key").to_owned(), text(t, "Value").to_owned())).collect()
}
