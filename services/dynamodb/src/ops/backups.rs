//! CreateBackup, DescribeBackup, ListBackups, DeleteBackup.

use super::describe::{description, elements};
use crate::api;
use crate::backup::{self, Backup};
use crate::error::Error;
use crate::policy::table_name;
use crate::room::{DynamoDb, refusal};
use crate::table::{Table, TableRef};
use crate::tables::{self, Rows};
use squall_service::Ctx;
use squall_store::{StateExt as _, Txn, envelope, ids};
use std::sync::atomic::Ordering;

/// Most backups of an answer.
const PAGE_MAX: usize = 100;
/// Most backups of a region that are looked through.
const BACKUPS_MAX: usize = 100_000;

impl DynamoDb {
    /// The table of an operation that calls a missing one `TableNotFoundException`.
    pub(super) fn backed_up_table(&self, ctx: &Ctx, named: &str) -> Result<TableRef, Error> {
        self.named_table(ctx, named).map_err(|error| match error {
            Error::ResourceNotFound(_) => Error::TableNotFound(format!("Table not found: {}", table_name(named))),
            other => other,
        })
    }

    /// A backup by its ARN.
    ///
    /// # Errors
    /// `BackupNotFoundException`.
    pub(super) async fn backup(&self, ctx: &Ctx, arn: &str) -> Result<Backup, Error> {
        let not_found = || Error::BackupNotFound(format!("Backup not found: {arn}"));
        let key = backup::key_of(ctx.region.as_str(), arn).ok_or_else(not_found)?;
        Backup::open(&self.deps.state.get(key).await?.ok_or_else(not_found)?.value)
    }

    /// Begins a backup; the worker copies the items.
    ///
    /// # Errors
    /// `TableNotFoundException`, `TableInUseException` for a table that is being restored.
    pub(crate) async fn create_backup(
        &self,
        ctx: &Ctx,
        input: api::CreateBackupInput,
    ) -> Result<api::CreateBackupOutput, Error> {
        let _alone = self.control.lock().await;
        let table = self.backed_up_table(ctx, &input.table_name)?;
        if table.is_restoring() {
            return Err(Error::TableInUse(format!("Table is in use: {}", table.name)));
        }
        let id = ids::allocate(self.deps.state.as_ref()).await?;
        let at = self.deps.clock.now();
        let backup = Backup {
            arn: backup::arn(&table, at, (id as u32).wrapping_mul(0x9e37_79b9)),
            name: input.backup_name,
            by_system: false,
            id,
            table: table.table.clone(),
            at,
            creating: true,
            items: 0,
            bytes: 0,
            expires: None,
        };
        let txn = Txn::new().guard(table.key.clone(), table.ver).put(backup.key(), backup.seal()?);
        match self.deps.state.commit(txn).await {
            Ok(_) => {}
            Err(squall_store::Error::Guard(_)) => {
                return Err(Error::TableInUse(format!("Table is being changed: {}", table.name)));
            }
            Err(error) => return Err(refusal(error)),
        }
        self.backups_due.store(0, Ordering::Relaxed);
        self.work.notify_one();
        Ok(api::CreateBackupOutput { backup_details: Some(details(&backup, None)) })
    }

    /// Describes a backup.
    ///
    /// # Errors
    /// `BackupNotFoundException`.
    pub(crate) async fn describe_backup(
        &self,
        ctx: &Ctx,
        input: api::DescribeBackupInput,
    ) -> Result<api::DescribeBackupOutput, Error> {
        let backup = self.backup(ctx, &input.backup_arn).await?;
        Ok(api::DescribeBackupOutput { backup_description: Some(described(&backup, None)) })
    }

    /// Removes a backup; the worker removes its items.
    ///
    /// # Errors
    /// `BackupNotFoundException`, `BackupInUseException` while it is made or restored from.
    pub(crate) async fn delete_backup(
        &self,
        ctx: &Ctx,
        input: api::DeleteBackupInput,
    ) -> Result<api::DeleteBackupOutput, Error> {
        let _alone = self.control.lock().await;
        let backup = self.backup(ctx, &input.backup_arn).await?;
        if backup.creating || self.is_restored_from(backup.id) {
            return Err(Error::BackupInUse(format!("Backup is in use: {}", backup.arn)));
        }
        let garbage = tables::garbage(Rows::Table(backup.id));
        self.deps.state.commit(Txn::new().delete(backup.key()).put(garbage, envelope::seal(&[]))).await?;
        self.work.notify_one();
        Ok(api::DeleteBackupOutput { backup_description: Some(described(&backup, Some("DELETED"))) })
    }

