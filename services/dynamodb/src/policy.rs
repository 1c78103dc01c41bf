//! Which actions on which resources a request is, for the policy check, and how requests name tables.

use crate::catalog::Catalog;
use crate::context;
use crate::error::Error;
use squall_protocol::schema::Kind;
use squall_protocol::{Operation, Shape, Value};
use squall_service::{Access, Ctx, Principal};

/// The name in a name or ARN of a table (or of something inside of one).
pub fn table_name(named: &str) -> &str {
    if !named.starts_with("arn:") {
        return named;
    }
    let resource = named.splitn(6, ':').nth(5).unwrap_or(named);
    let path = resource.strip_prefix("table/").unwrap_or(resource);
    path.split('/').next().unwrap_or(path)
}

/// Checks the form of a table's name.
///
/// # Errors
/// `ValidationException`.
pub fn check_table_name(name: &str) -> Result<(), Error> {
    if !(3..=255).contains(&name.len()) {
        return Err(Error::validation("TableName must be at least 3 characters long and at most 255 characters long"));
    }
    if name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')) {
        return Ok(());
    }
    Err(Error::validation(format!(
        "1 validation error detected: Value '{name}' at 'tableName' failed to satisfy constraint: Member must satisfy \
         regular expression pattern: [a-zA-Z0-9_.-]+"
    )))
}

/// The accesses of a request.
pub fn access(catalog: &Catalog, ctx: &Ctx, op: &'static Operation, input: &Value) -> Vec<Access> {
    let asked = Asked { catalog, ctx, op };
    let Some(shape) = op.input else { return vec![asked.whole()] };
    let text = |name| input.text(shape, name);
    match op.name {
        "ListTables" => vec![asked.tables()],
        "DescribeLimits"
        | "DescribeEndpoints"
        | "ListBackups"
        | "ListContributorInsights"
        | "ListExports"
        | "ListImports"
        | "ListGlobalTables" => vec![asked.whole()],
        "ExecuteStatement" | "BatchExecuteStatement" | "ExecuteTransaction" => {
            crate::partiql::access::accesses(catalog, ctx, op, input)
        }
        "TagResource"
        | "UntagResource"
        | "ListTagsOfResource"
        | "PutResourcePolicy"
        | "GetResourcePolicy"
        | "DeleteResourcePolicy" => vec![Access::new(asked.action(), text("ResourceArn").unwrap_or("*"))],
        "DescribeBackup" | "DeleteBackup" => vec![Access::new(asked.action(), text("BackupArn").unwrap_or("*"))],
        "DescribeExport" => vec![Access::new(asked.action(), text("ExportArn").unwrap_or("*"))],
        "DescribeImport" => vec![Access::new(asked.action(), text("ImportArn").unwrap_or("*"))],
        "ExportTableToPointInTime" => vec![Access::new(asked.action(), text("TableArn").unwrap_or("*"))],
        "ImportTable" => vec![asked.whole()],
        "CreateGlobalTable"
        | "UpdateGlobalTable"
        | "DescribeGlobalTable"
        | "UpdateGlobalTableSettings"
        | "DescribeGlobalTableSettings" => {
            let name = text("GlobalTableName").unwrap_or("*");
            let arn = format!("arn:aws:dynamodb::{}:global-table/{name}", ctx.account.as_str());
            vec![Access::new(asked.action(), arn)]
        }
        "RestoreTableFromBackup" => {
            let target = format!("table/{}", text("TargetTableName").unwrap_or("*"));
            vec![
                Access::new(asked.action(), text("BackupArn").unwrap_or("*")),
                Access::new(asked.action(), ctx.arn("dynamodb", &target)),
            ]
        }
        "RestoreTableToPointInTime" => {
            let source = text("SourceTableArn").or(text("SourceTableName")).unwrap_or("*");
            let source = format!("table/{}", table_name(source));
            let target = format!("table/{}", text("TargetTableName").unwrap_or("*"));
            [source, target].map(|name| Access::new(asked.action(), ctx.arn("dynamodb", &name))).into()
        }
        "BatchGetItem" | "BatchWriteItem" => {
            let Some(Value::Map(tables)) = input.named(shape, "RequestItems") else { return vec![asked.whole()] };
            tables.iter().map(|(name, requests)| asked.batch(shape, name, requests)).collect()
        }
        "TransactGetItems" | "TransactWriteItems" => asked.transaction(shape, input),
        _ => {
            let reads = matches!(op.name, "GetItem" | "Query" | "Scan");
            let (table, index) = (text("TableName").unwrap_or("*"), text("IndexName"));
            vec![asked.one(&asked.action(), table, index, shape, input, reads)]
        }
    }
}

