//! Reads a mapping key by key and refuses what nobody asked for.
//!
//! Every reader of a mapping takes the keys that it knows and then calls [`Table::finish`]; a key that is left is an error
//! that names file, line and key. Keys that the framework has and Squall does not serve are listed with the reason.

use crate::error::{Error, at};
use crate::yaml::{Entry, Node, Pos, Value};

/// A mapping being read; `path` is its dotted name, such as `functions.hello`, empty for the whole file.
pub(crate) struct Table<'a> {
    path: String,
    pos: Pos,
    entries: &'a [Entry],
    asked: Vec<&'static str>,
}

impl<'a> Table<'a> {
    /// Begins to read `node`; nothing at all counts as an empty mapping.
    pub(crate) fn new(node: &'a Node, path: impl Into<String>) -> Result<Self, Error> {
        let path = path.into();
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null => &[],
            _ => return Err(at(&node.at, format!("`{path}` must be a mapping, not {}", node.kind()))),
        };
        Ok(Self { path, pos: node.at.clone(), entries, asked: Vec::new() })
    }

    /// Where the mapping begins.
    pub(crate) fn pos(&self) -> &Pos {
        &self.pos
    }

    /// The dotted name of `key`.
    pub(crate) fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The key with its value, unless it is absent or null.
    pub(crate) fn entry(&mut self, key: &'static str) -> Option<&'a Entry> {
        self.asked.push(key);
        self.entries.iter().find(|e| e.key == key && !e.node.is_null())
    }

    /// The value, unless it is absent or null.
    pub(crate) fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        self.entry(key).map(|e| &e.node)
    }

    /// The value, which must be there.
    pub(crate) fn need(&mut self, key: &'static str) -> Result<&'a Node, Error> {
        self.get(key).ok_or_else(|| at(&self.pos, format!("`{}` is missing", self.name(key))))
    }

    /// Text; numbers and booleans are not taken for text.
    pub(crate) fn text(&mut self, key: &'static str) -> Result<Option<String>, Error> {
        self.get(key).map(|n| text(n, &self.name(key))).transpose()
    }

    /// A whole number within bounds.
    pub(crate) fn int(&mut self, key: &'static str, min: i64, max: i64) -> Result<Option<i64>, Error> {
        let Some(node) = self.get(key) else { return Ok(None) };
        // CloudFormation takes numbers in quotes as well.
        let n = match &node.value {
            Value::Int(n) => Some(*n),
            Value::Str(s) => s.trim().parse().ok(),
            _ => None,
        };
        match n {
            Some(n) if (min..=max).contains(&n) => Ok(Some(n)),
            Some(n) => Err(at(&node.at, format!("`{}` must be {min} to {max}, not {n}", self.name(key)))),
            None => Err(at(&node.at, format!("`{}` must be a whole number, not {}", self.name(key), node.kind()))),
        }
    }

    /// A boolean; `"true"` and `"false"` in quotes count, as CloudFormation has it.
    pub(crate) fn flag(&mut self, key: &'static str) -> Result<Option<bool>, Error> {
        let Some(node) = self.get(key) else { return Ok(None) };
        match &node.value {
            Value::Bool(b) => Ok(Some(*b)),
            Value::Str(s) if s == "true" => Ok(Some(true)),
            Value::Str(s) if s == "false" => Ok(Some(false)),
            _ => Err(at(&node.at, format!("`{}` must be true or false, not {}", self.name(key), node.kind()))),
        }
    }

    /// A list; a single value is not taken for one.
    pub(crate) fn list(&mut self, key: &'static str) -> Result<&'a [Node], Error> {
        self.get(key).map_or(Ok(&[]), |n| list(n, &self.name(key)))
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, key: &'static str) -> Result<Vec<String>, Error> {
        let name = self.name(key);
        self.list(key)?.iter().map(|n| text(n, &name)).collect()
    }

    /// A text, or a list of texts.
    pub(crate) fn texts_or_text(&mut self, key: &'static str) -> Result<Vec<String>, Error> {
        match self.get(key) {
            Some(node) if node.as_str().is_some() => Ok(node.as_str().map(str::to_owned).into_iter().collect()),
            _ => self.texts(key),
        }
    }

    /// A mapping of scalars, such as tags.
    pub(crate) fn scalars(&mut self, key: &'static str) -> Result<Vec<(String, String)>, Error> {
        let name = self.name(key);
        let Some(node) = self.get(key) else { return Ok(Vec::new()) };
        let Value::Map(entries) = &node.value else {
            return Err(at(&node.at, format!("`{name}` must be a mapping, not {}", node.kind())));
        };
        let one = |e: &Entry| match e.node.scalar() {
            Some(text) => Ok((e.key.clone(), text)),
            None => Err(at(&e.node.at, format!("`{name}.{}` must be text, not {}", e.key, e.node.kind()))),
        };
        entries.iter().map(one).collect()
    }

    /// A text that must be one of `allowed`.
    pub(crate) fn choice(&mut self, key: &'static str, allowed: &[&str]) -> Result<Option<String>, Error> {
        let Some(found) = self.text(key)? else { return Ok(None) };
        if allowed.contains(&found.as_str()) {
            return Ok(Some(found));
        }
        let place = self.get(key).map_or(&self.pos, |n| &n.at);
        Err(at(place, format!("`{}: {found}` is not supported; supported: {}", self.name(key), allowed.join(", "))))
    }

    /// Every other key is an error. `refused` are keys that the framework knows, with what to say about each.
    pub(crate) fn finish(self, refused: &[(&str, &str)]) -> Result<(), Error> {
        let Some(entry) = self.entries.iter().find(|e| !self.asked.contains(&e.key.as_str())) else { return Ok(()) };
        let name = self.name(&entry.key);
        if let Some((_, why)) = refused.iter().find(|(key, _)| *key == entry.key) {
            return Err(at(&entry.at, format!("`{name}` is not supported: {why}")));
        }
        let hint = nearest(&entry.key, &self.asked).map_or(String::new(), |n| format!("; did you mean `{n}`?"));
        Err(at(&entry.at, format!("unknown key `{name}`{hint}")))
    }
}

/// `node` as text.
pub(crate) fn text(node: &Node, name: &str) -> Result<String, Error> {
    let text = node.as_str().map(str::to_owned);
    text.ok_or_else(|| at(&node.at, format!("`{name}` must be text, not {}", node.kind())))
}

/// `node` as a list.
pub(crate) fn list<'a>(node: &'a Node, name: &str) -> Result<&'a [Node], Error> {
    match &node.value {
        Value::Seq(items) => Ok(items),
        _ => Err(at(&node.at, format!("`{name}` must be a list, not {}", node.kind()))),
    }
}

/// The candidate with the fewest edits, when it is near enough to be a slip of the finger.
pub(crate) fn nearest<'a>(word: &str, among: &[&'a str]) -> Option<&'a str> {
    let fold = |s: &str| s.to_lowercase().replace(['-', '_'], "");
    let wanted = fold(word);
    let scored = among.iter().map(|c| (distance(&wanted, &fold(c)), *c));
    let close = scored.min_by_key(|(d, _)| *d).filter(|(d, c)| *d <= 1 + c.len() / 4).map(|(_, c)| c);
    close.or_else(|| among.iter().copied().find(|c| wanted.len() >= 4 && fold(c).starts_with(&wanted)))
}

/// Edits between two words; a swap of neighbours counts as one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let same = usize::from(a[i - 1] != b[j - 1]);
                let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + same);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_key() {
        let keys = ["handler", "memorySize", "timeout", "environment"];
        let cases = [
            ("memroySize", Some("memorySize")),
            ("memory_size", Some("memorySize")),
            ("enviroment", Some("environment")),
            ("Handler", Some("handler")),
            ("memory", Some("memorySize")),
            ("vpc", None),
            ("colour", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, &keys), expected, "{word}");
        }
    }
}
