//! The `Condition` element: operators compiled once, then tested against a request's keys.
//!
//! Rules that AWS documents and that are easy to get wrong:
//! - A missing key fails a positive operator and passes a negated one (`StringNotEquals`); `…IfExists` passes either.
//! - `ForAllValues:` passes when the key is missing or empty; `ForAnyValue:` fails then, negated or not.
//! - A negated operator with several policy values wants the request's value to differ from all of them.

use std::net::IpAddr;

use crate::context::{Found, Scope};
use crate::error::ParseError;
use crate::glob::{ArnPattern, Pattern, Syntax};
use crate::json::Json;
use crate::values::{self, Network};

/// One operator on one key.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    key: String,
    quantifier: Quantifier,
    if_exists: bool,
    negated: bool,
    wanted: Wanted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantifier {
    None,
    ForAllValues,
    ForAnyValue,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The policy's values, read as the operator wants them.
#[derive(Clone, Debug)]
enum Wanted {
    Text(Vec<Pattern>),
    /// Compared in lower case.
    TextIgnoringCase(Vec<Pattern>),
    Number(Order, Vec<f64>),
    Date(Order, Vec<i64>),
    Bool(Vec<bool>),
    Binary(Vec<Vec<u8>>),
    Address(Vec<Network>),
    Arn(Vec<ArnPattern>),
    /// The key is missing (`true`) or present (`false`).
    Null(bool),
}

/// How an operator reads its values.
#[derive(Clone, Copy)]
enum Class {
    Text { wildcards: bool, ignore_case: bool },
    Number(Order),
    Date(Order),
    Bool,
    Binary,
    Address,
    Arn,
    Null,
}

/// Reads the `Condition` element; `trust_style` picks the words of AWS's resource-policy parser for a refusal.
pub(crate) fn parse(value: &Json, variables: bool, trust_style: bool) -> Result<Vec<Condition>, ParseError> {
    let Json::Object(operators) = value else {
        return Err(ParseError::syntax());
    };
    let mut conditions = Vec::new();
    for (operator, keys) in operators {
        let Some(form) = Operator::parse(operator) else {
            return Err(if trust_style {
                ParseError::new(format!("Invalid Condition type : {operator}"))
            } else {
                ParseError::syntax()
            });
        };
        let Json::Object(keys) = keys else {
            return Err(ParseError::syntax());
        };
        for (key, value) in keys {
            if !key.contains(':') {
                return Err(ParseError::new(
                    "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
                ));
            }
            conditions.push(form.condition(key, &texts(value)?, variables)?);
        }
    }
    Ok(conditions)
}

fn texts(value: &Json) -> Result<Vec<String>, ParseError> {
    let scalar = |item: &Json| item.scalar().ok_or_else(ParseError::syntax);
    match value {
        Json::List(items) => items.iter().map(scalar).collect(),
        one => Ok(vec![scalar(one)?]),
    }
}

/// An operator's name, taken apart.
#[derive(Clone, Copy)]
struct Operator {
    quantifier: Quantifier,
    if_exists: bool,
    negated: bool,
    class: Class,
}

impl Operator {
    fn parse(name: &str) -> Option<Self> {
        let (quantifier, name) = if let Some(rest) = name.strip_prefix("ForAllValues:") {
            (Quantifier::ForAllValues, rest)
        } else if let Some(rest) = name.strip_prefix("ForAnyValue:") {
            (Quantifier::ForAnyValue, rest)
        } else {
            (Quantifier::None, name)
        };
        let (if_exists, name) = name.strip_suffix("IfExists").map_or((false, name), |base| (true, base));
        let (negated, class) = base_operator(name)?;
        // `Null` asks for existence itself: neither a quantifier nor IfExists means anything with it.
        let plain = !if_exists && quantifier == Quantifier::None;
        (plain || !matches!(class, Class::Null)).then_some(Self { quantifier, if_exists, negated, class })
    }

    fn condition(self, key: &str, texts: &[String], variables: bool) -> Result<Condition, ParseError> {
        let wanted = self.class.read(texts, variables)?;
        let Self { quantifier, if_exists, negated, .. } = self;
        Ok(Condition { key: key.to_owned(), quantifier, if_exists, negated, wanted })
    }
}

fn base_operator(name: &str) -> Option<(bool, Class)> {
    use Order::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    let text = |wildcards, ignore_case| Class::Text { wildcards, ignore_case };
    Some(match name {
        "StringEquals" => (false, text(false, false)),
        "StringNotEquals" => (true, text(false, false)),
        "StringEqualsIgnoreCase" => (false, text(false, true)),
        "StringNotEqualsIgnoreCase" => (true, text(false, true)),
        "StringLike" => (false, text(true, false)),
        "StringNotLike" => (true, text(true, false)),
        "NumericEquals" => (false, Class::Number(Equal)),
        "NumericNotEquals" => (true, Class::Number(Equal)),
        "NumericLessThan" => (false, Class::Number(Less)),
        "NumericLessThanEquals" => (false, Class::Number(LessOrEqual)),
        "NumericGreaterThan" => (false, Class::Number(Greater)),
        "NumericGreaterThanEquals" => (false, Class::Number(GreaterOrEqual)),
        "DateEquals" => (false, Class::Date(Equal)),
        "DateNotEquals" => (true, Class::Date(Equal)),
        "DateLessThan" => (false, Class::Date(Less)),
        "DateLessThanEquals" => (false, Class::Date(LessOrEqual)),
        "DateGreaterThan" => (false, Class::Date(Greater)),
        "DateGreaterThanEquals" => (false, Class::Date(GreaterOrEqual)),
        "Bool" => (false, Class::Bool),
        "BinaryEquals" => (false, Class::Binary),
        "IpAddress" => (false, Class::Address),
        "NotIpAddress" => (true, Class::Address),
        "ArnEquals" | "ArnLike" => (false, Class::Arn),
        "ArnNotEquals" | "ArnNotLike" => (true, Class::Arn),
        "Null" => (false, Class::Null),
        _ => return None,
    })
}

impl Class {
    fn read(self, texts: &[String], variables: bool) -> Result<Wanted, ParseError> {
        Ok(match self {
            Class::Text { wildcards, ignore_case } => {
                let syntax = Syntax { wildcards, variables, lower_case: ignore_case };
                let patterns = texts.iter().map(|text| Pattern::new(text, syntax)).collect();
                if ignore_case { Wanted::TextIgnoringCase(patterns) } else { Wanted::Text(patterns) }
            }
            Class::Number(order) => Wanted::Number(order, all(texts, values::number, ParseError::syntax)?),
            Class::Date(order) => Wanted::Date(order, all(texts, values::date, ParseError::legacy)?),
            Class::Bool => Wanted::Bool(all(texts, boolean, ParseError::syntax)?),
            Class::Binary => Wanted::Binary(all(texts, values::binary, ParseError::syntax)?),
            Class::Address => Wanted::Address(all(texts, Network::parse, ParseError::syntax)?),
            Class::Arn => Wanted::Arn(texts.iter().map(|text| ArnPattern::new(text, variables)).collect()),
            Class::Null => match texts {
                [one] => Wanted::Null(boolean(one).ok_or_else(ParseError::syntax)?),
                _ => return Err(ParseError::syntax()),
            },
        })
    }
}

fn all<T>(
    texts: &[String],
    read: impl Fn(&str) -> Option<T>,
    error: impl Fn() -> ParseError,
) -> Result<Vec<T>, ParseError> {
    texts.iter().map(|text| read(text).ok_or_else(&error)).collect()
}

fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") { Some(true) } else { text.eq_ignore_ascii_case("false").then_some(false) }
}

