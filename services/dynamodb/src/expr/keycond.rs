//! Turns a key condition into a partition key and a range of sort keys.

use super::ast::{Compare, Condition, Operand, Path};
use crate::error::Error;
use crate::item::{Kind, Value};
use crate::key::{KeyAttribute, KeySchema, check_hash_size, check_range_size};
use std::sync::Arc;

/// What a query asks of the sort key.
#[derive(Clone, Debug)]
pub enum RangeCondition {
    /// It compares so; never `Ne`.
    Compare(Compare, Arc<Value>),
    /// It lies between, both included.
    Between(Arc<Value>, Arc<Value>),
    /// It begins so.
    BeginsWith(Arc<Value>),
}

/// The keys that a query reads.
#[derive(Clone, Debug)]
pub struct KeyRange {
    /// Value of the partition key.
    pub hash: Arc<Value>,
    /// Condition on the sort key.
    pub range: Option<RangeCondition>,
}

/// One condition on one attribute.
#[derive(Clone, Debug)]
pub struct Part {
    /// Attribute name.
    pub name: String,
    /// Its condition.
    pub test: RangeCondition,
}

/// Splits a key condition expression into one condition per attribute.
///
/// # Errors
/// `ValidationException` for anything that no key condition may have.
pub fn parts(condition: Condition) -> Result<Vec<Part>, Error> {
    let mut out: Vec<Part> = Vec::new();
    collect(condition, &mut out)?;
    if out.iter().enumerate().any(|(at, part)| out[..at].iter().any(|other| other.name == part.name)) {
        return Err(Error::validation("KeyConditionExpressions must only contain one condition per key"));
    }
    if out.len() > 2 {
        return Err(Error::validation("Conditions can be of length 1 or 2 only"));
    }
    Ok(out)
}

fn collect(condition: Condition, out: &mut Vec<Part>) -> Result<(), Error> {
    let bad_operator =
        |name: &str| Err(Error::validation(format!("Invalid operator used in KeyConditionExpression: {name}")));
    match condition {
        Condition::And(all) => all.into_iter().try_for_each(|c| collect(c, out)),
        Condition::Or(_) => bad_operator("OR"),
        Condition::Not(_) => bad_operator("NOT"),
        Condition::In(..) => bad_operator("IN"),
        Condition::Exists(_) => bad_operator("attribute_exists"),
        Condition::NotExists(_) => bad_operator("attribute_not_exists"),
        Condition::Type(..) => bad_operator("attribute_type"),
        Condition::Contains(..) => bad_operator("contains"),
        Condition::Compare(_, Compare::Ne, _) => bad_operator("<>"),
        Condition::Compare(first, compare, second) => {
            let (path, compare, value) = match (first, second) {
                (Operand::Size(_), _) | (_, Operand::Size(_)) => return bad_operator("size"),
                (Operand::Path(_), Operand::Path(_)) => return Err(many_names()),
                (Operand::Value(_), Operand::Value(_)) => return Err(no_name()),
                (Operand::Path(path), Operand::Value(value)) => (path, compare, value),
                (Operand::Value(value), Operand::Path(path)) => (path, compare.mirrored(), value),
            };
            push(path, RangeCondition::Compare(compare, value), out)
        }
        Condition::Between(first, low, high) => {
            let (path, values) = attribute_first("BETWEEN", first, vec![low, high])?;
            let [low, high] = values.as_slice() else { return Err(no_name()) };
            push(path, RangeCondition::Between(low.clone(), high.clone()), out)
        }
        Condition::BeginsWith(first, prefix) => {
            let (path, values) = attribute_first("begins_with", first, vec![prefix])?;
            let Some(prefix) = values.into_iter().next() else { return Err(no_name()) };
            push(path, RangeCondition::BeginsWith(prefix), out)
        }
    }
}

fn many_names() -> Error {
    Error::validation("Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition")
}

fn no_name() -> Error {
    Error::validation("Invalid condition in KeyConditionExpression: No key attribute specified")
}

