//! Takes away what a stack no longer wants, or all of it.

use serde_json::json;

use super::{Deployer, Progress, found};
use crate::client::Client;
use crate::error::{Doing, Error};
use crate::model::Stack;
use crate::record::Record;

/// Removes everything of a stack, last made first, and then its record. Tables with `DeletionPolicy: Retain` stay.
///
/// # Errors
/// [`Error::Call`]; the record then names what is left, and the command may be run again.
pub async fn remove_all(client: &Client, record: Record, progress: &mut dyn Progress) -> Result<Record, Error> {
    let whole = record.clone();
    let mut deployer = Deployer { client, account: "", record, progress, late: Default::default(), urls: Vec::new() };
    deployer.record.status = "removing".into();
    deployer.record.endpoints.clear();
    deployer.record.save(client).await?;
    let nothing = Stack::nothing(&whole.name);
    let done = deployer.remove_unwanted(&nothing).await;
    if done.is_err() {
        let _ = deployer.record.save(client).await;
    }
    done?;
    deployer.record.delete(client).await?;
    Ok(whole)
}

impl Deployer<'_> {
    /// Removes what the record has and the stack does not, in reverse order of creation.
    pub(super) async fn remove_unwanted(&mut self, stack: &Stack) -> Result<(), Error> {
        if stack.http_api.is_none() {
            self.remove_api(true).await?;
        }
        if stack.rest_api.is_none() {
            self.remove_api(false).await?;
        }
        self.remove_permissions(stack).await?;
        if stack.mappings.is_empty() {
            self.remove_mappings(&[]).await?;
        }
        for function in self.record.functions.clone() {
            if !stack.functions.iter().any(|f| f.name == function.name) {
                self.remove_function(&function.name).await?;
                self.record.functions.retain(|f| f.name != function.name);
            }
        }
        self.remove_layers().await?;
        for table in self.record.tables.clone() {
            if stack.tables.iter().any(|t| t.name == table.name) {
                continue;
            }
            if table.is_retained {
                self.step(format!("leaving table {} (DeletionPolicy: Retain)", table.name));
            } else {
                self.delete_table(&table.name).await?;
            }
            self.record.tables.retain(|t| t.name != table.name);
        }
        for group in self.record.log_groups.clone() {
            if !stack.log_groups.iter().any(|g| g.name == group) {
                self.step(format!("deleting log group {group}"));
                let input = json!({ "logGroupName": group });
                let gone = found(self.client.json("logs", "Logs_20140328.DeleteLogGroup", &input).await);
                gone.doing(|| format!("deleting log group {group}"))?;
                self.record.log_groups.retain(|g| *g != group);
            }
        }
        for role in self.record.roles.clone() {
            if !stack.roles.iter().any(|r| r.name == role) {
                self.remove_role(&role).await?;
                self.record.roles.retain(|r| *r != role);
            }
        }
        Ok(())
    }

    async fn remove_api(&mut self, is_http: bool) -> Result<(), Error> {
        let (api, kind, root) = match is_http {
            true => (&mut self.record.http_api, "HTTP", "/v2/apis"),
            false => (&mut self.record.rest_api, "REST", "/restapis"),
        };
        let Some(api) = api.clone() else { return Ok(()) };
        self.step(format!("deleting {kind} API {}", api.id));
        let path = format!("{root}/{}", api.id);
        let gone = found(self.client.rest("apigateway", "DELETE", &path, &[], None).await);
        gone.doing(|| format!("deleting {kind} API {}", api.id))?;
        match is_http {
            true => self.record.http_api = None,
            false => self.record.rest_api = None,
        }
        Ok(())
    }

    /// Functions that stay but are no longer behind an API must not be callable by it.
    async fn remove_permissions(&mut self, stack: &Stack) -> Result<(), Error> {
        for function in &stack.functions {
            let rest = stack.rest_api.iter().flat_map(|a| &a.methods).any(|m| m.function == function.key);
            let http = stack.http_api.iter().flat_map(|a| &a.routes).any(|r| r.function == function.key);
            for (sid, is_used) in [("squall-rest-api", rest), ("squall-http-api", http)] {
                if !is_used && self.statement(&function.name, sid).await?.is_some() {
                    self.revoke(&function.name, sid).await?;
                }
            }
        }
        Ok(())
    }

    async fn remove_function(&mut self, name: &str) -> Result<(), Error> {
        self.step(format!("deleting function {name}"));
        let gone = found(self.client.rest("lambda", "DELETE", &super::functions::path(name, ""), &[], None).await);
        gone.map(|_| ()).doing(|| format!("deleting function {name}"))
    }

    async fn remove_role(&mut self, name: &str) -> Result<(), Error> {
        self.step(format!("deleting role {name}"));
        let doing = || format!("deleting role {name}");
        let role = [("RoleName", name)];
        let Some(policies) = found(self.client.query("iam", "ListRolePolicies", &role).await).doing(doing)? else {
            return Ok(());
        };
        for policy in policies.members("PolicyNames") {
            let params = [("RoleName", name), ("PolicyName", policy.text.as_str())];
            found(self.client.query("iam", "DeleteRolePolicy", &params).await).doing(doing)?;
        }
        for arn in self.attached(name).await? {
            let params = [("RoleName", name), ("PolicyArn", arn.as_str())];
            found(self.client.query("iam", "DetachRolePolicy", &params).await).doing(doing)?;
        }
        found(self.client.query("iam", "DeleteRole", &role).await).map(|_| ()).doing(doing)
    }
}
