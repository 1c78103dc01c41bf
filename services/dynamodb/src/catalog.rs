//! The definitions of all tables, in memory.
//!
//! Filled when the room opens; every change goes through this room, which puts it here after its commit. A write carries a
//! guard on the version that it was prepared with, so that it never happens under an old definition: when the guard fails,
//! the definition is read again.

use crate::error::Error;
use crate::table::{OpenTable, Table, TableRef};
use crate::tables;
use parking_lot::RwLock;
use squall_store::{State, StateExt};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most tables per cloud that are kept (AWS: 2,500 per region by default).
const TABLES_MAX: usize = 100_000;

/// All definitions, by region and name.
pub struct Catalog {
    state: Arc<dyn State>,
    regions: RwLock<BTreeMap<String, BTreeMap<String, TableRef>>>,
}

impl Catalog {
    /// Reads all definitions.
    ///
    /// # Errors
    /// `Internal` when the state cannot be read.
    pub async fn load(state: Arc<dyn State>) -> Result<Catalog, Error> {
        let rows = state.all(tables::definitions(), TABLES_MAX).await?;
        let catalog = Catalog { state, regions: RwLock::default() };
        for row in rows {
            catalog.insert(OpenTable { table: Table::open(&row.value)?, key: row.key, ver: row.ver });
        }
        Ok(catalog)
    }

    /// The table of that name.
    pub fn get(&self, region: &str, name: &str) -> Option<TableRef> {
        self.regions.read().get(region)?.get(name).cloned()
    }

    /// Names after `after` in order, at most `limit`, and whether more follow.
    pub fn names(&self, region: &str, after: Option<&str>, limit: usize) -> (Vec<String>, bool) {
        use std::ops::Bound;
        let regions = self.regions.read();
        let Some(tables) = regions.get(region) else { return (Vec::new(), false) };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut names = tables.range::<str, _>((from, Bound::Unbounded)).map(|(name, _)| name.clone());
        let page: Vec<String> = names.by_ref().take(limit).collect();
        let more = names.next().is_some();
        (page, more)
    }

    /// All tables.
    pub fn all(&self) -> Vec<TableRef> {
        self.regions.read().values().flat_map(|tables| tables.values().cloned()).collect()
    }

    /// Takes in a definition that was just written.
    pub fn insert(&self, table: OpenTable) -> TableRef {
        let table = Arc::new(table);
        let mut regions = self.regions.write();
        regions.entry(table.region.clone()).or_default().insert(table.name.clone(), table.clone());
        table
    }

    /// Reads a definition again.
    ///
    /// # Errors
    /// `Internal` when the state cannot be read.
    pub async fn reload(&self, region: &str, name: &str) -> Result<Option<TableRef>, Error> {
        let row = self.state.get(tables::definition(region, name)).await?;
        match row {
            Some(row) => {
                let table = Table::open(&row.value)?;
                Ok(Some(self.insert(OpenTable { table, key: row.key, ver: row.ver })))
            }
            None => {
                self.remove(region, name);
                Ok(None)
            }
        }
    }

    /// Forgets a definition that was just deleted.
    pub fn remove(&self, region: &str, name: &str) {
        if let Some(tables) = self.regions.write().get_mut(region) {
            tables.remove(name);
        }
    }
}
