//! Finds the operation that a request asks for.
//!
//! JSON services name it in `X-Amz-Target`, query services in the `Action` parameter; REST services are matched by method and
//! URI template. REST templates are compiled once per service and kept for the life of the process: tables are `static`, so
//! the number of entries is the number of services.
//!
//! This module reads no more of a body than it needs for `Action`, and never checks input.

use crate::http::Head;
use crate::schema::{Operation, Protocol, Service};
use crate::{Fault, ServiceError};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{OnceLock, RwLock};

/// Longest operation name that is repeated to the caller.
const NAME_BYTES_MAX: usize = 128;

/// The operation and what its URI carried.
#[derive(Clone, Debug)]
pub struct Route {
    /// The operation.
    pub op: &'static Operation,
    /// Labels of the URI template, percent-decoded, in the template's order. Empty outside the REST protocols.
    pub labels: Vec<(&'static str, String)>,
}

/// Why no operation was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The API has no such operation; the name as asked for, empty when the request names none.
    #[error("unknown operation {0:?}")]
    Unknown(String),
    /// The API has the operation, this server does not.
    #[error("operation {0} is not served")]
    Unserved(&'static str),
}

impl RouteError {
    /// The answer that the caller gets.
    #[must_use]
    pub fn into_error(self, service: &Service) -> ServiceError {
        match self {
            RouteError::Unknown(name) => unknown_error(service, &name),
            RouteError::Unserved(name) => unserved_error(service, name),
        }
    }
}

/// AWS's answer to an operation that the API does not have.
#[must_use]
pub fn unknown_error(service: &Service, name: &str) -> ServiceError {
    match service.protocol {
        Protocol::Json => ServiceError::client("UnknownOperationException", 400, ""),
        Protocol::Query => {
            let name = if name.is_empty() { "null" } else { name };
            let version = service.api_version;
            ServiceError::client("InvalidAction", 400, format!("Could not find operation {name} for version {version}"))
        }
        Protocol::RestJson | Protocol::RestXml => ServiceError::client("UnknownOperationException", 404, ""),
    }
}

/// The answer to an operation that the API has and this server does not. It is no answer of AWS's: it says plainly what is missing.
#[must_use]
pub fn unserved_error(service: &Service, name: &str) -> ServiceError {
    let text = format!("The operation {name} is part of the {} API but is not served by this version", service.name);
    let code = match service.protocol {
        Protocol::Json | Protocol::RestJson => "NotImplementedException",
        Protocol::Query | Protocol::RestXml => "NotImplemented",
    };
    ServiceError { fault: Fault::Server, ..ServiceError::client(code, 501, text) }
}

/// Finds the operation.
///
/// # Errors
/// [`RouteError::Unknown`] when nothing matches, [`RouteError::Unserved`] when the model's operation is not served.
pub fn route(service: &'static Service, head: &Head, body: &Bytes) -> Result<Route, RouteError> {
    match service.protocol {
        Protocol::Json => {
            let target = head.header("x-amz-target").unwrap_or_default();
            let name = target.strip_prefix(service.target_prefix).and_then(|t| t.strip_prefix('.'));
            named(service, name.unwrap_or_default())
        }
        Protocol::Query => named(service, &action(head, body)),
        Protocol::RestJson | Protocol::RestXml => Matcher::of(service).find(head),
    }
}

fn named(service: &'static Service, name: &str) -> Result<Route, RouteError> {
    if let Some(op) = service.operation(name) {
        return Ok(Route { op, labels: Vec::new() });
    }
    match service.unserved.binary_search_by(|o| o.0.cmp(name)) {
        Ok(at) => Err(RouteError::Unserved(service.unserved[at].0)),
        Err(_) => Err(RouteError::Unknown(clip(name))),
    }
}

/// The name, short enough to be repeated.
fn clip(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(NAME_BYTES_MAX).collect()
}

/// The `Action` parameter; the body's counts before the query string's.
fn action(head: &Head, body: &Bytes) -> String {
    let find = |form: &[u8]| {
        let value = form.split(|b| *b == b'&').find_map(|pair| pair.strip_prefix(b"Action="))?;
        Some(String::from_utf8_lossy(value.get(..NAME_BYTES_MAX).unwrap_or(value)).into_owned())
    };
    let raw = find(body).or_else(|| find(head.query.as_bytes())).unwrap_or_default();
    percent_decode_str(&raw).decode_utf8_lossy().into_owned()
}

/// A piece of a URI template between slashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Segment {
    Literal(&'static str),
    Label(&'static str),
    /// Takes one or more segments.
    Greedy(&'static str),
}

#[derive(Debug)]
enum Target {
    Served(&'static Operation),
    Unserved(&'static str),
}

#[derive(Debug)]
struct Template {
    method: &'static str,
    segments: Vec<Segment>,
    /// Parameters that the request must carry; without a value any will do.
    query: Vec<(&'static str, Option<&'static str>)>,
    target: Target,
}

impl Template {
    fn parse(method: &'static str, uri: &'static str, target: Target) -> Self {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let segments = split(path)
            .map(|s| match s.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
                Some(label) => label.strip_suffix('+').map_or(Segment::Label(label), Segment::Greedy),
                None => Segment::Literal(s),
            })
            .collect();
        let query = query
            .split('&')
            .filter(|p| !p.is_empty())
            .map(|p| p.split_once('=').map_or((p, None), |(k, v)| (k, Some(v).filter(|v| !v.is_empty()))))
            .collect();
        Self { method, segments, query, target }
    }

    fn greedy(&self) -> bool {
        self.segments.iter().any(|s| matches!(s, Segment::Greedy(_)))
    }

    /// More specific templates come first: literals before labels, and more constant parameters before fewer.
    fn order(&self, other: &Self) -> Ordering {
        let rank = |s: &Segment| match s {
            Segment::Literal(_) => 0,
            Segment::Label(_) => 1,
            Segment::Greedy(_) => 2,
        };
        let path = self.segments.iter().map(rank).cmp(other.segments.iter().map(rank));
        let values = |t: &Self| t.query.iter().filter(|(_, v)| v.is_some()).count();
        path.then(other.query.len().cmp(&self.query.len())).then(values(other).cmp(&values(self)))
    }

    /// The labels, if path and query fit.
    fn fit(&self, path: &[&str], query: &str) -> Option<Vec<(&'static str, String)>> {
        let mut labels = Vec::new();
        let mut at = 0;
        for (i, segment) in self.segments.iter().enumerate() {
            match segment {
                Segment::Literal(text) => {
                    let sent = path.get(at)?;
                    (sent == text || decoded(sent)? == *text).then_some(())?;
                    at += 1;
                }
                Segment::Label(name) => {
                    let sent = path.get(at).filter(|s| !s.is_empty())?;
                    labels.push((*name, decoded(sent)?.into_owned()));
                    at += 1;
                }
                Segment::Greedy(name) => {
                    let after = self.segments.len() - i - 1;
                    let end = path.len().checked_sub(after).filter(|end| *end > at)?;
                    labels.push((*name, decoded(&path.get(at..end)?.join("/"))?.into_owned()));
                    at = end;
                }
            }
        }
        let fits = at == path.len() && self.query.iter().all(|(k, v)| has_param(query, k, *v));
        fits.then_some(labels)
    }
}

fn decoded(s: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(s).decode_utf8().ok()
}

fn has_param(query: &str, name: &str, value: Option<&str>) -> bool {
    query.split('&').any(|pair| {
        let (k, v) = pair.split_once('=').unwrap_or((pair, ""));
        let same = |sent: &str, wanted: &str| decoded(sent).is_some_and(|s| s == wanted);
        same(k, name) && value.is_none_or(|wanted| same(v, wanted))
    })
}

/// Segments of a path; one slash at the end does not count.
fn split(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/').filter(move |_| !path.is_empty())
}

/// The templates of one service.
#[derive(Debug)]
struct Matcher {
    /// By the number of segments, most specific first.
    plain: HashMap<usize, Vec<Template>>,
    greedy: Vec<Template>,
}

impl Matcher {
    /// The service's matcher, made on first use and never dropped.
    fn of(service: &'static Service) -> &'static Self {
        static ALL: OnceLock<RwLock<HashMap<usize, &'static Matcher>>> = OnceLock::new();
        let all = ALL.get_or_init(Default::default);
        let key = std::ptr::from_ref(service).addr();
        // A panic cannot happen while the lock is held, and the map is valid at every step anyway.
        if let Some(found) = all.read().unwrap_or_else(|e| e.into_inner()).get(&key) {
            return found;
        }
        let mut all = all.write().unwrap_or_else(|e| e.into_inner());
        all.entry(key).or_insert_with(|| Box::leak(Box::new(Self::new(service))))
    }

    fn new(service: &'static Service) -> Self {
        let served = service.operations.iter().map(|op| Template::parse(op.method, op.uri, Target::Served(op)));
        let unserved =
            service.unserved.iter().map(|(name, method, uri)| Template::parse(method, uri, Target::Unserved(name)));
        let mut all: Vec<_> = served.chain(unserved).collect();
        all.sort_by(Template::order);
        let mut matcher = Self { plain: HashMap::new(), greedy: Vec::new() };
        for template in all {
            if template.greedy() {
                matcher.greedy.push(template);
            } else {
                matcher.plain.entry(template.segments.len()).or_default().push(template);
            }
        }
        matcher
    }

    fn find(&self, head: &Head) -> Result<Route, RouteError> {
        let path: Vec<&str> = split(&head.path).collect();
        let plain = self.plain.get(&path.len()).map(Vec::as_slice).unwrap_or_default();
        let found = first(plain, head, &path).or_else(|| {
            // A greedy label keeps the slash at the end: S3's keys may end with one.
            let whole: Vec<&str> = head.path.strip_prefix('/').unwrap_or(&head.path).split('/').collect();
            let fits_plainly = first(&self.greedy, head, &path)?;
            Some(first(&self.greedy, head, &whole).unwrap_or(fits_plainly))
        });
        match found {
            Some((Target::Served(op), labels)) => Ok(Route { op, labels }),
            Some((Target::Unserved(name), _)) => Err(RouteError::Unserved(name)),
            None => Err(RouteError::Unknown(clip(&format!("{} {}", head.method, head.path)))),
        }
    }
}

type Found<'a> = (&'a Target, Vec<(&'static str, String)>);

fn first<'a>(templates: &'a [Template], head: &Head, path: &[&str]) -> Option<Found<'a>> {
    let mut of_method = templates.iter().filter(|t| t.method == head.method);
    of_method.find_map(|t| Some((&t.target, t.fit(path, &head.query)?)))
}

#[cfg(test)]
mod tests;
