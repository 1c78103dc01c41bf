//! Small pure pieces: decoding, queries, header names, times, bodies.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use squall_protocol::Reply;
use squall_types::Millis;
use std::borrow::Cow;
use time::OffsetDateTime;
use time::macros::format_description;

/// `{"message": TEXT}`.
#[must_use]
pub fn message(status: u16, text: &str) -> Reply {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Reply { status, headers, body: json!({ "message": text }).to_string().into() }
}

/// Percent-decoding; signs that encode nothing stay.
#[must_use]
pub fn decode(text: &str) -> Cow<'_, str> {
    match percent_encoding::percent_decode_str(text).decode_utf8_lossy() {
        Cow::Owned(text) => Cow::Owned(text),
        Cow::Borrowed(_) => Cow::Borrowed(text),
    }
}

/// The pairs of a query, decoded; `+` is a space.
#[must_use]
pub fn query(query: &str) -> Vec<(String, String)> {
    let word = |text: &str| decode(&text.replace('+', " ")).into_owned();
    let pair = |p: &str| p.split_once('=').map_or_else(|| (word(p), String::new()), |(n, v)| (word(n), word(v)));
    query.split('&').filter(|p| !p.is_empty()).map(pair).collect()
}

/// Pairs with the last value of each name; null when there are none.
#[must_use]
pub fn last_values<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let mut out = Map::new();
    for (name, value) in pairs {
        out.insert(name.to_owned(), json!(value));
    }
    if out.is_empty() { Value::Null } else { Value::Object(out) }
}

/// Pairs with all values of each name; null when there are none.
#[must_use]
pub fn all_values<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let mut out = Map::new();
    for (name, value) in pairs {
        if let Value::Array(held) = out.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
            held.push(json!(value));
        }
    }
    if out.is_empty() { Value::Null } else { Value::Object(out) }
}

/// Pairs with the values of each name joined by commas.
#[must_use]
pub fn joined_values<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Map<String, Value> {
    let mut out = Map::new();
    for (name, value) in pairs {
        match out.get_mut(name) {
            Some(Value::String(held)) => {
                held.push(',');
                held.push_str(value);
            }
            _ => {
                out.insert(name.to_owned(), json!(value));
            }
        }
    }
    out
}

/// Header names that format 1.0 shows capitalised. HTTP parsing leaves only lower case, so the sender's own spelling is
/// not known; other names stay in lower case.
const CAPITALISED: [&str; 40] = [
    "Accept",
    "Accept-Charset",
    "Accept-Encoding",
    "Accept-Language",
    "Access-Control-Request-Headers",
    "Access-Control-Request-Method",
    "Age",
    "Authorization",
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-Location",
    "Content-Range",
    "Content-Type",
    "Cookie",
    "DNT",
    "Date",
    "From",
    "Host",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "If-Unmodified-Since",
    "Origin",
    "Pragma",
    "Range",
    "Referer",
    "User-Agent",
    "Via",
    "X-Amz-Content-Sha256",
    "X-Amz-Date",
    "X-Amz-Security-Token",
    "X-Amzn-Trace-Id",
    "X-Forwarded-For",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
    "X-Requested-With",
];

/// The spelling that format 1.0 shows.
#[must_use]
pub fn capitalised(name: &str) -> &str {
    CAPITALISED.iter().find(|c| c.eq_ignore_ascii_case(name)).copied().unwrap_or(name)
}

/// `31/Jan/2026:12:00:00 +0000`.
#[must_use]
pub fn clf_time(at: Millis) -> String {
    let at = OffsetDateTime::from_unix_timestamp(at.secs()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let format = format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
    at.format(&format).unwrap_or_default()
}

/// The media type without parameters, in lower case.
#[must_use]
pub fn media_type(text: &str) -> String {
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether a media type is among those that an API calls binary; `*/*` and `image/*` stand for many.
#[must_use]
pub fn is_binary(binary: &[String], media_type: &str) -> bool {
    binary.iter().any(|b| {
        let prefix = b.strip_suffix('*').filter(|p| p.ends_with('/'));
        b == "*/*" || b.eq_ignore_ascii_case(media_type) || prefix.is_some_and(|p| media_type.starts_with(p))
    })
}

/// Whether HTTP APIs pass a body of that type as text. Forms are not among them.
#[must_use]
pub fn is_text(media_type: &str) -> bool {
    media_type.is_empty()
        || media_type.starts_with("text/")
        || matches!(media_type, "application/json" | "application/javascript" | "application/xml")
        || media_type.ends_with("+json")
        || media_type.ends_with("+xml")
}

/// A body in an event.
#[must_use]
pub fn body(body: &[u8], binary: bool) -> (String, bool) {
    match std::str::from_utf8(body) {
        _ if binary => (STANDARD.encode(body), true),
        Ok(text) => (text.to_owned(), false),
        Err(_) => (String::from_utf8_lossy(body).into_owned(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let cases: [(&str, &[(&str, &str)]); 5] = [
            ("", &[]),
            ("a=1&a=2&b", &[("a", "1"), ("a", "2"), ("b", "")]),
            ("plus=x+y&at=test%2Balias%40gmail.com", &[("plus", "x y"), ("at", "test+alias@gmail.com")]),
            ("&&x=%zz=1&", &[("x", "%zz=1")]),
            ("%C3%A9=%ff", &[("é", "\u{fffd}")]),
        ];
        for (text, expected) in cases {
            let found = query(text);
            let found: Vec<(&str, &str)> = found.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn media_types_decide_on_base64() {
        let binary = ["image/png".to_owned(), "audio/*".to_owned()];
        for (kind, expected) in [("image/png", true), ("audio/ogg", true), ("image/gif", false), ("", false)] {
            assert_eq!(is_binary(&binary, kind), expected, "{kind}");
        }
        assert!(is_binary(&["*/*".to_owned()], "text/plain"));
        assert_eq!(media_type("Application/JSON; charset=utf-8"), "application/json");
        assert!(is_text("application/problem+json") && !is_text("application/x-www-form-urlencoded"));
    }

    #[test]
    fn capitals_are_known_for_common_headers_only() {
        assert_eq!((capitalised("user-agent"), capitalised("x-custom")), ("User-Agent", "x-custom"));
        assert!(CAPITALISED.iter().all(|c| !c.is_empty()));
        assert_eq!(clf_time(Millis(1_769_860_800_999)), "31/Jan/2026:12:00:00 +0000");
    }
}
