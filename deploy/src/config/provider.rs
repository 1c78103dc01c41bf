//! `provider`.

use serde_json::Value as Json;

use super::{Cors, Payload};
use crate::error::{Error, at};
use crate::table::{Table, text};
use crate::yaml::{Node, Value};

const REFUSED: &[(&str, &str)] = &[
    ("profile", "credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or the data directory"),
    ("credentials", "credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or the data directory"),
    ("deploymentBucket", "code is uploaded to the cloud directly; remove it"),
    ("deploymentPrefix", "code is uploaded to the cloud directly; remove it"),
    ("vpc", "VPCs are not served"),
    ("tracing", "tracing is not served yet"),
    ("ecr", "container images are not served"),
    ("alb", "load balancers are not served"),
    ("kms", "encryption keys are not served yet"),
    ("kmsKeyArn", "encryption keys are not served yet"),
    ("logs", "API access logs are not served yet"),
    ("websocketsApiName", "WebSocket APIs are not served yet"),
    ("websocketsApiRouteSelectionExpression", "WebSocket APIs are not served yet"),
    ("websocket", "WebSocket APIs are not served yet"),
    ("eventBridge", "event buses are not served yet"),
    ("s3", "buckets are not served yet"),
    ("cloudFront", "CloudFront is not served"),
    ("rollbackConfiguration", "there is no CloudFormation stack behind a deploy"),
    ("notificationArns", "there is no CloudFormation stack behind a deploy"),
    ("stackPolicy", "there is no CloudFormation stack behind a deploy"),
    ("stackParameters", "there is no CloudFormation stack behind a deploy"),
    ("disableRollback", "there is no CloudFormation stack behind a deploy"),
    ("cfnRole", "there is no CloudFormation stack behind a deploy"),
    ("resourcePolicy", "resource policies of APIs are not served yet"),
    ("usagePlan", "API keys are not served yet"),
    ("apiKeys", "API keys are not served yet"),
    ("vpcEndpointIds", "VPCs are not served"),
    ("domain", "custom domains are not served yet"),
    ("domains", "custom domains are not served yet"),
    ("runtimeManagement", "runtimes are those of the host"),
    ("snapStart", "a deploy publishes no versions, which SnapStart is for"),
    ("provisionedConcurrency", "provisioned concurrency is not served yet"),
];

/// Defaults of the whole service.
#[derive(Clone, Debug)]
pub struct Provider {
    /// `runtime` of functions that name none.
    pub runtime: Option<String>,
    /// `memorySize` in MiB; 1024 unless given.
    pub memory_mb: i64,
    /// `timeout` in seconds; 6 unless given.
    pub timeout_s: i64,
    /// `environment`.
    pub environment: Vec<(String, String)>,
    /// `architecture`.
    pub architecture: Option<String>,
    /// `iam.role` and its older forms.
    pub iam: Iam,
    /// `httpApi`.
    pub http_api: HttpApi,
    /// `apiGateway` and `apiName`.
    pub rest_api: RestApi,
    /// `logRetentionInDays`.
    pub log_retention_days: Option<i64>,
    /// `tags` and `stackTags`.
    pub tags: Vec<(String, String)>,
    /// `stackName`.
    pub stack_name: Option<String>,
    /// `layers` of functions that name none.
    pub layers: Vec<String>,
}

/// The role of functions that name none.
#[derive(Clone, Debug, Default)]
pub struct Iam {
    /// ARN of a role that exists; nothing else is set then.
    pub role: Option<String>,
    /// Name of the role that is made.
    pub name: Option<String>,
    /// Its path.
    pub path: Option<String>,
    /// Statements beyond those for logs.
    pub statements: Vec<Json>,
    /// ARNs of managed policies to attach.
    pub managed_policies: Vec<String>,
    /// Tags of the role.
    pub tags: Vec<(String, String)>,
}

/// Options of the HTTP API.
#[derive(Clone, Debug, Default)]
pub struct HttpApi {
    /// `name`.
    pub name: Option<String>,
    /// `payload`.
    pub payload: Payload,
    /// `cors`.
    pub cors: Option<Cors>,
}

