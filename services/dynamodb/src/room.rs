//! The room as the gateway sees it, and what its operations share.

use crate::capacity::Spent;
use crate::catalog::Catalog;
use crate::config::Options;
use crate::error::Error;
use crate::layout;
use crate::ops::{self, no_global_table};
use crate::policy;
use crate::rules::{Done, Write};
use crate::stream::Streams;
use crate::table::{Table, TableRef};
use crate::throttle::{Throttle, Way};
use crate::wire::Fields;
use crate::worker::{self, Counts};
use crate::{api, api_streams};
use async_trait::async_trait;
use squall_protocol::{FromValue, IntoValue, Operation, Service, ServiceError, Value};
use squall_service::{Access, Ctx, Deps, Room};
use squall_store::{Mutation, Txn};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use tokio::sync::{Notify, watch};

/// How often a write is prepared again because the table's definition changed under it.
const GUARD_TRIES: usize = 8;

/// The dynamodb room.
pub struct DynamoDb {
    pub(crate) deps: Deps,
    pub(crate) options: Options,
    pub(crate) catalog: Catalog,
    pub(crate) streams: Streams,
    /// Tells those who wait for a stream's records that one has ended.
    pub(crate) closings: watch::Sender<()>,
    pub(crate) throttle: Throttle,
    /// Held by operations on backups and by deletions: what one reads the other must not remove.
    pub(crate) control: tokio::sync::Mutex<()>,
    /// When the backups are looked at again, in milliseconds; 0 for at once.
    pub(crate) backups_due: AtomicI64,
    pub(crate) counts: Counts,
    /// Wakes the worker when there is something to do at once.
    pub(crate) work: Arc<Notify>,
    /// Wakes the counting loop, which then finds the room gone.
    pub(crate) stop_counts: Arc<Notify>,
}

impl Drop for DynamoDb {
    fn drop(&mut self) {
        self.work.notify_one();
        self.stop_counts.notify_one();
    }
}

/// A single write, ready for the engine.
pub(crate) enum Plan {
    /// One mutation that depends on nothing.
    Blind(Mutation),
    /// A rule over the item.
    Ruled(Write),
}

