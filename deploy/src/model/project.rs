//! From a path on the command line to a stack and its code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Stack, expand, names};
use crate::config;
use crate::error::{Error, at};
use crate::package::{self, Code};
use crate::template;
use crate::vars::{self, Scope};
use crate::yaml::{self, Entry, Node, Value};

/// What shapes the reading besides the file.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `--stage`.
    pub stage: Option<String>,
    /// `--region`.
    pub region: Option<String>,
    /// `--param`.
    pub params: BTreeMap<String, String>,
    /// Environment of the command, for `${env:…}`.
    pub env: BTreeMap<String, String>,
    /// The account that is deployed to.
    pub account: String,
    /// Region when neither the command nor the file names one.
    pub default_region: String,
    /// `${sls:instanceId}`.
    pub instance: String,
}

/// A stack and the code of its functions.
#[derive(Debug)]
pub struct Project {
    /// What is wanted.
    pub stack: Stack,
    /// The package of each function, in the order of `stack.functions`.
    pub code: Vec<Arc<Code>>,
    /// The package of each layer, in the order of `stack.layers`.
    pub layers: Vec<Arc<Code>>,
}

const FILES: &[&str] = &["serverless.yml", "serverless.yaml", "serverless.json"];

/// Reads the file (or the one in the folder) and packages the code.
///
/// # Errors
/// [`Error::Config`] with file, line and key; [`Error::Package`] and [`Error::Io`] for the code.
pub fn load(path: &Path, settings: &Settings) -> Result<Project, Error> {
    let (dir, file) = find(path)?;
    let shown = file.file_name().map_or_else(|| file.display().to_string(), |n| n.to_string_lossy().into_owned());
    let text = fs::read_to_string(&file).map_err(|source| Error::Io { verb: "read", path: file.clone(), source })?;
    let raw = yaml::parse(&shown, &text)?;
    if template::is_template(&raw) {
        return template(&raw, &dir, settings);
    }
    let mut scope = Scope {
        dir: dir.clone(),
        env: settings.env.clone(),
        options: BTreeMap::new(),
        params: settings.params.clone(),
        account: settings.account.clone(),
        region: settings.default_region.clone(),
        instance: settings.instance.clone(),
    };
    // `${opt:name}` sees parameters too: both are given on the command line.
    scope.options.clone_from(&settings.params);
    for (key, value) in [("stage", &settings.stage), ("region", &settings.region)] {
        if let Some(value) = value {
            scope.options.insert(key.into(), value.clone());
        }
    }
    let stage = stage(&raw, &scope)?;
    dotenv(&raw, &dir, &stage, &mut scope)?;
    let resolved = vars::resolve(&raw, &scope)?;
    let region = region(&resolved, settings);
    let known = names::known(&resolved, &stage, &region, &settings.account)?;
    let plain = without_intrinsics(&resolved, &known)?;
    let service = config::read(&plain)?;
    let stack = expand(&service, &plain.at, &known)?;
    let code = package::build(&dir, &service)?;
    let layers = package::build_layers(&dir, &service)?;
    Ok(Project { stack, code, layers })
}

fn find(path: &Path) -> Result<(PathBuf, PathBuf), Error> {
    let meta = fs::metadata(path).map_err(|source| Error::Io { verb: "open", path: path.to_owned(), source })?;
    let dir = if meta.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    if !meta.is_dir() {
        return Ok((dir.to_owned(), path.to_owned()));
    }
    if let Some(file) = FILES.iter().map(|f| dir.join(f)).find(|f| f.is_file()) {
        return Ok((dir.to_owned(), file));
    }
    let shown = dir.display();
    for file in ["serverless.js", "serverless.ts", "serverless.mjs", "serverless.cjs"] {
        if dir.join(file).is_file() {
            return Err(Error::Refused(format!("`{shown}/{file}`: a deploy runs no code; write serverless.yml")));
        }
    }
    if let Some(file) =
        ["template.yaml", "template.yml", "template.json"].iter().map(|f| dir.join(f)).find(|f| f.is_file())
    {
        return Ok((dir.to_owned(), file));
    }
    Err(Error::Refused(format!("there is no serverless.yml and no template.yaml in `{shown}`")))
}

/// A SAM template in place of serverless.yml.
fn template(raw: &Node, dir: &Path, settings: &Settings) -> Result<Project, Error> {
    let full = fs::canonicalize(dir).map_err(|source| Error::Io { verb: "open", path: dir.to_owned(), source })?;
    let folder = full.file_name().map_or_else(|| "app".into(), |n| n.to_string_lossy().into_owned());
    let folder: String = folder.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let place = template::Place {
        folder: &folder,
        stage: settings.stage.as_deref().unwrap_or("dev"),
        region: settings.region.as_deref().unwrap_or(&settings.default_region),
        account: &settings.account,
        params: &settings.params,
    };
    let read = template::read(raw, &place)?;
    let mut stack = expand(&read.service, &raw.at, &read.known)?;
    stack.stage = place.stage.to_owned();
    stack.roles = read.roles;
    let code = package::build(dir, &read.service)?;
    let layers = package::build_layers(dir, &read.service)?;
    Ok(Project { stack, code, layers })
}

fn stage(raw: &Node, scope: &Scope) -> Result<String, Error> {
    if let Some(stage) = scope.options.get("stage") {
        return Ok(stage.clone());
    }
    let found = vars::lookup(raw, scope, "provider.stage")?;
    Ok(found.and_then(|n| n.scalar()).unwrap_or_else(|| "dev".into()))
}

fn region(resolved: &Node, settings: &Settings) -> String {
    let in_file = || resolved.get("provider")?.get("region")?.as_str().map(str::to_owned);
    settings.region.clone().or_else(in_file).unwrap_or_else(|| settings.default_region.clone())
}

/// `useDotenv: true` reads `.env.<stage>` and `.env`; what the environment has already stays.
fn dotenv(raw: &Node, dir: &Path, stage: &str, scope: &mut Scope) -> Result<(), Error> {
    let Some(node) = raw.get("useDotenv") else { return Ok(()) };
    match &node.value {
        Value::Bool(true) => {}
        Value::Bool(false) | Value::Null => return Ok(()),
        _ => return Err(at(&node.at, "`useDotenv` must be true or false")),
    }
    for name in [format!(".env.{stage}"), ".env".to_owned()] {
        let Ok(text) = fs::read_to_string(dir.join(&name)) else { continue };
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let line = line.strip_prefix("export ").unwrap_or(line);
            let Some((key, value)) = line.split_once('=') else { continue };
            let value = value.trim();
            let quoted = ['"', '\''].iter().find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q));
            let value = quoted.unwrap_or_else(|| value.split(" #").next().unwrap_or_default().trim());
            scope.env.entry(key.trim().to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    Ok(())
}

/// Replaces intrinsic functions everywhere but in `custom`, which only variables read.
fn without_intrinsics(root: &Node, known: &names::Known) -> Result<Node, Error> {
    let Value::Map(entries) = &root.value else { return Ok(root.clone()) };
    let one = |e: &Entry| {
        let node = match e.key.as_str() {
            "custom" | "params" | "stages" => e.node.clone(),
            _ => known.names.resolve(&e.node)?,
        };
        Ok(Entry { key: e.key.clone(), at: e.at.clone(), node })
    };
    let entries = entries.iter().map(one).collect::<Result<Vec<_>, Error>>()?;
    Ok(Node::new(&root.at, Value::Map(entries)))
}
