//! What a deploy wants to be there: the file, expanded to resources with the names that the Serverless Framework gives.
//!
//! | resource | name |
//! |---|---|
//! | stack | `<service>-<stage>` |
//! | function | `<service>-<stage>-<key>` |
//! | role | `<service>-<stage>-<region>-lambdaRole`, its policy `<stage>-<service>-lambda` |
//! | log group | `/aws/lambda/<function>` |
//! | REST API, HTTP API | `<stage>-<service>` |
//!
//! Pure: no I/O, no ids that only the cloud gives.

mod api;
mod events;
mod names;
mod project;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::config::{self, Cors, Payload, Recovery, Service, Ttl, UrlAuth};
use crate::error::{Error, at};
use crate::yaml::Pos;

pub(crate) use events::invoked;
pub use events::{InvokeConfig, Mapping};
pub(crate) use names::{Known, logical, table_name};
pub use project::{Project, Settings, load};

/// Runtime of functions when neither they nor the provider name one (as in version 4 of the framework).
pub const RUNTIME_DEFAULT: &str = "nodejs20.x";
/// Tag that marks what belongs to a stack.
pub const STACK_TAG: &str = "squall:stack";

/// Everything that one file asks for.
#[derive(Clone, Debug, Serialize)]
pub struct Stack {
    /// `<service>-<stage>`, or `provider.stackName`.
    pub name: String,
    /// `service`.
    pub service: String,
    /// Stage.
    pub stage: String,
    /// Region.
    pub region: String,
    /// Roles that are made.
    pub roles: Vec<Role>,
    /// Log groups of the functions.
    pub log_groups: Vec<LogGroup>,
    /// Tables.
    pub tables: Vec<Table>,
    /// Functions.
    pub functions: Vec<Function>,
    /// Layers.
    pub layers: Vec<Layer>,
    /// What reads streams for functions.
    pub mappings: Vec<Mapping>,
    /// How functions are called asynchronously, where it is said.
    pub invoke_configs: Vec<InvokeConfig>,
    /// REST API of the `http` events.
    pub rest_api: Option<RestApi>,
    /// HTTP API of the `httpApi` events.
    pub http_api: Option<HttpApi>,
    /// Named values to report; may hold tokens for ids of APIs.
    pub outputs: Vec<(String, String)>,
}

impl Stack {
    /// A stack that wants nothing, which is how everything is removed.
    #[must_use]
    pub fn nothing(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            service: String::new(),
            stage: String::new(),
            region: String::new(),
            roles: Vec::new(),
            log_groups: Vec::new(),
            tables: Vec::new(),
            functions: Vec::new(),
            layers: Vec::new(),
            mappings: Vec::new(),
            invoke_configs: Vec::new(),
            rest_api: None,
            http_api: None,
            outputs: Vec::new(),
        }
    }
}

/// The role that functions run under.
#[derive(Clone, Debug, Serialize)]
pub struct Role {
    /// Name.
    pub name: String,
    /// Path, `/` at both ends.
    pub path: String,
    /// Name of its inline policy.
    pub policy_name: String,
    /// The inline policy, if there is one.
    pub policy: Option<Json>,
    /// Who may assume it.
    pub trust: Json,
    /// ARNs of attached policies.
    pub managed_policies: Vec<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

/// A log group.
#[derive(Clone, Debug, Serialize)]
pub struct LogGroup {
    /// Name.
    pub name: String,
    /// Days, or for ever.
    pub retention_days: Option<i64>,
}

/// A table.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// Logical id.
    pub logical: String,
    /// Name.
    pub name: String,
    /// Input of CreateTable.
    pub create: Json,
    /// Expiry of items.
    pub ttl: Option<Ttl>,
    /// Point-in-time recovery.
    pub recovery: Option<Recovery>,
    /// Resource policy.
    pub policy: Option<Json>,
    /// Stays when the stack goes.
    pub is_retained: bool,
}

/// A function.
#[derive(Clone, Debug, Serialize)]
pub struct Function {
    /// Key in the file.
    pub key: String,
    /// Name.
    pub name: String,
    /// Description, empty for none.
    pub description: String,
    /// Runtime.
    pub runtime: String,
    /// Handler.
    pub handler: String,
    /// Memory in MiB.
    pub memory_mb: i64,
    /// Timeout in seconds.
    pub timeout_s: i64,
    /// Size of `/tmp` in MiB.
    pub ephemeral_mb: i64,
    /// Variables; may hold tokens for ids of APIs.
    pub environment: BTreeMap<String, String>,
    /// ARN of its role.
    pub role_arn: String,
    /// `x86_64` or `arm64`; the cloud's own when not given.
    pub architecture: Option<String>,
    /// Reserved concurrency.
    pub reserved_concurrency: Option<i64>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Its URL.
    pub url: Option<Url>,
    /// ARNs of its layers, or tokens for those of this stack.
    pub layers: Vec<String>,
}

