//! Where variables take their values from.

use std::fs;
use std::path::Path;

use super::Resolver;
use super::parse::Source;
use crate::error::{Error, at};
use crate::table::nearest;
use crate::yaml::{self, Node, Pos, Value};

const KINDS: &[&str] = &["self", "env", "opt", "param", "file", "sls", "aws", "strToBool"];
const FILE_BYTES_MAX: u64 = 1 << 20;

impl Resolver<'_> {
    /// The value of one source; `None` when it holds nothing.
    pub(super) fn source(&mut self, source: &Source, pos: &Pos) -> Result<Option<Node>, Error> {
        match source {
            Source::Literal(value) => Ok(Some(Node::new(pos, value.clone()))),
            Source::Nested(text) => self.text(text, pos).map(Some),
            Source::From { kind, params, address } => {
                let address = self.part(address, pos)?;
                let params = params.as_deref().map(|p| self.part(p, pos)).transpose()?;
                self.from(kind, params.as_deref(), &address, pos)
            }
        }
    }

    /// An address or parameter, whose own variables come first.
    fn part(&mut self, text: &str, pos: &Pos) -> Result<String, Error> {
        if !text.contains("${") {
            return Ok(text.to_owned());
        }
        let node = self.text(text, pos)?;
        node.scalar().ok_or_else(|| at(pos, format!("`{text}` must become text to be part of an address")))
    }

    fn from(&mut self, kind: &str, params: Option<&str>, address: &str, pos: &Pos) -> Result<Option<Node>, Error> {
        let text = |s: Option<&String>| Ok(s.map(|s| Node::new(pos, Value::Str(s.clone()))));
        match (kind, params) {
            ("self", None) => self.guarded(&format!("self:{address}"), pos, |r| {
                let found = r.walk(r.root, address)?;
                found.map(|n| r.deep(&n)).transpose()
            }),
            ("env", None) => text(self.scope.env.get(address)),
            ("opt", None) => text(self.scope.options.get(address)),
            ("param", None) => self.param(address, pos),
            ("sls", None) => self.sls(address, pos),
            ("aws", None) => self.aws(address, pos),
            ("file", Some(path)) => self.file(path.trim(), address, pos),
            ("strToBool", Some(value)) => match value.trim().trim_matches(['\'', '"']) {
                "true" | "1" => Ok(Some(Node::new(pos, Value::Bool(true)))),
                "false" | "0" => Ok(Some(Node::new(pos, Value::Bool(false)))),
                other => Err(at(pos, format!("`strToBool({other})`: only true, false, 1 and 0 are booleans"))),
            },
            ("cf" | "ssm" | "s3" | "git" | "output" | "terraform" | "vault" | "doppler", _) => {
                Err(at(pos, format!("the variable source `{kind}` is not supported; supported: {}", KINDS.join(", "))))
            }
            _ => {
                let hint = nearest(kind, KINDS).map_or(String::new(), |n| format!("; did you mean `{n}`?"));
                Err(at(pos, format!("unknown variable source `{kind}`{hint}")))
            }
        }
    }

    /// `--param`, then `params.<stage>`, `params.default`, and version 4's `stages.<stage>.params`.
    fn param(&mut self, address: &str, pos: &Pos) -> Result<Option<Node>, Error> {
        if let Some(given) = self.scope.params.get(address) {
            return Ok(Some(Node::new(pos, Value::Str(given.clone()))));
        }
        let stage = self.stage(pos)?;
        for place in [
            format!("params.{stage}.{address}"),
            format!("stages.{stage}.params.{address}"),
            format!("params.default.{address}"),
            format!("stages.default.params.{address}"),
        ] {
            let found = self.from("self", None, &place, pos)?;
            if found.as_ref().is_some_and(|n| !n.is_null()) {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn stage(&mut self, pos: &Pos) -> Result<String, Error> {
        if let Some(stage) = self.scope.options.get("stage") {
            return Ok(stage.clone());
        }
        let found = self.from("self", None, "provider.stage", pos)?;
        Ok(found.and_then(|n| n.scalar()).unwrap_or_else(|| "dev".into()))
    }

    fn sls(&mut self, address: &str, pos: &Pos) -> Result<Option<Node>, Error> {
        let value = match address {
            "stage" => self.stage(pos)?,
            "instanceId" => self.scope.instance.clone(),
            other => return Err(at(pos, format!("`sls:{other}` is not there; there are sls:stage, sls:instanceId"))),
        };
        Ok(Some(Node::new(pos, Value::Str(value))))
    }

    fn aws(&mut self, address: &str, pos: &Pos) -> Result<Option<Node>, Error> {
        let value = match address {
            "accountId" => self.scope.account.clone(),
            "region" => match self.scope.options.get("region") {
                Some(region) => region.clone(),
                None => {
                    let found = self.from("self", None, "provider.region", pos)?;
                    found.and_then(|n| n.scalar()).unwrap_or_else(|| self.scope.region.clone())
                }
            },
            other => return Err(at(pos, format!("`aws:{other}` is not there; there are aws:accountId, aws:region"))),
        };
        Ok(Some(Node::new(pos, Value::Str(value))))
    }

    fn file(&mut self, path: &str, address: &str, pos: &Pos) -> Result<Option<Node>, Error> {
        let full = self.path(path);
        self.guarded(&format!("file({path}):{address}"), pos, |r| {
            if !r.files.contains_key(&full) {
                let read = read_file(path, &full, pos)?;
                r.files.insert(full.clone(), read);
            }
            let Some(root) = r.files.get(&full).cloned().flatten() else { return Ok(None) };
            let found = r.walk(&root, address)?;
            found.map(|n| r.deep(&n)).transpose()
        })
    }
}

/// The file as a tree; `None` when there is none, so that a fallback may take over.
fn read_file(shown: &str, full: &Path, pos: &Pos) -> Result<Option<Node>, Error> {
    let extension = full.extension().and_then(|e| e.to_str()).unwrap_or_default().to_lowercase();
    if matches!(extension.as_str(), "js" | "cjs" | "mjs" | "ts" | "cts" | "mts") {
        return Err(at(pos, format!("`file({shown})`: a deploy runs no code; use a YAML or JSON file")));
    }
    match fs::metadata(full) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Ok(m) if m.len() > FILE_BYTES_MAX => return Err(at(pos, format!("`file({shown})` is larger than 1 MiB"))),
        _ => {}
    }
    let text = fs::read_to_string(full).map_err(|e| at(pos, format!("read `file({shown})`: {e}")))?;
    if matches!(extension.as_str(), "yml" | "yaml" | "json") {
        return yaml::parse(shown.trim_start_matches("./"), &text).map(Some);
    }
    Ok(Some(Node::new(pos, Value::Str(text))))
}
