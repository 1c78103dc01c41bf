//! Lambda through its Invoke API: warm invokes of an echo, and first invokes of functions that never ran.

use crate::client::{Client, Target};
use crate::floor::Interpreters;
use crate::load::{self, Load};
use crate::report::Report;
use crate::server::Server;
use crate::stats::percentile;
use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use squall_protocol::sigv4::uri_encode;
use std::cell::Cell;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// Functions of each language whose first invoke is measured in one run.
pub const COLD_FUNCTIONS: usize = 200;
const EVENT: &str = r#"{"message":"hello","n":1}"#;
/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A language with the runtime that is measured.
#[derive(Clone, Debug)]
pub struct Language {
    name: &'static str,
    file: &'static str,
    code: String,
    /// Makes a client of the SDK.
    client: &'static str,
    /// Lambda's name of the runtime.
    pub runtime: String,
}

/// A server with what functions need.
#[derive(Debug)]
pub struct Cloud {
    target: Target,
    role: String,
    languages: Vec<Language>,
    created: Cell<usize>,
    has_sdk: bool,
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
        let node = pick(host.node.as_ref().map(|i| i.runtime.as_str()), "nodejs").map(|runtime| Language {
            name: "nodejs",
            file: "index.js",
            code: "exports.handler = async (event) => event;\n".into(),
            client: "const { DynamoDBClient } = require('@aws-sdk/client-dynamodb');\nnew DynamoDBClient({});\n",
            runtime,
        });
        let python = pick(host.python.as_ref().map(|i| i.runtime.as_str()), "python").map(|runtime| Language {
            name: "python",
            file: "index.py",
            code: "def handler(event, context):\n    return event\n".into(),
            client: "import boto3\nboto3.client('dynamodb')\n",
            runtime,
        });
        let languages: Vec<Language> = node.into_iter().chain(python).collect();
        ensure!(!languages.is_empty(), "the server found neither Node.js nor Python");
        Ok(Self {
            target: server.target.clone(),
            role: role(&mut client, "bench").await?,
            languages,
            created: Cell::new(0),
            has_sdk,
        })
    }

    /// The languages to measure.
    #[must_use]
    pub fn languages(&self) -> &[Language] {
        &self.languages
    }

    /// Warm invokes of one echo function, by so many callers; the figures' names begin with `prefix`.
    ///
    /// # Errors
    /// An operation failed, or the echo is not one.
    pub async fn warm(
        &self,
        report: &mut Report,
        language: &Language,
        length: Duration,
        prefix: &str,
        callers: &[usize],
    ) -> Result<()> {
        report.note(format!("lambda.{}: {}", language.name, language.runtime));
        let mut client = Client::connect(&self.target).await?;
        let name = self.create(&mut client, language).await?;
        active(&mut client, &name).await?;
        let path = invoke_path(&name);
        for workers in callers.iter().copied() {
            // Long enough for an execution environment for each worker.
            let load = Load { workers, warmup: Duration::from_secs(2), length };
            let path = path.clone();
            let outcome =
                load::run(load, &self.target, async move |client: &mut Client, _| invoke(client, &path).await);
            outcome.await?.report(report, &format!("{prefix}.{}.c{workers}", language.name));
        }
        Ok(())
    }

    /// First invokes: all functions are created first, then invoked one after another.
    ///
    /// # Errors
    /// An operation failed, or the echo is not one.
    pub async fn cold(&self, report: &mut Report, language: &Language) -> Result<()> {
        let mut client = Client::connect(&self.target).await?;
        // With an SDK, as functions have it: a client is made while the code loads.
        let loads = if self.has_sdk { language.client } else { "" };
        report.note(format!(
            "cold.{}: {}",
            language.name,
            if self.has_sdk { "with an SDK client" } else { "without an SDK" }
        ));
        let loading = Language { code: format!("{loads}{}", language.code), ..language.clone() };
        let mut names = Vec::with_capacity(COLD_FUNCTIONS);
        for _ in 0..COLD_FUNCTIONS {
            names.push(self.create(&mut client, &loading).await?);
        }
        for name in &names {
            active(&mut client, name).await?;
        }
        // What the creations began in the background is not part of an invoke.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut nanos = Vec::with_capacity(names.len());
        for name in &names {
            let (path, begin) = (invoke_path(name), Instant::now());
            tokio::time::timeout(PATIENCE, invoke(&mut client, &path)).await.context("a first invoke stalled")??;
            nanos.push(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        nanos.sort_unstable();
        report.add(&format!("cold.{}.p50_us", language.name), percentile(&nanos, 0.5) as f64 / 1000.0);
        report.add(&format!("cold.{}.p99_us", language.name), percentile(&nanos, 0.99) as f64 / 1000.0);
        Ok(())
    }

    /// Creates a function with code of its own: its name.
    async fn create(&self, client: &mut Client, language: &Language) -> Result<String> {
        let n = self.created.replace(self.created.get() + 1);
        let name = format!("{}-{n}", language.name);
        // A comment that differs keeps two functions from being one package.
        let comment = if language.name == "python" { "#" } else { "//" };
        let package = package(language.file, &format!("{comment} {name}\n{}", language.code))?;
        let function = json!({
            "FunctionName": name,
            "Runtime": language.runtime,
            "Role": self.role,
            "Handler": "index.handler",
            "MemorySize": 256,
            "Timeout": 30,
            "Code": {"ZipFile": STANDARD.encode(package)},
        });
        let headers = [("content-type", "application/json")];
        client.call("lambda", ("POST", "/2015-03-31/functions"), &headers, function.to_string()).await?;
        Ok(name)
    }
}

/// The runtimes that the server found; its search runs in the background.
pub async fn found(client: &mut Client) -> Result<Vec<String>> {
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

/// Creates a role for functions: its ARN.
pub async fn role(client: &mut Client, name: &str) -> Result<String> {
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole",
        }],
    });
    let mut form = format!("Action=CreateRole&Version=2010-05-08&RoleName={name}&AssumeRolePolicyDocument=");
    uri_encode(&mut form, trust.to_string().as_bytes(), false);
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let answer = client.call("iam", ("POST", "/"), &headers, form).await?;
    let text = String::from_utf8_lossy(&answer);
    let arn = text.split_once("<Arn>").and_then(|(_, rest)| rest.split_once("</Arn>"));
    arn.map(|(arn, _)| arn.to_owned()).with_context(|| format!("no ARN in {text}"))
}

/// Waits until a function can be invoked.
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

/// Where a function is invoked.
pub fn invoke_path(name: &str) -> String {
    format!("/2015-03-31/functions/{name}/invocations")
}

/// Invokes an echo.
pub async fn invoke(client: &mut Client, path: &str) -> Result<()> {
    let answer = client.call("lambda", ("POST", path), &[], EVENT).await?;
    let same = answer == EVENT || is_echo(&answer);
    ensure!(same, "not an echo: {}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// Python puts blanks between the same members.
fn is_echo(answer: &[u8]) -> bool {
    EVENT.bytes().eq(answer.iter().copied().filter(|b| *b != b' '))
}

/// A zip with one file.
fn package(file: &str, code: &str) -> Result<Vec<u8>> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file(file, zip::write::SimpleFileOptions::default().unix_permissions(0o644))?;
    zip.write_all(code.as_bytes())?;
    Ok(zip.finish()?.into_inner())
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
        assert!(is_echo(br#"{"message": "hello", "n": 1}"#));
        assert!(!is_echo(br#"{"message": "hello"}"#));
    }
}
