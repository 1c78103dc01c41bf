//! The platform's own pages under `/_squall/`.

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

/// The answer of an internal page.
pub struct InternalReply {
    /// HTTP status.
    pub status: u16,
    /// Media type.
    pub content_type: &'static str,
    /// Body, whole.
    pub body: Bytes,
    /// More of the body, sent as it comes; an error cuts the connection so that the client sees that it is not whole.
    pub stream: Option<mpsc::Receiver<std::io::Result<Bytes>>>,
}

impl InternalReply {
    /// A JSON answer.
    #[must_use]
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self { status, content_type: "application/json", body: body.to_string().into(), stream: None }
    }
}

/// Serves `/_squall/…`; the app implements it.
#[async_trait]
pub trait Internal: Send + Sync {
    /// Whether the page is open to everybody (`health`); all others are for signed requests (service name `squall`).
    fn is_public(&self, method: &str, path: &str) -> bool;

    /// Whether the page is for root alone, whatever policies say.
    fn is_for_root(&self, path: &str) -> bool {
        let _ = path;
        false
    }

    /// Answers. `path` is what follows `/_squall/`, percent-encoded as sent.
    async fn page(&self, method: &str, path: &str, query: &str, body: Bytes) -> InternalReply;
}
