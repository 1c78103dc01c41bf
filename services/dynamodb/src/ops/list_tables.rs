//! ListTables.

use crate::api;
use crate::error::Error;
use crate::room::DynamoDb;
use squall_service::Ctx;

/// Most names of an answer, and how many there are unless asked otherwise.
const NAMES_MAX: usize = 100;

impl DynamoDb {
    /// Names of the region's tables in order, page by page.
    ///
    /// # Errors
    /// None of its own: limits are the model's.
    pub(crate) fn list_tables(&self, ctx: &Ctx, input: api::ListTablesInput) -> Result<api::ListTablesOutput, Error> {
        let limit = input.limit.and_then(|n| usize::try_from(n).ok()).unwrap_or(NAMES_MAX).clamp(1, NAMES_MAX);
        let after = input.exclusive_start_table_name.as_deref();
        let (names, more) = self.catalog.names(ctx.region.as_str(), after, limit);
        let last = if more { names.last().cloned() } else { None };
        Ok(api::ListTablesOutput { table_names: Some(names), last_evaluated_table_name: last })
    }
}
