//! Picks parts of an item.

use super::ast::{Path, Step};
use crate::item::{Item, Value};
use std::collections::BTreeMap;

/// What to keep of an item.
#[derive(Clone, Debug, Default)]
pub struct Projection {
    roots: BTreeMap<String, Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// Everything from here on.
    whole: bool,
    attributes: BTreeMap<String, Node>,
    elements: BTreeMap<usize, Node>,
}

impl Projection {
    /// Keeps what these paths lead to.
    pub fn new<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Projection {
        let mut projection = Projection::default();
        for path in paths {
            let mut node = projection.roots.entry(path.root.clone()).or_default();
            for step in &path.steps {
                node = match step {
                    Step::Attribute(name) => node.attributes.entry(name.clone()).or_default(),
                    Step::Index(index) => node.elements.entry(*index).or_default(),
                };
            }
            node.whole = true;
        }
        projection
    }

    /// Keeps these attributes.
    pub fn of_names<'n>(names: impl IntoIterator<Item = &'n str>) -> Projection {
        let whole = || Node { whole: true, ..Node::default() };
        Projection { roots: names.into_iter().map(|n| (n.to_owned(), whole())).collect() }
    }

    /// Names of the attributes that something is kept of.
    pub fn roots(&self) -> impl Iterator<Item = &str> {
        self.roots.keys().map(String::as_str)
    }

    /// The kept parts; lists close up around what is left out.
    pub fn apply(&self, item: &Item) -> Item {
        let mut out = Item::new();
        for (name, node) in &self.roots {
            if let Some(kept) = item.get(name).and_then(|v| node.keep(v)) {
                out.insert(name.clone(), kept);
            }
        }
        out
    }
}

impl Node {
    /// What is kept of a value; `None` when nothing is.
    fn keep(&self, value: &Value) -> Option<Value> {
        if self.whole {
            return Some(value.clone());
        }
        match value {
            Value::M(map) => {
                let mut out = Item::new();
                for (name, node) in &self.attributes {
                    if let Some(kept) = map.get(name).and_then(|v| node.keep(v)) {
                        out.insert(name.clone(), kept);
                    }
                }
                (!out.is_empty()).then_some(Value::M(out))
            }
            Value::L(list) => {
                let keep = |(index, node): (&usize, &Node)| node.keep(list.get(*index)?);
                let out: Vec<Value> = self.elements.iter().filter_map(keep).collect();
                (!out.is_empty()).then_some(Value::L(out))
            }
            _ => None,
        }
    }
}
