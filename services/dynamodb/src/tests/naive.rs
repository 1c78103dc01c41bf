//! An independent, slow reading of what expressions mean: conditions and updates as trees over items in wire JSON.
//!
//! It shares nothing with the room: numbers are those of a decimal library, sets are compared member by member. Trees are
//! made at random, written out as expressions with placeholders, and decided here by the plainest code there is.

use super::*;
use base64::Engine as _;
use bigdecimal::BigDecimal;
use std::cmp::Ordering;
use std::str::FromStr;

/// An item, or what a map attribute holds.
pub(super) type Map = serde_json::Map<String, Json>;

/// A path: its first step is a name.
pub(super) type Path = Vec<Step>;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Name(String),
    Index(usize),
}

/// What a condition compares.
#[derive(Clone, Debug)]
pub(super) enum Operand {
    Path(Path),
    Value(Json),
    Size(Path),
}

#[derive(Clone, Debug)]
pub(super) enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    Compare(Operand, &'static str, Operand),
    Between(Operand, Operand, Operand),
    In(Operand, Vec<Operand>),
    Exists(Path, bool),
    Type(Path, &'static str),
    Begins(Path, Json),
    Contains(Path, Operand),
}

/// The right side of SET.
#[derive(Clone, Debug)]
pub(super) enum Expr {
    Path(Path),
    Value(Json),
    IfNotExists(Path, Box<Expr>),
    Append(Box<Expr>, Box<Expr>),
    Sum(Box<Expr>, char, Box<Expr>),
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    Set(Path, Expr),
    Remove(Path),
    Add(Path, Json),
    Delete(Path, Json),
}

/// The type and the content of a value.
pub(super) fn typed(value: &Json) -> (&str, &Json) {
    let (kind, inner) = value.as_object().and_then(|o| o.iter().next()).expect("a value has one type");
    (kind, inner)
}

fn number(value: &Json) -> BigDecimal {
    BigDecimal::from_str(value.as_str().expect("a number's text")).expect("a number")
}

fn bytes(value: &Json) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(value.as_str().expect("a text")).expect("base64")
}

/// Whether two values are the same for the service.
pub(super) fn same(a: &Json, b: &Json) -> bool {
    let ((kind, a), (other, b)) = (typed(a), typed(b));
    let list = |v: &Json| v.as_array().cloned().unwrap_or_default();
    let within = |a: &[Json], b: &[Json], one: &dyn Fn(&Json, &Json) -> bool| {
        a.len() == b.len() && a.iter().all(|x| b.iter().any(|y| one(x, y)))
    };
    kind == other
        && match kind {
            "N" => number(a) == number(b),
            "SS" | "BS" => within(&list(a), &list(b), &|x, y| x == y),
            "NS" => within(&list(a), &list(b), &|x, y| number(x) == number(y)),
            "L" => list(a).len() == list(b).len() && list(a).iter().zip(&list(b)).all(|(x, y)| same(x, y)),
            "M" => same_items(a.as_object().expect("a map"), b.as_object().expect("a map")),
            _ => a == b,
        }
}

/// Whether two items are.
pub(super) fn same_items(a: &Map, b: &Map) -> bool {
    a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| same(value, other)))
}

fn order(a: &Json, b: &Json) -> Option<Ordering> {
    match (typed(a), typed(b)) {
        (("N", a), ("N", b)) => Some(number(a).cmp(&number(b))),
        (("S", a), ("S", b)) => Some(a.as_str()?.as_bytes().cmp(b.as_str()?.as_bytes())),
        (("B", a), ("B", b)) => Some(bytes(a).cmp(&bytes(b))),
        _ => None,
    }
}

/// What a path leads to.
pub(super) fn find<'i>(item: &'i Map, path: &[Step]) -> Option<&'i Json> {
    let Some((Step::Name(root), rest)) = path.split_first() else { return None };
    let mut value = item.get(root)?;
    for step in rest {
        value = match (step, typed(value)) {
            (Step::Name(name), ("M", map)) => map.get(name)?,
            (Step::Index(index), ("L", list)) => list.get(*index)?,
            _ => return None,
        };
    }
    Some(value)
}

