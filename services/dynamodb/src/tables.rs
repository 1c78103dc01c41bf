//! The keys of everything that this room stores. No other file builds keys.
//!
//! | kind | resource | slot | rest | value |
//! |---|---|---|---|---|
//! | definition | the room's constant | 0 | region, name | [`crate::table::Table`] |
//! | item | table id | from the hash | hash of the partition key (20), sort key | item |
//! | index row | index id | from the hash | hash of the index's partition key (20), its sort key as text, the service's hash of the primary key (4), hash of the primary key (16) | projected item |
//! | garbage | the room's constant | 0 | kind, resource id | empty: rows of a deleted table or index are to be removed |
//! | stream | the room's constant | 0 | ARN | [`crate::features::Stream`] |
//! | log's low mark | log id | part | | number up to which changes are gone |
//! | log's mark | log id | part | time | number that was reached then |
//! | expiry | id of the table's expiry rows | 0 | second, hash of the primary key (16) | the primary key's bytes |
//! | backup | the room's constant | 0 | region, table, time, ARN | [`crate::backup::Backup`] |
//! | undone | id of a restore's marks | from the hash | hash of the primary key (16) | empty: the item is as it was |
//! | token | the room's constant | 0 | hash of region and token | what a transaction was, expires |
//!
//! A sort key ends an item's key and is stored as it is; in an index row it is escaped and ended, because more follows. A
//! whole primary key would follow it if both could fit in a key of 2,400 bytes; its hash does, and keeps rows apart.

use crate::expr::ast::Compare;
use crate::expr::keycond::RangeCondition;
use crate::key::{HashBytes, KeyBytes, PLACE_BYTES, sort_bytes};
use squall_store::{Key, Kind, Part, hash16};
use squall_types::Millis;
use std::ops::Bound;

/// This room's block of kinds.
const ROOM: u8 = 0x03;
const DEFINITION: Kind = Kind::kv(ROOM, 1);
const ITEM: Kind = Kind::kv(ROOM, 2);
const INDEX_ROW: Kind = Kind::kv(ROOM, 3);
const GARBAGE: Kind = Kind::kv(ROOM, 4);
const TOKEN: Kind = Kind::kv(ROOM, 5);
const STREAM: Kind = Kind::kv(ROOM, 6);
const LOG_LOW: Kind = Kind::kv(ROOM, 7);
const LOG_MARK: Kind = Kind::ix(ROOM, 8);
const EXPIRY: Kind = Kind::ix(ROOM, 9);
const BACKUP: Kind = Kind::kv(ROOM, 10);
const UNDONE: Kind = Kind::ix(ROOM, 11);
/// The resource that rows without one of their own belong to.
const SELF: u64 = (ROOM as u64) << 8 | 1;
/// Slots of a table.
const SLOTS: u64 = 1 << 16;

/// The rows of a table or of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Items of the table with this id.
    Table(u64),
    /// Rows of the index with this id.
    Index(u64),
    /// Expiry rows with this id.
    Expiry(u64),
    /// Marks of a restore with this id.
    Undone(u64),
}

/// Where a table's definition is.
pub fn definition(region: &str, name: &str) -> Key {
    definitions_in(region).raw(name.as_bytes())
}

/// The prefix of a region's definitions; they are in order of their names.
pub fn definitions_in(region: &str) -> Key {
    definitions().text(region)
}

/// The prefix of all definitions.
pub fn definitions() -> Key {
    Key::new(DEFINITION, SELF, 0)
}

/// Where an item is.
pub fn item(table: u64, key: &KeyBytes) -> Key {
    Key::whole(ITEM, table, slot(&key.hash), &[&key.hash, &key.range])
}

/// Where an index keeps an item: `key` is the index's, `primary` the table's, `place` the service's for the item.
pub fn index_row(index: u64, key: &KeyBytes, primary: &KeyBytes, place: [u8; PLACE_BYTES]) -> Key {
    Rows::Index(index).element(&key.hash, &key.range).raw(&place).raw(&primary_hash(primary))
}

/// The slot of a partition: of the beginning of its hash.
fn slot(hash: &HashBytes) -> u16 {
    u16::from_be_bytes([hash[0], hash[1]])
}

fn primary_hash(primary: &KeyBytes) -> [u8; 16] {
    let mut whole = primary.hash.to_vec();
    whole.extend_from_slice(&primary.range);
    hash16(&whole)
}

/// The note that a deleted table's or index's rows are to be removed.
pub fn garbage(rows: Rows) -> Key {
    let (kind, id) = match rows {
        Rows::Table(id) => (0, id),
        Rows::Index(id) => (1, id),
        Rows::Expiry(id) => (2, id),
        Rows::Undone(id) => (3, id),
    };
    all_garbage().u8(kind).u64(id)
}

/// The prefix of all such notes.
pub fn all_garbage() -> Key {
    Key::new(GARBAGE, SELF, 0)
}

/// What a garbage note is about.
pub fn garbage_rows(key: &Key) -> Option<Rows> {
    let mut parts = key.parts();
    let kind = parts.u8()?;
    let id = parts.u64()?;
    [Rows::Table, Rows::Index, Rows::Expiry, Rows::Undone].get(usize::from(kind)).map(|rows| rows(id))
}

