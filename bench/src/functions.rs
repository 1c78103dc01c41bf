//! Functions on a measured server: languages, packages, creation, invocation.

use crate::client::{Client, Target};
use crate::floor::Interpreters;
use crate::java;
use crate::server::Server;
use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use squall_protocol::sigv4::uri_encode;
use std::cell::Cell;
use std::io::Write as _;
use std::time::{Duration, Instant};

pub const EVENT: &str = r#"{"message":"hello","n":1}"#;
pub const PATIENCE: Duration = Duration::from_secs(60);
const ROLE: &str = "bench";
/// MemorySize of what is measured.
const MEMORY_MB: u32 = 256;
/// The native function's program, beside this one.
const BOOTSTRAP: &str = "squall-bench-bootstrap";

/// A language with the runtime that is measured.
#[derive(Clone, Debug)]
pub struct Language {
    pub name: &'static str,
    file: &'static str,
    /// Answers an event with itself; sleeps first where it says `"s":SECONDS`.
    pub code: Vec<u8>,
    /// Code that makes a client of the SDK; empty where there is none.
    pub client: &'static str,
    /// Lambda's name of the runtime.
    pub runtime: String,
}

const NODE: &str = "exports.handler = async (event) => {
  if (event.s) await new Promise((r) => setTimeout(r, event.s * 1000));
  return event;
};
";
const NODE_CLIENT: &str = "const { DynamoDBClient } = require('@aws-sdk/client-dynamodb');\nnew DynamoDBClient({});\n";
const PYTHON: &str = "import time
def handler(event, context):
    if 's' in event:
        time.sleep(event['s'])
    return event
";
const PYTHON_CLIENT: &str = "import boto3\nboto3.client('dynamodb')\n";
const WASM: &str = include_str!("../../tests/clients/wasm/echo.wat");
/// The only file of a WebAssembly package.
const WASM_FILE: &str = "bootstrap.wasm";

impl Language {
    /// The same runtime with other code.
    #[must_use]
    pub fn with(&self, code: impl Into<Vec<u8>>) -> Self {
        Self { code: code.into(), ..self.clone() }
    }

    /// The same with an SDK client made while the code loads.
    #[must_use]
    pub fn with_client(&self) -> Self {
        self.with([self.client.as_bytes(), &self.code].concat())
    }
}

/// A server with what functions need.
#[derive(Debug)]
pub struct Cloud {
    pub target: Target,
    role: String,
    languages: Vec<Language>,
    java: Option<String>,
    has_wasm: bool,
    created: Cell<usize>,
    /// Functions have an SDK.
    pub has_sdk: bool,
}

impl Cloud {
    /// Waits until the server knows its runtimes, and creates a role.
    ///
    /// The runtime of a language is the one of the host's usual interpreter, so that it is compared with its own floor; the
    /// newest that the server found where it does not know that one.
    ///
    /// # Errors
    /// The server found neither Node.js nor Python.
    pub async fn prepare(server: &Server, host: &Interpreters, has_sdk: bool) -> Result<Self> {
        let mut client = Client::connect(&server.target).await?;
        let found = found(&mut client).await?;
        let pick = |usual: Option<&str>, family: &str| {
            let known = usual.filter(|usual| found.iter().any(|id| id == usual)).map(str::to_owned);
            known.or_else(|| newest(&found, family).map(str::to_owned))
        };
        let language =
            |name, file, code: &str, client, runtime| Language { name, file, code: code.into(), client, runtime };
        let node = pick(host.node.as_ref().map(|i| i.runtime.as_str()), "nodejs")
            .map(|runtime| language("nodejs", "index.js", NODE, NODE_CLIENT, runtime));
        let python = pick(host.python.as_ref().map(|i| i.runtime.as_str()), "python")
            .map(|runtime| language("python", "index.py", PYTHON, PYTHON_CLIENT, runtime));
        let languages: Vec<Language> = node.into_iter().chain(python).collect();
        ensure!(!languages.is_empty(), "the server found neither Node.js nor Python");
        let role = role(&mut client).await?;
        let java = newest(&found, "java").map(str::to_owned);
        let has_wasm = found.iter().any(|id| id == "wasm");
        Ok(Self { target: server.target.clone(), role, languages, java, has_wasm, created: Cell::new(0), has_sdk })
    }

