//! Everything in memory: entities by name with their compiled policies, and access keys by id.

use crate::error::Error;
use crate::model::{Holder, ManagedPolicy, Role, User};
use crate::{names, tables};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use squall_policy::{DocumentKind, Policy, managed};
use squall_store::{Key, Stamp};
use squall_types::Millis;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A stored entity: what it is called, where it lies, what is made of it for decisions.
pub trait Record: Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What decisions need of it.
    type Compiled: Clone + Send + Sync;

    /// Its name as written.
    fn name(&self) -> &str;
    /// Prefix of the rows.
    fn prefix() -> Key;
    /// `NoSuchEntity` for that name.
    fn missing(name: &str) -> Error;
    /// `EntityAlreadyExists` for that name.
    fn exists(name: &str) -> Error;
    /// All of them.
    fn table(world: &World) -> &Table<Self>;
    /// All of them, to be changed.
    fn table_mut(world: &mut World) -> &mut Table<Self>;
    /// Compiles its policies.
    fn compile(&self, world: &World) -> Result<Self::Compiled, Error>;
}

/// Entities by their name in lower case.
pub type Table<R> = BTreeMap<String, Arc<Entry<R>>>;

/// An entity as it is in memory.
pub struct Entry<R: Record> {
    /// The record.
    pub record: Arc<R>,
    /// What decisions need.
    pub compiled: R::Compiled,
    /// When it was last used.
    pub used: Arc<LastUsed>,
    /// Version of the row.
    pub stamp: Stamp,
}

/// The policies that an identity holds.
#[derive(Clone)]
pub struct Grants {
    /// Inline and attached policies.
    pub identity: Arc<[Arc<Policy>]>,
    /// Permissions boundary.
    pub boundary: Option<Arc<Policy>>,
}

/// A role's policies.
#[derive(Clone)]
pub struct RoleGrants {
    /// What its sessions may do.
    pub grants: Grants,
    /// Who may assume it.
    pub trust: Arc<Policy>,
}

/// When, where and for which service something was last used. Soft state: it begins anew with the process.
#[derive(Default)]
pub struct LastUsed {
    at: AtomicI64,
    place: Mutex<Option<(String, String)>>,
}

impl LastUsed {
    /// Notes a use.
    pub fn touch(&self, at: Millis, region: &str, service: &str) {
        self.at.store(at.0, Ordering::Relaxed);
        let mut place = self.place.lock();
        if place.as_ref().is_none_or(|(r, s)| r != region || s != service) {
            *place = Some((region.to_owned(), service.to_owned()));
        }
    }

    /// Time, region and service, unless it was never used.
    pub fn read(&self) -> Option<(Millis, String, String)> {
        let (region, service) = self.place.lock().clone()?;
        Some((Millis(self.at.load(Ordering::Relaxed)), region, service))
    }
}

/// An access key's owner.
#[derive(Clone)]
pub struct KeyRef {
    /// The user's name in lower case.
    pub user: String,
    /// When the key was last presented, before its signature was checked: tells which of a user's keys a request came with.
    pub seen: Arc<AtomicI64>,
    /// When it was last used with a good signature.
    pub used: Arc<LastUsed>,
}

/// Everything.
#[derive(Default)]
pub struct World {
    /// Roles.
    pub roles: Table<Role>,
    /// Users.
    pub users: Table<User>,
    /// Customer managed policies.
    pub policies: Table<ManagedPolicy>,
    /// Access keys of users by id.
    pub keys: HashMap<String, KeyRef>,
    /// The account, for ARNs.
    pub account: String,
}

impl World {
    /// An entity by name, in any case.
    pub fn get<R: Record>(&self, name: &str) -> Option<&Arc<Entry<R>>> {
        R::table(self).get(&lower(name))
    }

    /// A customer managed policy by its whole ARN.
    pub fn policy(&self, arn: &str) -> Option<&Arc<Entry<ManagedPolicy>>> {
        let entry = self.get::<ManagedPolicy>(names::name_in(arn, &self.account, "policy")?)?;
        (entry.record.arn(&self.account) == arn).then_some(entry)
    }

    /// The policy in force behind an ARN, the customer's or AWS's.
    pub fn in_force(&self, arn: &str) -> Option<Arc<Policy>> {
        match managed::find(arn).filter(|_| arn.starts_with("arn:")) {
            Some(aws) => Some(aws.policy()),
            None => self.policy(arn).map(|entry| entry.compiled.clone()),
        }
    }

    /// The document in force behind an ARN, the customer's or AWS's.
    pub fn document_in_force(&self, arn: &str) -> Option<String> {
        if let Some(aws) = managed::find(arn).filter(|_| arn.starts_with("arn:")) {
            return Some(aws.document.to_owned());
        }
        let record = &self.policy(arn)?.record;
        Some(record.versions.get(&record.default)?.document.clone())
    }

    /// Puts an entity in place of what was under its old name, and keeps what hangs on it.
    ///
    /// # Errors
    /// The record does not compile.
    pub fn put<R: Record>(&mut self, old: Option<&str>, record: Arc<R>, stamp: Stamp) -> Result<(), Error> {
        let compiled = record.compile(self)?;
        let used = old.and_then(|name| R::table_mut(self).remove(&lower(name))).map(|entry| entry.used.clone());
        let entry = Entry { compiled, used: used.unwrap_or_default(), stamp, record: record.clone() };
        R::table_mut(self).insert(lower(record.name()), Arc::new(entry));
        Ok(())
    }

