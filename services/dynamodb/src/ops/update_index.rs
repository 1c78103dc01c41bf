//! What UpdateTable changes about global indexes.

use super::definition::{self, Wanted, invalid};
use super::update_billing::unchanged;
use crate::api;
use crate::error::Error;
use crate::table::{Capacity, Index, Table};

/// The index that an update is about.
fn name_of(update: &api::GlobalSecondaryIndexUpdate) -> Option<&str> {
    let update_name = update.update.as_ref().map(|u| u.index_name.as_str());
    let create_name = update.create.as_ref().map(|c| c.index_name.as_str());
    update_name.or(create_name).or(update.delete.as_ref().map(|d| d.index_name.as_str()))
}

/// Checks what needs no table.
///
/// # Errors
/// `ValidationException`; `LimitExceededException` for two indexes that come or go.
pub(super) fn check_asked(updates: &[api::GlobalSecondaryIndexUpdate]) -> Result<(), Error> {
    for (at, update) in updates.iter().enumerate() {
        let actions = [update.update.is_some(), update.create.is_some(), update.delete.is_some()];
        match actions.iter().filter(|there| **there).count() {
            1 => {}
            0 => {
                return Err(invalid(
                    "One of GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, \
                     GlobalSecondaryIndexUpdate.Delete must not be null",
                ));
            }
            _ => {
                return Err(invalid(
                    "Only one of GlobalSecondaryIndexUpdate.Update, GlobalSecondaryIndexUpdate.Create, \
                     GlobalSecondaryIndexUpdate.Delete may be specified",
                ));
            }
        }
        let name = name_of(update).unwrap_or_default();
        if updates.iter().take(at).any(|other| name_of(other) == Some(name)) {
            return Err(invalid(format!(
                "Only one global secondary index update per index is allowed simultaneously. Index: {name}"
            )));
        }
        let of_update = update.update.as_ref().and_then(|u| u.provisioned_throughput.as_ref());
        let of_create = update.create.as_ref().and_then(|c| c.provisioned_throughput.as_ref());
        if let Some(asked) = of_update.or(of_create) {
            definition::capacity(asked, Some(name))?;
        }
    }
    if updates.iter().filter(|u| u.create.is_some() || u.delete.is_some()).count() > 1 {
        return Err(Error::LimitExceeded(
            "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table".into(),
        ));
    }
    Ok(())
}

/// Applies one update, which [`check_asked`] has seen.
///
/// # Errors
/// `ValidationException`, `ResourceNotFoundException`.
pub(super) fn change(
    table: &mut Table,
    update: &api::GlobalSecondaryIndexUpdate,
    input: &api::UpdateTableInput,
    id: u64,
) -> Result<(), Error> {
    if let Some(asked) = &update.create {
        return create(table, asked, input, id);
    }
    let name = name_of(update).unwrap_or_default();
    let at = table.indexes.iter().position(|i| i.name == name && !i.local);
    let at = at.ok_or_else(|| Error::ResourceNotFound("Requested resource not found".into()))?;
    if update.delete.is_some() {
        table.indexes.remove(at);
        let (schema, indexes) = (&table.schema, &table.indexes);
        let used = |name: &str| schema.has(name) || indexes.iter().any(|i| i.schema.has(name));
        table.attributes.retain(|a| used(&a.name));
        return Ok(());
    }
    let becomes_provisioned = input.billing_mode.is_some();
    let on_demand = table.billing.on_demand;
    match (table.indexes.get_mut(at), &update.update) {
        (Some(index), Some(asked)) => set(index, asked, on_demand, becomes_provisioned),
        _ => Ok(()),
    }
}

fn set(
    index: &mut Index,
    asked: &api::UpdateGlobalSecondaryIndexAction,
    on_demand: bool,
    becomes_provisioned: bool,
) -> Result<(), Error> {
    if let Some(units) = &asked.provisioned_throughput {
        if on_demand {
            return Err(invalid(
                "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
            ));
        }
        let units = definition::capacity(units, Some(&index.name))?;
        if units == index.capacity && !becomes_provisioned {
            return Err(unchanged(units, Some(&index.name)));
        }
        index.capacity = units;
    }
    if asked.on_demand_throughput.is_some() {
        index.most = definition::most(asked.on_demand_throughput.as_ref(), on_demand)?;
    }
    if let Some(warm) = definition::warm(asked.warm_throughput.as_ref())? {
        check_warmer(index.warm.unwrap_or_default(), warm)?;
        index.warm = Some(warm);
    }
    Ok(())
}

/// Warm throughput only grows.
///
/// # Errors
/// `ValidationException`.
pub(super) fn check_warmer(from: Capacity, to: Capacity) -> Result<(), Error> {
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

fn create(
    table: &mut Table,
    asked: &api::CreateGlobalSecondaryIndexAction,
    input: &api::UpdateTableInput,
    id: u64,
) -> Result<(), Error> {
    if table.indexes.iter().any(|i| i.name == asked.index_name) {
        return Err(Error::validation("Attempting to create an index which already exists"));
    }
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
        name: &asked.index_name,
        local: false,
        elements: &asked.key_schema,
        projection: &asked.projection,
        throughput: asked.provisioned_throughput.as_ref(),
        most: asked.on_demand_throughput.as_ref(),
        warm: asked.warm_throughput.as_ref(),
    };
    let index = definition::index(&wanted, &table.schema, &table.attributes, table.billing.on_demand)?;
    table.indexes.push(Index { id, backfilling: true, ..index });
    definition::check_together(&table.schema, &table.indexes, &table.attributes)
}
