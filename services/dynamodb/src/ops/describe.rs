//! DescribeTable, DescribeLimits, DescribeEndpoints, and the description of a table.

use crate::api;
use crate::error::Error;
use crate::key::KeySchema;
use crate::policy::{check_table_name, table_name};
use crate::room::DynamoDb;
use crate::table::{Capacity, Index, IndexProjection, Table, TableRef};
use crate::worker::Count;
use squall_service::Ctx;

/// What an on-demand table takes from its first second.
pub(super) const WARM_ON_DEMAND: Capacity = Capacity { read: 12_000, write: 4_000 };

impl DynamoDb {
    /// The table of a control-plane request, whose error names it.
    ///
    /// # Errors
    /// `ResourceNotFoundException`, `ValidationException`.
    pub(crate) fn named_table(&self, ctx: &Ctx, named: &str) -> Result<TableRef, Error> {
        let name = table_name(named);
        check_table_name(name)?;
        self.catalog
            .get(ctx.region.as_str(), name)
            .ok_or_else(|| Error::ResourceNotFound(format!("Requested resource not found: Table: {name} not found")))
    }

    /// Describes a table.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub(crate) fn describe_table(
        &self,
        ctx: &Ctx,
        input: api::DescribeTableInput,
    ) -> Result<api::DescribeTableOutput, Error> {
        let table = self.named_table(ctx, &input.table_name)?;
        Ok(api::DescribeTableOutput { table: Some(self.described(&table)) })
    }

    /// The description of a table that serves.
    pub(super) fn described(&self, table: &Table) -> api::TableDescription {
        let mut out = description(table, table.status(), "ACTIVE");
        let count = self.counts.of(table.id);
        (out.item_count, out.table_size_bytes) = (Some(count.items), Some(count.bytes));
        let counts: Vec<(&str, Count)> =
            table.indexes.iter().map(|i| (i.name.as_str(), self.counts.of(i.id))).collect();
        let find = |name: &Option<String>| {
            let name = name.as_deref().unwrap_or_default();
            counts.iter().find(|(n, _)| *n == name).map(|(_, c)| *c).unwrap_or_default()
        };
        for index in out.global_secondary_indexes.iter_mut().flatten() {
            let count = find(&index.index_name);
            (index.item_count, index.index_size_bytes) = (Some(count.items), Some(count.bytes));
            let own = table.indexes.iter().find(|i| Some(&i.name) == index.index_name.as_ref());
            let warm = own.and_then(|i| i.warm).unwrap_or_else(|| warm(table));
            index.warm_throughput = Some(api::GlobalSecondaryIndexWarmThroughputDescription {
                read_units_per_second: Some(warm.read),
                write_units_per_second: Some(warm.write),
                status: Some("ACTIVE".into()),
            });
        }
        for index in out.local_secondary_indexes.iter_mut().flatten() {
            let count = find(&index.index_name);
            (index.item_count, index.index_size_bytes) = (Some(count.items), Some(count.bytes));
        }
        if let Some(summary) = &mut out.billing_mode_summary {
            summary.last_update_to_pay_per_request_date_time = table.billing.on_demand_since;
        }
        if let Some(shown) = &mut out.provisioned_throughput {
            shown.number_of_decreases_today = Some(table.billing.decreases_today(self.deps.clock.now()).into());
        }
        let warm = table.warm.unwrap_or_else(|| warm(table));
        out.warm_throughput = Some(api::TableWarmThroughputDescription {
            read_units_per_second: Some(warm.read),
            write_units_per_second: Some(warm.write),
            status: Some("ACTIVE".into()),
        });
        out
    }

    /// The account's quotas, which nothing enforces here: AWS's defaults.
    pub(crate) fn describe_limits(&self) -> api::DescribeLimitsOutput {
        api::DescribeLimitsOutput {
            account_max_read_capacity_units: Some(80_000),
            account_max_write_capacity_units: Some(80_000),
            table_max_read_capacity_units: Some(40_000),
            table_max_write_capacity_units: Some(40_000),
        }
    }

    /// This server, as the caller reached it.
    pub(crate) fn describe_endpoints(&self, ctx: &Ctx) -> api::DescribeEndpointsOutput {
        let endpoint = api::Endpoint { address: ctx.host.clone(), cache_period_in_minutes: 1440 };
        api::DescribeEndpointsOutput { endpoints: vec![endpoint] }
    }
}

fn warm(table: &Table) -> Capacity {
    if table.billing.on_demand { WARM_ON_DEMAND } else { table.billing.capacity }
}

/// Makes of a table's description the one in UpdateTable's answer: what changes is still under way.
pub(super) fn under_way(out: &mut api::TableDescription, before: &Table, after: &Table) {
    out.table_status = Some("UPDATING".into());
    out.warm_throughput = None;
    let keeps_mode = !before.billing.on_demand && !after.billing.on_demand;
    if let (Some(shown), true) = (&mut out.provisioned_throughput, keeps_mode) {
        (shown.read_capacity_units, shown.write_capacity_units) =
            (Some(before.billing.capacity.read), Some(before.billing.capacity.write));
        (shown.last_increase_date_time, shown.last_decrease_date_time) =
            (before.billing.increased, before.billing.decreased);
    }
    for index in before.indexes.iter().filter(|i| !i.local) {
        match after.indexes.iter().find(|i| i.id == index.id) {
            None => {
                let going = global_index(before, index, "DELETING");
                out.global_secondary_indexes.get_or_insert_default().push(going);
            }
            Some(same) if same.capacity != index.capacity => {
                let shown = out.global_secondary_indexes.iter_mut().flatten();
                for shown in shown.filter(|s| s.index_name.as_ref() == Some(&index.name)) {
                    shown.index_status = Some("UPDATING".into());
                }
            }
            Some(_) => {}
        }
    }
}

