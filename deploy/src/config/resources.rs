//! `resources`: CloudFormation for DynamoDB tables, event source mappings and settings of asynchronous invocation, and outputs.

use serde_json::{Map, Value as Json, json};

use super::provider::only_false;
use super::top::merged;
use super::{InvokeConfig, Mapping, mapping};
use crate::error::{Error, at};
use crate::table::{Table as Reader, nearest, text};
use crate::yaml::{Entry, Node, Pos};

/// A table as the file describes it.
#[derive(Clone, Debug)]
pub struct Table {
    /// Logical id.
    pub logical: String,
    /// Where it stands.
    pub at: Pos,
    /// Input of CreateTable; `TableName` only if the file gives one.
    pub create: Json,
    /// Expiry of items.
    pub ttl: Option<Ttl>,
    /// Point-in-time recovery.
    pub recovery: Option<Recovery>,
    /// `ResourcePolicy`.
    pub policy: Option<Json>,
    /// `DeletionPolicy: Retain`: it stays when it leaves the file or the stack is removed.
    pub is_retained: bool,
}

/// `TimeToLiveSpecification`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ttl {
    /// Attribute with the time in seconds.
    pub attribute: String,
    /// Whether items expire.
    pub is_enabled: bool,
}

/// `PointInTimeRecoverySpecification`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Recovery {
    /// Whether it is on.
    pub is_enabled: bool,
    /// How many days it goes back.
    pub days: Option<i64>,
}

/// One of `Resources`.
pub enum Resource {
    /// `AWS::DynamoDB::Table`.
    Table(Box<Table>),
    /// `AWS::Lambda::EventSourceMapping`.
    Mapping(Mapping),
    /// `AWS::Lambda::EventInvokeConfig`.
    InvokeConfig(InvokeConfig),
}

/// What `resources` holds.
#[derive(Default)]
pub(super) struct Found {
    pub tables: Vec<Table>,
    pub mappings: Vec<Mapping>,
    pub invoke_configs: Vec<InvokeConfig>,
    pub outputs: Vec<(String, String)>,
}

/// Reads `resources`, whose value may be a list of parts.
pub(super) fn read(node: Option<&Node>) -> Result<Found, Error> {
    let mut found = Found::default();
    let Some(node) = node else { return Ok(found) };
    merged(Some(node), "resources")?;
    let parts = match &node.value {
        crate::yaml::Value::Seq(items) => items.iter().collect(),
        _ => vec![node],
    };
    for part in parts {
        let mut top = Reader::new(part, "resources")?;
        top.text("Description")?;
        top.choice("AWSTemplateFormatVersion", &["2010-09-09"])?;
        for part in merged(top.get("Resources"), "resources.Resources")? {
            for entry in part {
                match resource(entry)? {
                    Resource::Table(table) => found.tables.push(*table),
                    Resource::Mapping(mapping) => found.mappings.push(mapping),
                    Resource::InvokeConfig(config) => found.invoke_configs.push(config),
                }
            }
        }
        for part in merged(top.get("Outputs"), "resources.Outputs")? {
            for entry in part {
                found.outputs.push(output(entry)?);
            }
        }
        top.finish(&[
            ("extensions", "changing generated resources is not served"),
            ("Conditions", "conditions are not served yet"),
            ("Parameters", "use variables such as ${opt:stage}"),
            ("Mappings", "use variables such as ${self:custom.x}"),
            ("Transform", "transforms are not served"),
        ])?;
    }
    for (i, table) in found.tables.iter().enumerate() {
        if found.tables.iter().take(i).any(|t: &Table| t.logical == table.logical) {
            return Err(at(&table.at, format!("the resource `{}` is there twice", table.logical)));
        }
    }
    Ok(found)
}

/// One of `Outputs`.
pub(crate) fn output(entry: &Entry) -> Result<(String, String), Error> {
    let name = format!("resources.Outputs.{}", entry.key);
    let mut table = Reader::new(&entry.node, &name)?;
    table.text("Description")?;
    let value = table.need("Value")?;
    let value = value.scalar().ok_or_else(|| at(&value.at, format!("`{name}.Value` must be text")))?;
    table.finish(&[
        ("Export", "exports between stacks are not served"),
        ("Condition", "conditions are not served yet"),
    ])?;
    Ok((entry.key.clone(), value))
}

const TYPES: &[&str] = &["AWS::DynamoDB::Table", "AWS::Lambda::EventSourceMapping", "AWS::Lambda::EventInvokeConfig"];

