//! Users.

use super::held;
use super::role::check_free;
use crate::api::iam::*;
use crate::error::Error;
use crate::model::{self, Holder};
use crate::room::Iam;
use crate::view::{self, Detail};
use crate::{names, rules};
use squall_service::{Ctx, Principal};
use std::collections::BTreeMap;

/// Makes a user.
///
/// # Errors
/// `EntityAlreadyExists`, `LimitExceeded`, `InvalidInput`, `NoSuchEntity` for a boundary.
pub async fn create_user(iam: &Iam, ctx: &Ctx, input: CreateUserInput) -> Result<CreateUserOutput, Error> {
    let boundary = input.permissions_boundary.clone();
    let user = model::User {
        holder: Holder {
            name: input.user_name,
            path: rules::path(input.path),
            id: names::unique_id(iam.deps.random.as_ref(), "AIDA"),
            created: iam.now_secs(),
            boundary: input.permissions_boundary,
            tags: rules::tags(input.tags.unwrap_or_default())?,
            inline: BTreeMap::new(),
            attached: Vec::new(),
        },
        keys: Vec::new(),
    };
    let made = iam
        .registry
        .create(user, move |world| {
            if world.users.len() >= rules::USERS_MAX {
                return Err(Error::quota("UsersPerAccount", rules::USERS_MAX));
            }
            boundary.as_deref().map_or(Ok(()), |arn| rules::boundary(arn, world))
        })
        .await?;
    Ok(CreateUserOutput { user: Some(view::user(ctx.account.as_str(), &made, Detail::Created)) })
}

/// Shows a user; without a name, the caller.
pub async fn get_user(iam: &Iam, ctx: &Ctx, input: GetUserInput) -> Result<GetUserOutput, Error> {
    let account = ctx.account.as_str();
    let name = match whose(ctx, input.user_name)? {
        Some(name) => name,
        None => return Ok(GetUserOutput { user: root(iam, account) }),
    };
    let entry = iam.registry.get::<model::User>(&name)?;
    Ok(GetUserOutput { user: view::user(account, &entry.record, Detail::Whole) })
}

fn root(iam: &Iam, account: &str) -> User {
    User {
        path: "/".to_owned(),
        user_name: "root".to_owned(),
        user_id: account.to_owned(),
        arn: format!("arn:aws:iam::{account}:root"),
        create_date: iam.root.created,
        ..User::default()
    }
}

/// The user that a request is about: the named one, else the caller. None for the root.
///
/// # Errors
/// `ValidationError` for a role's session, which is no user.
pub fn whose(ctx: &Ctx, named: Option<String>) -> Result<Option<String>, Error> {
    match (named, &ctx.principal) {
        (Some(name), _) => Ok(Some(name)),
        (None, Principal::Root { .. }) => Ok(None),
        (None, Principal::User { name, .. }) => Ok(Some(name.clone())),
        (None, _) => Err(Error::Validation("Must specify userName when calling with non-User credentials".to_owned())),
    }
}

/// Lists users by name.
pub async fn list_users(iam: &Iam, ctx: &Ctx, input: ListUsersInput) -> Result<ListUsersOutput, Error> {
    let prefix = input.path_prefix.unwrap_or_default();
    let page = iam.registry.look(|world| {
        let fitting = world.users.iter().filter(|(_, entry)| entry.record.holder.path.starts_with(&prefix));
        let entries = fitting.map(|(name, entry)| (name.clone(), entry.record.clone()));
        rules::page(entries, input.marker.as_deref(), input.max_items)
    })?;
    let is_truncated = page.is_truncated();
    let shown = page.items.iter().map(|user| view::user(ctx.account.as_str(), user, Detail::Listed));
    Ok(ListUsersOutput { users: shown.collect(), is_truncated, marker: page.marker })
}

/// Removes a user that holds no policies and no keys.
///
/// # Errors
/// `NoSuchEntity`, `DeleteConflict`.
pub async fn delete_user(iam: &Iam, _ctx: &Ctx, input: DeleteUserInput) -> Result<DeleteUserOutput, Error> {
    let removed = iam.registry.remove::<model::User>(&input.user_name, |user, _| {
        check_free(&user.holder)?;
        match user.keys.is_empty() {
            true => Ok(()),
            false => Err(Error::DeleteConflict("Cannot delete entity, must delete access keys first.")),
        }
    });
    removed.await?;
    Ok(DeleteUserOutput {})
}

/// Renames or moves a user; its id and keys stay.
///
/// # Errors
/// `NoSuchEntity`, `EntityAlreadyExists`.
pub async fn update_user(iam: &Iam, _ctx: &Ctx, input: UpdateUserInput) -> Result<UpdateUserOutput, Error> {
    let change = iam.registry.change::<model::User, _>(&input.user_name, |user, _| {
        user.holder.path = input.new_path.unwrap_or_else(|| user.holder.path.clone());
        user.holder.name = input.new_user_name.unwrap_or_else(|| user.holder.name.clone());
        Ok(())
    });
    change.await?;
    Ok(UpdateUserOutput {})
}

/// Sets tags.
pub async fn tag_user(iam: &Iam, _ctx: &Ctx, input: TagUserInput) -> Result<TagUserOutput, Error> {
    held::tag::<model::User>(&iam.registry, &input.user_name, input.tags).await?;
    Ok(TagUserOutput {})
}

/// Removes tags.
pub async fn untag_user(iam: &Iam, _ctx: &Ctx, input: UntagUserInput) -> Result<UntagUserOutput, Error> {
    held::untag::<model::User>(&iam.registry, &input.user_name, &input.tag_keys).await?;
    Ok(UntagUserOutput {})
}

/// Shows tags.
pub async fn list_user_tags(iam: &Iam, _ctx: &Ctx, input: ListUserTagsInput) -> Result<ListUserTagsOutput, Error> {
    let page = held::tags::<model::User>(&iam.registry, &input.user_name, input.marker.as_deref(), input.max_items)?;
    Ok(ListUserTagsOutput { is_truncated: page.is_truncated(), tags: page.items, marker: page.marker })
}
