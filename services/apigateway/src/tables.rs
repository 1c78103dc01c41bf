//! Keys of these rooms; nothing else builds them.
//!
//! An API lies in rows `KIND | api id | section | name | chunk`: section 0 is its head, the others hold its parts. A part
//! longer than a row takes several chunks.

use squall_store::{Key, Kind};

const REST: Kind = Kind::kv(0x05, 1);
const HTTP: Kind = Kind::kv(0x05, 2);

/// Which sort of API a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// REST APIs.
    Rest,
    /// HTTP APIs.
    Http,
}

/// What a part of an API is. The numbers are stored: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Section {
    /// Settings, tags and stages.
    Head = 0,
    /// A resource with its methods (REST).
    Resource = 1,
    /// A route (HTTP).
    Route = 2,
    /// An integration (HTTP).
    Integration = 3,
    /// A deployment with its snapshot.
    Deployment = 4,
}

impl Section {
    fn of(n: u8) -> Option<Self> {
        [Self::Head, Self::Resource, Self::Route, Self::Integration, Self::Deployment]
            .into_iter()
            .find(|s| *s as u8 == n)
    }
}

/// The prefix of all rows of a sort.
#[must_use]
pub fn all(sort: Sort) -> Key {
    let kind = match sort {
        Sort::Rest => REST,
        Sort::Http => HTTP,
    };
    Key::new(kind, 0, 0)
}

/// The prefix of all rows of an API.
#[must_use]
pub fn api(sort: Sort, id: &str) -> Key {
    all(sort).text(id)
}

/// The prefix of a part's chunks.
#[must_use]
pub fn part(sort: Sort, id: &str, section: Section, name: &str) -> Key {
    api(sort, id).u8(section as u8).text(name)
}

/// A chunk of a part.
#[must_use]
pub fn chunk(sort: Sort, id: &str, section: Section, name: &str, number: u32) -> Key {
    part(sort, id, section, name).u32(number)
}

/// The first row of an API's head, whose version stands for the whole API.
#[must_use]
pub fn head(sort: Sort, id: &str) -> Key {
    chunk(sort, id, Section::Head, "", 0)
}

/// API id, section and name of a row.
#[must_use]
pub fn parse(key: &Key) -> Option<(String, Section, String)> {
    let mut parts = key.parts();
    let id = parts.string()?;
    let section = Section::of(parts.u8()?)?;
    Some((id, section, parts.string()?))
}
