//! Primary keys: what a table's or index's key schema asks of an item, and the ordered bytes that stand for a key.
//!
//! Shapes: [`KeySchema`] names one or two attributes with their types; [`KeyBytes`] is a hash of the partition key's value
//! (the whole value is in the item) and the sort key's value as bytes that order as the values order.
//!
//! The hash begins with four bytes of the one that the service itself puts partitions in order by: MD5 of a fixed word and
//! the value's bytes. So scans, segments and ties in an index come in the service's order, which applications have come to
//! see (and tests to expect). Alone it would let a hostile caller make two keys meet: sixteen bytes of SHA-256 follow it.
//!
//! Invariant: two keys are equal exactly when their bytes are equal, as far as SHA-256 goes.

use crate::error::Error;
use crate::item::{Item, Kind, Value};
use sha2::{Digest, Sha256};

/// Most bytes of a partition key's value.
pub const HASH_BYTES_MAX: usize = 2048;
/// Most bytes of a sort key's value.
pub const RANGE_BYTES_MAX: usize = 1024;

/// A key attribute: its name and type, one of S, N and B.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeyAttribute {
    /// Attribute name.
    pub name: String,
    /// Declared type.
    pub kind: Kind,
}

/// The partition key and, where there is one, the sort key of a table or index.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeySchema {
    /// Partition key.
    pub hash: KeyAttribute,
    /// Sort key.
    pub range: Option<KeyAttribute>,
}

/// The hash that stands for a partition key: [`PLACE_BYTES`] of the service's own, then SHA-256.
pub type HashBytes = [u8; PLACE_BYTES + 16];

/// Bytes of a place: where the service has a key in its order.
pub const PLACE_BYTES: usize = 4;

/// What the service hashes before a key's bytes.
const PLACE_WORD: &[u8] = b"Outliers";

/// A key as ordered bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyBytes {
    /// Hash of the partition key's value.
    pub hash: HashBytes,
    /// The sort key's value in order; empty without a sort key.
    pub range: Vec<u8>,
}

impl KeySchema {
    /// The key attributes in order.
    pub fn attributes(&self) -> impl Iterator<Item = &KeyAttribute> {
        std::iter::once(&self.hash).chain(&self.range)
    }

    /// Whether the attribute is part of the key.
    pub fn has(&self, name: &str) -> bool {
        self.attributes().any(|a| a.name == name)
    }

    /// The key of an item that is about to be written, checked.
    ///
    /// # Errors
    /// `ValidationException` for a missing key attribute, a wrong type, an empty value or one that is too long.
    pub fn of_item(&self, item: &Item) -> Result<KeyBytes, Error> {
        for attribute in self.attributes() {
            let name = &attribute.name;
            let value = item.get(name).ok_or_else(|| {
                Error::validation(format!(
                    "One or more parameter values were invalid: Missing the key {name} in the item"
                ))
            })?;
            let (expected, actual) = (attribute.kind, value.kind());
            if actual != expected {
                return Err(Error::validation(format!(
                    "One or more parameter values were invalid: Type mismatch for key {name} expected: {} actual: {}",
                    expected.name(),
                    actual.name()
                )));
            }
        }
        self.checked(item)
    }

    /// The key given as a request's `Key`: exactly the key attributes.
    ///
    /// # Errors
    /// `ValidationException`: "The provided key element does not match the schema", an empty value or one too long.
    pub fn of_key(&self, key: &Item) -> Result<KeyBytes, Error> {
        let fits = |a: &KeyAttribute| key.get(&a.name).is_some_and(|v| v.kind() == a.kind);
        if key.len() != self.attributes().count() || !self.attributes().all(fits) {
            return Err(Error::validation("The provided key element does not match the schema"));
        }
        self.checked(key)
    }

    /// Checks emptiness and length of key values whose types are right.
    fn checked(&self, item: &Item) -> Result<KeyBytes, Error> {
        for attribute in self.attributes() {
            let name = &attribute.name;
            let what = match item.get(name) {
                Some(Value::S(s)) if s.is_empty() => "string",
                Some(Value::B(b)) if b.is_empty() => "binary",
                _ => continue,
            };
            return Err(Error::validation(format!(
                "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an \
                 empty {what} value. Key: {name}"
            )));
        }
        item.get(&self.hash.name).map_or(Ok(()), check_hash_size)?;
        let range = self.range.as_ref().and_then(|r| item.get(&r.name));
        range.map_or(Ok(()), check_range_size)?;
        self.bytes(item).ok_or_else(|| Error::Internal("key attributes vanished during their check".into()))
    }

    /// The key's bytes; `None` when the item lacks a key attribute or has it with another type.
    pub fn bytes(&self, item: &Item) -> Option<KeyBytes> {
        let part = |a: &KeyAttribute| item.get(&a.name).filter(|v| v.kind() == a.kind);
        let hash = hash_bytes(part(&self.hash)?);
        let range = match &self.range {
            Some(attribute) => sort_bytes(part(attribute)?),
            None => Vec::new(),
        };
        Some(KeyBytes { hash, range })
    }

    /// Where the service has an item among those that are equal in an index: after a hash of the whole primary key.
    pub fn place(&self, item: &Item) -> [u8; PLACE_BYTES] {
        place(self.attributes().filter_map(|a| item.get(&a.name)))
    }