    /// The interpreted languages to measure.
    #[must_use]
    pub fn languages(&self) -> &[Language] {
        &self.languages
    }

    /// The native function.
    ///
    /// # Errors
    /// Its program is not beside this one.
    pub fn native(&self) -> Result<Language> {
        let path = std::env::current_exe().context("find this program")?.with_file_name(BOOTSTRAP);
        let code = std::fs::read(&path)
            .with_context(|| format!("read {}: build it with cargo build -p squall-bench --bins", path.display()))?;
        Ok(Language { name: "native", file: "bootstrap", code, client: "", runtime: "provided.al2023".into() })
    }

    /// The function in Java, compiled here.
    ///
    /// # Errors
    /// The server found no Java, or this host has no compiler.
    pub fn java(&self) -> Result<Language> {
        let runtime = self.java.clone().context("the server found no Java")?;
        let code = java::compile()?;
        Ok(Language { name: "java", file: "index.class", code, client: "", runtime })
    }

    /// The function in WebAssembly.
    ///
    /// # Errors
    /// The server's build has no such runtime.
    pub fn wasm(&self) -> Result<Language> {
        ensure!(self.has_wasm, "the server's build does not serve it");
        let code = wat::parse_str(WASM).context("assemble the echo")?;
        Ok(Language { name: "wasm", file: WASM_FILE, code, client: "", runtime: "wasm".into() })
    }

    /// Creates a function with code of its own: its name.
    pub async fn create(&self, client: &mut Client, language: &Language) -> Result<String> {
        let n = self.created.replace(self.created.get() + 1);
        let name = format!("{}-{n}", language.name);
        let package = package(language.file, &language.code, &name)?;
        let function = json!({
            "FunctionName": name,
            "Runtime": language.runtime,
            "Role": self.role,
            "Handler": if language.name == "java" { "index::handler" } else { "index.handler" },
            "MemorySize": MEMORY_MB,
            "Timeout": 60,
            "Code": {"ZipFile": STANDARD.encode(package)},
        });
        let headers = [("content-type", "application/json")];
        client.call("lambda", ("POST", "/2015-03-31/functions"), &headers, function.to_string()).await?;
        Ok(name)
    }

    /// Creates a function and waits until it is ready.
    pub async fn create_active(&self, client: &mut Client, language: &Language) -> Result<String> {
        let name = self.create(client, language).await?;
        active(client, &name).await?;
        Ok(name)
    }
}

/// The runtimes that the server found; its search runs in the background.
async fn found(client: &mut Client) -> Result<Vec<String>> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let (_, page) = client.get("/_squall/health").await?;
        let page: Value = serde_json::from_slice(&page).context("read the health page")?;
        let list = page.pointer("/runtimes/found").and_then(Value::as_array);
        let ids = list.into_iter().flatten().filter_map(|one| one.get("id")?.as_str());
        let ids: Vec<String> = ids.map(str::to_owned).collect();
        if !ids.is_empty() {
            return Ok(ids);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the server found no runtimes in {PATIENCE:?}")
}

/// The newest of a family, by its numbers: `python3.10` is newer than `python3.9`.
fn newest<'a>(found: &'a [String], family: &str) -> Option<&'a str> {
    let version = |id: &str| -> Vec<u32> {
        let rest = id.strip_prefix(family).unwrap_or_default();
        rest.split('.').filter_map(|part| part.parse().ok()).collect()
    };
    found.iter().filter(|id| id.starts_with(family)).max_by_key(|id| version(id)).map(String::as_str)
}

