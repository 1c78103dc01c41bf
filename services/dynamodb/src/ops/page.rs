//! Reads one page of a query or scan.

use crate::capacity::read_units;
use crate::codec;
use crate::error::Error;
use crate::expr::ast::Condition;
use crate::expr::eval;
use crate::expr::project::Projection;
use crate::item::Item;
use crate::table::{Index, TableRef};
use crate::tables;
use squall_store::{Consistency, Key, Range, Row, State, StateExt};
use std::ops::Bound;
use std::sync::Arc;

/// Bytes of items after which a page ends.
const PAGE_BYTES: usize = 1024 * 1024;
/// Rows and stored bytes asked of the engine first: most pages end with them, and engines read so few without another thread.
const FIRST_ROWS: usize = 64;
const FIRST_BYTES: usize = 128 * 1024;
/// Rows asked of the engine at once.
const CHUNK_ROWS: usize = 1000;
/// Stored bytes asked of the engine at once: a page and the item that crosses its bound, in one go.
const CHUNK_BYTES: usize = PAGE_BYTES + crate::item::ITEM_BYTES_MAX;

/// Whole items asked of the engine at once, which each may be as long as items can be.
const FETCH_ROWS: usize = 32;

/// What to read.
pub(super) struct Request {
    pub table: TableRef,
    /// Place of the index in the definition.
    pub index: Option<usize>,
    pub range: (Bound<Key>, Bound<Key>),
    pub reverse: bool,
    pub limit: Option<usize>,
    pub consistent: bool,
    pub filter: Option<Condition>,
    pub projection: Option<Projection>,
    /// Only the count is wanted.
    pub count_only: bool,
    /// A local index is read, but attributes are wanted that only the table has.
    pub whole_items: bool,
    /// The items are wanted as JSON, if they can be sent on as they are stored.
    pub as_json: bool,
}

/// What was read.
#[derive(Default)]
pub(super) struct Page {
    pub items: Vec<Item>,
    /// The items as a JSON list but for its end, where they are wanted so; empty when there is none.
    pub json: Vec<u8>,
    pub count: usize,
    pub scanned: usize,
    /// Bytes of the items, or of an index's part of them.
    pub bytes: usize,
    /// Bytes of the items that had to be read from the table as well.
    pub whole_bytes: usize,
    /// Units that those cost on the table.
    pub fetched: f64,
    /// Key of the last item read, when there may be more.
    pub last: Option<Item>,
}

impl Request {
    pub(super) fn index(&self) -> Option<&Index> {
        self.table.indexes.get(self.index?)
    }

    /// Reads until the range, the limit or the page's bytes end.
    pub(super) async fn read(&self, state: &Arc<dyn State>) -> Result<Page, Error> {
        let mut page = Page::default();
        let mut resume: Option<Key> = None;
        loop {
            let (rows, bytes) = if resume.is_none() { (FIRST_ROWS, FIRST_BYTES) } else { (CHUNK_ROWS, CHUNK_BYTES) };
            let left = self.limit.map_or(rows, |limit| (limit - page.scanned).min(rows));
            let (from, to) = self.range.clone();
            let mut range = Range::new(from, to).reversed(self.reverse).limit(left).max_bytes(bytes);
            if let Some(next) = resume.take() {
                range = range.resume(next);
            }
            let consistency = if self.consistent { Consistency::Strong } else { Consistency::Eventual };
            let chunk = state.range_with(range, consistency).await?;
            if self.is_sent_on() {
                if self.send_on(&chunk.rows, &mut page)? {
                    return Ok(page);
                }
                match chunk.next {
                    Some(next) => resume = Some(next),
                    None => return Ok(page),
                }
                continue;
            }
            let step = if self.whole_items { FETCH_ROWS } else { CHUNK_ROWS };
            for rows in chunk.rows.chunks(step) {
                for (item, part) in self.items(state, rows).await? {
                    if self.take(item, part, &mut page) {
                        return Ok(page);
                    }
                }
            }
            match chunk.next {
                Some(next) => resume = Some(next),
                None => return Ok(page),
            }
        }
    }

    /// Whether the page's items are written as JSON straight from their rows.
    pub(super) fn is_sent_on(&self) -> bool {
        self.as_json && self.filter.is_none() && self.projection.is_none() && !self.count_only && !self.whole_items
    }

