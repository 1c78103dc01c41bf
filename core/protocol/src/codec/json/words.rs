//! What AWS says when JSON has the wrong types. Two generations of its reader are about; [`quirk::wording`] tells which a service has.

use crate::codec::quirk::{self, Wording};
use crate::codec::scalar::java_type;
use crate::schema::{Kind, Service, Shape};
use base64::DecodeError;

/// What stood in the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    String,
    Number { decimal: bool },
    Bool(bool),
    List,
    Structure,
}

/// Where it stood: the texts differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The whole body.
    Body,
    /// A structure's member.
    Member,
    /// A list's element or a map's value.
    Element,
}

/// What Java says about an element that should be a list or map; the text is that of an inner failure, and AWS sends it.
const CAST: &str = "class sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl cannot be cast to class \
    java.lang.Class (sun.reflect.generics.reflectiveObjects.ParameterizedTypeImpl and java.lang.Class are in module \
    java.base of loader 'bootstrap')";

/// The text for a value of the wrong type.
pub(super) fn mismatch(service: &Service, shape: &Shape, place: Place, token: Token) -> String {
    match quirk::wording(service) {
        Wording::Tokens => tokens(service, shape, place, token),
        Wording::Classes => classes(shape, token),
    }
}

fn tokens(service: &Service, shape: &Shape, place: Place, token: Token) -> String {
    let composite = matches!(shape.kind, Kind::List { .. } | Kind::Map { .. } | Kind::Structure { .. });
    let text = match (&shape.kind, token) {
        (_, Token::Structure) => "Start of structure or map found where not expected",
        (Kind::Map { .. }, Token::List) => {
            return format!("Unrecognized collection type {}", java_generic(service, shape));
        }
        (_, Token::List) => return format!("Unrecognized collection type class {}", java_generic(service, shape)),
        (Kind::Structure { .. }, _) if place == Place::Element => "Unexpected value type in payload",
        _ if composite && place == Place::Element => CAST,
        _ if composite => "Unexpected field type",
        (Kind::Blob { .. }, _) => "only base-64-encoded strings are convertible to bytes",
        (Kind::Boolean, Token::String) => "Unexpected token received from parser",
        _ => return format!("{} cannot be converted to {}", token_name(token), java_type(shape)),
    };
    text.to_owned()
}

fn token_name(token: Token) -> &'static str {
    match token {
        Token::String => "STRING_VALUE",
        Token::Number { decimal: false } => "NUMBER_VALUE",
        Token::Number { decimal: true } => "DECIMAL_VALUE",
        Token::Bool(true) => "TRUE_VALUE",
        Token::Bool(false) => "FALSE_VALUE",
        Token::List => "START_ARRAY",
        Token::Structure => "START_OBJECT",
    }
}

/// The type with its package and parameters; one level deep, as deeper ones never reach a message.
fn java_generic(service: &Service, shape: &Shape) -> String {
    match &shape.kind {
        Kind::Blob { .. } => "java.nio.ByteBuffer".to_owned(),
        Kind::Timestamp(_) => "java.util.Date".to_owned(),
        Kind::Structure { .. } => format!("{}{}", quirk::java_package(service), shape.name),
        Kind::Map { value, .. } => format!("java.util.Map<java.lang.String, {}>", java_element(service, value)),
        Kind::List { member, .. } => format!("java.util.List<{}>", java_element(service, member)),
        _ => format!("java.lang.{}", java_type(shape)),
    }
}

fn java_element(service: &Service, shape: &Shape) -> String {
    match &shape.kind {
        Kind::Map { value, .. } if matches!(value.kind, Kind::Structure { .. }) => {
            format!("java.util.Map<java.lang.String, {}{}>", quirk::java_package(service), value.name)
        }
        Kind::List { member, .. } if matches!(member.kind, Kind::Structure { .. }) => {
            format!("java.util.List<{}{}>", quirk::java_package(service), member.name)
        }
        Kind::Map { .. } => "java.util.Map".to_owned(),
        Kind::List { .. } => "java.util.List".to_owned(),
        _ => java_generic(service, shape),
    }
}

fn classes(shape: &Shape, token: Token) -> String {
    let class = match token {
        Token::Structure => return "Start of structure or map found where not expected.".to_owned(),
        Token::List => return "Start of list found where not expected".to_owned(),
        Token::String => "java.lang.String",
        Token::Number { .. } => "com.amazon.coral.value.json.numbers.TruncatingBigNumber",
        Token::Bool(_) => "java.lang.Boolean",
    };
    match shape.kind {
        Kind::List { .. } => "Expected list or null".to_owned(),
        Kind::Map { .. } | Kind::Structure { .. } => "Expected null".to_owned(),
        Kind::Timestamp(_) => format!("class {class} can not be converted to milliseconds since epoch"),
        _ => format!("class {class} can not be converted to an {}", java_type(shape)),
    }
}

/// The text for a string that is no base64.
pub(super) fn base64(text: &str, error: DecodeError) -> String {
    let length = text.len();
    match error {
        _ if !length.is_multiple_of(4) => {
            format!("Base64 encoded length is expected a multiple of 4 bytes but found: {length}")
        }
        DecodeError::InvalidByte(at, byte) if byte != b'=' => {
            let found = text.get(at..).and_then(|rest| rest.chars().next()).unwrap_or(char::REPLACEMENT_CHARACTER);
            format!("Invalid Base64 character: '{found}'")
        }
        // The misspelling is AWS's.
        _ => "Invalid last non-pad Base64 character dectected".to_owned(),
    }
}
