//! UpdateTable, and how any definition changes.

use super::definition::{self, Wanted, invalid, refuse};
use super::streams::setting;
use crate::api;
use crate::error::Error;
use crate::room::{DynamoDb, refusal};
use crate::stream::{self, retention};
use crate::table::{Capacity, Index, OpenTable, Table, TableRef};
use crate::tables::{self, Rows};
use squall_service::Ctx;
use squall_store::{Txn, envelope, ids};
use squall_types::Millis;

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
        let change = |table: &mut Table| {
            if table.status() != "ACTIVE" {
                return Err(Error::ResourceInUse(format!(
                    "Attempt to change a resource which is still in use: Table is being updated: {}",
                    table.name
                )));
            }
            change_billing(table, &input, now)?;
            if let Some(class) = &input.table_class {
                table.class = Some(class.clone());
            }
            if let Some(protected) = input.deletion_protection_enabled {
                table.deletion_protection = protected;
            }
            if let Some(warm) = definition::warm(input.warm_throughput.as_ref())? {
                check_warmer(table.warm.unwrap_or_default(), warm)?;
                table.warm = Some(warm);
            }
            if let Some(asked) = &input.stream_specification {
                setting::change(table, asked, id, shards, now)?;
            }
            updates.iter().try_for_each(|update| change_index(table, update, &input, id))
        };
        let table = self.redefine(ctx, &input.table_name, change).await?;
        self.work.notify_one();
        let mut description = self.described(&table);
        description.table_status = Some("UPDATING".into());
        description.warm_throughput = None;
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
    if updates.iter().filter(|u| u.create.is_some() || u.delete.is_some()).count() > 1 {
        return Err(Error::LimitExceeded(
            "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table".into(),
        ));
    }
    Ok(())
}

/// Warm throughput only grows.
fn check_warmer(from: Capacity, to: Capacity) -> Result<(), Error> {
    for (name, from, to) in [("ReadUnitsPerSecond", from.read, to.read), ("WriteUnitsPerSecond", from.write, to.write)]
    {
        if to < from {
            return Err(invalid(format!(
                "Requested {name} for WarmThroughput for table is lower than current WarmThroughput, decreasing \
                 WarmThroughput is not supported"
            )));
        }
    }
    Ok(())
}

fn refuse_settings(input: &api::UpdateTableInput) -> Result<(), Error> {
    refuse(&input.replica_updates, "ReplicaUpdates")?;
    refuse(&input.multi_region_consistency, "MultiRegionConsistency")?;
    refuse(&input.global_table_witness_updates, "GlobalTableWitnessUpdates")?;
    refuse(&input.global_table_settings_replication_mode, "GlobalTableSettingsReplicationMode")?;
    refuse(&input.sse_specification.as_ref().filter(|s| s.enabled == Some(true)), "SSESpecification")
}

fn change_billing(table: &mut Table, input: &api::UpdateTableInput, now: Millis) -> Result<(), Error> {
    let on_demand = match input.billing_mode.as_deref() {
        Some(mode) => mode == "PAY_PER_REQUEST",
        None => table.billing.on_demand,
    };
    let changes = on_demand != table.billing.on_demand;
    match (&input.provisioned_throughput, on_demand) {
        (Some(_), true) => {
            return Err(invalid(
                "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
            ));
        }
        (None, false) if changes => {
            return Err(invalid(
                "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
            ));
        }
        (Some(asked), false) => {
            let asked = Capacity { read: asked.read_capacity_units, write: asked.write_capacity_units };
            if asked == table.billing.capacity && !changes && input.global_secondary_index_updates.is_none() {
                return Err(unchanged(asked));
            }
            note_change(&mut table.billing, asked, now);
            table.billing.capacity = asked;
        }
        (None, _) => {}
    }
    if changes && on_demand {
        table.billing.capacity = Capacity::default();
        table.indexes.iter_mut().for_each(|i| i.capacity = Capacity::default());
        table.billing.on_demand_since = Some(now);
        table.billing.has_summary = true;
    }
    if changes && !on_demand {
        table.billing.most = Capacity::default();
        table.indexes.iter_mut().for_each(|i| i.most = Capacity::default());
        check_index_capacities(table, input)?;
    }
    table.billing.on_demand = on_demand;
    if input.on_demand_throughput.is_some() {
        table.billing.most = definition::most(input.on_demand_throughput.as_ref(), on_demand)?;
    }
    Ok(())
}