    /// Only the key attributes of an item.
    pub fn project(&self, item: &Item) -> Item {
        let pick = |a: &KeyAttribute| item.get(&a.name).map(|v| (a.name.clone(), v.clone()));
        self.attributes().filter_map(pick).collect()
    }
}

/// Checks the length of a partition key's value.
///
/// # Errors
/// `ValidationException`.
pub fn check_hash_size(value: &Value) -> Result<(), Error> {
    if value.size_bytes() <= HASH_BYTES_MAX {
        return Ok(());
    }
    Err(Error::validation(
        "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes",
    ))
}

/// Checks the length of a sort key's value.
///
/// # Errors
/// `ValidationException`.
pub fn check_range_size(value: &Value) -> Result<(), Error> {
    if value.size_bytes() <= RANGE_BYTES_MAX {
        return Ok(());
    }
    Err(Error::validation(
        "One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of 1024 \
         bytes",
    ))
}

/// The hash that stands for a partition key's value: of its type and its bytes, so that `1` and `1.0` agree.
pub fn hash_bytes(value: &Value) -> HashBytes {
    let mut hasher = Sha256::new();
    match value {
        Value::S(s) => {
            hasher.update(b"S");
            hasher.update(s.as_bytes());
        }
        Value::B(b) => {
            hasher.update(b"B");
            hasher.update(b);
        }
        other => {
            hasher.update(b"N");
            hasher.update(sort_bytes(other));
        }
    }
    let mut out = HashBytes::default();
    let (first, rest) = out.split_at_mut(PLACE_BYTES);
    first.copy_from_slice(&place(std::iter::once(value)));
    rest.copy_from_slice(&hasher.finalize()[..16]);
    out
}

/// The beginning of the service's hash of key values.
fn place<'v>(values: impl Iterator<Item = &'v Value>) -> [u8; PLACE_BYTES] {
    use md5::Digest as _;
    let mut hasher = md5::Md5::new_with_prefix(PLACE_WORD);
    for value in values {
        match value {
            Value::S(s) => hasher.update(s.as_bytes()),
            Value::B(b) => hasher.update(b),
            Value::N(n) => {
                let mut bytes = Vec::with_capacity(24);
                n.service_bytes(&mut bytes);
                hasher.update(&bytes);
            }
            _ => {}
        }
    }
    let mut out = [0; PLACE_BYTES];
    out.copy_from_slice(&hasher.finalize()[..PLACE_BYTES]);
    out
}

/// The ordered bytes of a key value of type S, N or B; empty for other types, which are no keys.
pub fn sort_bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::S(s) => s.as_bytes().to_vec(),
        Value::B(b) => b.clone(),
        Value::N(n) => {
            let mut out = Vec::with_capacity(24);
            n.sort_bytes(&mut out);
            out
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> KeySchema {
        let attribute = |name: &str, kind| KeyAttribute { name: name.into(), kind };
        KeySchema { hash: attribute("pk", Kind::S), range: Some(attribute("sk", Kind::N)) }
    }

    fn item(pairs: &[(&str, Value)]) -> Item {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect()
    }

    fn check(pairs: &[(&str, Value)], expected: &str) {
        let got = schema().of_item(&item(pairs)).err().map(|e| e.to_string()).unwrap_or_default();
        assert_eq!(got, expected);
    }

    #[test]
    fn items_without_a_right_key_are_refused() {
        let n = |v: i64| Value::N(v.into());
        let s = |v: &str| Value::S(v.into());
        let invalid = "One or more parameter values were invalid: ";
        check(&[("pk", s("a")), ("sk", n(1)), ("x", n(2))], "");
        check(&[("pk", s("a"))], &format!("{invalid}Missing the key sk in the item"));
        check(&[("pk", n(1)), ("sk", n(1))], &format!("{invalid}Type mismatch for key pk expected: S actual: N"));
        check(
            &[("pk", s("")), ("sk", n(1))],
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty \
             string value. Key: pk",
        );
        check(
            &[("pk", s(&"x".repeat(2049))), ("sk", n(1))],
            &format!("{invalid}Size of hashkey has exceeded the maximum size limit of2048 bytes"),
        );
    }

    #[test]
    fn partitions_are_in_the_order_of_the_service() {
        // As the service scans a table of such texts.
        let mut all: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
        all.sort_by_key(|text| hash_bytes(&Value::S(text.clone())));
        let first: Vec<&str> = all.iter().take(200).map(String::as_str).filter(|t| t.len() < 5).collect();
        let at = |text: &str| first.iter().position(|t| *t == text);
        let known = ["3635", "228", "1668", "3435"].map(at);
        assert!(known.iter().all(Option::is_some) && known.is_sorted(), "{known:?}");
        assert_ne!(hash_bytes(&Value::N(1.into())), hash_bytes(&Value::S("1".into())));
    }

    #[test]
    fn request_keys_must_be_exact() {
        let wrong = "The provided key element does not match the schema";
        let cases: [&[(&str, Value)]; 3] = [
            &[("pk", Value::S("a".into()))],
            &[("pk", Value::S("a".into())), ("sk", Value::S("1".into()))],
            &[("pk", Value::S("a".into())), ("sk", Value::N(1.into())), ("x", Value::Null)],
        ];
        for pairs in cases {
            assert_eq!(schema().of_key(&item(pairs)).unwrap_err().to_string(), wrong);
        }
    }
}
