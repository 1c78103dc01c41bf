//! Layers: a new version is published when the files or what is said of them changed.

use serde_json::{Value as Json, json};

use super::{Deployer, found, text};
use crate::client::encode;
use crate::error::{Doing, Error};
use crate::intrinsics::fill;
use crate::model::{Function, Layer, Project};
use crate::package::Code;
use crate::record::LayerRecord;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

impl Deployer<'_> {
    /// Publishes what changed; functions then name the newest versions.
    pub(super) async fn layers(&mut self, project: &Project) -> Result<(), Error> {
        for (layer, code) in project.stack.layers.iter().zip(&project.layers) {
            let arn = self.layer(layer, code).await?;
            self.late.insert(layer.logical.clone(), arn);
        }
        Ok(())
    }

    /// The ARNs that the layers of a function stand for.
    pub(super) fn layers_of(&self, function: &Function) -> Vec<String> {
        function.layers.iter().map(|l| fill(l, &self.late)).collect()
    }

    async fn layer(&mut self, layer: &Layer, code: &Code) -> Result<String, Error> {
        let name = &layer.name;
        let mut input = json!({
            "Description": layer.description, "CompatibleRuntimes": layer.runtimes,
            "CompatibleArchitectures": layer.architectures,
        });
        if let Some(license) = &layer.license {
            input["LicenseInfo"] = license.as_str().into();
        }
        for known in self.record.layers.iter_mut().filter(|l| l.name == *name) {
            known.is_retained = layer.is_retained;
        }
        let last = self.record.layers.iter().rev().find(|l| l.name == *name).cloned();
        if let Some(last) = last.filter(|l| l.sha256 == code.sha256 && l.settings == input)
            && self.layer_exists(&last.arn).await?
        {
            return Ok(last.arn);
        }
        self.step(format!("publishing layer {name}"));
        let settings = input.clone();
        input["Content"] = json!({ "ZipFile": STANDARD.encode(&code.bytes) });
        let path = format!("/2018-10-31/layers/{}/versions", encode(name));
        let made = self.client.rest("lambda", "POST", &path, &[], Some(&input)).await;
        let arn = text(&made.doing(|| format!("publishing layer {name}"))?, "LayerVersionArn").to_owned();
        self.record.layers.push(LayerRecord {
            name: name.clone(),
            arn: arn.clone(),
            sha256: code.sha256.clone(),
            settings,
            is_retained: layer.is_retained,
        });
        self.record.save(self.client).await?;
        Ok(arn)
    }

    async fn layer_exists(&self, arn: &str) -> Result<bool, Error> {
        let Some(path) = path_of(arn) else { return Ok(false) };
        let answer = found(self.client.rest("lambda", "GET", &path, &[], None).await);
        Ok(answer.doing(|| format!("looking at layer {arn}"))?.is_some())
    }

    /// Deletes the versions that no layer of the stack stands for any more, unless they are to stay.
    pub(super) async fn remove_layers(&mut self) -> Result<(), Error> {
        for layer in self.record.layers.clone() {
            if self.late.values().any(|arn| *arn == layer.arn) {
                continue;
            }
            if layer.is_retained {
                self.step(format!("leaving layer {}", layer.arn));
            } else if let Some(path) = path_of(&layer.arn) {
                self.step(format!("deleting layer {}", layer.arn));
                let gone = found(self.client.rest("lambda", "DELETE", &path, &[], None).await);
                gone.doing(|| format!("deleting layer {}", layer.arn))?;
            }
            self.record.layers.retain(|l| l.arn != layer.arn);
        }
        Ok(())
    }
}

/// Path of the version with that ARN.
fn path_of(arn: &str) -> Option<String> {
    let (name, number) = arn.split_once(":layer:")?.1.split_once(':')?;
    Some(format!("/2018-10-31/layers/{}/versions/{}", encode(name), encode(number)))
}

/// Whether a function has these layers.
pub(super) fn are_same(wanted: &Json, now: &Json) -> bool {
    let now = now.as_array().into_iter().flatten().map(|l| text(l, "Arn"));
    now.eq(wanted.as_array().into_iter().flatten().filter_map(Json::as_str))
}
