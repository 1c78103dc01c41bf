//! CreateTable.

use super::definition::{self, Wanted, invalid, refuse};
use crate::api;
use crate::error::Error;
use crate::policy::{check_table_name, table_name};
use crate::room::{DynamoDb, refusal};
use crate::table::{Billing, Capacity, Index, OpenTable, Table};
use crate::tables;
use squall_service::Ctx;
use squall_store::{Txn, ids};
use std::collections::BTreeMap;

/// Most tags of a resource.
pub(super) const TAGS_MAX: usize = 50;

impl DynamoDb {
    /// Makes a table. It serves at once; the answer says CREATING, as clients expect, and DescribeTable says ACTIVE.
    ///
    /// # Errors
    /// `ValidationException`, `ResourceInUseException`.
    pub(crate) async fn create_table(
        &self,
        ctx: &Ctx,
        input: api::CreateTableInput,
    ) -> Result<api::CreateTableOutput, Error> {
        let name = table_name(&input.table_name).to_owned();
        check_table_name(&name)?;
        refuse_settings(&input)?;
        let mut table = self.defined(ctx, &name, &input)?;
        if self.catalog.get(&table.region, &name).is_some() {
            return Err(in_use(&name));
        }
        let state = self.deps.state.as_ref();
        table.id = ids::allocate(state).await?;
        for index in &mut table.indexes {
            index.id = ids::allocate(state).await?;
        }
        let key = tables::definition(&table.region, &name);
        let txn = Txn::new().absent(key.clone()).put(key.clone(), table.seal()?);
        let done = match self.deps.state.commit(txn).await {
            Ok(done) => done,
            Err(squall_store::Error::Check(_)) => {
                self.catalog.reload(&table.region, &name).await?;
                return Err(in_use(&name));
            }
            Err(error) => return Err(refusal(error)),
        };
        let table = self.catalog.insert(OpenTable { table, key, ver: done.stamp });
        Ok(api::CreateTableOutput { table_description: Some(super::describe::created(&table)) })
    }

    /// The definition that the input asks for, without ids.
    fn defined(&self, ctx: &Ctx, name: &str, input: &api::CreateTableInput) -> Result<Table, Error> {
        let definitions = input.attribute_definitions.as_deref().unwrap_or_default();
        let attributes = definition::attributes(definitions)?;
        let billing = billing(input, ctx)?;
        let schema = definition::key_schema(input.key_schema.as_deref().unwrap_or_default(), &attributes, true)?;
        let mut indexes: Vec<Index> = Vec::new();
        for wanted in wanted_indexes(input)? {
            indexes.push(definition::index(&wanted, &schema, &attributes, billing.on_demand)?);
        }
        definition::check_together(&schema, &indexes, &attributes)?;
        let tags: BTreeMap<String, String> =
            input.tags.iter().flatten().map(|t| (t.key.clone(), t.value.clone())).collect();
        if tags.len() > TAGS_MAX {
            return Err(invalid(format!("Number of tags exceeds the limit of {TAGS_MAX}")));
        }
        Ok(Table {
            id: 0,
            uuid: self.deps.random.uuid(),
            name: name.to_owned(),
            region: ctx.region.as_str().to_owned(),
            arn: ctx.arn("dynamodb", &format!("table/{name}")),
            created: self.deps.clock.now(),
            attributes,
            schema,
            indexes,
            billing,
            deletion_protection: input.deletion_protection_enabled.unwrap_or(false),
            class: input.table_class.clone(),
            ttl: None,
            tags,
        })
    }
}

fn in_use(name: &str) -> Error {
    Error::ResourceInUse(format!("Table already exists: {name}"))
}

fn refuse_settings(input: &api::CreateTableInput) -> Result<(), Error> {
    refuse(&input.warm_throughput, "WarmThroughput")?;
    refuse(&input.resource_policy, "ResourcePolicy")?;
    refuse(&input.on_demand_throughput, "OnDemandThroughput")?;
    refuse(&input.global_table_source_arn, "GlobalTableSourceArn")?;
    refuse(&input.global_table_settings_replication_mode, "GlobalTableSettingsReplicationMode")?;
    refuse(&input.stream_specification.as_ref().filter(|s| s.stream_enabled), "StreamSpecification")?;
    refuse(&input.sse_specification.as_ref().filter(|s| s.enabled == Some(true)), "SSESpecification")?;
    for index in input.global_secondary_indexes.iter().flatten() {
        refuse(&index.on_demand_throughput, "OnDemandThroughput")?;
        refuse(&index.warm_throughput, "WarmThroughput")?;
    }
    Ok(())
}

fn billing(input: &api::CreateTableInput, ctx: &Ctx) -> Result<Billing, Error> {
    let on_demand = input.billing_mode.as_deref() == Some("PAY_PER_REQUEST");
    match (&input.provisioned_throughput, on_demand) {
        (Some(_), true) => Err(invalid(
            "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
        )),
        (None, true) => {
            Ok(Billing { on_demand, capacity: Capacity::default(), on_demand_since: Some(ctx.time), has_summary: true })
        }
        (None, false) => Err(invalid(
            "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
        )),
        (Some(t), false) => Ok(Billing {
            capacity: Capacity { read: t.read_capacity_units, write: t.write_capacity_units },
            ..Billing::default()
        }),
    }
}

fn wanted_indexes(input: &api::CreateTableInput) -> Result<Vec<Wanted<'_>>, Error> {
    let (local, global) = (&input.local_secondary_indexes, &input.global_secondary_indexes);
    for (list, name) in [
        (local.as_ref().map(Vec::len), "LocalSecondaryIndexes"),
        (global.as_ref().map(Vec::len), "GlobalSecondaryIndexes"),
    ] {
        if list == Some(0) {
            return Err(invalid(format!("List of {name} is empty")));
        }
    }
    let local = local.iter().flatten().map(|i| Wanted {
        name: &i.index_name,
        local: true,
        elements: &i.key_schema,
        projection: &i.projection,
        throughput: None,
    });
    let global = global.iter().flatten().map(|i| Wanted {
        name: &i.index_name,
        local: false,
        elements: &i.key_schema,
        projection: &i.projection,
        throughput: i.provisioned_throughput.as_ref(),
    });
    Ok(local.chain(global).collect())
}
