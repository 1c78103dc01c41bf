//! Records as the API shows them. What is shown differs by operation: creating, getting and listing each leave out some.

use crate::api::iam as api;
use crate::model::{AccessKey, ManagedPolicy, Role, Tags, User, Version};
use crate::names;
use crate::rules::percent_encoded;
use crate::world::LastUsed;
use squall_policy::managed::Managed;
use squall_types::Millis;
use std::collections::HashMap;

/// AWS's managed policies have dates of their own that nobody relies on; one stands for all: 2015-02-06T18:40:58Z.
const MANAGED_CREATED: Millis = Millis(1_423_248_058_000);

/// How much of a role or user is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// As creating answers.
    Created,
    /// As getting answers.
    Whole,
    /// As listing answers.
    Listed,
}

/// A role.
pub fn role(account: &str, role: &Role, detail: Detail, used: Option<&LastUsed>) -> api::Role {
    let holder = &role.holder;
    let longer = (detail != Detail::Created || role.session_secs_max != 3_600).then_some(role.session_secs_max);
    api::Role {
        path: holder.path.clone(),
        role_name: holder.name.clone(),
        role_id: holder.id.clone(),
        arn: names::arn(account, "role", &holder.path, &holder.name),
        create_date: holder.created,
        assume_role_policy_document: Some(percent_encoded(&role.trust)),
        description: role.description.clone(),
        max_session_duration: longer,
        permissions_boundary: boundary(holder.boundary.as_deref(), detail),
        tags: shown_tags(&holder.tags, detail),
        role_last_used: (detail == Detail::Whole).then(|| last_used(used)),
    }
}

fn last_used(used: Option<&LastUsed>) -> api::RoleLastUsed {
    let (at, region) = used.and_then(LastUsed::read).map(|(at, region, _)| (at, region)).unzip();
    api::RoleLastUsed { last_used_date: at, region }
}

/// A user.
pub fn user(account: &str, user: &User, detail: Detail) -> api::User {
    let holder = &user.holder;
    api::User {
        path: holder.path.clone(),
        user_name: holder.name.clone(),
        user_id: holder.id.clone(),
        arn: names::arn(account, "user", &holder.path, &holder.name),
        create_date: holder.created,
        password_last_used: None,
        permissions_boundary: boundary(holder.boundary.as_deref(), detail),
        tags: shown_tags(&holder.tags, detail),
    }
}

fn boundary(arn: Option<&str>, detail: Detail) -> Option<api::AttachedPermissionsBoundary> {
    let arn = arn.filter(|_| detail != Detail::Listed)?;
    Some(api::AttachedPermissionsBoundary {
        permissions_boundary_type: Some("Policy".to_owned()),
        permissions_boundary_arn: Some(arn.to_owned()),
    })
}

fn shown_tags(held: &Tags, detail: Detail) -> Option<Vec<api::Tag>> {
    (!held.is_empty() && detail != Detail::Listed).then(|| tags(held))
}

/// Tags.
pub fn tags(held: &Tags) -> Vec<api::Tag> {
    held.iter().map(|(key, value)| api::Tag { key: key.clone(), value: value.clone() }).collect()
}

/// How often policies are attached and used as boundaries, by ARN.
#[derive(Default)]
pub struct Usage<'a>(pub HashMap<&'a str, (i32, i32)>);

impl Usage<'_> {
    /// Attachments and boundaries of one policy.
    pub fn of(&self, arn: &str) -> (i32, i32) {
        self.0.get(arn).copied().unwrap_or_default()
    }
}

/// A customer managed policy.
pub fn policy(account: &str, policy: &ManagedPolicy, usage: (i32, i32), detail: Detail) -> api::Policy {
    api::Policy {
        policy_name: Some(policy.name.clone()),
        policy_id: Some(policy.id.clone()),
        arn: Some(policy.arn(account)),
        path: Some(policy.path.clone()),
        default_version_id: Some(version_id(policy.default)),
        attachment_count: Some(usage.0),
        permissions_boundary_usage_count: Some(usage.1),
        is_attachable: Some(true),
        description: policy.description.clone().filter(|_| detail == Detail::Whole),
        create_date: Some(policy.created),
        update_date: Some(policy.updated),
        tags: match detail {
            Detail::Whole => Some(tags(&policy.tags)),
            _ => shown_tags(&policy.tags, detail),
        },
    }
}

/// A policy of AWS.
pub fn aws_policy(policy: &Managed, usage: (i32, i32), detail: Detail) -> api::Policy {
    api::Policy {
        policy_name: Some(policy.name.to_owned()),
        policy_id: Some(policy.id()),
        arn: Some(policy.arn.to_owned()),
        path: Some(policy.path.to_owned()),
        default_version_id: Some(policy.default_version_id.to_owned()),
        attachment_count: Some(usage.0),
        permissions_boundary_usage_count: Some(usage.1),
        is_attachable: Some(true),
        description: (detail == Detail::Whole).then(|| policy.description.to_owned()),
        create_date: Some(MANAGED_CREATED),
        update_date: Some(MANAGED_CREATED),
        tags: (detail == Detail::Whole).then(Vec::new),
    }
}

/// `v1` for 1.
pub fn version_id(number: u32) -> String {
    format!("v{number}")
}

/// A version of a policy; `document` only where the operation shows it.
pub fn version(number: u32, version: &Version, default: u32, with_document: bool) -> api::PolicyVersion {
    api::PolicyVersion {
        document: with_document.then(|| percent_encoded(&version.document)),
        version_id: Some(version_id(number)),
        is_default_version: Some(number == default),
        create_date: Some(version.created),
    }
}

/// The one version that is known of a policy of AWS.
pub fn aws_version(policy: &Managed, with_document: bool) -> api::PolicyVersion {
    api::PolicyVersion {
        document: with_document.then(|| percent_encoded(policy.document)),
        version_id: Some(policy.default_version_id.to_owned()),
        is_default_version: Some(true),
        create_date: Some(MANAGED_CREATED),
    }
}

/// `Active` or `Inactive`.
pub fn status(active: bool) -> String {
    if active { "Active" } else { "Inactive" }.to_owned()
}

/// An access key without its secret.
pub fn key_metadata(user: &str, key: &AccessKey) -> api::AccessKeyMetadata {
    api::AccessKeyMetadata {
        user_name: Some(user.to_owned()),
        access_key_id: Some(key.id.clone()),
        status: Some(status(key.active)),
        create_date: Some(key.created),
    }
}
