//! A signed AWS client over plain HTTP, as small as the product's own commands need it.
//!
//! Three protocols: JSON with `X-Amz-Target`, REST-JSON, and query with XML answers. Requests are signed with Signature
//! Version 4. A connection that cannot be made, throttling and 503 are tried again, four times at most within about two
//! seconds; anything else is the caller's to judge. `https` endpoints are refused: the product's own listener speaks HTTP.
//!
//! Limits: 60 s per request (960 s for invocations), answers of 100 MiB at most.

mod error;
mod xml;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::http::uri::{Authority, Uri};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value as Json;
use squall_protocol::sigv4::{Credentials, RequestHead, Scope, sha256_hex, sign, uri_encode};
use squall_types::{Clock, Millis};

pub use error::Error;
pub use xml::Element;

const TIMEOUT: Duration = Duration::from_secs(60);
const INVOKE_TIMEOUT: Duration = Duration::from_secs(960);
const ANSWER_BYTES_MAX: usize = 100 << 20;
const TRIES_MAX: u32 = 5;

/// Where the cloud is and who asks.
#[derive(Clone)]
pub struct Endpoint {
    /// Such as `http://127.0.0.1:4566`.
    pub url: String,
    /// Access key id.
    pub access_key: String,
    /// Secret access key.
    pub secret: String,
    /// Session token of temporary credentials.
    pub session_token: Option<String>,
    /// Region that requests are signed for.
    pub region: String,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({}, {}, {})", self.url, self.access_key, self.region)
    }
}

/// A request before it is signed.
#[derive(Clone, Debug, Default)]
pub struct Call<'a> {
    /// Service as in signatures, such as `lambda`.
    pub service: &'a str,
    /// Upper-case method.
    pub method: &'a str,
    /// Path, its parts already encoded ([`encode`]).
    pub path: &'a str,
    /// Query parameters, not encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// Headers besides the client's own, names in lower case.
    pub headers: &'a [(&'a str, &'a str)],
    /// Body.
    pub body: Bytes,
}

/// An answer below 300.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Bytes,
}

