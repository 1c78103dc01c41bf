//! ExecuteTransaction.

use super::select::{picked, single};
use super::{Asked, DUPLICATE, asked};
use crate::api::shapes;
use crate::capacity::{Spent, Unit, Wanted, read_units};
use crate::error::{Error, Reason};
use crate::expr::eval;
use crate::item::Item;
use crate::ops::transact_write_items::{Token, digest};
use crate::partiql::{Select, Statement};
use crate::room::DynamoDb;
use crate::rules::Write;
use crate::table::TableRef;
use crate::wire::{self, Fields, Output};
use crate::{codec, request, tables};
use squall_protocol::Value as Wire;
use squall_service::Ctx;
use squall_store::{Consistency, Key, StateExt};
use std::collections::BTreeMap;

impl DynamoDb {
    /// Runs up to 100 statements, all or none: all read one item each, or all write or check one.
    ///
    /// Cost: one read, or one commit with a rule over the items and the token.
    ///
    /// # Errors
    /// `TransactionCanceledException` with a reason per statement, `IdempotentParameterMismatchException`,
    /// `ValidationException`, `ResourceNotFoundException`.
    pub(crate) async fn execute_transaction(&self, ctx: &Ctx, mut fields: Fields) -> Result<Wire, Error> {
        let wanted = Wanted::of(fields.text("ReturnConsumedCapacity").as_deref());
        let shape = request::required(fields.element_shape("TransactStatements"), "TransactStatements")?;
        let wires = request::required(fields.list("TransactStatements"), "TransactStatements")?;
        let token = fields
            .text("ClientRequestToken")
            .map(|token| Token { key: tables::token(ctx.region.as_str(), &token), digest: digest(&wires) });
        let all: Vec<Asked> = wires.into_iter().map(|w| asked(&mut Fields::new(shape, w))).collect::<Result<_, _>>()?;
        let selects: Vec<&Select> = all
            .iter()
            .filter_map(|a| if let Statement::Select(select) = &a.statement { Some(select) } else { None })
            .collect();
        if !selects.is_empty() && selects.len() < all.len() {
            return Err(Error::validation(
                "ExecuteTransaction API does not support both read and write operations in the same request",
            ));
        }
        let (items, costs, unit) = if selects.is_empty() {
            self.write_all(ctx, &all, token).await?
        } else {
            self.read_all(ctx, &selects).await?
        };
        let responses = items.into_iter().map(|item| {
            let mut response = Output::new(&shapes::ITEM_RESPONSE);
            response.set("Item", item.map(wire::item_value));
            response.finish()
        });
        let costs = costs.iter().filter_map(|(named, (table, spent))| spent.value(wanted, unit, table, named));
        let mut out = Output::new(&shapes::EXECUTE_TRANSACTION_OUTPUT);
        out.set("Responses", Some(Wire::List(responses.collect())));
        out.set("ConsumedCapacity", (wanted != Wanted::None).then(|| Wire::List(costs.collect())));
        Ok(out.finish())
    }

    async fn write_all(&self, ctx: &Ctx, all: &[Asked], token: Option<Token>) -> Result<Answer, Error> {
        let names: Vec<String> = all.iter().map(|a| a.statement.target().0.to_owned()).collect();
        let prepare = |tables: &[TableRef]| -> Result<Vec<Write>, Error> {
            let (mut writes, mut reasons) = (Vec::new(), Vec::new());
            for (asked, table) in all.iter().zip(tables) {
                match super::write(table.clone(), &asked.statement, asked.old_on_failure) {
                    Ok(write) => {
                        writes.push(write);
                        reasons.push(Reason::none());
                    }
                    Err(error) => reasons.push(Reason::of(&error).ok_or(error)?),
                }
            }
            if writes.len() < all.len() { Err(Error::TransactionCanceled(reasons)) } else { Ok(writes) }
        };
        let outcome = self.transact(ctx, &names, token, prepare).await.map_err(|error| match error {
            Error::TransactionCanceled(reasons) => Error::TransactionCanceled(duplicates(reasons, all)),
            other => other,
        })?;
        let mut costs = Costs::new();
        for (table, done) in outcome.tables.iter().zip(&outcome.done) {
            let cost = costs.entry(table.name.clone()).or_insert_with(|| (table.clone(), Spent::default()));
            cost.1.add(&outcome.spent(done));
        }
        Ok((Vec::new(), costs, outcome.unit()))
    }

    async fn read_all(&self, ctx: &Ctx, selects: &[&Select]) -> Result<Answer, Error> {
        let mut keys: Vec<Key> = Vec::new();
        let mut parts = Vec::new();
        for select in selects {
            let table = self.table(ctx, &select.table)?;
            let (key, rest) = single(select, &table, "ExecuteTransaction")?;
            keys.push(tables::item(table.id, &table.schema.of_key(&key)?));
            parts.push((table, rest));
        }
        if crate::item::has_duplicates(&keys) {
            return Err(Error::validation("Transaction request cannot include multiple operations on one item"));
        }
        let rows = self.deps.state.get_many(keys, Consistency::Strong).await?;
        let (mut items, mut costs) = (Vec::new(), Costs::new());
        for (((table, rest), row), select) in parts.into_iter().zip(rows).zip(selects) {
            let item = row.map(|row| codec::decode(&row.value)).transpose()?;
            let units = 2.0 * read_units(item.as_ref().map_or(0, Item::size_bytes), true);
            let item = item.filter(|item| rest.as_ref().is_none_or(|c| eval::holds(c, item)));
            items.push(item.map(|item| picked(item, select)));
            let cost = costs.entry(table.name.clone()).or_insert_with(|| (table, Spent::default()));
            cost.1.table += units;
        }
        Ok((items, costs, Unit::Read))
    }
}

/// Units by table.
type Costs = BTreeMap<String, (TableRef, Spent)>;
/// An item per statement that reads, and what all cost in which units.
type Answer = (Vec<Option<Item>>, Costs, Unit);

/// A failed INSERT has a reason of its own.
fn duplicates(reasons: Vec<Reason>, all: &[Asked]) -> Vec<Reason> {
    let one = |(reason, asked): (Reason, &Asked)| match &asked.statement {
        Statement::Insert(_) if reason.code == "ConditionalCheckFailed" => {
            Reason { code: "DuplicateItem", message: Some(DUPLICATE.into()), item: reason.item }
        }
        _ => reason,
    };
    reasons.into_iter().zip(all).map(one).collect()
}
