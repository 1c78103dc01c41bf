//! APIs in memory, backed by the state: requests never wait for the disk, changes commit before they show.
//!
//! A change copies the definition (its parts are shared), lets the caller change the copy, commits the parts that differ
//! under the version of the head that was read, and only then swaps the copy in. Changes are serialised; one that lost a
//! race with another node is answered with a conflict.

use crate::definition::{Definition, Part};
use crate::error::Error;
use crate::tables::{self, Section};
use parking_lot::RwLock;
use squall_store::{Check, Mutation, Row, Stamp, State, StateExt as _, Txn, envelope};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// Most rows of a sort that are loaded at start.
const ROWS_MAX: usize = 1_000_000;
/// Most bytes of a part in one row.
const CHUNK_BYTES: usize = 512 * 1024;
/// Most chunks that a shorter part may leave behind.
const STALE_CHUNKS_MAX: u32 = 64;

#[derive(Clone)]
struct Entry<D> {
    def: Arc<D>,
    stamp: Stamp,
}

/// All APIs of a sort.
pub struct Registry<D> {
    state: Arc<dyn State>,
    entries: RwLock<BTreeMap<String, Entry<D>>>,
    writing: tokio::sync::Mutex<()>,
}

impl<D: Definition> Registry<D> {
    /// Loads everything.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn load(state: Arc<dyn State>) -> Result<Self, Error> {
        let mut apis: BTreeMap<String, (Option<Stamp>, Vec<Part>)> = BTreeMap::new();
        for row in state.all(tables::all(D::SORT), ROWS_MAX).await? {
            add(&mut apis, &row)?;
        }
        let mut entries = BTreeMap::new();
        for (id, (stamp, parts)) in apis {
            match stamp {
                Some(stamp) => {
                    entries.insert(id, Entry { def: Arc::new(D::assemble(parts)?), stamp });
                }
                // A deletion that a crash interrupted: the head went first.
                None => {
                    state.delete_prefix(tables::api(D::SORT, &id)).await?;
                }
            }
        }
        Ok(Self { state, entries: RwLock::new(entries), writing: tokio::sync::Mutex::default() })
    }

    /// An API by id, in any region.
    #[must_use]
    pub fn by_id(&self, id: &str) -> Option<Arc<D>> {
        self.entries.read().get(id).map(|e| e.def.clone())
    }

    /// APIs of a region whose id comes after `after`, by id.
    #[must_use]
    pub fn list(&self, region: &str, after: &str) -> Vec<Arc<D>> {
        let entries = self.entries.read();
        let from = (Bound::Excluded(after), Bound::Unbounded);
        entries.range::<str, _>(from).map(|(_, e)| &e.def).filter(|d| d.region() == region).cloned().collect()
    }

    /// Adds an API.
    ///
    /// # Errors
    /// `ConflictException` when the id is taken, the state's errors.
    pub async fn create(&self, def: D) -> Result<Arc<D>, Error> {
        let _writing = self.writing.lock().await;
        let stamp = self.commit(None, &def).await?;
        let def = Arc::new(def);
        self.entries.write().insert(def.id().to_owned(), Entry { def: def.clone(), stamp });
        Ok(def)
    }

    /// Changes an API: `f` gets a copy.
    ///
    /// # Errors
    /// `missing()` when there is none, what `f` says, a conflict, the state's errors.
    pub async fn change<T>(
        &self,
        region: &str,
        id: &str,
        missing: impl Fn() -> Error,
        f: impl FnOnce(&mut D) -> Result<T, Error>,
    ) -> Result<(Arc<D>, T), Error> {
        let _writing = self.writing.lock().await;
        let before = self.entries.read().get(id).filter(|e| e.def.region() == region).cloned().ok_or_else(missing)?;
        let mut def = D::clone(&before.def);
        let answer = f(&mut def)?;
        let stamp = self.commit(Some(&before), &def).await?;
        let def = Arc::new(def);
        self.entries.write().insert(id.to_owned(), Entry { def: def.clone(), stamp });
        Ok((def, answer))
    }

    /// Removes an API.
    ///
    /// # Errors
    /// `missing()` when there is none, a conflict, the state's errors.
    pub async fn remove(&self, region: &str, id: &str, missing: impl Fn() -> Error) -> Result<(), Error> {
        let _writing = self.writing.lock().await;
        let before = self.entries.read().get(id).filter(|e| e.def.region() == region).cloned().ok_or_else(missing)?;
        let head = tables::head(D::SORT, id);
        // The head alone decides whether the API exists: once it is gone, the rest is only garbage.
        self.state.commit(Txn::new().check(Check::Ver(head.clone(), before.stamp)).delete(head)).await?;
        self.entries.write().remove(id);
        self.state.delete_prefix(tables::api(D::SORT, id)).await?;
        Ok(())
    }

    async fn commit(&self, before: Option<&Entry<D>>, after: &D) -> Result<Stamp, Error> {
        let changes = after.changes(before.map(|b| b.def.as_ref()))?;
        let head = tables::head(D::SORT, after.id());
        let mut txn = Txn::new().check(match before {
            Some(before) => Check::Ver(head, before.stamp),
            None => Check::Absent(head),
        });
        for (section, name) in changes.deletes {
            txn = txn.mutation(drop_chunks::<D>(after.id(), section, &name, 0)?);
        }
        for part in changes.puts {
            let mut number = 0;
            for piece in part.body.chunks(CHUNK_BYTES) {
                let key = tables::chunk(D::SORT, after.id(), part.section, &part.name, number);
                txn = txn.put(key, envelope::seal(piece));
                number += 1;
            }
            if before.is_some() {
                txn = txn.mutation(drop_chunks::<D>(after.id(), part.section, &part.name, number)?);
            }
        }
        match self.state.commit(txn).await {
            Err(squall_store::Error::Invalid(text)) => {
                Err(Error::Limit(format!("The API is too large for one change: {text}")))
            }
            done => Ok(done?.stamp),
        }
    }
}

/// Removes a part's chunks from a number on.
fn drop_chunks<D: Definition>(id: &str, section: Section, name: &str, from: u32) -> Result<Mutation, Error> {
    let Bound::Excluded(to) = tables::part(D::SORT, id, section, name).prefix_end() else {
        return Err(Error::internal("name a part's rows", "prefix without an end"));
    };
    let from = tables::chunk(D::SORT, id, section, name, from);
    Ok(Mutation::DeleteRange { from, to, limit: STALE_CHUNKS_MAX })
}

fn add(apis: &mut BTreeMap<String, (Option<Stamp>, Vec<Part>)>, row: &Row) -> Result<(), Error> {
    let (id, section, name) =
        tables::parse(&row.key).ok_or_else(|| Error::internal("read a record", "a key of another shape"))?;
    let (stamp, parts) = apis.entry(id).or_default();
    let body = envelope::open(&row.value)?;
    if section == Section::Head {
        stamp.get_or_insert(row.ver);
    }
    match parts.last_mut() {
        Some(part) if part.section == section && part.name == name => part.body.extend_from_slice(body),
        _ => parts.push(Part { section, name, body: body.to_vec() }),
    }
    Ok(())
}
