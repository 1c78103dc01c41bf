//! The examples that are part of the binary, for `demo` outside a checkout.

use std::fs;
use std::io;
use std::path::Path;

use crate::record::Endpoint;

/// Language of an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `examples/users-node`.
    Node,
    /// `examples/users-python`.
    Python,
}

/// A file of an example.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Name within the example.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// The files of the users API in that language. The file takes the runtime from the parameter `runtime`.
#[must_use]
pub fn example(kind: Kind) -> &'static [File] {
    match kind {
        Kind::Node => &[
            File { name: "serverless.yml", text: include_str!("../../examples/users-node/serverless.yml") },
            File { name: "handler.js", text: include_str!("../../examples/users-node/handler.js") },
        ],
        Kind::Python => &[
            File { name: "serverless.yml", text: include_str!("../../examples/users-python/serverless.yml") },
            File { name: "handler.py", text: include_str!("../../examples/users-python/handler.py") },
        ],
    }
}

/// Writes an example's files into an existing folder.
///
/// # Errors
/// What the system answers.
pub fn write(kind: Kind, dir: &Path) -> io::Result<()> {
    example(kind).iter().try_for_each(|file| fs::write(dir.join(file.name), file.text))
}

/// Lines to paste: the first makes a user, the second reads it.
#[must_use]
pub fn curl_lines(endpoints: &[Endpoint]) -> Vec<String> {
    let mut lines = Vec::new();
    for endpoint in endpoints.iter().filter(|e| e.method == "POST") {
        let body = r#"{"id": "1", "name": "Ada"}"#;
        lines.push(format!("curl -X POST '{}' -H 'Content-Type: application/json' -d '{body}'", endpoint.url));
    }
    for endpoint in endpoints.iter().filter(|e| e.method == "GET") {
        lines.push(format!("curl '{}'", endpoint.url.replace("{id}", "1")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{Settings, load};

    #[test]
    fn the_examples_deploy_as_they_are() {
        for (kind, runtime) in [(Kind::Node, "nodejs24.x"), (Kind::Python, "python3.12")] {
            let dir = tempfile::tempdir().expect("a folder");
            write(kind, dir.path()).expect("written");
            let settings = Settings {
                params: BTreeMap::from([("runtime".to_owned(), runtime.to_owned())]),
                account: "000000000000".into(),
                default_region: "us-east-1".into(),
                ..Settings::default()
            };
            let project = load(dir.path(), &settings).expect("valid");
            let functions = &project.stack.functions;
            assert_eq!(functions.iter().map(|f| f.runtime.as_str()).collect::<Vec<_>>(), [runtime, runtime]);
            assert_eq!(project.stack.tables.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["Users"]);
        }
    }

    #[test]
    fn the_first_line_makes_what_the_second_reads() {
        let endpoint = |method: &str, path: &str| Endpoint {
            method: method.into(),
            url: format!("http://127.0.0.1:4566/_aws/execute-api/abc/dev/{path}"),
            function: "f".into(),
        };
        let lines = curl_lines(&[endpoint("GET", "users/{id}"), endpoint("POST", "users")]);
        assert_eq!(
            lines,
            [
                "curl -X POST 'http://127.0.0.1:4566/_aws/execute-api/abc/dev/users' -H 'Content-Type: application/json' \
                 -d '{\"id\": \"1\", \"name\": \"Ada\"}'",
                "curl 'http://127.0.0.1:4566/_aws/execute-api/abc/dev/users/1'",
            ]
        );
    }
}
