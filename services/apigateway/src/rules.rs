//! Pure decisions: what names, paths, URIs and templates may be.

use crate::error::Error;
use crate::model::Auth;
use crate::router::Segment;
use regex::{Regex, RegexBuilder};
use std::collections::BTreeMap;

/// Methods that routes and methods may name besides `ANY`.
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
/// Most tags of an API or stage.
const TAGS_MAX: usize = 50;
/// Longest selection pattern and most memory of its automaton.
const PATTERN_BYTES_MAX: usize = 1024;
const PATTERN_MEMORY_MAX: usize = 256 * 1024;

/// The function of an integration URI: a function's ARN, or API Gateway's invocation ARN around it.
#[must_use]
pub fn function_of_uri(uri: &str) -> Option<&str> {
    let arn = match uri.strip_prefix("arn:aws:apigateway:") {
        Some(rest) => {
            let (_, rest) = rest.split_once(":lambda:path/2015-03-31/functions/")?;
            rest.strip_suffix("/invocations")?
        }
        None => uri,
    };
    let named = arn.starts_with("arn:aws:lambda:") && arn.split(':').nth(5) == Some("function");
    (named && arn.len() <= 2048).then_some(arn)
}

/// The URI of a REST integration with a function.
///
/// # Errors
/// `BadRequestException`.
pub fn rest_lambda_uri(uri: Option<&str>) -> Result<(), Error> {
    let Some(uri) = uri.filter(|u| !u.is_empty()) else {
        return Err(Error::bad("Uri is mandatory for integration type AWS_PROXY"));
    };
    let Some(rest) = uri.strip_prefix("arn:aws:apigateway:") else {
        return Err(Error::bad("Invalid ARN specified in the request"));
    };
    let mut words = rest.splitn(3, ':');
    let (service, path) = (words.nth(1).unwrap_or_default(), words.next().unwrap_or_default());
    if service != "lambda" {
        return Err(Error::unserved(&format!("An AWS_PROXY integration with the service {service}")));
    }
    if !path.starts_with("path/") {
        return Err(Error::bad("AWS ARN for integration must contain path or action"));
    }
    function_of_uri(uri).map(|_| ()).ok_or_else(|| Error::bad("Invalid lambda function"))
}

/// Authorization types that are served, in any letter case.
///
/// # Errors
/// `BadRequestException`.
pub fn auth(text: &str) -> Result<Auth, Error> {
    match text.to_ascii_uppercase().as_str() {
        "NONE" => Ok(Auth::None),
        "AWS_IAM" => Ok(Auth::Iam),
        "CUSTOM" | "COGNITO_USER_POOLS" | "JWT" => Err(Error::unserved(&format!("Authorization type {text}"))),
        _ => Err(Error::bad("Invalid authorization type specified")),
    }
}

/// A method of a REST resource.
///
/// # Errors
/// `BadRequestException`.
pub fn rest_method(name: &str) -> Result<(), Error> {
    if name == "ANY" || METHODS.contains(&name) {
        return Ok(());
    }
    Err(Error::bad("Invalid HttpMethod specified. Valid options are GET,PUT,POST,DELETE,PATCH,OPTIONS,HEAD,ANY"))
}

/// The last segment of a REST resource.
///
/// # Errors
/// `BadRequestException`.
pub fn path_part(part: &str) -> Result<(), Error> {
    let inner = match Segment::parse(part) {
        Segment::Fixed(text) => text,
        Segment::Param(name) | Segment::Greedy(name) => name,
    };
    let clean = |b: u8| b.is_ascii_alphanumeric() || b"._-:".contains(&b);
    // Fixed parts may hold a few signs more than variables may.
    let also = |b: u8| !part.starts_with('{') && b"$,=~!*'()@%+".contains(&b);
    if !inner.is_empty() && inner.bytes().all(|b| clean(b) || also(b)) {
        return Ok(());
    }
    Err(Error::bad(
        "Resource's path part only allow a-zA-Z0-9._-: or a valid greedy path variable and curly braces at the beginning \
         and the end.",
    ))
}

