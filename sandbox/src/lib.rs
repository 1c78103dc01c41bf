//! Isolates one worker process: create, limit, freeze, kill.
//!
//! A small single-threaded *spawner* process (this program, executed again) does all cloning and mounting; the
//! server's threads never fork. The spawner keeps a pool of prepared sandboxes: namespaces, listeners, read-only root,
//! `/tmp` image and cgroups are made before a request needs them, so that a spawn only binds the code and executes.
//!
//! Invariants: nothing that a worker could have changed is ever used twice; a worker's death ends every process in it; the
//! death of the server ends every worker; the level that was asked for is the level in force, or `start` fails.
//!
//! This crate does not speak the Runtime API and knows nothing of functions: it hands out listening sockets.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "namespaces, mounts, seccomp and descriptor passing have no safe interface in std")]

mod cgroup;
pub mod datagrams;
mod egress;
mod error;
mod handle;
mod keeper;
mod probe;
mod spawner;
mod spec;
mod sys;
mod wire;
mod worker;
mod zygote;

pub use egress::{Egress, NAME_SERVER, Network, Route};
pub use error::Error;
pub use keeper::Sandbox;
pub use probe::{Feature, Report, probe};
pub use spawner::spawner_main;
pub use spec::{Exit, Level, Mount, Options, PoolStats, Reach, Spec, Start, ZygoteSpec};
pub use worker::{Control, EgressSockets, Worker};
pub use zygote::Zygote;

/// The core of zygotes as a shared library (`zygote/README.md`): to be written where an interpreter can load it.
pub const ZYGOTE_LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/zygote.so"));
/// The same with Node's side, as an addon of Node.js (`zygote/node.c`).
pub const ZYGOTE_NODE_ADDON: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/zygote.node"));
