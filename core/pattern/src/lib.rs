//! Event patterns as EventBridge and Lambda's filter criteria have them: a pure matcher over JSON.
//!
//! Shape: a pattern is a JSON object that looks like the event; its leaves are arrays of conditions of which one must hold.
//! Fields of an object must all match, `$or` takes a list of which one must. Where the event has an array, one of its elements
//! must match.
//!
//! Served: exact values (texts, numbers, `true`, `false`, `null`), `prefix`, `suffix`, `equals-ignore-case`, `wildcard`,
//! `anything-but` (values, `prefix`, `suffix`, `equals-ignore-case`, `wildcard`), `numeric`, `exists`, `cidr`, `$or`.
//!
//! Limits: 4,096 bytes, 16 levels, 1,000 conditions. This crate knows no service and does no I/O.

mod condition;
mod parse;
#[cfg(test)]
mod tests;

use condition::Condition;
use serde_json::Value;

/// Most bytes of a pattern's text.
pub const PATTERN_BYTES_MAX: usize = 4_096;

/// Why a text is no pattern; the text is for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(pub(crate) String);

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern(Node);

/// What must hold of one object of the event: every part of it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Node {
    fields: Vec<(String, Field)>,
    /// Groups of alternatives: of each group one must hold.
    any_of: Vec<Vec<Node>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Field {
    /// The field is an object that matches.
    Object(Node),
    /// One of the conditions holds for the field.
    OneOf(Vec<Condition>),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// The text is no JSON object, holds no condition, or one that does not exist.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        parse::pattern(text).map(Self)
    }

    /// Whether an event matches.
    #[must_use]
    pub fn matches(&self, event: &Value) -> bool {
        self.0.holds(Some(event))
    }
}

impl Node {
    /// `None`: the event has nothing here, which only `exists: false` likes.
    fn holds(&self, value: Option<&Value>) -> bool {
        if let Some(Value::Array(items)) = value {
            return items.iter().any(|item| self.holds(Some(item)));
        }
        let object = value.and_then(Value::as_object);
        let fields = self.fields.iter().all(|(name, field)| {
            let value = object.and_then(|o| o.get(name));
            match field {
                Field::Object(node) => node.holds(value),
                Field::OneOf(conditions) => conditions.iter().any(|c| condition_holds(c, value)),
            }
        });
        fields && self.any_of.iter().all(|group| group.iter().any(|node| node.holds(value)))
    }
}

fn condition_holds(condition: &Condition, value: Option<&Value>) -> bool {
    match (condition, value) {
        (Condition::Exists(wanted), value) => {
            // Only leaves exist in this sense, as the services have it.
            let there = value.is_some_and(|v| !v.is_object());
            there == *wanted
        }
        (_, None | Some(Value::Object(_))) => false,
        // An array has something else than this if none of its elements is one of these.
        (Condition::AnythingBut(_), Some(Value::Array(items))) => {
            !items.is_empty() && items.iter().all(|item| condition_holds(condition, Some(item)))
        }
        (_, Some(Value::Array(items))) => items.iter().any(|item| condition_holds(condition, Some(item))),
        (condition, Some(value)) => condition.holds(value),
    }
}
