//! Wake-ups by name: whoever waits for a queue or a stream part subscribes before it looks, so none is missed.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

/// A set of named signals. A name costs memory only while somebody listens.
pub struct Signals<K>(Mutex<HashMap<K, watch::Sender<()>>>);

impl<K> Default for Signals<K> {
    fn default() -> Self {
        Signals(Mutex::default())
    }
}

impl<K: Eq + Hash> Signals<K> {
    /// Listens: `changed()` ends after the next [`Signals::notify`] of this name.
    pub fn listen(&self, name: K) -> watch::Receiver<()> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.entry(name).or_insert_with(|| watch::Sender::new(())).subscribe()
    }

    /// Wakes everybody who listens to these names.
    pub fn notify<'k>(&self, names: impl IntoIterator<Item = &'k K>)
    where
        K: 'k,
    {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if map.is_empty() {
            return;
        }
        for name in names {
            if map.get(name).is_some_and(|sender| sender.send(()).is_err()) {
                map.remove(name);
            }
        }
    }
}
