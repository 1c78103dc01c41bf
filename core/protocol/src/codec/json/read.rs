//! JSON into values, in one pass over the bytes and guided by the shape: no tree of JSON is built in between.
//!
//! Unknown members are passed over, nulls leave a member absent, the last of equal keys counts. Nesting is bounded by
//! serde_json at 128; what is passed over is not, because nothing is kept of it and no recursion goes there.

use super::words::{self, Place, Token};
use crate::codec::{quirk, scalar};
use crate::schema::{Kind, Location, Member, Service, Shape};
use crate::timestamp;
use crate::{ServiceError, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

/// Reads a whole body into a structure; members that travel elsewhere are passed over.
pub(crate) fn read_body(service: &Service, shape: &'static Shape, body: &Bytes) -> Result<Value, ServiceError> {
    if body.is_empty() && quirk::takes_empty_body(service) {
        return Ok(Value::Struct(Vec::new()));
    }
    read_payload(service, shape, body)
}

/// Reads a whole body into a value of the shape.
///
/// # Errors
/// `SerializationException`, with the service's text when the JSON is fine and its types are not.
pub(crate) fn read_payload(service: &Service, shape: &'static Shape, body: &Bytes) -> Result<Value, ServiceError> {
    let context = Context { service, failure: RefCell::new(None) };
    let mut from = serde_json::Deserializer::from_slice(body);
    let seed = Seed { context: &context, shape, place: Place::Body };
    match seed.deserialize(&mut from).and_then(|value| from.end().map(|()| value)) {
        Ok(Value::Null) | Err(_) => {
            let text = context.failure.take().unwrap_or_default();
            Err(ServiceError::client("SerializationException", 400, text).upper())
        }
        Ok(value) => Ok(value),
    }
}

/// What all seeds of one body share.
struct Context<'c> {
    service: &'c Service,
    /// The caller's text, kept aside because serde's errors add line and column.
    failure: RefCell<Option<String>>,
}

impl Context<'_> {
    fn fail<E: Error>(&self, text: String) -> E {
        *self.failure.borrow_mut() = Some(text);
        E::custom("wrong type")
    }
}

#[derive(Clone, Copy)]
struct Seed<'c> {
    context: &'c Context<'c>,
    shape: &'static Shape,
    place: Place,
}

