//! HTTP APIs: the API, its routes and their integrations.

use serde_json::{Map, Value as Json, json};

use super::permissions::Grant;
use super::{Deployer, found, text, texts};
use crate::config::Cors;
use crate::error::{Doing, Error};
use crate::model::{HttpApi, STACK_TAG, Stack};
use crate::record::Endpoint;

/// The stage that has no name in URLs.
const STAGE: &str = "$default";
const PAGES_MAX: usize = 100;

impl Deployer<'_> {
    /// Makes the API without routes, or finds it.
    pub(super) async fn http_shell(&mut self, stack: &str, api: &HttpApi) -> Result<(), Error> {
        let doing = || format!("creating HTTP API {}", api.name);
        let mut now = None;
        if let Some(known) = &self.record.http_api {
            let path = format!("/v2/apis/{}", known.id);
            now = found(self.client.rest("apigateway", "GET", &path, &[], None).await).doing(doing)?;
        }
        if now.is_none() {
            // A deploy that broke off between the creation and the record left one behind.
            let all = self.items("/v2/apis").await?;
            now = all.into_iter().find(|a| texts(a.get("tags")).get(STACK_TAG).is_some_and(|s| s == stack));
        }
        let now = match now {
            Some(now) => {
                self.update_shell(api, &now).await?;
                now
            }
            None => {
                self.step(format!("creating HTTP API {}", api.name));
                let mut input = json!({ "name": api.name, "protocolType": "HTTP", "tags": { (STACK_TAG): stack } });
                if let (Some(cors), Some(map)) = (&api.cors, input.as_object_mut()) {
                    map.insert("corsConfiguration".into(), cors_input(cors));
                }
                self.client.rest("apigateway", "POST", "/v2/apis", &[], Some(&input)).await.doing(doing)?
            }
        };
        let id = text(&now, "apiId").to_owned();
        if self.record.http_api.as_ref().is_none_or(|a| a.id != id) {
            self.record.http_api = Some(Self::new_api(id.clone()));
            self.record.save(self.client).await?;
        }
        self.late.insert("HttpApi".into(), id);
        Ok(())
    }

    async fn update_shell(&mut self, api: &HttpApi, now: &Json) -> Result<(), Error> {
        let path = format!("/v2/apis/{}", text(now, "apiId"));
        let doing = || format!("updating HTTP API {}", api.name);
        let wanted = api.cors.as_ref().map(cors_input);
        let current = now.get("corsConfiguration").filter(|c| !c.is_null());
        if wanted.is_none() && current.is_some() {
            let cors = format!("{path}/cors");
            found(self.client.rest("apigateway", "DELETE", &cors, &[], None).await).doing(doing)?;
        }
        let mut input = Map::new();
        if text(now, "name") != api.name {
            input.insert("name".into(), api.name.as_str().into());
        }
        if let Some(cors) = wanted.filter(|c| current != Some(c)) {
            input.insert("corsConfiguration".into(), cors);
        }
        if !input.is_empty() {
            self.step(format!("updating HTTP API {}", api.name));
            self.client.rest("apigateway", "PATCH", &path, &[], Some(&Json::Object(input))).await.doing(doing)?;
        }
        Ok(())
    }

    /// Every page of a list.
    async fn items(&self, path: &str) -> Result<Vec<Json>, Error> {
        let (mut out, mut token) = (Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let mut query = vec![("maxResults", "100")];
            if !token.is_empty() {
                query.push(("nextToken", token.as_str()));
            }
            let page = self.client.rest("apigateway", "GET", path, &query, None).await;
            let page = page.doing(|| format!("listing {path}"))?;
            out.extend(page.get("items").and_then(Json::as_array).cloned().unwrap_or_default());
            token = text(&page, "nextToken").to_owned();
            if token.is_empty() {
                break;
            }
        }
        Ok(out)
    }

    /// Adds and moves routes, then takes away what is no longer wanted; the stage deploys by itself.
    pub(super) async fn http_routes(&mut self, stack: &Stack, api: &HttpApi) -> Result<Vec<Endpoint>, Error> {
        let id = self.record.http_api.as_ref().map(|a| a.id.clone()).unwrap_or_default();
        let root = format!("/v2/apis/{id}");
        let doing = || format!("routing HTTP API {}", api.name);
        let source = format!("arn:aws:execute-api:{}:{}:{id}/*", stack.region, self.account);
        let mut integrations = self.items(&format!("{root}/integrations")).await?;
        let routes = self.items(&format!("{root}/routes")).await?;
        let mut used = Vec::new();
        let mut endpoints = Vec::new();
        for route in &api.routes {
            let arn = self.function_arn(stack, &route.function);
            self.allow_api(stack, &route.function, "squall-http-api", &source).await?;
            let fits = |i: &&Json| {
                text(i, "integrationUri") == arn && text(i, "payloadFormatVersion") == route.payload.as_str()
            };
            let integration = match integrations.iter().find(fits) {
                Some(integration) => text(integration, "integrationId").to_owned(),
                None => {
                    let input = json!({
                        "integrationType": "AWS_PROXY",
                        "integrationUri": arn,
                        "integrationMethod": "POST",
                        "payloadFormatVersion": route.payload.as_str(),
                    });
                    let path = format!("{root}/integrations");
                    let made = self.client.rest("apigateway", "POST", &path, &[], Some(&input)).await.doing(doing)?;
                    let id = text(&made, "integrationId").to_owned();
                    integrations.push(made);
                    id
                }
            };
            let target = format!("integrations/{integration}");
            used.push(integration);
            match routes.iter().find(|r| text(r, "routeKey") == route.key) {
                Some(now) if text(now, "target") == target => {}
                Some(now) => {
                    self.step(format!("moving route {}", route.key));
                    let path = format!("{root}/routes/{}", text(now, "routeId"));
                    let input = json!({ "target": target });
                    self.client.rest("apigateway", "PATCH", &path, &[], Some(&input)).await.doing(doing)?;
                }
                None => {
                    self.step(format!("adding route {}", route.key));
                    let input = json!({ "routeKey": route.key, "target": target });
                    let path = format!("{root}/routes");
                    self.client.rest("apigateway", "POST", &path, &[], Some(&input)).await.doing(doing)?;
                }
            }
            endpoints.push(self.http_endpoint(&id, route));
        }
        self.default_stage(&root).await?;
        for stale in routes.iter().filter(|r| !api.routes.iter().any(|w| w.key == text(r, "routeKey"))) {
            self.step(format!("removing route {}", text(stale, "routeKey")));
            let path = format!("{root}/routes/{}", text(stale, "routeId"));
            found(self.client.rest("apigateway", "DELETE", &path, &[], None).await).doing(doing)?;
        }
        for stale in integrations.iter().map(|i| text(i, "integrationId")).filter(|i| !used.iter().any(|u| u == i)) {
            let path = format!("{root}/integrations/{stale}");
            found(self.client.rest("apigateway", "DELETE", &path, &[], None).await).doing(doing)?;
        }
        Ok(endpoints)
    }

    fn http_endpoint(&self, id: &str, route: &crate::model::Route) -> Endpoint {
        let (method, path) = match route.key.split_once(' ') {
            Some((method, path)) => (method, path),
            None => ("ANY", "/"),
        };
        let url = format!("{}/_aws/execute-api/{id}{path}", self.client.url());
        Endpoint { method: method.into(), url, function: route.function.clone() }
    }

    async fn default_stage(&mut self, root: &str) -> Result<(), Error> {
        let doing = || "deploying the HTTP API".to_owned();
        let path = format!("{root}/stages/{}", crate::client::encode(STAGE));
        if found(self.client.rest("apigateway", "GET", &path, &[], None).await).doing(doing)?.is_none() {
            let input = json!({ "stageName": STAGE, "autoDeploy": true });
            let path = format!("{root}/stages");
            self.client.rest("apigateway", "POST", &path, &[], Some(&input)).await.doing(doing)?;
        }
        if let Some(api) = &mut self.record.http_api {
            api.stage = STAGE.into();
        }
        Ok(())
    }

    /// Lets an API call a function.
    pub(super) async fn allow_api(&mut self, stack: &Stack, key: &str, sid: &str, source: &str) -> Result<(), Error> {
        let name = stack.functions.iter().find(|f| f.key == key).map_or(key, |f| f.name.as_str());
        let grant = Grant {
            sid,
            action: "lambda:InvokeFunction",
            principal: "apigateway.amazonaws.com",
            source_arn: Some(source.to_owned()),
            url_auth: None,
        };
        self.grant(name, &grant).await
    }
}

fn cors_input(cors: &Cors) -> Json {
    let mut out = Map::new();
    out.insert("allowOrigins".into(), json!(cors.origins));
    out.insert("allowHeaders".into(), json!(cors.headers));
    out.insert("allowMethods".into(), json!(cors.methods));
    if !cors.exposed_headers.is_empty() {
        out.insert("exposeHeaders".into(), json!(cors.exposed_headers));
    }
    if cors.credentials {
        out.insert("allowCredentials".into(), true.into());
    }
    if let Some(seconds) = cors.max_age_s {
        out.insert("maxAge".into(), seconds.into());
    }
    Json::Object(out)
}
