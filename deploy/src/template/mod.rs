//! SAM templates: `template.yaml` as the same typed service that serverless.yml gives.
//!
//! Served: `AWS::Serverless::Function` with `Api` and `HttpApi` events on the implicit APIs and `DynamoDB` events,
//! `AWS::Serverless::LayerVersion`, `AWS::Serverless::SimpleTable`, `AWS::DynamoDB::Table`, `AWS::Lambda::EventSourceMapping`, `AWS::Lambda::EventInvokeConfig`, `Parameters`, `Globals.Function` and `Outputs`. Other types and sections are refused by name.
//! Defaults are SAM's (128 MiB, 3 s, stage `Prod`), each function gets a role of its own as SAM has it.
//!
//! The stack is named `<folder>-<stage>`; `Parameters` take `--param NAME=VALUE`.

mod function;
mod policy;

use std::collections::BTreeMap;

use crate::config::{self, HttpApi, Iam, Provider, Resource, RestApi, Service};
use crate::error::{Error, at};
use crate::intrinsics::{Named, Names, late};
use crate::model::{Known, Role};
use crate::table::{Table, nearest};
use crate::yaml::{Entry, Node, Value};

const TYPES: &[&str] = &[
    "AWS::Serverless::Function",
    "AWS::Serverless::LayerVersion",
    "AWS::Serverless::SimpleTable",
    "AWS::DynamoDB::Table",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::EventInvokeConfig",
];
/// Stage of the implicit REST API.
const STAGE: &str = "Prod";

/// A template, typed.
pub(crate) struct Template {
    /// As if it came from serverless.yml.
    pub service: Service,
    /// Names of everything.
    pub known: Known,
    /// Roles of the functions.
    pub roles: Vec<Role>,
}

/// Where the template goes.
pub(crate) struct Place<'a> {
    /// Name of the folder.
    pub folder: &'a str,
    /// Stage in the stack's name.
    pub stage: &'a str,
    /// Region.
    pub region: &'a str,
    /// Account.
    pub account: &'a str,
    /// Values of parameters.
    pub params: &'a BTreeMap<String, String>,
}

/// Whether the file is a template rather than a serverless.yml.
pub(crate) fn is_template(root: &Node) -> bool {
    ["Resources", "AWSTemplateFormatVersion", "Transform"].iter().any(|k| root.get(k).is_some())
}

/// Reads a template.
pub(crate) fn read(root: &Node, place: &Place<'_>) -> Result<Template, Error> {
    let mut top = Table::new(root, "")?;
    top.choice("AWSTemplateFormatVersion", &["2010-09-09"])?;
    top.choice("Transform", &["AWS::Serverless-2016-10-31"])?;
    top.text("Description")?;
    let known = names(root, &mut top, place)?;
    let globals = top.get("Globals").map(|n| known.names.resolve(n)).transpose()?;
    let defaults = globals.as_ref().map(function::globals).transpose()?.flatten();
    let (mut functions, mut tables, mut roles) = (Vec::new(), Vec::new(), Vec::new());
    let (mut mappings, mut invoke_configs, mut layers) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries(top.need("Resources")?)? {
        let node = known.names.resolve(&entry.node)?;
        let entry = Entry { node, ..entry.clone() };
        match type_of(&entry)? {
            "AWS::Serverless::Function" => {
                let (function, role) = function::read(&entry, defaults.as_ref(), &known)?;
                functions.push(function);
                roles.extend(role);
            }
            "AWS::Serverless::LayerVersion" => layers.push(config::read_sam_layer(&entry)?),
            other => {
                let entry = if other == "AWS::Serverless::SimpleTable" { simple_table(&entry)? } else { entry };
                match config::read_resource(&entry)? {
                    Resource::Table(table) => tables.push(*table),
                    Resource::Mapping(mapping) => mappings.push(mapping),
                    Resource::InvokeConfig(config) => invoke_configs.push(config),
                }
            }
        }
    }
    let outputs = match top.get("Outputs") {
        Some(node) => {
            let node = known.names.resolve(node)?;
            entries(&node)?.iter().map(config::read_output).collect::<Result<Vec<_>, _>>()?
        }
        None => Vec::new(),
    };
    top.finish(&[
        ("Conditions", "conditions are not served yet"),
        ("Mappings", "use parameters"),
        ("Rules", "rules are not served"),
        ("Metadata", "it would have no effect"),
        ("Hooks", "hooks are not served"),
    ])?;
    let service = Service {
        name: place.folder.to_owned(),
        provider: provider(&known.stack),
        functions,
        package: config::Package { is_individual: true, keeps_dev_dependencies: true, ..config::Package::default() },
        tables,
        layers,
        mappings,
        invoke_configs,
        outputs,
    };
    Ok(Template { service, known, roles })
}

