//! Conditions on one value.

use serde_json::Value;
use std::net::IpAddr;

/// One condition of a leaf.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// This value.
    Equals(Value),
    /// A text that begins so.
    Prefix(String),
    /// A text that begins so, whatever the case.
    PrefixIgnoreCase(String),
    /// A text that ends so.
    Suffix(String),
    /// A text that ends so, whatever the case.
    SuffixIgnoreCase(String),
    /// This text, whatever the case.
    EqualsIgnoreCase(String),
    /// A text that fits the parts between the stars.
    Wildcard(Vec<String>),
    /// None of these.
    AnythingBut(Vec<Condition>),
    /// A number within bounds.
    Numeric(Vec<(Comparison, f64)>),
    /// The field is there, or is not.
    Exists(bool),
    /// An address within a network.
    Cidr(IpAddr, u8),
}

/// How a number is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Condition {
    /// Whether the condition holds for a value that is there and neither object nor array.
    pub fn holds(&self, value: &Value) -> bool {
        match self {
            Condition::Equals(wanted) => equal(wanted, value),
            Condition::AnythingBut(those) => !those.iter().any(|c| c.holds(value)),
            Condition::Numeric(bounds) => {
                value.as_f64().is_some_and(|n| bounds.iter().all(|(how, bound)| how.holds(n, *bound)))
            }
            Condition::Exists(wanted) => *wanted,
            text => value.as_str().is_some_and(|s| text.holds_for_text(s)),
        }
    }

    fn holds_for_text(&self, s: &str) -> bool {
        match self {
            Condition::Prefix(p) => s.starts_with(p),
            Condition::Suffix(p) => s.ends_with(p),
            Condition::PrefixIgnoreCase(p) => s.to_lowercase().starts_with(&p.to_lowercase()),
            Condition::SuffixIgnoreCase(p) => s.to_lowercase().ends_with(&p.to_lowercase()),
            Condition::EqualsIgnoreCase(p) => s.to_lowercase() == p.to_lowercase(),
            Condition::Wildcard(parts) => wildcard(parts, s),
            Condition::Cidr(network, bits) => s.parse().is_ok_and(|ip| within(ip, *network, *bits)),
            _ => false,
        }
    }
}

impl Comparison {
    fn holds(self, n: f64, bound: f64) -> bool {
        match self {
            Comparison::Equal => n == bound,
            Comparison::Less => n < bound,
            Comparison::LessOrEqual => n <= bound,
            Comparison::Greater => n > bound,
            Comparison::GreaterOrEqual => n >= bound,
        }
    }
}

/// `1` and `1.0` are the same number.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x == y || x.as_f64().is_some_and(|x| y.as_f64() == Some(x)),
        _ => a == b,
    }
}

/// `parts` are what stands between the stars: the first at the start, the last at the end, the others in order.
fn wildcard(parts: &[String], s: &str) -> bool {
    let [first, middle @ .., last] = parts else { return parts.first().is_some_and(|p| p == s) };
    let Some(mut rest) = s.strip_prefix(first.as_str()) else { return false };
    for part in middle {
        match rest.find(part.as_str()) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}

fn within(ip: IpAddr, network: IpAddr, bits: u8) -> bool {
    let shift = |width: u8| u32::from(width.saturating_sub(bits));
    match (ip, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let (a, b) = (u64::from(u32::from(a)), u64::from(u32::from(b)));
            a >> shift(32) == b >> shift(32)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let cut = |x: u128| x.checked_shr(shift(128)).unwrap_or(0);
            cut(u128::from(a)) == cut(u128::from(b))
        }
        _ => false,
    }
}
