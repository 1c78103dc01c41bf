//! HTTP APIs: routes to integrations, deployments as snapshots, stages.

use super::{Auth, Target};
use crate::definition::{Changes, Definition, Part, parse};
use crate::error::Error;
use crate::router::Router;
use crate::rules;
use crate::tables::{Section, Sort};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Deployments kept for going back to, besides those that stages name.
const DEPLOYMENTS_KEPT: usize = 100;

/// Name of the stage and key of the route that take what no other takes.
pub const DEFAULT: &str = "$default";

/// An HTTP API.
#[derive(Clone, Debug)]
pub struct HttpApi {
    /// Settings, tags, stages.
    pub head: Head,
    /// Routes by id.
    pub routes: BTreeMap<String, Arc<Route>>,
    /// Integrations by id.
    pub integrations: BTreeMap<String, Arc<Integration>>,
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
    /// CORS.
    pub cors: Option<Cors>,
    /// The default endpoint answers 404.
    pub disable_endpoint: bool,
    /// `ipv4` or `dualstack`.
    pub ip_address_type: String,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Stages by name.
    pub stages: BTreeMap<String, Stage>,
}

/// CORS of an API.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Cors {
    /// `Access-Control-Allow-Credentials`.
    pub credentials: Option<bool>,
    /// Allowed request headers.
    pub headers: Option<Vec<String>>,
    /// Allowed methods.
    pub methods: Option<Vec<String>>,
    /// Allowed origins.
    pub origins: Option<Vec<String>>,
    /// Headers that pages may read.
    pub expose: Option<Vec<String>>,
    /// Seconds that a preflight answer holds.
    pub max_age_s: Option<i32>,
}

/// A route.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Route {
    /// Id.
    pub id: String,
    /// `METHOD /path` or `$default`.
    pub key: String,
    /// Authorization type.
    pub auth: Auth,
    /// Id of the integration.
    pub integration: Option<String>,
    /// Name for generated clients.
    pub operation_name: Option<String>,
    /// Made by quick create.
    pub managed: bool,
}

/// Versions of the event and answer format.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum Payload {
    /// As REST APIs.
    #[serde(rename = "1.0")]
    V1,
    /// The short one.
    #[serde(rename = "2.0")]
    V2,
}

impl Payload {
    /// The API's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "1.0",
            Self::V2 => "2.0",
        }
    }
}

/// A Lambda proxy integration.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Integration {
    /// Id.
    pub id: String,
    /// Description.
    pub description: Option<String>,
    /// HTTP method towards the backend; `POST`.
    pub method: Option<String>,
    /// Function ARN, plain or as API Gateway's invocation URI.
    pub uri: String,
    /// Format of events.
    pub payload: Payload,
    /// Timeout.
    pub timeout_ms: i32,
    /// Made by quick create.
    pub managed: bool,
}

/// A stage.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Stage {
    /// Deployment that it serves.
    pub deployment: Option<String>,
    /// Deploys every change by itself.
    pub auto_deploy: bool,
    /// Description.
    pub description: Option<String>,
    /// Stage variables.
    pub variables: BTreeMap<String, String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// When it was made, in ms.
    pub created_ms: i64,
    /// When it was last changed, in ms.
    pub updated_ms: i64,
    /// Made by quick create.
    pub managed: bool,
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
    /// Made by a stage that deploys by itself.
    pub auto: bool,
    /// CORS.
    pub cors: Option<Cors>,
    /// Routes.
    pub routes: Vec<Arc<Route>>,
    /// Integrations by id.
    pub integrations: BTreeMap<String, Arc<Integration>>,
    /// The routing table made of them, on first need: old deployments never need theirs.
    #[serde(skip)]
    table: OnceLock<Router<Endpoint>>,
}

/// A route as compiled.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Route key.
    pub key: String,
    /// Authorization type.
    pub auth: Auth,
    /// Format of events.
    pub payload: Payload,
    /// The function; without one the route answers 500, as on AWS.
    pub target: Option<Target>,
}

impl Deployment {
    /// The routing table.
    pub fn router(&self) -> &Router<Endpoint> {
        self.table.get_or_init(|| self.compile())
    }

