//! Keys: ordered bytes `kind u16 | resource u64 | slot u16 | rest`, big-endian.
//!
//! The top bit of the kind selects the table: clear is `kv` (values of any size, read by key), set is `ix` (short
//! values kept in key order, for scans and listings). A range never crosses from one to the other.
//!
//! Kinds are `room << 8 | number`. Blocks in use, so that no two rooms collide: 0x00 core, 0x01 iam and sts,
//! 0x02 lambda, 0x03 dynamodb, 0x04 logs, 0x05 apigateway, 0x06 deploy and cloudformation, 0x07 s3, 0x08 sqs, 0x09 sns,
//! 0x0a events, 0x0b scheduler, 0x0c meter, 0x0d secretsmanager, 0x0e ssm, 0x0f kms, 0x10 cloudwatch, 0x11 states,
//! 0x12 cognito, 0x13 kinesis, 0x7f tests.

use std::fmt;
use std::ops::Bound;

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Which kind of row a key names; the room's `tables.rs` holds its kinds as constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(u16);

impl Kind {
    const IX: u16 = 0x8000;

    /// A kind whose rows lie in `kv`: read by key, values up to 1 MiB.
    pub const fn kv(room: u8, number: u8) -> Kind {
        assert!(room < 0x80, "room numbers have seven bits");
        Kind((room as u16) << 8 | number as u16)
    }

    /// A kind whose rows lie in `ix`: short values in key order.
    pub const fn ix(room: u8, number: u8) -> Kind {
        Kind(Kind::kv(room, number).0 | Kind::IX)
    }

    /// The number as stored.
    pub const fn code(self) -> u16 {
        self.0
    }

    /// Whether rows of this kind lie in the scan table.
    pub const fn is_ix(self) -> bool {
        self.0 & Kind::IX != 0
    }
}

/// An ordered key. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Bytes);

impl Key {
    /// Bytes before `rest`.
    pub const HEAD: usize = 12;

    /// `kind | resource | slot`, to be extended with the methods below. Also the prefix of all rows of that slot.
    pub fn new(kind: Kind, resource: u64, slot: u16) -> Key {
        let mut head = Vec::with_capacity(48);
        head.extend_from_slice(&kind.0.to_be_bytes());
        head.extend_from_slice(&resource.to_be_bytes());
        head.extend_from_slice(&slot.to_be_bytes());
        Key(head.into())
    }

    /// `kind | resource | slot`, then the parts as [`Key::raw`] would append them: a key that is known at once is made in one
    /// piece, of exactly the memory that it needs.
    pub fn whole(kind: Kind, resource: u64, slot: u16, parts: &[&[u8]]) -> Key {
        let mut bytes = Vec::with_capacity(Key::HEAD + parts.iter().map(|part| part.len()).sum::<usize>());
        bytes.extend_from_slice(&kind.0.to_be_bytes());
        bytes.extend_from_slice(&resource.to_be_bytes());
        bytes.extend_from_slice(&slot.to_be_bytes());
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Key(bytes.into())
    }

    /// `kind | resource`: the prefix of all slots of a resource. Not a key that a row may have.
    pub fn resource_prefix(kind: Kind, resource: u64) -> Key {
        let mut head = kind.0.to_be_bytes().to_vec();
        head.extend_from_slice(&resource.to_be_bytes());
        Key(head.into())
    }

    /// A key from stored bytes, unchecked.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Key {
        Key(bytes.into())
    }

    /// Appends bytes as they are. Order is theirs; use it for the last part, or for parts of fixed length.
    pub fn raw(self, bytes: &[u8]) -> Key {
        self.append(|to| to.extend_from_slice(bytes))
    }

    /// Appends bytes of any length so that more parts may follow: `00` becomes `00 ff`, and `00 01` ends the part.
    /// Keeps order: `a` < `a\0` < `ab`.
    pub fn text(self, text: impl AsRef<[u8]>) -> Key {
        self.append(|to| {
            for byte in text.as_ref() {
                to.push(*byte);
                if *byte == 0 {
                    to.push(0xff);
                }
            }
            to.extend_from_slice(&[0, 1]);
        })
    }

    /// Appends a byte.
    pub fn u8(self, n: u8) -> Key {
        self.append(|to| to.push(n))
    }

    /// Appends a number of 32 bits in order.
    pub fn u32(self, n: u32) -> Key {
        self.raw(&n.to_be_bytes())
    }

    /// Appends a number in order.
    pub fn u64(self, n: u64) -> Key {
        self.raw(&n.to_be_bytes())
    }

    /// Appends a signed number (a time, say) in order.
    pub fn i64(self, n: i64) -> Key {
        self.u64((n as u64) ^ (1 << 63))
    }

    /// Appends a lane as `claim` expects its items: `length u16 | lane`.
    pub fn lane(self, lane: &[u8]) -> Key {
        let len = u16::try_from(lane.len()).unwrap_or(u16::MAX);
        self.raw(&len.to_be_bytes()).raw(lane)
    }

    fn append(self, write: impl FnOnce(&mut Vec<u8>)) -> Key {
        // The common case is a sole owner, whose buffer is taken back without a copy.
        let mut buffer = Vec::from(self.0);
        write(&mut buffer);
        Key(buffer.into())
    }

    /// The bytes as stored and compared.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, shared.
    pub fn to_bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// Whether the key lies in the scan table.
    pub fn is_ix(&self) -> bool {
        self.0.first().is_some_and(|b| b & 0x80 != 0)
    }

    /// The resource id, if the key is long enough to have one.
    pub fn resource(&self) -> Option<u64> {
        Some(u64::from_be_bytes(self.0.get(2..10)?.try_into().ok()?))
    }

    /// Reads the parts behind the head.
    pub fn parts(&self) -> KeyParts<'_> {
        KeyParts(self.0.get(Key::HEAD..).unwrap_or(&[]))
    }

    /// The least key above this one.
    pub fn successor(&self) -> Key {
        self.clone().u8(0)
    }

    /// The end of the range of all keys with this prefix.
    pub fn prefix_end(&self) -> Bound<Key> {
        let mut end = self.0.to_vec();
        while let Some(last) = end.pop() {
            if last < 0xff {
                end.push(last + 1);
                return Bound::Excluded(Key(end.into()));
            }
        }
        Bound::Unbounded
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (head, rest) = self.0.split_at(self.0.len().min(Key::HEAD));
        write!(f, "Key({}|{:?})", Key(Bytes::copy_from_slice(head)), String::from_utf8_lossy(rest))
    }
}