/// Where a stream is.
pub fn stream(arn: &str) -> Key {
    streams().raw(arn.as_bytes())
}

/// The prefix of all streams.
pub fn streams() -> Key {
    Key::new(STREAM, SELF, 0)
}

/// Where it is said up to which number a part's changes are gone.
pub fn log_low(part: Part) -> Key {
    Key::new(LOG_LOW, part.stream, part.part)
}

/// Where it is said which number a part had reached at a time.
pub fn log_mark(part: Part, at: Millis) -> Key {
    log_marks(part).i64(at.0)
}

/// The prefix of a part's marks.
pub fn log_marks(part: Part) -> Key {
    Key::new(LOG_MARK, part.stream, part.part)
}

/// The time of a mark.
pub fn mark_time(key: &Key) -> Option<Millis> {
    key.parts().i64().map(Millis)
}

/// Where it is said that an item ends at a second.
pub fn expiry(id: u64, second: i64, primary: &KeyBytes) -> Key {
    Key::new(EXPIRY, id, 0).i64(second).raw(&primary_hash(primary))
}

/// The range of what ends before a second.
pub fn expiries_before(id: u64, second: i64) -> (Bound<Key>, Bound<Key>) {
    let all = Key::new(EXPIRY, id, 0);
    (Bound::Included(all.clone()), Bound::Excluded(all.i64(second)))
}

/// The second of an expiry row.
pub fn expiry_second(key: &Key) -> Option<i64> {
    key.parts().i64()
}

/// Where a backup is.
pub fn backup(region: &str, table: &str, at: Millis, arn: &str) -> Key {
    backups_of(region, table).i64(at.0).raw(arn.as_bytes())
}

/// The prefix of a table's backups, oldest first.
pub fn backups_of(region: &str, table: &str) -> Key {
    backups_in(region).text(table)
}

/// The prefix of a region's backups.
pub fn backups_in(region: &str) -> Key {
    backups().text(region)
}

/// The prefix of all backups.
pub fn backups() -> Key {
    Key::new(BACKUP, SELF, 0)
}

/// The key of a row under another table.
pub fn moved(row: &Key, table: u64) -> Key {
    let head = Key::resource_prefix(ITEM, table);
    let rest = row.as_bytes().get(head.as_bytes().len()..).unwrap_or_default().to_vec();
    head.raw(&rest)
}

/// Where it is marked that a restore has undone the changes of an item.
pub fn undone(id: u64, primary: &KeyBytes) -> Key {
    Key::whole(UNDONE, id, slot(&primary.hash), &[&primary_hash(primary)])
}

/// Where a transaction's token is remembered.
pub fn token(region: &str, token: &str) -> Key {
    Key::new(TOKEN, SELF, 0).raw(&hash16(format!("{region}\0{token}").as_bytes()))
}

impl Rows {
    fn kind(self) -> (Kind, u64) {
        match self {
            Rows::Table(id) => (ITEM, id),
            Rows::Index(id) => (INDEX_ROW, id),
            Rows::Expiry(id) => (EXPIRY, id),
            Rows::Undone(id) => (UNDONE, id),
        }
    }

    /// The prefix of all rows.
    pub fn prefix(self) -> Key {
        let (kind, id) = self.kind();
        Key::resource_prefix(kind, id)
    }

    /// The prefix of the rows with one partition key.
    pub fn partition(self, hash: &HashBytes) -> Key {
        let (kind, id) = self.kind();
        Key::whole(kind, id, slot(hash), &[hash])
    }

    /// The rows of one part of `total`, in key order.
    pub fn segment(self, part: u64, total: u64) -> (Bound<Key>, Bound<Key>) {
        let (kind, id) = self.kind();
        let slot = |n: u64| u16::try_from(n * SLOTS / total).ok();
        let from = slot(part).map_or_else(|| self.prefix().prefix_end(), |s| Bound::Included(Key::new(kind, id, s)));
        let to = slot(part + 1).map_or_else(|| self.prefix().prefix_end(), |s| Bound::Excluded(Key::new(kind, id, s)));
        (from, to)
    }

    /// A table's whole key, or all that an index row's key has before the primary key's hash.
    fn element(self, hash: &HashBytes, range: &[u8]) -> Key {
        match self {
            Rows::Table(id) => Key::whole(ITEM, id, slot(hash), &[hash, range]),
            _ => self.partition(hash).text(range),
        }
    }