/// A layer.
#[derive(Clone, Debug, Serialize)]
pub struct Layer {
    /// Logical id.
    pub logical: String,
    /// Name.
    pub name: String,
    /// Description, empty for none.
    pub description: String,
    /// Licence.
    pub license: Option<String>,
    /// Runtimes that it is for.
    pub runtimes: Vec<String>,
    /// Architectures that it is for.
    pub architectures: Vec<String>,
    /// Versions stay when newer ones come and when the stack goes.
    pub is_retained: bool,
}

/// A function URL.
#[derive(Clone, Debug, Serialize)]
pub struct Url {
    /// `NONE` or `AWS_IAM`.
    pub auth: &'static str,
    /// Browsers.
    pub cors: Option<Cors>,
}

/// A REST API with its methods.
#[derive(Clone, Debug, Serialize)]
pub struct RestApi {
    /// Name.
    pub name: String,
    /// Stage.
    pub stage: String,
    /// Description, empty for none.
    pub description: String,
    /// Media types whose bodies are passed as base64.
    pub binary_media_types: Vec<String>,
    /// Methods, sorted by path and method.
    pub methods: Vec<Method>,
    /// Answers to preflight requests by path.
    pub preflights: BTreeMap<String, Cors>,
}

/// A method of a REST API.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Method {
    /// `GET` … or `ANY`.
    pub method: String,
    /// Path without slashes at the ends, empty for the root.
    pub path: String,
    /// Key of the function.
    pub function: String,
}

/// An HTTP API with its routes.
#[derive(Clone, Debug, Serialize)]
pub struct HttpApi {
    /// Name.
    pub name: String,
    /// Browsers.
    pub cors: Option<Cors>,
    /// Routes in the order of the file.
    pub routes: Vec<Route>,
}

/// A route of an HTTP API.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Route {
    /// `$default`, or `GET /users/{id}`.
    pub key: String,
    /// Key of the function.
    pub function: String,
    /// Version of the function's event.
    pub payload: Payload,
}

/// Expands a service.
///
/// # Errors
/// [`Error::Config`] for names that are too long and for routes that two functions claim.
pub(crate) fn expand(service: &Service, at_file: &Pos, known: &Known) -> Result<Stack, Error> {
    let needs_role = service.provider.iam.role.is_none() && service.functions.iter().any(|f| f.role.is_none());
    let role = if needs_role { Some(role(service, at_file, known)?) } else { None };
    let default_role = match (&service.provider.iam.role, &role) {
        (Some(arn), _) => arn.clone(),
        (None, Some(role)) => format!("arn:aws:iam::{}:role{}{}", known.account, role.path, role.name),
        (None, None) => String::new(),
    };
    let mut functions = Vec::new();
    for f in &service.functions {
        functions.push(function(service, f, known, &default_role)?);
    }
    for (i, f) in functions.iter().enumerate() {
        if functions.iter().take(i).any(|g| g.name == f.name) {
            let pos = service.functions.get(i).map_or(at_file, |f| &f.at);
            return Err(at(pos, format!("two functions have the name `{}`", f.name)));
        }
    }
    let logged = service.functions.iter().zip(&functions).filter(|(c, _)| !c.is_unlogged);
    let log_groups = logged.map(|(c, f)| LogGroup {
        name: format!("/aws/lambda/{}", f.name),
        retention_days: c.log_retention_days.or(service.provider.log_retention_days),
    });
    let log_groups = log_groups.collect();
    let tables = service.tables.iter().map(|t| table(t, known)).collect::<Result<Vec<_>, _>>()?;
    Ok(Stack {
        name: known.stack.clone(),
        service: service.name.clone(),
        stage: known.stage.clone(),
        region: known.region.clone(),
        roles: role.into_iter().collect(),
        log_groups,
        tables,
        layers: service.layers.iter().map(layer).collect(),
        mappings: events::mappings(service, known)?,
        invoke_configs: events::invoke_configs(service, known)?,
        functions,
        rest_api: api::rest(service, &known.stage)?,
        http_api: api::http(service, &known.stage)?,
        outputs: service.outputs.clone(),
    })
}

