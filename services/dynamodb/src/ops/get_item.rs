//! GetItem.

use crate::api::shapes;
use crate::capacity::{Spent, Unit, Wanted, read_units};
use crate::error::Error;
use crate::expr::ast::Path;
use crate::expr::project::Projection;
use crate::room::DynamoDb;
use crate::throttle::Way;
use crate::wire::{self, Fields, Output};
use crate::{codec, request, scalars, tables};
use squall_protocol::Value as Wire;
use squall_service::Ctx;
use squall_store::{Consistency, StateExt};

impl DynamoDb {
    /// Reads an item.
    ///
    /// Cost: one read of one row.
    ///
    /// # Errors
    /// `ValidationException`, `ResourceNotFoundException`.
    pub(crate) async fn get_item(&self, ctx: &Ctx, mut fields: Fields) -> Result<Wire, Error> {
        let named = request::required(fields.text("TableName"), "TableName")?;
        let wanted = Wanted::of(fields.text("ReturnConsumedCapacity").as_deref());
        request::check_not_mixed(&fields, &["AttributesToGet"], &["ProjectionExpression"])?;
        let mut scope = request::placeholders(&mut fields, &["ProjectionExpression"], &[])?;
        let key = request::required_item(&mut fields, "Key")?;
        let paths = request::projection(&mut fields, &mut scope)?;
        scope.check_used()?;
        let consistent = fields.flag("ConsistentRead").unwrap_or(false);
        let table = self.table(ctx, &named)?;
        self.admit_read(&table, None)?;
        let row_key = tables::item(table.id, &table.schema.of_key(&key)?);
        scalars::check_projection(&table, paths.as_deref())?;
        let consistency = if consistent { Consistency::Strong } else { Consistency::Eventual };
        let row = self.deps.state.get_with(row_key, consistency).await?;
        let (item, bytes) = match row {
            Some(row) => shown(&row.value, paths)?,
            None => (None, 0),
        };
        let spent = Spent { table: read_units(bytes, consistent), indexes: Vec::new() };
        self.pay(&table, Way::Read, || spent.clone());
        let mut out = Output::new(&shapes::GET_ITEM_OUTPUT);
        out.set("Item", item);
        out.set("ConsumedCapacity", spent.value(wanted, Unit::Plain, &table, &named));
        Ok(out.finish())
    }
}

/// What is wanted of a stored item, and the bytes that all of it counts.
fn shown(stored: &[u8], paths: Option<Vec<Path>>) -> Result<(Option<Wire>, usize), Error> {
    let Some(paths) = paths else {
        let mut json = Vec::with_capacity(stored.len() + stored.len() / 8 + 64);
        let bytes = codec::write_json(stored, &mut json)?;
        return Ok((Some(Wire::Json(json)), bytes));
    };
    let item = codec::decode(stored)?;
    Ok((Some(wire::item_value(Projection::new(&paths).apply(&item))), item.size_bytes()))
}
