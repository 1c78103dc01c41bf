//! Resource policies of functions: who besides the owner may call them.

use serde_json::{Value as Json, json};

use super::functions::path;
use super::{Deployer, found, text};
use crate::client::encode;
use crate::error::{Doing, Error};

/// One statement of a function's policy.
pub(super) struct Grant<'a> {
    /// Statement id.
    pub sid: &'a str,
    /// Such as `lambda:InvokeFunction`.
    pub action: &'a str,
    /// A service, or `*`.
    pub principal: &'a str,
    /// Which API.
    pub source_arn: Option<String>,
    /// For function URLs.
    pub url_auth: Option<&'a str>,
}

impl Deployer<'_> {
    /// The statement of that id in a function's policy.
    pub(super) async fn statement(&self, function: &str, sid: &str) -> Result<Option<Json>, Error> {
        let answer = found(self.client.rest("lambda", "GET", &path(function, "/policy"), &[], None).await);
        let answer = answer.doing(|| format!("looking at the policy of function {function}"))?;
        let policy = answer.and_then(|a| serde_json::from_str::<Json>(text(&a, "Policy")).ok());
        let statements = policy.and_then(|p| p.get("Statement").and_then(Json::as_array).cloned()).unwrap_or_default();
        Ok(statements.into_iter().find(|s| text(s, "Sid") == sid))
    }

    /// Sees to it that the statement is there and says what it should.
    pub(super) async fn grant(&mut self, function: &str, grant: &Grant<'_>) -> Result<(), Error> {
        if let Some(now) = self.statement(function, grant.sid).await? {
            let pointer = "/Condition/ArnLike/AWS:SourceArn";
            let source = now.pointer(pointer).and_then(Json::as_str);
            let auth = now.pointer("/Condition/StringEquals/lambda:FunctionUrlAuthType").and_then(Json::as_str);
            if source == grant.source_arn.as_deref() && auth == grant.url_auth && text(&now, "Action") == grant.action {
                return Ok(());
            }
            self.revoke(function, grant.sid).await?;
        }
        let mut input = json!({ "StatementId": grant.sid, "Action": grant.action, "Principal": grant.principal });
        if let Some(map) = input.as_object_mut() {
            if let Some(arn) = &grant.source_arn {
                map.insert("SourceArn".into(), arn.as_str().into());
            }
            if let Some(auth) = grant.url_auth {
                map.insert("FunctionUrlAuthType".into(), auth.into());
            }
        }
        let added = self.client.rest("lambda", "POST", &path(function, "/policy"), &[], Some(&input)).await;
        added.map(|_| ()).doing(|| format!("allowing calls of function {function}"))
    }

    /// Takes a statement away, if it is there.
    pub(super) async fn revoke(&mut self, function: &str, sid: &str) -> Result<(), Error> {
        let path = format!("{}/{}", path(function, "/policy"), encode(sid));
        let removed = found(self.client.rest("lambda", "DELETE", &path, &[], None).await);
        removed.map(|_| ()).doing(|| format!("withdrawing a permission of function {function}"))
    }
}
