//! CreateTable.

use super::definition::{self, Wanted, invalid, refuse};
use super::streams::setting;
use crate::api;
use crate::error::Error;
use crate::features::ResourcePolicy;
use crate::layout::LAYOUT;
use crate::policy::{check_table_name, table_name};
use crate::room::{DynamoDb, refusal};
use crate::table::{Billing, Index, OpenTable, Table, TableRef};
use crate::{stream, tables};
use squall_service::Ctx;
use squall_store::{Txn, ids};
use squall_types::Millis;
use std::collections::BTreeMap;

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
        if let Some(view) = setting::wanted(input.stream_specification.as_ref())? {
            let id = ids::allocate(state).await?;
            table.stream = Some(setting::begun(&table, view, id, self.options.stream_shards(), table.created));
        }
        let table = self.insert_table(table).await?;
        Ok(api::CreateTableOutput { table_description: Some(super::describe::created(&table)) })
    }

    /// Writes a new definition.
    ///
    /// # Errors
    /// `ResourceInUseException`.
    pub(super) async fn insert_table(&self, table: Table) -> Result<TableRef, Error> {
        let key = tables::definition(&table.region, &table.name);
        let mut txn = Txn::new().absent(key.clone()).put(key.clone(), table.seal()?);
        if let Some(new) = &table.stream {
            txn = txn.put(tables::stream(&new.arn), stream::seal(new)?);
        }
        let done = match self.deps.state.commit(txn).await {
            Ok(done) => done,
            Err(squall_store::Error::Check(_)) => {
                self.catalog.reload(&table.region, &table.name).await?;
                return Err(in_use(&table.name));
            }
            Err(error) => return Err(refusal(error)),
        };
        table.stream.iter().for_each(|s| self.streams.insert(s.clone()));
        Ok(self.catalog.insert(OpenTable { table, key, ver: done.stamp }))
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
        let mut tags = BTreeMap::new();
        super::tags::add(&mut tags, input.tags.as_deref().unwrap_or_default())?;
        Ok(Table {
            id: 0,
            layout: LAYOUT,
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
            stream: None,
            expiry: None,
            history: None,
            restore: None,
            policy: new_policy(input.resource_policy.as_deref(), self.deps.clock.now())?,
            warm: definition::warm(input.warm_throughput.as_ref())?,
        })
    }
}

/// The policy that comes with a table.
fn new_policy(text: Option<&str>, now: Millis) -> Result<Option<ResourcePolicy>, Error> {
    let Some(text) = text else { return Ok(None) };
    super::resource_policy::check(text)?;
    Ok(Some(ResourcePolicy { text: text.to_owned(), revision: now.0.to_string() }))
}

fn in_use(name: &str) -> Error {
    Error::ResourceInUse(format!("Table already exists: {name}"))
}

fn refuse_settings(input: &api::CreateTableInput) -> Result<(), Error> {
    refuse(&input.global_table_source_arn, "GlobalTableSourceArn")?;
    refuse(&input.global_table_settings_replication_mode, "GlobalTableSettingsReplicationMode")?;
    refuse(&input.sse_specification.as_ref().filter(|s| s.enabled == Some(true)), "SSESpecification")?;
    Ok(())
}

fn billing(input: &api::CreateTableInput, ctx: &Ctx) -> Result<Billing, Error> {
    let on_demand = input.billing_mode.as_deref() == Some("PAY_PER_REQUEST");
    let most = definition::most(input.on_demand_throughput.as_ref(), on_demand)?;
    match (&input.provisioned_throughput, on_demand) {
        (Some(_), true) => Err(invalid(
            "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST",
        )),
        (None, true) => {
            Ok(Billing { on_demand, on_demand_since: Some(ctx.time), has_summary: true, most, ..Billing::default() })
        }
        (None, false) => Err(invalid(
            "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
        )),
        (Some(t), false) => Ok(Billing { capacity: definition::capacity(t, None)?, ..Billing::default() }),
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
        most: None,
        warm: None,
    });
    let global = global.iter().flatten().map(|i| Wanted {
        name: &i.index_name,
        local: false,
        elements: &i.key_schema,
        projection: &i.projection,
        throughput: i.provisioned_throughput.as_ref(),
        most: i.on_demand_throughput.as_ref(),
        warm: i.warm_throughput.as_ref(),
    });
    Ok(local.chain(global).collect())
}
