//! REST APIs: resources with methods, deployments as snapshots, stages.

use super::{Auth, Target};
use crate::definition::{Changes, Definition, Part, parse};
use crate::error::Error;
use crate::router::Router;
use crate::rules;
use crate::tables::{Section, Sort};
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Deployments kept for going back to, besides those that stages name.
const DEPLOYMENTS_KEPT: usize = 100;

/// A REST API.
#[derive(Clone, Debug)]
pub struct RestApi {
    /// Settings, tags, stages.
    pub head: Head,
    /// Resources by id.
    pub resources: BTreeMap<String, Arc<Resource>>,
    /// Deployments by id.
    pub deployments: BTreeMap<String, Arc<Deployment>>,
}

/// What is stored in one row of an API.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Head {
    /// Id.
    pub id: String,
    /// Region.
    pub region: String,
    /// Name.
    pub name: String,
    /// Description.
    pub description: Option<String>,
    /// Version that the user gave.
    pub version: Option<String>,
    /// When it was made, in ms.
    pub created_ms: i64,
    /// Types whose bodies are binary.
    pub binary_media_types: Vec<String>,
    /// `EDGE` or `REGIONAL`.
    pub endpoint_type: String,
    /// `ipv4` or `dualstack`.
    pub ip_address_type: String,
    /// The default endpoint answers 403.
    pub disable_endpoint: bool,
    /// Id of the root resource.
    pub root_id: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Stages by name.
    pub stages: BTreeMap<String, Stage>,
}

/// A resource: one path.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Resource {
    /// Id.
    pub id: String,
    /// Parent's id; `None` for the root.
    pub parent: Option<String>,
    /// Last segment; `None` for the root.
    pub part: Option<String>,
    /// Whole path.
    pub path: String,
    /// Methods by HTTP method or `ANY`.
    pub methods: BTreeMap<String, Method>,
}

/// A method of a resource.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Method {
    /// Authorization type.
    pub auth: Auth,
    /// Name for generated clients.
    pub operation_name: Option<String>,
    /// Declared parameters; without a validator they are documentation.
    pub request_parameters: Option<BTreeMap<String, bool>>,
    /// Declared models; without a validator they are documentation.
    pub request_models: Option<BTreeMap<String, String>>,
    /// Declared responses by status.
    pub responses: BTreeMap<String, MethodResponse>,
    /// Integration.
    pub integration: Option<Integration>,
}

/// A declared response.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct MethodResponse {
    /// Declared headers.
    pub parameters: Option<BTreeMap<String, bool>>,
    /// Declared models.
    pub models: Option<BTreeMap<String, String>>,
}

/// Kinds of integrations that are served.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum IntegrationKind {
    /// `AWS_PROXY` with a Lambda function.
    AwsProxy,
    /// `MOCK`.
    Mock,
}

/// What answers a method.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Integration {
    /// Kind.
    pub kind: IntegrationKind,
    /// HTTP method towards the backend.
    pub http_method: Option<String>,
    /// Backend.
    pub uri: Option<String>,
    /// Role that the backend is called with; without one the function's own policy decides.
    #[serde(default)]
    pub credentials: Option<String>,
    /// `INTERNET` where it was given.
    pub connection_type: Option<String>,
    /// `WHEN_NO_MATCH`, `WHEN_NO_TEMPLATES` or `NEVER`.
    pub passthrough: String,
    /// Request templates by content type (MOCK).
    pub templates: Option<BTreeMap<String, String>>,
    /// `CONVERT_TO_TEXT` where it was given (MOCK).
    pub content_handling: Option<String>,
    /// Timeout.
    pub timeout_ms: i32,
    /// Cache namespace; shown only, there is no cache.
    pub cache_namespace: String,
    /// Responses by status.
    pub responses: BTreeMap<String, IntegrationResponse>,
}

/// How an answer of the backend becomes an answer of the API.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct IntegrationResponse {
    /// Regular expression over the backend's status.
    pub selection_pattern: Option<String>,
    /// Headers with static values in quotes.
    pub parameters: Option<BTreeMap<String, String>>,
    /// Bodies by content type.
    pub templates: Option<BTreeMap<String, String>>,
    /// `CONVERT_TO_TEXT` where it was given.
    pub content_handling: Option<String>,
}

/// A stage.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Stage {
    /// Deployment that it serves.
    pub deployment: String,
    /// Description.
    pub description: Option<String>,
    /// Stage variables.
    pub variables: Option<BTreeMap<String, String>>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// When it was made, in ms.
    pub created_ms: i64,
    /// When it was last changed, in ms.
    pub updated_ms: i64,
}

/// A deployment: the API as it was then.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Deployment {
    /// Id.
    pub id: String,
    /// Description.
    pub description: Option<String>,
    /// When it was made, in ms.
    pub created_ms: i64,
    /// Types whose bodies are binary.
    pub binary_media_types: Vec<String>,
    /// The default endpoint answers 403.
    pub disable_endpoint: bool,
    /// Resources.
    pub resources: Vec<Arc<Resource>>,
    /// The routing table made of them, on first need: old deployments never need theirs.
    #[serde(skip)]
    table: OnceLock<Router<Endpoint>>,
}

/// A method as compiled.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Id of the resource.
    pub resource_id: String,
    /// Path template of the resource.
    pub path: String,
    /// Authorization type.
    pub auth: Auth,
    /// What answers.
    pub action: Action,
}

/// What answers a request.
#[derive(Clone, Debug)]
pub enum Action {
    /// A function.
    Lambda(Target),
    /// The API itself.
    Mock(Mock),
    /// Nothing that works: 500, as AWS answers for an integration that is set up wrongly.
    Broken,
}

