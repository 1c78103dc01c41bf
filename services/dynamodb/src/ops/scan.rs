//! Scan.

use super::query::is_empty;
use super::select::{Selection, answer};
use crate::api::shapes;
use crate::capacity::Wanted;
use crate::error::Error;
use crate::expr::{ExprKind, parser};
use crate::room::DynamoDb;
use crate::wire::Fields;
use crate::{legacy, request, scalars};
use squall_protocol::Value as Wire;
use squall_service::Ctx;

const LEGACY: [&str; 3] = ["AttributesToGet", "ScanFilter", "ConditionalOperator"];
const EXPRESSIONS: [&str; 2] = ["ProjectionExpression", "FilterExpression"];

impl DynamoDb {
    /// Reads items of the whole table or index, or of one segment of it.
    ///
    /// Limits: a page ends after 1 MiB of items before the filter. Cost: one range read per 1000 items of a page.
    ///
    /// # Errors
    /// `ValidationException`, `ResourceNotFoundException`.
    pub(crate) async fn scan(&self, ctx: &Ctx, mut fields: Fields) -> Result<Wire, Error> {
        let named = request::required(fields.text("TableName"), "TableName")?;
        let wanted = Wanted::of(fields.text("ReturnConsumedCapacity").as_deref());
        request::check_not_mixed(&fields, &LEGACY, &EXPRESSIONS)?;
        let mut scope = request::placeholders(&mut fields, &EXPRESSIONS, &["FilterExpression"])?;
        let (segment, total) = segment(&mut fields)?;
        let is_legacy = fields.has("AttributesToGet");
        // What needs no expression is checked first.
        let legacy_filter = legacy::filter(&mut fields, "ScanFilter")?;
        let start = request::start_key(&mut fields)?;
        let legacy_paths = request::attributes_to_get(&mut fields)?;
        let filter = match fields.text("FilterExpression") {
            Some(text) => Some(parser::condition(ExprKind::Filter, &text, &mut scope)?),
            None => legacy_filter,
        };
        let paths = request::projection(&mut fields, &mut scope)?.or(legacy_paths);
        scope.check_used()?;
        let table = self.table(ctx, &named)?;
        scalars::check_projection(&table, paths.as_deref())?;
        scalars::check_condition(&table, filter.as_ref())?;
        let selection = Selection::new(table, &mut fields, paths, is_legacy)?;
        let range = selection.rows().segment(segment, total);
        let mut request = selection.request(range, false, filter);
        if let Some(start) = start {
            let wrong = "The provided starting key is invalid: The provided key element does not match the schema";
            let outside = |_| {
                format!(
                    "The provided starting key is invalid: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with \
                     correct Segment. TotalSegments: {total} Segment: {segment}"
                )
            };
            request.start_after(&start, wrong, outside)?;
        }
        let page = if is_empty(&request.range) { Default::default() } else { self.read_page(&request).await? };
        Ok(answer(&shapes::SCAN_OUTPUT, &request, page, wanted, &named))
    }
}

/// Which part of how many.
fn segment(fields: &mut Fields) -> Result<(u64, u64), Error> {
    let number = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
    let (segment, total) = (number(fields.integer("Segment")), number(fields.integer("TotalSegments")));
    match (segment, total) {
        (None, None) => Ok((0, 1)),
        (Some(_), None) => Err(Error::validation(
            "The TotalSegments parameter is required but was not present in the request when Segment parameter is present",
        )),
        (None, Some(_)) => Err(Error::validation(
            "The Segment parameter is required but was not present in the request when parameter TotalSegments is present",
        )),
        (Some(segment), Some(total)) if segment >= total => Err(Error::validation(format!(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: {segment} is not \
             less than TotalSegments: {total}"
        ))),
        (Some(segment), Some(total)) => Ok((segment, total)),
    }
}
