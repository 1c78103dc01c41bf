//! The definition of a table: what CreateTable was told, as it is stored and cached.

use crate::error::Error;
use crate::expr::project::Projection;
use crate::features::{ExpiryRows, History, ResourcePolicy, Restore, Stream};
use crate::item::{Item, Kind};
use crate::key::{KeyAttribute, KeySchema};
use serde::{Deserialize, Serialize};
use squall_store::{Key, Stamp, envelope};
use squall_types::Millis;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A table's definition. Stored as JSON in the store's envelope.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Resource id in the keys of its rows; never reused.
    pub id: u64,
    /// How its rows are laid out; see `layout.rs`. Earlier versions did not say.
    #[serde(default)]
    pub layout: u32,
    /// `TableId`, a UUID.
    pub uuid: String,
    /// Name.
    pub name: String,
    /// Region.
    pub region: String,
    /// ARN.
    pub arn: String,
    /// Time of creation.
    pub created: Millis,
    /// Attribute definitions in the caller's order.
    pub attributes: Vec<KeyAttribute>,
    /// Primary key.
    pub schema: KeySchema,
    /// Secondary indexes, local ones first.
    pub indexes: Vec<Index>,
    /// How it is paid.
    pub billing: Billing,
    /// Whether DeleteTable is refused.
    pub deletion_protection: bool,
    /// `TableClass`, where it was given.
    pub class: Option<String>,
    /// The attribute whose number of seconds since the epoch ends an item's life.
    pub ttl: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// The stream of its changes: the one that is on, or the last one.
    #[serde(default)]
    pub stream: Option<Stream>,
    /// Where it is kept which items end when; there while `ttl` is.
    #[serde(default)]
    pub expiry: Option<ExpiryRows>,
    /// The changes that point-in-time recovery goes back by.
    #[serde(default)]
    pub history: Option<History>,
    /// The backup or table that it was restored from.
    #[serde(default)]
    pub restore: Option<Restore>,
    /// Who may use it, besides the callers whose own policies allow it.
    #[serde(default)]
    pub policy: Option<ResourcePolicy>,
    /// Warm throughput where it was asked for.
    #[serde(default)]
    pub warm: Option<Capacity>,
}

/// Billing mode and the provisioned numbers (0 when on demand).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Billing {
    /// `PAY_PER_REQUEST`.
    pub on_demand: bool,
    /// Read and write capacity units.
    pub capacity: Capacity,
    /// When the table last became on demand.
    pub on_demand_since: Option<Millis>,
    /// Whether the table was ever on demand: its summary is shown from then on.
    pub has_summary: bool,
    /// The bounds of an on-demand table; 0 where there is none.
    #[serde(default)]
    pub most: Capacity,
    /// When the provisioned numbers last grew.
    #[serde(default)]
    pub increased: Option<Millis>,
    /// When the provisioned numbers last fell.
    #[serde(default)]
    pub decreased: Option<Millis>,
    /// How often they fell in the UTC day of `decreased`.
    #[serde(default)]
    pub decreases: u32,
}

/// Provisioned capacity units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    /// Reads of 4 KB per second.
    pub read: i64,
    /// Writes of 1 KB per second.
    pub write: i64,
}

/// A secondary index.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Resource id in the keys of its rows.
    pub id: u64,
    /// Name.
    pub name: String,
    /// A local index: it shares the table's partition key.
    pub local: bool,
    /// Key.
    pub schema: KeySchema,
    /// What its rows hold besides the keys.
    pub projection: IndexProjection,
    /// Provisioned capacity; 0 for local ones and on demand.
    pub capacity: Capacity,
    /// Made on a table with items: rows are still being filled in, queries are refused.
    pub backfilling: bool,
    /// The bounds of an index of an on-demand table; 0 where there is none.
    #[serde(default)]
    pub most: Capacity,
    /// Warm throughput where it was asked for.
    #[serde(default)]
    pub warm: Option<Capacity>,
}