/// One resource of a type that is served.
pub(crate) fn resource(entry: &Entry) -> Result<Resource, Error> {
    let name = format!("resources.Resources.{}", entry.key);
    let mut outer = Reader::new(&entry.node, &name)?;
    let kind = outer.need("Type")?;
    let type_name = text(kind, &format!("{name}.Type"))?;
    if !TYPES.contains(&type_name.as_str()) {
        let hint = nearest(&type_name, TYPES).map_or_else(String::new, |n| format!("; did you mean `{n}`?"));
        let text = format!("the resource type `{type_name}` of `{}` is not supported yet{hint}", entry.key);
        return Err(at(&kind.at, text));
    }
    let policies = ["Delete", "Retain", "RetainExceptOnCreate"];
    outer.texts_or_text("DependsOn")?;
    let properties = outer.need("Properties")?;
    let name = format!("{name}.Properties");
    let read = match type_name.as_str() {
        "AWS::Lambda::EventSourceMapping" => Resource::Mapping(mapping::resource(properties, &name)?),
        "AWS::Lambda::EventInvokeConfig" => Resource::InvokeConfig(mapping::invoke(properties, &name, true)?),
        _ => {
            let deletion = outer.choice("DeletionPolicy", &policies)?;
            // A table that would have to be replaced is refused, so nothing is ever replaced.
            outer.choice("UpdateReplacePolicy", &policies)?;
            let mut table = table(properties, &name, entry)?;
            table.is_retained = deletion.is_some_and(|p| p != "Delete");
            Resource::Table(Box::new(table))
        }
    };
    outer.finish(&[
        ("Condition", "conditions are not served yet"),
        ("Metadata", "it would have no effect"),
        ("DeletionPolicy", "only tables may outlive their stack"),
        ("UpdateReplacePolicy", "only tables may outlive their stack"),
    ])?;
    Ok(read)
}

fn table(node: &Node, name: &str, entry: &Entry) -> Result<Table, Error> {
    let mut t = Reader::new(node, name)?;
    let mut create = Map::new();
    if let Some(table_name) = t.text("TableName")? {
        create.insert("TableName".into(), table_name.into());
    }
    t.need("AttributeDefinitions")?;
    let attributes = each(&mut t, "AttributeDefinitions", |a| {
        let mut out = Map::new();
        out.insert("AttributeName".into(), text(a.need("AttributeName")?, &a.name("AttributeName"))?.into());
        a.need("AttributeType")?;
        put(&mut out, "AttributeType", a.choice("AttributeType", &["S", "N", "B"])?);
        Ok(out)
    })?;
    create.insert("AttributeDefinitions".into(), attributes);
    t.need("KeySchema")?;
    create.insert("KeySchema".into(), key_schema(&mut t)?);
    let billing = t.choice("BillingMode", &["PAY_PER_REQUEST", "PROVISIONED"])?;
    put(&mut create, "BillingMode", billing);
    throughput(&mut t, &mut create)?;
    if t.get("GlobalSecondaryIndexes").is_some() {
        create.insert("GlobalSecondaryIndexes".into(), each(&mut t, "GlobalSecondaryIndexes", |i| index(i, true))?);
    }
    if t.get("LocalSecondaryIndexes").is_some() {
        create.insert("LocalSecondaryIndexes".into(), each(&mut t, "LocalSecondaryIndexes", |i| index(i, false))?);
    }
    if let Some(protected) = t.flag("DeletionProtectionEnabled")? {
        create.insert("DeletionProtectionEnabled".into(), protected.into());
    }
    if t.get("Tags").is_some() {
        let tags = each(&mut t, "Tags", |tag| {
            let mut out = Map::new();
            for key in ["Key", "Value"] {
                let node = tag.need(key)?;
                let value = node.scalar().ok_or_else(|| at(&node.at, format!("`{}` must be text", tag.name(key))))?;
                out.insert(key.into(), value.into());
            }
            Ok(out)
        })?;
        create.insert("Tags".into(), tags);
    }
    let ttl = t.get("TimeToLiveSpecification").map(|n| ttl(n, name)).transpose()?;
    if let Some(node) = t.get("StreamSpecification") {
        let mut part = Reader::new(node, format!("{name}.StreamSpecification"))?;
        part.need("StreamViewType")?;
        let views = ["KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"];
        let view = part.choice("StreamViewType", &views)?;
        part.finish(&[("ResourcePolicy", "resource policies of streams are not served by a deploy yet")])?;
        create.insert("StreamSpecification".into(), json!({ "StreamEnabled": true, "StreamViewType": view }));
    }
    put(&mut create, "TableClass", t.choice("TableClass", &["STANDARD", "STANDARD_INFREQUENT_ACCESS"])?);
    limits(&mut t, &mut create)?;
    let recovery = t.get("PointInTimeRecoverySpecification").map(|n| recovery(n, name)).transpose()?;
    let policy = t.get("ResourcePolicy").map(|n| policy(n, name)).transpose()?;
    for (key, inner) in [("SSESpecification", "SSEEnabled"), ("ContributorInsightsSpecification", "Enabled")] {
        if let Some(node) = t.get(key) {
            let mut part = Reader::new(node, format!("{name}.{key}"))?;
            only_false(&mut part, inner, "it is not served yet")?;
            let why = "it is not served yet";
            part.finish(&[("SSEType", why), ("KMSMasterKeyId", why), ("Mode", why)])?;
        }
    }
    t.finish(&[
        ("KinesisStreamSpecification", "Kinesis is not served yet"),
        ("ImportSourceSpecification", "imports are not served yet"),
    ])?;
    let (logical, at) = (entry.key.clone(), entry.at.clone());
    Ok(Table { logical, at, create: Json::Object(create), ttl, recovery, policy, is_retained: false })
}

