//! From text to a compiled pattern.

use crate::condition::{Comparison, Condition};
use crate::{Field, Node, PATTERN_BYTES_MAX, PatternError};
use serde_json::{Map, Value};

const DEPTH_MAX: usize = 16;
const CONDITIONS_MAX: usize = 1_000;

type Result<T> = std::result::Result<T, PatternError>;

fn bad<T>(text: impl Into<String>) -> Result<T> {
    Err(PatternError(text.into()))
}

/// Reads a pattern's text.
pub fn pattern(text: &str) -> Result<Node> {
    if text.len() > PATTERN_BYTES_MAX {
        return bad(format!("the pattern is longer than {PATTERN_BYTES_MAX} bytes"));
    }
    let value: Value = serde_json::from_str(text).map_err(|e| PatternError(format!("the pattern is not JSON: {e}")))?;
    let Value::Object(object) = value else { return bad("the pattern is not a JSON object") };
    let mut budget = CONDITIONS_MAX;
    node(&object, DEPTH_MAX, &mut budget)
}

fn node(object: &Map<String, Value>, depth: usize, budget: &mut usize) -> Result<Node> {
    let Some(depth) = depth.checked_sub(1) else { return bad("the pattern is nested too deeply") };
    if object.is_empty() {
        return bad("empty patterns are not allowed");
    }
    let mut out = Node::default();
    for (name, value) in object {
        match value {
            Value::Array(items) if name == "$or" && items.iter().all(Value::is_object) => {
                if items.len() < 2 {
                    return bad("$or takes at least two patterns");
                }
                let group = items.iter().filter_map(Value::as_object).map(|o| node(o, depth, budget));
                out.any_of.push(group.collect::<Result<_>>()?);
            }
            Value::Object(inner) => out.fields.push((name.clone(), Field::Object(node(inner, depth, budget)?))),
            Value::Array(items) => {
                if items.is_empty() {
                    return bad(format!("the list of {name} is empty"));
                }
                *budget = budget.checked_sub(items.len()).ok_or(PatternError("too many conditions".into()))?;
                let conditions = items.iter().map(condition).collect::<Result<_>>()?;
                out.fields.push((name.clone(), Field::OneOf(conditions)));
            }
            _ => return bad(format!("{name} must be an object or an array")),
        }
    }
    Ok(out)
}

fn condition(value: &Value) -> Result<Condition> {
    match value {
        Value::Object(object) => match object.iter().next() {
            Some((name, argument)) if object.len() == 1 => named(name, argument),
            _ => bad("a condition has exactly one name"),
        },
        Value::Array(_) => bad("a list of conditions must not hold a list"),
        leaf => Ok(Condition::Equals(leaf.clone())),
    }
}

fn named(name: &str, argument: &Value) -> Result<Condition> {
    match (name, argument) {
        ("prefix", Value::String(s)) => Ok(Condition::Prefix(s.clone())),
        ("suffix", Value::String(s)) => Ok(Condition::Suffix(s.clone())),
        ("prefix", Value::Object(o)) => ignore_case(o).map(Condition::PrefixIgnoreCase),
        ("suffix", Value::Object(o)) => ignore_case(o).map(Condition::SuffixIgnoreCase),
        ("equals-ignore-case", Value::String(s)) => Ok(Condition::EqualsIgnoreCase(s.clone())),
        ("wildcard", Value::String(s)) => wildcard(s),
        ("exists", Value::Bool(b)) => Ok(Condition::Exists(*b)),
        ("numeric", Value::Array(items)) => numeric(items),
        ("cidr", Value::String(s)) => cidr(s),
        ("anything-but", argument) => anything_but(argument),
        _ => bad(format!("{name} is not a condition, or its value has the wrong type")),
    }
}

fn ignore_case(object: &Map<String, Value>) -> Result<String> {
    match (object.len(), object.get("equals-ignore-case").and_then(Value::as_str)) {
        (1, Some(s)) => Ok(s.to_owned()),
        _ => bad("prefix and suffix take a text or equals-ignore-case"),
    }
}

fn wildcard(text: &str) -> Result<Condition> {
    if text.contains("**") {
        return bad("consecutive wildcard characters");
    }
    let mut parts = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, parts.last_mut()) {
            ('*', _) => parts.push(String::new()),
            ('\\', Some(last)) => match chars.next() {
                Some(c @ ('*' | '\\')) => last.push(c),
                _ => return bad("invalid escape character in a wildcard"),
            },
            (c, Some(last)) => last.push(c),
            (_, None) => {}
        }
    }
    Ok(Condition::Wildcard(parts))
}

fn anything_but(argument: &Value) -> Result<Condition> {
    let leaves = |items: &[Value]| -> Result<Vec<Condition>> {
        if items.is_empty() || !items.iter().all(|v| v.is_string() || v.is_number()) {
            return bad("anything-but takes texts, numbers or one condition");
        }
        Ok(items.iter().cloned().map(Condition::Equals).collect())
    };
    let those = match argument {
        Value::Array(items) => leaves(items)?,
        Value::Object(object) => match object.iter().next() {
            Some((name, argument)) if object.len() == 1 => {
                if !["prefix", "suffix", "equals-ignore-case", "wildcard"].contains(&name.as_str()) {
                    return bad(format!("anything-but does not take {name}"));
                }
                match argument {
                    Value::Array(items) if !items.is_empty() => {
                        items.iter().map(|item| named(name, item)).collect::<Result<_>>()?
                    }
                    one => vec![named(name, one)?],
                }
            }
            _ => return bad("anything-but takes one condition"),
        },
        leaf => leaves(std::slice::from_ref(leaf))?,
    };
    Ok(Condition::AnythingBut(those))
}

fn numeric(items: &[Value]) -> Result<Condition> {
    let mut bounds = Vec::new();
    for pair in items.chunks(2) {
        let [Value::String(how), Value::Number(n)] = pair else { return bad("numeric takes pairs of sign and number") };
        let how = match how.as_str() {
            "=" => Comparison::Equal,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            other => return bad(format!("unrecognized numeric range operator: {other}")),
        };
        let n = n.as_f64().filter(|n| n.abs() <= 5e9).ok_or(PatternError("a numeric bound is out of range".into()))?;
        bounds.push((how, n));
    }
    let fits = match bounds.as_slice() {
        [_] => true,
        // A range goes from its lower bound to its upper one.
        [(low, a), (high, b)] => {
            matches!(low, Comparison::Greater | Comparison::GreaterOrEqual)
                && matches!(high, Comparison::Less | Comparison::LessOrEqual)
                && a < b
        }
        _ => false,
    };
    if fits { Ok(Condition::Numeric(bounds)) } else { bad("numeric takes one bound or a range") }
}

fn cidr(text: &str) -> Result<Condition> {
    let wrong = || PatternError("malformed CIDR, one of: IPv4/bits, IPv6/bits".into());
    let (ip, bits) = text.split_once('/').ok_or_else(wrong)?;
    let ip: std::net::IpAddr = ip.parse().map_err(|_| wrong())?;
    let bits: u8 = bits.parse().map_err(|_| wrong())?;
    let most = if ip.is_ipv4() { 32 } else { 128 };
    if bits <= most { Ok(Condition::Cidr(ip, bits)) } else { Err(wrong()) }
}