async fn role(client: &mut Client) -> Result<String> {
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole",
        }],
    });
    let mut form = format!("Action=CreateRole&Version=2010-05-08&RoleName={ROLE}&AssumeRolePolicyDocument=");
    uri_encode(&mut form, trust.to_string().as_bytes(), false);
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let answer = client.call("iam", ("POST", "/"), &headers, form).await?;
    let text = String::from_utf8_lossy(&answer);
    let arn = text.split_once("<Arn>").and_then(|(_, rest)| rest.split_once("</Arn>"));
    arn.map(|(arn, _)| arn.to_owned()).with_context(|| format!("no ARN in {text}"))
}

/// Waits until a function is ready to run.
///
/// # Errors
/// It is not within [`PATIENCE`], or has failed.
pub async fn active(client: &mut Client, name: &str) -> Result<()> {
    let path = format!("/2015-03-31/functions/{name}/configuration");
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let answer: Value = serde_json::from_slice(&client.call("lambda", ("GET", &path), &[], "").await?)?;
        match answer.get("State").and_then(Value::as_str) {
            Some("Active") => return Ok(()),
            Some("Pending") => tokio::time::sleep(Duration::from_millis(10)).await,
            _ => bail!("{name} did not become active: {answer}"),
        }
    }
    bail!("{name} did not become active in {PATIENCE:?}")
}

#[must_use]
pub fn invoke_path(name: &str) -> String {
    format!("/2015-03-31/functions/{name}/invocations")
}

/// Invokes an echo.
///
/// # Errors
/// The answer is not the event.
pub async fn invoke(client: &mut Client, path: &str) -> Result<()> {
    let answer = send(client, path, EVENT).await?;
    ensure!(is_same(EVENT, &answer), "not an echo: {}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// Invokes a function with an event: its answer, within [`PATIENCE`].
///
/// # Errors
/// The call failed or stalled.
pub async fn send(client: &mut Client, path: &str, event: &str) -> Result<Bytes> {
    let call = client.call("lambda", ("POST", path), &[], event.to_owned());
    tokio::time::timeout(PATIENCE, call).await.context("an invocation stalled")?
}

/// Python puts blanks between the same members.
#[must_use]
pub fn is_same(event: &str, answer: &[u8]) -> bool {
    let bare = |bytes: &[u8]| bytes.iter().copied().filter(|b| *b != b' ').collect::<Vec<u8>>();
    bare(event.as_bytes()) == bare(answer)
}

/// A zip with the program, and a note that keeps two functions from being one package.
fn package(file: &str, code: &[u8], note: &str) -> Result<Vec<u8>> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    // What is compiled beforehand is kept by the module alone: a custom section tells one from another.
    let section = if file == WASM_FILE { section(note)? } else { Vec::new() };
    let mode = if file == "bootstrap" { 0o755 } else { 0o644 };
    zip.start_file(file, zip::write::SimpleFileOptions::default().unix_permissions(mode))?;
    zip.write_all(code)?;
    zip.write_all(&section)?;
    zip.start_file("name.txt", zip::write::SimpleFileOptions::default().unix_permissions(0o644))?;
    zip.write_all(note.as_bytes())?;
    Ok(zip.finish()?.into_inner())
}

/// A custom section of WebAssembly with nothing but a name.
fn section(name: &str) -> Result<Vec<u8>> {
    let length = u8::try_from(name.len()).ok().filter(|length| *length < 127).context("a short name")?;
    Ok([&[0, length + 1, length], name.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        let found = ["python3.9", "nodejs22.x", "python3.13", "nodejs8.x"].map(str::to_owned);
        assert_eq!(newest(&found, "python"), Some("python3.13"));
        assert_eq!(newest(&found, "nodejs"), Some("nodejs22.x"));
        assert_eq!(newest(&found, "ruby"), None);
    }

    #[test]
    fn an_echo_may_have_blanks() {
        assert!(is_same(EVENT, br#"{"message": "hello", "n": 1}"#));
        assert!(!is_same(EVENT, br#"{"message": "hello"}"#));
    }
}
