//! Rows in key order.
//!
//! A key's bytes lie elsewhere, so that every comparison on the way down a tree would wait for memory. Their first sixteen are
//! kept in the tree as a number: it holds kind, resource, slot and a part of a hash, and decides nearly always.

use std::collections::BTreeMap;
use std::ops::Bound;

use squall_store::Key;

use crate::model::Record;

/// A key behind the number that orders as its beginning does; bytes that it lacks count as zeros, and the key decides.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    head: u128,
    key: Key,
}

impl Place {
    fn of(key: Key) -> Place {
        let mut head = [0; 16];
        let bytes = key.as_bytes();
        let known = bytes.len().min(head.len());
        head[..known].copy_from_slice(&bytes[..known]);
        Place { head: u128::from_be_bytes(head), key }
    }
}

/// The rows of a model.
#[derive(Clone, Default)]
pub(crate) struct Rows(BTreeMap<Place, Record>);

impl Rows {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, key: &Key) -> Option<&Record> {
        self.0.get(&Place::of(key.clone()))
    }

    pub fn insert(&mut self, key: Key, record: Record) -> Option<Record> {
        self.0.insert(Place::of(key), record)
    }

    pub fn remove(&mut self, key: &Key) -> Option<Record> {
        self.0.remove(&Place::of(key.clone()))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Record)> {
        self.0.iter().map(|(place, record)| (&place.key, record))
    }

    /// Rows between bounds that are not the wrong way round.
    pub fn range(&self, (from, to): (Bound<Key>, Bound<Key>)) -> impl DoubleEndedIterator<Item = (&Key, &Record)> {
        self.0.range((from.map(Place::of), to.map(Place::of))).map(|(place, record)| (&place.key, record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_order_as_their_keys() {
        let mut texts: Vec<Vec<u8>> = vec![vec![], vec![0], vec![0; 16], vec![0; 17], vec![0; 15], vec![255; 16]];
        texts.extend((0..40u8).map(|n| [&[1; 12][..], &[n % 3], &vec![n % 2; usize::from(n % 7)]].concat()));
        for a in &texts {
            for b in &texts {
                let place = |bytes: &Vec<u8>| Place::of(Key::from_bytes(bytes.clone()));
                assert_eq!(place(a).cmp(&place(b)), a.cmp(b), "{a:?} {b:?}");
            }
        }
    }
}
