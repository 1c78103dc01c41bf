//! PartiQL: statements over one item or a query.

mod batch_execute_statement;
mod execute_statement;
mod execute_transaction;
mod select;

use super::update_item::touched;
use crate::error::Error;
use crate::expr::ast::{Condition, Path, Update};
use crate::item::{Item, Value};
use crate::partiql::{Returning, Statement, parse, plan};
use crate::room::{DynamoDb, Plan};
use crate::rules::{self, Change, Done, Write};
use crate::table::TableRef;
use crate::wire::{self, Fields};
use crate::{policy, request};
use squall_service::Ctx;

/// What INSERT says of an item that is there.
const DUPLICATE: &str = "Duplicate primary key exists in table";

/// One statement of a request.
struct Asked {
    statement: Statement,
    consistent: bool,
    old_on_failure: bool,
}

/// Takes a statement with its parameters.
///
/// # Errors
/// `ValidationException`.
fn asked(fields: &mut Fields) -> Result<Asked, Error> {
    let text = request::required(fields.text("Statement"), "Statement")?;
    let parameters = fields.list("Parameters").unwrap_or_default();
    let parameters: Vec<Value> = parameters.into_iter().map(wire::value).collect::<Result<_, _>>()?;
    Ok(Asked {
        statement: parse(&text, parameters)?,
        consistent: fields.flag("ConsistentRead").unwrap_or(false),
        old_on_failure: fields.text("ReturnValuesOnConditionCheckFailure").as_deref() == Some("ALL_OLD"),
    })
}

/// A condition that also asks for the item to be there.
fn present(table: &TableRef, rest: Option<Condition>) -> Condition {
    let mut all = vec![Condition::Exists(Path::attribute(&table.schema.hash.name))];
    all.extend(rest);
    Condition::And(all)
}

impl DynamoDb {
    /// Runs a statement that writes: the table, what happened, and the item that RETURNING asks for.
    async fn run_write(
        &self,
        ctx: &Ctx,
        statement: Statement,
        old_on_failure: bool,
    ) -> Result<(TableRef, Done, Option<Item>), Error> {
        let named = statement.target().0.to_owned();
        policy::check_table_name(policy::table_name(&named))?;
        let inserts = matches!(statement, Statement::Insert(_));
        let plan = |table: TableRef| Ok(Plan::Ruled(self::write(table, &statement, old_on_failure)?));
        let (table, mut done) = self.write(ctx, &named, plan).await.map_err(|error| match error {
            Error::ConditionalCheckFailed(_) if inserts => Error::DuplicateItem(DUPLICATE.into()),
            other => other,
        })?;
        let returned = match statement {
            Statement::Update(s) => s.returning.and_then(|r| returned(r, Some(&s.update), &mut done)),
            Statement::Delete(s) => s.returning.and_then(|r| returned(r, None, &mut done)),
            _ => None,
        };
        Ok((table, done, returned))
    }
}

/// A statement as the write that it is.
///
/// # Errors
/// `ValidationException` for what does not fit the table.
fn write(table: TableRef, statement: &Statement, old_on_failure: bool) -> Result<Write, Error> {
    let (item, condition, change) = match statement {
        Statement::Insert(insert) => {
            rules::check_item(&insert.item)?;
            let key = table.schema.of_item(&insert.item)?;
            rules::check_put(&table, &insert.item)?;
            let condition = Some(Condition::NotExists(Path::attribute(&table.schema.hash.name)));
            let change = Change::Put(insert.item.clone());
            return Ok(Write { table, key, condition, change, old_on_failure });
        }
        Statement::Update(update) => {
            let (key, rest) = plan::single(update.condition.clone(), &table.schema)?;
            request::check_key_untouched(&update.update, &table.schema)?;
            let change = Change::Update { key: key.clone(), update: update.update.clone() };
            (key, Some(present(&table, rest)), change)
        }
        Statement::Delete(delete) => {
            let (key, rest) = plan::single(delete.condition.clone(), &table.schema)?;
            // Where there is no item nothing is deleted, and nothing is asked of it.
            let missing = Condition::NotExists(Path::attribute(&table.schema.hash.name));
            (key, rest.map(|rest| Condition::Or(vec![missing, rest])), Change::Delete)
        }
        Statement::Exists(select) | Statement::Select(select) => {
            let (key, rest) = plan::single(select.condition.clone(), &table.schema)?;
            (key, Some(present(&table, rest)), Change::Check)
        }
    };
    let key = table.schema.of_key(&item)?;
    Ok(Write { table, key, condition, change, old_on_failure })
}

fn returned(returning: Returning, update: Option<&Update>, done: &mut Done) -> Option<Item> {
    let item = if returning.old { done.old.clone() } else { done.new.clone() }?;
    match update {
        Some(update) if returning.modified => Some(touched(update).apply(&item)),
        _ => Some(item),
    }
}
