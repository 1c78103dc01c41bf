//! Runs SELECT: queries where the condition names partition keys, a scan where it does not.

use super::super::page::{Page, Request};
use super::super::select::needs_table;
use crate::capacity::{Spent, read_units};
use crate::codec;
use crate::error::Error;
use crate::expr::ast::Condition;
use crate::expr::eval;
use crate::expr::project::Projection;
use crate::item::Item;
use crate::key::{KeySchema, hash_bytes};
use crate::partiql::plan::{self, Reach};
use crate::partiql::{Select, column_name};
use crate::room::DynamoDb;
use crate::table::{Index, TableRef};
use crate::tables::{self, Rows};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use squall_service::Ctx;
use squall_store::{Consistency, Key, StateExt};
use std::ops::Bound;

/// Bytes of items after which an answer ends.
const PAGE_BYTES: usize = 1024 * 1024;
/// Bytes of the statement's hash in a token.
const MARK_BYTES: usize = 8;

/// What a SELECT found.
pub(super) struct Found {
    pub table: TableRef,
    pub items: Vec<Item>,
    pub spent: Spent,
    pub next: Option<String>,
    pub last: Option<Item>,
}

/// Where an answer goes on.
struct Place {
    /// Which of the partition keys.
    key: usize,
    /// The last item's key there.
    after: Option<Item>,
}

type Bounds = (Bound<Key>, Bound<Key>);

impl DynamoDb {
    /// Runs a SELECT: at most `limit` items are looked at.
    ///
    /// # Errors
    /// `ResourceNotFoundException`, `ValidationException`.
    pub(super) async fn run_select(
        &self,
        ctx: &Ctx,
        select: &Select,
        consistent: bool,
        limit: Option<usize>,
        token: Option<String>,
    ) -> Result<Found, Error> {
        let table = self.table(ctx, &select.table)?;
        let index = match &select.index {
            Some(name) => {
                let index = table.index(name)?;
                check_index(index, consistent)?;
                table.indexes.iter().position(|i| i.name == *name)
            }
            None => None,
        };
        let chosen = index.and_then(|place| table.indexes.get(place));
        let schema = chosen.map_or(&table.schema, |i| &i.schema);
        let projection = select.columns.as_ref().map(Projection::new);
        let whole_items = match chosen {
            Some(index) => needs_table(&table, index, None, projection.as_ref())?,
            None => false,
        };
        let reach = plan::reach(select.condition.as_ref(), schema)?;
        let reverse = check_order(select, schema, &reach)?;
        let rows = chosen.map_or(Rows::Table(table.id), |i| Rows::Index(i.id));
        let ranges: Vec<Bounds> = match reach {
            Reach::All => vec![rows.segment(0, 1)],
            Reach::Keys(keys) => keys.iter().map(|k| rows.range(&hash_bytes(&k.hash), k.range.as_ref())).collect(),
        };
        let mark = mark(select);
        let place = match token {
            Some(token) => place(&token, &mark)?,
            None => Place { key: 0, after: None },
        };
        let request = |range: Bounds, limit: Option<usize>| Request {
            table: table.clone(),
            index,
            range,
            reverse,
            limit,
            consistent,
            filter: select.condition.clone(),
            projection: None,
            count_only: false,
            whole_items,
            as_json: false,
        };
        let (page, stopped, units) = self.read_ranges(&ranges, place, limit, request).await?;
        let spent = match index {
            Some(place) => Spent { table: page.fetched, indexes: vec![(place, units)] },
            None => Spent { table: units, indexes: Vec::new() },
        };
        let next = stopped.as_ref().map(|place| token_of(place, &mark));
        let items = page.items.into_iter().map(|item| picked(item, select)).collect();
        Ok(Found { table, items, spent, next, last: page.last })
    }

    /// Reads range after range until the limit or the page's bytes end: what was read, where it ended, its cost.
    async fn read_ranges(
        &self,
        ranges: &[Bounds],
        place: Place,
        limit: Option<usize>,
        request: impl Fn(Bounds, Option<usize>) -> Request,
    ) -> Result<(Page, Option<Place>, f64), Error> {
        let (mut page, mut units, mut after) = (Page::default(), 0.0, place.after);
        for (at, range) in ranges.iter().enumerate().skip(place.key) {
            if limit.is_some_and(|limit| page.scanned >= limit) || page.bytes > PAGE_BYTES {
                return Ok((page, Some(Place { key: at, after: None }), units));
            }
            let mut request = request(range.clone(), limit.map(|limit| limit - page.scanned));
            if let Some(start) = after.take() {
                let wrong = "NextToken does not match request";
                request.start_after(&start, wrong, |_| wrong.to_owned())?;
            }
            if super::super::query::is_empty(&request.range) {
                continue;
            }
            let more = self.read_page(&request).await?;
            units += read_units(more.bytes, request.consistent);
            page.items.extend(more.items);
            page.scanned += more.scanned;
            page.bytes += more.bytes;
            page.fetched += more.fetched;
            if let Some(last) = more.last {
                page.last = Some(last.clone());
                return Ok((page, Some(Place { key: at, after: Some(last) }), units));
            }
        }
        Ok((page, None, units))
    }

