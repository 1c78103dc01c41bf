//! One entry of `functions`.

use super::provider::{environment, retention, role_arn};
use super::top::check_name;
use super::{Cors, Event, InvokeConfig, Package, Payload, layer, mapping};
use crate::error::{Error, at};
use crate::table::Table;
use crate::yaml::{Entry, Node, Pos, Value};

const REFUSED: &[(&str, &str)] = &[
    ("image", "container images are not served"),
    ("vpc", "VPCs are not served"),
    ("tracing", "tracing is not served yet"),
    ("provisionedConcurrency", "provisioned concurrency is not served yet"),
    ("snapStart", "a deploy publishes no versions, which SnapStart is for"),
    ("onError", "dead-letter queues are not served yet"),
    ("fileSystemConfig", "shared file systems are not served"),
    ("kmsKeyArn", "encryption keys are not served yet"),
    ("awsKmsKeyArn", "encryption keys are not served yet"),
    ("versionFunction", "a deploy publishes no versions"),
    ("condition", "conditions are not served yet"),
    ("dependsOn", "the order of a deploy follows from references"),
    ("iamRoleStatements", "statements stand in provider.iam.role.statements"),
    ("runtimeManagement", "runtimes are those of the host"),
    ("logs", "log formats are not served yet"),
    ("provisioned", "provisioned concurrency is not served yet"),
];

/// A function as the file describes it.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its key.
    pub key: String,
    /// Where the key stands.
    pub at: Pos,
    /// `handler`.
    pub handler: String,
    /// Where the handler is said.
    pub handler_at: Pos,
    /// `runtime`.
    pub runtime: Option<String>,
    /// `memorySize` in MiB.
    pub memory_mb: Option<i64>,
    /// `timeout` in seconds.
    pub timeout_s: Option<i64>,
    /// `environment`.
    pub environment: Vec<(String, String)>,
    /// `description`.
    pub description: Option<String>,
    /// `name`.
    pub name: Option<String>,
    /// ARN in `role`.
    pub role: Option<String>,
    /// `reservedConcurrency`.
    pub reserved_concurrency: Option<i64>,
    /// `ephemeralStorageSize` in MiB.
    pub ephemeral_mb: Option<i64>,
    /// `architecture`.
    pub architecture: Option<String>,
    /// `tags`.
    pub tags: Vec<(String, String)>,
    /// `logRetentionInDays`.
    pub log_retention_days: Option<i64>,
    /// `disableLogs`: no log group is made.
    pub is_unlogged: bool,
    /// `httpApi.payload`.
    pub payload: Option<Payload>,
    /// `url`, here or among the events.
    pub url: Option<Url>,
    /// `events` but for URLs.
    pub events: Vec<Event>,
    /// `package`.
    pub package: Option<Package>,
    /// `layers`: ARNs, or tokens for layers of this file; the provider's where nothing is said.
    pub layers: Option<Vec<String>>,
    /// How it is called asynchronously.
    pub invoke: Option<InvokeConfig>,
}

/// A function URL.
#[derive(Clone, Debug, PartialEq)]
pub struct Url {
    /// `authorizer`.
    pub auth: UrlAuth,
    /// `cors`.
    pub cors: Option<Cors>,
}

/// Who may call a function URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlAuth {
    /// Everybody.
    None,
    /// Signed requests that a policy allows.
    AwsIam,
}

impl Url {
    /// `true`, `false` or a mapping.
    pub(super) fn read(node: &Node, name: &str) -> Result<Option<Self>, Error> {
        match &node.value {
            Value::Bool(false) => return Ok(None),
            Value::Bool(true) => return Ok(Some(Self { auth: UrlAuth::None, cors: None })),
            Value::Map(_) => {}
            _ => return Err(at(&node.at, format!("`{name}` must be true, false or a mapping, not {}", node.kind()))),
        }
        let mut table = Table::new(node, name)?;
        let auth = match table.choice("authorizer", &["none", "aws_iam", "NONE", "AWS_IAM"])?.as_deref() {
            Some("aws_iam" | "AWS_IAM") => UrlAuth::AwsIam,
            _ => UrlAuth::None,
        };
        table.choice("invokeMode", &["BUFFERED"])?;
        let cors = table.get("cors").map(|n| Cors::url(n, &format!("{name}.cors"))).transpose()?.flatten();
        table.finish(&[])?;
        Ok(Some(Self { auth, cors }))
    }
}

