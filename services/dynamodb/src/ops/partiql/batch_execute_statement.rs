//! BatchExecuteStatement.

use super::{Asked, asked};
use crate::api::shapes;
use crate::capacity::{Spent, Unit, Wanted, read_units};
use crate::error::Error;
use crate::item::Item;
use crate::ops::write_spent;
use crate::partiql::Statement;
use crate::request;
use crate::room::DynamoDb;
use crate::table::TableRef;
use crate::wire::{self, Fields, Output};
use squall_protocol::Value as Wire;
use squall_service::Ctx;
use std::collections::BTreeMap;

impl DynamoDb {
    /// Runs up to 25 statements, each by itself: all read one item each, or all write.
    ///
    /// Cost: one read or commit per statement.
    ///
    /// # Errors
    /// `ValidationException` for reads and writes together; a statement's own error is in its answer.
    pub(crate) async fn batch_execute_statement(&self, ctx: &Ctx, mut fields: Fields) -> Result<Wire, Error> {
        let wanted = Wanted::of(fields.text("ReturnConsumedCapacity").as_deref());
        let shape = request::required(fields.element_shape("Statements"), "Statements")?;
        let wires = request::required(fields.list("Statements"), "Statements")?;
        let all: Vec<Result<Asked, Error>> = wires.into_iter().map(|w| asked(&mut Fields::new(shape, w))).collect();
        let reads = all.iter().flatten().filter(|a| a.statement.reads()).count();
        if reads > 0 && reads < all.iter().flatten().count() {
            return Err(Error::validation(
                "BatchExecuteStatement API does not support both read and write operations in the same request",
            ));
        }
        let mut costs: BTreeMap<String, (TableRef, Spent)> = BTreeMap::new();
        let mut responses = Vec::new();
        for one in all {
            let named = one.as_ref().ok().map(|a| a.statement.target().0.to_owned());
            let mut response = Output::new(&shapes::BATCH_STATEMENT_RESPONSE);
            match self.run_one(ctx, one).await {
                Ok((table, spent, item)) => {
                    response.set("TableName", Some(Wire::Str(table.name.clone())));
                    response.set("Item", item.map(wire::item_value));
                    let cost = costs.entry(table.name.clone()).or_insert_with(|| (table, Spent::default()));
                    cost.1.add(&spent);
                }
                Err(error @ Error::Internal(_)) => return Err(error),
                Err(error) => {
                    let known = named.filter(|name| self.table(ctx, name).is_ok());
                    response.set("TableName", known.map(Wire::Str));
                    response.set("Error", Some(failure(error)));
                }
            }
            responses.push(response.finish());
        }
        let costs = costs.iter().filter_map(|(named, (table, spent))| spent.value(wanted, Unit::Plain, table, named));
        let mut out = Output::new(&shapes::BATCH_EXECUTE_STATEMENT_OUTPUT);
        out.set("Responses", Some(Wire::List(responses)));
        out.set("ConsumedCapacity", (wanted != Wanted::None).then(|| Wire::List(costs.collect())));
        Ok(out.finish())
    }

    async fn run_one(&self, ctx: &Ctx, asked: Result<Asked, Error>) -> Result<(TableRef, Spent, Option<Item>), Error> {
        let asked = asked?;
        match asked.statement {
            Statement::Select(select) => {
                let (table, item, bytes) =
                    self.read_one(ctx, &select, asked.consistent, "BatchExecuteStatement").await?;
                let spent = Spent { table: read_units(bytes, asked.consistent), indexes: Vec::new() };
                Ok((table, spent, item))
            }
            Statement::Exists(_) => {
                Err(Error::validation("EXISTS is supported only in the statements of ExecuteTransaction"))
            }
            write => {
                let (table, done, returned) = self.run_write(ctx, write, asked.old_on_failure).await?;
                Ok((table, write_spent(&done), returned))
            }
        }
    }
}

/// A statement's error inside the answer, where codes are other ones.
fn failure(error: Error) -> Wire {
    let code = match &error {
        Error::ConditionalCheckFailed(_) => "ConditionalCheckFailed",
        Error::DuplicateItem(_) => "DuplicateItem",
        Error::ResourceNotFound(_) => "ResourceNotFound",
        Error::ProvisionedThroughputExceeded(_) => "ProvisionedThroughputExceeded",
        Error::Throttling(_) => "ThrottlingError",
        Error::LimitExceeded(_) => "RequestLimitExceeded",
        _ => "ValidationError",
    };
    let mut out = Output::new(&shapes::BATCH_STATEMENT_ERROR);
    out.set("Code", Some(Wire::Str(code.into())));
    out.set("Message", Some(Wire::Str(error.to_string())));
    if let Error::ConditionalCheckFailed(Some(item)) = error {
        out.set("Item", Some(wire::item_value(*item)));
    }
    out.finish()
}
