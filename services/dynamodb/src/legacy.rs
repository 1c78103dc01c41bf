//! The parameters from before expressions: Expected, AttributeUpdates, KeyConditions, QueryFilter, ScanFilter.
//!
//! They become the same trees as expressions, so that there is one meaning for both.

use crate::error::Error;
use crate::expr::ast::{Action, Compare, Condition, Expr, Operand, Path, Update};
use crate::expr::keycond::{Part, RangeCondition};
use crate::item::{Kind, Value};
use crate::wire::{self, Fields};
use squall_protocol::Value as Wire;
use std::sync::Arc;

fn invalid(why: impl std::fmt::Display) -> Error {
    Error::validation(format!("One or more parameter values were invalid: {why}"))
}

/// The members of each structure in a map, by name.
fn entries(fields: &mut Fields, name: &str) -> Option<Vec<(String, Fields)>> {
    let shape = fields.map_value_shape(name)?;
    let map = fields.map(name)?;
    Some(map.into_iter().map(|(key, v)| (key, Fields::new(shape, v))).collect())
}

/// The conditions as one; `ConditionalOperator` needs several to join.
fn joined(fields: &mut Fields, conditions: Vec<Condition>) -> Result<Option<Condition>, Error> {
    let operator = fields.text("ConditionalOperator");
    match conditions.len() {
        0 if operator.is_some() => Err(invalid("ConditionalOperator cannot be used without Filter or Expected")),
        1 if operator.is_some() => {
            Err(invalid("ConditionalOperator can only be used when Filter or Expected has two or more elements"))
        }
        0 => Ok(None),
        _ if operator.as_deref() == Some("OR") => Ok(Some(Condition::Or(conditions))),
        _ => Ok(Some(Condition::And(conditions))),
    }
}

/// The condition that `Expected` asks for.
///
/// # Errors
/// `ValidationException` for parameters that do not go together.
pub fn expected(fields: &mut Fields) -> Result<Option<Condition>, Error> {
    let mut conditions = Vec::new();
    for (name, mut entry) in entries(fields, "Expected").unwrap_or_default() {
        conditions.push(expected_one(&name, &mut entry)?);
    }
    joined(fields, conditions)
}

fn expected_one(name: &str, entry: &mut Fields) -> Result<Condition, Error> {
    let (value, exists) = (entry.take("Value"), entry.flag("Exists"));
    if value.is_some() && entry.has("AttributeValueList") {
        return Err(invalid(format!("Value and AttributeValueList cannot be used together for Attribute: {name}")));
    }
    if let Some(operator) = entry.text("ComparisonOperator") {
        if exists.is_some() {
            return Err(invalid(format!(
                "Exists and ComparisonOperator cannot be used together for Attribute: {name}"
            )));
        }
        let unary = matches!(operator.as_str(), "NULL" | "NOT_NULL");
        if !unary && value.is_none() && !entry.has("AttributeValueList") {
            return Err(invalid(format!(
                "Value or AttributeValueList must be used with ComparisonOperator: {operator} for Attribute: {name}"
            )));
        }
        let list = entry.list("AttributeValueList").unwrap_or_default();
        let values = checked_values(&operator, list.into_iter().chain(value).collect())?;
        return Ok(comparison(name, &operator, values));
    }
    if entry.has("AttributeValueList") {
        return Err(invalid(format!(
            "AttributeValueList can only be used with a ComparisonOperator for Attribute: {name}"
        )));
    }
    match (exists, value) {
        (Some(false), None) => Ok(Condition::NotExists(Path::attribute(name))),
        (Some(false), Some(_)) => {
            Err(invalid(format!("Value cannot be used when Exists is false for Attribute: {name}")))
        }
        (_, Some(value)) => Ok(Condition::Compare(path(name), Compare::Eq, operand(Arc::new(wire::value(value)?)))),
        (exists, None) => {
            let exists = if exists.is_some() { "true" } else { "null" };
            Err(invalid(format!("Value must be provided when Exists is {exists} for Attribute: {name}")))
        }
    }
}

/// The filter that `QueryFilter` or `ScanFilter` asks for.
///
/// # Errors
/// `ValidationException` for operators and values that do not go together.
pub fn filter(fields: &mut Fields, name: &str) -> Result<Option<Condition>, Error> {
    let mut conditions = Vec::new();
    for (attribute, mut entry) in entries(fields, name).unwrap_or_default() {
        let (operator, values) = operator(&mut entry)?;
        conditions.push(comparison(&attribute, &operator, values));
    }
    joined(fields, conditions)
}

fn path(name: &str) -> Operand {
    Operand::Path(Path::attribute(name))
}

fn operand(value: Arc<Value>) -> Operand {
    Operand::Value(value)
}

/// The operator and its values.
fn operator(entry: &mut Fields) -> Result<(String, Vec<Arc<Value>>), Error> {
    let operator = entry.text("ComparisonOperator").unwrap_or_default();
    let values = checked_values(&operator, entry.list("AttributeValueList").unwrap_or_default())?;
    Ok((operator, values))
}