    /// The rows of one partition key whose sort key fits the condition.
    pub fn range(self, hash: &HashBytes, condition: Option<&RangeCondition>) -> (Bound<Key>, Bound<Key>) {
        let partition = self.partition(hash);
        let end = partition.prefix_end();
        let start = Bound::Included(partition);
        let element = |v| self.element(hash, &sort_bytes(v));
        match condition {
            None => (start, end),
            Some(RangeCondition::Between(low, high)) => (Bound::Included(element(low)), self.through(element(high))),
            Some(RangeCondition::BeginsWith(prefix)) => {
                let prefix = self.begun(hash, &sort_bytes(prefix));
                let end = prefix.prefix_end();
                (Bound::Included(prefix), end)
            }
            Some(RangeCondition::Compare(compare, v)) => {
                let element = element(v);
                match compare {
                    Compare::Eq | Compare::Ne => (Bound::Included(element.clone()), self.through(element)),
                    Compare::Lt => (start, Bound::Excluded(element)),
                    Compare::Le => (start, self.through(element)),
                    Compare::Gt => (self.behind(element), end),
                    Compare::Ge => (Bound::Included(element), end),
                }
            }
        }
    }

    /// The end of a range that includes all rows of this element.
    fn through(self, element: Key) -> Bound<Key> {
        match self {
            Rows::Table(_) => Bound::Included(element),
            _ => element.prefix_end(),
        }
    }

    /// The beginning of a range behind all rows of this element.
    fn behind(self, element: Key) -> Bound<Key> {
        match (self, element.prefix_end()) {
            (Rows::Index(_), Bound::Excluded(end)) => Bound::Included(end),
            _ => Bound::Excluded(element),
        }
    }

    /// The prefix of the elements whose sort key begins so.
    fn begun(self, hash: &HashBytes, prefix: &[u8]) -> Key {
        match self {
            Rows::Table(id) => Key::whole(ITEM, id, slot(hash), &[hash, prefix]),
            _ => {
                let whole = self.partition(hash).text(prefix);
                // Without the two bytes that end the text.
                let bytes = whole.as_bytes();
                Key::from_bytes(bytes[..bytes.len() - 2].to_vec())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::eval::compares;
    use crate::item::Value;
    use crate::testing::Random;
    use std::ops::RangeBounds;
    use std::sync::Arc;

    #[test]
    fn ranges_hold_exactly_the_fitting_keys() {
        let mut r = Random::new(31);
        let text = |r: &mut Random| -> Value {
            Value::S((0..1 + r.below(3)).map(|_| *r.pick(&['\0', '\u{1}', 'a', 'b', '\u{7f}', 'ÿ'])).collect())
        };
        for round in 0..20_000 {
            let rows = if round % 2 == 0 { Rows::Table(7) } else { Rows::Index(7) };
            let (sort, a, b) = (text(&mut r), text(&mut r), text(&mut r));
            let condition = match r.below(7) {
                0 => RangeCondition::Between(Arc::new(a.clone()), Arc::new(b.clone())),
                1 => RangeCondition::BeginsWith(Arc::new(a.clone())),
                n => {
                    let all = [Compare::Eq, Compare::Lt, Compare::Le, Compare::Gt, Compare::Ge];
                    RangeCondition::Compare(all[n as usize - 2], Arc::new(a.clone()))
                }
            };
            let fits = match (&condition, &sort, &a) {
                (RangeCondition::Between(..), ..) => {
                    compares(&sort, Compare::Ge, &a) && compares(&sort, Compare::Le, &b)
                }
                (RangeCondition::BeginsWith(_), Value::S(sort), Value::S(a)) => sort.starts_with(a.as_str()),
                (RangeCondition::Compare(compare, _), ..) => compares(&sort, *compare, &a),
                _ => unreachable!("texts only"),
            };
            let hash = [9; 20];
            let key = KeyBytes { hash, range: sort_bytes(&sort) };
            let row = match rows {
                Rows::Table(id) => item(id, &key),
                Rows::Index(id) | Rows::Expiry(id) | Rows::Undone(id) => {
                    index_row(id, &key, &KeyBytes { hash: [r.next() as u8; 20], range: vec![1] }, [r.next() as u8; 4])
                }
            };
            let range = rows.range(&hash, Some(&condition));
            assert_eq!(range.contains(&row), fits, "{rows:?} {condition:?} {sort:?}");
            assert!(rows.range(&hash, None).contains(&row));
            let other = rows.partition(&[10; 20]).raw(b"a");
            assert!(!range.contains(&other));
        }
    }

    #[test]
    fn segments_cover_each_row_once() {
        let mut r = Random::new(32);
        for total in [1u64, 2, 3, 7, 1000, 65_536, 1_000_000] {
            for _ in 0..20 {
                let mut hash = [0u8; 20];
                hash[..8].copy_from_slice(&r.next().to_be_bytes());
                let row = item(5, &KeyBytes { hash, range: vec![] });
                let slot = u64::from(slot(&hash));
                // Only the segments around the row's own can hold it.
                let near = slot * total / SLOTS;
                let held = (near.saturating_sub(20)..(near + 20).min(total))
                    .filter(|s| Rows::Table(5).segment(*s, total).contains(&row));
                assert_eq!(held.count(), 1, "{total} {slot}");
            }
        }
    }

    #[test]
    fn garbage_notes_read_back() {
        for rows in [Rows::Table(77), Rows::Index(1 << 40), Rows::Expiry(3), Rows::Undone(4)] {
            assert_eq!(garbage_rows(&garbage(rows)), Some(rows));
        }
    }
}
