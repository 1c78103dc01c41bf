//! Values into XML, by the shape.

use super::member_name;
use crate::Value;
use crate::codec::scalar;
use crate::schema::{Kind, Location, Member, Shape, TimestampFormat};

const XSI: &str = " xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"";

/// An element with the default namespace, unless that is empty.
pub(super) fn root(out: &mut String, name: &str, namespace: &str, content: impl FnOnce(&mut String)) {
    out.push('<');
    out.push_str(name);
    if !namespace.is_empty() {
        attribute(out, "xmlns", namespace);
    }
    out.push('>');
    content(out);
    close(out, name);
}

/// An element around `content`.
pub(super) fn wrapped(out: &mut String, name: &str, content: impl FnOnce(&mut String)) {
    root(out, name, "", content);
}

/// An element with text.
pub(super) fn text_element(out: &mut String, name: &str, text: &str) {
    wrapped(out, name, |out| escape(out, text));
}

/// The members of a structure that travel in the body, each as an element.
pub(super) fn body_members(out: &mut String, shape: &Shape, fields: &[(u16, Value)]) {
    for (member, value) in known(shape, fields).filter(|(m, _)| m.location == Location::Body && !m.xml_attribute) {
        member_element(out, member, value);
    }
}

/// Present members with their values, in the values' order.
fn known<'v>(shape: &Shape, fields: &'v [(u16, Value)]) -> impl Iterator<Item = (&'static Member, &'v Value)> {
    let members = shape.members();
    let found = fields.iter().filter_map(|(i, v)| Some((members.get(usize::from(*i))?, v)));
    found.filter(|(_, v)| **v != Value::Null)
}

fn member_element(out: &mut String, member: &Member, value: &Value) {
    let name = member_name(member);
    match (value, &member.shape.kind) {
        (Value::List(list), Kind::List { member, flattened: true, .. }) => {
            list.iter().for_each(|v| element(out, name, member, v));
        }
        (Value::Map(map), Kind::Map { flattened: true, .. }) => {
            map.iter().for_each(|e| wrapped(out, name, |out| entry(out, member.shape, e)));
        }
        _ => element(out, name, member.shape, value),
    }
}

/// A value in an element of its own; null writes nothing.
pub(super) fn element(out: &mut String, name: &str, shape: &Shape, value: &Value) {
    match (value, &shape.kind) {
        (Value::Null, _) => {}
        (Value::Struct(fields), Kind::Structure { .. }) => {
            out.push('<');
            out.push_str(name);
            attributes(out, shape, fields);
            out.push('>');
            for (member, value) in known(shape, fields).filter(|(m, _)| !m.xml_attribute) {
                member_element(out, member, value);
            }
            close(out, name);
        }
        (Value::List(list), Kind::List { member, member_name, .. }) => {
            wrapped(out, name, |out| list.iter().for_each(|v| element(out, member_name, member, v)));
        }
        (Value::Map(map), Kind::Map { .. }) => wrapped(out, name, |out| {
            map.iter().for_each(|e| wrapped(out, "entry", |out| entry(out, shape, e)));
        }),
        _ => {
            let text = scalar::to_text(shape, value, TimestampFormat::Iso8601).unwrap_or_default();
            text_element(out, name, &text);
        }
    }
}

fn entry(out: &mut String, shape: &Shape, (key, value): &(String, Value)) {
    if let Kind::Map { value: value_shape, key_name, value_name, .. } = &shape.kind {
        text_element(out, key_name, key);
        element(out, value_name, value_shape, value);
    }
}

fn attributes(out: &mut String, shape: &Shape, fields: &[(u16, Value)]) {
    let mut declared = false;
    for (member, value) in known(shape, fields).filter(|(m, _)| m.xml_attribute) {
        // The one prefix that the models use: the type of S3's grantee.
        if member.wire.starts_with("xsi:") && !std::mem::replace(&mut declared, true) {
            out.push_str(XSI);
        }
        if let Some(text) = scalar::to_text(member.shape, value, TimestampFormat::Iso8601) {
            attribute(out, member.wire, &text);
        }
    }
}

fn attribute(out: &mut String, name: &str, text: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    escape(out, text);
    out.push('"');
}

fn close(out: &mut String, name: &str) {
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

/// Text that reads back the same, in elements and attributes. Characters that XML cannot hold become U+FFFD.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Readers turn a bare carriage return into a line feed.
            '\r' => out.push_str("&#xD;"),
            '\n' | '\t' => out.push(c),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => out.push(char::REPLACEMENT_CHARACTER),
            _ => out.push(c),
        }
    }
}
