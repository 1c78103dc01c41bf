//! The role that functions run under.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde_json::Value as Json;

use super::{Deployer, foreign, found, tag_changes};
use crate::client::Element;
use crate::error::{Doing, Error};
use crate::model::{Role, Stack};

impl Deployer<'_> {
    /// Each role as it is now, or nothing.
    pub(super) async fn look_at_roles(&mut self, stack: &Stack) -> Result<Vec<Option<Element>>, Error> {
        let mut out = Vec::new();
        for role in &stack.roles {
            let answer = found(self.client.query("iam", "GetRole", &[("RoleName", &role.name)]).await);
            let now = answer.doing(|| format!("looking at role {}", role.name))?;
            let now = now.map(|result| result.child("Role").cloned().unwrap_or_default());
            if let Some(now) = &now {
                if !self.record.roles.contains(&role.name) {
                    return Err(foreign("role", &role.name, &stack.name));
                }
                let path = now.text_of("Path");
                if path != role.path {
                    let text =
                        format!("role {} has the path {path}, which cannot change; remove the stack first", role.name);
                    return Err(Error::Refused(text));
                }
            }
            out.push(now);
        }
        Ok(out)
    }

    /// Makes or updates the role.
    pub(super) async fn role(&mut self, role: &Role, now: Option<Element>) -> Result<(), Error> {
        let name = role.name.as_str();
        let trust = role.trust.to_string();
        match &now {
            None => {
                self.step(format!("creating role {name}"));
                let tags = tag_params(&role.tags);
                let mut params = vec![
                    ("RoleName", name),
                    ("Path", role.path.as_str()),
                    ("AssumeRolePolicyDocument", trust.as_str()),
                ];
                params.extend(tags.iter().map(|(k, v)| (k.as_str(), v.as_str())));
                let made = self.client.query("iam", "CreateRole", &params).await;
                made.doing(|| format!("creating role {name}"))?;
            }
            Some(now) => {
                if document(now.text_of("AssumeRolePolicyDocument")) != Some(role.trust.clone()) {
                    let params = [("RoleName", name), ("PolicyDocument", trust.as_str())];
                    let set = self.client.query("iam", "UpdateAssumeRolePolicy", &params).await;
                    set.doing(|| format!("updating the trust of role {name}"))?;
                }
                self.role_tags(role, now).await?;
            }
        }
        self.role_policy(role, now.is_some()).await?;
        self.role_attachments(role, now.is_some()).await
    }

    async fn role_policy(&mut self, role: &Role, existed: bool) -> Result<(), Error> {
        let (name, policy_name) = (role.name.as_str(), role.policy_name.as_str());
        let which = [("RoleName", name), ("PolicyName", policy_name)];
        if existed {
            let now = found(self.client.query("iam", "GetRolePolicy", &which).await);
            let now = now.doing(|| format!("looking at the policy of role {name}"))?;
            if now.as_ref().and_then(|n| document(n.text_of("PolicyDocument"))) == role.policy {
                return Ok(());
            }
            self.step(format!("updating the policy of role {name}"));
        }
        let set = match &role.policy {
            Some(policy) => {
                let policy = policy.to_string();
                let params = [("RoleName", name), ("PolicyName", policy_name), ("PolicyDocument", policy.as_str())];
                self.client.query("iam", "PutRolePolicy", &params).await.map(|_| ())
            }
            None => found(self.client.query("iam", "DeleteRolePolicy", &which).await).map(|_| ()),
        };
        set.doing(|| format!("writing the policy of role {name}"))
    }

    async fn role_attachments(&mut self, role: &Role, existed: bool) -> Result<(), Error> {
        let name = role.name.as_str();
        let now = if existed { self.attached(name).await? } else { Vec::new() };
        for arn in role.managed_policies.iter().filter(|a| !now.contains(a)) {
            let set = self.client.query("iam", "AttachRolePolicy", &[("RoleName", name), ("PolicyArn", arn)]).await;
            set.doing(|| format!("attaching {arn} to role {name}"))?;
        }
        for arn in now.iter().filter(|a| !role.managed_policies.contains(a)) {
            let unset = self.client.query("iam", "DetachRolePolicy", &[("RoleName", name), ("PolicyArn", arn)]).await;
            unset.doing(|| format!("detaching {arn} from role {name}"))?;
        }
        Ok(())
    }

    /// ARNs of the policies attached to a role.
    pub(super) async fn attached(&self, name: &str) -> Result<Vec<String>, Error> {
        let answer = self.client.query("iam", "ListAttachedRolePolicies", &[("RoleName", name)]).await;
        let answer = answer.doing(|| format!("listing the policies of role {name}"))?;
        Ok(answer.members("AttachedPolicies").map(|p| p.text_of("PolicyArn").to_owned()).collect())
    }

    async fn role_tags(&mut self, role: &Role, now: &Element) -> Result<(), Error> {
        let name = role.name.as_str();
        let old: BTreeMap<String, String> =
            now.members("Tags").map(|t| (t.text_of("Key").to_owned(), t.text_of("Value").to_owned())).collect();
        let (set, unset) = tag_changes(&old, &role.tags);
        if !set.is_empty() {
            let tags = tag_params(&set);
            let mut params = vec![("RoleName", name)];
            params.extend(tags.iter().map(|(k, v)| (k.as_str(), v.as_str())));
            self.client.query("iam", "TagRole", &params).await.doing(|| format!("tagging role {name}"))?;
        }
        if !unset.is_empty() {
            let keys: Vec<String> = (1..=unset.len()).map(|i| format!("TagKeys.member.{i}")).collect();
            let mut params = vec![("RoleName", name)];
            params.extend(keys.iter().zip(&unset).map(|(k, v)| (k.as_str(), v.as_str())));
            self.client.query("iam", "UntagRole", &params).await.doing(|| format!("untagging role {name}"))?;
        }
        Ok(())
    }
}

fn tag_params(tags: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let numbered = tags.iter().enumerate();
    numbered
        .flat_map(|(i, (k, v))| {
            let i = i + 1;
            [(format!("Tags.member.{i}.Key"), k.clone()), (format!("Tags.member.{i}.Value"), v.clone())]
        })
        .collect()
}

/// IAM answers documents percent-encoded.
fn document(text: &str) -> Option<Json> {
    serde_json::from_str(&percent_decode_str(text).decode_utf8().ok()?).ok()
}
