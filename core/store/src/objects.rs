//! Large bytes beside the state: function packages now, object bodies later.
//!
//! Shape: slash-separated names → immutable bytes. A name is written once as a whole; writing it again replaces it atomically.

use crate::Bytes;
use async_trait::async_trait;

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

/// A store of immutable byte strings by name.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Durable when it returns.
    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), ObjectError>;
    /// The bytes, or `None` when there is no such object.
    async fn get(&self, name: &str) -> Result<Option<Bytes>, ObjectError>;
    /// Removes the object; absent ones are fine.
    async fn delete(&self, name: &str) -> Result<(), ObjectError>;
    /// Names that begin with `prefix`, sorted.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, ObjectError>;
}

/// Names are 1 to 512 bytes of `[A-Za-z0-9._-]` segments joined by `/`, none of them `.` or `..` or empty.
#[must_use]
pub fn is_valid_name(name: &str) -> bool {
    let clean = |s: &str| {
        !matches!(s, "" | "." | "..") && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    name.len() <= 512 && name.split('/').all(clean)
}

#[cfg(test)]
mod tests {
    use super::is_valid_name;

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
}