    /// Writes rows as JSON, and says whether the page ends with one of them.
    fn send_on(&self, rows: &[Row], page: &mut Page) -> Result<bool, Error> {
        page.json.reserve(rows.iter().map(|row| row.value.len() + row.value.len() / 8 + 64).sum());
        for row in rows {
            page.json.push(if page.json.is_empty() { b'[' } else { b',' });
            page.bytes += codec::write_json(&row.value, &mut page.json)?;
            page.scanned += 1;
            page.count += 1;
            if self.is_full(page) {
                page.last = Some(self.key_of(&codec::decode(&row.value)?));
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_full(&self, page: &Page) -> bool {
        self.limit == Some(page.scanned) || page.bytes.max(page.whole_bytes) > PAGE_BYTES
    }

    /// The items of rows, those of the table where the index does not have enough; with each the bytes that its row counts.
    async fn items(&self, state: &Arc<dyn State>, rows: &[Row]) -> Result<Vec<(Item, usize)>, Error> {
        let sized = |row: &Row| -> Result<(Item, usize), Error> {
            let item = codec::decode(&row.value)?;
            let bytes = item.size_bytes();
            Ok((item, bytes))
        };
        let items: Vec<(Item, usize)> = rows.iter().map(sized).collect::<Result<_, _>>()?;
        if !self.whole_items {
            return Ok(items);
        }
        let key = |(item, bytes): &(Item, usize)| {
            Some((tables::item(self.table.id, &self.table.schema.bytes(item)?), *bytes))
        };
        let (keys, parts): (Vec<Key>, Vec<usize>) = items.iter().filter_map(key).unzip();
        let rows = state.get_many(keys, Consistency::Strong).await?;
        let found = rows.into_iter().zip(parts).filter_map(|(row, bytes)| Some((row?, bytes)));
        found.map(|(row, bytes)| Ok((codec::decode(&row.value)?, bytes))).collect()
    }

    /// Counts an item whose row counts `part` bytes, keeps what is wanted of it, and says whether the page ends with it.
    fn take(&self, item: Item, part: usize, page: &mut Page) -> bool {
        page.scanned += 1;
        page.bytes += part;
        if self.whole_items {
            let whole = item.size_bytes();
            page.whole_bytes += whole;
            page.fetched += read_units(whole, self.consistent);
        }
        let ends = self.is_full(page);
        if ends {
            page.last = Some(self.key_of(&item));
        }
        if self.filter.as_ref().is_none_or(|filter| eval::holds(filter, &item)) {
            page.count += 1;
            if !self.count_only {
                page.items.push(match &self.projection {
                    Some(projection) => projection.apply(&item),
                    None => item,
                });
            }
        }
        ends
    }

    /// The key of an item as `LastEvaluatedKey` has it: with the index's key where one is read.
    fn key_of(&self, item: &Item) -> Item {
        let mut key = self.table.schema.project(item);
        if let Some(index) = self.index() {
            key = index.schema.project(item).into_iter().chain(key).collect();
        }
        key
    }

    /// Narrows the range to what comes after `ExclusiveStartKey`.
    ///
    /// # Errors
    /// `wrong` for a key of another form, `ValidationException` for values that no key has; for one outside of the range
    /// what `outside` says, which is told whether it has another partition key.
    pub(super) fn start_after(
        &mut self,
        start: &Item,
        wrong: &str,
        outside: impl FnOnce(bool) -> String,
    ) -> Result<(), Error> {
        use std::ops::RangeBounds;
        let wrong = || Error::validation(wrong);
        let index = self.index();
        let known = |name: &str| self.table.schema.has(name) || index.is_some_and(|i| i.schema.has(name));
        let primary = self.table.schema.bytes(start).ok_or_else(wrong)?;
        let key = match index {
            Some(index) => index.schema.bytes(start).ok_or_else(wrong)?,
            None => primary.clone(),
        };
        if !start.iter().all(|(name, _)| known(name)) {
            return Err(wrong());
        }
        let check = |schema: &crate::key::KeySchema| schema.of_item(start).map_err(invalid_start);
        check(&self.table.schema)?;
        index.map(|index| check(&index.schema)).transpose()?;
        let row = match index {
            None => tables::item(self.table.id, &primary),
            Some(index) => tables::index_row(index.id, &key, &primary, self.table.schema.place(start)),
        };
        if !self.range.contains(&row) {
            let rows = index.map_or(tables::Rows::Table(self.table.id), |i| tables::Rows::Index(i.id));
            let edge = match (&self.range.0, &self.range.1) {
                (Bound::Included(edge) | Bound::Excluded(edge), _)
                | (_, Bound::Included(edge) | Bound::Excluded(edge)) => edge,
                _ => &row,
            };
            return Err(Error::validation(outside(!edge.as_bytes().starts_with(rows.partition(&key.hash).as_bytes()))));
        }
        if self.reverse {
            self.range.1 = Bound::Excluded(row);
        } else {
            self.range.0 = Bound::Excluded(row);
        }
        Ok(())
    }
}

/// The error for a starting key with a value that no key has.
pub(crate) fn invalid_start(why: Error) -> Error {
    Error::validation(format!("The provided starting key is invalid: {why}"))
}
