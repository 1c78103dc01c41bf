//! Names that follow from the file before anything is made, for intrinsic functions and for the expansion.

use std::collections::BTreeMap;

use crate::config::read_service_name;
use crate::error::{Error, at};
use crate::intrinsics::{Named, Names, late};
use crate::yaml::{Node, Value};

/// Everything that is known by name.
pub(crate) struct Known {
    /// Name of the stack.
    pub stack: String,
    /// Stage.
    pub stage: String,
    /// Region.
    pub region: String,
    /// Account.
    pub account: String,
    /// Name of the role that would be made.
    pub role_name: String,
    /// Its path.
    pub role_path: String,
    /// Function key to name.
    pub functions: BTreeMap<String, String>,
    /// For intrinsic functions.
    pub names: Names,
}

/// Reads names off the tree, whose variables are resolved and whose intrinsic functions are not.
pub(crate) fn known(root: &Node, stage: &str, region: &str, account: &str) -> Result<Known, Error> {
    let service = read_service_name(root)?;
    let provider = root.get("provider");
    let text = |path: &[&str]| {
        let found = path.iter().try_fold(provider?, |node, key| node.get(key));
        found.and_then(Node::as_str).map(str::to_owned)
    };
    let stack = text(&["stackName"]).unwrap_or_else(|| format!("{service}-{stage}"));
    let is_name = |s: &str| (1..=128).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !is_name(&stack) {
        return Err(at(
            &root.at,
            format!("the stack's name `{stack}` may have letters, digits and hyphens, at most 128"),
        ));
    }
    let role_name = text(&["iam", "role", "name"]).unwrap_or_else(|| format!("{service}-{stage}-{region}-lambdaRole"));
    let role_path = text(&["iam", "role", "path"]).unwrap_or_else(|| "/".into());
    let mut names = Names::with_pseudo(&stack, region, account);
    let role_arn = format!("arn:aws:iam::{account}:role{role_path}{role_name}");
    names.logical.insert("IamRoleLambdaExecution".into(), Named::new(&role_name, &[("Arn", role_arn)]));
    for api in ["HttpApi", "ApiGatewayRestApi"] {
        names.logical.insert(api.into(), Named::new(&late(api), &[]));
    }
    let mut functions = BTreeMap::new();
    for entry in parts(root.get("functions")) {
        let key = &entry.key;
        let given = entry.node.get("name").and_then(Node::as_str).map(str::to_owned);
        let name = match given {
            Some(name) => name,
            None => crate::config::default_name(&service, stage, key, &entry.at)?,
        };
        let arn = format!("arn:aws:lambda:{region}:{account}:function:{name}");
        let logical = logical(key);
        let group = format!("/aws/lambda/{name}");
        let group_arn = format!("arn:aws:logs:{region}:{account}:log-group:{group}:*");
        names.logical.insert(format!("{logical}LambdaFunction"), Named::new(&name, &[("Arn", arn)]));
        names.logical.insert(format!("{logical}LogGroup"), Named::new(&group, &[("Arn", group_arn)]));
        functions.insert(key.clone(), name);
    }
    for entry in parts(root.get("layers")) {
        let logical = crate::config::layer_logical(&entry.key);
        names.logical.insert(logical.clone(), Named::new(&late(&logical), &[]));
    }
    for entry in tables(root) {
        let written = entry.node.get("Properties").and_then(|p| p.get("TableName")).filter(|n| !n.is_null());
        let name = written.cloned().unwrap_or_else(|| Node::new(&entry.at, Value::Str(table_name(&stack, &entry.key))));
        names.tables.insert(entry.key.clone(), name);
        if entry.node.get("Properties").and_then(|p| p.get("StreamSpecification")).is_some() {
            names.streams.insert(entry.key.clone());
        }
    }
    let (stage, region, account) = (stage.to_owned(), region.to_owned(), account.to_owned());
    Ok(Known { stack, stage, region, account, role_name, role_path, functions, names })
}

/// The framework's logical id of a function's key.
pub(crate) fn logical(key: &str) -> String {
    let spelled = key.replace('-', "Dash").replace('_', "Underscore");
    let mut chars = spelled.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

/// Name of a table whose file gives none.
pub(crate) fn table_name(stack: &str, logical: &str) -> String {
    format!("{stack}-{logical}-{}", suffix(stack, logical))
}

/// Thirteen letters and digits that stay the same for a table without a name of its own, where CloudFormation has random ones.
fn suffix(stack: &str, logical: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("{stack}/{logical}"));
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    digest.iter().take(13).map(|b| char::from(alphabet[usize::from(*b) % alphabet.len()])).collect()
}

fn parts(node: Option<&Node>) -> Vec<&crate::yaml::Entry> {
    match node.map(|n| &n.value) {
        Some(Value::Map(entries)) => entries.iter().collect(),
        Some(Value::Seq(items)) => items.iter().flat_map(|n| parts(Some(n))).collect(),
        _ => Vec::new(),
    }
}

fn tables(root: &Node) -> Vec<&crate::yaml::Entry> {
    let resources = root.get("resources");
    let listed: Vec<&Node> = match resources.map(|n| &n.value) {
        Some(Value::Seq(items)) => items.iter().collect(),
        _ => resources.into_iter().collect(),
    };
    let all = listed.into_iter().flat_map(|part| parts(part.get("Resources")));
    all.filter(|e| e.node.get("Type").and_then(Node::as_str) == Some("AWS::DynamoDB::Table")).collect()
}