/// Options of the REST API.
#[derive(Clone, Debug, Default)]
pub struct RestApi {
    /// `apiName`.
    pub name: Option<String>,
    /// `apiGateway.description`.
    pub description: Option<String>,
    /// `apiGateway.binaryMediaTypes`.
    pub binary_media_types: Vec<String>,
    /// `apiGateway.shouldStartNameWithService`.
    pub service_first: bool,
}

impl Provider {
    pub(super) fn read(node: &Node) -> Result<Self, Error> {
        if let Value::Str(name) = &node.value {
            let only = Node::new(&node.at, Value::Str(name.clone()));
            let entry = crate::yaml::Entry { key: "name".into(), at: node.at.clone(), node: only };
            return Self::read(&Node::new(&node.at, Value::Map(vec![entry])));
        }
        let mut table = Table::new(node, "provider")?;
        table.need("name")?;
        table.choice("name", &["aws"])?;
        // Stage and region are answered while variables are resolved.
        table.text("stage")?;
        table.text("region")?;
        // Squall applies changes directly and publishes no version per deploy.
        table.choice("deploymentMethod", &["direct"])?;
        only_false(&mut table, "versionFunctions", "a deploy publishes no versions")?;
        only_false(&mut table, "enableLegacyDeploymentBucket", "there is no deployment bucket")?;
        table.choice("lambdaHashingVersion", &["20201221"])?;
        table.choice("endpointType", &["regional", "REGIONAL"])?;
        let mut tags = table.scalars("stackTags")?;
        for (key, value) in table.scalars("tags")? {
            tags.retain(|(k, _)| *k != key);
            tags.push((key, value));
        }
        let provider = Self {
            runtime: table.text("runtime")?,
            memory_mb: table.int("memorySize", 128, 10240)?.unwrap_or(1024),
            timeout_s: table.int("timeout", 1, 900)?.unwrap_or(6),
            environment: environment(&mut table)?,
            architecture: table.choice("architecture", &["x86_64", "arm64"])?,
            iam: iam(&mut table)?,
            http_api: http_api(&mut table)?,
            rest_api: rest_api(&mut table)?,
            log_retention_days: retention(&mut table)?,
            tags,
            stack_name: table.text("stackName")?,
            layers: super::layer::arns(&mut table, "layers")?.unwrap_or_default(),
        };
        table.finish(REFUSED)?;
        Ok(provider)
    }
}

/// A switch of which only `false` is what happens here.
pub(super) fn only_false(table: &mut Table<'_>, key: &'static str, why: &str) -> Result<(), Error> {
    match table.flag(key)? {
        Some(true) => {
            let place = table.get(key).map_or(table.pos(), |n| &n.at);
            Err(at(place, format!("`{}: true` is not supported: {why}", table.name(key))))
        }
        _ => Ok(()),
    }
}

/// Environment variables with names that Lambda takes.
pub(super) fn environment(table: &mut Table<'_>) -> Result<Vec<(String, String)>, Error> {
    let found = table.scalars("environment")?;
    for (name, _) in &found {
        let first = name.starts_with(|c: char| c.is_ascii_alphabetic());
        if !first || name.len() < 2 || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let place = table.get("environment").map_or(table.pos(), |n| &n.at);
            let text = format!(
                "`{}`: `{name}` is no name for a variable (two or more letters, digits and _)",
                table.name("environment")
            );
            return Err(at(place, text));
        }
    }
    Ok(found)
}

/// Days that CloudWatch Logs takes; anything else is the server's to refuse.
pub(super) fn retention(table: &mut Table<'_>) -> Result<Option<i64>, Error> {
    table.int("logRetentionInDays", 1, 3653)
}