/// A route key: `METHOD /path` or `$default`.
///
/// # Errors
/// `BadRequestException`.
pub fn route_key(key: &str) -> Result<(), Error> {
    if key == crate::model::http::DEFAULT {
        return Ok(());
    }
    let bad = || {
        Err(Error::bad(
            "The provided route key is not formatted properly for HTTP protocol. Format should be \"<HTTP METHOD> \
             /<RESOURCE PATH>\" or \"$default\"",
        ))
    };
    let Some((method, path)) = key.split_once(' ') else { return bad() };
    if (method != "ANY" && !METHODS.contains(&method)) || !path.starts_with('/') || path.contains(' ') {
        return bad();
    }
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (at, text) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        let name = match Segment::parse(text) {
            Segment::Fixed(text) if text.contains(['{', '}']) => return bad(),
            Segment::Fixed("") if !last => return bad(),
            Segment::Fixed(_) => continue,
            Segment::Greedy(_) if !last => return bad(),
            Segment::Param(name) | Segment::Greedy(name) => name,
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-:".contains(&b)) {
            return bad();
        }
    }
    Ok(())
}

/// A stage's name.
///
/// # Errors
/// `BadRequestException`.
pub fn stage_name(name: &str) -> Result<(), Error> {
    let clean = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if (1..=128).contains(&name.len()) && name.bytes().all(clean) {
        return Ok(());
    }
    Err(Error::bad("Stage name only allows a-zA-Z0-9_"))
}

/// Stage variables.
///
/// # Errors
/// `BadRequestException`.
pub fn variables(variables: &BTreeMap<String, String>) -> Result<(), Error> {
    for (name, value) in variables {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(Error::bad(format!("Stage variable name {name} is invalid: only a-zA-Z0-9_ are allowed")));
        }
        let clean = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?#&=,".contains(&b);
        if value.len() > 512 || !value.bytes().all(clean) {
            return Err(Error::bad("Stage variable values must match the pattern [A-Za-z0-9-._~:/?#&=,]+"));
        }
    }
    Ok(())
}

/// Tags.
///
/// # Errors
/// `BadRequestException`.
pub fn tags(tags: &BTreeMap<String, String>) -> Result<(), Error> {
    if tags.len() > TAGS_MAX {
        return Err(Error::bad("The number of tags exceeds the limit of 50"));
    }
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 || key.starts_with("aws:") {
            return Err(Error::bad(format!(
                "Invalid tag {key}: keys have 1 to 128 characters and do not begin with aws:, values have at most 256"
            )));
        }
    }
    Ok(())
}

/// The status of a MOCK request template: only `{"statusCode": NNN}` is served.
#[must_use]
pub fn mock_status(template: &str) -> Option<u16> {
    let text: String = template.chars().filter(|c| !c.is_whitespace() && *c != '"' && *c != '\'').collect();
    let status = text.strip_prefix("{statusCode:")?.strip_suffix('}')?.parse().ok()?;
    (100..=599).contains(&status).then_some(status)
}

/// A selection pattern over the whole status.
#[must_use]
pub fn selection(pattern: &str) -> Option<Regex> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return None;
    }
    RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(PATTERN_MEMORY_MAX).build().ok()
}

/// A static value: text in single quotes.
#[must_use]
pub fn quoted(value: &str) -> Option<&str> {
    let text = value.strip_prefix('\'')?.strip_suffix('\'')?;
    // Header values with line ends would split the answer.
    (!text.contains(['\r', '\n', '\0'])).then_some(text)
}

/// Whether a response template is plain text, without anything to evaluate.
#[must_use]
pub fn is_static(template: &str) -> bool {
    !template.contains('$') && !template.contains('#')
}

/// A timeout in milliseconds between 50 and `max`.
///
/// # Errors
/// `BadRequestException`.
pub fn timeout_ms(given: Option<i32>, max: i32) -> Result<i32, Error> {
    match given {
        None => Ok(max),
        Some(ms) if (50..=max).contains(&ms) => Ok(ms),
        Some(_) => Err(Error::bad(format!("Timeout should be between 50 ms and {max} ms"))),
    }
}

