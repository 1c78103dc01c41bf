//! UpdateItem.

use super::{collection_metrics, write_spent};
use crate::api::shapes;
use crate::capacity::{Unit, Wanted};
use crate::error::Error;
use crate::expr::ast::{Action, Update};
use crate::expr::project::Projection;
use crate::item::Item;
use crate::room::{DynamoDb, Plan};
use crate::rules::{Change, Done, Write};
use crate::wire::{self, Fields, Output};
use crate::{request, scalars};
use squall_protocol::Value as Wire;
use squall_service::Ctx;

impl DynamoDb {
    /// Changes an item, or makes one of the key when there is none.
    ///
    /// Cost: one commit with a rule over the item.
    ///
    /// # Errors
    /// `ValidationException`, `ConditionalCheckFailedException`, `ResourceNotFoundException`.
    pub(crate) async fn update_item(&self, ctx: &Ctx, mut fields: Fields) -> Result<Wire, Error> {
        let named = request::required(fields.text("TableName"), "TableName")?;
        let wanted = Wanted::of(fields.text("ReturnConsumedCapacity").as_deref());
        let metrics = fields.text("ReturnItemCollectionMetrics");
        let returned = fields.text("ReturnValues").unwrap_or_else(|| "NONE".into());
        let legacy = ["AttributeUpdates", "Expected", "ConditionalOperator"];
        let expressions = ["UpdateExpression", "ConditionExpression"];
        request::check_not_mixed(&fields, &legacy, &expressions)?;
        let mut scope = request::placeholders(&mut fields, &expressions, &expressions)?;
        let item_key = request::required_item(&mut fields, "Key")?;
        let old_on_failure = fields.text("ReturnValuesOnConditionCheckFailure").as_deref() == Some("ALL_OLD");
        let update = request::item_update(&mut fields, &mut scope)?;
        let condition = request::write_condition(&mut fields, &mut scope)?;
        scope.check_used()?;
        let plan = |table: crate::table::TableRef| {
            let key = table.schema.of_key(&item_key)?;
            request::check_key_untouched(&update, &table.schema)?;
            scalars::check_update(&table, &update)?;
            scalars::check_condition(&table, condition.as_ref())?;
            let change = Change::Update { key: item_key.clone(), update: update.clone() };
            Ok(Plan::Ruled(Write { table, key, condition: condition.clone(), change, old_on_failure }))
        };
        let (table, done) = self.write(ctx, &named, plan).await?;
        let mut out = Output::new(&shapes::UPDATE_ITEM_OUTPUT);
        out.set("ConsumedCapacity", write_spent(&done).value(wanted, Unit::Plain, &table, &named));
        out.set("ItemCollectionMetrics", collection_metrics(metrics.as_deref(), &table, &item_key));
        out.set("Attributes", attributes(&returned, &update, done).map(wire::item_value));
        Ok(out.finish())
    }
}

/// The places that an update changes.
pub(super) fn touched(update: &Update) -> Projection {
    Projection::new(update.actions.iter().map(Action::path))
}

/// What `ReturnValues` asks for; nothing instead of an empty map.
fn attributes(returned: &str, update: &Update, done: Done) -> Option<Item> {
    let item = match returned {
        "ALL_OLD" => done.old,
        "ALL_NEW" => done.new,
        "UPDATED_OLD" => done.old.map(|item| touched(update).apply(&item)),
        "UPDATED_NEW" => done.new.map(|item| touched(update).apply(&item)),
        _ => None,
    };
    item.filter(|item| !item.is_empty())
}
