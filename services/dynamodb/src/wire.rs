//! Between the protocol's values and this room's: attribute values, items, and the members of inputs and outputs.
//!
//! The data plane reads [`Fields`] of the shaped input directly instead of the generated types: those would hold every
//! attribute value as a structure of ten options, built and taken apart once per request.

use crate::api::shapes;
use crate::error::Error;
use crate::item::{Item, Value, has_duplicates};
use crate::number::Number;
use squall_protocol::Shape;
use squall_protocol::Value as Wire;
use std::borrow::Cow;

/// Indexes of the members of the model's `AttributeValue` (a test compares them with the model).
mod index {
    pub const S: u16 = 0;
    pub const N: u16 = 1;
    pub const B: u16 = 2;
    pub const SS: u16 = 3;
    pub const NS: u16 = 4;
    pub const BS: u16 = 5;
    pub const M: u16 = 6;
    pub const L: u16 = 7;
    pub const NULL: u16 = 8;
    pub const BOOL: u16 = 9;
}

/// The members of one input structure, taken one by one.
#[derive(Debug)]
pub struct Fields {
    shape: &'static Shape,
    members: Vec<(u16, Wire)>,
}

impl Fields {
    /// The members of a structure; none for another form.
    pub fn new(shape: &'static Shape, value: Wire) -> Fields {
        let members = match value {
            Wire::Struct(members) => members,
            _ => Vec::new(),
        };
        Fields { shape, members }
    }

    fn index(&self, name: &str) -> Option<u16> {
        // Operations share readers of parameters that not all of them have: what a shape lacks is absent.
        let at = self.shape.members().iter().position(|m| m.name == name)?;
        u16::try_from(at).ok()
    }

    /// Where a member is among those that are present: few, so that looking through them is shorter than through the shape.
    fn position(&self, name: &str) -> Option<usize> {
        let known = self.shape.members();
        self.members.iter().position(|(m, _)| known.get(usize::from(*m)).is_some_and(|k| k.name == name))
    }

    /// Whether the member is present.
    pub fn has(&self, name: &str) -> bool {
        self.position(name).is_some()
    }

    /// Takes a member.
    pub fn take(&mut self, name: &str) -> Option<Wire> {
        let at = self.position(name)?;
        Some(self.members.swap_remove(at).1)
    }

    /// Takes a text.
    pub fn text(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Wire::Str(text) => Some(text),
            _ => None,
        }
    }

    /// Takes a truth value.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        match self.take(name)? {
            Wire::Bool(flag) => Some(flag),
            _ => None,
        }
    }

    /// Takes an integer.
    pub fn integer(&mut self, name: &str) -> Option<i64> {
        match self.take(name)? {
            Wire::Int(n) => Some(n),
            _ => None,
        }
    }

    /// Takes a list.
    pub fn list(&mut self, name: &str) -> Option<Vec<Wire>> {
        match self.take(name)? {
            Wire::List(list) => Some(list),
            _ => None,
        }
    }

    /// Takes a list of texts.
    pub fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let text = |v| match v {
            Wire::Str(text) => Some(text),
            _ => None,
        };
        Some(self.list(name)?.into_iter().filter_map(text).collect())
    }

    /// Takes a map.
    pub fn map(&mut self, name: &str) -> Option<Vec<(String, Wire)>> {
        match self.take(name)? {
            Wire::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Takes a map of texts.
    pub fn text_map(&mut self, name: &str) -> Option<Vec<(String, String)>> {
        let text = |(k, v)| match v {
            Wire::Str(text) => Some((k, text)),
            _ => None,
        };
        Some(self.map(name)?.into_iter().filter_map(text).collect())
    }

    /// Takes a structure.
    pub fn fields(&mut self, name: &str) -> Option<Fields> {
        let shape = self.shape.members().get(usize::from(self.index(name)?))?.shape;
        Some(Fields::new(shape, self.take(name)?))
    }

    /// The shape of a member's map values.
    pub fn map_value_shape(&self, name: &str) -> Option<&'static Shape> {
        match self.shape.members().get(usize::from(self.index(name)?))?.shape.kind {
            squall_protocol::schema::Kind::Map { value, .. } => Some(value),
            _ => None,
        }
    }

    /// The shape of a member's list elements.
    pub fn element_shape(&self, name: &str) -> Option<&'static Shape> {
        match self.shape.members().get(usize::from(self.index(name)?))?.shape.kind {
            squall_protocol::schema::Kind::List { member, .. } => Some(member),
            _ => None,
        }
    }

    /// Takes an item or a key.
    ///
    /// # Errors
    /// `ValidationException` for an attribute value that is none.
    pub fn item(&mut self, name: &str) -> Result<Option<Item>, Error> {
        self.map(name).map(item).transpose()
    }
}