fn size(value: &Json) -> Option<Json> {
    let count = match typed(value) {
        ("S", text) => text.as_str()?.encode_utf16().count(),
        ("B", text) => bytes(text).len(),
        ("L" | "SS" | "NS" | "BS", list) => list.as_array()?.len(),
        ("M", map) => map.as_object()?.len(),
        _ => return None,
    };
    Some(json!({"N": count.to_string()}))
}

fn resolve(operand: &Operand, item: &Map) -> Option<Json> {
    match operand {
        Operand::Path(path) => find(item, path).cloned(),
        Operand::Value(value) => Some(value.clone()),
        Operand::Size(path) => size(find(item, path)?),
    }
}

fn contains(whole: &Json, part: &Json) -> bool {
    match (typed(whole), typed(part)) {
        (("S", a), ("S", b)) => a.as_str().unwrap_or_default().contains(b.as_str().unwrap_or_default()),
        (("B", a), ("B", b)) => {
            let (a, b) = (bytes(a), bytes(b));
            (0..=a.len()).any(|at| a[at..].starts_with(&b))
        }
        (("SS", set), ("S", one)) | (("BS", set), ("B", one)) => set.as_array().is_some_and(|s| s.contains(one)),
        (("NS", set), ("N", one)) => set.as_array().is_some_and(|s| s.iter().any(|n| number(n) == number(one))),
        (("L", list), _) => list.as_array().is_some_and(|l| l.iter().any(|v| same(v, part))),
        _ => false,
    }
}

/// Whether a condition holds.
pub(super) fn holds(condition: &Condition, item: &Map) -> bool {
    let value = |operand: &Operand| resolve(operand, item);
    match condition {
        Condition::And(all) => all.iter().all(|c| holds(c, item)),
        Condition::Or(any) => any.iter().any(|c| holds(c, item)),
        Condition::Not(inner) => !holds(inner, item),
        Condition::Compare(a, how, b) => {
            let (Some(a), Some(b)) = (value(a), value(b)) else { return *how == "<>" };
            let order = order(&a, &b);
            match *how {
                "=" => same(&a, &b),
                "<>" => !same(&a, &b),
                "<" => order == Some(Ordering::Less),
                ">" => order == Some(Ordering::Greater),
                "<=" => matches!(order, Some(Ordering::Less | Ordering::Equal)),
                _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
            }
        }
        Condition::Between(a, low, high) => match (value(a), value(low), value(high)) {
            (Some(a), Some(low), Some(high)) => {
                order(&a, &low).is_some_and(Ordering::is_ge) && order(&a, &high).is_some_and(Ordering::is_le)
            }
            _ => false,
        },
        Condition::In(a, all) => value(a).is_some_and(|a| all.iter().filter_map(value).any(|b| same(&a, &b))),
        Condition::Exists(path, wanted) => find(item, path).is_some() == *wanted,
        Condition::Type(path, kind) => find(item, path).is_some_and(|v| typed(v).0 == *kind),
        Condition::Begins(path, prefix) => find(item, path).is_some_and(|whole| match (typed(whole), typed(prefix)) {
            (("S", a), ("S", b)) => a.as_str().unwrap_or_default().starts_with(b.as_str().unwrap_or_default()),
            (("B", a), ("B", b)) => bytes(a).starts_with(&bytes(b)),
            _ => false,
        }),
        Condition::Contains(path, part) => {
            find(item, path).zip(value(part)).is_some_and(|(whole, part)| contains(whole, &part))
        }
    }
}

