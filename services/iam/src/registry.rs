//! Entities in memory, backed by the state: reads never wait for the disk, writes commit before they show.
//!
//! Every change copies the record, lets the caller change the copy while it looks at everything else, commits it under the
//! version that was read, and only then swaps it in. Changes are serialised: they are rare next to requests, and conflicts
//! between entities (a policy deleted while it is attached) cannot slip in between.

use crate::error::Error;
use crate::model::{ManagedPolicy, Role, User};
use crate::world::{Entry, Record, World, lower};
use crate::{names, tables};
use parking_lot::RwLock;
use squall_store::{Check, Committed, Stamp, State, StateExt as _, Txn, envelope};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most rows of a kind that are loaded at start; quotas keep far below.
const ROWS_MAX: usize = 20_000;

/// All entities.
pub struct Registry {
    state: Arc<dyn State>,
    world: RwLock<World>,
    writing: tokio::sync::Mutex<()>,
    policy_epoch: AtomicU64,
}

impl Registry {
    /// Loads everything.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn load(state: Arc<dyn State>, account: &str) -> Result<Self, Error> {
        let mut world = World { account: account.to_owned(), ..World::default() };
        // Policies first: roles and users compile against them.
        load::<ManagedPolicy>(state.as_ref(), &mut world).await?;
        load::<Role>(state.as_ref(), &mut world).await?;
        for user in load::<User>(state.as_ref(), &mut world).await? {
            world.index_keys(None, Some(&user));
        }
        Ok(Self {
            state,
            world: RwLock::new(world),
            writing: tokio::sync::Mutex::default(),
            policy_epoch: AtomicU64::new(0),
        })
    }

    /// Looks at everything. `f` must be quick: writers wait for it.
    pub fn look<T>(&self, f: impl FnOnce(&World) -> T) -> T {
        f(&self.world.read())
    }

    /// Grows with every change of a managed policy: what was made of one is stale when this moved.
    pub fn policy_epoch(&self) -> u64 {
        self.policy_epoch.load(Ordering::Acquire)
    }

    /// An entity by name.
    pub fn find<R: Record>(&self, name: &str) -> Option<Arc<Entry<R>>> {
        self.look(|world| world.get::<R>(name).cloned())
    }

    /// An entity by name.
    ///
    /// # Errors
    /// `NoSuchEntity`.
    pub fn get<R: Record>(&self, name: &str) -> Result<Arc<Entry<R>>, Error> {
        self.find(name).ok_or_else(|| R::missing(name))
    }

    /// Adds an entity; `check` sees everything there is.
    ///
    /// # Errors
    /// `EntityAlreadyExists`, what `check` says, the state's errors.
    pub async fn create<R: Record>(
        &self,
        record: R,
        check: impl FnOnce(&World) -> Result<(), Error> + Send,
    ) -> Result<Arc<R>, Error> {
        let _writing = self.writing.lock().await;
        self.look(|world| {
            if world.get::<R>(record.name()).is_some() {
                return Err(R::exists(record.name()));
            }
            check(world)
        })?;
        let key = row::<R>(record.name());
        let txn = Txn::new().check(Check::Absent(key.clone())).put(key, encode(&record)?);
        let done = self.commit(txn).await?;
        self.swap(None, Arc::new(record), done.stamp)
    }

    /// Changes an entity, its name included; the copy that `f` leaves is committed and shown.
    ///
    /// # Errors
    /// `NoSuchEntity`, what `f` says, `EntityAlreadyExists` when the new name is taken, the state's errors.
    pub async fn change<R: Record, T: Send>(
        &self,
        name: &str,
        f: impl FnOnce(&mut R, &World) -> Result<T, Error> + Send,
    ) -> Result<(Arc<R>, T), Error> {
        let _writing = self.writing.lock().await;
        let before = self.get::<R>(name)?;
        let mut record = R::clone(&before.record);
        let answer = self.look(|world| f(&mut record, world))?;
        if record == *before.record {
            return Ok((before.record.clone(), answer));
        }
        let (old, new) = (row::<R>(name), row::<R>(record.name()));
        let mut txn = Txn::new().check(Check::Ver(old.clone(), before.stamp));
        if old != new {
            if self.find::<R>(record.name()).is_some() {
                return Err(R::exists(record.name()));
            }
            txn = txn.check(Check::Absent(new.clone())).delete(old);
        }
        let (was, is) = self.look(|world| (arn_and_id(&*before.record, world), arn_and_id(&record, world)));
        let moved = was.zip(is).filter(|((was, _), (is, _))| was != is);
        let trusting = moved.map_or_else(Vec::new, |((was, _), (is, _))| self.trusting(&was, &is));
        let done = self.commit(put_roles(txn.put(new, encode(&record)?), &trusting)?).await?;
        let record = self.swap(Some(before.record.as_ref()), Arc::new(record), done.stamp)?;
        self.swap_roles(trusting, done.stamp)?;
        Ok((record, answer))
    }

    /// Removes an entity if `check` agrees.
    ///
    /// # Errors
    /// `NoSuchEntity`, what `check` says, the state's errors.
    pub async fn remove<R: Record>(
        &self,
        name: &str,
        check: impl FnOnce(&R, &World) -> Result<(), Error> + Send,
    ) -> Result<(), Error> {
        let _writing = self.writing.lock().await;
        let before = self.get::<R>(name)?;
        self.look(|world| check(&before.record, world))?;
        let key = row::<R>(name);
        // A trust policy keeps the unique id of an identity that is gone: one made again under its name is not trusted.
        let gone = self.look(|world| arn_and_id(&*before.record, world));
        let mut trusting = gone.map_or_else(Vec::new, |(arn, id)| self.trusting(&arn, &id));
        if let Some(own) = as_a::<R, Role>(&before.record) {
            trusting.retain(|(old, _)| old.record.holder.id != own.holder.id);
        }
        let txn = Txn::new().check(Check::Ver(key.clone(), before.stamp)).delete(key);
        let done = self.commit(put_roles(txn, &trusting)?).await?;
        self.swap_roles(trusting, done.stamp)?;
        let mut world = self.world.write();
        R::table_mut(&mut world).remove(&lower(name));
        if let Some(user) = as_a::<R, User>(&before.record) {
            world.index_keys(Some(user), None);
        }
        if as_a::<R, ManagedPolicy>(&before.record).is_some() {
            self.policy_epoch.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
    }

    async fn commit(&self, txn: Txn) -> Result<Committed, Error> {
        match self.state.commit(txn).await {
            Err(squall_store::Error::Check(_)) => Err(Error::Concurrent),
            done => Ok(done?),
        }
    }

    /// Roles that trust an identity by its ARN, as they are and as they name it otherwise.
    fn trusting(&self, arn: &str, otherwise: &str) -> Vec<(Arc<Entry<Role>>, Role)> {
        let (old, new) = (format!("\"{arn}\""), format!("\"{otherwise}\""));
        let rewritten = |entry: &Arc<Entry<Role>>| {
            let role = Role { trust: entry.record.trust.replace(&old, &new), ..Role::clone(&entry.record) };
            (entry.clone(), role)
        };
        self.look(|world| {
            let trusts = |entry: &&Arc<Entry<Role>>| entry.compiled.trust.aws_principals().any(|named| named == arn);
            world.roles.values().filter(trusts).map(rewritten).collect()
        })
    }

    fn swap_roles(&self, roles: Vec<(Arc<Entry<Role>>, Role)>, stamp: Stamp) -> Result<(), Error> {
        roles.into_iter().try_for_each(|(old, new)| self.swap(Some(&*old.record), Arc::new(new), stamp).map(|_| ()))
    }

    fn swap<R: Record>(&self, old: Option<&R>, new: Arc<R>, stamp: Stamp) -> Result<Arc<R>, Error> {
        let mut world = self.world.write();
        world.put(old.map(R::name), new.clone(), stamp)?;
        if let Some(user) = as_a::<R, User>(&new) {
            world.index_keys(old.and_then(as_a::<R, User>), Some(user));
        }
        if let Some(policy) = as_a::<R, ManagedPolicy>(&new).filter(|_| old.is_some()) {
            let arn = policy.arn(&world.account);
            world.recompile(&arn)?;
            self.policy_epoch.fetch_add(1, Ordering::AcqRel);
        }
        Ok(new)
    }
}