    fn compile(&self) -> Router<Endpoint> {
        let mut router = Router::default();
        for route in &self.routes {
            let integration = route.integration.as_ref().and_then(|id| self.integrations.get(id));
            let endpoint = Endpoint {
                key: route.key.clone(),
                auth: route.auth,
                payload: integration.map_or(Payload::V2, |i| i.payload),
                target: integration.and_then(|i| target(i)),
            };
            match route.key.split_once(' ') {
                Some((method, path)) => router.add(method, path, endpoint),
                None => router.set_fallback(endpoint),
            }
        }
        router
    }
}

fn target(integration: &Integration) -> Option<Target> {
    let function = rules::function_of_uri(&integration.uri)?.to_owned();
    let timeout = Duration::from_millis(u64::try_from(integration.timeout_ms).ok()?);
    Some(Target { function, timeout, role: None })
}

impl HttpApi {
    /// Makes a deployment of the API as it is now; the caller points a stage at it.
    pub fn deploy(&mut self, id: String, description: Option<String>, auto: bool, now_ms: i64) {
        let deployment = Deployment {
            id: id.clone(),
            description,
            created_ms: now_ms,
            auto,
            cors: self.head.cors.clone(),
            routes: self.routes.values().cloned().collect(),
            integrations: self.integrations.clone(),
            table: OnceLock::new(),
        };
        self.deployments.insert(id, Arc::new(deployment));
        self.prune();
    }

    /// Forgets the oldest deployments that no stage names: automatic ones at once, as every change makes one.
    pub fn prune(&mut self) {
        let named = |id: &String| self.head.stages.values().any(|s| s.deployment.as_ref() == Some(id));
        self.deployments.retain(|id, d| !d.auto || named(id));
        let mut idle: Vec<(i64, String)> =
            self.deployments.iter().filter(|(id, _)| !named(id)).map(|(id, d)| (d.created_ms, id.clone())).collect();
        idle.sort_unstable();
        let surplus = idle.len().saturating_sub(DEPLOYMENTS_KEPT);
        for (_, id) in idle.into_iter().take(surplus) {
            self.deployments.remove(&id);
        }
    }

    /// Whether what a deployment would hold differs.
    #[must_use]
    pub fn differs(&self, before: &Self) -> bool {
        fn same<T>(a: &BTreeMap<String, Arc<T>>, b: &BTreeMap<String, Arc<T>>) -> bool {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(a.1, b.1))
        }
        self.head.cors != before.head.cors
            || !same(&self.routes, &before.routes)
            || !same(&self.integrations, &before.integrations)
    }
}

impl Definition for HttpApi {
    const SORT: Sort = Sort::Http;

    fn id(&self) -> &str {
        &self.head.id
    }

    fn region(&self) -> &str {
        &self.head.region
    }

    fn changes(&self, before: Option<&Self>) -> Result<Changes, Error> {
        let mut out = Changes::default();
        out.put(Section::Head, "", &self.head)?;
        out.map(Section::Route, before.map(|b| &b.routes), &self.routes)?;
        out.map(Section::Integration, before.map(|b| &b.integrations), &self.integrations)?;
        out.map(Section::Deployment, before.map(|b| &b.deployments), &self.deployments)?;
        Ok(out)
    }

    fn assemble(parts: Vec<Part>) -> Result<Self, Error> {
        let (mut head, mut routes) = (None, BTreeMap::new());
        let (mut integrations, mut deployments) = (BTreeMap::new(), BTreeMap::new());
        for part in parts {
            match part.section {
                Section::Head => head = Some(parse(&part.body)?),
                Section::Route => {
                    routes.insert(part.name, Arc::new(parse(&part.body)?));
                }
                Section::Integration => {
                    integrations.insert(part.name, Arc::new(parse(&part.body)?));
                }
                Section::Deployment => {
                    deployments.insert(part.name, Arc::new(parse(&part.body)?));
                }
                Section::Resource => return Err(Error::internal("read an HTTP API", "a part of a REST API")),
            }
        }
        let head = head.ok_or_else(|| Error::internal("read an HTTP API", "it has no head"))?;
        Ok(Self { head, routes, integrations, deployments })
    }
}
