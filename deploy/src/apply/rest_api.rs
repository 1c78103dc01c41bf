//! REST APIs: the API itself and its deployment.

use serde_json::{Value as Json, json};

use super::{Deployer, found, text, texts};
use crate::error::{Doing, Error};
use crate::model::{RestApi, STACK_TAG};

const PAGES_MAX: usize = 100;

impl Deployer<'_> {
    /// Makes the API without methods, or finds it.
    pub(super) async fn rest_shell(&mut self, stack: &str, api: &RestApi) -> Result<(), Error> {
        let doing = || format!("creating REST API {}", api.name);
        let mut now = None;
        if let Some(known) = &self.record.rest_api {
            let path = format!("/restapis/{}", known.id);
            now = found(self.client.rest("apigateway", "GET", &path, &[], None).await).doing(doing)?;
        }
        if now.is_none() {
            // A deploy that broke off between the creation and the record left one behind.
            let all = self.rest_items("/restapis", &[]).await?;
            now = all.into_iter().find(|a| texts(a.get("tags")).get(STACK_TAG).is_some_and(|s| s == stack));
        }
        let now = match now {
            Some(now) => {
                self.update_rest(api, &now).await?;
                now
            }
            None => {
                self.step(format!("creating REST API {}", api.name));
                let mut input = json!({
                    "name": api.name,
                    "endpointConfiguration": { "types": ["REGIONAL"] },
                    "tags": { (STACK_TAG): stack, "STAGE": api.stage },
                });
                if let Some(map) = input.as_object_mut() {
                    if !api.description.is_empty() {
                        map.insert("description".into(), api.description.as_str().into());
                    }
                    if !api.binary_media_types.is_empty() {
                        map.insert("binaryMediaTypes".into(), json!(api.binary_media_types));
                    }
                }
                self.client.rest("apigateway", "POST", "/restapis", &[], Some(&input)).await.doing(doing)?
            }
        };
        let id = text(&now, "id").to_owned();
        if self.record.rest_api.as_ref().is_none_or(|a| a.id != id) {
            self.record.rest_api = Some(Self::new_api(id.clone()));
            self.record.save(self.client).await?;
        }
        self.late.insert("ApiGatewayRestApi".into(), id);
        Ok(())
    }

    async fn update_rest(&mut self, api: &RestApi, now: &Json) -> Result<(), Error> {
        let mut operations = Vec::new();
        for (key, wanted) in [("name", &api.name), ("description", &api.description)] {
            if text(now, key) != *wanted {
                operations.push(json!({ "op": "replace", "path": format!("/{key}"), "value": wanted }));
            }
        }
        let old: Vec<&str> = now
            .get("binaryMediaTypes")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .collect();
        let escaped = |kind: &str| format!("/binaryMediaTypes/{}", kind.replace('~', "~0").replace('/', "~1"));
        for kind in old.iter().filter(|k| !api.binary_media_types.iter().any(|w| w == *k)) {
            operations.push(json!({ "op": "remove", "path": escaped(kind) }));
        }
        for kind in api.binary_media_types.iter().filter(|k| !old.contains(&k.as_str())) {
            operations.push(json!({ "op": "add", "path": escaped(kind) }));
        }
        if operations.is_empty() {
            return Ok(());
        }
        self.step(format!("updating REST API {}", api.name));
        let path = format!("/restapis/{}", text(now, "id"));
        let input = json!({ "patchOperations": operations });
        let set = self.client.rest("apigateway", "PATCH", &path, &[], Some(&input)).await;
        set.map(|_| ()).doing(|| format!("updating REST API {}", api.name))
    }

    /// Every page of a list; the member is `item` on the wire, as older clients know it.
    pub(super) async fn rest_items(&self, path: &str, more: &[(&str, &str)]) -> Result<Vec<Json>, Error> {
        let (mut out, mut position) = (Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let mut query = vec![("limit", "500")];
            query.extend(more);
            if !position.is_empty() {
                query.push(("position", position.as_str()));
            }
            let page = self.client.rest("apigateway", "GET", path, &query, None).await;
            let page = page.doing(|| format!("listing {path}"))?;
            let items = page.get("item").or_else(|| page.get("items"));
            out.extend(items.and_then(Json::as_array).cloned().unwrap_or_default());
            position = text(&page, "position").to_owned();
            if position.is_empty() {
                break;
            }
        }
        Ok(out)
    }

    /// Puts the methods as they are now into service; the stage moves over in one step.
    pub(super) async fn deploy_rest(&mut self, root: &str, api: &RestApi, now: Json) -> Result<(), Error> {
        let doing = || format!("deploying REST API {}", api.name);
        self.step(format!("deploying REST API {} to stage {}", api.name, api.stage));
        let path = format!("{root}/deployments");
        let input = json!({ "stageName": api.stage });
        let made = self.client.rest("apigateway", "POST", &path, &[], Some(&input)).await.doing(doing)?;
        let Some(record) = &mut self.record.rest_api else { return Ok(()) };
        let old_stage = std::mem::replace(&mut record.stage, api.stage.clone());
        let old = std::mem::replace(&mut record.deployment, text(&made, "id").to_owned());
        record.deployed = now;
        self.record.save(self.client).await?;
        if !old_stage.is_empty() && old_stage != api.stage {
            let path = format!("{root}/stages/{}", crate::client::encode(&old_stage));
            found(self.client.rest("apigateway", "DELETE", &path, &[], None).await).doing(doing)?;
        }
        if !old.is_empty() {
            // Nothing points to it any more; where something does (a stage made by hand), it stays.
            let path = format!("{root}/deployments/{old}");
            let _ = self.client.rest("apigateway", "DELETE", &path, &[], None).await;
        }
        Ok(())
    }
}