impl Function {
    pub(super) fn read(entry: &Entry) -> Result<Self, Error> {
        let key = &entry.key;
        let path = format!("functions.{key}");
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            return Err(at(&entry.at, format!("`{path}`: a function's key has letters, digits, - and _")));
        }
        let mut table = Table::new(&entry.node, &path)?;
        let handler = table.need("handler")?;
        let mut function = Self {
            key: key.clone(),
            at: entry.at.clone(),
            handler: crate::table::text(handler, &table.name("handler"))?,
            handler_at: handler.at.clone(),
            runtime: table.text("runtime")?,
            memory_mb: table.int("memorySize", 128, 10240)?,
            timeout_s: table.int("timeout", 1, 900)?,
            environment: environment(&mut table)?,
            description: table.text("description")?,
            name: table.text("name")?,
            role: table.get("role").map(|n| role_arn(n, &format!("{path}.role"))).transpose()?,
            reserved_concurrency: table.int("reservedConcurrency", 0, 100_000)?,
            ephemeral_mb: table.int("ephemeralStorageSize", 512, 10240)?,
            architecture: table.choice("architecture", &["x86_64", "arm64"])?,
            tags: table.scalars("tags")?,
            log_retention_days: retention(&mut table)?,
            is_unlogged: table.flag("disableLogs")?.unwrap_or(false),
            payload: payload(&mut table)?,
            url: table.get("url").map(|n| Url::read(n, &format!("{path}.url"))).transpose()?.flatten(),
            events: Vec::new(),
            package: table.get("package").map(|n| Package::read(n, &format!("{path}.package"), true)).transpose()?,
            layers: layer::arns(&mut table, "layers")?,
            invoke: mapping::invoke_of(&mut table)?,
        };
        if let Some(name) = &function.name {
            let place = table.get("name").map_or(&entry.at, |n| &n.at);
            if name.is_empty()
                || name.len() > 64
                || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
            {
                return Err(at(place, format!("`{path}.name: {name}`: letters, digits, - and _, at most 64")));
            }
        }
        function.events(&mut table)?;
        table.finish(REFUSED)?;
        Ok(function)
    }

    fn events(&mut self, table: &mut Table<'_>) -> Result<(), Error> {
        let name = table.name("events");
        for node in table.list("events")? {
            match super::read_event(node, &name)? {
                Event::Url(_) if self.url.is_some() => {
                    return Err(at(&node.at, format!("`{name}`: a function has one URL")));
                }
                Event::Url(url) => self.url = Some(url),
                event => self.events.push(event),
            }
        }
        Ok(())
    }
}

fn payload(table: &mut Table<'_>) -> Result<Option<Payload>, Error> {
    let name = table.name("httpApi");
    let Some(node) = table.get("httpApi") else { return Ok(None) };
    let mut inner = Table::new(node, name)?;
    let payload = Payload::read(&mut inner)?;
    inner.finish(&[])?;
    Ok(payload)
}

/// The name that a function has without `name`: `<service>-<stage>-<key>`.
pub(crate) fn default_name(service: &str, stage: &str, key: &str, pos: &Pos) -> Result<String, Error> {
    let name = format!("{service}-{stage}-{key}");
    if name.len() > 64 {
        return Err(at(pos, format!("the function's name `{name}` is longer than 64; give it a `name`")));
    }
    check_name(pos, "stage", stage, 64).map(|()| name)
}
