//! What this cloud does not have, refused by name; and the truthful answers of operations that only ask for it.

use super::definition::invalid;
use crate::api;
use crate::error::Error;
use crate::room::DynamoDb;
use crate::wire::Fields;
use squall_service::Ctx;

/// The refusal of an operation that is not served, with its reason.
pub(crate) fn refused(operation: &str) -> Error {
    let why = match operation {
        "EnableKinesisStreamingDestination"
        | "DisableKinesisStreamingDestination"
        | "UpdateKinesisStreamingDestination" => "it has no Kinesis Data Streams",
        "ExportTableToPointInTime" | "ImportTable" => "tables are neither exported to S3 nor imported from it",
        "UpdateContributorInsights" => "it has no CloudWatch Contributor Insights",
        "CreateGlobalTable" => "tables have one replica",
        "UpdateTableReplicaAutoScaling" => "tables have one replica and no auto scaling",
        _ => "the operation is not served",
    };
    Error::Unsupported(format!("{operation} is not supported by this cloud: {why}"))
}

/// No table is a global table of the first version.
pub(crate) fn no_global_table(mut fields: Fields) -> Error {
    let name = fields.text("GlobalTableName").unwrap_or_default();
    Error::GlobalTableNotFound(format!("Global table not found: Global table with name: {name} does not exist"))
}

impl DynamoDb {
    /// No table streams to Kinesis.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub(crate) fn describe_kinesis_streaming_destination(
        &self,
        ctx: &Ctx,
        input: api::DescribeKinesisStreamingDestinationInput,
    ) -> Result<api::DescribeKinesisStreamingDestinationOutput, Error> {
        let table = self.named_table(ctx, &input.table_name)?;
        Ok(api::DescribeKinesisStreamingDestinationOutput {
            table_name: Some(table.name.clone()),
            kinesis_data_stream_destinations: Some(Vec::new()),
        })
    }

    /// Contributor insights are off for every table and index.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub(crate) fn describe_contributor_insights(
        &self,
        ctx: &Ctx,
        input: api::DescribeContributorInsightsInput,
    ) -> Result<api::DescribeContributorInsightsOutput, Error> {
        let table = self.named_table(ctx, &input.table_name)?;
        if let Some(name) = &input.index_name {
            let found = table.indexes.iter().any(|i| i.name == *name);
            found.then_some(()).ok_or_else(|| {
                Error::ResourceNotFound(format!("Requested resource not found: Index: {name} not found"))
            })?;
        }
        Ok(api::DescribeContributorInsightsOutput {
            table_name: Some(table.name.clone()),
            index_name: input.index_name,
            contributor_insights_status: Some("DISABLED".into()),
            ..Default::default()
        })
    }

    /// Contributor insights were never turned on for any table.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub(crate) fn list_contributor_insights(
        &self,
        ctx: &Ctx,
        input: api::ListContributorInsightsInput,
    ) -> Result<api::ListContributorInsightsOutput, Error> {
        if let Some(named) = &input.table_name {
            self.named_table(ctx, named)?;
        }
        if input.next_token.is_some() {
            return Err(invalid("Invalid NextToken"));
        }
        Ok(api::ListContributorInsightsOutput { contributor_insights_summaries: Some(Vec::new()), next_token: None })
    }

    /// Tables have no replicas.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub(crate) fn describe_table_replica_auto_scaling(
        &self,
        ctx: &Ctx,
        input: api::DescribeTableReplicaAutoScalingInput,
    ) -> Result<api::DescribeTableReplicaAutoScalingOutput, Error> {
        let table = self.named_table(ctx, &input.table_name)?;
        Ok(api::DescribeTableReplicaAutoScalingOutput {
            table_auto_scaling_description: Some(api::TableAutoScalingDescription {
                table_name: Some(table.name.clone()),
                table_status: Some("ACTIVE".into()),
                replicas: Some(Vec::new()),
            }),
        })
    }
}
