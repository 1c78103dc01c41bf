//! The top level of serverless.yml.

use super::{Function, Package, Provider, Service, layer, resources};
use crate::error::{Error, at};
use crate::table::{Table, text};
use crate::yaml::{Node, Pos, Value};

/// Keys that the framework has and Squall does not.
const REFUSED: &[(&str, &str)] = &[
    ("app", "it belongs to the Serverless Dashboard; remove it"),
    ("org", "it belongs to the Serverless Dashboard; remove it"),
    ("tenant", "it belongs to the Serverless Dashboard; remove it"),
    ("dashboard", "it belongs to the Serverless Dashboard; remove it"),
    ("console", "it belongs to the Serverless Dashboard; remove it"),
    ("licenseKey", "it belongs to the Serverless Dashboard; remove it"),
    ("build", "build the code before the deploy and package the result"),
    ("state", "it belongs to the Serverless Dashboard; remove it"),
    ("configSchema", "it belongs to plugins, which are not run"),
];

/// Reads the whole file.
///
/// # Errors
/// [`Error::Config`] with file, line and key.
pub fn read(root: &Node) -> Result<Service, Error> {
    if root.is_null() {
        return Err(at(&root.at, "the file is empty"));
    }
    let mut top = Table::new(root, "")?;
    let name = service_name(&mut top)?;
    framework_version(&mut top)?;
    plugins(&mut top)?;
    // Both only shape the framework's own behaviour; the values accepted are what Squall always does.
    top.choice("configValidationMode", &["error"])?;
    top.choice("variablesResolutionMode", &["20210326", "20220831"])?;
    // Answered while variables are resolved.
    for key in ["custom", "params", "useDotenv"] {
        top.get(key);
    }
    stages(&mut top)?;
    // Squall prints no deprecation notices, so there is nothing left to silence.
    top.texts_or_text("disabledDeprecations")?;
    let provider = Provider::read(top.need("provider")?)?;
    let package = top.get("package").map(|n| Package::read(n, "package", false)).transpose()?.unwrap_or_default();
    let mut functions = Vec::new();
    for part in merged(top.get("functions"), "functions")? {
        for entry in part {
            functions.push(Function::read(entry)?);
        }
    }
    let layers = layer::read(top.get("layers"))?;
    let found = resources::read(top.get("resources"))?;
    top.finish(REFUSED)?;
    twice(&functions)?;
    let resources::Found { tables, mappings, invoke_configs, outputs } = found;
    Ok(Service { name, provider, functions, package, tables, layers, mappings, invoke_configs, outputs })
}

fn service_name(top: &mut Table<'_>) -> Result<String, Error> {
    let node = top.need("service")?;
    if let Value::Map(_) = node.value {
        return Err(at(&node.at, "`service` must be text; the form with `name:` ended with version 2"));
    }
    let name = text(node, "service")?;
    check_name(&node.at, "service", &name, 128)?;
    Ok(name)
}

/// Only the name of the service, before the rest can be read.
///
/// # Errors
/// [`Error::Config`] when it is missing or no name.
pub fn read_service_name(root: &Node) -> Result<String, Error> {
    service_name(&mut Table::new(root, "")?)
}

/// A name that becomes part of resource names.
pub(super) fn check_name(pos: &Pos, what: &str, name: &str, len_max: usize) -> Result<(), Error> {
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let rest = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if first && rest && name.len() <= len_max {
        return Ok(());
    }
    Err(at(pos, format!("`{what}: {name}`: letters, digits and hyphens, a letter first, at most {len_max}")))
}

/// A version range is understood when it leaves room for a dialect from 2 to 4.
fn framework_version(top: &mut Table<'_>) -> Result<(), Error> {
    let Some(node) = top.get("frameworkVersion") else { return Ok(()) };
    let wanted = node.scalar().ok_or_else(|| at(&node.at, "`frameworkVersion` must be text such as '3'"))?;
    let majors: Vec<&str> = wanted
        .split(|c: char| c.is_whitespace() || c == '|')
        .map(|part| part.trim_start_matches(['^', '~', '>', '<', '=', 'v']))
        .filter_map(|part| part.split('.').next())
        .filter(|major| !major.is_empty())
        .collect();
    if majors.iter().any(|m| matches!(*m, "2" | "3" | "4" | "*" | "x")) {
        return Ok(());
    }
    Err(at(&node.at, format!("`frameworkVersion: {wanted}`: the dialects understood are 2, 3 and 4")))
}

fn plugins(top: &mut Table<'_>) -> Result<(), Error> {
    let Some(node) = top.get("plugins") else { return Ok(()) };
    let Value::Seq(items) = &node.value else {
        return Err(at(&node.at, "`plugins` must be a list"));
    };
    let Some(first) = items.first() else { return Ok(()) };
    let name = text(first, "plugins")?;
    let why = match name.as_str() {
        "serverless-offline" | "serverless-dynamodb-local" | "serverless-dynamodb" | "serverless-localstack" => {
            "not needed, this cloud is local; remove it"
        }
        "serverless-esbuild" | "serverless-webpack" | "serverless-bundle" | "serverless-plugin-typescript" => {
            "build the code before the deploy and package the result"
        }
        "serverless-python-requirements" => {
            "install the requirements into the folder before the deploy: pip install -r requirements.txt -t ."
        }
        _ => "a deploy runs no plugins",
    };
    Err(at(&first.at, format!("`plugins: {name}` is not supported: {why}")))
}

/// Version 4's `stages`: only `params`, which variables read.
fn stages(top: &mut Table<'_>) -> Result<(), Error> {
    let Some(node) = top.get("stages") else { return Ok(()) };
    let Value::Map(stages) = &node.value else { return Err(at(&node.at, "`stages` must be a mapping")) };
    for stage in stages {
        let mut table = Table::new(&stage.node, format!("stages.{}", stage.key))?;
        table.get("params");
        table.finish(&[
            ("observability", "it belongs to the Serverless Dashboard; remove it"),
            ("resolvers", "supported variable sources are listed in the documentation"),
            ("integrations", "it belongs to the Serverless Dashboard; remove it"),
        ])?;
    }
    Ok(())
}

/// A mapping, or a list of mappings that count as one.
pub(super) fn merged<'a>(node: Option<&'a Node>, name: &str) -> Result<Vec<&'a [crate::yaml::Entry]>, Error> {
    let Some(node) = node else { return Ok(Vec::new()) };
    match &node.value {
        Value::Map(entries) => Ok(vec![entries]),
        Value::Seq(items) => {
            let parts = items.iter().map(|n| match &n.value {
                Value::Map(entries) => Ok(entries.as_slice()),
                Value::Null => Ok(&[][..]),
                _ => Err(at(&n.at, format!("each part of `{name}` must be a mapping, not {}", n.kind()))),
            });
            parts.collect()
        }
        _ => Err(at(&node.at, format!("`{name}` must be a mapping, not {}", node.kind()))),
    }
}

fn twice(functions: &[Function]) -> Result<(), Error> {
    for (i, f) in functions.iter().enumerate() {
        if functions.iter().take(i).any(|g| g.key == f.key) {
            return Err(at(&f.at, format!("the function `{}` is there twice", f.key)));
        }
    }
    Ok(())
}
