//! Which actions on which resources statements are, for the policy check.
//!
//! Policies bind callers to their own items by `dynamodb:LeadingKeys`, and keep them from scans by
//! `dynamodb:FullTableScan`. A statement that cannot be read asks for nothing: it fails its validation later.

use super::plan::{self, Reach};
use super::{Statement, parse};
use crate::catalog::Catalog;
use crate::item::Value;
use crate::policy::table_name;
use crate::wire::{self, Fields};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use squall_protocol::{Operation, Shape, Value as Wire};
use squall_service::{Access, Ctx};

/// The accesses of ExecuteStatement, BatchExecuteStatement and ExecuteTransaction.
pub fn accesses(catalog: &Catalog, ctx: &Ctx, op: &'static Operation, input: &Wire) -> Vec<Access> {
    let Some(shape) = op.input else { return Vec::new() };
    if op.name == "ExecuteStatement" {
        return one(catalog, ctx, shape, input.clone()).into_iter().collect();
    }
    let member = if op.name == "ExecuteTransaction" { "TransactStatements" } else { "Statements" };
    let mut fields = Fields::new(shape, input.clone());
    let Some(element) = fields.element_shape(member) else { return Vec::new() };
    let statements = fields.list(member).unwrap_or_default();
    statements.into_iter().filter_map(|wire| one(catalog, ctx, element, wire)).collect()
}

fn one(catalog: &Catalog, ctx: &Ctx, shape: &'static Shape, wire: Wire) -> Option<Access> {
    let mut fields = Fields::new(shape, wire);
    let text = fields.text("Statement")?;
    let parameters = fields.list("Parameters").unwrap_or_default();
    let parameters = parameters.into_iter().map(wire::value).collect::<Result<Vec<Value>, _>>().ok()?;
    let statement = parse(&text, parameters).ok()?;
    let (named, index) = statement.target();
    let name = table_name(named);
    let resource = match index {
        Some(index) => format!("table/{name}/index/{index}"),
        None => format!("table/{name}"),
    };
    let mut access = Access::new(statement.action(), ctx.arn("dynamodb", &resource));
    let table = catalog.get(ctx.region.as_str(), name);
    let schema = table.as_ref().and_then(|t| match index {
        Some(index) => t.indexes.iter().find(|i| i.name == index).map(|i| &i.schema),
        None => Some(&t.schema),
    });
    let Some(schema) = schema else { return Some(access) };
    let leading: Vec<String> = match &statement {
        Statement::Insert(insert) => insert.item.get(&schema.hash.name).and_then(key_text).into_iter().collect(),
        other => match plan::reach(other.condition(), schema) {
            Ok(Reach::Keys(keys)) => keys.iter().filter_map(|k| key_text(&k.hash)).collect(),
            _ => Vec::new(),
        },
    };
    if matches!(statement, Statement::Select(_)) {
        access.context.push(("dynamodb:FullTableScan".into(), vec![leading.is_empty().to_string()]));
    }
    if !leading.is_empty() {
        access.context.push(("dynamodb:LeadingKeys".into(), leading));
    }
    Some(access)
}

fn key_text(value: &Value) -> Option<String> {
    match value {
        Value::S(text) => Some(text.clone()),
        Value::N(number) => Some(number.to_string()),
        Value::B(bytes) => Some(STANDARD.encode(bytes)),
        _ => None,
    }
}