fn role(service: &Service, at_file: &Pos, known: &Known) -> Result<Role, Error> {
    let Known { stage, region, account, .. } = known;
    let iam = &service.provider.iam;
    let name = known.role_name.clone();
    if name.len() > 64 {
        return Err(at(at_file, format!("the role's name `{name}` is longer than 64; give it provider.iam.role.name")));
    }
    // One pattern covers the functions with names of the framework's form; the others are named.
    let prefix = format!("{}-{stage}", service.name);
    let mut groups = vec![format!("{prefix}*")];
    groups.extend(known.functions.values().filter(|n| !n.starts_with(&prefix)).cloned());
    let arns = |end: &str| -> Vec<String> {
        groups.iter().map(|g| format!("arn:aws:logs:{region}:{account}:log-group:/aws/lambda/{g}:{end}")).collect()
    };
    let mut statements = vec![
        json!({
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:CreateLogGroup", "logs:TagResource"],
            "Resource": arns("*"),
        }),
        json!({ "Effect": "Allow", "Action": ["logs:PutLogEvents"], "Resource": arns("*:*") }),
    ];
    statements.extend(events::statements(service, known));
    statements.extend(iam.statements.iter().cloned());
    let mut tags = tags_of(service, known, &[]);
    tags.extend(iam.tags.iter().cloned());
    Ok(Role {
        name,
        path: known.role_path.clone(),
        policy_name: format!("{stage}-{}-lambda", service.name),
        policy: Some(json!({ "Version": "2012-10-17", "Statement": statements })),
        trust: lambda_trust(),
        managed_policies: iam.managed_policies.clone(),
        tags,
    })
}

/// The trust policy of a role for functions.
pub(crate) fn lambda_trust() -> Json {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": ["lambda.amazonaws.com"] },
            "Action": ["sts:AssumeRole"],
        }],
    })
}

/// `STAGE`, the provider's tags, a resource's own, and the mark of the stack.
fn tags_of(service: &Service, known: &Known, own: &[(String, String)]) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::from([("STAGE".to_owned(), known.stage.clone())]);
    tags.extend(service.provider.tags.iter().chain(own).cloned());
    tags.insert(STACK_TAG.into(), known.stack.clone());
    tags
}

fn function(service: &Service, f: &config::Function, known: &Known, default_role: &str) -> Result<Function, Error> {
    let provider = &service.provider;
    let mut environment: BTreeMap<String, String> = provider.environment.iter().cloned().collect();
    environment.extend(f.environment.iter().cloned());
    let name = known.functions.get(&f.key).cloned();
    Ok(Function {
        key: f.key.clone(),
        name: name.ok_or_else(|| at(&f.at, format!("the function `{}` has no name", f.key)))?,
        description: f.description.clone().unwrap_or_default(),
        runtime: f.runtime.as_ref().or(provider.runtime.as_ref()).map_or(RUNTIME_DEFAULT, |r| r).to_owned(),
        handler: f.handler.clone(),
        memory_mb: f.memory_mb.unwrap_or(provider.memory_mb),
        timeout_s: f.timeout_s.unwrap_or(provider.timeout_s),
        ephemeral_mb: f.ephemeral_mb.unwrap_or(512),
        environment,
        role_arn: f.role.clone().unwrap_or_else(|| default_role.to_owned()),
        architecture: f.architecture.clone().or_else(|| provider.architecture.clone()),
        reserved_concurrency: f.reserved_concurrency,
        tags: tags_of(service, known, &f.tags),
        url: f.url.as_ref().map(|u| Url {
            auth: match u.auth {
                UrlAuth::None => "NONE",
                UrlAuth::AwsIam => "AWS_IAM",
            },
            cors: u.cors.clone(),
        }),
        layers: f.layers.clone().unwrap_or_else(|| provider.layers.clone()),
    })
}

fn layer(l: &config::Layer) -> Layer {
    Layer {
        logical: l.logical.clone(),
        name: l.name.clone(),
        description: l.description.clone(),
        license: l.license.clone(),
        runtimes: l.runtimes.clone(),
        architectures: l.architectures.clone(),
        is_retained: l.is_retained,
    }
}

fn table(t: &config::Table, known: &Known) -> Result<Table, Error> {
    let name = known.names.table_name(&t.logical, &t.at)?;
    let mut create = t.create.clone();
    if let Some(map) = create.as_object_mut() {
        map.insert("TableName".into(), name.clone().into());
    }
    Ok(Table {
        logical: t.logical.clone(),
        name,
        create,
        ttl: t.ttl.clone(),
        recovery: t.recovery.clone(),
        policy: t.policy.clone(),
        is_retained: t.is_retained,
    })
}

#[cfg(test)]
mod tests;
