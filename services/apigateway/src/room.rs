//! The rooms themselves: what they hold, and how the gateway sees them.

use crate::api::{apigateway, apigatewayv2};
use crate::error::Error;
use crate::model::http::HttpApi;
use crate::model::rest::RestApi;
use crate::registry::Registry;
use async_trait::async_trait;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use squall_protocol::schema::Location;
use squall_protocol::{Operation, Service, ServiceError, Value};
use squall_service::{Access, BodyLimit, Ctx, Deps, Identity, Invoke, Room};
use std::sync::Arc;

/// Letters of generated ids.
const ID_ALPHABET: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// What stays as it is in the resource names of IAM policies.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'$');

/// REST and HTTP APIs.
pub struct ApiGateway {
    pub(crate) deps: Deps,
    pub(crate) invoke: Arc<dyn Invoke>,
    pub(crate) identity: Arc<dyn Identity>,
    pub(crate) domain: Option<String>,
    pub(crate) port: u16,
    pub(crate) rest: Registry<RestApi>,
    pub(crate) http: Registry<HttpApi>,
}

impl ApiGateway {
    /// Opens the rooms. `domain` is the operator's domain, if any; `port` is the gateway's, for the addresses shown.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn open(
        deps: Deps,
        invoke: Arc<dyn Invoke>,
        identity: Arc<dyn Identity>,
        domain: Option<String>,
        port: u16,
    ) -> Result<Arc<Self>, Error> {
        let rest = Registry::load(deps.state.clone()).await?;
        let http = Registry::load(deps.state.clone()).await?;
        Ok(Arc::new(Self { deps, invoke, identity, domain, port, rest, http }))
    }

    /// The rooms `apigateway` and `apigatewayv2`.
    #[must_use]
    pub fn rooms(self: &Arc<Self>) -> Vec<Arc<dyn Room>> {
        vec![Arc::new(RestRoom(self.clone())), Arc::new(HttpRoom(self.clone()))]
    }

    /// The address of an API without a stage: under the operator's domain where there is one, else on `localhost`.
    pub(crate) fn endpoint(&self, region: &str, id: &str) -> String {
        match &self.domain {
            Some(domain) => format!("https://{id}.execute-api.{region}.{domain}"),
            None => format!("http://{id}.execute-api.{region}.localhost:{}", self.port),
        }
    }

    /// A fresh id of an API; REST and HTTP APIs share one space, because hosts name them alike.
    pub(crate) fn new_api_id(&self) -> String {
        self.new_id(10, |id| self.rest.by_id(id).is_some() || self.http.by_id(id).is_some())
    }

    /// An id that nothing has yet.
    pub(crate) fn new_id(&self, length: usize, is_taken: impl Fn(&String) -> bool) -> String {
        loop {
            let id = self.deps.random.text(ID_ALPHABET, length);
            if !is_taken(&id) {
                return id;
            }
        }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.deps.clock.now().0
    }
}

/// The room `apigateway`.
pub struct RestRoom(pub(crate) Arc<ApiGateway>);

/// The room `apigatewayv2`.
pub struct HttpRoom(pub(crate) Arc<ApiGateway>);

#[async_trait]
impl Room for RestRoom {
    fn service(&self) -> &'static Service {
        &apigateway::SERVICE
    }

    fn access(&self, ctx: &Ctx, op: &'static Operation, input: &Value) -> Vec<Access> {
        let mut accesses = access(ctx, op, input);
        let role = op.input.and_then(|shape| input.text(shape, "credentials")).filter(|role| !role.is_empty());
        if let (Some(role), "PutIntegration") = (role, op.name) {
            let mut pass = Access::new("iam:PassRole", role);
            pass.context.push(("iam:PassedToService".into(), vec![crate::PRINCIPAL.into()]));
            accesses.push(pass);
        }
        accesses
    }

    fn body_limit(&self, _op: Option<&'static Operation>) -> BodyLimit {
        body_limit()
    }

    async fn call(&self, ctx: &Ctx, op: &'static Operation, input: Value) -> Result<Value, ServiceError> {
        apigateway::dispatch(self, ctx, op, input).await
    }
}

#[async_trait]
impl Room for HttpRoom {
    fn service(&self) -> &'static Service {
        &apigatewayv2::SERVICE
    }

    fn access(&self, ctx: &Ctx, op: &'static Operation, input: &Value) -> Vec<Access> {
        access(ctx, op, input)
    }

    fn body_limit(&self, _op: Option<&'static Operation>) -> BodyLimit {
        body_limit()
    }

    async fn call(&self, ctx: &Ctx, op: &'static Operation, input: Value) -> Result<Value, ServiceError> {
        apigatewayv2::dispatch(self, ctx, op, input).await
    }
}

fn body_limit() -> BodyLimit {
    BodyLimit {
        bytes_max: 6 * 1024 * 1024,
        error: || {
            ServiceError::client("RequestEntityTooLargeException", 413, "Request must be smaller than 6291456 bytes")
        },
    }
}

/// `apigateway:METHOD` on the path of the operation, without the version prefix of HTTP APIs.
fn access(ctx: &Ctx, op: &'static Operation, input: &Value) -> Vec<Access> {
    let template = op.uri.split_once('?').map_or(op.uri, |(path, _)| path);
    let template = template.strip_prefix("/v2").unwrap_or(template);
    let mut path = String::new();
    for segment in template.split('/').skip(1) {
        path.push('/');
        match segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
            Some(label) => {
                let value = label_value(op, input, label.trim_end_matches('+')).unwrap_or("*");
                path.extend(utf8_percent_encode(value, PLAIN));
            }
            None => path.push_str(segment),
        }
    }
    let resource = format!("arn:aws:apigateway:{}::{path}", ctx.region);
    vec![Access::new(format!("apigateway:{}", op.method), resource)]
}

fn label_value<'v>(op: &'static Operation, input: &'v Value, label: &str) -> Option<&'v str> {
    let members = op.input?.members();
    let index = members.iter().position(|m| m.location == Location::Uri && m.wire == label)?;
    input.member(u16::try_from(index).ok()?)?.as_str()
}

/// Forwards each operation to its function under `ops/`.
macro_rules! forward {
    ($room:ident, $api:ident, $($op:ident($input:ident) -> $output:ident = $path:path;)*) => {
        #[async_trait]
        impl $api::Api for $room {
            $(async fn $op(&self, ctx: &Ctx, input: $api::$input) -> Result<$api::$output, ServiceError> {
                Ok($path(&self.0, ctx, input).await?)
            })*
        }
    };
}
pub(crate) use forward;
