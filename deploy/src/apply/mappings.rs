//! Event source mappings and settings of asynchronous invocation.

use serde_json::{Value as Json, json};

use super::{Deployer, Pause, found, tag_changes, text, texts};
use crate::client::encode;
use crate::error::{Doing, Error};
use crate::intrinsics::{fill, fill_json};
use crate::model::{Function, InvokeConfig, Mapping, Stack};
use crate::record::MappingRecord;

const ROOT: &str = "/2015-03-31/event-source-mappings";
/// What UpdateEventSourceMapping does not take.
const FIXED: [&str; 2] = ["StartingPosition", "Tags"];

fn one(uuid: &str) -> String {
    format!("{ROOT}/{}", encode(uuid))
}

impl Deployer<'_> {
    /// Makes or updates every mapping and waits until all are as they should be; those no longer wanted go.
    pub(super) async fn mappings(&mut self, stack: &Stack) -> Result<(), Error> {
        let mut kept = Vec::new();
        for mapping in &stack.mappings {
            let source = fill(&mapping.source, &self.late);
            let uuid = self.mapping(mapping, &source).await?;
            kept.push(uuid.clone());
            if !self.record.mappings.iter().any(|m| m.uuid == uuid) {
                self.record.mappings.push(MappingRecord { uuid, function: mapping.function.clone(), source });
                self.record.save(self.client).await?;
            }
        }
        self.remove_mappings(&kept).await?;
        for uuid in &kept {
            self.await_mapping(uuid).await?;
        }
        Ok(())
    }

    /// Removes the mappings of the record but for these.
    pub(super) async fn remove_mappings(&mut self, kept: &[String]) -> Result<(), Error> {
        for mapping in self.record.mappings.clone() {
            if !kept.contains(&mapping.uuid) {
                self.remove_mapping(&mapping.uuid, &mapping.source).await?;
                self.record.mappings.retain(|m| m.uuid != mapping.uuid);
            }
        }
        Ok(())
    }

    async fn mapping(&mut self, mapping: &Mapping, source: &str) -> Result<String, Error> {
        let function = mapping.function.as_str();
        let doing = || format!("mapping {source} to function {function}");
        if let Some(now) = self.mapping_of(function, source).await? {
            let uuid = text(&now, "UUID").to_owned();
            if text(&now, "StartingPosition") == text(&mapping.input, "StartingPosition") {
                self.update_mapping(mapping, &uuid).await?;
                return Ok(uuid);
            }
            // Where a mapping begins cannot change: it is made anew, as CloudFormation does.
            self.remove_mapping(&uuid, source).await?;
            self.record.mappings.retain(|m| m.uuid != uuid);
        }
        self.step(format!("mapping {source} to function {function}"));
        let mut input = mapping.input.clone();
        (input["FunctionName"], input["EventSourceArn"]) = (function.into(), source.into());
        let made = self.client.rest("lambda", "POST", ROOT, &[], Some(&input)).await.doing(doing)?;
        Ok(text(&made, "UUID").to_owned())
    }

    async fn mapping_of(&self, function: &str, source: &str) -> Result<Option<Json>, Error> {
        let query = [("FunctionName", function), ("EventSourceArn", source)];
        let answer = found(self.client.rest("lambda", "GET", ROOT, &query, None).await);
        let answer = answer.doing(|| format!("looking at the mappings of function {function}"))?;
        Ok(answer.and_then(|a| a.pointer("/EventSourceMappings/0").cloned()))
    }

    async fn update_mapping(&mut self, mapping: &Mapping, uuid: &str) -> Result<(), Error> {
        let function = &mapping.function;
        let now = self.await_mapping(uuid).await?;
        if !is_as_wanted(&now, &mapping.input) {
            self.step(format!("updating the event source mapping of function {function}"));
            let mut input = mapping.input.clone();
            if let Some(map) = input.as_object_mut() {
                map.retain(|key, _| !FIXED.contains(&key.as_str()));
            }
            let set = self.client.rest("lambda", "PUT", &one(uuid), &[], Some(&input)).await;
            set.doing(|| format!("updating the event source mapping of function {function}"))?;
        }
        self.mapping_tags(mapping, text(&now, "EventSourceMappingArn")).await
    }

    async fn mapping_tags(&mut self, mapping: &Mapping, arn: &str) -> Result<(), Error> {
        let doing = || format!("tagging the event source mapping of function {}", mapping.function);
        let path = format!("/2017-03-31/tags/{}", encode(arn));
        let now = self.client.rest("lambda", "GET", &path, &[], None).await.doing(doing)?;
        let (set, unset) = tag_changes(&texts(now.get("Tags")), &texts(mapping.input.get("Tags")));
        if !set.is_empty() {
            self.client.rest("lambda", "POST", &path, &[], Some(&json!({ "Tags": set }))).await.doing(doing)?;
        }
        if !unset.is_empty() {
            let keys: Vec<(&str, &str)> = unset.iter().map(|k| ("tagKeys", k.as_str())).collect();
            self.client.rest("lambda", "DELETE", &path, &keys, None).await.doing(doing)?;
        }
        Ok(())
    }

    /// Waits until nothing is under way; answers the mapping.
    async fn await_mapping(&mut self, uuid: &str) -> Result<Json, Error> {
        let mut pause = Pause::new();
        loop {
            let now = self.client.rest("lambda", "GET", &one(uuid), &[], None).await;
            let now = now.doing(|| format!("looking at event source mapping {uuid}"))?;
            match text(&now, "State") {
                "Enabled" | "Disabled" => return Ok(now),
                state if !pause.wait().await => {
                    return Err(Error::State(format!("event source mapping {uuid} is still {state}")));
                }
                _ => {}
            }
        }
    }

    async fn remove_mapping(&mut self, uuid: &str, source: &str) -> Result<(), Error> {
        let doing = || format!("removing the mapping of {source}");
        let mut pause = Pause::new();
        loop {
            let now = found(self.client.rest("lambda", "GET", &one(uuid), &[], None).await).doing(doing)?;
            match now.as_ref().map(|n| text(n, "State")) {
                None => return Ok(()),
                Some("Enabled" | "Disabled") => {
                    self.step(format!("removing the mapping of {source}"));
                    found(self.client.rest("lambda", "DELETE", &one(uuid), &[], None).await).doing(doing)?;
                }
                Some(_) => {}
            }
            if !pause.wait().await {
                return Err(Error::State(format!("event source mapping {uuid} does not go")));
            }
        }
    }

    /// Sets how each function is called asynchronously, or takes that back.
    pub(super) async fn invoke_configs(&mut self, stack: &Stack) -> Result<(), Error> {
        for function in &stack.functions {
            let wanted = stack.invoke_configs.iter().find(|c| c.function == function.name);
            self.invoke_config(function, wanted).await?;
        }
        Ok(())
    }

    async fn invoke_config(&mut self, function: &Function, wanted: Option<&InvokeConfig>) -> Result<(), Error> {
        let name = &function.name;
        let path = format!("/2019-09-25/functions/{}/event-invoke-config", encode(name));
        let doing = || format!("setting how function {name} is called asynchronously");
        let now = found(self.client.rest("lambda", "GET", &path, &[], None).await).doing(doing)?;
        let done = match (wanted, &now) {
            (None, None) => return Ok(()),
            (None, Some(_)) => self.client.rest("lambda", "DELETE", &path, &[], None).await,
            (Some(wanted), _) => {
                let input = fill_json(&wanted.input, &self.late);
                let same = |now: &Json| {
                    let keys = ["MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig"];
                    keys.iter().all(|key| now.get(*key) == input.get(*key))
                };
                if now.as_ref().is_some_and(same) {
                    return Ok(());
                }
                self.step(doing());
                self.client.rest("lambda", "PUT", &path, &[], Some(&input)).await
            }
        };
        done.map(|_| ()).doing(doing)
    }
}