impl DynamoDb {
    /// Opens the room with default options and starts its worker.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn open(deps: Deps) -> Result<Arc<DynamoDb>, Error> {
        DynamoDb::open_with(deps, Options::default()).await
    }

    /// Opens the room and starts its worker, which ends when the room is dropped.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn open_with(deps: Deps, options: Options) -> Result<Arc<DynamoDb>, Error> {
        layout::migrate(deps.state.as_ref()).await?;
        let catalog = Catalog::load(deps.state.clone()).await?;
        let streams = Streams::load(deps.state.as_ref()).await?;
        let closings = watch::Sender::new(());
        let throttle = Throttle::default();
        let (control, backups_due) = (tokio::sync::Mutex::new(()), AtomicI64::new(0));
        let work = Arc::new(Notify::new());
        let stop_counts = Arc::new(Notify::new());
        let counts = Counts::default();
        let room = Arc::new(DynamoDb {
            deps,
            options,
            catalog,
            streams,
            closings,
            throttle,
            control,
            backups_due,
            counts,
            work,
            stop_counts,
        });
        tokio::spawn(worker::run(Arc::downgrade(&room), room.work.clone()));
        tokio::spawn(worker::run_counts(Arc::downgrade(&room), room.stop_counts.clone()));
        Ok(room)
    }

    /// The table that a request names by name or ARN.
    ///
    /// # Errors
    /// `ResourceNotFoundException`; `ValidationException` for a name that no table has.
    pub(crate) fn table(&self, ctx: &Ctx, named: &str) -> Result<TableRef, Error> {
        let name = policy::table_name(named);
        policy::check_table_name(name)?;
        self.catalog
            .get(ctx.region.as_str(), name)
            .filter(|t| !t.is_restoring() && (!named.starts_with("arn:") || named == t.arn))
            .ok_or_else(|| Error::ResourceNotFound("Requested resource not found".into()))
    }

    /// Commits what `plan` makes of the table, again when the definition changed meanwhile.
    ///
    /// # Errors
    /// As the plan and its rule say.
    pub(crate) async fn write(
        &self,
        ctx: &Ctx,
        named: &str,
        plan: impl Fn(TableRef) -> Result<Plan, Error> + Send + Sync,
    ) -> Result<(TableRef, Done), Error> {
        for _ in 0..GUARD_TRIES {
            let table = self.table(ctx, named)?;
            self.admit_write(&table)?;
            let txn = Txn::new().guard(table.key.clone(), table.ver);
            let txn = match plan(table.clone())? {
                Plan::Blind(mutation) => txn.mutation(mutation),
                Plan::Ruled(write) => txn.rule([write.row_key()], move |view, out| write.run(view.value(0), out)),
            };
            match self.deps.state.commit(txn).await {
                Ok(done) => {
                    let done = done.reply::<Done>().unwrap_or_default();
                    self.pay(&table, Way::Write, || ops::write_spent(&done));
                    return Ok((table, done));
                }
                Err(squall_store::Error::Guard(_)) => {
                    self.catalog.reload(&table.region, &table.name).await?;
                }
                Err(error) => return Err(refusal(error)),
            }
        }
        Err(Error::Internal("a table's definition kept changing".into()))
    }

    fn is_throttled(&self, table: &Table) -> bool {
        self.options.throttle && table.is_bounded()
    }

    /// Lets a write pass, where throughput is bounded.
    ///
    /// # Errors
    /// `ProvisionedThroughputExceededException`, `ThrottlingException`.
    pub(crate) fn admit_write(&self, table: &Table) -> Result<(), Error> {
        if self.is_throttled(table) { self.throttle.admit_write(table, self.deps.clock.now()) } else { Ok(()) }
    }

    /// Lets a read of a table or of one of its indexes pass, where throughput is bounded.
    ///
    /// # Errors
    /// As [`DynamoDb::admit_write`].
    pub(crate) fn admit_read(&self, table: &Table, index: Option<usize>) -> Result<(), Error> {
        if !self.is_throttled(table) {
            return Ok(());
        }
        self.throttle.admit(table, index, Way::Read, self.deps.clock.now())
    }

    /// Takes what a request has cost, where throughput is bounded.
    pub(crate) fn pay(&self, table: &Table, way: Way, spent: impl FnOnce() -> Spent) {
        if self.is_throttled(table) {
            self.throttle.pay(table, &spent(), way);
        }
    }

    /// The rooms of both APIs: the tables' and the streams'.
    #[must_use]
    pub fn rooms(self: &Arc<Self>) -> Vec<Arc<dyn Room>> {
        vec![self.clone(), Arc::new(StreamsRoom(self.clone()))]
    }

    async fn run_streams(&self, ctx: &Ctx, op: &'static Operation, input: Value) -> Result<Value, Error> {
        match op.name {
            "ListStreams" => Ok(self.list_streams(ctx, typed(input)?)?.into_value()),
            "DescribeStream" => Ok(self.describe_stream(typed(input)?).await?.into_value()),
            "GetShardIterator" => Ok(self.get_shard_iterator(typed(input)?).await?.into_value()),
            "GetRecords" => self.get_records(typed(input)?).await,
            other => Err(ops::refused(other)),
        }
    }

    async fn run(&self, ctx: &Ctx, op: &'static Operation, input: Value) -> Result<Value, Error> {
        let fields = |input| match op.input {
            Some(shape) => Fields::new(shape, input),
            None => Fields::new(&api::shapes::GET_ITEM_INPUT, Value::Struct(Vec::new())),
        };
        match op.name {
            "PutItem" => self.put_item(ctx, fields(input)).await,
            "GetItem" => self.get_item(ctx, fields(input)).await,
            "UpdateItem" => self.update_item(ctx, fields(input)).await,
            "DeleteItem" => self.delete_item(ctx, fields(input)).await,
            "Query" => self.query(ctx, fields(input)).await,
            "Scan" => self.scan(ctx, fields(input)).await,
            "BatchGetItem" => self.batch_get_item(ctx, fields(input)).await,
            "BatchWriteItem" => self.batch_write_item(ctx, fields(input)).await,
            "TransactGetItems" => self.transact_get_items(ctx, fields(input)).await,
            "TransactWriteItems" => self.transact_write_items(ctx, fields(input)).await,
            "CreateTable" => Ok(self.create_table(ctx, typed(input)?).await?.into_value()),
            "DescribeTable" => Ok(self.describe_table(ctx, typed(input)?)?.into_value()),
            "DeleteTable" => Ok(self.delete_table(ctx, typed(input)?).await?.into_value()),
            "ListTables" => Ok(self.list_tables(ctx, typed(input)?)?.into_value()),
            "UpdateTable" => Ok(self.update_table(ctx, typed(input)?).await?.into_value()),
            "TagResource" => Ok(self.tag_resource(ctx, typed(input)?).await?.into_value()),
            "UntagResource" => Ok(self.untag_resource(ctx, typed(input)?).await?.into_value()),
            "ListTagsOfResource" => Ok(self.list_tags_of_resource(ctx, typed(input)?)?.into_value()),
            "DescribeLimits" => Ok(self.describe_limits().into_value()),
            "DescribeEndpoints" => Ok(self.describe_endpoints(ctx).into_value()),
            "DescribeContinuousBackups" => Ok(self.describe_continuous_backups(ctx, typed(input)?)?.into_value()),
            "UpdateTimeToLive" => Ok(self.update_time_to_live(ctx, typed(input)?).await?.into_value()),
            "DescribeTimeToLive" => Ok(self.describe_time_to_live(ctx, typed(input)?)?.into_value()),
            "ExecuteStatement" => self.execute_statement(ctx, fields(input)).await,
            "BatchExecuteStatement" => self.batch_execute_statement(ctx, fields(input)).await,
            "ExecuteTransaction" => self.execute_transaction(ctx, fields(input)).await,
            "UpdateContinuousBackups" => Ok(self.update_continuous_backups(ctx, typed(input)?).await?.into_value()),
            "CreateBackup" => Ok(self.create_backup(ctx, typed(input)?).await?.into_value()),
            "DescribeBackup" => Ok(self.describe_backup(ctx, typed(input)?).await?.into_value()),
            "ListBackups" => Ok(self.list_backups(ctx, typed(input)?).await?.into_value()),
            "DeleteBackup" => Ok(self.delete_backup(ctx, typed(input)?).await?.into_value()),
            "RestoreTableFromBackup" => Ok(self.restore_table_from_backup(ctx, typed(input)?).await?.into_value()),
            "RestoreTableToPointInTime" => {
                Ok(self.restore_table_to_point_in_time(ctx, typed(input)?).await?.into_value())
            }
            "PutResourcePolicy" => Ok(self.put_resource_policy(ctx, typed(input)?).await?.into_value()),
            "GetResourcePolicy" => Ok(self.get_resource_policy(ctx, typed(input)?)?.into_value()),
            "DeleteResourcePolicy" => Ok(self.delete_resource_policy(ctx, typed(input)?).await?.into_value()),
            "DescribeKinesisStreamingDestination" => {
                Ok(self.describe_kinesis_streaming_destination(ctx, typed(input)?)?.into_value())
            }
            "DescribeContributorInsights" => Ok(self.describe_contributor_insights(ctx, typed(input)?)?.into_value()),
            "ListContributorInsights" => Ok(self.list_contributor_insights(ctx, typed(input)?)?.into_value()),
            "DescribeTableReplicaAutoScaling" => {
                Ok(self.describe_table_replica_auto_scaling(ctx, typed(input)?)?.into_value())
            }
            "ListGlobalTables" => {
                Ok(api::ListGlobalTablesOutput { global_tables: Some(Vec::new()), ..Default::default() }.into_value())
            }
            "ListExports" => {
                Ok(api::ListExportsOutput { export_summaries: Some(Vec::new()), next_token: None }.into_value())
            }
            "ListImports" => {
                Ok(api::ListImportsOutput { import_summary_list: Some(Vec::new()), next_token: None }.into_value())
            }
            "DescribeGlobalTable"
            | "DescribeGlobalTableSettings"
            | "UpdateGlobalTableSettings"
            | "UpdateGlobalTable" => Err(no_global_table(fields(input))),
            "DescribeExport" => Err(Error::ExportNotFound("ExportArn is not found".into())),
            "DescribeImport" => Err(Error::ImportNotFound("Import not found".into())),
            other => Err(ops::refused(other)),
        }
    }
}