impl Condition {
    /// Whether the request passes.
    pub(crate) fn holds(&self, scope: &Scope<'_>) -> bool {
        let found = scope.key(&self.key);
        if let Wanted::Null(missing) = self.wanted {
            return found.is_none() == missing;
        }
        match found {
            None => match self.quantifier {
                Quantifier::ForAllValues => true,
                Quantifier::ForAnyValue => self.if_exists,
                Quantifier::None => self.if_exists || self.negated,
            },
            Some(Found::One(value)) => self.wanted.accepts(&value, scope) != self.negated,
            Some(Found::Many(values)) => {
                let mut results = values.iter().map(|value| self.wanted.accepts(value, scope) != self.negated);
                match self.quantifier {
                    Quantifier::ForAllValues => results.all(|passed| passed),
                    Quantifier::ForAnyValue => results.any(|passed| passed),
                    // Without a quantifier one match decides: for a negated operator that means that none may match.
                    Quantifier::None if self.negated => results.all(|passed| passed),
                    Quantifier::None => results.any(|passed| passed),
                }
            }
        }
    }
}

impl Wanted {
    /// Whether one value of the request equals (or orders, or lies in) one of the policy's values.
    fn accepts(&self, value: &str, scope: &Scope<'_>) -> bool {
        match self {
            Wanted::Text(patterns) => patterns.iter().any(|pattern| pattern.matches(value, scope)),
            Wanted::TextIgnoringCase(patterns) => {
                let value = value.to_lowercase();
                patterns.iter().any(|pattern| pattern.matches(&value, scope))
            }
            Wanted::Number(order, wanted) => {
                values::number(value).is_some_and(|have| wanted.iter().any(|want| order.holds(&have, want)))
            }
            Wanted::Date(order, wanted) => {
                values::date(value).is_some_and(|have| wanted.iter().any(|want| order.holds(&have, want)))
            }
            Wanted::Bool(wanted) => boolean(value).is_some_and(|have| wanted.contains(&have)),
            Wanted::Binary(wanted) => values::binary(value).is_some_and(|have| wanted.contains(&have)),
            Wanted::Address(networks) => {
                value.parse::<IpAddr>().is_ok_and(|address| networks.iter().any(|network| network.contains(address)))
            }
            Wanted::Arn(patterns) => patterns.iter().any(|pattern| pattern.matches(value, scope)),
            Wanted::Null(_) => false,
        }
    }
}

impl Order {
    fn holds<T: PartialOrd>(self, have: &T, want: &T) -> bool {
        match self {
            Order::Equal => have == want,
            Order::Less => have < want,
            Order::LessOrEqual => have <= want,
            Order::Greater => have > want,
            Order::GreaterOrEqual => have >= want,
        }
    }
}