/// The record as one of a given kind: users have keys to index, policies have holders to compile.
fn as_a<R: Record, S: Record>(record: &R) -> Option<&S> {
    (record as &dyn Any).downcast_ref()
}

/// ARN and unique id of a role or user.
fn arn_and_id<R: Record>(record: &R, world: &World) -> Option<(String, String)> {
    let (kind, holder) = match (as_a::<R, Role>(record), as_a::<R, User>(record)) {
        (Some(role), _) => ("role", &role.holder),
        (None, Some(user)) => ("user", &user.holder),
        (None, None) => return None,
    };
    Some((names::arn(&world.account, kind, &holder.path, &holder.name), holder.id.clone()))
}

fn put_roles(txn: Txn, roles: &[(Arc<Entry<Role>>, Role)]) -> Result<Txn, Error> {
    roles.iter().try_fold(txn, |txn, (old, new)| {
        let key = row::<Role>(&new.holder.name);
        Ok(txn.check(Check::Ver(key.clone(), old.stamp)).put(key, encode(new)?))
    })
}

fn row<R: Record>(name: &str) -> squall_store::Key {
    tables::entity(R::prefix(), &lower(name))
}

async fn load<R: Record>(state: &dyn State, world: &mut World) -> Result<Vec<Arc<R>>, Error> {
    let mut all = Vec::new();
    for row in state.all(R::prefix(), ROWS_MAX).await? {
        let record: Arc<R> = Arc::new(decode(&row.value)?);
        world.put(None, record.clone(), row.ver)?;
        all.push(record);
    }
    Ok(all)
}

/// A record as a row's value.
///
/// # Errors
/// It cannot be written as JSON.
pub fn encode<T: serde::Serialize>(value: &T) -> Result<bytes::Bytes, Error> {
    let json = serde_json::to_vec(value).map_err(|e| Error::internal("write a record", e))?;
    Ok(envelope::seal(&json))
}

/// A record from a row's value.
///
/// # Errors
/// The row is damaged or of a newer format.
pub fn decode<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(envelope::open(value)?).map_err(|e| Error::internal("read a record", e))
}
