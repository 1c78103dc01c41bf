//! BatchGetItem.

use crate::api::shapes;
use crate::capacity::{Spent, Unit, Wanted, read_units};
use crate::error::Error;
use crate::expr::project::Projection;
use crate::item::Item;
use crate::room::DynamoDb;
use crate::table::TableRef;
use crate::throttle::Way;
use crate::wire::{self, Fields, Output};
use crate::{codec, policy, request, scalars, tables};
use squall_protocol::Value as Wire;
use squall_service::Ctx;
use squall_store::{Consistency, Key, StateExt};

/// Most keys of a request.
const KEYS_MAX: usize = 100;
/// Bytes of items after which keys stay unprocessed.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// The part of a request that is about one table.
struct Part {
    named: String,
    table: TableRef,
    keys: Vec<Item>,
    rows: Vec<Key>,
    projection: Option<Projection>,
    consistent: bool,
    /// As it came, without its keys: to be given back with the unprocessed ones.
    rest: Wire,
}

impl DynamoDb {
    /// Reads up to 100 items of several tables, all at one snapshot.
    ///
    /// Cost: one read of as many rows.
    ///
    /// # Errors
    /// `ValidationException`, `ResourceNotFoundException`.
    pub(crate) async fn batch_get_item(&self, ctx: &Ctx, mut fields: Fields) -> Result<Wire, Error> {
        let wanted = Wanted::of(fields.text("ReturnConsumedCapacity").as_deref());
        let shape = request::required(fields.map_value_shape("RequestItems"), "RequestItems")?;
        let tables = request::required(fields.map("RequestItems"), "RequestItems")?;
        let mut parts = Vec::new();
        for (named, wire) in tables {
            parts.push(self.get_part(ctx, named, Fields::new(shape, wire.clone()), wire)?);
        }
        if parts.iter().map(|p| p.keys.len()).sum::<usize>() > KEYS_MAX {
            return Err(Error::validation("Too many items requested for the BatchGetItem call"));
        }
        let keys: Vec<Key> = parts.iter().flat_map(|p| p.rows.iter().cloned()).collect();
        let strong = parts.iter().any(|p| p.consistent);
        let consistency = if strong { Consistency::Strong } else { Consistency::Eventual };
        let mut rows = self.deps.state.get_many(keys, consistency).await?.into_iter();
        let (mut responses, mut unprocessed, mut costs, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
        let (mut read, mut throttled) = (0, None);
        for part in parts {
            let (mut items, mut left, mut spent) = (Vec::new(), Vec::new(), Spent::default());
            for key in part.keys {
                let item = match rows.next().flatten() {
                    Some(row) => Some(codec::decode(&row.value)?),
                    None => None,
                };
                let size = item.as_ref().map_or(0, Item::size_bytes);
                let refused = self.admit_read(&part.table, None).err();
                if bytes + size > BYTES_MAX || refused.is_some() {
                    throttled = throttled.or(refused);
                    left.push(wire::item_value(key));
                    continue;
                }
                (bytes, read) = (bytes + size, read + 1);
                let units = read_units(size, part.consistent);
                spent.table += units;
                self.pay(&part.table, Way::Read, || Spent { table: units, indexes: Vec::new() });
                if let Some(item) = item {
                    let item = part.projection.as_ref().map_or_else(|| item.clone(), |p| p.apply(&item));
                    items.push(wire::item_value(item));
                }
            }
            costs.extend(spent.value(wanted, Unit::Plain, &part.table, &part.named));
            if !left.is_empty() {
                unprocessed.push((part.named.clone(), with_keys(shape, part.rest, left)));
            }
            responses.push((part.named, Wire::List(items)));
        }
        if let (0, Some(refused)) = (read, throttled) {
            return Err(refused);
        }
        let mut out = Output::new(&shapes::BATCH_GET_ITEM_OUTPUT);
        out.set("Responses", Some(Wire::Map(responses)));
        out.set("UnprocessedKeys", Some(Wire::Map(unprocessed)));
        out.set("ConsumedCapacity", (wanted != Wanted::None).then_some(Wire::List(costs)));
        Ok(out.finish())
    }

    fn get_part(&self, ctx: &Ctx, named: String, mut fields: Fields, rest: Wire) -> Result<Part, Error> {
        request::check_not_mixed(&fields, &["AttributesToGet"], &["ProjectionExpression"])?;
        let mut scope = request::placeholders(&mut fields, &["ProjectionExpression"], &[])?;
        let mut keys = Vec::new();
        for key in request::required(fields.list("Keys"), "Keys")? {
            let Wire::Map(map) = key else { continue };
            keys.push(wire::item(map)?);
        }
        let paths = request::projection(&mut fields, &mut scope)?;
        scope.check_used()?;
        let consistent = fields.flag("ConsistentRead").unwrap_or(false);
        policy::check_table_name(policy::table_name(&named))?;
        let table = self.table(ctx, &named)?;
        let row = |key| Ok(tables::item(table.id, &table.schema.of_key(key)?));
        let rows: Vec<Key> = keys.iter().map(row).collect::<Result<_, Error>>()?;
        if crate::item::has_duplicates(&rows) {
            return Err(Error::validation("Provided list of item keys contains duplicates"));
        }
        scalars::check_projection(&table, paths.as_deref())?;
        let projection = paths.map(|paths| Projection::new(&paths));
        Ok(Part { named, table, keys, rows, projection, consistent, rest })
    }
}

/// A table's part of the request with other keys.
fn with_keys(shape: &'static squall_protocol::Shape, rest: Wire, keys: Vec<Wire>) -> Wire {
    let Wire::Struct(mut members) = rest else { return rest };
    let at = shape.members().iter().position(|m| m.name == "Keys");
    if let Some(member) = members.iter_mut().find(|(index, _)| Some(usize::from(*index)) == at) {
        member.1 = Wire::List(keys);
    }
    Wire::Struct(members)
}