/// The description in CreateTable's answer.
pub(super) fn created(table: &Table) -> api::TableDescription {
    description(table, "CREATING", "CREATING")
}

/// The description of a table in this state.
pub(super) fn description(table: &Table, status: &str, index_status: &str) -> api::TableDescription {
    let (local, global): (Vec<&Index>, Vec<&Index>) = table.indexes.iter().partition(|i| i.local);
    let some = |list: Vec<_>| (!list.is_empty()).then_some(list);
    let mode = if table.billing.on_demand { "PAY_PER_REQUEST" } else { "PROVISIONED" };
    api::TableDescription {
        attribute_definitions: Some(definitions(table)),
        table_name: Some(table.name.clone()),
        key_schema: Some(elements(&table.schema)),
        table_status: Some(status.into()),
        creation_date_time: Some(table.created),
        provisioned_throughput: Some(api::ProvisionedThroughputDescription {
            last_increase_date_time: table.billing.increased,
            last_decrease_date_time: table.billing.decreased,
            ..throughput(table.billing.capacity)
        }),
        table_size_bytes: Some(0),
        item_count: Some(0),
        table_arn: Some(table.arn.clone()),
        table_id: Some(table.uuid.clone()),
        billing_mode_summary: table.billing.has_summary.then(|| api::BillingModeSummary {
            billing_mode: Some(mode.into()),
            last_update_to_pay_per_request_date_time: None,
        }),
        local_secondary_indexes: (!local.is_empty()).then(|| local.iter().map(|i| local_index(table, i)).collect()),
        global_secondary_indexes: some(global.iter().map(|i| global_index(table, i, index_status)).collect()),
        table_class_summary: table
            .class
            .clone()
            .map(|class| api::TableClassSummary { table_class: Some(class), ..Default::default() }),
        deletion_protection_enabled: Some(table.deletion_protection),
        stream_specification: table
            .stream
            .as_ref()
            .filter(|s| s.closed.is_none())
            .map(|s| api::StreamSpecification { stream_enabled: true, stream_view_type: Some(s.view.name().into()) }),
        latest_stream_arn: table.stream.as_ref().map(|s| s.arn.clone()),
        latest_stream_label: table.stream.as_ref().map(|s| s.label.clone()),
        on_demand_throughput: most(table.billing.most),
        restore_summary: table.restore.as_ref().map(|r| api::RestoreSummary {
            source_backup_arn: r.backup.clone(),
            source_table_arn: Some(r.table.clone()),
            restore_date_time: r.at,
            restore_in_progress: r.work.is_some(),
        }),
        ..Default::default()
    }
}

fn definitions(table: &Table) -> Vec<api::AttributeDefinition> {
    let one = |a: &crate::key::KeyAttribute| api::AttributeDefinition {
        attribute_name: a.name.clone(),
        attribute_type: a.kind.name().into(),
    };
    table.attributes.iter().map(one).collect()
}

pub(super) fn elements(schema: &KeySchema) -> Vec<api::KeySchemaElement> {
    let names = schema.attributes().map(|a| a.name.clone());
    let kinds = ["HASH", "RANGE"];
    names
        .zip(kinds)
        .map(|(attribute_name, kind)| api::KeySchemaElement { attribute_name, key_type: kind.into() })
        .collect()
}

fn throughput(capacity: Capacity) -> api::ProvisionedThroughputDescription {
    api::ProvisionedThroughputDescription {
        number_of_decreases_today: Some(0),
        read_capacity_units: Some(capacity.read),
        write_capacity_units: Some(capacity.write),
        ..Default::default()
    }
}

/// Bounds as the service shows them: -1 for none.
fn most(most: Capacity) -> Option<api::OnDemandThroughput> {
    let one = |n: i64| Some(if n == 0 { -1 } else { n });
    (most != Capacity::default()).then(|| api::OnDemandThroughput {
        max_read_request_units: one(most.read),
        max_write_request_units: one(most.write),
    })
}

fn projection(index: &Index) -> api::Projection {
    let (kind, more) = match &index.projection {
        IndexProjection::All => ("ALL", None),
        IndexProjection::KeysOnly => ("KEYS_ONLY", None),
        IndexProjection::Include(names) => ("INCLUDE", Some(names.clone())),
    };
    api::Projection { projection_type: Some(kind.into()), non_key_attributes: more }
}

fn global_index(table: &Table, index: &Index, status: &str) -> api::GlobalSecondaryIndexDescription {
    api::GlobalSecondaryIndexDescription {
        index_name: Some(index.name.clone()),
        key_schema: Some(elements(&index.schema)),
        projection: Some(projection(index)),
        index_status: Some(if index.backfilling { "CREATING".into() } else { status.into() }),
        backfilling: index.backfilling.then_some(true),
        provisioned_throughput: Some(throughput(index.capacity)),
        index_size_bytes: Some(0),
        item_count: Some(0),
        index_arn: Some(table.index_arn(&index.name)),
        on_demand_throughput: most(index.most),
        ..Default::default()
    }
}

fn local_index(table: &Table, index: &Index) -> api::LocalSecondaryIndexDescription {
    api::LocalSecondaryIndexDescription {
        index_name: Some(index.name.clone()),
        key_schema: Some(elements(&index.schema)),
        projection: Some(projection(index)),
        index_size_bytes: Some(0),
        item_count: Some(0),
        index_arn: Some(table.index_arn(&index.name)),
    }
}
