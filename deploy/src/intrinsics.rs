//! CloudFormation's intrinsic functions, replaced by plain values before anything else reads the file.
//!
//! Served: `Ref`, `Fn::GetAtt`, `Fn::Sub`, `Fn::Join`, `Fn::Select`, `Fn::Split` and the pseudo parameters. Names of tables,
//! functions, log groups and the role are known beforehand; ids that the cloud gives (of APIs) become a token that
//! [`fill`] replaces while deploying. Other functions are refused by name.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::error::{Error, at};
use crate::yaml::{Entry, Node, Pos, Value};

/// What a logical id stands for.
#[derive(Clone, Debug, Default)]
pub struct Named {
    /// The value of `Ref`.
    pub reference: String,
    /// The values of `Fn::GetAtt`.
    pub attributes: BTreeMap<&'static str, String>,
}

/// Everything that intrinsic functions can name.
#[derive(Debug, Default)]
pub struct Names {
    /// Pseudo parameters with their values, such as `AWS::Region`.
    pub pseudo: BTreeMap<&'static str, String>,
    /// Known logical ids.
    pub logical: BTreeMap<String, Named>,
    /// Tables whose name is still to be resolved: logical id to the `TableName` node.
    pub tables: BTreeMap<String, Node>,
    /// Those of them that have a stream.
    pub streams: BTreeSet<String>,
    open: RefCell<Vec<String>>,
}

/// The token for the id of an API that does not exist yet.
#[must_use]
pub fn late(logical: &str) -> String {
    format!("\u{1}{logical}\u{1}")
}

/// As [`fill`], for every text in a document.
#[must_use]
pub fn fill_json(json: &Json, known: &BTreeMap<String, String>) -> Json {
    match json {
        Json::String(text) => Json::String(fill(text, known)),
        Json::Array(items) => Json::Array(items.iter().map(|i| fill_json(i, known)).collect()),
        Json::Object(map) => Json::Object(map.iter().map(|(k, v)| (k.clone(), fill_json(v, known))).collect()),
        other => other.clone(),
    }
}

/// Replaces tokens of [`late`] by what is known now.
#[must_use]
pub fn fill(text: &str, known: &BTreeMap<String, String>) -> String {
    known.iter().fold(text.to_owned(), |text, (logical, value)| text.replace(&late(logical), value))
}

