//! What each operation does to which resources, for the policy check.

use crate::model::{ManagedPolicy, Role, User};
use crate::names;
use crate::registry::Registry;
use squall_protocol::{Operation, Value};
use squall_service::{Access, Ctx, Principal};

/// The accesses of an IAM operation. Existing entities are named with their path, others as the request would make them.
pub fn iam(registry: &Registry, ctx: &Ctx, op: &'static Operation, input: &Value) -> Vec<Access> {
    let text = |member: &str| op.input.and_then(|shape| input.text(shape, member));
    let action = format!("iam:{}", op.name);
    let account = ctx.account.as_str();
    let path = text("Path").unwrap_or("/");
    let resource = match op.name {
        "ListRoles" => format!("arn:aws:iam::{account}:role{}", text("PathPrefix").unwrap_or("/")),
        "ListUsers" => format!("arn:aws:iam::{account}:user{}", text("PathPrefix").unwrap_or("/")),
        "ListPolicies" => format!("policy path {}", text("PathPrefix").unwrap_or("/")),
        "CreatePolicy" => names::arn(account, "policy", path, text("PolicyName").unwrap_or_default()),
        "GetAccessKeyLastUsed" => key_owner(registry, account, text("AccessKeyId").unwrap_or_default()),
        _ => match (text("RoleName"), text("UserName"), text("PolicyArn")) {
            (Some(role), _, _) => role_arn(registry, account, path, role),
            (None, Some(user), _) => user_arn(registry, account, path, user),
            (None, None, Some(policy)) => policy.to_owned(),
            (None, None, None) => own(ctx),
        },
    };
    let mut access = Access::new(action, resource);
    add_keys(&mut access, op, input, &text);
    // A user that moves must be allowed under both names.
    let moved = (op.name == "UpdateUser").then(|| {
        let name = text("UserName").unwrap_or_default();
        let held = registry.find::<User>(name).map(|entry| entry.record.holder.path.clone());
        let path = text("NewPath").map(str::to_owned).or(held).unwrap_or_else(|| "/".to_owned());
        names::arn(account, "user", &path, text("NewUserName").unwrap_or(name))
    });
    let moved = moved.filter(|arn| *arn != access.resource).map(|arn| Access::new(access.action.clone(), arn));
    std::iter::once(access).chain(moved).collect()
}

/// The accesses of an STS operation. `AssumeRole` decides by itself, because a trust policy weighs in.
pub fn sts(op: &'static Operation) -> Vec<Access> {
    match op.name {
        "GetCallerIdentity" | "AssumeRole" => Vec::new(),
        name => vec![Access::new(format!("sts:{name}"), "*")],
    }
}

fn role_arn(registry: &Registry, account: &str, path: &str, name: &str) -> String {
    match registry.find::<Role>(name) {
        Some(entry) => names::arn(account, "role", &entry.record.holder.path, &entry.record.holder.name),
        None => names::arn(account, "role", path, name),
    }
}

fn user_arn(registry: &Registry, account: &str, path: &str, name: &str) -> String {
    match registry.find::<User>(name) {
        Some(entry) => names::arn(account, "user", &entry.record.holder.path, &entry.record.holder.name),
        None => names::arn(account, "user", path, name),
    }
}

/// Without a name, users ask about themselves; anybody else about something that the operation will refuse.
fn own(ctx: &Ctx) -> String {
    match &ctx.principal {
        Principal::User { arn, .. } => arn.clone(),
        _ => "*".to_owned(),
    }
}

fn key_owner(registry: &Registry, account: &str, key: &str) -> String {
    let owner = registry.look(|world| world.keys.get(key).map(|held| held.user.clone()));
    owner.map_or_else(|| "*".to_owned(), |name| user_arn(registry, account, "/", &name))
}

/// Condition keys of IAM: the policy that is attached, the boundary, tags of request and resource.
fn add_keys<'a>(access: &mut Access, op: &'static Operation, input: &'a Value, text: &dyn Fn(&str) -> Option<&'a str>) {
    let attaches = op.name.starts_with("Attach") || op.name.starts_with("Detach");
    if let Some(arn) = text("PolicyArn").filter(|_| attaches) {
        access.context.push(("iam:PolicyARN".to_owned(), vec![arn.to_owned()]));
    }
    if let Some(arn) = text("PermissionsBoundary") {
        access.context.push(("iam:PermissionsBoundary".to_owned(), vec![arn.to_owned()]));
    }
    let named = |member| op.input.and_then(|shape| input.named(shape, member));
    let mut keys = Vec::new();
    if let Some(Value::List(tags)) = named("Tags") {
        for tag in tags {
            let (Some(key), Some(value)) = (member_text(tag, 0), member_text(tag, 1)) else { continue };
            access.context.push((format!("aws:RequestTag/{key}"), vec![value.to_owned()]));
            keys.push(key.to_owned());
        }
    }
    if let Some(Value::List(removed)) = named("TagKeys") {
        keys.extend(removed.iter().filter_map(Value::as_str).map(str::to_owned));
    }
    if !keys.is_empty() {
        access.context.push(("aws:TagKeys".to_owned(), keys));
    }
}

fn member_text(value: &Value, index: u16) -> Option<&str> {
    value.member(index).and_then(Value::as_str)
}

/// Adds the tags and the boundary that the resource has already.
pub fn add_resource_keys(registry: &Registry, accesses: &mut [Access]) {
    for access in accesses {
        registry.look(|world| {
            let account = world.account.as_str();
            let role = names::name_in(&access.resource, account, "role").and_then(|name| world.get::<Role>(name));
            let user = names::name_in(&access.resource, account, "user").and_then(|name| world.get::<User>(name));
            let holder = role.map(|e| &e.record.holder).or_else(|| user.map(|e| &e.record.holder));
            let policy =
                names::name_in(&access.resource, account, "policy").and_then(|n| world.get::<ManagedPolicy>(n));
            let tags = holder.map(|holder| &holder.tags).or_else(|| policy.map(|entry| &entry.record.tags));
            for (key, value) in tags.into_iter().flatten() {
                access.context.push((format!("aws:ResourceTag/{key}"), vec![value.clone()]));
                access.context.push((format!("iam:ResourceTag/{key}"), vec![value.clone()]));
            }
            let boundary = holder.and_then(|holder| holder.boundary.clone());
            let has = access.context.iter().any(|(key, _)| key == "iam:PermissionsBoundary");
            if let Some(arn) = boundary.filter(|_| !has) {
                access.context.push(("iam:PermissionsBoundary".to_owned(), vec![arn]));
            }
        });
    }
}
