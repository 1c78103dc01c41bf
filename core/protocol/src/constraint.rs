//! Checks a value against its shape's constraints, with AWS's texts.
//!
//! Every service that validates by its model words it alike: `1 validation error detected: Value 'x' at 'tableName' failed to
//! satisfy constraint: Member must have length greater than or equal to 3`. Elements of lists and maps are reported at the
//! collection as a whole, members of structures inside them by their path (`tags.1.member.key`). AWS prints enum sets and
//! several violations of one value in an order of Java's hash sets, which cannot be foretold: enum sets stand here in the
//! table's order, and pattern before length.

mod pattern;
mod plan;
mod print;

#[cfg(test)]
mod tests;

use crate::Value;
use crate::codec::quirk;
use crate::schema::{Kind, Location, Service, Shape};
use plan::Plan;
use std::fmt::Write as _;

pub use pattern::is_checked as is_pattern_checked;

/// Violations after which the check stops, as AWS's does.
const VIOLATION_COUNT_MAX: usize = 10;

/// Checks required members, lengths, ranges, patterns and enums.
///
/// # Errors
/// The message of AWS's `ValidationException`; the caller chooses the code, which differs by service.
pub fn check(service: &'static Service, shape: &'static Shape, value: &Value) -> Result<(), String> {
    if let Some(message) = quirk::foremost(service, shape, value) {
        return Err(message);
    }
    Plan::with(shape, |plan| {
        let mut check = Check { service, plan, path: String::new(), found: Vec::new() };
        check.inside(shape, value);
        let found = check.found;
        match found.len() {
            0 => Ok(()),
            1 => Err(format!("1 validation error detected: {}", found.concat())),
            n => Err(format!("{n} validation errors detected: {}", found.join("; "))),
        }
    })
}

struct Check<'p> {
    service: &'static Service,
    plan: &'p Plan,
    path: String,
    found: Vec<String>,
}

impl Check<'_> {
    fn report(&mut self, value: &str, constraint: &str) {
        if self.found.len() < VIOLATION_COUNT_MAX {
            let path = &self.path;
            let text = format!("Value{value} at '{path}' failed to satisfy constraint: {constraint}");
            self.found.push(text);
        }
    }

    fn is_full(&self) -> bool {
        self.found.len() >= VIOLATION_COUNT_MAX
    }

    /// Runs `f` with a longer path.
    fn under(&mut self, part: std::fmt::Arguments<'_>, f: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        // Writing to a string cannot fail.
        let _ = self.path.write_fmt(part);
        f(self);
        self.path.truncate(length);
    }

    /// A structure's member: its own constraints, then what is inside.
    fn member(&mut self, shape: &'static Shape, value: &Value) {
        let broken = broken(shape, value);
        if !broken.is_empty() {
            let printed = format!(" '{}'", print::java(shape, value));
            for constraint in broken {
                match shape.kind {
                    Kind::String { .. } if constraint.starts_with(ENUM) && quirk::hides_enums(self.service) => {
                        self.report("", ENUM);
                    }
                    Kind::String { options, .. } if constraint.starts_with(ENUM) => {
                        self.report(&printed, &one_of(quirk::enum_order(self.service, options)));
                    }
                    _ => self.report(&printed, &constraint),
                }
            }
        }
        self.inside(shape, value);
    }

    /// What a value holds, not the value itself.
    fn inside(&mut self, shape: &'static Shape, value: &Value) {
        if !self.plan.constrains(shape) || self.is_full() {
            return;
        }
        match (&shape.kind, value) {
            (Kind::Structure { members, .. }, Value::Struct(_)) => {
                let prefix = self.path.is_empty().then(|| quirk::input_prefix(self.service, shape)).flatten();
                for (index, member) in (0_u16..).zip(*members) {
                    let prefix = prefix.as_deref().filter(|_| member.location == Location::Body).unwrap_or_default();
                    let name = print::LowerFirst(member.name);
                    match value.member(index) {
                        None | Some(Value::Null) if member.required || quirk::is_required(shape, member.name) => {
                            self.under(format_args!("{prefix}{name}"), |c| {
                                c.report(" null", "Member must not be null")
                            });
                        }
                        Some(value) if self.plan.constrains(member.shape) => {
                            self.under(format_args!("{prefix}{name}"), |c| c.member(member.shape, value));
                        }
                        _ => {}
                    }
                }
            }
            (Kind::List { member, .. }, Value::List(list)) => {
                self.elements(shape, value, member, list.iter(), "Member must satisfy constraint");
                for (i, element) in list.iter().enumerate().filter(|_| is_composite(member)) {
                    self.under(format_args!("{}.member", i + 1), |c| c.inside(member, element));
                }
            }
            (Kind::Map { key, value: element_shape, .. }, Value::Map(map)) => {
                let keys = map.iter().any(|(k, _)| text_is_broken(key, k));
                if keys {
                    self.collection(shape, value, key, "Map keys must satisfy constraint");
                }
                let elements = map.iter().map(|(_, v)| v);
                self.elements(shape, value, element_shape, elements, "Map value must satisfy constraint");
                for (name, element) in map.iter().filter(|_| is_composite(element_shape)) {
                    self.under(format_args!("{name}.member"), |c| c.inside(element_shape, element));
                }
            }
            _ => {}
        }
    }

    fn elements<'v>(
        &mut self,
        shape: &'static Shape,
        whole: &Value,
        element: &'static Shape,
        mut values: impl Iterator<Item = &'v Value>,
        words: &str,
    ) {
        if plan::has_own(element) && values.any(|v| !broken(element, v).is_empty()) {
            self.collection(shape, whole, element, words);
        }
    }

    /// One report at a collection for all its elements, naming every constraint that they have.
    fn collection(&mut self, shape: &'static Shape, whole: &Value, element: &'static Shape, words: &str) {
        let constraints = all_of(element).join(", ");
        self.report(&format!(" '{}'", print::java(shape, whole)), &format!("{words}: [{constraints}]"));
    }
}