impl Named {
    /// A logical id with its values.
    #[must_use]
    pub fn new(reference: &str, attributes: &[(&'static str, String)]) -> Self {
        Self { reference: reference.to_owned(), attributes: attributes.iter().cloned().collect() }
    }
}

impl Names {
    /// The pseudo parameters, and nothing else yet.
    #[must_use]
    pub fn with_pseudo(stack: &str, region: &str, account: &str) -> Self {
        let pseudo = [
            ("AWS::Region", region),
            ("AWS::AccountId", account),
            ("AWS::Partition", "aws"),
            ("AWS::URLSuffix", "amazonaws.com"),
            ("AWS::StackName", stack),
        ];
        Self { pseudo: pseudo.into_iter().map(|(k, v)| (k, v.to_owned())).collect(), ..Self::default() }
    }

    /// `node` with every intrinsic function below it replaced.
    ///
    /// # Errors
    /// [`Error::Config`] for unknown names and unsupported functions.
    pub fn resolve(&self, node: &Node) -> Result<Node, Error> {
        let value = match &node.value {
            Value::Seq(items) => {
                let kept = items.iter().filter(|n| !is_no_value(n));
                Value::Seq(kept.map(|n| self.resolve(n)).collect::<Result<_, _>>()?)
            }
            Value::Map(entries) => match entries.as_slice() {
                [only] if only.key == "Ref" || only.key.starts_with("Fn::") => return self.function(only, &node.at),
                _ => Value::Map(self.entries(entries)?),
            },
            other => other.clone(),
        };
        Ok(Node::new(&node.at, value))
    }

    fn entries(&self, entries: &[Entry]) -> Result<Vec<Entry>, Error> {
        let kept = entries.iter().filter(|e| !is_no_value(&e.node));
        kept.map(|e| Ok(Entry { key: e.key.clone(), at: e.at.clone(), node: self.resolve(&e.node)? })).collect()
    }

    fn function(&self, call: &Entry, pos: &Pos) -> Result<Node, Error> {
        let arguments = &call.node;
        match call.key.as_str() {
            "Ref" => {
                let name = arguments.as_str().ok_or_else(|| at(pos, "`Ref` takes the name of a resource"))?;
                Ok(Node::new(pos, Value::Str(self.reference(name, pos)?)))
            }
            "Fn::GetAtt" => {
                let parts: Vec<String> = match &arguments.value {
                    Value::Str(s) => s.splitn(2, '.').map(str::to_owned).collect(),
                    Value::Seq(items) => items.iter().filter_map(|n| n.as_str().map(str::to_owned)).collect(),
                    _ => Vec::new(),
                };
                let [name, attribute] = parts.as_slice() else {
                    return Err(at(pos, "`Fn::GetAtt` takes [resource, attribute]"));
                };
                Ok(Node::new(pos, Value::Str(self.attribute(name, attribute, pos)?)))
            }
            "Fn::Sub" => self.sub(arguments, pos),
            "Fn::Join" => self.join(arguments, pos),
            "Fn::Select" => self.select(arguments, pos),
            "Fn::Split" => self.split(arguments, pos),
            other => Err(at(&call.at, format!("`{other}` is not supported"))),
        }
    }

    fn reference(&self, name: &str, pos: &Pos) -> Result<String, Error> {
        if let Some(value) = self.pseudo.get(name) {
            return Ok(value.clone());
        }
        if self.tables.contains_key(name) {
            return self.table_name(name, pos);
        }
        let known = self.logical.get(name).map(|n| n.reference.clone());
        known.ok_or_else(|| at(pos, format!("`{name}` is no resource of this stack")))
    }

    fn attribute(&self, name: &str, attribute: &str, pos: &Pos) -> Result<String, Error> {
        if self.tables.contains_key(name) {
            let table = self.table_name(name, pos)?;
            let pseudo = |key| self.pseudo.get(key).map_or("", String::as_str);
            return match attribute {
                "Arn" => {
                    Ok(format!("arn:aws:dynamodb:{}:{}:table/{table}", pseudo("AWS::Region"), pseudo("AWS::AccountId")))
                }
                "StreamArn" if self.streams.contains(name) => Ok(late(&format!("{name}.StreamArn"))),
                "StreamArn" => Err(at(pos, format!("`{name}.StreamArn`: the table has no StreamSpecification"))),
                other => {
                    Err(at(pos, format!("the attribute `{name}.{other}` is not supported; a table has Arn, StreamArn")))
                }
            };
        }
        let Some(named) = self.logical.get(name) else {
            return Err(at(pos, format!("`{name}` is no resource of this stack")));
        };
        let known = named.attributes.get(attribute).cloned();
        known.ok_or_else(|| at(pos, format!("the attribute `{name}.{attribute}` is not supported")))
    }

    /// The name of a table of this stack, whose own `TableName` may hold functions.
    pub fn table_name(&self, logical: &str, pos: &Pos) -> Result<String, Error> {
        let Some(node) = self.tables.get(logical) else {
            return Err(at(pos, format!("`{logical}` is no table of this stack")));
        };
        if self.open.borrow().iter().any(|l| l == logical) {
            return Err(at(&node.at, format!("the name of `{logical}` refers to itself")));
        }
        self.open.borrow_mut().push(logical.to_owned());
        let resolved = self.resolve(node);
        self.open.borrow_mut().pop();
        let resolved = resolved?;
        resolved.as_str().map(str::to_owned).ok_or_else(|| at(&node.at, "`TableName` must be text"))
    }

    fn sub(&self, arguments: &Node, pos: &Pos) -> Result<Node, Error> {
        let (text, own) = match &arguments.value {
            Value::Str(s) => (s.as_str(), Node::new(pos, Value::Map(Vec::new()))),
            Value::Seq(items) => match items.as_slice() {
                [Node { value: Value::Str(s), .. }, map] => (s.as_str(), self.resolve(map)?),
                _ => return Err(at(pos, "`Fn::Sub` takes text, or [text, mapping]")),
            },
            _ => return Err(at(pos, "`Fn::Sub` takes text, or [text, mapping]")),
        };
        let mut out = String::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            out.push_str(&rest[..start]);
            let inner = &rest[start + 2..];
            let end = inner.find('}').ok_or_else(|| at(pos, "`Fn::Sub`: `${` without a closing brace"))?;
            let name = inner[..end].trim();
            if let Some(literal) = name.strip_prefix('!') {
                out.push_str(&format!("${{{literal}}}"));
            } else if let Some(value) = own.get(name).and_then(Node::scalar) {
                out.push_str(&value);
            } else if let Some((resource, attribute)) = name.split_once('.') {
                out.push_str(&self.attribute(resource, attribute, pos)?);
            } else {
                out.push_str(&self.reference(name, pos)?);
            }
            rest = &inner[end + 1..];
        }
        out.push_str(rest);
        Ok(Node::new(pos, Value::Str(out)))
    }

    fn join(&self, arguments: &Node, pos: &Pos) -> Result<Node, Error> {
        let wrong = || at(pos, "`Fn::Join` takes [delimiter, list]");
        let Value::Seq(parts) = &arguments.value else { return Err(wrong()) };
        let [Node { value: Value::Str(by), .. }, list] = parts.as_slice() else { return Err(wrong()) };
        let Value::Seq(items) = self.resolve(list)?.value else { return Err(wrong()) };
        let texts = items.iter().map(|n| n.scalar().ok_or_else(wrong)).collect::<Result<Vec<_>, _>>()?;
        Ok(Node::new(pos, Value::Str(texts.join(by))))
    }

    fn select(&self, arguments: &Node, pos: &Pos) -> Result<Node, Error> {
        let wrong = || at(pos, "`Fn::Select` takes [index, list] with the index in the list");
        let Value::Seq(parts) = &arguments.value else { return Err(wrong()) };
        let [index, list] = parts.as_slice() else { return Err(wrong()) };
        let index: usize = index.scalar().and_then(|s| s.parse().ok()).ok_or_else(wrong)?;
        let Value::Seq(items) = self.resolve(list)?.value else { return Err(wrong()) };
        items.into_iter().nth(index).ok_or_else(wrong)
    }

    fn split(&self, arguments: &Node, pos: &Pos) -> Result<Node, Error> {
        let wrong = || at(pos, "`Fn::Split` takes [delimiter, text]");
        let Value::Seq(parts) = &arguments.value else { return Err(wrong()) };
        let [Node { value: Value::Str(by), .. }, text] = parts.as_slice() else { return Err(wrong()) };
        let text = self.resolve(text)?;
        let text = text.as_str().filter(|_| !by.is_empty()).ok_or_else(wrong)?;
        let items = text.split(by.as_str()).map(|s| Node::new(pos, Value::Str(s.to_owned())));
        Ok(Node::new(pos, Value::Seq(items.collect())))
    }
}

fn is_no_value(node: &Node) -> bool {
    matches!(&node.value, Value::Map(entries)
        if matches!(entries.as_slice(), [e] if e.key == "Ref" && e.node.as_str() == Some("AWS::NoValue")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::parse;

    fn check(text: &str, expected: &str) {
        let mut names = Names::default();
        names.pseudo.insert("AWS::Region", "us-east-1".into());
        names.pseudo.insert("AWS::AccountId", "000000000000".into());
        names.pseudo.insert("AWS::StackName", "app-dev".into());
        let table = parse("s.yml", "!Sub '${AWS::StackName}-users'").expect("valid");
        names.tables.insert("Users".into(), table);
        names.tables.insert("Loop".into(), parse("s.yml", "!Ref Loop").expect("valid"));
        names.logical.insert("HttpApi".into(), Named { reference: late("HttpApi"), ..Named::default() });
        let found = parse("s.yml", text).and_then(|n| names.resolve(&n));
        let found = found.map_or_else(|e| format!("! {e}"), |n| n.to_json().to_string());
        assert_eq!(
            fill(&found.replace("\\u0001", "\u{1}"), &[("HttpApi".into(), "abc".into())].into()),
            expected,
            "{text}"
        );
    }

    #[test]
    fn functions_become_values() {
        let cases = [
            ("!Ref AWS::Region", r#""us-east-1""#),
            ("!Ref Users", r#""app-dev-users""#),
            ("!GetAtt Users.Arn", r#""arn:aws:dynamodb:us-east-1:000000000000:table/app-dev-users""#),
            (
                "!Sub '${Users.Arn}/index/*-${!x}'",
                r#""arn:aws:dynamodb:us-east-1:000000000000:table/app-dev-users/index/*-${x}""#,
            ),
            ("!Sub ['${A}-${Users}', {A: !Ref 'AWS::AccountId'}]", r#""000000000000-app-dev-users""#),
            ("Fn::Join: ['/', [a, !Ref Users, 1]]", r#""a/app-dev-users/1""#),
            ("!Select [1, !Split [',', 'a,b,c']]", r#""b""#),
            ("a: 1\nb: !Ref AWS::NoValue\nc: [!Ref AWS::NoValue, 2]", r#"{"a":1,"c":[2]}"#),
            ("!Ref HttpApi", r#""abc""#),
        ];
        for (text, expected) in cases {
            check(text, expected);
        }
    }

    #[test]
    fn what_cannot_be_resolved_is_refused() {
        let cases = [
            ("a: 1\nb: !Ref Nope", "! s.yml:2: `Nope` is no resource of this stack"),
            ("!GetAtt Users.StreamArn", "! s.yml:1: `Users.StreamArn`: the table has no StreamSpecification"),
            (
                "!GetAtt Users.Name",
                "! s.yml:1: the attribute `Users.Name` is not supported; a table has Arn, StreamArn",
            ),
            ("!ImportValue x", "! s.yml:1: `Fn::ImportValue` is not supported"),
            ("!Ref Loop", "! s.yml:1: the name of `Loop` refers to itself"),
        ];
        for (text, expected) in cases {
            check(text, expected);
        }
    }
}