fn provider(stack: &str) -> Provider {
    Provider {
        runtime: None,
        memory_mb: 128,
        timeout_s: 3,
        environment: Vec::new(),
        architecture: None,
        iam: Iam::default(),
        http_api: HttpApi { name: Some(stack.to_owned()), ..HttpApi::default() },
        rest_api: RestApi { name: Some(stack.to_owned()), ..RestApi::default() },
        log_retention_days: None,
        tags: Vec::new(),
        stack_name: Some(stack.to_owned()),
        layers: Vec::new(),
    }
}

fn entries(node: &Node) -> Result<&[Entry], Error> {
    match &node.value {
        Value::Map(entries) => Ok(entries),
        Value::Null => Ok(&[]),
        _ => Err(at(&node.at, format!("a mapping must stand here, not {}", node.kind()))),
    }
}

fn type_of(entry: &Entry) -> Result<&str, Error> {
    let Some(node) = entry.node.get("Type") else {
        return Err(at(&entry.at, format!("`Resources.{}.Type` is missing", entry.key)));
    };
    let name = node.as_str().unwrap_or_default();
    if TYPES.contains(&name) {
        return Ok(name);
    }
    let hint = nearest(name, TYPES).map_or(String::new(), |n| format!("; did you mean `{n}`?"));
    Err(at(&node.at, format!("the resource type `{name}` of `{}` is not supported yet{hint}", entry.key)))
}

/// Everything that has a name before anything is made.
fn names(root: &Node, top: &mut Table<'_>, place: &Place<'_>) -> Result<Known, Error> {
    let Place { folder, stage, region, account, .. } = *place;
    let stack = format!("{folder}-{stage}");
    let mut names = Names::with_pseudo(&stack, region, account);
    if let Some(node) = top.get("Parameters") {
        for entry in entries(node)? {
            let value = parameter(entry, place.params)?;
            names.logical.insert(entry.key.clone(), Named { reference: value, ..Named::default() });
        }
    }
    for (logical, api) in [("ServerlessRestApi", "ApiGatewayRestApi"), ("ServerlessHttpApi", "HttpApi")] {
        names.logical.insert(logical.into(), Named { reference: late(api), ..Named::default() });
    }
    let mut functions = BTreeMap::new();
    let resources = root.get("Resources").map(entries).transpose()?.unwrap_or_default();
    for entry in resources {
        let property = |key: &str| entry.node.get("Properties").and_then(|p| p.get(key)).cloned();
        match entry.node.get("Type").and_then(Node::as_str) {
            Some("AWS::Serverless::Function") => {
                let name = match property("FunctionName") {
                    Some(node) => names.resolve(&node)?.scalar().unwrap_or_default(),
                    None => format!("{stack}-{}", entry.key),
                };
                if name.is_empty() || name.len() > 64 {
                    let text = format!("the function's name `{name}` must have 1 to 64 characters; set FunctionName");
                    return Err(at(&entry.at, text));
                }
                let arn = format!("arn:aws:lambda:{region}:{account}:function:{name}");
                names.logical.insert(entry.key.clone(), Named::new(&name, &[("Arn", arn)]));
                let role = function::role_name(&stack, &entry.key);
                let arn = format!("arn:aws:iam::{account}:role/{role}");
                names.logical.insert(format!("{}Role", entry.key), Named::new(&role, &[("Arn", arn)]));
                functions.insert(entry.key.clone(), name);
            }
            Some("AWS::Serverless::LayerVersion") => {
                names.logical.insert(entry.key.clone(), Named::new(&late(&entry.key), &[]));
            }
            Some("AWS::Serverless::SimpleTable" | "AWS::DynamoDB::Table") => {
                let generated = || Node::new(&entry.at, Value::Str(crate::model::table_name(&stack, &entry.key)));
                names.tables.insert(entry.key.clone(), property("TableName").unwrap_or_else(generated));
                if property("StreamSpecification").is_some() {
                    names.streams.insert(entry.key.clone());
                }
            }
            _ => {}
        }
    }
    Ok(Known {
        stack,
        stage: STAGE.into(),
        region: region.into(),
        account: account.into(),
        role_name: String::new(),
        role_path: "/".into(),
        functions,
        names,
    })
}

