//! Decides conditions over an item.
//!
//! What is missing makes every comparison false but `<>`, which it makes true. Values of different types are never equal
//! and have no order.

use super::ast::{Compare, Condition, Operand};
use crate::item::{Item, Value};
use std::borrow::Cow;
use std::cmp::Ordering;

/// Whether the condition holds for the item (an empty one where there is none).
pub fn holds(condition: &Condition, item: &Item) -> bool {
    let value = |operand| resolve(operand, item);
    match condition {
        Condition::And(all) => all.iter().all(|c| holds(c, item)),
        Condition::Or(any) => any.iter().any(|c| holds(c, item)),
        Condition::Not(inner) => !holds(inner, item),
        Condition::Compare(a, compare, b) => match (value(a), value(b)) {
            (Some(a), Some(b)) => compares(&a, *compare, &b),
            _ => *compare == Compare::Ne,
        },
        Condition::Between(a, low, high) => match (value(a), value(low), value(high)) {
            (Some(a), Some(low), Some(high)) => compares(&a, Compare::Ge, &low) && compares(&a, Compare::Le, &high),
            _ => false,
        },
        Condition::In(a, members) => {
            value(a).is_some_and(|a| members.iter().any(|m| value(m).is_some_and(|m| *a == *m)))
        }
        Condition::Exists(path) => path.find(item).is_some(),
        Condition::NotExists(path) => path.find(item).is_none(),
        Condition::Type(a, kind) => value(a).is_some_and(|a| a.kind() == *kind),
        Condition::BeginsWith(a, b) => match (value(a).as_deref(), value(b).as_deref()) {
            (Some(Value::S(a)), Some(Value::S(b))) => a.starts_with(b.as_str()),
            (Some(Value::B(a)), Some(Value::B(b))) => a.starts_with(b),
            _ => false,
        },
        Condition::Contains(a, b) => match (value(a), value(b)) {
            (Some(a), Some(b)) => contains(&a, &b),
            _ => false,
        },
    }
}

fn resolve<'a>(operand: &'a Operand, item: &'a Item) -> Option<Cow<'a, Value>> {
    match operand {
        Operand::Path(path) => path.find(item).map(Cow::Borrowed),
        Operand::Value(value) => Some(Cow::Borrowed(value)),
        Operand::Size(inner) => size(&*resolve(inner, item)?).map(|n| Cow::Owned(Value::N((n as i64).into()))),
    }
}

/// What `size` answers; the service counts a text as its runtime does, in UTF-16 units.
fn size(value: &Value) -> Option<usize> {
    match value {
        Value::S(s) => Some(s.encode_utf16().count()),
        Value::B(b) => Some(b.len()),
        Value::L(list) => Some(list.len()),
        Value::M(map) => Some(map.len()),
        Value::Ss(set) => Some(set.len()),
        Value::Ns(set) => Some(set.len()),
        Value::Bs(set) => Some(set.len()),
        Value::N(_) | Value::Bool(_) | Value::Null => None,
    }
}

/// Whether two values compare so.
pub fn compares(a: &Value, compare: Compare, b: &Value) -> bool {
    let order = || a.order(b);
    match compare {
        Compare::Eq => a == b,
        Compare::Ne => a != b,
        Compare::Lt => order().is_some_and(Ordering::is_lt),
        Compare::Le => order().is_some_and(Ordering::is_le),
        Compare::Gt => order().is_some_and(Ordering::is_gt),
        Compare::Ge => order().is_some_and(Ordering::is_ge),
    }
}

/// Whether a text or bytes contain a part, or a set or list a member.
pub fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::S(whole), Value::S(part)) => whole.contains(part.as_str()),
        (Value::B(whole), Value::B(part)) => {
            part.is_empty() || whole.windows(part.len()).any(|window| window == part.as_slice())
        }
        (Value::Ss(set), Value::S(member)) => set.contains(member),
        (Value::Ns(set), Value::N(member)) => set.contains(member),
        (Value::Bs(set), Value::B(member)) => set.contains(member),
        (Value::L(list), member) => list.contains(member),
        _ => false,
    }
}