/// `OnDemandThroughput` and `WarmThroughput` of a table or index.
fn limits(table: &mut Reader<'_>, into: &mut Map<String, Json>) -> Result<(), Error> {
    const PARTS: [(&str, [&str; 2], i64); 2] = [
        ("OnDemandThroughput", ["MaxReadRequestUnits", "MaxWriteRequestUnits"], -1),
        ("WarmThroughput", ["ReadUnitsPerSecond", "WriteUnitsPerSecond"], 1),
    ];
    for (key, names, least) in PARTS {
        let name = table.name(key);
        let Some(node) = table.get(key) else { continue };
        let mut inner = Reader::new(node, name)?;
        let mut out = Map::new();
        for name in names {
            if let Some(n) = inner.int(name, least, i64::MAX)? {
                out.insert(name.into(), n.into());
            }
        }
        inner.finish(&[])?;
        into.insert(key.into(), Json::Object(out));
    }
    Ok(())
}

fn recovery(node: &Node, name: &str) -> Result<Recovery, Error> {
    let mut inner = Reader::new(node, format!("{name}.PointInTimeRecoverySpecification"))?;
    let is_enabled = inner.flag("PointInTimeRecoveryEnabled")?.unwrap_or(false);
    let days = inner.int("RecoveryPeriodInDays", 1, 35)?;
    inner.finish(&[])?;
    Ok(Recovery { is_enabled, days })
}

fn policy(node: &Node, name: &str) -> Result<Json, Error> {
    let mut inner = Reader::new(node, format!("{name}.ResourcePolicy"))?;
    let document = inner.need("PolicyDocument")?.to_json();
    inner.finish(&[])?;
    Ok(document)
}

fn put(map: &mut Map<String, Json>, key: &str, value: Option<String>) {
    if let Some(value) = value {
        map.insert(key.into(), value.into());
    }
}

/// Reads each mapping of a list.
fn each(
    table: &mut Reader<'_>,
    key: &'static str,
    mut one: impl FnMut(&mut Reader<'_>) -> Result<Map<String, Json>, Error>,
) -> Result<Json, Error> {
    let name = table.name(key);
    let read = |(i, node): (usize, &Node)| {
        let mut item = Reader::new(node, format!("{name}.{i}"))?;
        let out = one(&mut item)?;
        item.finish(&[("ContributorInsightsSpecification", "contributor insights are not served")])?;
        Ok(Json::Object(out))
    };
    table.list(key)?.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>().map(Json::Array)
}

fn key_schema(table: &mut Reader<'_>) -> Result<Json, Error> {
    each(table, "KeySchema", |k| {
        let mut out = Map::new();
        out.insert("AttributeName".into(), text(k.need("AttributeName")?, &k.name("AttributeName"))?.into());
        k.need("KeyType")?;
        put(&mut out, "KeyType", k.choice("KeyType", &["HASH", "RANGE"])?);
        Ok(out)
    })
}

fn throughput(table: &mut Reader<'_>, into: &mut Map<String, Json>) -> Result<(), Error> {
    let name = table.name("ProvisionedThroughput");
    let Some(node) = table.get("ProvisionedThroughput") else { return Ok(()) };
    let mut inner = Reader::new(node, name)?;
    inner.need("ReadCapacityUnits")?;
    inner.need("WriteCapacityUnits")?;
    let units = json!({
        "ReadCapacityUnits": inner.int("ReadCapacityUnits", 1, i64::MAX)?,
        "WriteCapacityUnits": inner.int("WriteCapacityUnits", 1, i64::MAX)?,
    });
    inner.finish(&[])?;
    into.insert("ProvisionedThroughput".into(), units);
    Ok(())
}

fn index(table: &mut Reader<'_>, is_global: bool) -> Result<Map<String, Json>, Error> {
    let mut out = Map::new();
    out.insert("IndexName".into(), text(table.need("IndexName")?, &table.name("IndexName"))?.into());
    table.need("KeySchema")?;
    out.insert("KeySchema".into(), key_schema(table)?);
    let node = table.need("Projection")?;
    let mut projection = Reader::new(node, table.name("Projection"))?;
    let mut kept = Map::new();
    put(&mut kept, "ProjectionType", projection.choice("ProjectionType", &["ALL", "KEYS_ONLY", "INCLUDE"])?);
    if projection.get("NonKeyAttributes").is_some() {
        kept.insert("NonKeyAttributes".into(), projection.texts("NonKeyAttributes")?.into());
    }
    projection.finish(&[])?;
    out.insert("Projection".into(), Json::Object(kept));
    if is_global {
        throughput(table, &mut out)?;
        limits(table, &mut out)?;
    }
    Ok(out)
}

fn ttl(node: &Node, name: &str) -> Result<Ttl, Error> {
    let mut inner = Reader::new(node, format!("{name}.TimeToLiveSpecification"))?;
    let attribute = inner.need("AttributeName")?;
    let attribute = text(attribute, "AttributeName")?;
    inner.need("Enabled")?;
    let is_enabled = inner.flag("Enabled")?.unwrap_or(true);
    inner.finish(&[])?;
    Ok(Ttl { attribute, is_enabled })
}
