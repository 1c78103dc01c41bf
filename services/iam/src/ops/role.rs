//! Roles.

use super::held::{self, Holding as _};
use crate::api::iam::*;
use crate::error::Error;
use crate::model::{self, Holder};
use crate::room::Iam;
use crate::view::{self, Detail};
use crate::{names, rules};
use squall_service::Ctx;
use std::collections::BTreeMap;

const SESSION_SECS_DEFAULT: i32 = 3_600;

/// Makes a role.
///
/// # Errors
/// `EntityAlreadyExists`, `LimitExceeded`, `MalformedPolicyDocument`, `InvalidInput`, `NoSuchEntity` for a boundary.
pub async fn create_role(iam: &Iam, ctx: &Ctx, input: CreateRoleInput) -> Result<CreateRoleOutput, Error> {
    let role = model::Role {
        holder: Holder {
            name: input.role_name,
            path: rules::path(input.path),
            id: names::unique_id(iam.deps.random.as_ref(), "AROA"),
            created: iam.now_secs(),
            boundary: input.permissions_boundary,
            tags: rules::tags(input.tags.unwrap_or_default())?,
            inline: BTreeMap::new(),
            attached: Vec::new(),
        },
        trust: input.assume_role_policy_document,
        description: input.description,
        session_secs_max: input.max_session_duration.unwrap_or(SESSION_SECS_DEFAULT),
    };
    let (trust, boundary) = (role.trust.clone(), role.holder.boundary.clone());
    let made = iam
        .registry
        .create(role, move |world| {
            if world.roles.len() >= rules::ROLES_MAX {
                return Err(Error::quota("RolesPerAccount", rules::ROLES_MAX));
            }
            rules::trust(&trust, world)?;
            boundary.as_deref().map_or(Ok(()), |arn| rules::boundary(arn, world))
        })
        .await?;
    Ok(CreateRoleOutput { role: view::role(ctx.account.as_str(), &made, Detail::Created, None) })
}

/// Shows a role.
pub async fn get_role(iam: &Iam, ctx: &Ctx, input: GetRoleInput) -> Result<GetRoleOutput, Error> {
    let entry = iam.registry.get::<model::Role>(&input.role_name)?;
    let role = view::role(ctx.account.as_str(), &entry.record, Detail::Whole, Some(&entry.used));
    Ok(GetRoleOutput { role })
}

/// Lists roles by name.
pub async fn list_roles(iam: &Iam, ctx: &Ctx, input: ListRolesInput) -> Result<ListRolesOutput, Error> {
    let prefix = input.path_prefix.unwrap_or_default();
    let page = iam.registry.look(|world| {
        let fitting = world.roles.iter().filter(|(_, entry)| entry.record.holder.path.starts_with(&prefix));
        let entries = fitting.map(|(name, entry)| (name.clone(), entry.record.clone()));
        rules::page(entries, input.marker.as_deref(), input.max_items)
    })?;
    let is_truncated = page.is_truncated();
    let shown = page.items.iter().map(|role| view::role(ctx.account.as_str(), role, Detail::Listed, None));
    Ok(ListRolesOutput { roles: shown.collect(), is_truncated, marker: page.marker })
}

/// Removes a role that holds no policies.
///
/// # Errors
/// `NoSuchEntity`, `DeleteConflict`.
pub async fn delete_role(iam: &Iam, _ctx: &Ctx, input: DeleteRoleInput) -> Result<DeleteRoleOutput, Error> {
    let removed = iam.registry.remove::<model::Role>(&input.role_name, |role, _| check_free(role.holder()));
    removed.await?;
    Ok(DeleteRoleOutput {})
}

/// Refuses while policies hang on an identity.
pub fn check_free(holder: &Holder) -> Result<(), Error> {
    if !holder.attached.is_empty() {
        return Err(Error::DeleteConflict("Cannot delete entity, must detach all policies first."));
    }
    if !holder.inline.is_empty() {
        return Err(Error::DeleteConflict("Cannot delete entity, must delete policies first."));
    }
    Ok(())
}

/// Changes description and longest session; what is left out stays.
pub async fn update_role(iam: &Iam, _ctx: &Ctx, input: UpdateRoleInput) -> Result<UpdateRoleOutput, Error> {
    let change = iam.registry.change::<model::Role, _>(&input.role_name, |role, _| {
        role.description = input.description.or(role.description.take());
        role.session_secs_max = input.max_session_duration.unwrap_or(role.session_secs_max);
        Ok(())
    });
    change.await?;
    Ok(UpdateRoleOutput {})
}

