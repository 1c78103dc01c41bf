//! Managed policies: the customer's own and AWS's.

use crate::api::iam::*;
use crate::error::Error;
use crate::model::{Holder, ManagedPolicy, Version};
use crate::room::Iam;
use crate::view::{self, Detail, Usage};
use crate::world::World;
use crate::{names, rules};
use squall_policy::managed::{self, Managed};
use squall_service::Ctx;
use std::collections::BTreeMap;

/// Makes a policy with version `v1`.
///
/// # Errors
/// `EntityAlreadyExists`, `LimitExceeded`, `MalformedPolicyDocument`, `InvalidInput`.
pub async fn create_policy(iam: &Iam, ctx: &Ctx, input: CreatePolicyInput) -> Result<CreatePolicyOutput, Error> {
    rules::managed(&input.policy_document)?;
    let created = iam.now_secs();
    let policy = ManagedPolicy {
        name: input.policy_name,
        path: rules::path(input.path),
        id: names::unique_id(iam.deps.random.as_ref(), "ANPA"),
        created,
        updated: created,
        description: input.description,
        tags: rules::tags(input.tags.unwrap_or_default())?,
        versions: BTreeMap::from([(1, Version { document: input.policy_document, created })]),
        default: 1,
        last: 1,
    };
    let made = iam
        .registry
        .create(policy, |world| match world.policies.len() {
            rules::POLICIES_MAX.. => Err(Error::quota("PoliciesPerAccount", rules::POLICIES_MAX)),
            _ => Ok(()),
        })
        .await?;
    Ok(CreatePolicyOutput { policy: Some(view::policy(ctx.account.as_str(), &made, (0, 0), Detail::Created)) })
}

/// AWS's policy behind an ARN.
pub fn of_aws(arn: &str) -> Option<&'static Managed> {
    managed::find(arn).filter(|_| arn.starts_with("arn:"))
}

/// The name of a customer's policy that is to be changed.
///
/// # Errors
/// `InvalidInput` for no ARN, `AccessDenied` for one of AWS's policies, `NoSuchEntity`.
pub fn changeable(iam: &Iam, ctx: &Ctx, action: &str, arn: &str) -> Result<String, Error> {
    rules::valid_arn(arn)?;
    if of_aws(arn).is_some() {
        let who = ctx.principal.arn();
        let text = format!("User: {who} is not authorized to perform: iam:{action} on resource: policy {arn}");
        return Err(Error::Denied(text));
    }
    let found = iam.registry.look(|world| world.policy(arn).map(|entry| entry.record.name.clone()));
    found.ok_or_else(|| Error::policy_not_found(arn))
}

/// Shows a policy.
pub async fn get_policy(iam: &Iam, ctx: &Ctx, input: GetPolicyInput) -> Result<GetPolicyOutput, Error> {
    let arn = input.policy_arn.as_str();
    rules::valid_arn(arn)?;
    let shown = iam.registry.look(|world| {
        let used = usage(world).of(arn);
        if let Some(aws) = of_aws(arn) {
            return Some(view::aws_policy(aws, used, Detail::Whole));
        }
        world.policy(arn).map(|entry| view::policy(ctx.account.as_str(), &entry.record, used, Detail::Whole))
    });
    Ok(GetPolicyOutput { policy: Some(shown.ok_or_else(|| Error::policy_not_found(arn))?) })
}

fn holders(world: &World) -> impl Iterator<Item = &Holder> {
    let roles = world.roles.values().map(|entry| &entry.record.holder);
    roles.chain(world.users.values().map(|entry| &entry.record.holder))
}

/// Counts attachments and boundaries of all policies in one pass.
fn usage(world: &World) -> Usage<'_> {
    let mut usage = Usage::default();
    for holder in holders(world) {
        for arn in &holder.attached {
            usage.0.entry(arn).or_default().0 += 1;
        }
        if let Some(arn) = &holder.boundary {
            usage.0.entry(arn).or_default().1 += 1;
        }
    }
    usage
}

/// Removes a policy that nobody holds and that has one version.
///
/// # Errors
/// `NoSuchEntity`, `DeleteConflict`.
pub async fn delete_policy(iam: &Iam, ctx: &Ctx, input: DeletePolicyInput) -> Result<DeletePolicyOutput, Error> {
    let arn = input.policy_arn;
    let name = changeable(iam, ctx, "DeletePolicy", &arn)?;
    let removed = iam.registry.remove::<ManagedPolicy>(&name, |policy, world| {
        if usage(world).of(&arn) != (0, 0) {
            return Err(Error::DeleteConflict("Cannot delete a policy attached to entities."));
        }
        if policy.versions.len() > 1 {
            return Err(Error::DeleteConflict(
                "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. \
                 The default version is deleted with the policy.",
            ));
        }
        Ok(())
    });
    removed.await?;
    Ok(DeletePolicyOutput {})
}

