//! Events of the YAML parser to nodes.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use super::{Entry, Node, Pos, Value};
use crate::error::{Error, at};

const TEXT_BYTES_MAX: usize = 1 << 20;
const DEPTH_MAX: usize = 64;
const NODES_MAX: usize = 100_000;

/// Reads one YAML (or JSON) document; `file` is the name that positions carry. An empty file is `Null`.
///
/// # Errors
/// [`Error::Config`] with the line at fault.
pub fn parse(file: &str, text: &str) -> Result<Node, Error> {
    let file: Arc<str> = file.into();
    let top = Pos { file: file.clone(), line: 1 };
    if text.len() > TEXT_BYTES_MAX {
        return Err(at(&top, "the file is larger than 1 MiB"));
    }
    let mut reader = Reader { events: Parser::new_from_str(text), file, anchors: HashMap::new(), nodes: 0 };
    let mut root = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(root.unwrap_or(Node::new(&top, Value::Null))),
            Event::DocumentStart(_) if root.is_some() => {
                return Err(at(&reader.pos(span), "a second document in one file is not supported"));
            }
            Event::DocumentStart(_) => root = Some(reader.node(0)?),
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
            other => return Err(at(&reader.pos(span), format!("unexpected YAML {other:?}"))),
        }
    }
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    file: Arc<str>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn pos(&self, span: Span) -> Pos {
        Pos { file: self.file.clone(), line: span.start.line() }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Error> {
        match self.events.next_event() {
            Some(Ok(found)) => Ok(found),
            Some(Err(e)) => Err(at(&Pos { file: self.file.clone(), line: e.marker().line() }, e.info())),
            None => Err(at(&Pos { file: self.file.clone(), line: 1 }, "the YAML ends too early")),
        }
    }

    fn count(&mut self, n: usize, pos: &Pos) -> Result<(), Error> {
        self.nodes += n;
        if self.nodes > NODES_MAX { Err(at(pos, "more than 100,000 values (aliases counted)")) } else { Ok(()) }
    }

    fn node(&mut self, depth: usize) -> Result<Node, Error> {
        let (event, span) = self.next()?;
        self.node_from(event, span, depth)
    }

    fn node_from(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Error> {
        let pos = self.pos(span);
        if depth > DEPTH_MAX {
            return Err(at(&pos, "nested deeper than 64 levels"));
        }
        self.count(1, &pos)?;
        let (anchor, tag, value) = match event {
            Event::Alias(id) => {
                let node = self.anchors.get(&id).cloned();
                let node = node.ok_or_else(|| at(&pos, "an alias to something that is not complete"))?;
                self.count(size(&node), &pos)?;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let core = tag.as_deref().filter(|t| t.is_yaml_core_schema()).map(|t| t.suffix.clone());
                (anchor, tag, scalar(&text, style, core.as_deref(), &pos)?)
            }
            Event::SequenceStart(anchor, tag) => (anchor, tag, self.sequence(depth)?),
            Event::MappingStart(anchor, tag) => (anchor, tag, self.mapping(depth)?),
            other => return Err(at(&pos, format!("unexpected YAML {other:?}"))),
        };
        let node = tagged(tag.as_deref(), Node { at: pos, value })?;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, Error> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::Seq(items)),
                (event, span) => items.push(self.node_from(event, span, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, Error> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merged: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let pos = self.pos(span);
            let Event::Scalar(key, style, _, _) = event else {
                return Err(at(&pos, "a key must be plain text"));
            };
            let key = if key == "~" && style == ScalarStyle::Plain { "null".to_owned() } else { key.into_owned() };
            let node = self.node(depth + 1)?;
            if key == "<<" && style == ScalarStyle::Plain {
                merge(node, &mut merged)?;
            } else if let Some(first) = entries.iter().find(|e| e.key == key) {
                return Err(at(&pos, format!("key `{key}` is there twice (first in line {})", first.at.line)));
            } else {
                entries.push(Entry { key, at: pos, node });
            }
        }
        for entry in merged {
            if !entries.iter().any(|e| e.key == entry.key) {
                entries.push(entry);
            }
        }
        Ok(Value::Map(entries))
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Seq(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|e| size(&e.node)).sum::<usize>(),
        _ => 1,
    }
}

/// A merge key's value: a mapping, or a list of them of which the first wins.
fn merge(node: Node, into: &mut Vec<Entry>) -> Result<(), Error> {
    match node.value {
        Value::Map(entries) => {
            for entry in entries {
                if !into.iter().any(|e| e.key == entry.key) {
                    into.push(entry);
                }
            }
            Ok(())
        }
        Value::Seq(items) => items.into_iter().try_for_each(|item| merge(item, into)),
        _ => Err(at(&node.at, "`<<` takes a mapping or a list of mappings")),
    }
}

fn scalar(text: &str, style: ScalarStyle, core: Option<&str>, pos: &Pos) -> Result<Value, Error> {
    match core {
        Some("str") => return Ok(Value::Str(text.to_owned())),
        Some("int" | "float" | "bool" | "null") | None => {}
        Some(other) => return Err(at(pos, format!("the YAML tag `!!{other}` is not supported"))),
    }
    if style != ScalarStyle::Plain && core.is_none() {
        return Ok(Value::Str(text.to_owned()));
    }
    Ok(plain(text))
}

/// The core schema's reading of a plain scalar.
pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "-.inf" => return Value::Str(text.to_owned()),
        _ => {}
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let radix = [("0x", 16), ("0o", 8)].iter().find_map(|(p, r)| Some((digits.strip_prefix(p)?, *r)));
    if let Some((rest, radix)) = radix {
        let clean = rest.bytes().all(|b| b.is_ascii_alphanumeric());
        return match i64::from_str_radix(rest, radix) {
            Ok(n) if clean && digits.len() == text.len() => Value::Int(n),
            _ => Value::Str(text.to_owned()),
        };
    }
    let is_whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if let Some(n) = text.parse().ok().filter(|_| is_whole) {
        return Value::Int(n);
    }
    let numeric = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    let is_number = numeric && digits.bytes().any(|b| b.is_ascii_digit());
    let number = text.parse::<f64>().ok().filter(|n| is_number && n.is_finite());
    number.map_or_else(|| Value::Str(text.to_owned()), Value::Float)
}

/// CloudFormation's short tags in their long form.
fn tagged(tag: Option<&Tag>, node: Node) -> Result<Node, Error> {
    let Some(tag) = tag.filter(|t| !t.is_yaml_core_schema()) else { return Ok(node) };
    let pos = node.at.clone();
    let key = match tag.suffix.as_str() {
        "Ref" => "Ref".to_owned(),
        "Condition" => "Condition".to_owned(),
        "GetAtt" | "Sub" | "Join" | "Select" | "Split" | "If" | "Equals" | "Not" | "And" | "Or" | "FindInMap"
        | "ImportValue" | "Base64" | "Cidr" | "GetAZs" => format!("Fn::{}", tag.suffix),
        other => return Err(at(&pos, format!("the YAML tag `!{other}` is not supported"))),
    };
    let node = match node.as_str().and_then(|s| s.split_once('.')) {
        Some((name, attribute)) if key == "Fn::GetAtt" => {
            let part = |s: &str| Node::new(&pos, Value::Str(s.to_owned()));
            Node::new(&pos, Value::Seq(vec![part(name), part(attribute)]))
        }
        _ => node,
    };
    Ok(Node::new(&pos, Value::Map(vec![Entry { key, at: pos.clone(), node }])))
}