fn parameter(entry: &Entry, given: &BTreeMap<String, String>) -> Result<String, Error> {
    let name = format!("Parameters.{}", entry.key);
    let mut table = Table::new(&entry.node, &name)?;
    table.choice("Type", &["String", "Number"])?;
    for key in ["Description", "ConstraintDescription"] {
        table.text(key)?;
    }
    // Values are never shown, so that nothing is left to hide.
    table.flag("NoEcho")?;
    let default = table.get("Default").and_then(Node::scalar);
    let allowed: Vec<String> = table.list("AllowedValues")?.iter().filter_map(Node::scalar).collect();
    table.finish(&[
        ("AllowedPattern", "constraints of parameters but AllowedValues are not served yet"),
        ("MinLength", "constraints of parameters but AllowedValues are not served yet"),
        ("MaxLength", "constraints of parameters but AllowedValues are not served yet"),
        ("MinValue", "constraints of parameters but AllowedValues are not served yet"),
        ("MaxValue", "constraints of parameters but AllowedValues are not served yet"),
    ])?;
    let value = given.get(&entry.key).cloned().or(default);
    let missing = || at(&entry.at, format!("`{name}` has no default; give it with --param {}=VALUE", entry.key));
    let value = value.ok_or_else(missing)?;
    if !allowed.is_empty() && !allowed.contains(&value) {
        return Err(at(&entry.at, format!("`{name}` must be one of {}, not {value}", allowed.join(", "))));
    }
    Ok(value)
}

/// A `SimpleTable` written out as the table that SAM makes of it.
fn simple_table(entry: &Entry) -> Result<Entry, Error> {
    let name = format!("Resources.{}", entry.key);
    let mut outer = Table::new(&entry.node, &name)?;
    outer.get("Type");
    let empty = Node::new(&entry.at, Value::Null);
    let properties = outer.get("Properties").unwrap_or(&empty);
    let mut table = Table::new(properties, format!("{name}.Properties"))?;
    let (mut key, mut kind) = ("id".to_owned(), "S");
    if let Some(node) = table.get("PrimaryKey") {
        let mut primary = Table::new(node, format!("{name}.Properties.PrimaryKey"))?;
        key = primary.text("Name")?.unwrap_or(key);
        kind = match primary.choice("Type", &["String", "Number", "Binary"])?.as_deref() {
            Some("Number") => "N",
            Some("Binary") => "B",
            _ => "S",
        };
        primary.finish(&[])?;
    }
    let mut json = serde_json::json!({
        "AttributeDefinitions": [{ "AttributeName": key, "AttributeType": kind }],
        "KeySchema": [{ "AttributeName": key, "KeyType": "HASH" }],
    });
    let tags: Vec<serde_json::Value> =
        table.scalars("Tags")?.iter().map(|(k, v)| serde_json::json!({ "Key": k, "Value": v })).collect();
    if let Some(map) = json.as_object_mut() {
        match table.get("ProvisionedThroughput") {
            Some(units) => map.insert("ProvisionedThroughput".into(), units.to_json()),
            None => map.insert("BillingMode".into(), "PAY_PER_REQUEST".into()),
        };
        if let Some(name) = table.text("TableName")? {
            map.insert("TableName".into(), name.into());
        }
        if !tags.is_empty() {
            map.insert("Tags".into(), tags.into());
        }
    }
    if let Some(node) = table.get("PointInTimeRecoverySpecification") {
        json["PointInTimeRecoverySpecification"] = node.to_json();
    }
    table.finish(&[("SSESpecification", "it is not served yet")])?;
    let mut whole = vec![
        Entry {
            key: "Type".into(),
            at: entry.at.clone(),
            node: Node::new(&entry.at, Value::Str("AWS::DynamoDB::Table".into())),
        },
        Entry { key: "Properties".into(), at: entry.at.clone(), node: Node::from_json(&properties.at, &json) },
    ];
    for key in ["DeletionPolicy", "UpdateReplacePolicy", "DependsOn"] {
        whole.extend(outer.entry(key).cloned());
    }
    outer.finish(&[("Condition", "conditions are not served yet"), ("Metadata", "it would have no effect")])?;
    Ok(Entry { key: entry.key.clone(), at: entry.at.clone(), node: Node::new(&entry.at, Value::Map(whole)) })
}

#[cfg(test)]
mod tests;