/// A reader of the parts that [`Key`]'s methods appended, in the same order. `None`: the key is not of that shape.
pub struct KeyParts<'a>(&'a [u8]);

impl<'a> KeyParts<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    /// Reads a part written by [`Key::text`].
    pub fn text(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            match (self.take(1)?.first()?, self.0.first()) {
                (0, Some(0xff)) => {
                    self.take(1)?;
                    out.push(0);
                }
                (0, Some(1)) => {
                    self.take(1)?;
                    return Some(out);
                }
                (0, _) => return None,
                (byte, _) => out.push(*byte),
            }
        }
    }

    /// Reads a part written by [`Key::text`] that must be UTF-8.
    pub fn string(&mut self) -> Option<String> {
        String::from_utf8(self.text()?).ok()
    }

    /// Reads a byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// Reads a number of 32 bits.
    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Reads a number.
    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    /// Reads a signed number.
    pub fn i64(&mut self) -> Option<i64> {
        Some((self.u64()? ^ (1 << 63)) as i64)
    }

    /// Reads a fixed number of raw bytes.
    pub fn raw(&mut self, n: usize) -> Option<&'a [u8]> {
        self.take(n)
    }

    /// Everything that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// The hash under which a partition key is stored: 16 bytes of SHA-256, so that no caller can aim two keys at one row.
pub fn hash16(bytes: &[u8]) -> [u8; 16] {
    let digest = Sha256::digest(bytes);
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().zip(digest) {
        *to = from;
    }
    out
}

/// The slot of a hashed partition key: its first two bytes.
pub fn slot_of(hash: &[u8; 16]) -> u16 {
    u16::from_be_bytes([hash[0], hash[1]])
}

#[cfg(test)]
mod tests {
    use super::*;

    const K: Kind = Kind::kv(0x7f, 1);

    #[test]
    fn parts_come_back_and_keep_their_order() {
        let texts: [&[u8]; 7] = [b"", b"\0", b"\0\xff", b"a", b"a\0", b"a\0b", b"ab"];
        let mut before: Option<Key> = None;
        for text in texts {
            for n in [i64::MIN, -1, 0, 7, i64::MAX] {
                let key = Key::new(K, 9, 3).text(text).i64(n).raw(b"tail");
                let mut parts = key.parts();
                assert_eq!(parts.text().as_deref(), Some(text));
                assert_eq!(parts.i64(), Some(n));
                assert_eq!(parts.rest(), b"tail");
                assert!(before.as_ref().is_none_or(|b| *b < key), "{before:?} {key:?}");
                before = Some(key);
            }
        }
    }

    #[test]
    fn a_key_in_one_piece_is_the_one_of_its_parts() {
        assert_eq!(Key::whole(K, 9, 3, &[b"ab", b"", b"c"]), Key::new(K, 9, 3).raw(b"ab").raw(b"c"));
        assert_eq!(Key::whole(K, 9, 3, &[]), Key::new(K, 9, 3));
    }

    #[test]
    fn damaged_parts_are_none() {
        for rest in [&b"abc"[..], b"ab\0", b"ab\0\x07"] {
            assert_eq!(Key::new(K, 1, 1).raw(rest).parts().text(), None);
        }
        assert_eq!(Key::from_bytes(&b"x"[..]).parts().u64(), None);
        assert_eq!(Key::from_bytes(&b"x"[..]).resource(), None);
    }

    #[test]
    fn prefix_end_covers_the_prefix_only() {
        let end = |k: &Key| match k.prefix_end() {
            Bound::Excluded(k) => Some(k),
            _ => None,
        };
        let key = Key::new(K, u64::MAX, u16::MAX);
        assert_eq!(end(&key).map(|k| k.as_bytes().to_vec()), Some(vec![0x7f, 0x02]));
        assert_eq!(end(&Key::from_bytes(&[0xff, 0xff][..])), None);
        assert!(Kind::ix(0x7f, 255).is_ix() && !K.is_ix());
        assert!(Key::new(Kind::ix(1, 1), 5, 0).is_ix());
        assert_eq!(Key::new(Kind::ix(1, 1), 5, 0).resource(), Some(5));
    }
}
