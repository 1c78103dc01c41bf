//! The envelope of every stored value: `format u8 | encryption key id u32 | body`.
//!
//! The format byte lets an upgrade know what it reads, and lets an old program refuse what it cannot know. Key id 0
//! means that the body is not encrypted.

use bytes::Bytes;

use crate::error::{Error, Result};

/// The newest format that this program writes and reads.
pub const FORMAT: u8 = 1;
/// Bytes before the body.
pub const HEAD: usize = 5;

/// Wraps a body for storage.
pub fn seal(body: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(HEAD + body.len());
    out.push(FORMAT);
    out.extend_from_slice(&0u32.to_be_bytes());
    out.extend_from_slice(body);
    out.into()
}

/// Gives the body of a stored value.
///
/// # Errors
/// `Corrupt` if the value is too short, was written in a newer format, or is encrypted with a key that is not here.
pub fn open(value: &[u8]) -> Result<&[u8]> {
    let (head, body) =
        value.split_at_checked(HEAD).ok_or_else(|| Error::Corrupt("value shorter than its envelope".into()))?;
    match head {
        [1, 0, 0, 0, 0] => Ok(body),
        [1, ..] => Err(Error::Corrupt("value is encrypted with an unknown key".into())),
        [0, ..] => Err(Error::Corrupt("value has no format".into())),
        [newer, ..] => Err(Error::Corrupt(format!(
            "value has format {newer}, this program reads up to {FORMAT}: upgrade the program"
        ))),
        [] => Err(Error::Corrupt("value has no envelope".into())),
    }
}

/// Gives the body of a shared value without a copy.
///
/// # Errors
/// As [`open`].
pub fn open_shared(value: &Bytes) -> Result<Bytes> {
    open(value).map(|body| value.slice_ref(body))
}

/// A counter's value as `Mutation::Add` stores it.
pub fn seal_counter(n: i64) -> Bytes {
    seal(&n.to_be_bytes())
}

/// Reads a counter; an absent row counts 0 (pass `None`).
///
/// # Errors
/// `Corrupt` if the row is not a counter.
pub fn open_counter(value: Option<&[u8]>) -> Result<i64> {
    let Some(value) = value else { return Ok(0) };
    let body = open(value)?;
    let number = body.try_into().map_err(|_| Error::Corrupt("the row is not a counter".into()))?;
    Ok(i64::from_be_bytes(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_formats_open() {
        assert_eq!(open(&seal(b"body")).ok(), Some(&b"body"[..]));
        assert_eq!(open_counter(Some(&seal_counter(-5))).ok(), Some(-5));
        assert_eq!(open_counter(None).ok(), Some(0));
        for bad in [&b""[..], b"\x01\0\0\0", b"\x02\0\0\0\0x", b"\x01\0\0\0\x01x", b"\0\0\0\0\0"] {
            assert!(matches!(open(bad), Err(Error::Corrupt(_))), "{bad:?}");
        }
        assert!(open_counter(Some(&seal(b"text"))).is_err());
    }
}
