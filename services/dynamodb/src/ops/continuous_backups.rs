//! UpdateContinuousBackups and DescribeContinuousBackups.

use crate::api;
use crate::error::Error;
use crate::features::History;
use crate::room::DynamoDb;
use crate::table::Table;
use squall_service::Ctx;
use squall_store::ids;
use squall_types::Millis;

/// `RecoveryPeriodInDays` unless said otherwise.
const DAYS: i32 = 35;

impl DynamoDb {
    /// Whether a table can be restored to points in time, and to which.
    ///
    /// # Errors
    /// `TableNotFoundException`.
    pub(crate) fn describe_continuous_backups(
        &self,
        ctx: &Ctx,
        input: api::DescribeContinuousBackupsInput,
    ) -> Result<api::DescribeContinuousBackupsOutput, Error> {
        let table = self.backed_up_table(ctx, &input.table_name)?;
        Ok(api::DescribeContinuousBackupsOutput { continuous_backups_description: Some(self.recovery(&table)) })
    }

    fn recovery(&self, table: &Table) -> api::ContinuousBackupsDescription {
        let now = self.deps.clock.now();
        let recovery = match &table.history {
            None => api::PointInTimeRecoveryDescription {
                point_in_time_recovery_status: Some("DISABLED".into()),
                ..Default::default()
            },
            Some(history) => {
                let earliest = Some(history.earliest(now)).filter(|t| *t <= now);
                api::PointInTimeRecoveryDescription {
                    point_in_time_recovery_status: Some("ENABLED".into()),
                    recovery_period_in_days: Some(history.days),
                    earliest_restorable_date_time: earliest,
                    latest_restorable_date_time: earliest.map(|_| now),
                }
            }
        };
        api::ContinuousBackupsDescription {
            continuous_backups_status: "ENABLED".into(),
            point_in_time_recovery_description: Some(recovery),
        }
    }

    /// Turns point-in-time recovery on or off, or changes how far it goes back. Off forgets what was.
    ///
    /// # Errors
    /// `TableNotFoundException`, `ContinuousBackupsUnavailableException` while the table is restored from,
    /// `ValidationException` for a period outside of 1 to 35 days.
    pub(crate) async fn update_continuous_backups(
        &self,
        ctx: &Ctx,
        input: api::UpdateContinuousBackupsInput,
    ) -> Result<api::UpdateContinuousBackupsOutput, Error> {
        let _alone = self.control.lock().await;
        let asked = input.point_in_time_recovery_specification;
        let table = self.backed_up_table(ctx, &input.table_name)?;
        if !asked.point_in_time_recovery_enabled && asked.recovery_period_in_days.is_some() {
            return Err(Error::validation(
                "RecoveryPeriodInDays is for a table whose point-in-time recovery is enabled",
            ));
        }
        if !asked.point_in_time_recovery_enabled && self.is_restored_from(table.id) {
            return Err(Error::ContinuousBackupsUnavailable(format!(
                "A restore from the table is in progress: {}",
                table.name
            )));
        }
        let id = ids::allocate(self.deps.state.as_ref()).await?;
        let change = |table: &mut Table| {
            table.history = match (asked.point_in_time_recovery_enabled, table.history) {
                (false, _) => None,
                (true, Some(known)) => {
                    Some(History { days: asked.recovery_period_in_days.unwrap_or(known.days), ..known })
                }
                // Writes before this definition are not in the history: its beginning is told once they are over.
                (true, None) => {
                    let days = asked.recovery_period_in_days.unwrap_or(DAYS);
                    Some(History { id, since: Millis(i64::MAX), days })
                }
            };
            Ok(())
        };
        self.redefine(ctx, &input.table_name, change).await?;
        self.begin_history(ctx, &input.table_name).await?;
        let table = self.backed_up_table(ctx, &input.table_name)?;
        Ok(api::UpdateContinuousBackupsOutput { continuous_backups_description: Some(self.recovery(&table)) })
    }

    async fn begin_history(&self, ctx: &Ctx, named: &str) -> Result<(), Error> {
        let now = self.deps.clock.now();
        let begin = |table: &mut Table| {
            table.history.iter_mut().filter(|h| h.since == Millis(i64::MAX)).for_each(|h| h.since = now);
            Ok(())
        };
        self.redefine(ctx, named, begin).await.map(drop)
    }
}