impl Answer {
    /// The first header of that lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// The client. Cheap to clone; connections are shared.
#[derive(Clone)]
pub struct Client {
    endpoint: Endpoint,
    authority: Authority,
    prefix: String,
    http: hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>,
    clock: Arc<dyn Clock>,
}

impl Client {
    /// A client for that endpoint; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Endpoint`] for a URL that is not `http://host:port`.
    pub fn new(endpoint: Endpoint, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let fault = |why: &str| Error::Endpoint { url: endpoint.url.clone(), why: why.to_owned() };
        let uri: Uri = endpoint.url.parse().map_err(|_| fault("it is no URL"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(fault("https endpoints are not supported yet; use http:// on this machine")),
            _ => return Err(fault("it must begin with http://")),
        }
        let authority = uri.authority().cloned().ok_or_else(|| fault("it names no host"))?;
        let prefix = uri.path().trim_end_matches('/').to_owned();
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_secs(5)));
        connector.set_nodelay(true);
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { endpoint, authority, prefix, http, clock })
    }

    /// The endpoint's URL without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        self.endpoint.url.trim_end_matches('/')
    }

    /// The region that requests are signed for.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.endpoint.region
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    /// The same client for another region.
    #[must_use]
    pub fn with_region(&self, region: &str) -> Self {
        let mut other = self.clone();
        other.endpoint.region = region.to_owned();
        other
    }

    /// Calls an operation of a JSON service; `target` is `X-Amz-Target`, such as `DynamoDB_20120810.CreateTable`.
    ///
    /// # Errors
    /// [`Error::Service`] with AWS's code and message; the others when the cloud is not reached or not understood.
    pub async fn json(&self, service: &str, target: &str, input: &Json) -> Result<Json, Error> {
        let kind = if service == "dynamodb" { "application/x-amz-json-1.0" } else { "application/x-amz-json-1.1" };
        let call = Call {
            service,
            method: "POST",
            path: "/",
            headers: &[("content-type", kind), ("x-amz-target", target)],
            body: input.to_string().into(),
            ..Call::default()
        };
        parse_json(&self.send(call).await?.body)
    }

    /// Calls an operation of a REST-JSON service.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub async fn rest(
        &self,
        service: &str,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        input: Option<&Json>,
    ) -> Result<Json, Error> {
        let body = input.map_or_else(Bytes::new, |i| i.to_string().into());
        let headers: &[(&str, &str)] = if input.is_some() { &[("content-type", "application/json")] } else { &[] };
        let answer = self.send(Call { service, method, path, query, headers, body }).await?;
        parse_json(&answer.body)
    }

    /// Calls an operation of a query service and answers its result element.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub async fn query(&self, service: &str, action: &str, params: &[(&str, &str)]) -> Result<Element, Error> {
        let version = match service {
            "iam" => "2010-05-08",
            "sts" => "2011-06-15",
            _ => return Err(Error::Answer { operation: action.to_owned(), why: "no such query service".into() }),
        };
        let mut body = format!("Action={action}&Version={version}");
        for (name, value) in params {
            body.push_str(&format!("&{}={}", encode(name), encode(value)));
        }
        let headers = &[("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        let call = Call { service, method: "POST", path: "/", headers, body: body.into(), ..Call::default() };
        let answer = self.send(call).await?;
        let fault = |why: String| Error::Answer { operation: action.to_owned(), why };
        let root = xml::parse(&answer.body).map_err(fault)?;
        Ok(root.child(&format!("{action}Result")).cloned().unwrap_or(root))
    }

    /// Signs and sends a request, again where that is safe and may help.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub async fn send(&self, call: Call<'_>) -> Result<Answer, Error> {
        let mut pause = Duration::from_millis(100);
        for _ in 1..TRIES_MAX {
            match self.once(&call).await {
                Err(e) if e.is_retryable() => tokio::time::sleep(pause).await,
                done => return done,
            }
            pause *= 2;
        }
        self.once(&call).await
    }

    /// Signs and sends a request once, and answers its body as it comes, without a bound: for backups.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub async fn stream(&self, call: Call<'_>) -> Result<hyper::body::Incoming, Error> {
        let reply = self.http.request(self.request(&call)?).await.map_err(|e| self.unreached(&e))?;
        if reply.status() < StatusCode::MULTIPLE_CHOICES {
            return Ok(reply.into_body());
        }
        let status = reply.status().as_u16();
        let why = |e: Box<dyn std::error::Error + Send + Sync>| Error::Answer {
            operation: call.path.to_owned(),
            why: e.to_string(),
        };
        let body = Limited::new(reply.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(why)?.to_bytes();
        Err(error::of_answer(&Answer { status, headers: Vec::new(), body }))
    }

    async fn once(&self, call: &Call<'_>) -> Result<Answer, Error> {
        let operation = || format!("{} {} {}", call.service, call.method, call.path);
        let limit = if call.path.ends_with("/invocations") { INVOKE_TIMEOUT } else { TIMEOUT };
        let request = self.request(call)?;
        let exchange = async {
            let reply = self.http.request(request).await.map_err(|e| self.unreached(&e))?;
            let (head, body) = reply.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|e| Error::Answer { operation: operation(), why: e.to_string() })?.to_bytes();
            Ok::<_, Error>((head, body))
        };
        let (head, body) = match tokio::time::timeout(limit, exchange).await {
            Ok(done) => done?,
            Err(_) => {
                let why = format!("no answer within {} s", limit.as_secs());
                return Err(Error::Answer { operation: operation(), why });
            }
        };
        let headers = head.headers.iter();
        let headers = headers.map(|(n, v)| (n.as_str().to_owned(), String::from_utf8_lossy(v.as_bytes()).into_owned()));
        let answer = Answer { status: head.status.as_u16(), headers: headers.collect(), body };
        if head.status < StatusCode::MULTIPLE_CHOICES { Ok(answer) } else { Err(error::of_answer(&answer)) }
    }

    fn unreached(&self, e: &hyper_util::client::legacy::Error) -> Error {
        let mut why = e.to_string();
        let mut cause = std::error::Error::source(e);
        while let Some(inner) = cause {
            why = inner.to_string();
            cause = inner.source();
        }
        Error::Unreached { url: self.url().to_owned(), why, is_unsent: e.is_connect() }
    }

    fn request(&self, call: &Call<'_>) -> Result<Request<Full<Bytes>>, Error> {
        let path = format!("{}{}", self.prefix, call.path);
        let query =
            call.query.iter().map(|(n, v)| format!("{}={}", encode(n), encode(v))).collect::<Vec<_>>().join("&");
        let host = self.authority.as_str();
        let mut headers: Vec<(&str, &str)> = vec![("host", host)];
        headers.extend(call.headers);
        let head = RequestHead { method: call.method, path: &path, query: &query, headers: headers.clone() };
        let endpoint = &self.endpoint;
        let credentials = Credentials {
            access_key: &endpoint.access_key,
            secret: &endpoint.secret,
            session_token: endpoint.session_token.as_deref(),
        };
        let scope = Scope { region: &endpoint.region, service: call.service, now: self.clock.now() };
        let signed = sign(&head, &sha256_hex(&call.body), &credentials, &scope);
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        let fault = |why: String| Error::Answer { operation: format!("{} {}", call.method, call.path), why };
        let uri = Uri::builder().scheme("http").authority(self.authority.clone()).path_and_query(target);
        let method = Method::from_bytes(call.method.as_bytes()).map_err(|e| fault(e.to_string()))?;
        let mut request = Request::builder().method(method).uri(uri.build().map_err(|e| fault(e.to_string()))?);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        for (name, value) in &signed {
            request = request.header(*name, value);
        }
        request = request.header("user-agent", concat!("squall/", env!("CARGO_PKG_VERSION")));
        request.body(Full::new(call.body.clone())).map_err(|e| fault(e.to_string()))
    }
}

/// One part of a path or query, percent-encoded; slashes too.
#[must_use]
pub fn encode(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    uri_encode(&mut out, part.as_bytes(), false);
    out
}

fn parse_json(body: &[u8]) -> Result<Json, Error> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Json::Null);
    }
    let fault = |e: serde_json::Error| Error::Answer { operation: "reading an answer".into(), why: e.to_string() };
    serde_json::from_slice(body).map_err(fault)
}

#[cfg(test)]
mod tests;
