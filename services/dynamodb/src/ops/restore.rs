//! RestoreTableFromBackup and RestoreTableToPointInTime: a new table, which the worker fills.

use super::definition::invalid;
use crate::api;
use crate::error::Error;
use crate::features::{Restore, Restoring};
use crate::layout::LAYOUT;
use crate::policy::{check_table_name, table_name};
use crate::room::DynamoDb;
use crate::table::{Billing, Capacity, Index, Table};
use squall_service::Ctx;
use squall_store::ids;
use std::collections::BTreeMap;

/// What a restored table may have otherwise than its source.
struct Overrides<'a> {
    billing_mode: Option<&'a str>,
    throughput: Option<&'a api::ProvisionedThroughput>,
    most: Option<&'a api::OnDemandThroughput>,
    encryption: Option<&'a api::SSESpecification>,
    global: Option<Vec<&'a str>>,
    local: Option<Vec<&'a str>>,
}

impl DynamoDb {
    /// Makes a table of a backup.
    ///
    /// # Errors
    /// `BackupNotFoundException`, `BackupInUseException`, `TableAlreadyExistsException`, `ValidationException`.
    pub(crate) async fn restore_table_from_backup(
        &self,
        ctx: &Ctx,
        input: api::RestoreTableFromBackupInput,
    ) -> Result<api::RestoreTableFromBackupOutput, Error> {
        let _alone = self.control.lock().await;
        let backup = self.backup(ctx, &input.backup_arn).await?;
        if backup.creating {
            return Err(Error::BackupInUse(format!("Backup is being created: {}", backup.arn)));
        }
        let overrides = Overrides {
            billing_mode: input.billing_mode_override.as_deref(),
            throughput: input.provisioned_throughput_override.as_ref(),
            most: input.on_demand_throughput_override.as_ref(),
            encryption: input.sse_specification_override.as_ref(),
            global: input
                .global_secondary_index_override
                .as_ref()
                .map(|all| all.iter().map(|i| i.index_name.as_str()).collect()),
            local: input
                .local_secondary_index_override
                .as_ref()
                .map(|all| all.iter().map(|i| i.index_name.as_str()).collect()),
        };
        let work = Restoring { from: backup.id, history: None, undo_until: None, marks: 0 };
        let restore =
            Restore { backup: Some(backup.arn), table: backup.table.arn.clone(), at: backup.at, work: Some(work) };
        let made = self.restored(ctx, &backup.table, &input.target_table_name, restore, &overrides).await?;
        Ok(api::RestoreTableFromBackupOutput { table_description: Some(made) })
    }

    /// Makes a table of what another one was at a time.
    ///
    /// # Errors
    /// `TableNotFoundException`, `PointInTimeRecoveryUnavailableException`, `InvalidRestoreTimeException`,
    /// `TableAlreadyExistsException`, `ValidationException`.
    pub(crate) async fn restore_table_to_point_in_time(
        &self,
        ctx: &Ctx,
        input: api::RestoreTableToPointInTimeInput,
    ) -> Result<api::RestoreTableToPointInTimeOutput, Error> {
        let _alone = self.control.lock().await;
        let named = input.source_table_arn.as_deref().or(input.source_table_name.as_deref());
        let named = named.ok_or_else(|| Error::validation("SourceTableArn or SourceTableName must be specified"))?;
        let source = self.backed_up_table(ctx, named)?;
        let history = source.history.filter(|_| !source.is_restoring()).ok_or_else(|| {
            Error::PointInTimeRecoveryUnavailable(format!(
                "Point in time recovery is not enabled for table '{}'",
                source.name
            ))
        })?;
        let now = self.deps.clock.now();
        let at = match (input.restore_date_time, input.use_latest_restorable_time) {
            (Some(at), None | Some(false)) => at,
            (None, Some(true)) => now,
            _ => {
                return Err(Error::validation(
                    "Exactly one of RestoreDateTime and UseLatestRestorableTime must be specified",
                ));
            }
        };
        if at < history.earliest(now) || at > now {
            return Err(Error::InvalidRestoreTime("RestoreDateTime is not in the restorable time range".into()));
        }
        let overrides = Overrides {
            billing_mode: input.billing_mode_override.as_deref(),
            throughput: input.provisioned_throughput_override.as_ref(),
            most: input.on_demand_throughput_override.as_ref(),
            encryption: input.sse_specification_override.as_ref(),
            global: input
                .global_secondary_index_override
                .as_ref()
                .map(|all| all.iter().map(|i| i.index_name.as_str()).collect()),
            local: input
                .local_secondary_index_override
                .as_ref()
                .map(|all| all.iter().map(|i| i.index_name.as_str()).collect()),
        };
        let marks = ids::allocate(self.deps.state.as_ref()).await?;
        let work = Restoring { from: source.id, history: Some(history), undo_until: None, marks };
        let restore = Restore { backup: None, table: source.arn.clone(), at, work: Some(work) };
        let made = self.restored(ctx, &source, &input.target_table_name, restore, &overrides).await?;
        Ok(api::RestoreTableToPointInTimeOutput { table_description: Some(made) })
    }