/// The typed input of a rare operation.
fn typed<T: FromValue>(input: Value) -> Result<T, Error> {
    T::from_value(input).ok_or_else(|| Error::validation("The request lacks a required parameter"))
}

/// What a refused commit means: the rule's own error, or the engine's.
pub(crate) fn refusal(error: squall_store::Error) -> Error {
    error.rejected::<Error>().unwrap_or_else(Error::from)
}

#[async_trait]
impl Room for DynamoDb {
    fn service(&self) -> &'static Service {
        &api::SERVICE
    }

    fn access(&self, ctx: &Ctx, op: &'static Operation, input: &Value) -> Vec<Access> {
        policy::access(&self.catalog, ctx, op, input)
    }

    async fn resource_policy(&self, ctx: &Ctx, access: &Access) -> Option<String> {
        self.policy_of(ctx, access)
    }

    async fn call(&self, ctx: &Ctx, op: &'static Operation, input: Value) -> Result<Value, ServiceError> {
        self.run(ctx, op, input).await.map_err(ServiceError::from)
    }
}

/// The room of the streams' API.
struct StreamsRoom(Arc<DynamoDb>);

#[async_trait]
impl Room for StreamsRoom {
    fn service(&self) -> &'static Service {
        &api_streams::SERVICE
    }

    fn access(&self, ctx: &Ctx, op: &'static Operation, input: &Value) -> Vec<Access> {
        policy::streams_access(ctx, op, input)
    }

    async fn resource_policy(&self, ctx: &Ctx, access: &Access) -> Option<String> {
        self.0.policy_of(ctx, access)
    }

    async fn call(&self, ctx: &Ctx, op: &'static Operation, input: Value) -> Result<Value, ServiceError> {
        self.0.run_streams(ctx, op, input).await.map_err(ServiceError::from)
    }
}
