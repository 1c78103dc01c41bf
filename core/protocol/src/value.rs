//! A value between wire and types.

use bytes::Bytes;
use squall_types::Millis;

/// What a codec reads or writes; its form follows a [`crate::Shape`].
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Explicit null (JSON); treated as absent by structures.
    Null,
    /// Boolean.
    Bool(bool),
    /// 32- and 64-bit integers.
    Int(i64),
    /// Floats.
    Double(f64),
    /// Text.
    Str(String),
    /// Bytes.
    Blob(Bytes),
    /// Moment in time, to the millisecond.
    Time(Millis),
    /// List.
    List(Vec<Value>),
    /// Map in the order of the wire.
    Map(Vec<(String, Value)>),
    /// Structure: `(index in the shape's members, value)`; absent members are left out. A decoder keeps each index once.
    Struct(Vec<(u16, Value)>),
    /// Free-form JSON; boxed because it is rare and three times as large as the others.
    Document(Box<serde_json::Value>),
    /// What a room has written as JSON itself, in the form of the shape at its place. Only answers of the JSON protocols may
    /// hold it; it spares pages of stored items the way through a tree.
    Json(Vec<u8>),
}

impl Value {
    /// A structure's member by index.
    #[must_use]
    pub fn member(&self, index: u16) -> Option<&Value> {
        match self {
            Value::Struct(m) => m.iter().find(|(i, _)| *i == index).map(|(_, v)| v),
            _ => None,
        }
    }

    /// A structure's member by its model name.
    #[must_use]
    pub fn named(&self, shape: &crate::Shape, name: &str) -> Option<&Value> {
        let index = shape.members().iter().position(|m| m.name == name)?;
        self.member(u16::try_from(index).ok()?)
    }

    /// The text of a structure's member by its model name.
    #[must_use]
    pub fn text(&self, shape: &crate::Shape, name: &str) -> Option<&str> {
        self.named(shape, name)?.as_str()
    }

    /// The text of a [`Value::Str`].
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }
}
