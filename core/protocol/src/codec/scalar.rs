//! Single values as text: labels, query parameters, headers, form parameters and XML's character data.

use crate::Value;
use crate::schema::{Kind, Shape, TimestampFormat};
use crate::timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The text is not a value of the shape; carries the shape's Java type (`Integer`), for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotA(pub &'static str);

/// Reads one value; only strings keep the white space around them.
pub(crate) fn from_text(shape: &Shape, text: &str) -> Result<Value, NotA> {
    let trimmed = text.trim();
    let value = match &shape.kind {
        Kind::String { .. } => Some(Value::Str(text.to_owned())),
        Kind::Integer { .. } => trimmed.parse::<i32>().ok().map(|n| Value::Int(n.into())),
        Kind::Long { .. } => trimmed.parse().ok().map(Value::Int),
        Kind::Double { .. } => double(trimmed).map(Value::Double),
        Kind::Boolean if trimmed.eq_ignore_ascii_case("true") => Some(Value::Bool(true)),
        Kind::Boolean if trimmed.eq_ignore_ascii_case("false") => Some(Value::Bool(false)),
        Kind::Timestamp(_) => timestamp::parse(trimmed).map(Value::Time),
        Kind::Blob { .. } => blob(trimmed),
        Kind::Document => serde_json::from_str(trimmed).ok().map(|d| Value::Document(Box::new(d))),
        Kind::Boolean | Kind::List { .. } | Kind::Map { .. } | Kind::Structure { .. } => None,
    };
    value.ok_or(NotA(java_type(shape)))
}

/// Base64 that XML writers may have broken into lines.
fn blob(text: &str) -> Option<Value> {
    let clean: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    STANDARD.decode(clean).ok().map(|b| Value::Blob(b.into()))
}

/// A float; the three that are not finite have names.
pub(crate) fn double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        // Rust also takes `inf` and `nan` in any case, which no protocol does.
        _ => text.parse().ok().filter(|d: &f64| d.is_finite()),
    }
}

/// Prints a float: shortest digits that read back the same, or its name when it is not finite.
pub(crate) fn double_text(d: f64) -> String {
    if d.is_nan() {
        "NaN".to_owned()
    } else if d.is_infinite() {
        if d > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        format!("{d:?}")
    }
}

/// Writes one value; `None` for null and for values that are no scalars. `format` is the protocol's choice at this place
/// for timestamps whose shape has none.
pub(crate) fn to_text(shape: &Shape, value: &Value, format: TimestampFormat) -> Option<String> {
    Some(match value {
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Double(d) => double_text(*d),
        Value::Str(s) => s.clone(),
        Value::Blob(b) => STANDARD.encode(b),
        Value::Time(t) => timestamp::format(*t, timestamp_format(shape, format)),
        Value::Document(d) => d.to_string(),
        Value::Null | Value::List(_) | Value::Map(_) | Value::Struct(_) | Value::Json(_) => return None,
    })
}

/// The shape's own format, else the place's.
pub(crate) fn timestamp_format(shape: &Shape, place: TimestampFormat) -> TimestampFormat {
    match shape.kind {
        Kind::Timestamp(format) if format != TimestampFormat::Default => format,
        _ => place,
    }
}

/// The shape's type as Java names it without its package.
pub(crate) fn java_type(shape: &Shape) -> &'static str {
    match shape.kind {
        Kind::String { .. } => "String",
        Kind::Integer { .. } => "Integer",
        Kind::Long { .. } => "Long",
        Kind::Double { .. } => "Double",
        Kind::Boolean => "Boolean",
        Kind::Timestamp(_) => "Date",
        Kind::Blob { .. } => "Blob",
        Kind::List { .. } => "List",
        Kind::Map { .. } => "Map",
        Kind::Structure { .. } => "Structure",
        Kind::Document => "Document",
    }
}
