//! Query.

use super::select::{Selection, answer, looks_at};
use crate::api::shapes;
use crate::capacity::Wanted;
use crate::error::Error;
use crate::expr::keycond::{self, KeyRange, Part};
use crate::expr::placeholders::Placeholders;
use crate::expr::{ExprKind, parser};
use crate::key::hash_bytes;
use crate::room::DynamoDb;
use crate::wire::Fields;
use crate::{legacy, request, scalars};
use squall_protocol::Value as Wire;
use squall_service::Ctx;

const LEGACY: [&str; 4] = ["AttributesToGet", "QueryFilter", "ConditionalOperator", "KeyConditions"];
const EXPRESSIONS: [&str; 3] = ["ProjectionExpression", "FilterExpression", "KeyConditionExpression"];

impl DynamoDb {
    /// Reads items of one partition key in order of the sort key.
    ///
    /// Limits: a page ends after 1 MiB of items before the filter. Cost: one range read per 1000 items of a page.
    ///
    /// # Errors
    /// `ValidationException`, `ResourceNotFoundException`.
    pub(crate) async fn query(&self, ctx: &Ctx, mut fields: Fields) -> Result<Wire, Error> {
        let named = request::required(fields.text("TableName"), "TableName")?;
        let wanted = Wanted::of(fields.text("ReturnConsumedCapacity").as_deref());
        // KeyConditions may stand beside a FilterExpression.
        let legacy = if fields.has("KeyConditionExpression") { &LEGACY[..] } else { &LEGACY[..3] };
        request::check_not_mixed(&fields, legacy, &EXPRESSIONS)?;
        let is_legacy = fields.has("AttributesToGet");
        let with_values = ["FilterExpression", "KeyConditionExpression"];
        let mut scope = request::placeholders(&mut fields, &EXPRESSIONS, &with_values)?;
        // What needs no expression is checked first.
        let legacy_filter = legacy::filter(&mut fields, "QueryFilter")?;
        let start = request::start_key(&mut fields)?;
        let legacy_paths = request::attributes_to_get(&mut fields)?;
        let parts = key_condition(&mut fields, &mut scope)?;
        let is_expression = fields.has("FilterExpression");
        let filter = match fields.text("FilterExpression") {
            Some(text) => Some(parser::condition(ExprKind::Filter, &text, &mut scope)?),
            None => legacy_filter,
        };
        let paths = request::projection(&mut fields, &mut scope)?.or(legacy_paths);
        scope.check_used()?;
        let table = self.table(ctx, &named)?;
        scalars::check_projection(&table, paths.as_deref())?;
        let selection = Selection::new(table.clone(), &mut fields, paths, is_legacy)?;
        let schema = selection.index().map_or(&table.schema, |i| &i.schema);
        let keys = KeyRange::new(parts, schema)?;
        let is_key = |name: &str| schema.has(name);
        if let Some(name) = filter.as_ref().and_then(|f| looks_at(f, &is_key)) {
            let what = if is_expression { "Filter Expression" } else { "QueryFilter" };
            return Err(Error::validation(format!(
                "{what} can only contain non-primary key attributes: Primary key attribute: {name}"
            )));
        }
        scalars::check_condition(&table, filter.as_ref())?;
        let range = selection.rows().range(&hash_bytes(&keys.hash), keys.range.as_ref());
        let reverse = fields.flag("ScanIndexForward") == Some(false);
        let mut request = selection.request(range, reverse, filter);
        if let Some(start) = start {
            let outside = |other_partition| {
                let how = if other_partition {
                    "is outside query boundaries based on provided conditions"
                } else {
                    "does not match the range key predicate"
                };
                format!("The provided starting key {how}")
            };
            request.start_after(&start, "The provided starting key is invalid", outside)?;
        }
        let page = if is_empty(&request.range) { Default::default() } else { self.read_page(&request).await? };
        Ok(answer(&shapes::QUERY_OUTPUT, &request, page, wanted, &named))
    }
}

/// Whether the bounds leave nothing between them, as BETWEEN with legacy parameters may.
pub(super) fn is_empty(range: &(std::ops::Bound<squall_store::Key>, std::ops::Bound<squall_store::Key>)) -> bool {
    use std::ops::Bound::{Excluded, Included};
    match range {
        (Included(from), Included(to)) => from > to,
        (Included(from) | Excluded(from), Included(to) | Excluded(to)) => from >= to,
        _ => false,
    }
}

fn key_condition(fields: &mut Fields, scope: &mut Placeholders) -> Result<Vec<Part>, Error> {
    if let Some(text) = fields.text("KeyConditionExpression") {
        return keycond::parts(parser::condition(ExprKind::KeyCondition, &text, scope)?);
    }
    legacy::key_conditions(fields)?.ok_or_else(|| {
        Error::validation(
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.",
        )
    })
}
