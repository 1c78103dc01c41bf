//! `cors` in its three places, each with the framework's defaults.

use serde::Serialize;

use crate::error::{Error, at};
use crate::table::Table;
use crate::yaml::{Node, Value};

const HEADERS: &[&str] = &[
    "Content-Type",
    "X-Amz-Date",
    "Authorization",
    "X-Api-Key",
    "X-Amz-Security-Token",
    "X-Amz-User-Agent",
    "X-Amzn-Trace-Id",
];

/// Who may call from a browser.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cors {
    /// Origins.
    pub origins: Vec<String>,
    /// Request headers.
    pub headers: Vec<String>,
    /// Methods; empty means those that the routes have.
    pub methods: Vec<String>,
    /// Response headers that scripts may read.
    pub exposed_headers: Vec<String>,
    /// Cookies and authorization may be sent.
    pub credentials: bool,
    /// Seconds that a browser may remember the answer.
    pub max_age_s: Option<i64>,
}

impl Cors {
    fn defaults(headers: &[&str]) -> Self {
        let headers = headers.iter().map(|h| (*h).to_owned()).collect();
        Self { origins: vec!["*".into()], headers, ..Self::default() }
    }

    /// `true`, `false` or something to read.
    fn switch<'a>(node: &'a Node, name: &str, all: Cors) -> Result<Result<Option<Cors>, Table<'a>>, Error> {
        match &node.value {
            Value::Bool(true) => Ok(Ok(Some(all))),
            Value::Bool(false) => Ok(Ok(None)),
            Value::Map(_) => Ok(Err(Table::new(node, name)?)),
            _ => Err(at(&node.at, format!("`{name}` must be true, false or a mapping, not {}", node.kind()))),
        }
    }

    /// `provider.httpApi.cors`.
    pub(super) fn http_api(node: &Node, name: &str) -> Result<Option<Cors>, Error> {
        let all = Self::defaults(HEADERS);
        let mut table = match Self::switch(node, name, all.clone())? {
            Ok(done) => return Ok(done),
            Err(table) => table,
        };
        let cors = Self {
            origins: or(table.texts("allowedOrigins")?, all.origins),
            headers: or(table.texts("allowedHeaders")?, all.headers),
            methods: table.texts("allowedMethods")?,
            exposed_headers: table.texts("exposedResponseHeaders")?,
            credentials: table.flag("allowCredentials")?.unwrap_or(false),
            max_age_s: table.int("maxAge", 0, 86400)?,
        };
        table.finish(&[])?;
        Ok(Some(cors))
    }

    /// `cors` of a function URL.
    pub(super) fn url(node: &Node, name: &str) -> Result<Option<Cors>, Error> {
        let mut all = Self::defaults(&HEADERS[..5]);
        all.methods = vec!["*".into()];
        let mut table = match Self::switch(node, name, all.clone())? {
            Ok(done) => return Ok(done),
            Err(table) => table,
        };
        let cors = Self {
            origins: or(table.texts_or_text("allowedOrigins")?, all.origins),
            headers: or(table.texts_or_text("allowedHeaders")?, all.headers),
            methods: or(table.texts_or_text("allowedMethods")?, all.methods),
            exposed_headers: table.texts_or_text("exposedResponseHeaders")?,
            credentials: table.flag("allowCredentials")?.unwrap_or(false),
            max_age_s: table.int("maxAge", 0, 86400)?,
        };
        table.finish(&[])?;
        Ok(Some(cors))
    }

    /// `cors` of an `http` event.
    pub(super) fn rest(node: &Node, name: &str) -> Result<Option<Cors>, Error> {
        let all = Self::defaults(HEADERS);
        let mut table = match Self::switch(node, name, all.clone())? {
            Ok(done) => return Ok(done),
            Err(table) => table,
        };
        let mut origins = table.texts_or_text("origin")?;
        origins.extend(table.texts_or_text("origins")?);
        if origins.len() > 1 {
            return Err(at(table.pos(), format!("`{name}`: a REST API answers one origin; give one, or '*'")));
        }
        let cors = Self {
            origins: or(origins, all.origins),
            headers: or(table.texts_or_text("headers")?, all.headers),
            methods: table.texts("methods")?,
            exposed_headers: Vec::new(),
            credentials: table.flag("allowCredentials")?.unwrap_or(false),
            max_age_s: table.int("maxAge", 1, 86400)?,
        };
        table.finish(&[("cacheControl", "set the header in the function's own answer")])?;
        Ok(Some(cors))
    }
}

fn or(given: Vec<String>, default: Vec<String>) -> Vec<String> {
    if given.is_empty() { default } else { given }
}
