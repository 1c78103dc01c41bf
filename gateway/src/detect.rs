//! Tells internal pages, deployed APIs and AWS calls apart by host and path alone.

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `/_squall/PATH`.
    Internal {
        /// What follows the prefix.
        path: String,
    },
    /// A deployed API or function URL.
    Data {
        /// Which kind of front.
        kind: FrontKind,
        /// API or URL id.
        id: String,
        /// Region by the host; empty in the path form, where the id alone decides.
        region: String,
        /// Path below the API's root, beginning with `/`.
        path: String,
    },
    /// An AWS API.
    Aws,
}

/// Kinds of deployed endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontKind {
    /// `execute-api`: HTTP and REST APIs.
    ExecuteApi,
    /// `lambda-url`: function URLs.
    LambdaUrl,
}

impl FrontKind {
    fn parse(s: &str) -> Option<Self> {
        match s {
            "execute-api" => Some(Self::ExecuteApi),
            "lambda-url" => Some(Self::LambdaUrl),
            _ => None,
        }
    }
}

/// Decides by `Host` (`{id}.execute-api.{region}.DOMAIN`) and path (`/_aws/execute-api/{id}/…`).
///
/// The host must end in `localhost` or in the operator's domain: otherwise a real AWS host that a proxy sends here would be
/// taken for one of ours.
#[must_use]
pub fn destination(host: &str, path: &str, domain: Option<&str>) -> Destination {
    if let Some(found) = by_host(host, path, domain) {
        return found;
    }
    if let Some(rest) = path.strip_prefix("/_squall/") {
        return Destination::Internal { path: rest.to_owned() };
    }
    let by_path = || {
        let (kind, rest) = path.strip_prefix("/_aws/")?.split_once('/')?;
        let kind = FrontKind::parse(kind)?;
        let (id, below) = rest.split_once('/').unwrap_or((rest, ""));
        Some(Destination::Data { kind, id: id.to_owned(), region: String::new(), path: format!("/{below}") })
    };
    by_path().unwrap_or(Destination::Aws)
}

fn by_host(host: &str, path: &str, domain: Option<&str>) -> Option<Destination> {
    let name =
        host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |(n, _)| n);
    let (id, rest) = name.split_once('.')?;
    let (kind, rest) = rest.split_once('.')?;
    let kind = FrontKind::parse(kind)?;
    let ours =
        |rest: &str| rest.eq_ignore_ascii_case("localhost") || domain.is_some_and(|d| rest.eq_ignore_ascii_case(d));
    // Tools leave the region out on localhost: the id alone decides then.
    let region = match rest.split_once('.') {
        _ if ours(rest) => "",
        Some((region, rest)) if ours(rest) => region,
        _ => return None,
    };
    Some(Destination::Data { kind, id: id.to_ascii_lowercase(), region: region.to_owned(), path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(kind: FrontKind, id: &str, region: &str, path: &str) -> Destination {
        Destination::Data { kind, id: id.into(), region: region.into(), path: path.into() }
    }

    #[test]
    fn host_and_path_decide() {
        let cases = [
            ("127.0.0.1:4566", "/", Destination::Aws),
            ("127.0.0.1:4566", "/_squall/health", Destination::Internal { path: "health".into() }),
            (
                "a1.execute-api.us-east-1.localhost:4566",
                "/dev/x",
                data(FrontKind::ExecuteApi, "a1", "us-east-1", "/dev/x"),
            ),
            ("a1.execute-api.eu-west-1.example.org", "/", data(FrontKind::ExecuteApi, "a1", "eu-west-1", "/")),
            ("a1.execute-api.us-east-1.amazonaws.com", "/", Destination::Aws),
            ("a1.execute-api.localhost:4566", "/x", data(FrontKind::ExecuteApi, "a1", "", "/x")),
            ("a1.lambda-url.example.org", "/", data(FrontKind::LambdaUrl, "a1", "", "/")),
            ("localhost", "/_aws/lambda-url/u7/a/b", data(FrontKind::LambdaUrl, "u7", "", "/a/b")),
            ("localhost", "/_aws/execute-api/a1", data(FrontKind::ExecuteApi, "a1", "", "/")),
            ("localhost", "/_aws/other/a1", Destination::Aws),
        ];
        for (host, path, expected) in cases {
            assert_eq!(destination(host, path, Some("example.org")), expected, "{host}{path}");
        }
    }
}
