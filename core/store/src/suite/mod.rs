//! The behavioural suite that every engine passes, the comparison of two engines under random programs, and concurrent
//! histories that must be explainable.
//!
//! An engine's test makes a [`Fixture`] per case and calls [`run`]; for each of some [`seeds`] it calls [`compare`] and
//! [`histories`]. Everything here asserts, so it is for tests only.

mod checks;
mod claims;
mod dice;
mod dumps;
mod histories;
mod lanes;
mod lists;
pub mod objects;
mod queues;
mod random;
mod rows;
mod streams;
mod transfers;
mod watches;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use squall_types::{ManualClock, Millis};

use crate::{Key, Kind, Row, State, StateExt, envelope};

pub use dice::{SECS_ENV, SEED_ENV, seeds};
pub use histories::histories;
pub use random::compare;

/// An empty engine and a hand on its clock.
pub struct Fixture {
    /// The engine.
    pub state: Arc<dyn State>,
    /// Moves the engine's time forward.
    pub advance: Box<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>,
    /// Whatever must live as long as the engine (its folder).
    pub keep: Box<dyn Any + Send + Sync>,
}

impl Fixture {
    /// An engine that follows a manual clock.
    pub fn manual(state: Arc<dyn State>, clock: Arc<ManualClock>, keep: impl Any + Send + Sync) -> Fixture {
        let advance = move |by| {
            clock.advance(by);
            Box::pin(std::future::ready(())) as BoxFuture<'static, ()>
        };
        Fixture { state, advance: Box::new(advance), keep: Box::new(keep) }
    }

    async fn advance(&self, millis: u64) {
        (self.advance)(Duration::from_millis(millis)).await;
    }

    fn after(&self, millis: i64) -> Millis {
        Millis(self.state.now().0 + millis)
    }

    async fn value(&self, key: &Key) -> Option<Vec<u8>> {
        body(self.state.get(key.clone()).await.expect("read"))
    }
}

/// Runs every case, each on an engine of its own.
///
/// # Panics
/// When the engine breaks the contract.
pub async fn run(make: impl Fn() -> Fixture) {
    rows::run(&make).await;
    checks::run(&make).await;
    queues::run(&make).await;
    streams::run(&make).await;
    dumps::run(&make).await;
}

const KV: Kind = Kind::kv(0x7f, 1);
const IX: Kind = Kind::ix(0x7f, 2);

fn kv(name: &str) -> Key {
    Key::new(KV, 70_000, 0).raw(name.as_bytes())
}

fn ix(name: &str) -> Key {
    Key::new(IX, 70_000, 0).raw(name.as_bytes())
}

fn val(text: &str) -> Bytes {
    envelope::seal(text.as_bytes())
}

fn body(row: Option<Row>) -> Option<Vec<u8>> {
    row.map(|row| envelope::open(&row.value).expect("envelope").to_vec())
}

fn names(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| String::from_utf8_lossy(row.key.parts().rest()).into_owned()).collect()
}
