//! Access keys of users, and how the root sees its own.

use super::user::whose;
use crate::api::iam::*;
use crate::error::Error;
use crate::model::{self, User};
use crate::room::Iam;
use crate::{names, rules, view};
use squall_service::Ctx;

/// The root's key is written into the cloud's data directory for its clients: changing it here would lock them out.
const ROOT_KEY: &str = "The access key of the account's root belongs to the cloud and cannot be changed through IAM";

fn no_key(id: &str) -> Error {
    Error::NoSuchEntity(format!("The Access Key with id {id} cannot be found."))
}

/// Makes a key; the only answer that shows its secret.
///
/// # Errors
/// `NoSuchEntity`, `LimitExceeded` beyond two keys, `UnmodifiableEntity` for the root.
pub async fn create_access_key(
    iam: &Iam,
    ctx: &Ctx,
    input: CreateAccessKeyInput,
) -> Result<CreateAccessKeyOutput, Error> {
    let name = whose(ctx, input.user_name)?.ok_or(Error::Unmodifiable(ROOT_KEY))?;
    let random = iam.deps.random.as_ref();
    let key = model::AccessKey {
        id: names::key_id(random, "AKIA"),
        secret: names::secret(random),
        active: true,
        created: iam.now_secs(),
    };
    let made = key.clone();
    let change = iam.registry.change::<User, _>(&name, move |user, _| {
        if user.keys.len() >= rules::KEYS_MAX {
            return Err(Error::quota("AccessKeysPerUser", rules::KEYS_MAX));
        }
        user.keys.push(key);
        Ok(())
    });
    let (user, ()) = change.await?;
    Ok(CreateAccessKeyOutput {
        access_key: AccessKey {
            user_name: user.holder.name.clone(),
            access_key_id: made.id,
            status: view::status(made.active),
            secret_access_key: made.secret,
            create_date: Some(made.created),
        },
    })
}

/// Lists keys without their secrets; the root sees its own when it names no user.
pub async fn list_access_keys(iam: &Iam, ctx: &Ctx, input: ListAccessKeysInput) -> Result<ListAccessKeysOutput, Error> {
    let shown = match whose(ctx, input.user_name)? {
        None => vec![AccessKeyMetadata {
            user_name: None,
            access_key_id: Some(iam.root.access_key_id.clone()),
            status: Some(view::status(true)),
            create_date: Some(iam.root.created),
        }],
        Some(name) => {
            let user = iam.registry.get::<User>(&name)?.record.clone();
            user.keys.iter().map(|key| view::key_metadata(&user.holder.name, key)).collect()
        }
    };
    let shown = shown.into_iter().enumerate().map(|(i, key)| (i.to_string(), key));
    let page = rules::page(shown, input.marker.as_deref(), input.max_items)?;
    Ok(ListAccessKeysOutput { is_truncated: page.is_truncated(), access_key_metadata: page.items, marker: page.marker })
}

/// Switches a key on or off.
pub async fn update_access_key(
    iam: &Iam,
    ctx: &Ctx,
    input: UpdateAccessKeyInput,
) -> Result<UpdateAccessKeyOutput, Error> {
    let name = owner(iam, ctx, input.user_name, &input.access_key_id)?;
    let change = iam.registry.change::<User, _>(&name, |user, _| {
        let key = user.keys.iter_mut().find(|key| key.id == input.access_key_id);
        let key = key.ok_or_else(|| no_key(&input.access_key_id))?;
        key.active = match input.status.as_str() {
            "Active" => true,
            "Inactive" => false,
            other => return Err(Error::InvalidInput(format!("The status {other} is not supported for access keys"))),
        };
        Ok(())
    });
    change.await?;
    Ok(UpdateAccessKeyOutput {})
}

/// Removes a key.
pub async fn delete_access_key(
    iam: &Iam,
    ctx: &Ctx,
    input: DeleteAccessKeyInput,
) -> Result<DeleteAccessKeyOutput, Error> {
    let name = owner(iam, ctx, input.user_name, &input.access_key_id)?;
    let change = iam.registry.change::<User, _>(&name, |user, _| {
        let at = user.keys.iter().position(|key| key.id == input.access_key_id);
        user.keys.remove(at.ok_or_else(|| no_key(&input.access_key_id))?);
        Ok(())
    });
    change.await?;
    Ok(DeleteAccessKeyOutput {})
}

/// The user whose key is to be changed.
fn owner(iam: &Iam, ctx: &Ctx, named: Option<String>, key: &str) -> Result<String, Error> {
    match whose(ctx, named)? {
        Some(name) => Ok(name),
        None if key == iam.root.access_key_id => Err(Error::Unmodifiable(ROOT_KEY)),
        None => Err(no_key(key)),
    }
}

/// When a key was last used, since this process began.
pub async fn get_access_key_last_used(
    iam: &Iam,
    _ctx: &Ctx,
    input: GetAccessKeyLastUsedInput,
) -> Result<GetAccessKeyLastUsedOutput, Error> {
    let found = iam.registry.look(|world| {
        let key = world.keys.get(&input.access_key_id)?;
        let user = world.users.get(&key.user)?;
        Some((user.record.holder.name.clone(), key.used.read()))
    });
    let (user, used) = found.ok_or_else(|| no_key(&input.access_key_id))?;
    let last = match used {
        Some((at, region, service_name)) => AccessKeyLastUsed { last_used_date: Some(at), service_name, region },
        None => AccessKeyLastUsed { last_used_date: None, service_name: "N/A".to_owned(), region: "N/A".to_owned() },
    };
    Ok(GetAccessKeyLastUsedOutput { user_name: Some(user), access_key_last_used: Some(last) })
}
