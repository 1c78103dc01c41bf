//! The query protocol's requests: form parameters whose dotted names spell out the structure.
//!
//! `Tags.member.1.Key=a` is member `Key` of the first element of the list `Tags`. Parameters are first gathered into a tree
//! by their names' parts, then read by the shape; parameters that the shape does not have are passed over.

use super::scalar;
use crate::http::Head;
use crate::schema::{Kind, Shape};
use crate::{ServiceError, Value};
use bytes::Bytes;
use percent_encoding::percent_decode;
use std::collections::BTreeMap;

/// Most parameters of one request; AWS's own quotas stay far below.
const PARAMETER_COUNT_MAX: usize = 10_000;
/// Most parts of a parameter's name, which bounds every recursion below.
const DEPTH_MAX: usize = 32;

/// Reads the parameters of body and query string.
///
/// # Errors
/// `MalformedQueryString` past the bounds, `MalformedInput` when a value is not of its type; both 400.
pub(crate) fn read(shape: &'static Shape, head: &Head, body: &Bytes) -> Result<Value, ServiceError> {
    let mut root = Node::default();
    // The body comes last: its parameters replace equal ones of the query string.
    for (count, (name, value)) in pairs(head.query.as_bytes()).chain(pairs(body)).enumerate() {
        let fits = count < PARAMETER_COUNT_MAX && root.insert(&name, value);
        if !fits {
            let text = "The query string contains a syntax error or too many parameters";
            return Err(ServiceError::client("MalformedQueryString", 400, text));
        }
    }
    match structure(shape, &root) {
        Ok(value) => Ok(value),
        Err(bad) => {
            Err(ServiceError::client("MalformedInput", 400, format!("{} must be of type {}", bad.path, bad.kind)))
        }
    }
}

/// Pairs of a form or query string, decoded: `+` is a space, bytes that are not UTF-8 become U+FFFD.
pub(crate) fn pairs(form: &[u8]) -> impl Iterator<Item = (String, String)> {
    form.split(|b| *b == b'&').filter(|p| !p.is_empty()).map(|pair| {
        let at = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at(at);
        (decode(name), decode(value.strip_prefix(b"=").unwrap_or(value)))
    })
}

fn decode(raw: &[u8]) -> String {
    if !raw.contains(&b'+') {
        return percent_decode(raw).decode_utf8_lossy().into_owned();
    }
    let spaced: Vec<u8> = raw.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    percent_decode(&spaced).decode_utf8_lossy().into_owned()
}

/// A part of a dotted name: what it was set to and what follows it.
#[derive(Debug, Default)]
struct Node {
    text: Option<String>,
    parts: BTreeMap<String, Node>,
}

/// A parameter of the wrong type.
struct Bad {
    path: String,
    kind: &'static str,
}

impl Bad {
    fn under(mut self, part: &str) -> Self {
        self.path = if self.path.is_empty() { part.to_owned() } else { format!("{part}.{}", self.path) };
        self
    }
}

impl Node {
    /// Whether the name is short enough to be kept.
    fn insert(&mut self, name: &str, value: String) -> bool {
        if name.split('.').count() > DEPTH_MAX {
            return false;
        }
        let mut node = self;
        for part in name.split('.') {
            node = node.parts.entry(part.to_owned()).or_default();
        }
        node.text = Some(value);
        true
    }

    /// Numbered parts in the order of their numbers, which may have gaps.
    fn numbered(&self) -> Vec<(&str, &Node)> {
        let mut out: Vec<(u32, &str, &Node)> =
            self.parts.iter().filter_map(|(k, n)| Some((k.parse().ok()?, k.as_str(), n))).collect();
        out.sort_by_key(|(number, ..)| *number);
        out.into_iter().map(|(_, part, node)| (part, node)).collect()
    }
}

fn structure(shape: &'static Shape, node: &Node) -> Result<Value, Bad> {
    let mut out = Vec::new();
    for (index, member) in (0_u16..).zip(shape.members()) {
        let Some(part) = node.parts.get(member.wire) else { continue };
        if let Some(value) = value(member.shape, part).map_err(|bad| bad.under(member.wire))? {
            out.push((index, value));
        }
    }
    Ok(Value::Struct(out))
}

fn value(shape: &'static Shape, node: &Node) -> Result<Option<Value>, Bad> {
    match &shape.kind {
        Kind::Structure { .. } => structure(shape, node).map(Some),
        Kind::List { member, member_name, flattened, .. } => list(member, node, (!flattened).then_some(*member_name)),
        Kind::Map { value, key_name, value_name, flattened, .. } => {
            map(value, node, *flattened, (key_name, value_name))
        }
        _ => {
            let Some(text) = &node.text else { return Ok(None) };
            let read = scalar::from_text(shape, text);
            read.map(Some).map_err(|not| Bad { path: String::new(), kind: not.0 })
        }
    }
}

/// Elements under `wrapper`, or directly under the node. Some clients write `member` whatever the model says.
fn list(member: &'static Shape, node: &Node, wrapper: Option<&str>) -> Result<Option<Value>, Bad> {
    let under = match wrapper {
        Some(name) => node.parts.get(name).or_else(|| node.parts.get("member")),
        None => Some(node),
    };
    let mut out = Vec::new();
    for (part, element) in under.map(Node::numbered).unwrap_or_default() {
        if let Some(value) = value(member, element).map_err(|bad| bad.under(part))? {
            out.push(value);
        }
    }
    // `Tags=` says that the list is there and empty.
    let present = !out.is_empty() || node.text.is_some();
    Ok(present.then_some(Value::List(out)))
}

fn map(shape: &'static Shape, node: &Node, flattened: bool, names: (&str, &str)) -> Result<Option<Value>, Bad> {
    let under = if flattened { Some(node) } else { node.parts.get("entry") };
    let mut out: Vec<(String, Value)> = Vec::new();
    let mut at: BTreeMap<&str, usize> = BTreeMap::new();
    for (part, entry) in under.map(Node::numbered).unwrap_or_default() {
        let key = entry.parts.get(names.0).and_then(|k| k.text.as_deref());
        let (Some(key), Some(value_node)) = (key, entry.parts.get(names.1)) else { continue };
        let Some(value) = value(shape, value_node).map_err(|bad| bad.under(names.1).under(part))? else { continue };
        match at.get(key).and_then(|i| out.get_mut(*i)) {
            Some(before) => before.1 = value,
            None => {
                at.insert(key, out.len());
                out.push((key.to_owned(), value));
            }
        }
    }
    let present = !out.is_empty() || node.text.is_some();
    Ok(present.then_some(Value::Map(out)))
}