/// Whether a settled mapping has every setting that is wanted.
fn is_as_wanted(now: &Json, wanted: &Json) -> bool {
    let Some(wanted) = wanted.as_object() else { return true };
    let no_filters = json!({ "Filters": [] });
    let target = |of: &Json| of.pointer("/DestinationConfig/OnFailure/Destination").cloned();
    wanted.iter().all(|(key, value)| match key.as_str() {
        "Enabled" => value.as_bool() == Some(text(now, "State") == "Enabled"),
        "FilterCriteria" => now.get("FilterCriteria").unwrap_or(&no_filters) == value,
        "DestinationConfig" => target(now) == value.pointer("/OnFailure/Destination").cloned(),
        key if FIXED.contains(&key) => true,
        key => now.get(key) == Some(value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_updated() {
        let wanted = json!({ "BatchSize": 10, "Enabled": true, "StartingPosition": "LATEST",
            "FilterCriteria": { "Filters": [] }, "DestinationConfig": { "OnFailure": {} } });
        let now = json!({ "BatchSize": 10, "State": "Enabled", "DestinationConfig": { "OnFailure": {} } });
        assert!(is_as_wanted(&now, &wanted));
        for (key, value) in [
            ("BatchSize", json!(11)),
            ("State", json!("Disabled")),
            ("FilterCriteria", json!({ "Filters": [{ "Pattern": "{}" }] })),
            ("DestinationConfig", json!({ "OnFailure": { "Destination": "arn:x" } })),
        ] {
            let mut other = now.clone();
            other[key] = value;
            assert!(!is_as_wanted(&other, &wanted), "{key}");
        }
    }
}