impl Seed<'_> {
    fn at(self, shape: &'static Shape, place: Place) -> Self {
        Self { shape, place, ..self }
    }

    fn mismatch<E: Error>(self, token: Token) -> E {
        // AWS gives no text when the body is no object at all.
        if self.place == Place::Body {
            return self.context.fail(String::new());
        }
        self.context.fail(words::mismatch(self.context.service, self.shape, self.place, token))
    }

    fn number<E: Error>(self, n: f64, whole: Option<i64>) -> Result<Value, E> {
        // Java's reader cuts fractions off; `as` does too, and stays at the bounds instead of wrapping around.
        let long = whole.unwrap_or(n as i64);
        match self.shape.kind {
            Kind::Integer { .. } => Ok(Value::Int(long.clamp(i32::MIN.into(), i32::MAX.into()))),
            Kind::Long { .. } => Ok(Value::Int(long)),
            Kind::Double { .. } => Ok(Value::Double(n)),
            Kind::Timestamp(_) => match timestamp::from_seconds(n) {
                Some(t) => Ok(Value::Time(t)),
                None => Err(self.mismatch(Token::Number { decimal: whole.is_none() })),
            },
            _ => Err(self.mismatch(Token::Number { decimal: whole.is_none() })),
        }
    }

    fn base64<E: Error>(self, text: &str) -> Result<Value, E> {
        let decoded = STANDARD.decode(text);
        decoded.map(|b| Value::Blob(b.into())).map_err(|e| self.context.fail(words::base64(text, e)))
    }

    fn structure<'de, A: MapAccess<'de>>(self, members: &'static [Member], mut map: A) -> Result<Value, A::Error> {
        // Elements of lists and maps are mostly unions with one member.
        let mut out: Vec<(u16, Value)> = Vec::with_capacity(if self.place == Place::Element { 1 } else { 4 });
        while let Some(found) = map.next_key_seed(Name { members })? {
            let Some((index, member)) =
                found.filter(|(_, m)| m.location == Location::Body || self.place != Place::Body)
            else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = map.next_value_seed(self.at(member.shape, Place::Member))?;
            out.retain(|(i, _)| *i != index);
            if value != Value::Null {
                out.push((index, value));
            }
        }
        Ok(Value::Struct(out))
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        match self.shape.kind {
            Kind::Document => {
                let document: serde_json::Value = serde::Deserialize::deserialize(from)?;
                Ok(if document.is_null() { Value::Null } else { Value::Document(Box::new(document)) })
            }
            _ => from.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(scalar::java_type(self.shape))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, b: bool) -> Result<Value, E> {
        match self.shape.kind {
            Kind::Boolean => Ok(Value::Bool(b)),
            _ => Err(self.mismatch(Token::Bool(b))),
        }
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<Value, E> {
        self.number(n as f64, Some(n))
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<Value, E> {
        self.number(n as f64, Some(i64::try_from(n).unwrap_or(i64::MAX)))
    }

    fn visit_f64<E: Error>(self, n: f64) -> Result<Value, E> {
        self.number(n, None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        match self.shape.kind {
            Kind::String { .. } => Ok(Value::Str(text.to_owned())),
            Kind::Blob { .. } => self.base64(text),
            // Both generations of AWS's reader take booleans in quotes.
            Kind::Boolean if text.eq_ignore_ascii_case("true") => Ok(Value::Bool(true)),
            Kind::Boolean if text.eq_ignore_ascii_case("false") => Ok(Value::Bool(false)),
            Kind::Boolean if quirk::takes_yes(self.context.service) && text.eq_ignore_ascii_case("yes") => {
                Ok(Value::Bool(true))
            }
            Kind::Boolean if quirk::takes_yes(self.context.service) && text.eq_ignore_ascii_case("no") => {
                Ok(Value::Bool(false))
            }
            Kind::Double { .. } if matches!(text, "NaN" | "Infinity" | "-Infinity") => {
                Ok(Value::Double(scalar::double(text).unwrap_or(f64::NAN)))
            }
            Kind::Timestamp(_) if timestamp::parse(text).is_some() => {
                Ok(timestamp::parse(text).map_or(Value::Null, Value::Time))
            }
            _ => Err(self.mismatch(Token::String)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let Kind::List { member, .. } = self.shape.kind else { return Err(self.mismatch(Token::List)) };
        let mut out = Vec::new();
        while let Some(value) = seq.next_element_seed(self.at(member, Place::Element))? {
            out.push(value);
        }
        Ok(Value::List(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        match self.shape.kind {
            Kind::Structure { members, .. } => self.structure(members, map),
            Kind::Map { value, .. } => {
                let mut out = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    out.push((key, map.next_value_seed(self.at(value, Place::Element))?));
                }
                Ok(Value::Map(last_of_equals(out)))
            }
            _ => Err(self.mismatch(Token::Structure)),
        }
    }
}

/// Finds a member by the name on the wire without keeping the name.
struct Name {
    members: &'static [Member],
}

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<(u16, &'static Member)>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Option<(u16, &'static Member)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        let index = self.members.iter().position(|m| m.wire == name);
        Ok(index.and_then(|i| Some((u16::try_from(i).ok()?, self.members.get(i)?))))
    }
}

/// Entries with the last of equal keys at the place of the first.
fn last_of_equals(entries: Vec<(String, Value)>) -> Vec<(String, Value)> {
    let distinct = match entries.len() {
        0 | 1 => true,
        n if n <= 8 => (1..n).all(|i| entries[..i].iter().all(|(k, _)| *k != entries[i].0)),
        n => {
            let mut seen = HashSet::with_capacity(n);
            entries.iter().all(|(k, _)| seen.insert(k.as_str()))
        }
    };
    if distinct {
        return entries;
    }
    let mut at = std::collections::HashMap::new();
    let mut out: Vec<(String, Value)> = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        match at.get(&key) {
            Some(&i) => out[i] = (key, value),
            None => {
                at.insert(key.clone(), out.len());
                out.push((key, value));
            }
        }
    }
    out
}
