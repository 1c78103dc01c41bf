//! The invocation core: takes requests for functions and runs them in isolated instances.
//!
//! A request waits on its function's queue and is taken by whichever instance is ready first (late binding). The decisions
//! are a pure state machine ([`pool`](mod@pool)); around it a thin driver starts instances through a [`Launcher`], speaks
//! the Lambda Runtime API with them, enforces timeouts, reads what they print and writes AWS's log lines.
//!
//! Invariants:
//! - a request that was admitted is answered exactly once, whatever its instance does;
//! - an instance runs one request at a time, and only when it has asked for one;
//! - nothing on the warm path waits for the disk; instances are soft state;
//! - what an instance sends or prints is bounded before it is kept.
//!
//! How an instance comes to life is the [`Launcher`]'s affair: a started interpreter today, a fork of a prepared one later;
//! everything after its first request to the Runtime API is the same.
//!
//! This crate does not know versions, aliases, policies or packages: the lambda room resolves those and hands over a
//! [`Function`].
#![cfg(target_os = "linux")]

mod api;
mod client;
mod driver;
mod egress;
mod engine;
mod environment;
mod error;
mod extensions;
mod function;
mod http;
mod instance;
pub mod keepalive;
mod launch;
mod logline;
mod options;
mod output;
mod platform;
mod pool;
mod process;
pub mod runtimes;
mod sandboxed;
mod scaling;
pub mod sdk;
mod snapshots;
mod standby;
mod wasm;
mod zygotes;

pub use egress::Setting as Egress;
pub use engine::{Runtime, Stats};
pub use error::{InvokeError, ThrottleReason};
pub use function::{Function, JsonLog, Request};
pub use launch::{
    EndpointServer, Exit, LaunchError, Launcher, Mount, Source, Spec, Started, Worker, Zygote, ZygoteSpec,
};
pub use options::{Host, Options};
pub use pool::Provisioned;
pub use process::ProcessLauncher;
pub use sdk::SdkState;
pub use snapshots::Made;
pub use wasm::{
    MODULE_BYTES_MAX as WASM_MODULE_BYTES_MAX, MODULES as WASM_MODULES, RUNTIME as WASM_RUNTIME, WasmProgram,
    WasmRefused,
};
pub use zygotes::ZygoteState;
