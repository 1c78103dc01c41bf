//! GetItem.

use crate::api::shapes;
use crate::capacity::{Spent, Unit, Wanted, read_units};
use crate::error::Error;
use crate::expr::project::Projection;
use crate::item::Item;
use crate::room::DynamoDb;
use crate::throttle::Way;
use crate::wire::{self, Fields, Output};
use crate::{codec, request, tables};
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
        let consistency = if consistent { Consistency::Strong } else { Consistency::Eventual };
        let row = self.deps.state.get_with(row_key, consistency).await?;
        let item = row.map(|row| codec::decode(&row.value)).transpose()?;
        let sized = wanted != Wanted::None || table.is_bounded();
        let bytes = item.as_ref().map_or(0, |item: &Item| if sized { item.size_bytes() } else { 0 });
        let item = match paths {
            Some(paths) => item.map(|item| Projection::new(&paths).apply(&item)),
            None => item,
        };
        let spent = Spent { table: read_units(bytes, consistent), indexes: Vec::new() };
        self.pay(&table, Way::Read, || spent.clone());
        let mut out = Output::new(&shapes::GET_ITEM_OUTPUT);
        out.set("Item", item.map(wire::item_value));
        out.set("ConsumedCapacity", spent.value(wanted, Unit::Plain, &table));
        Ok(out.finish())
    }
}
