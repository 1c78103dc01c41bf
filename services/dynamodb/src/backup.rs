//! Backups of tables: the definition as it was, and a copy of the items under an id of its own.

use crate::error::Error;
use crate::table::Table;
use crate::tables;
use serde::{Deserialize, Serialize};
use squall_store::{Key, envelope};
use squall_types::Millis;

/// A backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// ARN.
    pub arn: String,
    /// Name.
    pub name: String,
    /// Made by the service when a table with point-in-time recovery was deleted.
    pub by_system: bool,
    /// Resource id of its items.
    pub id: u64,
    /// The table as it was.
    pub table: Table,
    /// When it was asked for.
    pub at: Millis,
    /// Items are still being copied.
    pub creating: bool,
    /// Items.
    pub items: i64,
    /// Stored bytes.
    pub bytes: i64,
    /// When it goes by itself.
    pub expires: Option<Millis>,
}

impl Backup {
    /// Where it is.
    pub fn key(&self) -> Key {
        tables::backup(&self.table.region, &self.table.name, self.at, &self.arn)
    }

    /// `BackupType`.
    pub fn kind(&self) -> &'static str {
        if self.by_system { "SYSTEM" } else { "USER" }
    }

    /// The stored form.
    ///
    /// # Errors
    /// `Internal` when it cannot be written as JSON.
    pub fn seal(&self) -> Result<squall_store::Bytes, Error> {
        let json = serde_json::to_vec(self).map_err(|e| Error::Internal(format!("write a backup: {e}")))?;
        Ok(envelope::seal(&json))
    }

    /// The backup of its stored form.
    ///
    /// # Errors
    /// `Internal` for bytes that are none.
    pub fn open(value: &[u8]) -> Result<Backup, Error> {
        serde_json::from_slice(envelope::open(value)?).map_err(|e| Error::Internal(format!("read a backup: {e}")))
    }
}

/// The ARN of a backup that is made now; `mark` tells those of one millisecond apart.
pub fn arn(table: &Table, at: Millis, mark: u32) -> String {
    format!("{}/backup/{:014}-{mark:08x}", table.arn, at.0.max(0))
}

/// Where the backup of an ARN is; `None` for a text that is none.
pub fn key_of(region: &str, arn: &str) -> Option<Key> {
    let (table, backup) = arn.rsplit_once("/backup/")?;
    let name = table.rsplit_once(":table/")?.1;
    let at = backup.split_once('-')?.0.parse().ok()?;
    Some(tables::backup(region, name, Millis(at), arn))
}
