//! YAML that remembers where everything stood: a tree of nodes, each with its file and line.
//!
//! The core schema of YAML 1.2 decides what a plain scalar is, as the Serverless Framework's parser does; dates stay text
//! (`Version: 2012-10-17`). Anchors, aliases and merge keys (`<<`) are resolved here, CloudFormation's short tags (`!Ref`,
//! `!GetAtt`, `!Sub`, `!Join`) become their long form. Duplicate keys and several documents in a file are refused.
//!
//! Limits: 1 MiB of text, 64 levels, 100,000 nodes after aliases are copied.

mod read;

pub use read::parse;

use std::fmt;
use std::sync::Arc;

use serde_json::{Number, Value as Json};

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pos {
    /// File name as the user would type it.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: usize,
}

impl fmt::Display for Pos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it stands.
    pub at: Pos,
    /// What it is.
    pub value: Value,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// Text.
    Str(String),
    /// A list.
    Seq(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// Where the key stands.
    pub at: Pos,
    /// Its value.
    pub node: Node,
}

impl Node {
    /// A node at that place.
    #[must_use]
    pub fn new(at: &Pos, value: Value) -> Self {
        Self { at: at.clone(), value }
    }

    /// The value under `key`, when this is a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|e| e.key == key).map(|e| &e.node),
            _ => None,
        }
    }

    /// Nothing was written here.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    /// The text, when this is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }

    /// A scalar as text; numbers as JavaScript prints them.
    #[must_use]
    pub fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Bool(b) => Some(b.to_string()),
            Value::Int(n) => Some(n.to_string()),
            Value::Float(n) => Some(n.to_string()),
            Value::Str(s) => Some(s.clone()),
            Value::Null | Value::Seq(_) | Value::Map(_) => None,
        }
    }

    /// "a list", "text" …, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Str(_) => "text",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The same without places.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(b) => Json::Bool(*b),
            Value::Int(n) => Json::from(*n),
            Value::Float(n) => Number::from_f64(*n).map_or(Json::Null, Json::Number),
            Value::Str(s) => Json::from(s.as_str()),
            Value::Seq(items) => Json::Array(items.iter().map(Node::to_json).collect()),
            Value::Map(entries) => entries.iter().map(|e| (e.key.clone(), e.node.to_json())).collect(),
        }
    }

    /// A tree from JSON, all of it at one place.
    #[must_use]
    pub fn from_json(at: &Pos, json: &Json) -> Self {
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(b) => Value::Bool(*b),
            Json::Number(n) => match n.as_i64() {
                Some(i) => Value::Int(i),
                None => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(s) => Value::Str(s.clone()),
            Json::Array(items) => Value::Seq(items.iter().map(|i| Self::from_json(at, i)).collect()),
            Json::Object(map) => Value::Map(
                map.iter()
                    .map(|(k, v)| Entry { key: k.clone(), at: at.clone(), node: Self::from_json(at, v) })
                    .collect(),
            ),
        };
        Self::new(at, value)
    }
}

#[cfg(test)]
mod tests;
