//! XML into values: the document becomes a tree of elements, which is then read by the shape.
//!
//! Document types and entities other than XML's own five are refused, so nothing is ever expanded or fetched.

use super::member_name;
use crate::Value;
use crate::codec::scalar;
use crate::schema::{Kind, Location, Member, Shape};
use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// Deepest nesting of elements.
const DEPTH_MAX: usize = 64;
/// Most elements of a document: `CompleteMultipartUpload` has 10,000 parts of up to ten elements.
const ELEMENT_COUNT_MAX: usize = 200_000;
/// Most attributes of an element.
const ATTRIBUTE_COUNT_MAX: usize = 32;

/// Reads a document; `None` when it is not well formed, past the bounds or of the wrong types.
pub(super) fn document(shape: &'static Shape, body: &[u8]) -> Option<Value> {
    let root = parse(std::str::from_utf8(body).ok()?)?;
    value(shape, &root)
}

/// An element: local names, text with its entities resolved.
#[derive(Debug, Default)]
struct Node {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<Node>,
}

fn parse(text: &str) -> Option<Node> {
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    reader.config_mut().expand_empty_elements = true;
    // The bottom of the stack holds the document itself.
    let mut stack = vec![Node::default()];
    let mut count = 0;
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                count += 1;
                if stack.len() > DEPTH_MAX || count > ELEMENT_COUNT_MAX {
                    return None;
                }
                stack.push(open(&start)?);
            }
            Event::End(_) => {
                let done = stack.pop()?;
                stack.last_mut()?.children.push(done);
            }
            Event::Text(t) => stack.last_mut()?.text.push_str(&t.decode().ok()?),
            Event::CData(t) => stack.last_mut()?.text.push_str(&t.decode().ok()?),
            Event::GeneralRef(reference) => stack.last_mut()?.text.push(character(&reference)?),
            Event::Decl(_) | Event::Comment(_) => {}
            Event::Eof => break,
            Event::DocType(_) | Event::PI(_) | Event::Empty(_) => return None,
        }
    }
    let mut bottom = stack.pop().filter(|_| stack.is_empty())?;
    let root = bottom.children.pop()?;
    (bottom.children.is_empty() && bottom.text.trim().is_empty()).then_some(root)
}

fn open(start: &BytesStart<'_>) -> Option<Node> {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.ok()?;
        if attributes.len() == ATTRIBUTE_COUNT_MAX {
            return None;
        }
        let name = std::str::from_utf8(attribute.key.into_inner()).ok()?.to_owned();
        attributes.push((name, attribute.unescape_value().ok()?.into_owned()));
    }
    let name = std::str::from_utf8(start.local_name().into_inner()).ok()?.to_owned();
    Some(Node { name, attributes, ..Node::default() })
}

fn character(reference: &BytesRef<'_>) -> Option<char> {
    if let Some(c) = reference.resolve_char_ref().ok()? {
        return Some(c);
    }
    Some(match reference.decode().ok()?.as_ref() {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => return None,
    })
}

fn value(shape: &'static Shape, node: &Node) -> Option<Value> {
    match &shape.kind {
        Kind::Structure { .. } => structure(shape, node),
        Kind::List { member, member_name, .. } => {
            let named = node.children.iter().filter(|c| c.name == *member_name);
            named.map(|c| value(member, c)).collect::<Option<Vec<_>>>().map(Value::List)
        }
        Kind::Map { .. } => entries(shape, node.children.iter().filter(|c| c.name == "entry")),
        _ => scalar::from_text(shape, &node.text).ok(),
    }
}

fn structure(shape: &'static Shape, node: &Node) -> Option<Value> {
    let mut out = Vec::new();
    for (index, member) in (0_u16..).zip(shape.members()).filter(|(_, m)| m.location == Location::Body) {
        if member.xml_attribute {
            if let Some((_, text)) = node.attributes.iter().find(|(name, _)| name == member.wire) {
                out.push((index, scalar::from_text(member.shape, text).ok()?));
            }
        } else if let Some(value) = member_value(member, node) {
            out.push((index, value?));
        }
    }
    Some(Value::Struct(out))
}

/// `None` when the member is absent, `Some(None)` when it is of the wrong type.
fn member_value(member: &Member, node: &Node) -> Option<Option<Value>> {
    let name = member_name(member);
    let mut named = node.children.iter().filter(move |c| c.name == name).peekable();
    named.peek()?;
    Some(match &member.shape.kind {
        Kind::List { member: element, flattened: true, .. } => {
            named.map(|c| value(element, c)).collect::<Option<Vec<_>>>().map(Value::List)
        }
        Kind::Map { flattened: true, .. } => entries(member.shape, named),
        _ => named.next().and_then(|c| value(member.shape, c)),
    })
}

fn entries<'n>(shape: &'static Shape, nodes: impl Iterator<Item = &'n Node>) -> Option<Value> {
    let Kind::Map { value: value_shape, key_name, value_name, .. } = &shape.kind else { return None };
    let mut out = std::collections::BTreeMap::new();
    for node in nodes {
        let child = |name: &str| node.children.iter().find(|c| c.name == name);
        out.insert(child(key_name)?.text.clone(), value(value_shape, child(value_name)?)?);
    }
    Some(Value::Map(out.into_iter().collect()))
}
