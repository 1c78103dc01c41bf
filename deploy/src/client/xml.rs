//! XML answers of the query protocol as a tree; attributes and namespaces are left out.

use quick_xml::Reader;
use quick_xml::events::Event;

const DEPTH_MAX: usize = 64;

/// An element.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Element {
    /// Its name.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Its children in order.
    pub children: Vec<Element>,
}

impl Element {
    /// The first child of that name.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|c| c.name == name)
    }

    /// The text of the first child of that name; empty when there is none.
    #[must_use]
    pub fn text_of(&self, name: &str) -> &str {
        self.child(name).map_or("", |c| c.text.as_str())
    }

    /// The members of a list.
    pub fn members(&self, name: &str) -> impl Iterator<Item = &Element> {
        self.child(name).into_iter().flat_map(|c| &c.children).filter(|c| c.name == "member")
    }
}

/// The root element.
pub(super) fn parse(bytes: &[u8]) -> Result<Element, String> {
    let mut reader = Reader::from_reader(bytes);
    let mut open: Vec<Element> = Vec::new();
    let mut buffer = Vec::new();
    loop {
        match reader.read_event_into(&mut buffer).map_err(|e| e.to_string())? {
            Event::Start(start) => {
                if open.len() >= DEPTH_MAX {
                    return Err("XML nests too deep".into());
                }
                let name = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
                open.push(Element { name, ..Element::default() });
            }
            Event::Empty(start) => {
                let name = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
                if let Some(root) = close(&mut open, Element { name, ..Element::default() }) {
                    return Ok(root);
                }
            }
            Event::End(_) => {
                let mut done = open.pop().ok_or("XML closes what it did not open")?;
                if !done.children.is_empty() {
                    done.text.clear();
                }
                if let Some(root) = close(&mut open, done) {
                    return Ok(root);
                }
            }
            Event::Text(text) => {
                let text = text.decode().map_err(|e| e.to_string())?;
                append(&mut open, &text);
            }
            Event::CData(data) => append(&mut open, &String::from_utf8_lossy(&data)),
            Event::GeneralRef(entity) => {
                let name = entity.decode().map_err(|e| e.to_string())?;
                let number = entity.resolve_char_ref().map_err(|e| e.to_string())?;
                let known = number
                    .map(|c| c.to_string())
                    .or_else(|| quick_xml::escape::resolve_predefined_entity(&name).map(str::to_owned));
                append(&mut open, &known.ok_or(format!("unknown entity &{name};"))?);
            }
            Event::Eof => return Err("XML ends too early".into()),
            Event::Decl(_) | Event::Comment(_) | Event::PI(_) | Event::DocType(_) => {}
        }
        buffer.clear();
    }
}

fn append(open: &mut [Element], text: &str) {
    if let Some(last) = open.last_mut() {
        last.text.push_str(text);
    }
}

/// Hands a finished element to its parent, or back when it has none.
fn close(open: &mut [Element], done: Element) -> Option<Element> {
    match open.last_mut() {
        Some(parent) => {
            parent.children.push(done);
            None
        }
        None => Some(done),
    }
}