/// A MOCK integration as compiled.
#[derive(Clone, Debug)]
pub struct Mock {
    /// Status by content type of the request.
    pub statuses: Vec<(String, u16)>,
    /// What to do with other content types.
    pub passthrough: String,
    /// Answers; the one without a pattern is the default.
    pub answers: Vec<MockAnswer>,
}

/// An answer of a MOCK integration.
#[derive(Clone, Debug)]
pub struct MockAnswer {
    /// Matches the whole status.
    pub pattern: Option<Regex>,
    /// Status of the answer.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Content type and body.
    pub template: Option<(String, String)>,
    /// Whether the method declares the status: AWS answers 500 instead of one that it does not.
    pub is_declared: bool,
}

impl Deployment {
    /// The routing table.
    pub fn router(&self) -> &Router<Endpoint> {
        self.table.get_or_init(|| self.compile())
    }

    fn compile(&self) -> Router<Endpoint> {
        let mut router = Router::default();
        for resource in &self.resources {
            for (name, method) in &resource.methods {
                let endpoint = Endpoint {
                    resource_id: resource.id.clone(),
                    path: resource.path.clone(),
                    auth: method.auth,
                    action: action(method).unwrap_or(Action::Broken),
                };
                router.add(name, &resource.path, endpoint);
            }
        }
        router
    }
}

fn action(method: &Method) -> Option<Action> {
    let integration = method.integration.as_ref()?;
    match integration.kind {
        IntegrationKind::AwsProxy => {
            // Lambda's Invoke is a POST; AWS answers 500 for any other method.
            integration.http_method.as_deref().filter(|m| *m == "POST")?;
            let function = rules::function_of_uri(integration.uri.as_deref()?)?.to_owned();
            let timeout = Duration::from_millis(u64::try_from(integration.timeout_ms).ok()?);
            Some(Action::Lambda(Target { function, timeout, role: integration.credentials.clone() }))
        }
        IntegrationKind::Mock => Some(Action::Mock(mock(integration, &method.responses)?)),
    }
}

fn mock(integration: &Integration, declared: &BTreeMap<String, MethodResponse>) -> Option<Mock> {
    let mut statuses = Vec::new();
    for (content_type, template) in integration.templates.iter().flatten() {
        statuses.push((content_type.clone(), rules::mock_status(template)?));
    }
    let mut answers = Vec::new();
    for (status, response) in &integration.responses {
        let pattern = match response.selection_pattern.as_deref() {
            None | Some("") => None,
            Some(text) => Some(rules::selection(text)?),
        };
        let mut headers = Vec::new();
        for (name, value) in response.parameters.iter().flatten() {
            let name = name.strip_prefix("method.response.header.")?;
            headers.push((name.to_ascii_lowercase(), rules::quoted(value)?.to_owned()));
        }
        let templates = response.templates.as_ref();
        let template = templates.and_then(|t| t.get_key_value("application/json").or_else(|| t.first_key_value()));
        let template = template.map(|(k, v)| (k.clone(), v.clone()));
        let is_declared = declared.contains_key(status);
        answers.push(MockAnswer { pattern, status: status.parse().ok()?, headers, template, is_declared });
    }
    Some(Mock { statuses, passthrough: integration.passthrough.clone(), answers })
}

impl RestApi {
    /// Makes a deployment of the API as it is now; the caller points a stage at it.
    pub fn deploy(&mut self, id: String, description: Option<String>, now_ms: i64) {
        let deployment = Deployment {
            id: id.clone(),
            description,
            created_ms: now_ms,
            binary_media_types: self.head.binary_media_types.clone(),
            disable_endpoint: self.head.disable_endpoint,
            resources: self.resources.values().cloned().collect(),
            table: OnceLock::new(),
        };
        self.deployments.insert(id, Arc::new(deployment));
        self.prune();
    }

    /// Forgets the oldest deployments that no stage names.
    fn prune(&mut self) {
        let named = |id: &String| self.head.stages.values().any(|s| s.deployment == *id);
        let mut idle: Vec<(i64, String)> =
            self.deployments.iter().filter(|(id, _)| !named(id)).map(|(id, d)| (d.created_ms, id.clone())).collect();
        idle.sort_unstable();
        let surplus = idle.len().saturating_sub(DEPLOYMENTS_KEPT);
        for (_, id) in idle.into_iter().take(surplus) {
            self.deployments.remove(&id);
        }
    }
}

impl Definition for RestApi {
    const SORT: Sort = Sort::Rest;

    fn id(&self) -> &str {
        &self.head.id
    }

    fn region(&self) -> &str {
        &self.head.region
    }

    fn changes(&self, before: Option<&Self>) -> Result<Changes, Error> {
        let mut out = Changes::default();
        out.put(Section::Head, "", &self.head)?;
        out.map(Section::Resource, before.map(|b| &b.resources), &self.resources)?;
        out.map(Section::Deployment, before.map(|b| &b.deployments), &self.deployments)?;
        Ok(out)
    }

    fn assemble(parts: Vec<Part>) -> Result<Self, Error> {
        let (mut head, mut resources, mut deployments) = (None, BTreeMap::new(), BTreeMap::new());
        for part in parts {
            match part.section {
                Section::Head => head = Some(parse(&part.body)?),
                Section::Resource => {
                    resources.insert(part.name, Arc::new(parse(&part.body)?));
                }
                Section::Deployment => {
                    deployments.insert(part.name, Arc::new(parse(&part.body)?));
                }
                Section::Route | Section::Integration => {
                    return Err(Error::internal("read a REST API", "a part of an HTTP API"));
                }
            }
        }
        let head = head.ok_or_else(|| Error::internal("read a REST API", "it has no head"))?;
        Ok(Self { head, resources, deployments })
    }
}
