//! A zygote as its owner holds it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

use crate::handle::{Inner, send};
use crate::wire::{Order, PACKET_BYTES_MAX};
use crate::{Error, ZygoteSpec};

/// How long an interpreter may load before it counts as failed; with a large SDK on a busy machine it takes seconds.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Where a zygote is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ZygoteState {
    Starting,
    /// With its interpreter's text.
    Ready(String),
    /// With the reason.
    Gone(String),
}

/// A living zygote. Dropping it ends the zygote, not the workers that were forked from it.
pub struct Zygote {
    number: u64,
    text: String,
    state: watch::Receiver<ZygoteState>,
    sandbox: Arc<Inner>,
}

impl Inner {
    /// Starts a zygote and waits until workers can be forked from it.
    pub(crate) async fn start_zygote(self: &Arc<Self>, spec: ZygoteSpec) -> Result<Zygote, Error> {
        let id = spec.id.clone();
        let inner = self;
        let number = inner.seq.fetch_add(1, Ordering::Relaxed);
        let packet = Order::Zygote { zygote: number, spec: Box::new(spec) }.encode();
        if packet.len() > PACKET_BYTES_MAX {
            return Err(Error::Invalid(format!("arguments and environment exceed {PACKET_BYTES_MAX} bytes")));
        }
        let (tell, state) = watch::channel(ZygoteState::Starting);
        inner.zygotes().insert(number, tell);
        // From here on dropping it cleans up, also when the caller does not wait to the end.
        let mut zygote = Zygote { number, text: String::new(), state: state.clone(), sandbox: inner.clone() };
        send(&inner.socket, &packet).await.map_err(|_| Error::Gone)?;
        let mut state = state;
        let settled = state.wait_for(|s| *s != ZygoteState::Starting);
        let reason = match tokio::time::timeout(READY_TIMEOUT, settled).await {
            Ok(Ok(settled)) => match &*settled {
                ZygoteState::Ready(text) => {
                    zygote.text.clone_from(text);
                    drop(settled);
                    return Ok(zygote);
                }
                ZygoteState::Gone(reason) => reason.clone(),
                ZygoteState::Starting => "it is still starting".into(),
            },
            Ok(Err(_)) => return Err(Error::Gone),
            Err(_) => format!("not ready within {READY_TIMEOUT:?}"),
        };
        Err(Error::Spawn { id, reason })
    }
}

impl Zygote {
    /// What [`crate::Start::Fork`] names it by.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What its interpreter said of itself when it was ready.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether workers can be forked from it.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        // The sender goes away with the spawner.
        self.state.has_changed().is_ok() && matches!(&*self.state.borrow(), ZygoteState::Ready(_))
    }

    /// How many forks are kept in prepared sandboxes, waiting for their function; 0 at first. Only at [`crate::Level::Full`].
    pub fn stock(&self, count: usize) {
        self.sandbox.order(&Order::Stock { zygote: self.number, count });
    }

    /// Waits until it is gone; why.
    pub async fn gone(&self) -> String {
        let mut state = self.state.clone();
        match state.wait_for(|s| matches!(s, ZygoteState::Gone(_))).await {
            Ok(state) => match &*state {
                ZygoteState::Gone(reason) => reason.clone(),
                _ => String::new(),
            },
            Err(_) => "the spawner ended".into(),
        }
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        self.sandbox.zygotes().remove(&self.number);
        // The socket does not wait; if it is full, the zygote stays until the spawner ends.
        self.sandbox.order(&Order::EndZygote { zygote: self.number });
    }
}
