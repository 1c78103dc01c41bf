//! Values into JSON, by the shape.

use crate::Value;
use crate::codec::scalar;
use crate::schema::{Kind, Location, Shape, TimestampFormat};
use crate::timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A JSON object being written.
pub(crate) struct Object {
    out: Vec<u8>,
}

impl Object {
    pub(crate) fn new() -> Self {
        Self { out: vec![b'{'] }
    }

    pub(crate) fn text(&mut self, name: &str, text: &str) {
        key(&mut self.out, name);
        string(&mut self.out, text);
    }

    pub(crate) fn value(&mut self, name: &str, shape: &Shape, value: &Value) {
        key(&mut self.out, name);
        write(&mut self.out, shape, value);
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.out.push(b'}');
        self.out
    }
}

/// Writes a value. Members that are null or have no place in the shape are left out.
pub(crate) fn write(out: &mut Vec<u8>, shape: &Shape, value: &Value) {
    match (value, &shape.kind) {
        (Value::Struct(fields), Kind::Structure { .. }) => structure(out, shape, fields, |_| true),
        (Value::List(list), Kind::List { member, .. }) => {
            out.push(b'[');
            for (i, element) in list.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(out, member, element);
            }
            out.push(b']');
        }
        (Value::Map(map), Kind::Map { value: shape, .. }) => {
            out.push(b'{');
            for (name, element) in map {
                key(out, name);
                write(out, shape, element);
            }
            out.push(b'}');
        }
        _ => scalar(out, shape, value),
    }
}

/// Writes the members of a structure that travel in the body.
pub(crate) fn write_body_members(out: &mut Vec<u8>, shape: &Shape, fields: &[(u16, Value)]) {
    structure(out, shape, fields, |location| location == Location::Body);
}

fn structure(out: &mut Vec<u8>, shape: &Shape, fields: &[(u16, Value)], here: impl Fn(Location) -> bool) {
    let members = shape.members();
    out.push(b'{');
    for (index, value) in fields.iter().filter(|(_, v)| !matches!(v, Value::Null)) {
        if let Some(member) = members.get(usize::from(*index)).filter(|m| here(m.location)) {
            key(out, member.wire);
            write(out, member.shape, value);
        }
    }
    out.push(b'}');
}

fn scalar(out: &mut Vec<u8>, shape: &Shape, value: &Value) {
    match value {
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(n) => out.extend_from_slice(n.to_string().as_bytes()),
        Value::Double(d) if d.is_finite() => out.extend_from_slice(scalar::double_text(*d).as_bytes()),
        Value::Double(d) => string(out, &scalar::double_text(*d)),
        Value::Str(s) => string(out, s),
        Value::Blob(b) => {
            out.push(b'"');
            out.extend_from_slice(STANDARD.encode(b).as_bytes());
            out.push(b'"');
        }
        Value::Time(t) => match scalar::timestamp_format(shape, TimestampFormat::Unix) {
            TimestampFormat::Unix => out.extend_from_slice(timestamp::epoch_seconds(*t).as_bytes()),
            format => string(out, &timestamp::format(*t, format)),
        },
        Value::Document(d) => out.extend_from_slice(d.to_string().as_bytes()),
        Value::Json(json) => out.extend_from_slice(json),
        // The last three: a value that does not fit its shape, which only a fault in a room can make.
        Value::Null | Value::List(_) | Value::Map(_) | Value::Struct(_) => out.extend_from_slice(b"null"),
    }
}

/// A comma unless this is the first member, then the name and a colon.
fn key(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    string(out, name);
    out.push(b':');
}

/// Appends a text in quotes with JSON's escapes; what needs none is copied in runs.
pub fn string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut rest = text.as_bytes();
    out.reserve(rest.len() + 2);
    out.push(b'"');
    while let Some(at) = escape_at(rest) {
        let (plain, after) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((&b, after)) = after.split_first() else { break };
        match b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]);
            }
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Where the first byte is that has to be escaped. Whole blocks are looked at without a branch per byte, which the compiler
/// turns into vector instructions: a page of items is mostly text that needs no escape.
fn escape_at(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 64;
    let mut skipped = 0;
    for block in bytes.chunks_exact(BLOCK) {
        let mut found = 0;
        for b in block {
            found |= u8::from(*b < 0x20) | u8::from(*b == b'"') | u8::from(*b == b'\\');
        }
        if found != 0 {
            break;
        }
        skipped += BLOCK;
    }
    while let Some(word) = bytes.get(skipped..).and_then(|rest| rest.first_chunk()) {
        if has_special(u64::from_le_bytes(*word)) {
            break;
        }
        skipped += 8;
    }
    let is_special = |b: &u8| (*b < 0x20) | (*b == b'"') | (*b == b'\\');
    bytes[skipped..].iter().position(is_special).map(|at| skipped + at)
}

/// Whether one of the word's bytes has to be escaped.
///
/// Source: "Bit Twiddling Hacks", "Determine if a word has a byte less than n". It may also say yes for a word of other bytes,
/// never no for one that has such a byte.
fn has_special(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word;
    let is = |b: u8| below(word ^ (ONES * u64::from(b)), 1);
    (below(word, 0x20) | is(b'"') | is(b'\\')) & (ONES * 0x80) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_wherever_the_escape_stands() {
        let specials = ["\"", "\\", "\n", "\r", "\t", "\u{1}", "\u{1f}", "\u{7f}", "é", "\u{10ffff}", " "];
        for length in 0..100 {
            for special in specials {
                for at in [0, length / 2, length] {
                    let text = format!("{}{special}{}", "a".repeat(at), "b".repeat(length - at));
                    let mut out = Vec::new();
                    string(&mut out, &text);
                    let back: String = serde_json::from_slice(&out).expect("JSON");
                    assert_eq!(back, text);
                    // Nothing that JSON forbids inside a text is left as it was.
                    assert!(out.iter().all(|b| *b >= 0x20), "{text:?}");
                }
            }
        }
    }
}