/// The members of one output structure.
pub struct Output {
    shape: &'static Shape,
    members: Vec<(u16, Wire)>,
}

impl Output {
    /// An output without members yet.
    pub fn new(shape: &'static Shape) -> Output {
        Output { shape, members: Vec::new() }
    }

    /// Adds a member if it is there.
    pub fn set(&mut self, name: &str, value: Option<Wire>) {
        let Some(value) = value else { return };
        let at = self.shape.members().iter().position(|m| m.name == name);
        debug_assert!(at.is_some(), "{} has no member {name}", self.shape.name);
        if let Some(index) = at.and_then(|at| u16::try_from(at).ok()) {
            self.members.push((index, value));
        }
    }

    /// The structure.
    pub fn finish(self) -> Wire {
        Wire::Struct(self.members)
    }
}

/// The item of a map of attribute values; of two attributes with one name the later counts.
///
/// # Errors
/// `ValidationException` for an attribute value that is none.
pub fn item(map: Vec<(String, Wire)>) -> Result<Item, Error> {
    item_at(map, 0)
}

fn item_at(map: Vec<(String, Wire)>, depth: usize) -> Result<Item, Error> {
    map.into_iter().map(|(name, v)| Ok((name, value_at(v, depth)?))).collect()
}

/// The attribute value of its structure.
///
/// # Errors
/// `ValidationException` for none or several types, a text that is no number, an empty set or one with duplicates.
pub fn value(wire: Wire) -> Result<Value, Error> {
    value_at(wire, 0)
}

fn value_at(wire: Wire, depth: usize) -> Result<Value, Error> {
    let Wire::Struct(mut members) = wire else {
        return Err(Error::validation(
            "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
        ));
    };
    if depth >= crate::item::NESTING_MAX {
        return Err(too_deep());
    }
    // Each type's own fault is told before there being several.
    if members.len() > 1 {
        for member in members {
            typed_value(Some(member), depth)?;
        }
        return Err(Error::validation(
            "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes",
        ));
    }
    typed_value(members.pop(), depth)
}

fn typed_value(member: Option<(u16, Wire)>, depth: usize) -> Result<Value, Error> {
    match member {
        Some((index::S, Wire::Str(text))) => Ok(Value::S(text)),
        Some((index::N, Wire::Str(text))) => Ok(Value::N(Number::parse(&text)?)),
        Some((index::B, Wire::Blob(bytes))) => Ok(Value::B(bytes.into())),
        Some((index::BOOL, Wire::Bool(flag))) => Ok(Value::Bool(flag)),
        Some((index::NULL, Wire::Bool(true))) => Ok(Value::Null),
        Some((index::NULL, _)) => Err(invalid("Null attribute value types must have the value of true")),
        Some((index::M, Wire::Map(map))) => Ok(Value::M(item_at(map, depth + 1)?)),
        Some((index::L, Wire::List(list))) => {
            Ok(Value::L(list.into_iter().map(|v| value_at(v, depth + 1)).collect::<Result<_, _>>()?))
        }
        Some((index::SS, Wire::List(list))) => text_set(list),
        Some((index::NS, Wire::List(list))) => number_set(list),
        Some((index::BS, Wire::List(list))) => binary_set(list),
        _ => Err(Error::validation(
            "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes",
        )),
    }
}

/// The error for more than 32 levels.
pub fn too_deep() -> Error {
    Error::validation(
        "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit",
    )
}

fn invalid(why: impl std::fmt::Display) -> Error {
    Error::validation(format!("One or more parameter values were invalid: {why}"))
}

fn texts(list: Vec<Wire>) -> Vec<String> {
    let text = |v| match v {
        Wire::Str(text) => Some(text),
        _ => None,
    };
    list.into_iter().filter_map(text).collect()
}

fn text_set(list: Vec<Wire>) -> Result<Value, Error> {
    let set = texts(list);
    if set.is_empty() {
        return Err(invalid("An string set  may not be empty"));
    }
    if has_duplicates(&set) {
        return Err(invalid(format!("Input collection [{}] contains duplicates.", set.join(", "))));
    }
    Ok(Value::Ss(set))
}

fn number_set(list: Vec<Wire>) -> Result<Value, Error> {
    let set: Vec<Number> = texts(list).iter().map(|t| Number::parse(t)).collect::<Result<_, _>>()?;
    if set.is_empty() {
        return Err(invalid("An number set  may not be empty"));
    }
    if has_duplicates(&set) {
        return Err(Error::validation("Input collection contains duplicates"));
    }
    Ok(Value::Ns(set))
}

