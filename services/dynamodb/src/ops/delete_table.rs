//! DeleteTable.

use crate::api;
use crate::error::Error;
use crate::features::Stream;
use crate::room::{DynamoDb, refusal};
use crate::stream;
use crate::tables::{self, Rows};
use squall_service::Ctx;
use squall_store::{Txn, envelope};

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
        loop {
            let table = self.named_table(ctx, &input.table_name)?;
            if table.deletion_protection {
                return Err(Error::validation(
                    "Resource cannot be deleted as it is currently protected against deletion. Disable deletion \
                     protection first.",
                ));
            }
            let mut txn = Txn::new().guard(table.key.clone(), table.ver).delete(table.key.clone());
            let indexes = table.indexes.iter().map(|i| Rows::Index(i.id));
            let expiry = table.expiry.iter().map(|e| Rows::Expiry(e.id));
            for rows in indexes.chain(expiry).chain([Rows::Table(table.id)]) {
                txn = txn.put(tables::garbage(rows), envelope::seal(&[]));
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
}
