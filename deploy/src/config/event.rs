//! `events` of a function: `http`, `httpApi`, `url` and `stream`.

use serde::Serialize;

use super::provider::only_false;
use super::{Cors, Mapping, Url, mapping};
use crate::error::{Error, at};
use crate::table::{Table, nearest, text};
use crate::yaml::{Node, Pos, Value};

/// Events that the framework has and Squall does not serve yet.
const OTHERS: &[&str] = &[
    "schedule",
    "sqs",
    "sns",
    "s3",
    "dynamodb",
    "kinesis",
    "eventBridge",
    "cloudwatchEvent",
    "cloudwatchLog",
    "cognitoUserPool",
    "websocket",
    "alb",
    "alexaSkill",
    "alexaSmartHome",
    "iot",
    "iotFleetProvisioning",
    "cloudFront",
    "kafka",
    "msk",
    "activemq",
    "rabbitmq",
];

const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "ANY"];

/// Version of the event that a function gets from an HTTP API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Payload {
    /// As from a REST API.
    #[serde(rename = "1.0")]
    V1,
    /// The newer, flatter form.
    #[default]
    #[serde(rename = "2.0")]
    V2,
}

impl Payload {
    /// The version as the API has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "1.0",
            Self::V2 => "2.0",
        }
    }

    pub(super) fn read(table: &mut Table<'_>) -> Result<Option<Self>, Error> {
        let Some(node) = table.get("payload") else { return Ok(None) };
        // Unquoted, YAML takes the version for a number.
        match node.scalar().as_deref() {
            Some("1" | "1.0") => Ok(Some(Self::V1)),
            Some("2" | "2.0") => Ok(Some(Self::V2)),
            _ => Err(at(&node.at, format!("`{}` must be '1.0' or '2.0'", table.name("payload")))),
        }
    }
}

/// What calls a function.
#[derive(Clone, Debug)]
pub enum Event {
    /// A method of the REST API; the path has no slash at either end.
    Http {
        /// Upper-case method, or `ANY`.
        method: String,
        /// Such as `users/{id}`.
        path: String,
        /// Answers to preflight requests.
        cors: Option<Cors>,
        /// Where it is said.
        at: Pos,
    },
    /// A route of the HTTP API.
    HttpApi {
        /// `$default`, or method and path such as `GET /users/{id}`.
        route: String,
        /// Where it is said.
        at: Pos,
    },
    /// A URL of the function's own.
    Url(Url),
    /// A stream of changes.
    Stream(Mapping),
}

/// Reads one entry of `events`; `name` is the dotted name of the list.
pub(crate) fn read(node: &Node, name: &str) -> Result<Event, Error> {
    Event::read(node, name)
}

impl Event {
    fn read(node: &Node, name: &str) -> Result<Self, Error> {
        let entry = match &node.value {
            Value::Map(entries) => match entries.as_slice() {
                [entry] => entry,
                _ => return Err(at(&node.at, format!("each entry of `{name}` has one key, the kind of event"))),
            },
            _ => return Err(at(&node.at, format!("each entry of `{name}` must be a mapping, not {}", node.kind()))),
        };
        let name = format!("{name}.{}", entry.key);
        match entry.key.as_str() {
            "http" => http(&entry.node, &name),
            "httpApi" => http_api(&entry.node, &name),
            "url" => match Url::read(&entry.node, &name)? {
                Some(url) => Ok(Self::Url(url)),
                None => Err(at(&entry.at, format!("`{name}: false` asks for nothing; remove it"))),
            },
            "stream" => mapping::stream(&entry.node, &name).map(Self::Stream),
            other if OTHERS.contains(&other) => Err(at(
                &entry.at,
                format!("the event `{other}` is not supported yet; supported: http, httpApi, url, stream"),
            )),
            other => {
                let hint = nearest(other, &["http", "httpApi", "url", "stream"]);
                let hint = hint.map_or(String::new(), |n| format!("; did you mean `{n}`?"));
                Err(at(&entry.at, format!("unknown event `{other}`{hint}")))
            }
        }
    }
}

