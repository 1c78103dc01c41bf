//! What roles and users do alike: inline policies, attached policies, tags.

use crate::api::iam::{AttachedPolicy, Tag};
use crate::error::Error;
use crate::model::{Holder, Role, User};
use crate::registry::Registry;
use crate::rules::{self, ATTACHED_MAX, Page};
use crate::view;
use crate::world::Record;
use squall_policy::size;

/// An identity that holds policies.
pub trait Holding: Record {
    /// `role` or `user`, as texts have it.
    const KIND: &'static str;
    /// Name of the quota on attached policies.
    const QUOTA: &'static str;
    /// Characters of all inline policies together, white space not counted.
    const INLINE_SIZE_MAX: usize;

    /// What it shares with the others.
    fn holder(&self) -> &Holder;
    /// The same, to be changed.
    fn holder_mut(&mut self) -> &mut Holder;
}

impl Holding for Role {
    const KIND: &'static str = "role";
    const QUOTA: &'static str = "PoliciesPerRole";
    const INLINE_SIZE_MAX: usize = 10_240;

    fn holder(&self) -> &Holder {
        &self.holder
    }
    fn holder_mut(&mut self) -> &mut Holder {
        &mut self.holder
    }
}

impl Holding for User {
    const KIND: &'static str = "user";
    const QUOTA: &'static str = "PoliciesPerUser";
    const INLINE_SIZE_MAX: usize = 2_048;

    fn holder(&self) -> &Holder {
        &self.holder
    }
    fn holder_mut(&mut self) -> &mut Holder {
        &mut self.holder
    }
}

fn no_inline<R: Holding>(policy: &str) -> Error {
    Error::cannot_be_found(&format!("{} policy", R::KIND), policy)
}

/// Adds or replaces an inline policy.
pub async fn put<R: Holding>(registry: &Registry, name: &str, policy: String, document: String) -> Result<(), Error> {
    let (_, ()) = registry
        .change::<R, _>(name, |record, _| {
            rules::inline(&document)?;
            let holder = record.holder_mut();
            holder.inline.insert(policy, document);
            let total: usize = holder.inline.values().map(|document| size(document)).sum();
            if total > R::INLINE_SIZE_MAX {
                let (max, kind) = (R::INLINE_SIZE_MAX, R::KIND);
                return Err(Error::Limit(format!("Maximum policy size of {max} bytes exceeded for {kind} {name}")));
            }
            Ok(())
        })
        .await?;
    Ok(())
}

/// An inline policy's name as the identity is written, and its document as answers carry it.
pub fn get<R: Holding>(registry: &Registry, name: &str, policy: &str) -> Result<(String, String), Error> {
    let entry = registry.get::<R>(name)?;
    let holder = entry.record.holder();
    let document = holder.inline.get(policy).ok_or_else(|| no_inline::<R>(policy))?;
    Ok((holder.name.clone(), rules::percent_encoded(document)))
}

/// Removes an inline policy.
pub async fn delete<R: Holding>(registry: &Registry, name: &str, policy: &str) -> Result<(), Error> {
    let change = registry.change::<R, _>(name, |record, _| {
        record.holder_mut().inline.remove(policy).map(|_| ()).ok_or_else(|| no_inline::<R>(policy))
    });
    change.await.map(|_| ())
}

/// Names of inline policies.
pub fn list<R: Holding>(
    registry: &Registry,
    name: &str,
    marker: Option<&str>,
    items_max: Option<i32>,
) -> Result<Page<String>, Error> {
    let entry = registry.get::<R>(name)?;
    let names = entry.record.holder().inline.keys().map(|policy| (policy.clone(), policy.clone()));
    rules::page(names, marker, items_max)
}

/// Attaches a managed policy; one that is attached already is fine.
pub async fn attach<R: Holding>(registry: &Registry, name: &str, arn: String) -> Result<(), Error> {
    let change = registry.change::<R, _>(name, |record, world| {
        rules::attachable(&arn, world)?;
        let attached = &mut record.holder_mut().attached;
        if attached.contains(&arn) {
            return Ok(());
        }
        if attached.len() >= ATTACHED_MAX {
            return Err(Error::quota(R::QUOTA, ATTACHED_MAX));
        }
        attached.push(arn);
        Ok(())
    });
    change.await.map(|_| ())
}

/// Detaches a managed policy.
pub async fn detach<R: Holding>(registry: &Registry, name: &str, arn: &str) -> Result<(), Error> {
    let change = registry.change::<R, _>(name, |record, _| {
        rules::valid_arn(arn)?;
        let attached = &mut record.holder_mut().attached;
        let at = attached.iter().position(|held| held == arn).ok_or_else(|| Error::policy_not_found(arn))?;
        attached.remove(at);
        Ok(())
    });
    change.await.map(|_| ())
}

/// Attached managed policies below a path.
pub fn attached<R: Holding>(
    registry: &Registry,
    name: &str,
    path_prefix: Option<&str>,
    marker: Option<&str>,
    items_max: Option<i32>,
) -> Result<Page<AttachedPolicy>, Error> {
    let entry = registry.get::<R>(name)?;
    let shown = entry.record.holder().attached.iter().enumerate().filter_map(|(i, arn)| {
        let (_, path) = arn.split_once(":policy")?;
        let policy_name = path.rsplit('/').next().map(str::to_owned);
        let fits = path_prefix.is_none_or(|prefix| path.starts_with(prefix));
        // Attached policies keep their order: the marker is a position.
        fits.then(|| (format!("{i:02}"), AttachedPolicy { policy_name, policy_arn: Some(arn.clone()) }))
    });
    rules::page(shown, marker, items_max)
}

/// Sets tags.
pub async fn tag<R: Holding>(registry: &Registry, name: &str, given: Vec<Tag>) -> Result<(), Error> {
    let given = rules::tags(given)?;
    let change = registry.change::<R, _>(name, |record, _| rules::add_tags(&mut record.holder_mut().tags, &given));
    change.await.map(|_| ())
}

/// Removes tags.
pub async fn untag<R: Holding>(registry: &Registry, name: &str, keys: &[String]) -> Result<(), Error> {
    let change = registry.change::<R, _>(name, |record, _| {
        rules::remove_tags(&mut record.holder_mut().tags, keys);
        Ok(())
    });
    change.await.map(|_| ())
}

/// Tags.
pub fn tags<R: Holding>(
    registry: &Registry,
    name: &str,
    marker: Option<&str>,
    items_max: Option<i32>,
) -> Result<Page<Tag>, Error> {
    let entry = registry.get::<R>(name)?;
    let tags = view::tags(&entry.record.holder().tags).into_iter().enumerate().map(|(i, tag)| (format!("{i:02}"), tag));
    rules::page(tags, marker, items_max)
}
