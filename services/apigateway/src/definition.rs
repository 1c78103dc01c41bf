//! How an API is cut into rows, so that a change writes only what it changed.

use crate::error::Error;
use crate::tables::{Section, Sort};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A part of an API as stored.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it is.
    pub section: Section,
    /// Its name within the section; empty for the head.
    pub name: String,
    /// JSON.
    pub body: Vec<u8>,
}

/// What a change writes.
#[derive(Debug, Default)]
pub struct Changes {
    /// Parts to write.
    pub puts: Vec<Part>,
    /// Parts to remove.
    pub deletes: Vec<(Section, String)>,
}

impl Changes {
    /// Adds a part.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn put<T: serde::Serialize>(&mut self, section: Section, name: &str, value: &T) -> Result<(), Error> {
        let body = serde_json::to_vec(value).map_err(|e| Error::internal("write a record", e))?;
        self.puts.push(Part { section, name: name.to_owned(), body });
        Ok(())
    }

    /// Adds the difference of two maps whose unchanged entries are shared.
    ///
    /// # Errors
    /// As [`Changes::put`].
    pub fn map<T: serde::Serialize>(
        &mut self,
        section: Section,
        before: Option<&BTreeMap<String, Arc<T>>>,
        after: &BTreeMap<String, Arc<T>>,
    ) -> Result<(), Error> {
        let held = |name: &String| before.and_then(|b| b.get(name));
        for (name, value) in after {
            if !held(name).is_some_and(|b| Arc::ptr_eq(b, value)) {
                self.put(section, name, value)?;
            }
        }
        let gone = before.into_iter().flat_map(BTreeMap::keys).filter(|n| !after.contains_key(*n));
        self.deletes.extend(gone.map(|n| (section, n.clone())));
        Ok(())
    }
}

/// An API that a registry keeps.
pub trait Definition: Clone + Send + Sync + Sized + 'static {
    /// Which rows it lies in.
    const SORT: Sort;

    /// Its id.
    fn id(&self) -> &str;

    /// Its region.
    fn region(&self) -> &str;

    /// What must be written when `before` becomes this. The head is always among it.
    ///
    /// # Errors
    /// A part cannot be written as JSON.
    fn changes(&self, before: Option<&Self>) -> Result<Changes, Error>;

    /// Puts an API together from its parts, and compiles its routing tables.
    ///
    /// # Errors
    /// A row is damaged.
    fn assemble(parts: Vec<Part>) -> Result<Self, Error>;
}

/// Reads a part's body.
///
/// # Errors
/// The row is damaged.
pub fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|e| Error::internal("read a record", e))
}