    /// Backups of a table or of all, by table and time, page by page.
    ///
    /// # Errors
    /// The state failed.
    pub(crate) async fn list_backups(
        &self,
        ctx: &Ctx,
        input: api::ListBackupsInput,
    ) -> Result<api::ListBackupsOutput, Error> {
        let region = ctx.region.as_str();
        let prefix = match &input.table_name {
            Some(named) => tables::backups_of(region, table_name(named)),
            None => tables::backups_in(region),
        };
        let rows = self.deps.state.all(prefix, BACKUPS_MAX).await?;
        let limit = input.limit.and_then(|n| usize::try_from(n).ok()).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
        let start = input.exclusive_start_backup_arn.as_deref().and_then(|arn| backup::key_of(region, arn));
        let kind = input.backup_type.as_deref().unwrap_or("USER");
        let (from, to) = (input.time_range_lower_bound, input.time_range_upper_bound);
        let (mut page, mut last) = (Vec::new(), None);
        for row in rows.iter().filter(|row| start.as_ref().is_none_or(|start| row.key > *start)) {
            let backup = Backup::open(&row.value)?;
            let fits = (kind == "ALL" || kind == backup.kind())
                && from.is_none_or(|from| backup.at >= from)
                && to.is_none_or(|to| backup.at < to);
            if !fits {
                continue;
            }
            if page.len() == limit {
                last = page.last().and_then(|s: &api::BackupSummary| s.backup_arn.clone());
                break;
            }
            page.push(summary(&backup));
        }
        Ok(api::ListBackupsOutput { backup_summaries: Some(page), last_evaluated_backup_arn: last })
    }
}

fn status(backup: &Backup) -> &'static str {
    if backup.creating { "CREATING" } else { "AVAILABLE" }
}

fn summary(backup: &Backup) -> api::BackupSummary {
    api::BackupSummary {
        table_name: Some(backup.table.name.clone()),
        table_id: Some(backup.table.uuid.clone()),
        table_arn: Some(backup.table.arn.clone()),
        backup_arn: Some(backup.arn.clone()),
        backup_name: Some(backup.name.clone()),
        backup_creation_date_time: Some(backup.at),
        backup_expiry_date_time: backup.expires,
        backup_status: Some(status(backup).into()),
        backup_type: Some(backup.kind().into()),
        backup_size_bytes: Some(backup.bytes),
    }
}

fn details(backup: &Backup, state: Option<&str>) -> api::BackupDetails {
    api::BackupDetails {
        backup_arn: backup.arn.clone(),
        backup_name: backup.name.clone(),
        backup_size_bytes: Some(backup.bytes),
        backup_status: state.unwrap_or(status(backup)).into(),
        backup_type: backup.kind().into(),
        backup_creation_date_time: backup.at,
        backup_expiry_date_time: backup.expires,
    }
}

fn described(backup: &Backup, state: Option<&str>) -> api::BackupDescription {
    let table = &backup.table;
    let mode = if table.billing.on_demand { "PAY_PER_REQUEST" } else { "PROVISIONED" };
    let capacity = table.billing.capacity;
    api::BackupDescription {
        backup_details: Some(details(backup, state)),
        source_table_details: Some(api::SourceTableDetails {
            table_name: table.name.clone(),
            table_id: table.uuid.clone(),
            table_arn: Some(table.arn.clone()),
            table_size_bytes: Some(backup.bytes),
            key_schema: elements(&table.schema),
            table_creation_date_time: table.created,
            provisioned_throughput: api::ProvisionedThroughput {
                read_capacity_units: capacity.read,
                write_capacity_units: capacity.write,
            },
            item_count: Some(backup.items),
            billing_mode: Some(mode.into()),
            ..Default::default()
        }),
        source_table_feature_details: Some(features(table)),
    }
}

fn features(table: &Table) -> api::SourceTableFeatureDetails {
    let shown = description(table, "ACTIVE", "ACTIVE");
    let throughput = |t: Option<api::ProvisionedThroughputDescription>| {
        let t = t.unwrap_or_default();
        Some(api::ProvisionedThroughput {
            read_capacity_units: t.read_capacity_units.unwrap_or_default(),
            write_capacity_units: t.write_capacity_units.unwrap_or_default(),
        })
    };
    let global = shown.global_secondary_indexes.map(|all| {
        let one = |i: api::GlobalSecondaryIndexDescription| api::GlobalSecondaryIndexInfo {
            index_name: i.index_name,
            key_schema: i.key_schema,
            projection: i.projection,
            provisioned_throughput: throughput(i.provisioned_throughput),
            on_demand_throughput: i.on_demand_throughput,
        };
        all.into_iter().map(one).collect()
    });
    let local = shown.local_secondary_indexes.map(|all| {
        let one = |i: api::LocalSecondaryIndexDescription| api::LocalSecondaryIndexInfo {
            index_name: i.index_name,
            key_schema: i.key_schema,
            projection: i.projection,
        };
        all.into_iter().map(one).collect()
    });
    api::SourceTableFeatureDetails {
        local_secondary_indexes: local,
        global_secondary_indexes: global,
        stream_description: shown.stream_specification,
        time_to_live_description: table.ttl.clone().map(|name| api::TimeToLiveDescription {
            time_to_live_status: Some("ENABLED".into()),
            attribute_name: Some(name),
        }),
        sse_description: None,
    }
}