/// Changes the description and shows the role.
pub async fn update_role_description(
    iam: &Iam,
    ctx: &Ctx,
    input: UpdateRoleDescriptionInput,
) -> Result<UpdateRoleDescriptionOutput, Error> {
    let change = iam.registry.change::<model::Role, _>(&input.role_name, |role, _| {
        role.description = Some(input.description);
        Ok(())
    });
    let (role, ()) = change.await?;
    Ok(UpdateRoleDescriptionOutput { role: Some(view::role(ctx.account.as_str(), &role, Detail::Created, None)) })
}

/// Replaces the trust policy.
///
/// # Errors
/// `NoSuchEntity`, `MalformedPolicyDocument`, `LimitExceeded`.
pub async fn update_assume_role_policy(
    iam: &Iam,
    _ctx: &Ctx,
    input: UpdateAssumeRolePolicyInput,
) -> Result<UpdateAssumeRolePolicyOutput, Error> {
    let change = iam.registry.change::<model::Role, _>(&input.role_name, |role, world| {
        rules::trust(&input.policy_document, world)?;
        role.trust = input.policy_document;
        Ok(())
    });
    change.await?;
    Ok(UpdateAssumeRolePolicyOutput {})
}

/// Sets the permissions boundary.
///
/// # Errors
/// `NoSuchEntity` for the role or the policy, `InvalidInput`.
pub async fn put_role_permissions_boundary(
    iam: &Iam,
    _ctx: &Ctx,
    input: PutRolePermissionsBoundaryInput,
) -> Result<PutRolePermissionsBoundaryOutput, Error> {
    let change = iam.registry.change::<model::Role, _>(&input.role_name, |role, world| {
        rules::boundary(&input.permissions_boundary, world)?;
        role.holder.boundary = Some(input.permissions_boundary);
        Ok(())
    });
    change.await?;
    Ok(PutRolePermissionsBoundaryOutput {})
}

/// Takes the permissions boundary away.
pub async fn delete_role_permissions_boundary(
    iam: &Iam,
    _ctx: &Ctx,
    input: DeleteRolePermissionsBoundaryInput,
) -> Result<DeleteRolePermissionsBoundaryOutput, Error> {
    let change = iam.registry.change::<model::Role, _>(&input.role_name, |role, _| {
        role.holder.boundary = None;
        Ok(())
    });
    change.await?;
    Ok(DeleteRolePermissionsBoundaryOutput {})
}

/// Sets tags.
pub async fn tag_role(iam: &Iam, _ctx: &Ctx, input: TagRoleInput) -> Result<TagRoleOutput, Error> {
    held::tag::<model::Role>(&iam.registry, &input.role_name, input.tags).await?;
    Ok(TagRoleOutput {})
}

/// Removes tags.
pub async fn untag_role(iam: &Iam, _ctx: &Ctx, input: UntagRoleInput) -> Result<UntagRoleOutput, Error> {
    held::untag::<model::Role>(&iam.registry, &input.role_name, &input.tag_keys).await?;
    Ok(UntagRoleOutput {})
}

/// Shows tags.
pub async fn list_role_tags(iam: &Iam, _ctx: &Ctx, input: ListRoleTagsInput) -> Result<ListRoleTagsOutput, Error> {
    let page = held::tags::<model::Role>(&iam.registry, &input.role_name, input.marker.as_deref(), input.max_items)?;
    Ok(ListRoleTagsOutput { is_truncated: page.is_truncated(), tags: page.items, marker: page.marker })
}

/// Instance profiles do not exist here, so a role has none; deploy tools ask before they delete a role.
pub async fn list_instance_profiles_for_role(
    iam: &Iam,
    _ctx: &Ctx,
    input: ListInstanceProfilesForRoleInput,
) -> Result<ListInstanceProfilesForRoleOutput, Error> {
    iam.registry.get::<model::Role>(&input.role_name)?;
    let page = rules::page(std::iter::empty(), input.marker.as_deref(), input.max_items)?;
    Ok(ListInstanceProfilesForRoleOutput {
        is_truncated: page.is_truncated(),
        instance_profiles: page.items,
        marker: page.marker,
    })
}