    /// Runs a SELECT of exactly one item, as batches and transactions have them.
    pub(super) async fn read_one(
        &self,
        ctx: &Ctx,
        select: &Select,
        consistent: bool,
        what: &str,
    ) -> Result<(TableRef, Option<Item>, usize), Error> {
        let table = self.table(ctx, &select.table)?;
        let (key, rest) = single(select, &table, what)?;
        let row_key = tables::item(table.id, &table.schema.of_key(&key)?);
        let consistency = if consistent { Consistency::Strong } else { Consistency::Eventual };
        let row = self.deps.state.get_with(row_key, consistency).await?;
        let item = row.map(|row| codec::decode(&row.value)).transpose()?;
        let bytes = item.as_ref().map_or(0, Item::size_bytes);
        let item = item.filter(|item| rest.as_ref().is_none_or(|c| eval::holds(c, item)));
        Ok((table, item.map(|item| picked(item, select)), bytes))
    }
}

/// The key of a SELECT of one item, and what else must hold.
pub(super) fn single(select: &Select, table: &TableRef, what: &str) -> Result<(Item, Option<Condition>), Error> {
    let whole = || {
        Error::validation(format!("Select statements within {what} must specify the primary key in the where clause."))
    };
    if select.index.is_some() {
        return Err(whole());
    }
    plan::single(select.condition.clone(), &table.schema).map_err(|_| whole())
}

fn check_index(index: &Index, consistent: bool) -> Result<(), Error> {
    if consistent && !index.local {
        return Err(Error::validation("Consistent reads are not supported on global secondary indexes"));
    }
    if index.backfilling {
        return Err(Error::validation(format!("Cannot read from backfilling global secondary index: {}", index.name)));
    }
    Ok(())
}

/// Whether ORDER BY turns the order around.
fn check_order(select: &Select, schema: &KeySchema, reach: &Reach) -> Result<bool, Error> {
    if select.order.is_empty() {
        return Ok(false);
    }
    if select.condition.is_none() {
        return Err(Error::validation("Must have WHERE clause in the statement when using ORDER BY clause."));
    }
    if matches!(reach, Reach::All) {
        return Err(Error::validation(
            "Must have at least one non-optional hash key condition in WHERE clause when using ORDER BY clause.",
        ));
    }
    if let Some((name, _)) = select.order.iter().find(|(name, _)| !schema.has(name)) {
        return Err(Error::validation(format!(
            "Variable reference {name} in ORDER BY clause must be part of the primary key"
        )));
    }
    let range = schema.range.as_ref();
    Ok(select.order.iter().any(|(name, down)| *down && range.is_some_and(|r| r.name == *name)))
}

/// What a SELECT wants of an item.
pub(super) fn picked(item: Item, select: &Select) -> Item {
    match &select.columns {
        None => item,
        Some(columns) => {
            columns.iter().filter_map(|path| Some((column_name(path), path.find(&item)?.clone()))).collect()
        }
    }
}

/// A hash of the statement: a token goes with no other.
fn mark(select: &Select) -> [u8; MARK_BYTES] {
    let digest = Sha256::digest(format!("{select:?}").as_bytes());
    let mut out = [0; MARK_BYTES];
    out.copy_from_slice(&digest[..MARK_BYTES]);
    out
}

fn token_of(place: &Place, mark: &[u8; MARK_BYTES]) -> String {
    let mut bytes = mark.to_vec();
    codec::write_count(place.key, &mut bytes);
    if let Some(after) = &place.after {
        bytes.extend(codec::encode(after));
    }
    URL_SAFE_NO_PAD.encode(bytes)
}

fn place(token: &str, mark: &[u8; MARK_BYTES]) -> Result<Place, Error> {
    let wrong = || Error::validation("NextToken does not match request");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
    let mut rest = bytes.strip_prefix(mark.as_slice()).ok_or_else(wrong)?;
    let key = codec::read_count(&mut rest).ok_or_else(wrong)?;
    let after = if rest.is_empty() { None } else { Some(codec::decode(rest).map_err(|_| wrong())?) };
    Ok(Place { key, after })
}