/// Refuses a setting that is there although this server does not serve it.
///
/// # Errors
/// `BadRequestException`.
pub fn none<T>(setting: &str, given: Option<T>) -> Result<(), Error> {
    given.map_or(Ok(()), |_| Err(Error::unserved(setting)))
}

/// Refuses a setting that has another value than the served one.
///
/// # Errors
/// `BadRequestException`.
pub fn only<T: PartialEq + std::fmt::Debug + ?Sized>(
    setting: &str,
    given: Option<&T>,
    served: &T,
) -> Result<(), Error> {
    match given {
        Some(value) if value != served => Err(Error::unserved(&format!("{setting} {value:?}"))),
        _ => Ok(()),
    }
}

/// A page of a list: entries after the token, and the token of the next page.
///
/// # Errors
/// `BadRequestException` for a limit that is no positive number.
pub fn page<T>(
    all: impl IntoIterator<Item = (String, T)>,
    after: Option<&str>,
    limit: Option<usize>,
) -> Result<(Vec<T>, Option<String>), Error> {
    let limit = limit.unwrap_or(usize::MAX);
    if limit == 0 {
        return Err(Error::bad("Invalid value for limit"));
    }
    let after = after.unwrap_or_default();
    let mut left = all.into_iter().filter(|(k, _)| k.as_str() > after);
    let (mut out, mut last) = (Vec::new(), None);
    for (key, value) in left.by_ref().take(limit) {
        out.push(value);
        last = Some(key);
    }
    let next = last.filter(|_| left.next().is_some());
    Ok((out, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_name_functions() {
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:f:live";
        let uri = format!("arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations");
        assert_eq!(function_of_uri(&uri), Some(arn));
        assert_eq!(function_of_uri(arn), Some(arn));
        for bad in ["f", "arn:aws:sqs:us-east-1:000000000000:q", "arn:aws:apigateway:us-east-1:sqs:action/SendMessage"]
        {
            assert_eq!(function_of_uri(bad), None, "{bad}");
        }
        assert!(rest_lambda_uri(Some(&uri)).is_ok());
        for bad in [
            None,
            Some(arn),
            Some("arn:aws:apigateway:us-east-1:lambda:action/x"),
            Some("arn:aws:apigateway:r:s3:path/x"),
        ] {
            assert!(rest_lambda_uri(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn route_keys_are_checked() {
        for good in ["$default", "GET /", "ANY /{proxy+}", "POST /a/{b}/c", "GET /a/"] {
            assert!(route_key(good).is_ok(), "{good}");
        }
        for bad in
            ["", "GET", "get /a", "GET a", "FETCH /a", "GET /a//b", "GET /{a+}/b", "GET /{}", "GET /a{b}", "GET /a b"]
        {
            assert!(route_key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn path_parts_are_checked() {
        for good in ["users", "{id}", "{proxy+}", "a.b_c-d:e", "v1.0"] {
            assert!(path_part(good).is_ok(), "{good}");
        }
        for bad in ["", "a/b", "{id", "{a b}", "{}", "{+}", "a{b}", "é"] {
            assert!(path_part(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_trivial_mock_templates_have_a_status() {
        for (template, expected) in [
            ("{\"statusCode\": 200}", Some(200)),
            ("{statusCode:204}", Some(204)),
            ("{ \"statusCode\" : \"404\" }", Some(404)),
            ("#set($x = 1){\"statusCode\": 200}", None),
            ("{\"statusCode\": 99}", None),
            ("", None),
        ] {
            assert_eq!(mock_status(template), expected, "{template}");
        }
    }

    #[test]
    fn pages_follow_each_other() {
        let all = || ["a", "b", "c"].map(|k| (k.to_owned(), k));
        assert_eq!(page(all(), None, Some(2)).unwrap(), (vec!["a", "b"], Some("b".to_owned())));
        assert_eq!(page(all(), Some("b"), Some(2)).unwrap(), (vec!["c"], None));
        assert!(page(all(), None, Some(0)).is_err());
    }
}