    /// Makes the index of access keys follow a user's record.
    pub fn index_keys(&mut self, old: Option<&User>, new: Option<&User>) {
        let mut before: HashMap<&str, KeyRef> = HashMap::new();
        for key in old.into_iter().flat_map(|user| &user.keys) {
            if let Some(held) = self.keys.remove(&key.id) {
                before.insert(&key.id, held);
            }
        }
        for (user, key) in new.into_iter().flat_map(|user| user.keys.iter().map(move |key| (user, key))) {
            let (seen, used) = before.remove(key.id.as_str()).map(|k| (k.seen, k.used)).unwrap_or_default();
            self.keys.insert(key.id.clone(), KeyRef { user: lower(&user.holder.name), seen, used });
        }
    }

    /// Compiles anew every identity that holds the policy, after the policy changed.
    ///
    /// # Errors
    /// A record does not compile.
    pub fn recompile(&mut self, arn: &str) -> Result<(), Error> {
        recompile::<Role>(self, |role| role.holder.holds(arn))?;
        recompile::<User>(self, |user| user.holder.holds(arn))
    }
}

fn recompile<R: Record>(world: &mut World, holds: impl Fn(&R) -> bool) -> Result<(), Error> {
    let concerned: Vec<_> = R::table(world).iter().filter(|(_, e)| holds(&e.record)).collect();
    let concerned: Vec<_> = concerned.into_iter().map(|(name, entry)| (name.clone(), entry.clone())).collect();
    for (name, old) in concerned {
        let compiled = old.record.compile(world)?;
        let entry = Entry { record: old.record.clone(), compiled, used: old.used.clone(), stamp: old.stamp };
        R::table_mut(world).insert(name, Arc::new(entry));
    }
    Ok(())
}

/// The form under which names are unique.
#[must_use]
pub fn lower(name: &str) -> String {
    name.to_ascii_lowercase()
}

impl Holder {
    fn holds(&self, arn: &str) -> bool {
        self.boundary.as_deref() == Some(arn) || self.attached.iter().any(|held| held == arn)
    }

    fn compile(&self, world: &World) -> Result<Grants, Error> {
        let find = |arn: &String| {
            let found = world.in_force(arn);
            found
                .ok_or_else(|| Error::internal("compile a policy", format!("{} holds {arn}, which is gone", self.name)))
        };
        let mut identity = Vec::with_capacity(self.inline.len() + self.attached.len());
        for document in self.inline.values() {
            identity.push(Arc::new(compiled(document, DocumentKind::Inline)?));
        }
        for arn in &self.attached {
            identity.push(find(arn)?);
        }
        Ok(Grants { identity: identity.into(), boundary: self.boundary.as_ref().map(find).transpose()? })
    }
}

/// Compiles a document that was checked when it was written: that it fails now is no fault of the caller.
fn compiled(document: &str, kind: DocumentKind) -> Result<Policy, Error> {
    Policy::parse(document, kind).map_err(|e| Error::internal("compile a stored policy", e))
}

impl Record for Role {
    type Compiled = RoleGrants;

    fn name(&self) -> &str {
        &self.holder.name
    }
    fn prefix() -> Key {
        tables::roles()
    }
    fn missing(name: &str) -> Error {
        Error::cannot_be_found("role", name)
    }
    fn exists(name: &str) -> Error {
        Error::Exists(format!("Role with name {name} already exists."))
    }
    fn table(world: &World) -> &Table<Self> {
        &world.roles
    }
    fn table_mut(world: &mut World) -> &mut Table<Self> {
        &mut world.roles
    }
    fn compile(&self, world: &World) -> Result<RoleGrants, Error> {
        let trust = Arc::new(compiled(&self.trust, DocumentKind::Trust)?);
        Ok(RoleGrants { grants: self.holder.compile(world)?, trust })
    }
}

impl Record for User {
    type Compiled = Grants;

    fn name(&self) -> &str {
        &self.holder.name
    }
    fn prefix() -> Key {
        tables::users()
    }
    fn missing(name: &str) -> Error {
        Error::cannot_be_found("user", name)
    }
    fn exists(name: &str) -> Error {
        Error::Exists(format!("User with name {name} already exists."))
    }
    fn table(world: &World) -> &Table<Self> {
        &world.users
    }
    fn table_mut(world: &mut World) -> &mut Table<Self> {
        &mut world.users
    }
    fn compile(&self, world: &World) -> Result<Grants, Error> {
        self.holder.compile(world)
    }
}

impl ManagedPolicy {
    /// `arn:aws:iam::ACCOUNT:policy/PATH/NAME`.
    #[must_use]
    pub fn arn(&self, account: &str) -> String {
        names::arn(account, "policy", &self.path, &self.name)
    }
}

impl Record for ManagedPolicy {
    type Compiled = Arc<Policy>;

    fn name(&self) -> &str {
        &self.name
    }
    fn prefix() -> Key {
        tables::policies()
    }
    fn missing(name: &str) -> Error {
        Error::policy_not_found(name)
    }
    fn exists(name: &str) -> Error {
        Error::Exists(format!("A policy called {name} already exists. Duplicate names are not allowed."))
    }
    fn table(world: &World) -> &Table<Self> {
        &world.policies
    }
    fn table_mut(world: &mut World) -> &mut Table<Self> {
        &mut world.policies
    }
    fn compile(&self, _world: &World) -> Result<Arc<Policy>, Error> {
        let version = self.versions.get(&self.default);
        let version = version
            .ok_or_else(|| Error::internal("compile a policy", format!("{} has no default version", self.name)))?;
        Ok(Arc::new(compiled(&version.document, DocumentKind::Managed)?))
    }
}
