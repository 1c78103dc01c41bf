//! UpdateTable, and how any definition changes.

use super::definition::{self, refuse};
use super::describe;
use super::streams::setting;
use super::{update_billing, update_index};
use crate::api;
use crate::error::Error;
use crate::room::{DynamoDb, refusal};
use crate::stream::{self, retention};
use crate::table::{OpenTable, Table, TableRef};
use crate::tables::{self, Rows};
use squall_service::Ctx;
use squall_store::{Txn, envelope, ids};

/// As for writes.
const GUARD_TRIES: usize = 8;

impl DynamoDb {
    /// Changes a definition: `change` gets a copy, which is written if nobody else changed it meanwhile. Rows of indexes
    /// that are gone afterwards become garbage.
    ///
    /// # Errors
    /// As `change` says; `ResourceNotFoundException`.
    pub(crate) async fn redefine(
        &self,
        ctx: &Ctx,
        named: &str,
        change: impl Fn(&mut Table) -> Result<(), Error> + Send + Sync,
    ) -> Result<TableRef, Error> {
        for _ in 0..GUARD_TRIES {
            let before = self.named_table(ctx, named)?;
            if let Some(after) = self.redefine_from(&before, &change).await? {
                return Ok(after);
            }
        }
        Err(Error::Internal("a table's definition kept changing".into()))
    }

    /// Changes this version of a definition; `None` when there is a newer one, which is then known.
    pub(crate) async fn redefine_from(
        &self,
        before: &TableRef,
        change: &(impl Fn(&mut Table) -> Result<(), Error> + Send + Sync),
    ) -> Result<Option<TableRef>, Error> {
        let mut table = before.table.clone();
        change(&mut table)?;
        let mut txn = Txn::new().guard(before.key.clone(), before.ver).put(before.key.clone(), table.seal()?);
        for gone in before.indexes.iter().filter(|old| table.indexes.iter().all(|new| new.id != old.id)) {
            txn = txn.put(tables::garbage(Rows::Index(gone.id)), envelope::seal(&[]));
        }
        if let Some(gone) = before.expiry.filter(|old| table.expiry.is_none_or(|new| new.id != old.id)) {
            txn = txn.put(tables::garbage(Rows::Expiry(gone.id)), envelope::seal(&[]));
        }
        if let Some(gone) = before.history.filter(|old| table.history.is_none_or(|new| new.id != old.id)) {
            txn = retention::drop_part(gone.part(), txn);
        }
        let stream = table.stream.clone().filter(|s| before.stream.as_ref() != Some(s));
        if let Some(stream) = &stream {
            txn = txn.put(tables::stream(&stream.arn), stream::seal(stream)?);
        }
        match self.deps.state.commit(txn).await {
            Ok(done) => {
                let after = self.catalog.insert(OpenTable { table, key: before.key.clone(), ver: done.stamp });
                if let Some(stream) = stream {
                    self.streams.insert(stream);
                    self.closings.send_replace(());
                }
                Ok(Some(after))
            }
            Err(squall_store::Error::Guard(_)) => {
                self.catalog.reload(&before.region, &before.name).await?;
                Ok(None)
            }
            Err(error) => Err(refusal(error)),
        }
    }

    /// Changes billing, throughput, class, deletion protection, the stream, or one global index.
    ///
    /// # Errors
    /// `ValidationException`, `ResourceNotFoundException`, `ResourceInUseException` while an index is being filled,
    /// `LimitExceededException` for two indexes at once.
    pub(crate) async fn update_table(
        &self,
        ctx: &Ctx,
        input: api::UpdateTableInput,
    ) -> Result<api::UpdateTableOutput, Error> {
        refuse_settings(&input)?;
        check_asked(&input)?;
        let updates = input.global_secondary_index_updates.as_deref().unwrap_or_default();
        let needs_id = updates.iter().any(|u| u.create.is_some()) || input.stream_specification.is_some();
        let id = if needs_id { ids::allocate(self.deps.state.as_ref()).await? } else { 0 };
        let now = self.deps.clock.now();
        let shards = self.options.stream_shards();
        let before = parking_lot::Mutex::new(None);
        let change = |table: &mut Table| {
            if table.status() != "ACTIVE" {
                let doing = if table.is_restoring() { "created" } else { "updated" };
                return Err(Error::ResourceInUse(format!(
                    "Attempt to change a resource which is still in use: Table is being {doing}: {}",
                    table.name
                )));
            }
            *before.lock() = Some(table.clone());
            update_billing::change(table, &input, now)?;
            if let Some(class) = &input.table_class {
                table.class = Some(class.clone());
            }
            if let Some(protected) = input.deletion_protection_enabled {
                table.deletion_protection = protected;
            }
            if let Some(warm) = definition::warm(input.warm_throughput.as_ref())? {
                update_index::check_warmer(table.warm.unwrap_or_default(), warm)?;
                table.warm = Some(warm);
            }
            if let Some(asked) = &input.stream_specification {
                setting::change(table, asked, id, shards, now)?;
            }
            updates.iter().try_for_each(|update| update_index::change(table, update, &input, id))
        };
        let table = self.redefine(ctx, &input.table_name, change).await?;
        self.work.notify_one();
        let mut description = self.described(&table);
        if let Some(before) = before.into_inner() {
            describe::under_way(&mut description, &before, &table);
        }
        Ok(api::UpdateTableOutput { table_description: Some(description) })
    }
}

/// Checks that something is asked for, and not too much at once.
fn check_asked(input: &api::UpdateTableInput) -> Result<(), Error> {
    let updates = input.global_secondary_index_updates.as_deref().unwrap_or_default();
    let asks_nothing = input.billing_mode.is_none()
        && input.provisioned_throughput.is_none()
        && input.table_class.is_none()
        && input.deletion_protection_enabled.is_none()
        && input.stream_specification.is_none()
        && input.sse_specification.is_none()
        && input.on_demand_throughput.is_none()
        && input.warm_throughput.is_none()
        && updates.is_empty();
    if asks_nothing {
        return Err(Error::validation(
            "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or \
             SSESpecification or ReplicaUpdates is required",
        ));
    }
    update_billing::check_asked(input)?;
    update_index::check_asked(updates)
}

fn refuse_settings(input: &api::UpdateTableInput) -> Result<(), Error> {
    refuse(&input.replica_updates, "ReplicaUpdates")?;
    refuse(&input.multi_region_consistency, "MultiRegionConsistency")?;
    refuse(&input.global_table_witness_updates, "GlobalTableWitnessUpdates")?;
    refuse(&input.global_table_settings_replication_mode, "GlobalTableSettingsReplicationMode")?;
    refuse(&input.sse_specification.as_ref().filter(|s| s.enabled == Some(true)), "SSESpecification")
}
