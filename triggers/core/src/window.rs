//! Tumbling windows: batches of one span of time share a state that the function hands on.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use squall_types::Millis;

/// Most bytes of a state (AWS: 1 MB); a bigger one ends the window early.
pub const STATE_BYTES_MAX: usize = 1_000_000;

/// A window that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Open {
    /// Its first millisecond.
    pub start_ms: i64,
    /// What the function handed on.
    pub state: Value,
    /// The state is too big: the window ends now.
    #[serde(default)]
    pub early: bool,
}

impl Open {
    /// The window of a moment.
    pub fn of(at: Millis, length_s: u32) -> Self {
        let length = i64::from(length_s.max(1)) * 1000;
        Self { start_ms: at.0.div_euclid(length) * length, state: json!({}), early: false }
    }

    /// Its end, exclusive.
    pub fn end(&self, length_s: u32) -> Millis {
        Millis(self.start_ms + i64::from(length_s) * 1000)
    }

    /// Takes what the function answered.
    pub fn hand_on(&mut self, answer: &[u8]) {
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        self.state = answer.get("state").cloned().filter(|s| !s.is_null()).unwrap_or_else(|| json!({}));
        self.early = self.state.to_string().len() > STATE_BYTES_MAX;
    }

    /// The members that an event in this window has besides its records.
    pub fn members(&self, length_s: u32, shard: &str, source_arn: &str, last: bool) -> Value {
        json!({
            "window": {
                "start": crate::failure::time_text(Millis(self.start_ms), false),
                "end": crate::failure::time_text(self.end(length_s), false),
            },
            "state": self.state,
            "shardId": shard,
            "eventSourceARN": source_arn,
            "isFinalInvokeForWindow": last,
            "isWindowTerminatedEarly": last && self.early,
        })
    }
}
