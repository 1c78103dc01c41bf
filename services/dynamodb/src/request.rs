//! What the data plane's requests have in common: expressions with their placeholders, or their legacy forms.

use crate::error::Error;
use crate::expr::ExprKind;
use crate::expr::ast::{Condition, Path, Update};
use crate::expr::placeholders::Placeholders;
use crate::expr::{parser, update};
use crate::item::Item;
use crate::key::KeySchema;
use crate::legacy;
use crate::wire::{self, Fields};

/// Checks that expressions and legacy parameters are not mixed. Each list holds the names that this operation has.
///
/// # Errors
/// `ValidationException` naming both.
pub fn check_not_mixed(fields: &Fields, legacy: &[&str], expressions: &[&str]) -> Result<(), Error> {
    let present =
        |names: &[&str]| -> Vec<String> { names.iter().filter(|n| fields.has(n)).map(|n| (*n).to_owned()).collect() };
    let (old, new) = (present(legacy), present(expressions));
    if old.is_empty() || new.is_empty() {
        return Ok(());
    }
    Err(Error::validation(format!(
        "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {{{}}} \
         Expression parameters: {{{}}}",
        old.join(", "),
        new.join(", ")
    )))
}

/// Takes the placeholders; `expressions` are the parameters that may use names, `with_values` those that may use values.
///
/// # Errors
/// `ValidationException` for empty maps, wrong keys, wrong values, and placeholders without any expression.
pub fn placeholders(fields: &mut Fields, expressions: &[&str], with_values: &[&str]) -> Result<Placeholders, Error> {
    let any = expressions.iter().any(|n| fields.has(n));
    let names = fields.text_map("ExpressionAttributeNames");
    if let Some(names) = &names {
        if !any {
            return Err(Error::validation("ExpressionAttributeNames can only be specified when using expressions"));
        }
        if names.is_empty() {
            return Err(Error::validation("ExpressionAttributeNames must not be empty"));
        }
        names.iter().try_for_each(|(key, _)| Placeholders::check_name(key))?;
    }
    let mut values = Vec::new();
    if !with_values.is_empty()
        && let Some(map) = fields.map("ExpressionAttributeValues")
    {
        if !with_values.iter().any(|n| fields.has(n)) {
            let verb = if with_values.len() == 1 { "is" } else { "are" };
            return Err(Error::validation(format!(
                "ExpressionAttributeValues can only be specified when using expressions: {} {verb} null",
                with_values.join(" and ")
            )));
        }
        if map.is_empty() {
            return Err(Error::validation("ExpressionAttributeValues must not be empty"));
        }
        for (key, v) in map {
            Placeholders::check_value(&key)?;
            let value = wire::value(v).map_err(|e| {
                Error::validation(format!("ExpressionAttributeValues contains invalid value: {e} for key {key}"))
            })?;
            values.push((key, value));
        }
    }
    Ok(Placeholders::new(names.unwrap_or_default(), values))
}

/// The condition of a single write: `ConditionExpression`, or the legacy `Expected`.
///
/// # Errors
/// `ValidationException` with the service's texts.
pub fn write_condition(fields: &mut Fields, scope: &mut Placeholders) -> Result<Option<Condition>, Error> {
    if let Some(text) = fields.text("ConditionExpression") {
        return parser::condition(ExprKind::Condition, &text, scope).map(Some);
    }
    legacy::expected(fields)
}

/// The update of UpdateItem: `UpdateExpression`, or the legacy `AttributeUpdates`; empty when neither is there.
///
/// # Errors
/// `ValidationException` with the service's texts.
pub fn item_update(fields: &mut Fields, scope: &mut Placeholders) -> Result<Update, Error> {
    if let Some(text) = fields.text("UpdateExpression") {
        return update::update(&text, scope);
    }
    legacy::updates(fields)
}

/// Checks that an update leaves the key alone.
///
/// # Errors
/// `ValidationException` naming the attribute.
pub fn check_key_untouched(update: &Update, schema: &KeySchema) -> Result<(), Error> {
    let touched = update.actions.iter().find(|a| schema.has(&a.path().root));
    touched.map_or(Ok(()), |action| {
        Err(Error::validation(format!(
            "One or more parameter values were invalid: Cannot update attribute {}. This attribute is part of the key",
            action.path().root
        )))
    })
}

/// The attributes wanted: `ProjectionExpression`, or the legacy `AttributesToGet`; `None` for all.
///
/// # Errors
/// `ValidationException` with the service's texts.
pub fn projection(fields: &mut Fields, scope: &mut Placeholders) -> Result<Option<Vec<Path>>, Error> {
    match fields.text("ProjectionExpression") {
        Some(text) => parser::projection(&text, scope).map(Some),
        None => attributes_to_get(fields),
    }
}

/// `AttributesToGet` as paths. Query and Scan look at it before they read any expression.
///
/// # Errors
/// `ValidationException` for a name given twice.
pub fn attributes_to_get(fields: &mut Fields) -> Result<Option<Vec<Path>>, Error> {
    let Some(names) = fields.texts("AttributesToGet") else { return Ok(None) };
    if let Some((_, name)) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        return Err(Error::validation(format!(
            "One or more parameter values were invalid: Duplicate value in attribute name: {name}"
        )));
    }
    Ok(Some(names.into_iter().map(Path::attribute).collect()))
}

/// A required member that the constraint check has let through.
///
/// # Errors
/// `ValidationException` when it is absent all the same.
pub fn required<T>(value: Option<T>, name: &str) -> Result<T, Error> {
    value.ok_or_else(|| {
        Error::validation(format!("The parameter '{name}' is required but was not present in the request"))
    })
}

/// A required item or key.
///
/// # Errors
/// As [`required`], and for attribute values that are none.
pub fn required_item(fields: &mut Fields, name: &str) -> Result<Item, Error> {
    required(fields.item(name)?, name)
}

/// `ExclusiveStartKey`.
///
/// # Errors
/// `ValidationException` for attribute values that are none.
pub fn start_key(fields: &mut Fields) -> Result<Option<Item>, Error> {
    fields.item("ExclusiveStartKey").map_err(crate::ops::invalid_start)
}
