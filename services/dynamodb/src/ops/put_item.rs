//! PutItem.

use super::{collection_metrics, wants_old, write_spent};
use crate::api::shapes;
use crate::capacity::{Unit, Wanted};
use crate::error::Error;
use crate::request;
use crate::room::{DynamoDb, Plan};
use crate::rules::{self, Change, Write};
use crate::wire::{self, Fields, Output};
use crate::{codec, scalars, tables};
use squall_protocol::Value as Wire;
use squall_service::Ctx;
use squall_store::Mutation;

impl DynamoDb {
    /// Writes an item, replacing the one with the same key.
    ///
    /// Cost: one commit; blind unless a condition, old values, consumed capacity or indexes ask for the old item.
    ///
    /// # Errors
    /// `ValidationException`, `ConditionalCheckFailedException`, `ResourceNotFoundException`.
    pub(crate) async fn put_item(&self, ctx: &Ctx, mut fields: Fields) -> Result<Wire, Error> {
        let named = request::required(fields.text("TableName"), "TableName")?;
        let wanted = Wanted::of(fields.text("ReturnConsumedCapacity").as_deref());
        let metrics = fields.text("ReturnItemCollectionMetrics");
        request::check_not_mixed(&fields, &["Expected", "ConditionalOperator"], &["ConditionExpression"])?;
        let expressions = ["ConditionExpression"];
        let mut scope = request::placeholders(&mut fields, &expressions, &expressions)?;
        let item = request::required_item(&mut fields, "Item")?;
        let old_wanted = wants_old(fields.text("ReturnValues").as_deref())?;
        rules::check_item(&item)?;
        let old_on_failure = fields.text("ReturnValuesOnConditionCheckFailure").as_deref() == Some("ALL_OLD");
        let condition = request::write_condition(&mut fields, &mut scope)?;
        scope.check_used()?;
        let blind = condition.is_none() && !old_wanted && wanted == Wanted::None;
        let plan = |table: crate::table::TableRef| {
            let key = table.schema.of_item(&item)?;
            rules::check_put(&table, &item)?;
            scalars::check_condition(&table, condition.as_ref())?;
            if blind && !table.needs_old() {
                let value = codec::encode(&item).into();
                return Ok(Plan::Blind(Mutation::Put { key: tables::item(table.id, &key), value, expires: None }));
            }
            let change = Change::Put(item.clone());
            Ok(Plan::Ruled(Write { table, key, condition: condition.clone(), change, old_on_failure }))
        };
        let (table, done) = self.write(ctx, &named, plan).await?;
        let mut out = Output::new(&shapes::PUT_ITEM_OUTPUT);
        out.set("ConsumedCapacity", write_spent(&done).value(wanted, Unit::Plain, &table, &named));
        out.set("ItemCollectionMetrics", collection_metrics(metrics.as_deref(), &table, &item));
        out.set("Attributes", done.old.filter(|_| old_wanted).map(wire::item_value));
        Ok(out.finish())
    }
}
