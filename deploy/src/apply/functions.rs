//! Functions: create, update in place, wait.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json, json};

use super::{Deployer, Pause, foreign, found, tag_changes, text, texts};
use crate::client::encode;
use crate::error::{Doing, Error};
use crate::intrinsics::fill;
use crate::model::{Function, Project, Stack};
use crate::package::Code;

impl Deployer<'_> {
    /// Each function as `GetFunction` answers it, or nothing.
    pub(super) async fn look_at_functions(&mut self, stack: &Stack) -> Result<Vec<Option<Json>>, Error> {
        let mut out = Vec::new();
        for function in &stack.functions {
            let name = &function.name;
            let now = found(self.client.rest("lambda", "GET", &path(name, ""), &[], None).await);
            let now = now.doing(|| format!("looking at function {name}"))?;
            if now.is_some() && !self.record.functions.iter().any(|f| f.name == *name) {
                return Err(foreign("function", name, &stack.name));
            }
            out.push(now);
        }
        Ok(out)
    }

    /// New functions are created all at once and then awaited; existing ones are updated one after the other.
    pub(super) async fn functions(&mut self, project: &Project, now: Vec<Option<Json>>) -> Result<(), Error> {
        let all = project.stack.functions.iter().zip(&project.code).zip(&now);
        for ((function, code), _) in all.clone().filter(|(_, now)| now.is_none()) {
            self.create(function, code).await?;
        }
        for ((function, code), now) in all {
            match now {
                None => self.await_active(&function.name).await?,
                Some(now) => self.update(function, code, now).await?,
            }
            self.concurrency(function, now.as_ref()).await?;
        }
        Ok(())
    }

    fn configuration(&self, function: &Function) -> Map<String, Json> {
        let environment: BTreeMap<&String, String> =
            function.environment.iter().map(|(k, v)| (k, fill(v, &self.late))).collect();
        let fields = [
            ("Role", json!(function.role_arn)),
            ("Handler", json!(function.handler)),
            ("Runtime", json!(function.runtime)),
            ("Description", json!(function.description)),
            ("Timeout", json!(function.timeout_s)),
            ("MemorySize", json!(function.memory_mb)),
            ("EphemeralStorage", json!({ "Size": function.ephemeral_mb })),
            ("Environment", json!({ "Variables": environment })),
            ("Layers", json!(self.layers_of(function))),
        ];
        fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
    }

    async fn create(&mut self, function: &Function, code: &Code) -> Result<(), Error> {
        let name = &function.name;
        self.step(format!("creating function {name} ({})", size(code)));
        let mut input = self.configuration(function);
        input.insert("FunctionName".into(), name.as_str().into());
        input.insert("PackageType".into(), "Zip".into());
        input.insert("Code".into(), json!({ "ZipFile": STANDARD.encode(&code.bytes) }));
        input.insert("Tags".into(), json!(function.tags));
        if let Some(architecture) = &function.architecture {
            input.insert("Architectures".into(), json!([architecture]));
        }
        let made = self.client.rest("lambda", "POST", "/2015-03-31/functions", &[], Some(&Json::Object(input))).await;
        made.map(|_| ()).doing(|| format!("creating function {name}"))
    }

    async fn await_active(&mut self, name: &str) -> Result<(), Error> {
        let mut pause = Pause::new();
        loop {
            let now = self.function_now(name).await?;
            match text(&now, "State") {
                "Active" | "Inactive" => return Ok(()),
                "Failed" => {
                    let why = text(&now, "StateReason");
                    return Err(Error::State(format!("function {name} cannot run: {why}")));
                }
                state if !pause.wait().await => {
                    return Err(Error::State(format!("function {name} is still {state} after fifteen minutes")));
                }
                _ if pause.is_long() => {
                    self.step(format!("waiting for function {name} (the first one of a runtime has its SDK prepared)"));
                }
                _ => {}
            }
        }
    }

    async fn await_updated(&mut self, name: &str) -> Result<(), Error> {
        let mut pause = Pause::new();
        loop {
            let now = self.function_now(name).await?;
            match text(&now, "LastUpdateStatus") {
                "Successful" => return Ok(()),
                "Failed" => {
                    let why = text(&now, "LastUpdateStatusReason");
                    return Err(Error::State(format!("the update of function {name} failed: {why}")));
                }
                state if !pause.wait().await => {
                    return Err(Error::State(format!(
                        "the update of function {name} is still {state} after fifteen minutes"
                    )));
                }
                _ => {}
            }
        }
    }

    async fn function_now(&self, name: &str) -> Result<Json, Error> {
        let now = self.client.rest("lambda", "GET", &path(name, "/configuration"), &[], None).await;
        now.doing(|| format!("looking at function {name}"))
    }

    async fn update(&mut self, function: &Function, code: &Code, found: &Json) -> Result<(), Error> {
        let name = &function.name;
        let empty = Json::Null;
        let now = found.get("Configuration").unwrap_or(&empty);
        // A deploy that broke off may have left the function in the middle of something.
        if text(now, "State") == "Pending" {
            self.await_active(name).await?;
        }
        if text(now, "LastUpdateStatus") == "InProgress" {
            self.await_updated(name).await?;
        }
        let architecture = now.get("Architectures").and_then(|a| a.get(0)).and_then(Json::as_str);
        let moves = function.architecture.as_deref().is_some_and(|a| Some(a) != architecture);
        if text(now, "CodeSha256") != code.sha256 || moves {
            self.step(format!("updating the code of function {name} ({})", size(code)));
            let mut input = json!({ "ZipFile": STANDARD.encode(&code.bytes) });
            if let (Some(architecture), Some(map)) = (&function.architecture, input.as_object_mut()) {
                map.insert("Architectures".into(), json!([architecture]));
            }
            let set = self.client.rest("lambda", "PUT", &path(name, "/code"), &[], Some(&input)).await;
            set.doing(|| format!("updating the code of function {name}"))?;
            self.await_updated(name).await?;
        }
        let wanted = self.configuration(function);
        if wanted.iter().any(|(key, value)| !is_same(key, value, now)) {
            self.step(format!("updating the configuration of function {name}"));
            let input = Json::Object(wanted);
            let set = self.client.rest("lambda", "PUT", &path(name, "/configuration"), &[], Some(&input)).await;
            set.doing(|| format!("updating the configuration of function {name}"))?;
            self.await_updated(name).await?;
        }
        self.function_tags(function, text(now, "FunctionArn"), &texts(found.get("Tags"))).await
    }

    async fn function_tags(
        &mut self,
        function: &Function,
        arn: &str,
        old: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let (set, unset) = tag_changes(old, &function.tags);
        let path = format!("/2017-03-31/tags/{}", encode(arn));
        let doing = || format!("tagging function {}", function.name);
        if !set.is_empty() {
            self.client.rest("lambda", "POST", &path, &[], Some(&json!({ "Tags": set }))).await.doing(doing)?;
        }
        if !unset.is_empty() {
            let keys: Vec<(&str, &str)> = unset.iter().map(|k| ("tagKeys", k.as_str())).collect();
            self.client.rest("lambda", "DELETE", &path, &keys, None).await.doing(doing)?;
        }
        Ok(())
    }

    async fn concurrency(&mut self, function: &Function, now: Option<&Json>) -> Result<(), Error> {
        let name = &function.name;
        let reserved = now.and_then(|n| n.pointer("/Concurrency/ReservedConcurrentExecutions")).and_then(Json::as_i64);
        let path = format!("/2017-10-31/functions/{}/concurrency", encode(name));
        let done = match function.reserved_concurrency {
            wanted if wanted == reserved => return Ok(()),
            Some(wanted) => {
                let input = json!({ "ReservedConcurrentExecutions": wanted });
                self.client.rest("lambda", "PUT", &path, &[], Some(&input)).await
            }
            None => self.client.rest("lambda", "DELETE", &path, &[], None).await,
        };
        done.map(|_| ()).doing(|| format!("setting the reserved concurrency of function {name}"))
    }
}

/// Path of a function's resource.
pub(super) fn path(name: &str, rest: &str) -> String {
    format!("/2015-03-31/functions/{}{rest}", encode(name))
}

/// Absent and empty are the same to Lambda.
fn is_same(key: &str, wanted: &Json, now: &Json) -> bool {
    let current = now.get(key);
    match key {
        "Description" => text(now, key) == wanted.as_str().unwrap_or_default(),
        "Environment" => texts(current.and_then(|e| e.get("Variables"))) == texts(wanted.get("Variables")),
        "Layers" => super::layers::are_same(wanted, current.unwrap_or(&Json::Null)),
        _ => current == Some(wanted),
    }
}

fn size(code: &Code) -> String {
    match code.bytes.len() {
        n if n >= 1024 * 1024 => format!("{:.1} MiB", n as f64 / (1024.0 * 1024.0)),
        n => format!("{} KiB", n.div_ceil(1024)),
    }
}