fn iam(table: &mut Table<'_>) -> Result<Iam, Error> {
    let mut iam = Iam::default();
    if let Some(node) = table.get("role") {
        iam.role = Some(role_arn(node, "provider.role")?);
    }
    iam.statements = statements(table, "iamRoleStatements")?;
    iam.managed_policies = table.texts("iamManagedPolicies")?;
    let Some(node) = table.get("iam") else { return Ok(iam) };
    let mut outer = Table::new(node, "provider.iam")?;
    match outer.get("role") {
        Some(role) if role.as_str().is_some() => iam.role = Some(role_arn(role, "provider.iam.role")?),
        Some(role) => {
            let mut inner = Table::new(role, "provider.iam.role")?;
            iam.name = inner.text("name")?;
            iam.path = inner.text("path")?;
            iam.statements.extend(statements(&mut inner, "statements")?);
            iam.managed_policies.extend(inner.texts("managedPolicies")?);
            iam.tags = inner.scalars("tags")?;
            inner.finish(&[
                ("permissionsBoundary", "permissions boundaries are not served yet"),
                ("permissionBoundary", "permissions boundaries are not served yet"),
            ])?;
        }
        None => {}
    }
    outer.finish(&[("deploymentRole", "there is no CloudFormation stack behind a deploy")])?;
    Ok(iam)
}

/// Only the ARN of a role; roles in `resources` are not served.
pub(super) fn role_arn(node: &Node, name: &str) -> Result<String, Error> {
    let role = text(node, name)?;
    if role.starts_with("arn:") {
        return Ok(role);
    }
    Err(at(&node.at, format!("`{name}: {role}`: only the ARN of a role is supported here")))
}

fn statements(table: &mut Table<'_>, key: &'static str) -> Result<Vec<Json>, Error> {
    let name = table.name(key);
    let mut out = Vec::new();
    for node in table.list(key)? {
        let mut one = Table::new(node, &name)?;
        one.need("Effect")?;
        one.choice("Effect", &["Allow", "Deny"])?;
        for key in ["Sid", "Action", "NotAction", "Resource", "NotResource", "Condition"] {
            one.get(key);
        }
        one.finish(&[("Principal", "a role's own policy has no principal")])?;
        out.push(node.to_json());
    }
    Ok(out)
}

fn http_api(table: &mut Table<'_>) -> Result<HttpApi, Error> {
    let Some(node) = table.get("httpApi") else { return Ok(HttpApi::default()) };
    let mut inner = Table::new(node, "provider.httpApi")?;
    let api = HttpApi {
        name: inner.text("name")?,
        payload: Payload::read(&mut inner)?.unwrap_or_default(),
        cors: inner.get("cors").map(|n| Cors::http_api(n, "provider.httpApi.cors")).transpose()?.flatten(),
    };
    only_false(&mut inner, "metrics", "metrics of APIs are not served yet")?;
    only_false(&mut inner, "disableDefaultEndpoint", "there are no custom domains")?;
    // Tags of the provider go to the API in any case.
    inner.flag("useProviderTags")?;
    inner.finish(&[
        ("authorizers", "authorizers are not served yet"),
        ("id", "attaching to an API of another stack is not served yet"),
        ("timeout", "set the function's own timeout"),
    ])?;
    Ok(api)
}

fn rest_api(table: &mut Table<'_>) -> Result<RestApi, Error> {
    let mut api = RestApi { name: table.text("apiName")?, ..RestApi::default() };
    let Some(node) = table.get("apiGateway") else { return Ok(api) };
    let mut inner = Table::new(node, "provider.apiGateway")?;
    api.description = inner.text("description")?;
    api.binary_media_types = inner.texts("binaryMediaTypes")?;
    api.service_first = inner.flag("shouldStartNameWithService")?.unwrap_or(false);
    only_false(&mut inner, "metrics", "metrics of APIs are not served yet")?;
    inner.finish(&[
        ("restApiId", "attaching to an API of another stack is not served yet"),
        ("restApiRootResourceId", "attaching to an API of another stack is not served yet"),
        ("apiKeys", "API keys are not served yet"),
        ("usagePlan", "API keys are not served yet"),
        ("minimumCompressionSize", "compression of answers is not served yet"),
        ("resourcePolicy", "resource policies of APIs are not served yet"),
        ("request", "request models are not served yet"),
        ("disableDefaultEndpoint", "there are no custom domains"),
        ("stage", "the stage of the REST API is the stage of the deploy"),
        ("timeoutInMillis", "set the function's own timeout"),
    ])?;
    Ok(api)
}