fn http(node: &Node, name: &str) -> Result<Event, Error> {
    if let Some(short) = node.as_str() {
        let (method, path) = short.split_once(char::is_whitespace).ok_or_else(|| {
            at(&node.at, format!("`{name}: {short}` must be a method and a path, such as GET users/{{id}}"))
        })?;
        let method = method_of(method, &node.at, name)?;
        return Ok(Event::Http { method, path: rest_path(path, &node.at, name)?, cors: None, at: node.at.clone() });
    }
    let mut table = Table::new(node, name)?;
    let method = table.need("method")?;
    let path = table.need("path")?;
    let event = Event::Http {
        method: method_of(&text(method, "method")?, &method.at, name)?,
        path: rest_path(&text(path, "path")?, &path.at, name)?,
        cors: table.get("cors").map(|n| Cors::rest(n, &format!("{name}.cors"))).transpose()?.flatten(),
        at: node.at.clone(),
    };
    let proxies =
        &["lambda-proxy", "LAMBDA-PROXY", "LAMBDA_PROXY", "lambda_proxy", "aws-proxy", "AWS_PROXY", "aws_proxy"];
    table.choice("integration", proxies)?;
    only_false(&mut table, "private", "API keys are not served yet")?;
    only_false(&mut table, "async", "asynchronous integrations are not served yet")?;
    table.finish(&[
        ("authorizer", "authorizers are not served yet"),
        ("request", "request validation is not served yet; the function sees every parameter"),
        ("response", "only proxy integrations are served: the function writes the whole answer"),
        ("connectionType", "VPC links are not served"),
        ("operationId", "API documentation is not served"),
        ("timeoutInMillis", "set the function's own timeout"),
    ])?;
    Ok(event)
}

fn method_of(method: &str, pos: &Pos, name: &str) -> Result<String, Error> {
    let upper = if method == "*" { "ANY".to_owned() } else { method.to_ascii_uppercase() };
    if METHODS.contains(&upper.as_str()) {
        return Ok(upper);
    }
    Err(at(pos, format!("`{name}`: `{method}` is no method; methods: {}", METHODS.join(", ").to_lowercase())))
}

fn rest_path(path: &str, pos: &Pos, name: &str) -> Result<String, Error> {
    let path = path.trim().trim_matches('/');
    check_path(path, pos, name)?;
    Ok(path.to_owned())
}

/// Parameters stand alone in their segment and have names; `{proxy+}` comes last.
fn check_path(path: &str, pos: &Pos, name: &str) -> Result<(), Error> {
    let segments: Vec<&str> = path.split('/').collect();
    for (i, segment) in segments.iter().enumerate() {
        let wrong = |why: &str| Err(at(pos, format!("`{name}`: path `{path}`: {why}")));
        if segment.is_empty() && segments.len() > 1 {
            return wrong("it has an empty segment");
        }
        let Some(inner) = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) else {
            if segment.contains(['{', '}', ' ', '?', '#']) {
                return wrong("a parameter must be a whole segment, such as {id}");
            }
            continue;
        };
        let plain = inner.strip_suffix('+').unwrap_or(inner);
        if plain.len() < inner.len() && i + 1 < segments.len() {
            return wrong("a parameter with + must be the last segment");
        }
        if plain.is_empty() || !plain.chars().all(|c| c.is_ascii_alphanumeric() || "._-:$".contains(c)) {
            return wrong("a parameter's name has letters, digits and . _ - : $");
        }
    }
    Ok(())
}

fn http_api(node: &Node, name: &str) -> Result<Event, Error> {
    let route = |method: &str, path: &str, pos: &Pos| -> Result<String, Error> {
        let path = path.trim();
        if path == "*" {
            return if method == "*" || method.eq_ignore_ascii_case("any") {
                Ok("$default".into())
            } else {
                Err(at(pos, format!("`{name}`: the path * takes every method; remove `{method}`")))
            };
        }
        let trimmed = path.trim_start_matches('/');
        check_path(trimmed, pos, name)?;
        Ok(format!("{} /{trimmed}", method_of(method, pos, name)?))
    };
    if let Some(short) = node.as_str().map(str::trim) {
        let route = match short.split_once(char::is_whitespace) {
            _ if short == "*" => "$default".to_owned(),
            Some((method, path)) => route(method, path, &node.at)?,
            None => {
                let text = format!("`{name}: {short}` must be * or a method and a path, such as GET /users/{{id}}");
                return Err(at(&node.at, text));
            }
        };
        return Ok(Event::HttpApi { route, at: node.at.clone() });
    }
    let mut table = Table::new(node, name)?;
    let path = table.need("path")?;
    let path_text = text(path, "path")?;
    let method = table.text("method")?;
    if method.is_none() && path_text.trim() != "*" {
        return Err(at(&node.at, format!("`{name}.method` is missing")));
    }
    let route = route(method.as_deref().unwrap_or("*"), &path_text, &path.at)?;
    table.finish(&[
        ("authorizer", "authorizers are not served yet"),
        ("cors", "CORS of an HTTP API stands in provider.httpApi.cors"),
        ("timeout", "set the function's own timeout"),
        ("operationId", "API documentation is not served"),
    ])?;
    Ok(Event::HttpApi { route, at: node.at.clone() })
}
