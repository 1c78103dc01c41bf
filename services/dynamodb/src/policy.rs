//! Which actions on which resources a request is, for the policy check, and how requests name tables.

use crate::catalog::Catalog;
use crate::error::Error;
use crate::wire::policy_text;
use squall_protocol::{Operation, Shape, Value};
use squall_service::{Access, Ctx};

/// The name in a name or ARN of a table (or of something inside of one).
pub fn table_name(named: &str) -> &str {
    if !named.starts_with("arn:") {
        return named;
    }
    let resource = named.splitn(6, ':').nth(5).unwrap_or(named);
    let path = resource.strip_prefix("table/").unwrap_or(resource);
    path.split('/').next().unwrap_or(path)
}

/// Checks the form of a table's or index's name.
///
/// # Errors
/// `ValidationException`.
pub fn check_table_name(name: &str) -> Result<(), Error> {
    let fits = (3..=255).contains(&name.len());
    let clean = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if fits && clean {
        return Ok(());
    }
    Err(Error::validation(
        "Invalid table/index name.  Table/index names must be between 3 and 255 characters long, and may contain only the \
         characters a-z, A-Z, 0-9, '_', '-', and '.'",
    ))
}

/// The accesses of a request.
pub fn access(catalog: &Catalog, ctx: &Ctx, op: &'static Operation, input: &Value) -> Vec<Access> {
    let asked = Asked { catalog, ctx, op };
    let Some(shape) = op.input else { return vec![asked.whole()] };
    let text = |name| input.text(shape, name);
    match op.name {
        "ListTables" | "DescribeLimits" | "DescribeEndpoints" => vec![asked.whole()],
        "TagResource" | "UntagResource" | "ListTagsOfResource" => {
            vec![Access::new(asked.action(), text("ResourceArn").unwrap_or("*"))]
        }
        "BatchGetItem" | "BatchWriteItem" => {
            let Some(Value::Map(tables)) = input.named(shape, "RequestItems") else { return vec![asked.whole()] };
            tables.iter().map(|(name, requests)| asked.batch(name, requests)).collect()
        }
        "TransactGetItems" | "TransactWriteItems" => asked.transaction(shape, input),
        _ => {
            let table = text("TableName").unwrap_or("*");
            let mut access = Access::new(asked.action(), asked.arn(table, text("IndexName")));
            for member in ["Key", "Item"] {
                if let Some(Value::Map(item)) = input.named(shape, member) {
                    asked.leading_key(table, item, &mut access);
                }
            }
            vec![access]
        }
    }
}

struct Asked<'a> {
    catalog: &'a Catalog,
    ctx: &'a Ctx,
    op: &'static Operation,
}

/// The structure inside a list or map member.
fn inner(shape: &'static Shape, name: &str) -> Option<&'static Shape> {
    use squall_protocol::schema::Kind;
    let member = shape.members().iter().find(|m| m.name == name)?.shape;
    Some(match member.kind {
        Kind::List { member, .. } => member,
        Kind::Map { value, .. } => value,
        _ => member,
    })
}

impl Asked<'_> {
    fn action(&self) -> String {
        format!("dynamodb:{}", self.op.name)
    }

    fn whole(&self) -> Access {
        Access::new(self.action(), "*")
    }

    fn arn(&self, named: &str, index: Option<&str>) -> String {
        let name = table_name(named);
        match index {
            Some(index) => self.ctx.arn("dynamodb", &format!("table/{name}/index/{index}")),
            None => self.ctx.arn("dynamodb", &format!("table/{name}")),
        }
    }

    /// Adds the partition key's value: policies may bind callers to their own keys.
    fn leading_key(&self, named: &str, item: &[(String, Value)], access: &mut Access) {
        let Some(table) = self.catalog.get(self.ctx.region.as_str(), table_name(named)) else { return };
        let value = item.iter().find(|(name, _)| *name == table.schema.hash.name);
        let Some(text) = value.and_then(|(_, v)| policy_text(v)) else { return };
        let key = "dynamodb:LeadingKeys";
        match access.context.iter_mut().find(|(name, _)| name == key) {
            Some((_, values)) => values.push(text.into_owned()),
            None => access.context.push((key.into(), vec![text.into_owned()])),
        }
    }

    fn batch(&self, named: &str, requests: &Value) -> Access {
        let mut access = Access::new(self.action(), self.arn(named, None));
        let mut keys = Vec::new();
        collect_items(requests, &mut keys);
        for item in keys {
            self.leading_key(named, item, &mut access);
        }
        access
    }

    fn transaction(&self, shape: &'static Shape, input: &Value) -> Vec<Access> {
        let Some(Value::List(items)) = input.named(shape, "TransactItems") else { return vec![self.whole()] };
        let Some(element) = inner(shape, "TransactItems") else { return vec![self.whole()] };
        let mut out = Vec::new();
        for item in items {
            for member in element.members() {
                let Some(request) = item.named(element, member.name) else { continue };
                let action = match member.name {
                    "Put" => "dynamodb:PutItem",
                    "Update" => "dynamodb:UpdateItem",
                    "Delete" => "dynamodb:DeleteItem",
                    "ConditionCheck" => "dynamodb:ConditionCheckItem",
                    _ => "dynamodb:GetItem",
                };
                let table = request.text(member.shape, "TableName").unwrap_or("*");
                let mut access = Access::new(action, self.arn(table, None));
                let item = request.named(member.shape, "Key").or_else(|| request.named(member.shape, "Item"));
                if let Some(Value::Map(item)) = item {
                    self.leading_key(table, item, &mut access);
                }
                out.push(access);
            }
        }
        if out.is_empty() { vec![self.whole()] } else { out }
    }
}

/// The keys and items of a batch: the maps of attribute values directly inside its requests.
fn collect_items<'v>(value: &'v Value, out: &mut Vec<&'v [(String, Value)]>) {
    match value {
        Value::Map(map) => out.push(map),
        Value::List(list) => list.iter().for_each(|v| collect_items(v, out)),
        Value::Struct(members) => members.iter().for_each(|(_, v)| collect_items(v, out)),
        _ => {}
    }
}
