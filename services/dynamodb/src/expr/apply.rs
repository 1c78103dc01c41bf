//! Applies an update to an item.
//!
//! All values are computed from the old item before anything changes. Then values are put, lists growing at their end for
//! an index beyond it, and at last things are removed, so that every index means the old list's.

use super::ast::{Action, Expr, Path, Step, Update};
use crate::error::Error;
use crate::item::{Item, Value};
use crate::number::Number;
use std::cmp::Ordering;

enum Change {
    Put(Value),
    Remove,
    Nothing,
}

/// The item after the update.
///
/// # Errors
/// `ValidationException` where the item does not have what the update asks for, in the right type, or a number leaves its
/// range.
pub fn apply(update: &Update, old: &Item) -> Result<Item, Error> {
    let mut puts = Vec::new();
    let mut removals = Vec::new();
    for action in &update.actions {
        match change(action, old).map_err(|error| worded(error, update.is_legacy))? {
            Change::Put(value) => puts.push((action.path(), value)),
            Change::Remove => removals.push(action.path()),
            Change::Nothing => {}
        }
    }
    // Two indexes beyond the end append in the order of the indexes.
    puts.sort_by(|a, b| order(a.0, b.0));
    removals.sort_by(|a, b| order(b, a));
    let mut item = old.clone();
    for (path, value) in puts {
        put(&mut item, path, value)?;
    }
    for path in removals {
        remove(&mut item, path)?;
    }
    Ok(item)
}

/// Orders paths so that of two indexes into one list the smaller comes first.
fn order(a: &Path, b: &Path) -> Ordering {
    let step = |a: &Step, b: &Step| match (a, b) {
        (Step::Attribute(a), Step::Attribute(b)) => a.cmp(b),
        (Step::Index(a), Step::Index(b)) => a.cmp(b),
        (Step::Attribute(_), Step::Index(_)) => Ordering::Less,
        (Step::Index(_), Step::Attribute(_)) => Ordering::Greater,
    };
    let first = a.steps.iter().zip(&b.steps).map(|(a, b)| step(a, b)).find(|o| o.is_ne());
    a.root.cmp(&b.root).then(first.unwrap_or(Ordering::Equal))
}

fn change(action: &Action, old: &Item) -> Result<Change, Error> {
    match action {
        Action::Set(_, expr) => Ok(Change::Put(value(expr, old)?)),
        Action::Remove(_) => Ok(Change::Remove),
        Action::Add(path, operand) => match path.find(old) {
            None => Ok(Change::Put((**operand).clone())),
            Some(present) => Ok(Change::Put(added(present, operand)?)),
        },
        Action::Delete(path, operand) => match path.find(old) {
            None => Ok(Change::Nothing),
            Some(present) => Ok(subtracted(present, operand)?.map_or(Change::Remove, Change::Put)),
        },
    }
}

const WRONG_TYPE: &str = "An operand in the update expression has an incorrect data type";

fn wrong_type() -> Error {
    Error::validation(WRONG_TYPE)
}

/// The error as it is worded where there is no expression.
fn worded(error: Error, is_legacy: bool) -> Error {
    match error {
        Error::Validation(text) if is_legacy && text == WRONG_TYPE => {
            Error::validation("Type mismatch for attribute to update")
        }
        error => error,
    }
}

fn value(expr: &Expr, old: &Item) -> Result<Value, Error> {
    match expr {
        Expr::Value(value) => Ok((**value).clone()),
        Expr::Path(path) => path.find(old).cloned().ok_or_else(|| {
            Error::validation("The provided expression refers to an attribute that does not exist in the item")
        }),
        Expr::IfNotExists(path, other) => match path.find(old) {
            Some(present) => Ok(present.clone()),
            None => value(other, old),
        },
        Expr::ListAppend(first, second) => match (value(first, old)?, value(second, old)?) {
            (Value::L(mut first), Value::L(second)) => {
                first.extend(second);
                Ok(Value::L(first))
            }
            _ => Err(wrong_type()),
        },
        Expr::Plus(a, b) => arithmetic(a, b, old, Number::plus),
        Expr::Minus(a, b) => arithmetic(a, b, old, Number::minus),
    }
}

