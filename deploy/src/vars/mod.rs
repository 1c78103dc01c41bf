//! `${…}` variables of the Serverless Framework, resolved lazily over the whole file.
//!
//! Sources: `self:`, `env:`, `opt:`, `param:`, `file(path):`, `sls:stage`, `sls:instanceId`, `aws:accountId`, `aws:region`,
//! and `strToBool(…)`; several separated by commas are tried in order, literals in quotes, numbers, booleans and `null`
//! among them. A source that holds nothing (or `null`) gives way to the next; when all are exhausted it is an error.
//! A variable alone in its string keeps its type; within text it must be a scalar. Variables nest.
//!
//! What has no `source:` stays as written: `${AWS::Region}` and `${Table}` belong to CloudFormation's `Fn::Sub`.
//! `file()` reads YAML and JSON as data and other files as text; programs (`.js`, `.ts` …) are refused: a deploy runs no code.
//!
//! Limits: 64 variables deep, 20,000 resolutions, and cycles are refused with the way around them.

mod parse;
mod source;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::error::{Error, at};
use crate::yaml::{Entry, Node, Pos, Value};
use parse::{Piece, Source, pieces};

const DEPTH_MAX: usize = 64;
const STEPS_MAX: usize = 20_000;

/// What variables can see besides the file itself.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Folder that `file()` paths are relative to.
    pub dir: PathBuf,
    /// `${env:NAME}`.
    pub env: BTreeMap<String, String>,
    /// `${opt:NAME}`: `stage` and `region` as given on the command line.
    pub options: BTreeMap<String, String>,
    /// `${param:NAME}` as given on the command line.
    pub params: BTreeMap<String, String>,
    /// `${aws:accountId}`.
    pub account: String,
    /// `${aws:region}` unless `--region` or `provider.region` names one.
    pub region: String,
    /// `${sls:instanceId}`.
    pub instance: String,
}

/// The whole document with every variable replaced.
///
/// # Errors
/// [`Error::Config`] at the place of the variable that has no value, loops, or has an unsupported source.
pub fn resolve(root: &Node, scope: &Scope) -> Result<Node, Error> {
    Resolver::new(root, scope).deep(root)
}

/// One value of the document by its dotted address, resolved; `None` when it is not there.
///
/// # Errors
/// As [`resolve`].
pub fn lookup(root: &Node, scope: &Scope, address: &str) -> Result<Option<Node>, Error> {
    let mut resolver = Resolver::new(root, scope);
    let found = resolver.walk(root, address)?;
    found.map(|n| resolver.deep(&n)).transpose()
}

struct Resolver<'a> {
    root: &'a Node,
    scope: &'a Scope,
    files: HashMap<PathBuf, Option<Node>>,
    /// Addresses on the way from the first variable to this one.
    open: Vec<String>,
    steps: usize,
}

impl<'a> Resolver<'a> {
    fn new(root: &'a Node, scope: &'a Scope) -> Self {
        Self { root, scope, files: HashMap::new(), open: Vec::new(), steps: 0 }
    }

    /// `node` with every variable below it replaced.
    fn deep(&mut self, node: &Node) -> Result<Node, Error> {
        self.steps += 1;
        if self.steps > STEPS_MAX * 10 {
            return Err(at(&node.at, "variables expand to more than 200,000 values"));
        }
        let value = match &node.value {
            Value::Str(s) if s.contains("${") => return self.text(s, &node.at),
            Value::Seq(items) => Value::Seq(items.iter().map(|n| self.deep(n)).collect::<Result<_, _>>()?),
            Value::Map(entries) => Value::Map(entries.iter().map(|e| self.entry(e)).collect::<Result<_, _>>()?),
            other => other.clone(),
        };
        Ok(Node::new(&node.at, value))
    }

    fn entry(&mut self, entry: &Entry) -> Result<Entry, Error> {
        let mut key = entry.key.clone();
        if key.contains("${") {
            let node = self.text(&key, &entry.at)?;
            key = node.scalar().ok_or_else(|| at(&entry.at, format!("the key `{}` must become text", entry.key)))?;
        }
        Ok(Entry { key, at: entry.at.clone(), node: self.deep(&entry.node)? })
    }

    /// A string with variables in it.
    fn text(&mut self, text: &str, pos: &Pos) -> Result<Node, Error> {
        let parts = pieces(text).map_err(|e| at(pos, e))?;
        if let [Piece::Variable(sources, raw)] = parts.as_slice() {
            return self.variable(sources, raw, pos);
        }
        let mut out = String::new();
        for part in &parts {
            match part {
                Piece::Text(t) => out.push_str(t),
                Piece::Variable(sources, raw) => {
                    let node = self.variable(sources, raw, pos)?;
                    let text = node.scalar();
                    out.push_str(
                        &text.ok_or_else(|| {
                            at(pos, format!("`{raw}` is {} and cannot stand within text", node.kind()))
                        })?,
                    );
                }
            }
        }
        Ok(Node::new(pos, Value::Str(out)))
    }

    /// The first source that holds something.
    fn variable(&mut self, sources: &[Source], raw: &str, pos: &Pos) -> Result<Node, Error> {
        self.steps += 10;
        if self.steps > STEPS_MAX * 10 {
            return Err(at(pos, format!("too many variables (at `{raw}`)")));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(at(pos, format!("variables nest deeper than 64 (at `{raw}`)")));
        }
        for source in sources {
            if let Some(node) = self.source(source, pos)?.filter(|n| !n.is_null()) {
                return Ok(node);
            }
        }
        match sources.last() {
            // An explicit null is a value that was asked for.
            Some(Source::Literal(Value::Null)) => Ok(Node::new(pos, Value::Null)),
            _ => Err(at(pos, format!("`{raw}` has no value, and no fallback such as `${{…, 'value'}}` is given"))),
        }
    }

    /// Runs `f` while `address` counts as being resolved.
    fn guarded(
        &mut self,
        address: &str,
        pos: &Pos,
        f: impl FnOnce(&mut Self) -> Result<Option<Node>, Error>,
    ) -> Result<Option<Node>, Error> {
        if self.open.iter().any(|a| a == address) {
            let way = self.open.iter().map(String::as_str).skip_while(|a| *a != address).chain([address]);
            return Err(at(pos, format!("variables go in a circle: {}", way.collect::<Vec<_>>().join(" → "))));
        }
        self.open.push(address.to_owned());
        let found = f(self);
        self.open.pop();
        found
    }

    /// Follows a dotted address from `from`; what stands on the way is resolved as far as needed.
    fn walk(&mut self, from: &Node, address: &str) -> Result<Option<Node>, Error> {
        let mut here = from.clone();
        for step in address.split('.').filter(|s| !s.is_empty()) {
            if here.as_str().is_some_and(|s| s.contains("${")) {
                here = self.deep(&here)?;
            }
            let next = match &here.value {
                Value::Map(entries) => entries.iter().find(|e| e.key == step).map(|e| e.node.clone()),
                Value::Seq(items) => step.parse::<usize>().ok().and_then(|i| items.get(i)).cloned(),
                _ => None,
            };
            match next {
                Some(node) => here = node,
                None => return Ok(None),
            }
        }
        Ok(Some(here))
    }

    fn path(&self, relative: &str) -> PathBuf {
        let relative = relative.strip_prefix("~/").map_or_else(
            || PathBuf::from(relative),
            |rest| {
                self.scope.env.get("HOME").map_or_else(|| PathBuf::from(relative), |home| Path::new(home).join(rest))
            },
        );
        self.scope.dir.join(relative)
    }
}

#[cfg(test)]
mod tests;