/// The values of an operator, their number and types checked.
fn checked_values(operator: &str, list: Vec<Wire>) -> Result<Vec<Arc<Value>>, Error> {
    let values: Vec<Arc<Value>> = list.into_iter().map(|v| wire::value(v).map(Arc::new)).collect::<Result<_, _>>()?;
    let fits = match operator {
        "NULL" | "NOT_NULL" => values.is_empty(),
        "BETWEEN" => values.len() == 2,
        "IN" => !values.is_empty(),
        _ => values.len() == 1,
    };
    if !fits {
        return Err(invalid(format!("Invalid number of argument(s) for the {operator} ComparisonOperator")));
    }
    let allowed = |kind: Kind| match operator {
        "EQ" | "NE" => true,
        "BEGINS_WITH" => matches!(kind, Kind::S | Kind::B),
        _ => kind.is_ordered(),
    };
    if let Some(value) = values.iter().find(|v| !allowed(v.kind())) {
        let kind = value.kind().name();
        return Err(invalid(format!("ComparisonOperator {operator} is not valid for {kind} AttributeValue type")));
    }
    if values.windows(2).any(|pair| pair[0].kind() != pair[1].kind()) {
        return Err(invalid("AttributeValues inside AttributeValueList must all be of the same type"));
    }
    if let ("BETWEEN", [low, high]) = (operator, values.as_slice())
        && low.order(high).is_some_and(std::cmp::Ordering::is_gt)
    {
        return Err(Error::validation(
            "The BETWEEN condition was provided a range where the lower bound is greater than the upper bound",
        ));
    }
    Ok(values)
}

fn comparator(operator: &str) -> Option<Compare> {
    Some(match operator {
        "EQ" => Compare::Eq,
        "NE" => Compare::Ne,
        "LT" => Compare::Lt,
        "LE" => Compare::Le,
        "GT" => Compare::Gt,
        "GE" => Compare::Ge,
        _ => return None,
    })
}

fn comparison(name: &str, operator: &str, values: Vec<Arc<Value>>) -> Condition {
    let mut values = values.into_iter().map(operand);
    let mut next = || values.next().unwrap_or_else(|| operand(Arc::new(Value::Null)));
    if let Some(compare) = comparator(operator) {
        return Condition::Compare(path(name), compare, next());
    }
    match operator {
        "NULL" => Condition::NotExists(Path::attribute(name)),
        "NOT_NULL" => Condition::Exists(Path::attribute(name)),
        "CONTAINS" => Condition::Contains(path(name), next()),
        "NOT_CONTAINS" => Condition::And(vec![
            Condition::Exists(Path::attribute(name)),
            Condition::Not(Box::new(Condition::Contains(path(name), next()))),
        ]),
        "BEGINS_WITH" => Condition::BeginsWith(path(name), next()),
        "BETWEEN" => Condition::Between(path(name), next(), next()),
        _ => Condition::In(path(name), values.collect()),
    }
}

/// The parts of `KeyConditions`; `None` when it is absent.
///
/// # Errors
/// `ValidationException` for operators that keys do not have.
pub fn key_conditions(fields: &mut Fields) -> Result<Option<Vec<Part>>, Error> {
    let Some(entries) = entries(fields, "KeyConditions") else { return Ok(None) };
    if entries.is_empty() || entries.len() > 2 {
        return Err(Error::validation("Conditions can be of length 1 or 2 only"));
    }
    let mut parts = Vec::new();
    for (name, mut entry) in entries {
        let (operator, values) = operator(&mut entry)?;
        let test = match (comparator(&operator), operator.as_str(), values.as_slice()) {
            (Some(compare), _, [value]) if compare != Compare::Ne => RangeCondition::Compare(compare, value.clone()),
            (None, "BETWEEN", [low, high]) => RangeCondition::Between(low.clone(), high.clone()),
            (None, "BEGINS_WITH", [prefix]) => RangeCondition::BeginsWith(prefix.clone()),
            _ => return Err(Error::validation("Attempted conditional constraint is not an indexable operation")),
        };
        parts.push(Part { name, test });
    }
    Ok(Some(parts))
}

/// The changes of `AttributeUpdates`.
///
/// # Errors
/// `ValidationException` for actions and values that do not go together.
pub fn updates(fields: &mut Fields) -> Result<Update, Error> {
    let mut actions = Vec::new();
    for (name, mut entry) in entries(fields, "AttributeUpdates").unwrap_or_default() {
        let value = entry.take("Value").map(wire::value).transpose()?.map(Arc::new);
        let action = entry.text("Action").unwrap_or_else(|| "PUT".into());
        let path = Path::attribute(name.as_str());
        actions.push(match (action.as_str(), value) {
            ("DELETE", None) => Action::Remove(path),
            (_, None) => {
                return Err(invalid("Only DELETE action is allowed when no attribute value is specified"));
            }
            ("DELETE", Some(value)) => match value.kind() {
                Kind::Ss | Kind::Ns | Kind::Bs => Action::Delete(path, value),
                kind => {
                    return Err(invalid(format!(
                        "DELETE action with value is not supported for the type {}",
                        kind.name()
                    )));
                }
            },
            ("ADD", Some(value)) => match &*value {
                Value::L(_) => Action::Set(path.clone(), appended(path, value)),
                Value::N(_) | Value::Ss(_) | Value::Ns(_) | Value::Bs(_) => Action::Add(path, value),
                other => {
                    let kind = other.kind().name();
                    return Err(invalid(format!("ADD action is not supported for the type {kind}")));
                }
            },
            (_, Some(value)) => Action::Set(path, Expr::Value(value)),
        });
    }
    Ok(Update { actions, is_legacy: true })
}

/// ADD of a list appends to the list that is there.
fn appended(path: Path, value: Arc<Value>) -> Expr {
    let present = Expr::IfNotExists(path, Box::new(Expr::Value(Arc::new(Value::L(Vec::new())))));
    Expr::ListAppend(Box::new(present), Box::new(Expr::Value(value)))
}
