//! The parts of HTTP that codecs see: no transport type leaks in.

use bytes::Bytes;

/// A request, its body already read within the operation's bound.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// Upper-case method.
    pub method: String,
    /// Path as sent, still percent-encoded, without the query.
    pub path: String,
    /// Query as sent, without `?`.
    pub query: String,
    /// Headers in order, names in lower case. Values that are not UTF-8 are refused before they get here.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The first header of that lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers in order.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Bytes,
}
