//! Rows that were read lately, so that a point read of a row in use needs no statement.
//!
//! Shape: a fixed number of places, chosen by a seeded hash of the key; a newcomer takes the place of whoever is there.
//! Bounded by [`PLACES`] times [`VALUE_BYTES_MAX`]: 32 MiB.
//!
//! Invariant: a row in its place is the committed one. Before a transaction is committed, [`Changes`] empties the places of all
//! rows that it changes and bars them until the commit is over; a reader may fill a place only if no change of it began since
//! before the reader's snapshot. So nobody sees the old row here after anybody could see the new one in the file.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use squall_store::engine::is_live;
use squall_store::{Bytes, Key, Row, Stamp};
use squall_types::Millis;

/// Rows that are kept.
const PLACES: usize = 8_192;
/// Longest value that is kept.
const VALUE_BYTES_MAX: usize = 4_096;
/// Versions that the committer remembers.
const VERSIONS_MAX: usize = 1_024;

/// A live row with its expiry.
pub(crate) struct Record {
    pub value: Bytes,
    pub ver: Stamp,
    pub exp: Option<i64>,
}

#[derive(Default)]
struct Place {
    row: Option<(Key, Record)>,
    /// Changes of rows of this place that are being committed.
    changing: u32,
    /// Changes that ever began.
    changes: u32,
}

pub(crate) struct Cache {
    places: Vec<Mutex<Place>>,
    hasher: RandomState,
}

/// The right to fill a place, unless a change begins meanwhile.
pub(crate) struct Claim {
    at: usize,
    changes: u32,
}

impl Default for Cache {
    fn default() -> Cache {
        let places = std::iter::repeat_with(Mutex::default).take(PLACES).collect();
        Cache { places, hasher: RandomState::new() }
    }
}

impl Cache {
    fn at(&self, key: &Key) -> usize {
        (self.hasher.hash_one(key.as_bytes()) % PLACES as u64) as usize
    }

    /// The row of a key (`Ok(None)`: it has expired), or the right to bring it; `Err(None)` when it is being changed.
    pub fn get(&self, key: &Key, now: Millis) -> Result<Option<Row>, Option<Claim>> {
        let at = self.at(key);
        let place = self.places[at].lock();
        match &place.row {
            Some((kept, Record { value, ver, exp })) if kept == key => {
                let live = is_live(exp.map(Millis), now);
                Ok(live.then(|| Row { key: key.clone(), value: value.clone(), ver: *ver }))
            }
            _ if place.changing == 0 => Err(Some(Claim { at, changes: place.changes })),
            _ => Err(None),
        }
    }

    /// Keeps a row that was read after the claim.
    pub fn fill(&self, claim: &Claim, key: &Key, record: Record) {
        if record.value.len() > VALUE_BYTES_MAX {
            return;
        }
        let mut place = self.places[claim.at].lock();
        if place.changing == 0 && place.changes == claim.changes {
            place.row = Some((key.clone(), record));
        }
    }

    fn begin(&self, at: usize) {
        let mut place = self.places[at].lock();
        place.row = None;
        place.changing += 1;
        place.changes = place.changes.wrapping_add(1);
    }

    fn end(&self, at: usize) {
        self.places[at].lock().changing -= 1;
    }
}

/// The committer's side: what its open transaction changes, and the versions of rows that guard many writes.
pub(crate) struct Changes {
    cache: Arc<Cache>,
    /// Places of changed rows.
    places: Vec<usize>,
    /// Ranges were changed: every place counts.
    all: bool,
    /// Versions of rows without expiry. Only the committer writes rows, so they hold until it does.
    versions: HashMap<Key, Stamp>,
}

impl Changes {
    pub fn new(cache: Arc<Cache>) -> Changes {
        Changes { cache, places: Vec::new(), all: false, versions: HashMap::new() }
    }

    /// A row is changed.
    pub fn row(&mut self, key: &Key) {
        self.places.push(self.cache.at(key));
        if !self.versions.is_empty() {
            self.versions.remove(key);
        }
    }

    /// Rows are changed, it is not known which.
    pub fn rows(&mut self) {
        self.all = true;
        self.versions.clear();
    }

    /// The version of a row that guarded a write before, if it is known.
    pub fn version(&self, key: &Key) -> Option<Stamp> {
        self.versions.get(key).copied()
    }

    /// Remembers the version of a row without expiry.
    pub fn remember(&mut self, key: Key, ver: Stamp) {
        if self.versions.len() >= VERSIONS_MAX {
            self.versions.clear();
        }
        self.versions.insert(key, ver);
    }

    /// The open transaction is given up.
    pub fn forget(&mut self) {
        self.places.clear();
        self.all = false;
        self.versions.clear();
    }

    /// Runs the commit: readers find nothing of what changes until it is over, however it ends.
    pub fn commit<T>(&mut self, commit: impl FnOnce() -> T) -> T {
        if std::mem::take(&mut self.all) {
            self.places.clear();
            self.places.extend(0..PLACES);
        }
        self.places.iter().for_each(|at| self.cache.begin(*at));
        let done = commit();
        self.places.drain(..).for_each(|at| self.cache.end(at));
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_store::Kind;

    fn key(n: u64) -> Key {
        Key::new(Kind::kv(0x7f, 1), n, 0)
    }

    fn record(exp: Option<i64>) -> Record {
        Record { value: Bytes::from_static(b"v"), ver: Stamp(1), exp }
    }

    #[test]
    fn a_row_read_before_a_change_is_not_kept_after_it() {
        let cache = Arc::new(Cache::default());
        let mut changes = Changes::new(Arc::clone(&cache));
        let claim = |n: u64| cache.get(&key(n), Millis(0)).err().flatten();
        let early = claim(1).expect("nothing changes yet");
        changes.row(&key(1));
        changes.commit(|| {
            assert!(claim(1).is_none(), "the row is being changed");
            cache.fill(&early, &key(1), record(None));
        });
        cache.fill(&early, &key(1), record(None));
        let late = claim(1).expect("the change is over, and nothing was kept");
        cache.fill(&late, &key(1), record(Some(5)));
        assert_eq!(cache.get(&key(1), Millis(4)).ok().flatten().map(|row| row.ver), Some(Stamp(1)));
        assert!(matches!(cache.get(&key(1), Millis(6)), Ok(None)), "expired rows are gone");
        changes.rows();
        changes.commit(|| ());
        assert!(claim(1).is_some(), "a changed range empties every place");
    }

    #[test]
    fn versions_hold_until_the_row_changes() {
        let mut changes = Changes::new(Arc::default());
        changes.remember(key(1), Stamp(7));
        changes.row(&key(2));
        assert_eq!(changes.version(&key(1)), Some(Stamp(7)));
        changes.row(&key(1));
        assert_eq!(changes.version(&key(1)), None);
    }
}
