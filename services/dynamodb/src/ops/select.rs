//! What Query and Scan have in common besides reading: index, Select, projection, answer.

use super::page::{Page, Request};
use crate::capacity::{Spent, Unit, Wanted, read_units};
use crate::error::Error;
use crate::expr::ast::{Condition, Path};
use crate::expr::project::Projection;
use crate::room::DynamoDb;
use crate::table::{Index, IndexProjection, TableRef};
use crate::tables::Rows;
use crate::throttle::Way;
use crate::wire::{self, Fields, Output};
use squall_protocol::{Shape, Value as Wire};
use std::ops::Bound;

/// What is to be read and what of it is wanted, as far as Query and Scan say it alike.
pub(super) struct Selection {
    pub table: TableRef,
    pub index: Option<usize>,
    pub consistent: bool,
    pub limit: Option<usize>,
    projection: Option<Projection>,
    count_only: bool,
    whole_items: bool,
}

impl Selection {
    /// Takes IndexName, ConsistentRead, Select and Limit; `paths` is the projection, from AttributesToGet if `is_legacy`.
    ///
    /// # Errors
    /// `ValidationException` for what does not go together.
    pub(super) fn new(
        table: TableRef,
        fields: &mut Fields,
        paths: Option<Vec<Path>>,
        is_legacy: bool,
    ) -> Result<Selection, Error> {
        let consistent = fields.flag("ConsistentRead").unwrap_or(false);
        let index = match fields.text("IndexName") {
            Some(name) => {
                let index = table.index(&name)?;
                if consistent && !index.local {
                    return Err(Error::validation("Consistent reads are not supported on global secondary indexes"));
                }
                if index.backfilling {
                    return Err(Error::validation(format!(
                        "Cannot read from backfilling global secondary index: {name}"
                    )));
                }
                table.indexes.iter().position(|i| i.name == name)
            }
            None => None,
        };
        let select = fields.text("Select");
        let named = paths.is_some().then_some(if is_legacy { "AttributesToGet" } else { "ProjectionExpression" });
        let projection = paths.map(|paths| Projection::new(&paths));
        let chosen = index.and_then(|place| table.indexes.get(place));
        check_select(select.as_deref(), named, chosen)?;
        let whole_items = match chosen {
            Some(index) => needs_table(&table, index, select.as_deref(), projection.as_ref())?,
            None => false,
        };
        let limit = fields.integer("Limit").and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
        let count_only = select.as_deref() == Some("COUNT");
        Ok(Selection { index, consistent, limit, projection, count_only, whole_items, table })
    }

    /// The index that is read.
    pub(super) fn index(&self) -> Option<&Index> {
        self.table.indexes.get(self.index?)
    }

    /// The rows that are read.
    pub(super) fn rows(&self) -> Rows {
        self.index().map_or(Rows::Table(self.table.id), |i| Rows::Index(i.id))
    }

    /// The request for a page.
    pub(super) fn request(
        self,
        range: (Bound<squall_store::Key>, Bound<squall_store::Key>),
        reverse: bool,
        filter: Option<Condition>,
    ) -> Request {
        Request {
            table: self.table,
            index: self.index,
            range,
            reverse,
            limit: self.limit,
            consistent: self.consistent,
            filter,
            projection: self.projection,
            count_only: self.count_only,
            whole_items: self.whole_items,
            as_json: true,
        }
    }
}

/// `named` is the parameter that names attributes, if there is one.
fn check_select(select: Option<&str>, named: Option<&str>, index: Option<&Index>) -> Result<(), Error> {
    let refuse = |why: String| Err(Error::validation(why));
    match (select, named) {
        (Some(all @ ("ALL_ATTRIBUTES" | "ALL_PROJECTED_ATTRIBUTES")), Some(named)) => {
            refuse(format!("Cannot specify the {named} when choosing to get {all}"))
        }
        (Some("COUNT"), Some(named)) => {
            refuse(format!("Cannot specify the {named} when choosing to get only the Count"))
        }
        (Some("ALL_PROJECTED_ATTRIBUTES"), None) if index.is_none() => {
            refuse("ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName".into())
        }
        (Some("SPECIFIC_ATTRIBUTES"), None) => refuse(
            "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES".into(),
        ),
        _ => Ok(()),
    }
}

/// Whether the table must be read for what the index does not hold: local indexes do so, global ones refuse.
pub(super) fn needs_table(
    table: &TableRef,
    index: &Index,
    select: Option<&str>,
    projection: Option<&Projection>,
) -> Result<bool, Error> {
    let Some(kept) = index.kept(&table.schema) else { return Ok(false) };
    let name = &index.name;
    if select == Some("ALL_ATTRIBUTES") && !index.local && index.projection != IndexProjection::All {
        return Err(Error::validation(format!(
            "One or more parameter values were invalid: Select type ALL_ATTRIBUTES is not supported for global secondary \
             index {name} because its projection type is not ALL"
        )));
    }
    let missing: Vec<&str> =
        projection.map(|p| p.roots().filter(|root| !kept.contains(root)).collect()).unwrap_or_default();
    if !missing.is_empty() && !index.local {
        return Err(Error::validation(format!(
            "One or more parameter values were invalid: Global secondary index {name} does not project [{}]",
            missing.join(", ")
        )));
    }
    Ok(select == Some("ALL_ATTRIBUTES") || !missing.is_empty())
}

/// The first key attribute that a filter looks at.
pub(super) fn looks_at<'c>(condition: &'c Condition, is_key: &dyn Fn(&str) -> bool) -> Option<&'c str> {
    let mut found = None;
    condition.visit(&mut |path| {
        if found.is_none() && is_key(&path.root) {
            found = Some(path.root.as_str());
        }
    });
    found
}

impl DynamoDb {
    /// Reads a page, if the table's or index's throughput lets it.
    ///
    /// # Errors
    /// `ProvisionedThroughputExceededException`, `ThrottlingException`; the state failed.
    pub(super) async fn read_page(&self, request: &Request) -> Result<Page, Error> {
        self.admit_read(&request.table, request.index)?;
        let page = request.read(&self.deps.state).await?;
        self.pay(&request.table, Way::Read, || cost(request, &page));
        Ok(page)
    }
}

fn cost(request: &Request, page: &Page) -> Spent {
    let units = read_units(page.bytes, request.consistent);
    match request.index {
        Some(place) => Spent { table: page.fetched, indexes: vec![(place, units)] },
        None => Spent { table: units, indexes: Vec::new() },
    }
}

/// The answer of Query and Scan; `named` is the table as the caller named it.
pub(super) fn answer(shape: &'static Shape, request: &Request, page: Page, wanted: Wanted, named: &str) -> Wire {
    let spent = cost(request, &page);
    let count = |n: usize| Some(Wire::Int(i64::try_from(n).unwrap_or(i64::MAX)));
    let mut out = Output::new(shape);
    if request.is_sent_on() {
        let mut json = page.json;
        json.extend_from_slice(if json.is_empty() { b"[]" } else { b"]" });
        out.set("Items", Some(Wire::Json(json)));
    } else if !request.count_only {
        out.set("Items", Some(Wire::List(page.items.into_iter().map(wire::item_value).collect())));
    }
    out.set("Count", count(page.count));
    out.set("ScannedCount", count(page.scanned));
    out.set("LastEvaluatedKey", page.last.map(wire::item_value));
    out.set("ConsumedCapacity", spent.value(wanted, Unit::Plain, &request.table, named));
    out.finish()
}
