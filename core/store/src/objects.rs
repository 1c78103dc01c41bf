//! Large bytes beside the state: function packages now, object bodies later.
//!
//! Shape: slash-separated names → immutable bytes. A name is written once as a whole; writing it again replaces it
//! atomically. Bodies that may be long are written and read in chunks, so that nobody holds them in memory.
//!
//! A name is never also the folder of another one (`a` beside `a/b`): a store of plain files cannot hold both.

use std::io;
use std::ops::Range;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};

use crate::Bytes;

/// Why an object operation failed. The text is the operator's.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The name breaks the rules of [`is_valid_name`].
    #[error("invalid object name {0:?}")]
    Name(String),
    /// The store failed.
    #[error("{action} object {name:?}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Which object.
        name: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// A body in chunks. An `Err` ends it: what came before is not the whole.
pub type Chunks = BoxStream<'static, io::Result<Bytes>>;

/// A store of immutable byte strings by name.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Durable when it returns.
    ///
    /// # Errors
    /// `Name`, `Io`: the name has its former bytes, or is absent as before.
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), ObjectError>;

    /// Writes a body that comes in chunks; gives its length. Durable when it returns; whole or not at all, whether the
    /// body ends in an error, the store fails, or the future is dropped.
    ///
    /// # Errors
    /// As [`Objects::put`]; an error of the body is the `source`.
    async fn put_stream(&self, name: &str, body: Chunks) -> Result<u64, ObjectError> {
        let bytes = collect(body).await.map_err(io_error("write", name))?;
        let length = bytes.len() as u64;
        self.put(name, bytes).await.map(|()| length)
    }

    /// The bytes, or `None` when there is no such object.
    ///
    /// # Errors
    /// `Name`, `Io`.
    async fn get(&self, name: &str) -> Result<Option<Bytes>, ObjectError>;

    /// Some of the bytes: what of the range lies inside the object, so an empty answer for a range behind its end.
    ///
    /// # Errors
    /// `Name`, `Io`.
    async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Option<Bytes>, ObjectError> {
        Ok(self.get(name).await?.map(|bytes| cut(&bytes, range)))
    }

    /// The bytes in chunks, in order. What is read is one body, even when the name is written or deleted meanwhile.
    ///
    /// # Errors
    /// `Name`, `Io`.
    async fn get_stream(&self, name: &str) -> Result<Option<Chunks>, ObjectError> {
        Ok(self.get(name).await?.map(|bytes| stream::once(async { Ok(bytes) }).boxed()))
    }

    /// The length in bytes, or `None` when there is no such object.
    ///
    /// # Errors
    /// `Name`, `Io`.
    async fn length(&self, name: &str) -> Result<Option<u64>, ObjectError> {
        Ok(self.get(name).await?.map(|bytes| bytes.len() as u64))
    }

    /// Removes the object; absent ones are fine.
    ///
    /// # Errors
    /// `Name`, `Io`.
    async fn delete(&self, name: &str) -> Result<(), ObjectError>;

    /// Names that begin with `prefix`, sorted.
    ///
    /// # Errors
    /// `Io`.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, ObjectError>;
}

/// What of a range lies inside these bytes.
#[must_use]
pub fn cut(bytes: &Bytes, range: Range<u64>) -> Bytes {
    let inside = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    let (from, to) = (inside(range.start), inside(range.end));
    bytes.slice(from.min(to)..to)
}

/// Joins a body.
///
/// # Errors
/// The body's own.
pub async fn collect(mut body: Chunks) -> io::Result<Bytes> {
    let mut all = Vec::new();
    while let Some(chunk) = body.next().await {
        all.extend_from_slice(&chunk?);
    }
    Ok(all.into())
}

/// An [`ObjectError::Io`] about this object.
pub fn io_error(action: &'static str, name: &str) -> impl FnOnce(io::Error) -> ObjectError {
    let name = name.to_owned();
    move |source| ObjectError::Io { action, name, source }
}

/// Names are 1 to 512 bytes of `[A-Za-z0-9._-]` segments joined by `/`, none of them `.` or `..` or empty.
#[must_use]
pub fn is_valid_name(name: &str) -> bool {
    let clean = |s: &str| {
        !matches!(s, "" | "." | "..") && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    name.len() <= 512 && name.split('/').all(clean)
}

/// As [`is_valid_name`], as a result.
///
/// # Errors
/// `Name`.
pub fn check_name(name: &str) -> Result<(), ObjectError> {
    if is_valid_name(name) { Ok(()) } else { Err(ObjectError::Name(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_the_store() {
        for (name, expected) in [
            ("a", true),
            ("lambda/ab-1.zip", true),
            ("", false),
            ("/a", false),
            ("a//b", false),
            ("a/../b", false),
            ("a b", false),
        ] {
            assert_eq!(is_valid_name(name), expected, "{name}");
        }
    }

    #[test]
    fn a_cut_stays_inside() {
        let bytes = Bytes::from_static(b"abc");
        for (from, to, expected) in [(0, 3, "abc"), (1, 2, "b"), (1, 9, "bc"), (3, 4, ""), (7, 9, ""), (2, 1, "")] {
            assert_eq!(cut(&bytes, from..to), expected, "{from}..{to}");
        }
    }
}
