//! Functions one call at a time: warm invokes of an echo through the Invoke API and through an HTTP route, and first invokes of
//! functions that never ran.

use crate::client::{Client, Target};
use crate::functions::{Cloud, Language, PATIENCE, invoke, invoke_path};
use crate::load::{self, Load};
use crate::report::Report;
use crate::stats::percentile;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Functions of each language whose first invoke is measured in one run.
const COLD_FUNCTIONS: usize = 200;

impl Cloud {
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
        let name = self.create_active(&mut client, language).await?;
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

    /// Warm calls of an echo through a route of an HTTP API, by one caller; unsigned, as browsers call it.
    ///
    /// # Errors
    /// An operation failed, or the route does not answer 200.
    pub async fn route(&self, report: &mut Report, language: &Language, length: Duration) -> Result<()> {
        let mut client = Client::connect(&self.target).await?;
        let name = self.create_active(&mut client, language).await?;
        let id = http_api(&mut client, &name).await?;
        let path = format!("/_aws/execute-api/{id}/echo");
        let target = Target { signer: None, ..self.target.clone() };
        let load = Load { workers: 1, warmup: Duration::from_secs(1), length };
        let outcome = load::run(load, &target, async move |client: &mut Client, _| {
            let (status, answer) = client.get(&path).await?;
            ensure!(status == 200, "the route answers {status} {}", String::from_utf8_lossy(&answer));
            Ok(())
        });
        outcome.await?.report(report, &format!("route.{}.c1", language.name));
        Ok(())
    }

    /// First invokes: all functions are created first, then invoked one after another without a pause, as `loadgen lambda-cold`
    /// does.
    ///
    /// # Errors
    /// An operation failed, or the echo is not one.
    pub async fn cold(&self, report: &mut Report, language: &Language) -> Result<()> {
        let mut client = Client::connect(&self.target).await?;
        let has_client = self.has_sdk && !language.client.is_empty();
        let with = if has_client { "with an SDK client" } else { "without an SDK" };
        report.note(format!("cold.{}: {}, {with}", language.name, language.runtime));
        // As functions have it: a client is made while the code loads.
        let loading = if has_client { language.with_client() } else { language.clone() };
        let mut names = Vec::with_capacity(COLD_FUNCTIONS);
        for _ in 0..COLD_FUNCTIONS {
            names.push(self.create_active(&mut client, &loading).await?);
        }
        let mut nanos = Vec::with_capacity(names.len());
        for name in &names {
            let (path, begin) = (invoke_path(name), Instant::now());
            tokio::time::timeout(PATIENCE, invoke(&mut client, &path)).await.context("a first invoke stalled")??;
            nanos.push(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        nanos.sort_unstable();
        for (name, share) in [("p10", 0.1), ("p50", 0.5), ("p99", 0.99)] {
            report.add(&format!("cold.{}.{name}_us", language.name), percentile(&nanos, share) as f64 / 1000.0);
        }
        Ok(())
    }
}

/// An HTTP API with the route `GET /echo` to a function: its id.
async fn http_api(client: &mut Client, function: &str) -> Result<String> {
    let headers = [("content-type", "application/json")];
    let made = |answer: &[u8], key: &str| -> Result<String> {
        let value: Value = serde_json::from_slice(answer)?;
        value.get(key).and_then(Value::as_str).map(str::to_owned).with_context(|| format!("no {key} in {value}"))
    };
    let path = format!("/2015-03-31/functions/{function}");
    let answer: Value = serde_json::from_slice(&client.call("lambda", ("GET", &path), &[], "").await?)?;
    let arn = answer.pointer("/Configuration/FunctionArn").and_then(Value::as_str).context("the function's ARN")?;
    let permission = json!({
        "StatementId": "route", "Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com",
    });
    client.call("lambda", ("POST", &format!("{path}/policy")), &headers, permission.to_string()).await?;
    let mut post =
        async |path: String, body: Value| client.call("apigateway", ("POST", &path), &headers, body.to_string()).await;
    let api = post("/v2/apis".into(), json!({"name": function, "protocolType": "HTTP"})).await?;
    let id = made(&api, "apiId")?;
    let integration = json!({
        "integrationType": "AWS_PROXY", "integrationUri": arn, "payloadFormatVersion": "2.0",
    });
    let integration = made(&post(format!("/v2/apis/{id}/integrations"), integration).await?, "integrationId")?;
    let route = json!({"routeKey": "GET /echo", "target": format!("integrations/{integration}")});
    post(format!("/v2/apis/{id}/routes"), route).await?;
    post(format!("/v2/apis/{id}/stages"), json!({"stageName": "$default", "autoDeploy": true})).await?;
    Ok(id)
}
