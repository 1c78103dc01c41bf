//! Resources, methods and integrations of a REST API. Nothing here is in service before the deployment.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use super::{Deployer, found, text};
use crate::client;
use crate::config::Cors;
use crate::error::{Doing, Error};
use crate::model::{RestApi, Stack};
use crate::record::Endpoint;

impl Deployer<'_> {
    /// Makes resources and methods match, then deploys.
    pub(super) async fn rest_routes(&mut self, stack: &Stack, api: &RestApi) -> Result<Vec<Endpoint>, Error> {
        let record = self.record.rest_api.clone().unwrap_or_default();
        let root = format!("/restapis/{}", record.id);
        let source = format!("arn:aws:execute-api:{}:{}:{}/*/*", stack.region, self.account, record.id);
        let called: BTreeSet<&str> = api.methods.iter().map(|m| m.function.as_str()).collect();
        for key in called {
            self.allow_api(stack, key, "squall-rest-api", &source).await?;
        }
        let arns: BTreeMap<&str, String> =
            stack.functions.iter().map(|f| (f.key.as_str(), self.function_arn(stack, &f.key))).collect();
        let wanted = json!({ "api": api, "functions": arns });
        if record.deployed != wanted || record.stage != api.stage {
            self.match_resources(&root, api, stack).await?;
            self.deploy_rest(&root, api, wanted).await?;
        }
        let base = format!("{}/_aws/execute-api/{}/{}", self.client.url(), record.id, api.stage);
        let endpoint = |m: &crate::model::Method| Endpoint {
            method: m.method.clone(),
            url: format!("{base}/{}", m.path),
            function: m.function.clone(),
        };
        // In the order of the file, which is how a reader knows them.
        let order = |m: &crate::model::Method| stack.functions.iter().position(|f| f.key == m.function);
        let mut methods: Vec<&crate::model::Method> = api.methods.iter().collect();
        methods.sort_by_key(|m| order(m));
        Ok(methods.into_iter().map(endpoint).collect())
    }

    async fn match_resources(&mut self, root: &str, api: &RestApi, stack: &Stack) -> Result<(), Error> {
        let now = self.rest_items(&format!("{root}/resources"), &[("embed", "methods")]).await?;
        let paths = api.methods.iter().map(|m| m.path.as_str()).chain(api.preflights.keys().map(String::as_str));
        let mut wanted: BTreeSet<String> = BTreeSet::new();
        for path in paths {
            let mut whole = String::new();
            for segment in path.split('/').filter(|s| !s.is_empty()) {
                whole = format!("{whole}/{segment}");
                wanted.insert(whole.clone());
            }
        }
        self.drop_stale(root, api, &now, &wanted).await?;
        let mut ids: BTreeMap<String, String> = now
            .iter()
            .map(|r| (text(r, "path").to_owned(), text(r, "id").to_owned()))
            .filter(|(path, _)| path == "/" || wanted.contains(path))
            .collect();
        for path in &wanted {
            if !ids.contains_key(path) {
                let id = self.make_resource(root, path, &ids).await?;
                ids.insert(path.clone(), id);
            }
        }
        let id_of = |path: &str| ids.get(&format!("/{path}")).cloned().unwrap_or_default();
        for method in &api.methods {
            let arn = self.function_arn(stack, &method.function);
            let uri = format!("arn:aws:apigateway:{}:lambda:path/2015-03-31/functions/{arn}/invocations", stack.region);
            let input = json!({ "type": "AWS_PROXY", "httpMethod": "POST", "uri": uri });
            self.method(&format!("{root}/resources/{}/methods/{}", id_of(&method.path), method.method), &input).await?;
        }
        for (path, cors) in &api.preflights {
            self.preflight(&format!("{root}/resources/{}/methods/OPTIONS", id_of(path)), cors).await?;
        }
        Ok(())
    }

    /// Takes away resources and methods that are not wanted; children go with their parents.
    async fn drop_stale(
        &mut self,
        root: &str,
        api: &RestApi,
        now: &[Json],
        wanted: &BTreeSet<String>,
    ) -> Result<(), Error> {
        let doing = || format!("removing methods of REST API {}", api.name);
        for resource in now {
            let (path, id) = (text(resource, "path"), text(resource, "id"));
            if path != "/" && !wanted.contains(path) {
                let at = format!("{root}/resources/{id}");
                found(self.client.rest("apigateway", "DELETE", &at, &[], None).await).doing(doing)?;
                continue;
            }
            let methods = resource.get("resourceMethods").and_then(Json::as_object);
            for method in methods.into_iter().flat_map(Map::keys) {
                let is_here = |p: &str| p == path.trim_start_matches('/');
                let is_wanted = api.methods.iter().any(|m| m.method == *method && is_here(&m.path))
                    || (method == "OPTIONS" && api.preflights.keys().any(|p| is_here(p)));
                if !is_wanted {
                    let at = format!("{root}/resources/{id}/methods/{method}");
                    found(self.client.rest("apigateway", "DELETE", &at, &[], None).await).doing(doing)?;
                }
            }
        }
        Ok(())
    }

    async fn make_resource(&mut self, root: &str, path: &str, ids: &BTreeMap<String, String>) -> Result<String, Error> {
        let (parent, part) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = if parent.is_empty() { "/" } else { parent };
        let parent_id = ids.get(parent).cloned().unwrap_or_default();
        let at = format!("{root}/resources/{parent_id}");
        let made = self.client.rest("apigateway", "POST", &at, &[], Some(&json!({ "pathPart": part }))).await;
        let made = made.doing(|| format!("creating the resource {path}"))?;
        Ok(text(&made, "id").to_owned())
    }

    async fn method(&mut self, at: &str, integration: &Json) -> Result<(), Error> {
        let doing = || format!("setting up the method {}", at.rsplit('/').next().unwrap_or_default());
        let made = self.client.rest("apigateway", "PUT", at, &[], Some(&json!({ "authorizationType": "NONE" }))).await;
        exists(made).doing(doing)?;
        let integration =
            self.client.rest("apigateway", "PUT", &format!("{at}/integration"), &[], Some(integration)).await;
        integration.map(|_| ()).doing(doing)
    }

    /// The answer to OPTIONS, given by the API itself.
    async fn preflight(&mut self, at: &str, cors: &Cors) -> Result<(), Error> {
        let doing = || "setting up CORS".to_owned();
        let integration = json!({
            "type": "MOCK",
            "requestTemplates": { "application/json": "{statusCode:200}" },
            "contentHandling": "CONVERT_TO_TEXT",
        });
        self.method(at, &integration).await?;
        let headers = cors_headers(cors);
        let declared: Map<String, Json> =
            headers.iter().map(|(name, _)| (format!("method.response.header.{name}"), Json::Bool(true))).collect();
        let values: Map<String, Json> = headers
            .iter()
            .map(|(name, value)| (format!("method.response.header.{name}"), format!("'{value}'").into()))
            .collect();
        let response = format!("{at}/responses/200");
        // An old declaration would keep headers that are gone.
        found(self.client.rest("apigateway", "DELETE", &response, &[], None).await).doing(doing)?;
        let input = json!({ "responseParameters": declared, "responseModels": {} });
        exists(self.client.rest("apigateway", "PUT", &response, &[], Some(&input)).await).doing(doing)?;
        let input = json!({ "responseParameters": values, "responseTemplates": { "application/json": "" } });
        let response = format!("{at}/integration/responses/200");
        self.client.rest("apigateway", "PUT", &response, &[], Some(&input)).await.map(|_| ()).doing(doing)
    }
}

fn cors_headers(cors: &Cors) -> Vec<(&'static str, String)> {
    let mut headers = vec![
        ("Access-Control-Allow-Origin", cors.origins.join(",")),
        ("Access-Control-Allow-Headers", cors.headers.join(",")),
        ("Access-Control-Allow-Methods", cors.methods.join(",")),
    ];
    if cors.credentials {
        headers.push(("Access-Control-Allow-Credentials", "true".into()));
    }
    if let Some(seconds) = cors.max_age_s {
        headers.push(("Access-Control-Max-Age", seconds.to_string()));
    }
    headers
}

/// What is there already is as good as made.
fn exists(made: Result<Json, client::Error>) -> Result<(), client::Error> {
    match made {
        Err(e) if e.code() == Some("ConflictException") => Ok(()),
        other => other.map(|_| ()),
    }
}
