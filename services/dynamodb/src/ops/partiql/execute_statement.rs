//! ExecuteStatement.

use super::asked;
use crate::api::shapes;
use crate::capacity::{Unit, Wanted};
use crate::error::Error;
use crate::ops::write_spent;
use crate::partiql::Statement;
use crate::room::DynamoDb;
use crate::wire::{self, Fields, Output};
use squall_protocol::Value as Wire;
use squall_service::Ctx;

impl DynamoDb {
    /// Runs one statement: a SELECT page by page, or a write of one item.
    ///
    /// Cost: as Query or Scan, or as the write of an item.
    ///
    /// # Errors
    /// `ValidationException`, `ResourceNotFoundException`, `ConditionalCheckFailedException`, `DuplicateItemException`.
    pub(crate) async fn execute_statement(&self, ctx: &Ctx, mut fields: Fields) -> Result<Wire, Error> {
        let wanted = Wanted::of(fields.text("ReturnConsumedCapacity").as_deref());
        let limit = fields.integer("Limit").and_then(|n| usize::try_from(n).ok());
        let token = fields.text("NextToken");
        let asked = asked(&mut fields)?;
        let mut out = Output::new(&shapes::EXECUTE_STATEMENT_OUTPUT);
        let items = match asked.statement {
            Statement::Select(select) => {
                let found = self.run_select(ctx, &select, asked.consistent, limit, token).await?;
                out.set("NextToken", found.next.map(Wire::Str));
                out.set("LastEvaluatedKey", found.last.map(wire::item_value));
                out.set("ConsumedCapacity", found.spent.value(wanted, Unit::Plain, &found.table, &found.table.name));
                found.items
            }
            Statement::Exists(_) => {
                return Err(Error::validation("EXISTS is supported only in the statements of ExecuteTransaction"));
            }
            write => {
                let (table, done, returned) = self.run_write(ctx, write, asked.old_on_failure).await?;
                out.set("ConsumedCapacity", write_spent(&done).value(wanted, Unit::Plain, &table, &table.name));
                returned.into_iter().collect()
            }
        };
        out.set("Items", Some(Wire::List(items.into_iter().map(wire::item_value).collect())));
        Ok(out.finish())
    }
}