    /// Writes the definition of a table that the worker then fills. Streams, time to live, tags, policies and recovery are
    /// not restored, as on AWS.
    async fn restored(
        &self,
        ctx: &Ctx,
        source: &Table,
        target: &str,
        restore: Restore,
        overrides: &Overrides<'_>,
    ) -> Result<api::TableDescription, Error> {
        let name = table_name(target).to_owned();
        check_table_name(&name)?;
        let exists = || Error::TableAlreadyExists(format!("Table already exists: {name}"));
        if self.catalog.get(ctx.region.as_str(), &name).is_some() {
            return Err(exists());
        }
        super::definition::refuse(
            &overrides.encryption.filter(|s| s.enabled == Some(true)),
            "SSESpecificationOverride",
        )?;
        let state = self.deps.state.as_ref();
        let billing = billing(&source.billing, overrides, self.deps.clock.now())?;
        let mut indexes = kept(&source.indexes, overrides)?;
        for index in &mut indexes {
            index.id = ids::allocate(state).await?;
            index.backfilling = false;
            if billing.on_demand {
                index.capacity = Capacity::default();
            } else if index.capacity == Capacity::default() && !index.local {
                index.capacity = billing.capacity;
            }
        }
        let used = |name: &str| source.schema.has(name) || indexes.iter().any(|i| i.schema.has(name));
        let table = Table {
            id: ids::allocate(state).await?,
            layout: LAYOUT,
            uuid: self.deps.random.uuid(),
            arn: ctx.arn("dynamodb", &format!("table/{name}")),
            name: name.clone(),
            region: ctx.region.as_str().to_owned(),
            created: self.deps.clock.now(),
            attributes: source.attributes.iter().filter(|a| used(&a.name)).cloned().collect(),
            schema: source.schema.clone(),
            indexes,
            billing,
            deletion_protection: false,
            class: source.class.clone(),
            ttl: None,
            tags: BTreeMap::new(),
            stream: None,
            expiry: None,
            history: None,
            restore: Some(restore),
            policy: None,
            warm: None,
        };
        let table = self.insert_table(table).await.map_err(|error| match error {
            Error::ResourceInUse(_) => exists(),
            other => other,
        })?;
        self.work.notify_one();
        Ok(super::describe::created(&table))
    }
}

fn billing(source: &Billing, overrides: &Overrides<'_>, now: squall_types::Millis) -> Result<Billing, Error> {
    let on_demand = overrides.billing_mode.map_or(source.on_demand, |mode| mode == "PAY_PER_REQUEST");
    let most = match overrides.most {
        Some(_) => super::definition::most(overrides.most, on_demand)?,
        None if on_demand => source.most,
        None => Capacity::default(),
    };
    let capacity = match (overrides.throughput, on_demand) {
        (Some(_), true) => {
            return Err(invalid(
                "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
            ));
        }
        (None, true) => Capacity::default(),
        (Some(t), false) => Capacity { read: t.read_capacity_units, write: t.write_capacity_units },
        (None, false) if source.on_demand => {
            return Err(invalid(
                "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
            ));
        }
        (None, false) => source.capacity,
    };
    Ok(Billing {
        on_demand,
        capacity,
        on_demand_since: on_demand.then_some(now),
        has_summary: on_demand,
        most,
        ..Billing::default()
    })
}

/// The indexes that the table is restored with: all, or those named.
fn kept(source: &[Index], overrides: &Overrides<'_>) -> Result<Vec<Index>, Error> {
    for (names, local) in [(&overrides.global, false), (&overrides.local, true)] {
        for name in names.iter().flatten() {
            if !source.iter().any(|i| i.local == local && i.name == **name) {
                return Err(invalid(format!(
                    "The restored table cannot have an index that its source does not have: {name}"
                )));
            }
        }
    }
    let wanted = |i: &&Index| match if i.local { &overrides.local } else { &overrides.global } {
        Some(names) => names.contains(&i.name.as_str()),
        None => true,
    };
    Ok(source.iter().filter(wanted).cloned().collect())
}
