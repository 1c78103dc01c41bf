//! CORS of HTTP APIs: preflights are answered here, and answers of functions get the headers.

use super::call::header;
use crate::model::http::Cors;
use squall_protocol::Reply;
use squall_service::HttpRequest;

/// Whether a request asks for permission.
pub fn is_preflight(request: &HttpRequest) -> bool {
    request.method == "OPTIONS" && header(request, "access-control-request-method").is_some()
}

fn has(list: Option<&Vec<String>>, word: &str) -> bool {
    list.into_iter().flatten().any(|w| w == "*" || w.eq_ignore_ascii_case(word))
}

/// What `Access-Control-Allow-Origin` says; `None` when the origin is not allowed.
fn shown_origin<'a>(cors: &Cors, origin: &'a str) -> Option<&'a str> {
    let origins = cors.origins.as_ref()?;
    if origins.iter().any(|o| o == "*") {
        return Some("*");
    }
    let fits = |o: &String| {
        o.eq_ignore_ascii_case(origin)
            || o.strip_suffix("://*").is_some_and(|s| origin.split_once("://").is_some_and(|(p, _)| p == s))
    };
    origins.iter().any(fits).then_some(origin)
}

/// The answer to a preflight.
pub fn preflight(cors: &Cors, request: &HttpRequest) -> Reply {
    let mut reply = Reply { status: 204, ..Reply::default() };
    let method = header(request, "access-control-request-method").unwrap_or_default();
    let asked = header(request, "access-control-request-headers").unwrap_or_default();
    let names_fit = asked.split(',').map(str::trim).filter(|n| !n.is_empty()).all(|n| has(cors.headers.as_ref(), n));
    let origin = header(request, "origin").unwrap_or_default();
    if shown_origin(cors, origin).is_none() || !has(cors.methods.as_ref(), method) || !names_fit {
        return reply;
    }
    add(cors, origin, &mut reply);
    let mut list = |name: &str, words: Option<&Vec<String>>| {
        if let Some(words) = words.filter(|w| !w.is_empty()) {
            reply.headers.push((name.into(), words.join(",")));
        }
    };
    list("access-control-allow-methods", cors.methods.as_ref());
    list("access-control-allow-headers", cors.headers.as_ref());
    if let Some(age) = cors.max_age_s {
        reply.headers.push(("access-control-max-age".into(), age.to_string()));
    }
    reply
}

/// Adds the headers to an answer. What the function says itself gives way.
pub fn add(cors: &Cors, origin: &str, reply: &mut Reply) {
    reply.headers.retain(|(n, _)| !n.starts_with("access-control-"));
    let Some(shown) = shown_origin(cors, origin) else { return };
    reply.headers.push(("access-control-allow-origin".into(), shown.to_owned()));
    if shown != "*" {
        reply.headers.push(("vary".into(), "Origin".into()));
    }
    if cors.credentials == Some(true) {
        reply.headers.push(("access-control-allow-credentials".into(), "true".into()));
    }
    if let Some(expose) = cors.expose.as_ref().filter(|e| !e.is_empty()) {
        reply.headers.push(("access-control-expose-headers".into(), expose.join(",")));
    }
}
