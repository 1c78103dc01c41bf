//! What can go wrong, as the operator reads it.

use std::io;

use crate::Level;

/// Why a sandbox or a worker could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The host cannot give the level that was asked for; the text says what is missing and what to do.
    #[error("isolation level {level} is not available: {missing}")]
    Unavailable {
        /// The level asked for.
        level: Level,
        /// What is missing and what the user can do about it.
        missing: String,
    },
    /// The spawner process could not be started.
    #[error("start the spawner: {reason}")]
    Start {
        /// The cause.
        reason: String,
    },
    /// The spawner process has ended and could not be started again in time, or this handle was shut down.
    #[error("the spawner process is gone")]
    Gone,
    /// The specification of the worker is wrong; nothing was started.
    #[error("invalid worker specification: {0}")]
    Invalid(String),
    /// The worker could not be set up or its program could not be executed.
    #[error("start worker {id}: {reason}")]
    Spawn {
        /// [`crate::Spec::id`].
        id: String,
        /// The step that failed, and why.
        reason: String,
    },
    /// An operation on a living worker failed.
    #[error("{action}: {source}")]
    Io {
        /// Verb and object.
        action: &'static str,
        /// The cause.
        source: io::Error,
    },
}