fn arithmetic(
    a: &Expr,
    b: &Expr,
    old: &Item,
    operate: impl Fn(Number, Number) -> Result<Number, crate::number::NumberError>,
) -> Result<Value, Error> {
    match (value(a, old)?, value(b, old)?) {
        (Value::N(a), Value::N(b)) => Ok(Value::N(operate(a, b)?)),
        _ => Err(wrong_type()),
    }
}

/// What ADD makes of a value.
///
/// # Errors
/// `ValidationException` for other types than a number and a number or two sets of one kind.
pub fn added(present: &Value, operand: &Value) -> Result<Value, Error> {
    Ok(match (present, operand) {
        (Value::N(a), Value::N(b)) => Value::N(a.plus(*b)?),
        (Value::Ss(a), Value::Ss(b)) => Value::Ss(union(a, b)),
        (Value::Ns(a), Value::Ns(b)) => Value::Ns(union(a, b)),
        (Value::Bs(a), Value::Bs(b)) => Value::Bs(union(a, b)),
        _ => return Err(wrong_type()),
    })
}

/// What DELETE leaves of a set; `None` when nothing.
///
/// # Errors
/// `ValidationException` for other types than two sets of one kind.
pub fn subtracted(present: &Value, operand: &Value) -> Result<Option<Value>, Error> {
    Ok(match (present, operand) {
        (Value::Ss(a), Value::Ss(b)) => difference(a, b).map(Value::Ss),
        (Value::Ns(a), Value::Ns(b)) => difference(a, b).map(Value::Ns),
        (Value::Bs(a), Value::Bs(b)) => difference(a, b).map(Value::Bs),
        _ => return Err(wrong_type()),
    })
}

fn union<T: Ord + Clone>(a: &[T], b: &[T]) -> Vec<T> {
    let known: std::collections::BTreeSet<&T> = a.iter().collect();
    a.iter().chain(b.iter().filter(|m| !known.contains(m))).cloned().collect()
}

fn difference<T: Ord + Clone>(a: &[T], b: &[T]) -> Option<Vec<T>> {
    let gone: std::collections::BTreeSet<&T> = b.iter().collect();
    let left: Vec<T> = a.iter().filter(|m| !gone.contains(m)).cloned().collect();
    (!left.is_empty()).then_some(left)
}

fn invalid_path() -> Error {
    Error::validation("The document path provided in the update expression is invalid for update")
}

/// The value that holds what the path's last step names.
fn parent<'i>(item: &'i mut Item, path: &Path) -> Option<&'i mut Value> {
    let (_, before) = path.steps.split_last()?;
    before.iter().try_fold(item.get_mut(&path.root)?, |value, step| match (step, value) {
        (Step::Attribute(name), Value::M(map)) => map.get_mut(name),
        (Step::Index(index), Value::L(list)) => list.get_mut(*index),
        _ => None,
    })
}

fn put(item: &mut Item, path: &Path, value: Value) -> Result<(), Error> {
    let Some(last) = path.steps.last() else {
        item.insert(path.root.clone(), value);
        return Ok(());
    };
    match (last, parent(item, path).ok_or_else(invalid_path)?) {
        (Step::Attribute(name), Value::M(map)) => {
            map.insert(name.clone(), value);
        }
        (Step::Index(index), Value::L(list)) => match list.get_mut(*index) {
            Some(slot) => *slot = value,
            None => list.push(value),
        },
        _ => return Err(invalid_path()),
    }
    Ok(())
}

fn remove(item: &mut Item, path: &Path) -> Result<(), Error> {
    let Some(last) = path.steps.last() else {
        item.remove(&path.root);
        return Ok(());
    };
    match (last, parent(item, path).ok_or_else(invalid_path)?) {
        (Step::Attribute(name), Value::M(map)) => {
            map.remove(name);
        }
        (Step::Index(index), Value::L(list)) => {
            if *index < list.len() {
                list.remove(*index);
            }
        }
        _ => return Err(invalid_path()),
    }
    Ok(())
}