/// A table that becomes provisioned says so for each global index.
fn check_index_capacities(table: &Table, input: &api::UpdateTableInput) -> Result<(), Error> {
    let updates = input.global_secondary_index_updates.as_deref().unwrap_or_default();
    let given = |name: &str| updates.iter().filter_map(|u| u.update.as_ref()).any(|u| u.index_name == name);
    match table.indexes.iter().find(|i| !i.local && !given(&i.name)) {
        Some(index) => Err(invalid(format!("ProvisionedThroughput must be specified for index: {}", index.name))),
        None => Ok(()),
    }
}

fn note_change(billing: &mut crate::table::Billing, to: Capacity, now: Millis) {
    let from = billing.capacity;
    if to.read > from.read || to.write > from.write {
        billing.increased = Some(now);
    }
    if to.read < from.read || to.write < from.write {
        billing.decreased = Some(now);
    }
}

fn unchanged(at: Capacity) -> Error {
    let Capacity { read, write } = at;
    Error::validation(format!(
        "The provisioned throughput for the table will not change. The requested value equals the current value. Current \
         ReadCapacityUnits provisioned for the table: {read}. Requested ReadCapacityUnits: {read}. Current \
         WriteCapacityUnits provisioned for the table: {write}. Requested WriteCapacityUnits: {write}. Refer to the Amazon \
         DynamoDB Developer Guide for current limits and how to request higher limits."
    ))
}

fn change_index(
    table: &mut Table,
    update: &api::GlobalSecondaryIndexUpdate,
    input: &api::UpdateTableInput,
    id: u64,
) -> Result<(), Error> {
    let find = |table: &Table, name: &str| {
        table
            .indexes
            .iter()
            .position(|i| i.name == name && !i.local)
            .ok_or_else(|| Error::ResourceNotFound("Requested resource not found".into()))
    };
    match update {
        api::GlobalSecondaryIndexUpdate { create: Some(create), .. } => create_index(table, create, input, id),
        api::GlobalSecondaryIndexUpdate { delete: Some(delete), .. } => {
            let at = find(table, &delete.index_name)?;
            table.indexes.remove(at);
            let (schema, indexes) = (&table.schema, &table.indexes);
            let used = |name: &str| schema.has(name) || indexes.iter().any(|i| i.schema.has(name));
            table.attributes.retain(|a| used(&a.name));
            Ok(())
        }
        api::GlobalSecondaryIndexUpdate { update: Some(update), .. } => {
            let at = find(table, &update.index_name)?;
            let on_demand = table.billing.on_demand;
            let Some(index) = table.indexes.get_mut(at) else { return Ok(()) };
            if let Some(asked) = &update.provisioned_throughput {
                if on_demand {
                    return Err(invalid(
                        "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is \
                         PAY_PER_REQUEST",
                    ));
                }
                index.capacity = Capacity { read: asked.read_capacity_units, write: asked.write_capacity_units };
            }
            if update.on_demand_throughput.is_some() {
                index.most = definition::most(update.on_demand_throughput.as_ref(), on_demand)?;
            }
            if let Some(warm) = definition::warm(update.warm_throughput.as_ref())? {
                check_warmer(index.warm.unwrap_or_default(), warm)?;
                index.warm = Some(warm);
            }
            Ok(())
        }
        _ => Err(invalid(
            "One of GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, GlobalSecondaryIndexUpdate.Delete \
             must not be null",
        )),
    }
}

fn create_index(
    table: &mut Table,
    create: &api::CreateGlobalSecondaryIndexAction,
    input: &api::UpdateTableInput,
    id: u64,
) -> Result<(), Error> {
    let declared = definition::attributes(input.attribute_definitions.as_deref().unwrap_or_default())?;
    for attribute in declared {
        match table.attributes.iter().find(|a| a.name == attribute.name) {
            Some(known) if known.kind != attribute.kind => {
                return Err(invalid(format!("Attribute {} is already defined with another type", attribute.name)));
            }
            Some(_) => {}
            None => table.attributes.push(attribute),
        }
    }
    let wanted = Wanted {
        name: &create.index_name,
        local: false,
        elements: &create.key_schema,
        projection: &create.projection,
        throughput: create.provisioned_throughput.as_ref(),
        most: create.on_demand_throughput.as_ref(),
        warm: create.warm_throughput.as_ref(),
    };
    let index = definition::index(&wanted, &table.schema, &table.attributes, table.billing.on_demand)?;
    table.indexes.push(Index { id, backfilling: true, ..index });
    definition::check_together(&table.schema, &table.indexes, &table.attributes)
}