/// What an index holds of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexProjection {
    /// Everything.
    All,
    /// The keys of table and index.
    KeysOnly,
    /// The keys and these attributes.
    Include(Vec<String>),
}

impl Index {
    /// Names of the attributes in the index; `None` for all.
    pub fn kept<'a>(&'a self, table: &'a KeySchema) -> Option<Vec<&'a str>> {
        let more: &[String] = match &self.projection {
            IndexProjection::All => return None,
            IndexProjection::KeysOnly => &[],
            IndexProjection::Include(names) => names,
        };
        let keys = table.attributes().chain(self.schema.attributes()).map(|a| a.name.as_str());
        Some(keys.chain(more.iter().map(String::as_str)).collect())
    }

    /// What the index's row of an item holds.
    pub fn project(&self, table: &KeySchema, item: &Item) -> Item {
        match self.kept(table) {
            None => item.clone(),
            Some(names) => Projection::of_names(names).apply(item),
        }
    }
}

impl Table {
    /// Whether a write needs the item before: without indexes, stream and the like it does not.
    pub fn needs_old(&self) -> bool {
        !self.indexes.is_empty()
            || self.expiry.is_some()
            || self.history.is_some()
            || self.streams()
            || self.is_bounded()
    }

    /// Whether changes go to a stream now.
    pub fn streams(&self) -> bool {
        self.stream.as_ref().is_some_and(|s| s.closed.is_none())
    }

    /// Whether its throughput is bounded.
    pub fn is_bounded(&self) -> bool {
        !self.billing.on_demand
            || self.billing.most != Capacity::default()
            || self.indexes.iter().any(|i| i.most != Capacity::default())
    }

    /// Whether its items are still being restored: it serves nothing until they are.
    pub fn is_restoring(&self) -> bool {
        self.restore.as_ref().is_some_and(|r| r.work.is_some())
    }

    /// `TableStatus`.
    pub fn status(&self) -> &'static str {
        match (self.is_restoring(), self.indexes.iter().any(|i| i.backfilling)) {
            (true, _) => "CREATING",
            (_, true) => "UPDATING",
            _ => "ACTIVE",
        }
    }

    /// The index of that name.
    ///
    /// # Errors
    /// `ValidationException` when there is none.
    pub fn index(&self, name: &str) -> Result<&Index, Error> {
        self.indexes
            .iter()
            .find(|i| i.name == name)
            .ok_or_else(|| Error::validation(format!("The table does not have the specified index: {name}")))
    }

    /// The declared type of an attribute.
    pub fn attribute_kind(&self, name: &str) -> Option<Kind> {
        self.attributes.iter().find(|a| a.name == name).map(|a| a.kind)
    }

    /// ARN of an index.
    pub fn index_arn(&self, index: &str) -> String {
        format!("{}/index/{index}", self.arn)
    }

    /// The stored form.
    ///
    /// # Errors
    /// `Internal` when the definition cannot be written as JSON.
    pub fn seal(&self) -> Result<squall_store::Bytes, Error> {
        let json = serde_json::to_vec(self).map_err(|e| Error::Internal(format!("write a table's definition: {e}")))?;
        Ok(envelope::seal(&json))
    }

    /// The definition of its stored form.
    ///
    /// # Errors
    /// `Internal` for bytes that are none.
    pub fn open(value: &[u8]) -> Result<Table, Error> {
        serde_json::from_slice(envelope::open(value)?)
            .map_err(|e| Error::Internal(format!("read a table's definition: {e}")))
    }
}

/// A definition as it was read: writes guard on its version.
#[derive(Debug)]
pub struct OpenTable {
    /// The definition.
    pub table: Table,
    /// Where it is stored.
    pub key: Key,
    /// Its version.
    pub ver: Stamp,
}

/// A shared definition.
pub type TableRef = Arc<OpenTable>;

impl std::ops::Deref for OpenTable {
    type Target = Table;

    fn deref(&self) -> &Table {
        &self.table
    }
}
