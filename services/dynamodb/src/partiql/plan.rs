//! What a condition says about the key of a table or index.

use super::conditions::equality;
use crate::error::Error;
use crate::expr::ast::{Compare, Condition, Operand};
use crate::expr::keycond::{KeyRange, Part, RangeCondition};
use crate::item::{Item, Value};
use crate::key::KeySchema;
use std::sync::Arc;

/// How the items of a SELECT are found.
#[derive(Clone, Debug)]
pub enum Reach {
    /// One query for each of these partition keys, in this order.
    Keys(Vec<KeyRange>),
    /// Everything is looked at.
    All,
}

/// How the items that a condition holds for are found.
///
/// # Errors
/// `ValidationException` for key values of another type than the schema's.
pub fn reach(condition: Option<&Condition>, schema: &KeySchema) -> Result<Reach, Error> {
    let Some(hashes) = condition.and_then(|c| partitions(c, &schema.hash.name)) else { return Ok(Reach::All) };
    let range = condition.and_then(|c| range_part(c, schema));
    let mut out: Vec<KeyRange> = Vec::new();
    for hash in hashes {
        if out.iter().any(|known| known.hash == hash) {
            continue;
        }
        let part = Part { name: schema.hash.name.clone(), test: RangeCondition::Compare(Compare::Eq, hash) };
        out.push(KeyRange::new(std::iter::once(part).chain(range.clone()).collect(), schema)?);
    }
    Ok(Reach::Keys(out))
}

/// The partition keys that items can have for which the condition holds; `None` when it does not say.
fn partitions(condition: &Condition, name: &str) -> Option<Vec<Arc<Value>>> {
    if let Some(value) = equality(condition, name) {
        return Some(vec![value.clone()]);
    }
    match condition {
        Condition::In(Operand::Path(path), members) if path.steps.is_empty() && path.root == name => members
            .iter()
            .map(|m| match m {
                Operand::Value(value) => Some(value.clone()),
                _ => None,
            })
            .collect(),
        Condition::And(all) => all.iter().find_map(|c| partitions(c, name)),
        Condition::Or(any) => {
            let all: Option<Vec<_>> = any.iter().map(|c| partitions(c, name)).collect();
            all.map(|lists| lists.into_iter().flatten().collect())
        }
        _ => None,
    }
}

/// A condition on the sort key that a range of keys can say.
fn range_part(condition: &Condition, schema: &KeySchema) -> Option<Part> {
    let name = &schema.range.as_ref()?.name;
    let is_key = |operand: &Operand| matches!(operand, Operand::Path(p) if p.steps.is_empty() && p.root == *name);
    let test = match condition {
        Condition::And(all) => return all.iter().find_map(|c| range_part(c, schema)),
        Condition::Compare(a, compare, Operand::Value(v)) if is_key(a) && *compare != Compare::Ne => {
            RangeCondition::Compare(*compare, v.clone())
        }
        Condition::Compare(Operand::Value(v), compare, b) if is_key(b) && *compare != Compare::Ne => {
            RangeCondition::Compare(compare.mirrored(), v.clone())
        }
        Condition::Between(a, Operand::Value(low), Operand::Value(high)) if is_key(a) => {
            RangeCondition::Between(low.clone(), high.clone())
        }
        Condition::BeginsWith(a, Operand::Value(prefix)) if is_key(a) => RangeCondition::BeginsWith(prefix.clone()),
        _ => return None,
    };
    Some(Part { name: name.clone(), test })
}

/// The one item that a write is about, and what else must hold of it.
///
/// # Errors
/// `ValidationException` when the condition does not name the whole key.
pub fn single(condition: Option<Condition>, schema: &KeySchema) -> Result<(Item, Option<Condition>), Error> {
    let mut terms = match condition {
        Some(Condition::And(all)) => flatten(all),
        Some(one) => vec![one],
        None => Vec::new(),
    };
    let mut key = Item::new();
    for attribute in schema.attributes() {
        let found = terms.iter().position(|term| equality(term, &attribute.name).is_some());
        let term = found.map(|at| terms.remove(at));
        let value = term.as_ref().and_then(|term| equality(term, &attribute.name)).ok_or_else(|| {
            Error::validation("Where clause does not contain a mandatory equality on all key attributes")
        })?;
        key.insert(attribute.name.clone(), (**value).clone());
    }
    let rest = match terms.len() {
        0 => None,
        1 => terms.pop(),
        _ => Some(Condition::And(terms)),
    };
    Ok((key, rest))
}

fn flatten(all: Vec<Condition>) -> Vec<Condition> {
    let mut out = Vec::new();
    for condition in all {
        match condition {
            Condition::And(inner) => out.extend(flatten(inner)),
            other => out.push(other),
        }
    }
    out
}
