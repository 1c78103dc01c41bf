//! DeleteTable.

use crate::api;
use crate::backup::{self, Backup};
use crate::error::Error;
use crate::features::Stream;
use crate::room::{DynamoDb, refusal};
use crate::stream::{self, retention};
use crate::table::TableRef;
use crate::tables::{self, Rows};
use squall_service::Ctx;
use squall_store::{StateExt as _, Txn, envelope};
use std::time::Duration;

/// How long the backup of a deleted table with point-in-time recovery is kept.
const LAST_BACKUP_LIFE: Duration = Duration::from_secs(35 * 24 * 3600);
/// Most backups of a table that are looked through.
const BACKUPS_MAX: usize = 100_000;

impl DynamoDb {
    /// Deletes a table. Its name is free at once; its rows are removed by the worker, also after a crash.
    ///
    /// # Errors
    /// `ResourceNotFoundException`, `ValidationException` for a protected table.
    pub(crate) async fn delete_table(
        &self,
        ctx: &Ctx,
        input: api::DeleteTableInput,
    ) -> Result<api::DeleteTableOutput, Error> {
        let _alone = self.control.lock().await;
        loop {
            let table = self.named_table(ctx, &input.table_name)?;
            self.check_unused(&table).await?;
            if table.deletion_protection {
                return Err(Error::validation(
                    "Resource cannot be deleted as it is currently protected against deletion. Disable deletion \
                     protection first.",
                ));
            }
            let mut txn = Txn::new().guard(table.key.clone(), table.ver).delete(table.key.clone());
            for rows in garbage(&table) {
                txn = txn.put(tables::garbage(rows), envelope::seal(&[]));
            }
            if let Some(history) = &table.history {
                // Its items become a backup as they lie.
                let backup = self.last_backup(&table);
                txn = retention::drop_part(history.part(), txn).put(backup.key(), backup.seal()?);
            }
            // The stream can be read for another day.
            let stream = table.stream.clone().filter(|_| table.streams());
            let stream = stream.map(|s| Stream { closed: Some(self.deps.clock.now()), ..s });
            if let Some(stream) = &stream {
                txn = txn.put(tables::stream(&stream.arn), stream::seal(stream)?);
            }
            match self.deps.state.commit(txn).await {
                Ok(_) => {
                    self.catalog.remove(&table.region, &table.name);
                    if let Some(stream) = stream {
                        self.streams.insert(stream);
                        self.closings.send_replace(());
                    }
                    self.work.notify_one();
                    let mut description = super::describe::description(&table, "DELETING", "DELETING");
                    // The service leaves these out once a table is on its way.
                    (description.attribute_definitions, description.key_schema) = (None, None);
                    description.creation_date_time = None;
                    return Ok(api::DeleteTableOutput { table_description: Some(description) });
                }
                Err(squall_store::Error::Guard(_)) => {
                    self.catalog.reload(&table.region, &table.name).await?;
                }
                Err(error) => return Err(refusal(error)),
            }
        }
    }

    /// A table that is being backed up or restored from stays.
    async fn check_unused(&self, table: &TableRef) -> Result<(), Error> {
        let backups = self.deps.state.all(tables::backups_of(&table.region, &table.name), BACKUPS_MAX).await?;
        let mut creating = false;
        for row in backups {
            let backup = Backup::open(&row.value)?;
            creating |= backup.creating && backup.table.id == table.id;
        }
        if creating || self.is_restored_from(table.id) {
            return Err(Error::ResourceInUse(format!(
                "Attempt to change a resource which is still in use: Table is being backed up or restored from: {}",
                table.name
            )));
        }
        Ok(())
    }

    /// What remains of a table with point-in-time recovery.
    fn last_backup(&self, table: &TableRef) -> Backup {
        let at = self.deps.clock.now();
        let count = self.counts.of(table.id);
        Backup {
            arn: backup::arn(table, at, (table.id as u32).wrapping_mul(0x9e37_79b9)),
            name: format!("{}$DeletedTableBackup", table.name),
            by_system: true,
            id: table.id,
            table: table.table.clone(),
            at,
            creating: false,
            items: count.items,
            bytes: count.bytes,
            expires: Some(at.plus(LAST_BACKUP_LIFE)),
        }
    }
}

/// The rows that a table leaves behind; its items stay where they become a backup.
fn garbage(table: &TableRef) -> Vec<Rows> {
    let indexes = table.indexes.iter().map(|i| Rows::Index(i.id));
    let expiry = table.expiry.iter().map(|e| Rows::Expiry(e.id));
    let items = table.history.is_none().then_some(Rows::Table(table.id));
    let marks = table.restore.as_ref().and_then(|r| r.work.as_ref()).filter(|w| w.marks != 0);
    indexes.chain(expiry).chain(items).chain(marks.map(|w| Rows::Undone(w.marks))).collect()
}
