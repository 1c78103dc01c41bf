//! Function URLs.

use serde_json::{Map, Value as Json, json};

use super::permissions::Grant;
use super::{Deployer, found, text};
use crate::client::encode;
use crate::config::Cors;
use crate::error::{Doing, Error};
use crate::model::{Function, Url};
use crate::record::Endpoint;

const PUBLIC: &str = "FunctionURLAllowPublicAccess";

impl Deployer<'_> {
    /// Makes, updates or removes the URL of a function.
    pub(super) async fn url(&mut self, function: &Function) -> Result<(), Error> {
        let name = function.name.as_str();
        let path = format!("/2021-10-31/functions/{}/url", encode(name));
        let now = found(self.client.rest("lambda", "GET", &path, &[], None).await);
        let now = now.doing(|| format!("looking at the URL of function {name}"))?;
        let Some(url) = &function.url else {
            if now.is_some() {
                self.step(format!("removing the URL of function {name}"));
                let gone = found(self.client.rest("lambda", "DELETE", &path, &[], None).await);
                gone.doing(|| format!("removing the URL of function {name}"))?;
                self.revoke(name, PUBLIC).await?;
            }
            return Ok(());
        };
        let input = input(url);
        let current = match &now {
            Some(now) if is_same(now, &input) => now.clone(),
            Some(_) => {
                self.step(format!("updating the URL of function {name}"));
                let set = self.client.rest("lambda", "PUT", &path, &[], Some(&input)).await;
                set.doing(|| format!("updating the URL of function {name}"))?
            }
            None => {
                self.step(format!("creating a URL for function {name}"));
                let made = self.client.rest("lambda", "POST", &path, &[], Some(&input)).await;
                made.doing(|| format!("creating a URL for function {name}"))?
            }
        };
        if url.auth == "NONE" {
            let grant = Grant {
                sid: PUBLIC,
                action: "lambda:InvokeFunctionUrl",
                principal: "*",
                source_arn: None,
                url_auth: Some("NONE"),
            };
            self.grant(name, &grant).await?;
        } else if now.is_some() {
            self.revoke(name, PUBLIC).await?;
        }
        let id = url_id(text(&current, "FunctionUrl"));
        let url = format!("{}/_aws/lambda-url/{id}/", self.client.url());
        self.urls.push(Endpoint { method: "ANY".into(), url, function: function.key.clone() });
        Ok(())
    }
}

/// The first label of the URL's host.
fn url_id(url: &str) -> &str {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    host.split(['.', '/', ':']).next().unwrap_or_default()
}

fn input(url: &Url) -> Json {
    json!({
        "AuthType": url.auth,
        "InvokeMode": "BUFFERED",
        "Cors": url.cors.as_ref().map_or_else(|| json!({}), cors),
    })
}

fn cors(cors: &Cors) -> Json {
    let mut out = Map::new();
    out.insert("AllowOrigins".into(), json!(cors.origins));
    out.insert("AllowMethods".into(), json!(cors.methods));
    out.insert("AllowHeaders".into(), json!(cors.headers));
    if !cors.exposed_headers.is_empty() {
        out.insert("ExposeHeaders".into(), json!(cors.exposed_headers));
    }
    if cors.credentials {
        out.insert("AllowCredentials".into(), true.into());
    }
    if let Some(seconds) = cors.max_age_s {
        out.insert("MaxAge".into(), seconds.into());
    }
    Json::Object(out)
}

fn is_same(now: &Json, wanted: &Json) -> bool {
    let empty = json!({});
    let cors = now.get("Cors").filter(|c| !c.is_null()).unwrap_or(&empty);
    text(now, "AuthType") == text(wanted, "AuthType") && Some(cors) == wanted.get("Cors")
}