/// The path of the first operand and the values of the others.
fn attribute_first(operator: &str, first: Operand, others: Vec<Operand>) -> Result<(Path, Vec<Arc<Value>>), Error> {
    let is_path = |o: &Operand| matches!(o, Operand::Path(_));
    let is_size = |o: &Operand| matches!(o, Operand::Size(_));
    if is_size(&first) || others.iter().any(is_size) {
        return Err(Error::validation("Invalid operator used in KeyConditionExpression: size"));
    }
    let paths_after = others.iter().filter(|o| is_path(o)).count();
    match first {
        Operand::Path(path) if paths_after == 0 => {
            let values = others.into_iter().filter_map(|o| match o {
                Operand::Value(value) => Some(value),
                _ => None,
            });
            Ok((path, values.collect()))
        }
        Operand::Path(_) => Err(many_names()),
        _ if paths_after > 1 => Err(many_names()),
        _ if paths_after == 1 => Err(Error::validation(format!(
            "Invalid condition in KeyConditionExpression: {operator} operator must have the key attribute as its first \
             operand"
        ))),
        _ => Err(no_name()),
    }
}

fn push(path: Path, test: RangeCondition, out: &mut Vec<Part>) -> Result<(), Error> {
    if !path.steps.is_empty() {
        return Err(Error::validation("KeyConditionExpressions cannot have conditions on nested attributes"));
    }
    out.push(Part { name: path.root, test });
    Ok(())
}

impl KeyRange {
    /// Fits the conditions to a key schema.
    ///
    /// # Errors
    /// `ValidationException` for a missing partition key, other operators than the keys allow, and values that the schema
    /// does not have.
    pub fn new(parts: Vec<Part>, schema: &KeySchema) -> Result<KeyRange, Error> {
        let unsupported = || Error::validation("Query key condition not supported");
        let count = parts.len();
        let (mut hashes, mut others): (Vec<Part>, Vec<Part>) =
            parts.into_iter().partition(|p| p.name == schema.hash.name);
        let Some(hash) = hashes.pop() else { return Err(missed(&schema.hash)) };
        let RangeCondition::Compare(Compare::Eq, hash) = hash.test else { return Err(unsupported()) };
        check_value(&schema.hash, &hash)?;
        check_hash_size(&hash)?;
        if count == 1 {
            return Ok(KeyRange { hash, range: None });
        }
        let Some(attribute) = &schema.range else { return Err(unsupported()) };
        let Some(part) = others.pop().filter(|p| p.name == attribute.name) else { return Err(missed(attribute)) };
        match &part.test {
            RangeCondition::Compare(_, value) => {
                check_value(attribute, value)?;
                check_range_size(value)?;
            }
            RangeCondition::Between(low, high) => {
                for bound in [low, high] {
                    check_value(attribute, bound)?;
                    check_range_size(bound)?;
                }
            }
            RangeCondition::BeginsWith(prefix) => {
                if attribute.kind == Kind::N {
                    return Err(unsupported());
                }
                check_type(attribute, prefix)?;
            }
        }
        Ok(KeyRange { hash, range: Some(part.test) })
    }
}

fn missed(attribute: &KeyAttribute) -> Error {
    Error::validation(format!("Query condition missed key schema element: {}", attribute.name))
}

fn check_type(attribute: &KeyAttribute, value: &Value) -> Result<(), Error> {
    if value.kind() == attribute.kind {
        return Ok(());
    }
    Err(Error::validation(
        "One or more parameter values were invalid: Condition parameter type does not match schema type",
    ))
}

fn check_value(attribute: &KeyAttribute, value: &Value) -> Result<(), Error> {
    check_type(attribute, value)?;
    let what = match value {
        Value::S(s) if s.is_empty() => "string",
        Value::B(b) if b.is_empty() => "binary",
        _ => return Ok(()),
    };
    Err(Error::validation(format!(
        "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty \
         {what} value. Key: {}",
        attribute.name
    )))
}
