//! `Policies` of a function: managed ones, statements, and SAM's policy templates.

use serde_json::{Value as Json, json};

use crate::error::{Error, at};
use crate::model::Known;
use crate::table::{Table, nearest};
use crate::yaml::{Node, Value};

const TEMPLATES: &[&str] = &["DynamoDBCrudPolicy", "DynamoDBReadPolicy", "DynamoDBWritePolicy", "LambdaInvokePolicy"];
/// AWS's managed policies that live below `service-role/`.
const SERVICE_ROLES: &[&str] = &["AWSLambdaBasicExecutionRole", "AWSLambdaRole", "AWSLambdaDynamoDBExecutionRole"];

/// What a function's role may do.
#[derive(Default)]
pub(super) struct Policies {
    /// ARNs to attach.
    pub managed: Vec<String>,
    /// Statements of its own.
    pub statements: Vec<Json>,
}

/// Reads `Policies`: one entry or a list.
pub(super) fn read(node: &Node, name: &str, known: &Known) -> Result<Policies, Error> {
    let mut policies = Policies::default();
    let items = match &node.value {
        Value::Seq(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    for item in items {
        one(item, name, known, &mut policies)?;
    }
    Ok(policies)
}

fn one(node: &Node, name: &str, known: &Known, into: &mut Policies) -> Result<(), Error> {
    if let Some(text) = node.as_str() {
        into.managed.push(match text {
            arn if arn.starts_with("arn:") => arn.to_owned(),
            known if SERVICE_ROLES.contains(&known) => format!("arn:aws:iam::aws:policy/service-role/{known}"),
            other => format!("arn:aws:iam::aws:policy/{other}"),
        });
        return Ok(());
    }
    if node.get("Statement").is_some() {
        let mut table = Table::new(node, name)?;
        table.choice("Version", &["2012-10-17"])?;
        match table.get("Statement").map(Node::to_json) {
            Some(Json::Array(list)) => into.statements.extend(list),
            Some(single) => into.statements.push(single),
            None => {}
        }
        return table.finish(&[]);
    }
    let Value::Map(entries) = &node.value else {
        return Err(at(&node.at, format!("`{name}`: a policy is a name, an ARN, a document or a template of SAM")));
    };
    let [template] = entries.as_slice() else {
        return Err(at(&node.at, format!("`{name}`: a policy template of SAM stands alone in its entry")));
    };
    let mut table = Table::new(&template.node, format!("{name}.{}", template.key))?;
    let (region, account) = (&known.region, &known.account);
    let (actions, resources): (&[&str], Vec<String>) = match template.key.as_str() {
        "LambdaInvokePolicy" => {
            let function = table.text("FunctionName")?.unwrap_or_default();
            (&["lambda:InvokeFunction"], vec![format!("arn:aws:lambda:{region}:{account}:function:{function}*")])
        }
        key if TEMPLATES.contains(&key) => {
            let table_name = table.text("TableName")?.unwrap_or_default();
            let arn = format!("arn:aws:dynamodb:{region}:{account}:table/{table_name}");
            (dynamodb(key), vec![arn.clone(), format!("{arn}/index/*")])
        }
        other => {
            let hint = nearest(other, TEMPLATES).map_or(String::new(), |n| format!("; did you mean `{n}`?"));
            let text = format!("`{name}`: the policy template `{other}` is not supported{hint}");
            return Err(at(&template.at, text));
        }
    };
    table.finish(&[])?;
    into.statements.push(json!({ "Effect": "Allow", "Action": actions, "Resource": resources }));
    Ok(())
}

fn dynamodb(template: &str) -> &'static [&'static str] {
    match template {
        "DynamoDBReadPolicy" => {
            &["dynamodb:GetItem", "dynamodb:Scan", "dynamodb:Query", "dynamodb:BatchGetItem", "dynamodb:DescribeTable"]
        }
        "DynamoDBWritePolicy" => &["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:BatchWriteItem"],
        _ => &[
            "dynamodb:GetItem",
            "dynamodb:DeleteItem",
            "dynamodb:PutItem",
            "dynamodb:Scan",
            "dynamodb:Query",
            "dynamodb:UpdateItem",
            "dynamodb:BatchWriteItem",
            "dynamodb:BatchGetItem",
            "dynamodb:DescribeTable",
            "dynamodb:ConditionCheckItem",
        ],
    }
}