fn compute(expr: &Expr, item: &Map) -> Option<Json> {
    Some(match expr {
        Expr::Path(path) => find(item, path)?.clone(),
        Expr::Value(value) => value.clone(),
        Expr::IfNotExists(path, other) => match find(item, path) {
            Some(value) => value.clone(),
            None => compute(other, item)?,
        },
        Expr::Append(a, b) => {
            let (a, b) = (compute(a, item)?, compute(b, item)?);
            let (("L", a), ("L", b)) = (typed(&a), typed(&b)) else { return None };
            json!({"L": a.as_array()?.iter().chain(b.as_array()?).collect::<Vec<_>>()})
        }
        Expr::Sum(a, sign, b) => {
            let (a, b) = (compute(a, item)?, compute(b, item)?);
            let (("N", a), ("N", b)) = (typed(&a), typed(&b)) else { return None };
            let (a, b) = (number(a), number(b));
            let sum = if *sign == '+' { a + b } else { a - b };
            let digits = sum.normalized().digits();
            if digits > 38 {
                return None;
            }
            json!({"N": sum.normalized().to_plain_string()})
        }
    })
}

/// The members of two sets together, or of the first without the second's; `None` for two types.
fn combine(present: &Json, operand: &Json, adds: bool) -> Option<Json> {
    let ((kind, a), (other, b)) = (typed(present), typed(operand));
    if kind != other || !kind.ends_with('S') || kind == "S" {
        return None;
    }
    let equal = |x: &Json, y: &Json| if kind == "NS" { number(x) == number(y) } else { x == y };
    let (a, b) = (a.as_array()?, b.as_array()?);
    let has = |set: &[Json], x: &Json| set.iter().any(|y| equal(x, y));
    let set: Vec<Json> = match adds {
        true => a.iter().chain(b.iter().filter(|x| !has(a, x))).cloned().collect(),
        false => a.iter().filter(|x| !has(b, x)).cloned().collect(),
    };
    Some(json!({ kind: set }))
}

/// Puts (or, without a value, removes) what a path leads to; `None` where the path leads nowhere.
fn place(item: &mut Map, path: &[Step], value: Option<Json>) -> Option<()> {
    let (last, before) = path.split_last()?;
    let Some((Step::Name(root), rest)) = before.split_first() else {
        let Step::Name(name) = last else { return None };
        match value {
            Some(value) => item.insert(name.clone(), value),
            None => item.remove(name),
        };
        return Some(());
    };
    let mut holder = item.get_mut(root)?;
    for step in rest {
        holder = match step {
            Step::Name(name) => holder.get_mut("M")?.get_mut(name)?,
            Step::Index(index) => holder.get_mut("L")?.get_mut(*index)?,
        };
    }
    match (last, value) {
        (Step::Name(name), Some(value)) => {
            holder.get_mut("M")?.as_object_mut()?.insert(name.clone(), value);
        }
        (Step::Name(name), None) => {
            holder.get_mut("M")?.as_object_mut()?.remove(name);
        }
        (Step::Index(index), value) => {
            let list = holder.get_mut("L")?.as_array_mut()?;
            match value {
                Some(value) if *index < list.len() => list[*index] = value,
                Some(value) => list.push(value),
                None if *index < list.len() => drop(list.remove(*index)),
                None => {}
            }
        }
    }
    Some(())
}

/// The item after an update whose actions have roots of their own; `None` when the update is refused.
pub(super) fn updated(actions: &[Action], old: &Map) -> Option<Map> {
    let mut item = old.clone();
    for action in actions {
        match action {
            Action::Set(path, expr) => place(&mut item, path, Some(compute(expr, old)?))?,
            Action::Remove(path) => place(&mut item, path, None)?,
            Action::Add(path, operand) => {
                let value = match find(old, path) {
                    None => operand.clone(),
                    Some(value) if typed(value).0 == "N" && typed(operand).0 == "N" => {
                        let both = [value, operand].map(|v| Box::new(Expr::Value(v.clone())));
                        let [a, b] = both;
                        compute(&Expr::Sum(a, '+', b), old)?
                    }
                    Some(value) => combine(value, operand, true)?,
                };
                place(&mut item, path, Some(value))?;
            }
            Action::Delete(path, operand) => {
                let Some(value) = find(old, path) else { continue };
                let left = combine(value, operand, false)?;
                let empty = typed(&left).1.as_array()?.is_empty();
                place(&mut item, path, (!empty).then_some(left))?;
            }
        }
    }
    Some(item)
}
