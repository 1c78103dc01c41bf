//! The state trait, the key codec and the suite that every engine passes.
//!
//! A room keeps everything that must survive a crash behind [`State`]: rows under ordered keys, queues of due entries,
//! and dense change streams. It ships *intents*: a [`Txn`] holds checks and mutations as data, and one pure [`Rule`]
//! where a condition is needed; the engine decides when and how often to run it. Nothing here does I/O.
//!
//! ```ignore
//! let txn = Txn::new().rule([item.clone()], move |view, out| {
//!     if view.row(0).is_some() {
//!         return Err(Taken);
//!     }
//!     out.put(item.clone(), envelope::seal(body));
//!     Ok(())
//! });
//! match state.run::<(), Taken>(txn).await? { Ok(()) => .., Err(Taken) => .. }
//! ```
//!
//! Invariants every engine keeps:
//! - A `Txn` is atomic; an answer of `Ok` means it survives a crash (unless it asked for [`Durability::Lazy`]).
//! - A rejected `Txn` leaves no trace, and never harms another one that was written in the same batch.
//! - All operations of one `read` see one snapshot; a strong read sees every acknowledged commit.
//! - Stream sequence numbers are dense: 1, 2, 3, … per (stream, part).
//!
//! What is not here: values over 1 MiB (they belong in objects), log lines, anything that knows a service.

#[cfg(feature = "engine")]
pub mod engine;
pub mod envelope;
mod error;
pub mod ids;
mod key;
pub mod limits;
pub mod objects;
mod queue;
mod read;
mod record;
mod rule;
mod state;
mod stream;
#[cfg(feature = "suite")]
pub mod suite;
mod txn;

pub use bytes::Bytes;
pub use error::{Error, Result};
pub use futures_util::stream::BoxStream;
pub use key::{Key, KeyParts, Kind, hash16, slot_of};
pub use queue::{ClaimSpec, Claimed, Handle, Queue};
pub use read::{Consistency, Fold, Keep, Page, Range, ReadOp, ReadOut, Row, Sift};
pub use record::{FORMAT, Record};
pub use rule::{Reply, Rule, View};
pub use state::{State, StateExt};
pub use stream::{Change, Part};
pub use txn::{Check, Committed, Durability, Mutation, Mutations, Settle, Stamp, Txn};
