//! How far a mapping has come in a shard, as it is kept.

use crate::window::Open;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use squall_service::StreamStart;
use squall_store::envelope;
use squall_types::Millis;

/// A place in a shard.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Place {
    /// The oldest record that is kept.
    Horizon,
    /// Behind the newest record when it is first read.
    Latest,
    /// From that time on, milliseconds.
    Time(i64),
    /// Behind that record.
    After(String),
}

impl From<StreamStart> for Place {
    fn from(start: StreamStart) -> Self {
        match start {
            StreamStart::TrimHorizon => Place::Horizon,
            StreamStart::Latest => Place::Latest,
            StreamStart::At(at) => Place::Time(at.0),
            StreamStart::After(sequence) => Place::After(sequence),
        }
    }
}

impl From<Place> for StreamStart {
    fn from(place: Place) -> Self {
        match place {
            Place::Horizon => StreamStart::TrimHorizon,
            Place::Latest => StreamStart::Latest,
            Place::Time(at) => StreamStart::At(Millis(at)),
            Place::After(sequence) => StreamStart::After(sequence),
        }
    }
}

/// The row of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Progress {
    /// Where to go on; `None` = the shard is closed and everything of it is done.
    pub from: Option<Place>,
    /// How often the batch that begins there has failed.
    #[serde(default)]
    pub attempts: u32,
    /// The tumbling window that is open.
    #[serde(default)]
    pub window: Option<Open>,
}

impl Progress {
    /// A shard of which nothing after that place is done.
    pub fn at(from: Option<Place>) -> Self {
        Self { from, attempts: 0, window: None }
    }

    /// As it is stored.
    pub fn encode(&self) -> Bytes {
        envelope::seal(&serde_json::to_vec(self).expect("texts and numbers have a JSON form"))
    }

    /// A stored row; `None` when it cannot be read.
    pub fn decode(value: &[u8]) -> Option<Self> {
        serde_json::from_slice(envelope::open(value).ok()?).ok()
    }
}
