//! Records on their way to a function, and how they are cut into batches. Pure.

use bytes::Bytes;
use serde_json::Value;
use squall_service::StreamRecord;
use squall_types::Millis;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Most bytes of an event: AWS's limit of a synchronous payload.
pub const EVENT_BYTES_MAX: usize = 6_291_456;
/// What an event has besides its records.
const ENVELOPE_BYTES: usize = 64;

/// A record that matched.
#[derive(Clone, Debug)]
pub struct Item {
    /// Sequence number.
    pub sequence: String,
    /// When it was written.
    pub at: Millis,
    /// Hash of what must stay in order.
    pub key: u64,
    /// The element of `Records`, as JSON text.
    pub json: Box<str>,
}

impl Item {
    /// A record as it will be sent.
    pub fn new(record: StreamRecord) -> Self {
        let mut hasher = DefaultHasher::new();
        record.order_key.hash(&mut hasher);
        Self { sequence: record.sequence, at: record.at, key: hasher.finish(), json: record.event.to_string().into() }
    }
}

/// How many of the first items make one batch: at most `count` and a payload's bytes, at least one.
pub fn fits(items: &[Item], count: usize, spare: usize) -> usize {
    let room = EVENT_BYTES_MAX.saturating_sub(ENVELOPE_BYTES + spare);
    let mut bytes = 0;
    let fitting = items.iter().take(count).take_while(|item| {
        bytes += item.json.len() + 1;
        bytes <= room
    });
    fitting.count().clamp(usize::from(!items.is_empty()), items.len())
}

/// Divides items among `lanes` so that equal keys share one and keep their order.
pub fn lanes(items: Vec<Item>, lanes: u32) -> Vec<Vec<Item>> {
    let lanes = u64::from(lanes.max(1));
    let mut out: Vec<Vec<Item>> = (0..lanes).map(|_| Vec::new()).collect();
    for item in items {
        let lane = usize::try_from(item.key % lanes).unwrap_or(0);
        if let Some(lane) = out.get_mut(lane) {
            lane.push(item);
        }
    }
    out.retain(|lane| !lane.is_empty());
    out
}

/// The event of a batch, with further members where a window has them.
pub fn event(items: &[Item], members: Option<&Value>) -> Bytes {
    let bytes: usize = items.iter().map(|i| i.json.len() + 1).sum();
    let mut out = String::with_capacity(bytes + ENVELOPE_BYTES);
    out.push_str("{\"Records\":[");
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        out.push_str(&item.json);
    }
    out.push(']');
    for (name, value) in members.and_then(Value::as_object).into_iter().flatten() {
        out.push(',');
        out.push_str(&Value::from(name.as_str()).to_string());
        out.push(':');
        out.push_str(&value.to_string());
    }
    out.push('}');
    out.into()
}
