//! UpdateTimeToLive and DescribeTimeToLive.

use crate::api;
use crate::error::Error;
use crate::features::ExpiryRows;
use crate::room::DynamoDb;
use squall_service::Ctx;
use squall_store::ids;

impl DynamoDb {
    /// Turns the removal of expired items on or off.
    ///
    /// # Errors
    /// `ResourceNotFoundException`, `ValidationException` when nothing would change.
    pub(crate) async fn update_time_to_live(
        &self,
        ctx: &Ctx,
        input: api::UpdateTimeToLiveInput,
    ) -> Result<api::UpdateTimeToLiveOutput, Error> {
        let asked = input.time_to_live_specification;
        let id = ids::allocate(self.deps.state.as_ref()).await?;
        self.redefine(ctx, &input.table_name, |table| {
            match (&table.ttl, asked.enabled) {
                (None, false) => return Err(Error::validation("TimeToLive is already disabled")),
                (Some(name), _) if *name != asked.attribute_name => {
                    return Err(Error::validation(format!(
                        "TimeToLive is active on a different AttributeName: current AttributeName is {name}"
                    )));
                }
                (Some(_), true) => return Err(Error::validation("TimeToLive is already enabled")),
                _ => {}
            }
            table.ttl = asked.enabled.then(|| asked.attribute_name.clone());
            table.expiry = asked.enabled.then_some(ExpiryRows { id, filling: true });
            Ok(())
        })
        .await?;
        self.work.notify_one();
        Ok(api::UpdateTimeToLiveOutput { time_to_live_specification: Some(asked) })
    }

    /// Whether expired items are removed, and by which attribute.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub(crate) fn describe_time_to_live(
        &self,
        ctx: &Ctx,
        input: api::DescribeTimeToLiveInput,
    ) -> Result<api::DescribeTimeToLiveOutput, Error> {
        let table = self.named_table(ctx, &input.table_name)?;
        let status = if table.ttl.is_some() { "ENABLED" } else { "DISABLED" };
        let description =
            api::TimeToLiveDescription { time_to_live_status: Some(status.into()), attribute_name: table.ttl.clone() };
        Ok(api::DescribeTimeToLiveOutput { time_to_live_description: Some(description) })
    }
}
