//! `resources`: CloudFormation for DynamoDB tables, and outputs.

use serde_json::{Map, Value as Json, json};

use super::provider::only_false;
use super::top::merged;
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

/// Name and value of each output.
type Outputs = Vec<(String, String)>;

/// Tables and outputs of `resources`, whose value may be a list of parts.
pub(super) fn read(node: Option<&Node>) -> Result<(Vec<Table>, Outputs), Error> {
    let (mut tables, mut outputs) = (Vec::new(), Vec::new());
    let Some(node) = node else { return Ok((tables, outputs)) };
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
                tables.push(resource(entry)?);
            }
        }
        for part in merged(top.get("Outputs"), "resources.Outputs")? {
            for entry in part {
                outputs.push(output(entry)?);
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
    for (i, table) in tables.iter().enumerate() {
        if tables.iter().take(i).any(|t: &Table| t.logical == table.logical) {
            return Err(at(&table.at, format!("the resource `{}` is there twice", table.logical)));
        }
    }
    Ok((tables, outputs))
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

/// One resource, which must be a table.
pub(crate) fn resource(entry: &Entry) -> Result<Table, Error> {
    let name = format!("resources.Resources.{}", entry.key);
    let mut outer = Reader::new(&entry.node, &name)?;
    let kind = outer.need("Type")?;
    let type_name = text(kind, &format!("{name}.Type"))?;
    if type_name != "AWS::DynamoDB::Table" {
        let hint =
            nearest(&type_name, &["AWS::DynamoDB::Table"]).map_or("", |_| "; did you mean `AWS::DynamoDB::Table`?");
        let text = format!("the resource type `{type_name}` of `{}` is not supported yet{hint}", entry.key);
        return Err(at(&kind.at, text));
    }
    let policies = ["Delete", "Retain", "RetainExceptOnCreate"];
    let deletion = outer.choice("DeletionPolicy", &policies)?;
    // A table that would have to be replaced is refused, so nothing is ever replaced.
    outer.choice("UpdateReplacePolicy", &policies)?;
    outer.texts_or_text("DependsOn")?;
    let properties = outer.need("Properties")?;
    let (create, ttl) = table(properties, &format!("{name}.Properties"))?;
    outer.finish(&[("Condition", "conditions are not served yet"), ("Metadata", "it would have no effect")])?;
    let is_retained = deletion.is_some_and(|p| p != "Delete");
    Ok(Table { logical: entry.key.clone(), at: entry.at.clone(), create, ttl, is_retained })
}

fn table(node: &Node, name: &str) -> Result<(Json, Option<Ttl>), Error> {
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
    for (key, inner) in
        [("SSESpecification", "SSEEnabled"), ("PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled")]
    {
        if let Some(node) = t.get(key) {
            let mut part = Reader::new(node, format!("{name}.{key}"))?;
            only_false(&mut part, inner, "it is not served yet")?;
            part.finish(&[("SSEType", "it is not served yet"), ("KMSMasterKeyId", "it is not served yet")])?;
        }
    }
    t.choice("TableClass", &["STANDARD"])?;
    t.finish(&[
        ("StreamSpecification", "streams are not served yet"),
        ("KinesisStreamSpecification", "streams are not served yet"),
        ("ImportSourceSpecification", "imports are not served yet"),
        ("ContributorInsightsSpecification", "contributor insights are not served"),
        ("OnDemandThroughput", "limits of on-demand throughput are not served yet"),
        ("WarmThroughput", "warm throughput is not served"),
        ("ResourcePolicy", "resource policies of tables are not served yet"),
    ])?;
    Ok((Json::Object(create), ttl))
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
        item.finish(&[
            ("ContributorInsightsSpecification", "contributor insights are not served"),
            ("OnDemandThroughput", "limits of on-demand throughput are not served yet"),
            ("WarmThroughput", "warm throughput is not served"),
        ])?;
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