fn is_composite(shape: &Shape) -> bool {
    matches!(shape.kind, Kind::List { .. } | Kind::Map { .. } | Kind::Structure { .. })
}

const ENUM: &str = "Member must satisfy enum value set";

fn longer(max: u64) -> String {
    format!("Member must have length less than or equal to {max}")
}

fn shorter(min: u64) -> String {
    format!("Member must have length greater than or equal to {min}")
}

fn one_of(options: &[&str]) -> String {
    format!("{ENUM}: [{}]", options.join(", "))
}

fn pattern_text(pattern: &str) -> String {
    format!("Member must satisfy regular expression pattern: {pattern}")
}

fn above(max: impl std::fmt::Display) -> String {
    format!("Member must have value less than or equal to {max}")
}

fn below(min: impl std::fmt::Display) -> String {
    format!("Member must have value greater than or equal to {min}")
}

/// Every constraint of a shape, in the order in which AWS lists them for elements.
fn all_of(shape: &Shape) -> Vec<String> {
    let lengths = |min: Option<u64>, max: Option<u64>| max.map(longer).into_iter().chain(min.map(shorter)).collect();
    if quirk::is_name_or_arn(shape) {
        let (min, max, pattern) = quirk::TABLE_NAME;
        return vec![longer(max), shorter(min), pattern_text(pattern)];
    }
    match &shape.kind {
        Kind::String { min, max, pattern, options } => {
            let mut all: Vec<String> = lengths(*min, *max);
            all.extend(pattern.map(pattern_text));
            all.extend((!options.is_empty()).then(|| one_of(options)));
            all
        }
        Kind::Blob { min, max, .. } | Kind::List { min, max, .. } | Kind::Map { min, max, .. } => lengths(*min, *max),
        Kind::Integer { min, max } | Kind::Long { min, max } => {
            max.map(above).into_iter().chain(min.map(below)).collect()
        }
        Kind::Double { min, max } => max.map(above).into_iter().chain(min.map(below)).collect(),
        Kind::Boolean | Kind::Timestamp(_) | Kind::Structure { .. } | Kind::Document => Vec::new(),
    }
}

/// The constraints of the value itself that it breaks.
fn broken(shape: &'static Shape, value: &Value) -> Vec<String> {
    let mut out = Vec::new();
    let mut length = |n: usize, min: &Option<u64>, max: &Option<u64>| {
        let n = n as u64;
        out.extend(max.filter(|max| n > *max).map(longer));
        out.extend(min.filter(|min| n < *min).map(shorter));
    };
    match (&shape.kind, value) {
        (Kind::String { .. }, Value::Str(text)) => return broken_text(shape, text),
        (Kind::Blob { min, max, .. }, Value::Blob(b)) => length(b.len(), min, max),
        (Kind::List { min, max, .. }, Value::List(l)) => length(l.len(), min, &max.or_else(|| quirk::list_max(shape))),
        (Kind::Map { min, max, .. }, Value::Map(m)) => length(m.len(), min, max),
        (Kind::Integer { min, max } | Kind::Long { min, max }, Value::Int(n)) => {
            out.extend(max.filter(|max| n > max).map(above));
            out.extend(min.filter(|min| n < min).map(below));
        }
        (Kind::Double { min, max }, Value::Double(n)) => {
            out.extend(max.filter(|max| n > max).map(above));
            out.extend(min.filter(|min| n < min).map(below));
        }
        _ => {}
    }
    out
}

fn broken_text(shape: &'static Shape, text: &str) -> Vec<String> {
    let Kind::String { min, max, pattern, options } = &shape.kind else { return Vec::new() };
    let mut out = Vec::new();
    if quirk::is_name_or_arn(shape) && !text.starts_with("arn:") {
        let (min, max, pattern) = quirk::TABLE_NAME;
        let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        out.extend((!fits).then(|| pattern_text(pattern)));
        out.extend(is_longer(text, max).then(|| longer(max)));
        out.extend((!is_longer(text, min - 1)).then(|| shorter(min)));
        return out;
    }
    if let Some(pattern) = pattern.filter(|p| !pattern::matches(p, text)) {
        out.push(pattern_text(pattern));
    }
    if let Some(max) = max.filter(|max| is_longer(text, *max)) {
        out.push(longer(max));
    }
    if let Some(min) = min.filter(|min| *min > 0 && !is_longer(text, min - 1)) {
        out.push(shorter(min));
    }
    if !options.is_empty() && !options.contains(&text) {
        out.push(one_of(options));
    }
    out
}

fn text_is_broken(shape: &'static Shape, text: &str) -> bool {
    plan::has_own(shape) && !broken_text(shape, text).is_empty()
}

/// Whether the text has more than `n` characters, without counting them where bytes tell already.
fn is_longer(text: &str, n: u64) -> bool {
    let n = usize::try_from(n).unwrap_or(usize::MAX);
    text.len() > n && (text.len() / 4 > n || text.chars().count() > n)
}
