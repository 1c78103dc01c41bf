//! What a side holds, per kind: how many, how many bytes, and a sum of hashes that does not depend on the order.

use crate::moving::record;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use squall_store::Record;
use squall_types::Millis;
use std::collections::BTreeMap;

/// Blocks of kinds, as `squall_store::Key` gives them out.
const ROOMS: [(u8, &str); 19] = [
    (0x00, "core"),
    (0x01, "iam"),
    (0x02, "lambda"),
    (0x03, "dynamodb"),
    (0x04, "logs"),
    (0x05, "apigateway"),
    (0x06, "deploy"),
    (0x07, "s3"),
    (0x08, "sqs"),
    (0x09, "sns"),
    (0x0a, "events"),
    (0x0b, "scheduler"),
    (0x0c, "meter"),
    (0x0d, "secretsmanager"),
    (0x0e, "ssm"),
    (0x0f, "kms"),
    (0x10, "triggers"),
    (0x12, "cognito"),
    (0x13, "kinesis"),
];

/// One kind.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// Bytes of values and bodies.
    pub bytes: u64,
    /// The hashes' sum, 32 hexadecimal digits.
    #[serde(with = "hexadecimal")]
    pub digest: u128,
}

/// All kinds, by name.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Digests(pub BTreeMap<String, Sum>);

impl Digests {
    /// Takes in a record; rows that have expired at `now` do not count, since an engine may have swept them already.
    pub fn record(&mut self, record: &Record, now: Millis) {
        let (kind, bytes) = match record {
            Record::Begin { .. } | Record::End { .. } => return,
            Record::Row { expires: Some(at), .. } if at.0 <= now.0 => return,
            Record::Row { key, value, .. } => (kind(key.as_bytes()), value.len()),
            Record::Entry { value, .. } => ("queue entries".to_owned(), value.len()),
            Record::Head { .. } => ("stream heads".to_owned(), 0),
            Record::Change { change, .. } => ("stream changes".to_owned(), change.body.len()),
        };
        let mut encoded = Vec::with_capacity(bytes + 64);
        record::encode(record, &mut encoded);
        self.add(kind, bytes as u64, &Sha256::digest(&encoded));
    }

    /// Takes in a file of that place (`objects` or `logs`): its name, its length and the hash of its bytes.
    pub fn file(&mut self, place: &str, name: &str, length: u64, content: &[u8]) {
        let hash = Sha256::new().chain_update(name).chain_update([0]).chain_update(content).finalize();
        self.add(place.to_owned(), length, &hash);
    }

    fn add(&mut self, kind: String, bytes: u64, hash: &[u8]) {
        let sum = self.0.entry(kind).or_default();
        sum.count += 1;
        sum.bytes += bytes;
        let head = hash.iter().take(16).fold(0u128, |all, byte| all << 8 | u128::from(*byte));
        sum.digest = sum.digest.wrapping_add(head);
    }

    /// The kinds in which two sides differ.
    #[must_use]
    pub fn differences(&self, other: &Digests) -> Vec<String> {
        let kinds: std::collections::BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        kinds.into_iter().filter(|kind| self.0.get(*kind) != other.0.get(*kind)).cloned().collect()
    }

    /// A line per kind.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("{:<20} {:>10} {:>14}  digest\n", "kind", "count", "bytes");
        for (kind, sum) in &self.0 {
            text.push_str(&format!("{kind:<20} {:>10} {:>14}  {:032x}\n", sum.count, sum.bytes, sum.digest));
        }
        text
    }
}

/// `dynamodb/2`: the room and the number of its kind of rows.
fn kind(key: &[u8]) -> String {
    let (room, number) = (key.first().map_or(0, |b| b & 0x7f), key.get(1).copied().unwrap_or(0));
    match ROOMS.iter().find(|(code, _)| *code == room) {
        Some((_, name)) => format!("{name}/{number}"),
        None => format!("{room:#04x}/{number}"),
    }
}

mod hexadecimal {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(digest: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{digest:032x}"))
    }

    pub fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<u128, D::Error> {
        u128::from_str_radix(&String::deserialize(from)?, 16).map_err(D::Error::custom)
    }
}