/// The accesses of a request to the streams' API.
pub fn streams_access(ctx: &Ctx, op: &'static Operation, input: &Value) -> Vec<Access> {
    let action = format!("dynamodb:{}", op.name);
    let text = |name| op.input.and_then(|shape| input.text(shape, name));
    let resource = match op.name {
        "ListStreams" => match text("TableName") {
            Some(name) => ctx.arn("dynamodb", &format!("table/{}/stream/*", table_name(name))),
            None => "*".to_owned(),
        },
        // An iterator names its stream.
        "GetRecords" => text("ShardIterator").map_or("*", iterator_stream).to_owned(),
        _ => text("StreamArn").unwrap_or("*").to_owned(),
    };
    vec![Access::new(action, resource)]
}

/// The stream's ARN in a shard iterator: `ARN|version|position`.
fn iterator_stream(iterator: &str) -> &str {
    iterator.split('|').next().filter(|arn| arn.starts_with("arn:")).unwrap_or("*")
}

struct Asked<'a> {
    catalog: &'a Catalog,
    ctx: &'a Ctx,
    op: &'static Operation,
}

/// The structure inside a list or map member.
fn inner(shape: &'static Shape, name: &str) -> Option<&'static Shape> {
    let member = shape.members().iter().find(|m| m.name == name)?.shape;
    Some(element(member))
}

/// The element of a list or map shape; any other shape itself.
fn element(shape: &'static Shape) -> &'static Shape {
    match shape.kind {
        Kind::List { member, .. } => member,
        Kind::Map { value, .. } => value,
        _ => shape,
    }
}

impl Asked<'_> {
    fn action(&self) -> String {
        format!("dynamodb:{}", self.op.name)
    }

    /// All tables of the region, as AWS's refusals of `ListTables` name them.
    fn tables(&self) -> Access {
        let resource = format!("arn:aws:dynamodb:{}:{}:table/*", self.ctx.region.as_str(), self.ctx.account.as_str());
        Access::new(self.action(), resource)
    }

    fn whole(&self) -> Access {
        Access::new(self.action(), "*")
    }

    /// One action on a table or index, with the condition keys of the structure that asks for it.
    fn one(
        &self,
        action: &str,
        named: &str,
        index: Option<&str>,
        shape: &'static Shape,
        input: &Value,
        reads: bool,
    ) -> Access {
        let name = table_name(named);
        let resource = match index {
            Some(index) => format!("table/{name}/index/{index}"),
            None => format!("table/{name}"),
        };
        let mut access = Access::new(action, self.ctx.arn("dynamodb", &resource));
        // No policy binds root, and the hot path of a benchmark is root's.
        if !matches!(self.ctx.principal, Principal::Root { .. }) {
            let table = self.catalog.get(self.ctx.region.as_str(), name);
            let schema = table.as_ref().and_then(|t| match index {
                Some(index) => t.indexes.iter().find(|i| i.name == index).map(|i| &i.schema),
                None => Some(&t.schema),
            });
            access.context = context::of(shape, input, schema, reads);
        }
        access
    }

    /// A table's part of a batch: a structure of keys, or a list of puts and deletes.
    fn batch(&self, shape: &'static Shape, named: &str, requests: &Value) -> Access {
        let part = inner(shape, "RequestItems").unwrap_or(shape);
        let Value::List(writes) = requests else {
            return self.one(&self.action(), named, None, part, requests, true);
        };
        let mut all = self.one(&self.action(), named, None, part, &Value::Null, false);
        let write = element(part);
        for wire in writes {
            for member in write.members() {
                let Some(request) = wire.named(write, member.name) else { continue };
                let one = self.one("", named, None, member.shape, request, false);
                merge(&mut all.context, one.context);
            }
        }
        all
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
                out.push(self.one(action, table, None, member.shape, request, member.name == "Get"));
            }
        }
        if out.is_empty() { vec![self.whole()] } else { out }
    }
}

/// Adds the values of more condition keys.
fn merge(into: &mut Vec<(String, Vec<String>)>, more: Vec<(String, Vec<String>)>) {
    for (key, values) in more {
        match into.iter_mut().find(|(name, _)| *name == key) {
            Some((_, known)) => known.extend(values),
            None => into.push((key, values)),
        }
    }
}