/// Lists policies by name.
pub async fn list_policies(iam: &Iam, ctx: &Ctx, input: ListPoliciesInput) -> Result<ListPoliciesOutput, Error> {
    let scope = input.scope.as_deref().unwrap_or("All");
    let prefix = input.path_prefix.as_deref().unwrap_or_default();
    let page = iam.registry.look(|world| {
        let usage = usage(world);
        let fits = |path: &str, (attached, bounds): (i32, i32)| {
            path.starts_with(prefix)
                && (!input.only_attached.unwrap_or(false) || attached > 0)
                && match input.policy_usage_filter.as_deref() {
                    Some("PermissionsPolicy") => attached > 0,
                    Some("PermissionsBoundary") => bounds > 0,
                    _ => true,
                }
        };
        // A customer may call a policy as AWS does: the owner makes keys unique.
        let mut shown = BTreeMap::new();
        for entry in world.policies.values().filter(|_| scope != "AWS") {
            let used = usage.of(&entry.record.arn(&world.account));
            if fits(&entry.record.path, used) {
                let policy = view::policy(ctx.account.as_str(), &entry.record, used, Detail::Listed);
                shown.insert(format!("{} local", entry.record.name), policy);
            }
        }
        for aws in managed::all().filter(|_| scope != "Local") {
            let used = usage.of(aws.arn);
            if fits(aws.path, used) {
                shown.insert(format!("{} aws", aws.name), view::aws_policy(aws, used, Detail::Listed));
            }
        }
        rules::page(shown.into_iter(), input.marker.as_deref(), input.max_items)
    })?;
    Ok(ListPoliciesOutput { is_truncated: page.is_truncated(), policies: Some(page.items), marker: page.marker })
}

enum Entity {
    Role(PolicyRole),
    User(PolicyUser),
}

/// Lists who holds a policy: users, then roles.
pub async fn list_entities_for_policy(
    iam: &Iam,
    _ctx: &Ctx,
    input: ListEntitiesForPolicyInput,
) -> Result<ListEntitiesForPolicyOutput, Error> {
    let arn = input.policy_arn.as_str();
    rules::valid_arn(arn)?;
    let prefix = input.path_prefix.as_deref().unwrap_or_default();
    let holds = |holder: &Holder| {
        let attached = holder.attached.iter().any(|held| held == arn);
        let bounds = holder.boundary.as_deref() == Some(arn);
        let usage = match input.policy_usage_filter.as_deref() {
            Some("PermissionsPolicy") => attached,
            Some("PermissionsBoundary") => bounds,
            _ => attached || bounds,
        };
        usage && holder.path.starts_with(prefix)
    };
    let filter = input.entity_filter.as_deref();
    let page = iam.registry.look(|world| {
        if world.in_force(arn).is_none() {
            return Err(Error::policy_not_found(arn));
        }
        let users = world.users.iter().filter(|(_, e)| filter.is_none_or(|f| f == "User") && holds(&e.record.holder));
        let users = users.map(|(name, e)| {
            let holder = &e.record.holder;
            let user = PolicyUser { user_name: Some(holder.name.clone()), user_id: Some(holder.id.clone()) };
            (format!("1{name}"), Entity::User(user))
        });
        let roles = world.roles.iter().filter(|(_, e)| filter.is_none_or(|f| f == "Role") && holds(&e.record.holder));
        let roles = roles.map(|(name, e)| {
            let holder = &e.record.holder;
            let role = PolicyRole { role_name: Some(holder.name.clone()), role_id: Some(holder.id.clone()) };
            (format!("2{name}"), Entity::Role(role))
        });
        rules::page(users.chain(roles), input.marker.as_deref(), input.max_items)
    })?;
    let is_truncated = page.is_truncated();
    let (mut users, mut roles) = (Vec::new(), Vec::new());
    for entity in page.items {
        match entity {
            Entity::User(user) => users.push(user),
            Entity::Role(role) => roles.push(role),
        }
    }
    Ok(ListEntitiesForPolicyOutput {
        policy_groups: Some(Vec::new()),
        policy_users: Some(users),
        policy_roles: Some(roles),
        is_truncated,
        marker: page.marker,
    })
}

/// Sets tags.
pub async fn tag_policy(iam: &Iam, ctx: &Ctx, input: TagPolicyInput) -> Result<TagPolicyOutput, Error> {
    let name = changeable(iam, ctx, "TagPolicy", &input.policy_arn)?;
    let given = rules::tags(input.tags)?;
    iam.registry.change::<ManagedPolicy, _>(&name, |policy, _| rules::add_tags(&mut policy.tags, &given)).await?;
    Ok(TagPolicyOutput {})
}

/// Removes tags.
pub async fn untag_policy(iam: &Iam, ctx: &Ctx, input: UntagPolicyInput) -> Result<UntagPolicyOutput, Error> {
    let name = changeable(iam, ctx, "UntagPolicy", &input.policy_arn)?;
    let change = iam.registry.change::<ManagedPolicy, _>(&name, |policy, _| {
        rules::remove_tags(&mut policy.tags, &input.tag_keys);
        Ok(())
    });
    change.await?;
    Ok(UntagPolicyOutput {})
}

/// Shows tags.
pub async fn list_policy_tags(iam: &Iam, ctx: &Ctx, input: ListPolicyTagsInput) -> Result<ListPolicyTagsOutput, Error> {
    let tags = match of_aws(&input.policy_arn) {
        Some(_) => Vec::new(),
        None => {
            let name = changeable(iam, ctx, "ListPolicyTags", &input.policy_arn)?;
            view::tags(&iam.registry.get::<ManagedPolicy>(&name)?.record.tags)
        }
    };
    let tags = tags.into_iter().enumerate().map(|(i, tag)| (format!("{i:02}"), tag));
    let page = rules::page(tags, input.marker.as_deref(), input.max_items)?;
    Ok(ListPolicyTagsOutput { is_truncated: page.is_truncated(), tags: page.items, marker: page.marker })
}