fn binary_set(list: Vec<Wire>) -> Result<Value, Error> {
    use base64::Engine as _;
    let bytes = |v| match v {
        Wire::Blob(bytes) => Some(Vec::from(bytes)),
        _ => None,
    };
    let set: Vec<Vec<u8>> = list.into_iter().filter_map(bytes).collect();
    if set.is_empty() {
        return Err(invalid("Binary sets should not be empty"));
    }
    if has_duplicates(&set) {
        let shown: Vec<String> = set.iter().map(|b| base64::engine::general_purpose::STANDARD.encode(b)).collect();
        return Err(invalid(format!("Input collection [{}]of type BS contains duplicates.", shown.join(", "))));
    }
    Ok(Value::Bs(set))
}

/// An item as a map of attribute values.
pub fn item_value(item: Item) -> Wire {
    Wire::Map(item.into_iter().map(|(name, v)| (name, value_wire(v))).collect())
}

/// An attribute value as its structure.
pub fn value_wire(value: Value) -> Wire {
    let list = |members: Vec<Wire>| Wire::List(members);
    let (index, inner) = match value {
        Value::S(text) => (index::S, Wire::Str(text)),
        Value::N(number) => (index::N, Wire::Str(number.to_string())),
        Value::B(bytes) => (index::B, Wire::Blob(bytes.into())),
        Value::Bool(flag) => (index::BOOL, Wire::Bool(flag)),
        Value::Null => (index::NULL, Wire::Bool(true)),
        Value::M(map) => (index::M, item_value(map)),
        Value::L(members) => (index::L, list(members.into_iter().map(value_wire).collect())),
        Value::Ss(set) => (index::SS, list(set.into_iter().map(Wire::Str).collect())),
        Value::Ns(set) => (index::NS, list(set.iter().map(|n| Wire::Str(n.to_string())).collect())),
        Value::Bs(set) => (index::BS, list(set.into_iter().map(|b| Wire::Blob(b.into())).collect())),
    };
    Wire::Struct(vec![(index, inner)])
}

/// The text form of a shaped key value, for policy conditions.
pub fn policy_text(value: &Wire) -> Option<Cow<'_, str>> {
    use base64::Engine as _;
    let Wire::Struct(members) = value else { return None };
    match members.first()? {
        (index::S | index::N, Wire::Str(text)) => Some(Cow::Borrowed(text)),
        (index::B, Wire::Blob(bytes)) => Some(base64::engine::general_purpose::STANDARD.encode(bytes).into()),
        _ => None,
    }
}

/// The member names of the model's attribute value, in the order of [`index`].
pub fn attribute_value_members() -> Vec<&'static str> {
    shapes::ATTRIBUTE_VALUE.members().iter().map(|m| m.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, random_item};

    #[test]
    fn the_model_has_the_members_at_these_indexes() {
        assert_eq!(attribute_value_members(), ["S", "N", "B", "SS", "NS", "BS", "M", "L", "NULL", "BOOL"]);
    }

    #[test]
    fn items_come_back_as_they_went() {
        let mut r = Random::new(9);
        for _ in 0..2_000 {
            let sent = random_item(&mut r);
            let Wire::Map(map) = item_value(sent.clone()) else { panic!("an item is a map") };
            assert_eq!(item(map).ok(), Some(sent));
        }
    }

    fn check(members: Vec<(u16, Wire)>, expected: &str) {
        assert_eq!(value(Wire::Struct(members)).unwrap_err().to_string(), expected);
    }

    #[test]
    fn bad_values_are_refused_with_the_right_text() {
        let text = |t: &str| Wire::Str(t.into());
        let set = |t: &[&str]| Wire::List(t.iter().map(|t| text(t)).collect());
        let supplied = "Supplied AttributeValue";
        let invalid = "One or more parameter values were invalid:";
        check(vec![], &format!("{supplied} is empty, must contain exactly one of the supported datatypes"));
        check(
            vec![(index::S, text("a")), (index::N, text("1"))],
            &format!("{supplied} has more than one datatypes set, must contain exactly one of the supported datatypes"),
        );
        check(vec![(index::N, text("x"))], "The parameter cannot be converted to a numeric value: x");
        check(vec![(index::SS, set(&[]))], &format!("{invalid} An string set  may not be empty"));
        check(vec![(index::SS, set(&["a", "a"]))], &format!("{invalid} Input collection [a, a] contains duplicates."));
        check(vec![(index::NS, set(&["1", "1.0"]))], "Input collection contains duplicates");
        check(
            vec![(index::NULL, Wire::Bool(false))],
            &format!("{invalid} Null attribute value types must have the value of true"),
        );
    }
}
