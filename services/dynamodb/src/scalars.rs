//! What the keys of a table and of its indexes ask of expressions: keys are scalars of declared types, so no path leads into
//! them and no update gives them another type.
//!
//! What an update makes of an item is checked again when it is known ([`crate::rules`]); here is what the text alone tells.

use crate::error::Error;
use crate::expr::ast::{Action, Condition, Path, Update};
use crate::item::Kind;
use crate::table::Table;

/// Checks that no path of a condition or filter leads into a key.
///
/// # Errors
/// `ValidationException` naming the attribute.
pub fn check_condition(table: &Table, condition: Option<&Condition>) -> Result<(), Error> {
    let mut nested = Vec::new();
    if let Some(condition) = condition {
        condition.visit(&mut |path| note(path, &mut nested));
    }
    check(table, &nested)
}

/// Checks that no path of a projection leads into a key.
///
/// # Errors
/// As [`check_condition`].
pub fn check_projection(table: &Table, paths: Option<&[Path]>) -> Result<(), Error> {
    let mut nested = Vec::new();
    paths.unwrap_or_default().iter().for_each(|path| note(path, &mut nested));
    check(table, &nested)
}

/// Checks that an update gives index keys their types, and that none of its paths leads into a key.
///
/// # Errors
/// `ValidationException` naming the attribute.
pub fn check_update(table: &Table, update: &Update) -> Result<(), Error> {
    for index in &table.indexes {
        for attribute in index.schema.attributes() {
            let whole = |action: &&Action| action.path().steps.is_empty() && action.path().root == attribute.name;
            let kind = update.actions.iter().find(whole).and_then(kind);
            if let Some(kind) = kind.filter(|kind| *kind != attribute.kind) {
                return Err(Error::validation(format!(
                    "One or more parameter values were invalid: Type mismatch for Index Key {} Expected: {} Actual: {} \
                     IndexName: {}",
                    attribute.name,
                    attribute.kind.name(),
                    kind.name(),
                    index.name
                )));
            }
        }
    }
    let mut nested = Vec::new();
    update.visit(&mut |path| note(path, &mut nested));
    check(table, &nested)
}

/// The type that an action gives its attribute, where it does not depend on the item.
fn kind(action: &Action) -> Option<Kind> {
    match action {
        Action::Set(_, expr) => expr.kind(),
        Action::Add(_, value) | Action::Delete(_, value) => Some(value.kind()),
        Action::Remove(_) => None,
    }
}

fn note<'p>(path: &'p Path, nested: &mut Vec<&'p str>) {
    if !path.steps.is_empty() {
        nested.push(&path.root);
    }
}

/// `nested` names the attributes that paths lead into.
fn check(table: &Table, nested: &[&str]) -> Result<(), Error> {
    if nested.is_empty() {
        return Ok(());
    }
    let primary = table.schema.attributes().map(|a| ("Key", a));
    let indexes = table.indexes.iter().flat_map(|i| i.schema.attributes()).map(|a| ("IndexKey", a));
    match primary.chain(indexes).find(|(_, a)| nested.contains(&a.name.as_str())) {
        None => Ok(()),
        Some((what, attribute)) => Err(Error::validation(format!(
            "Key attributes must be scalars; list random access '[]' and map lookup '.' are not allowed: {what}: {}",
            attribute.name
        ))),
    }
}
