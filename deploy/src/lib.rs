//! What the client commands do: serverless.yml to resources, applied through the AWS APIs.
//!
//! The way of a deploy: [`yaml`] reads the file with positions, [`vars`] and [`intrinsics`] replace what stands for
//! something else, [`config`] types it and refuses what is not served, [`model`] expands it to a stack, [`package`] zips the
//! code, `apply` makes the cloud match, over the wire and signed like any other customer.
//!
//! This crate knows no room and no engine: it is a client. What was deployed is kept by the cloud as a [`Record`].

mod apply;
pub mod client;
mod command;
pub mod config;
pub mod demo;
mod error;
pub mod intrinsics;
pub mod model;
pub mod package;
mod record;
mod table;
mod template;
pub mod vars;
pub mod yaml;

pub use apply::Progress;
pub use command::{
    Deployed, FunctionLine, Invoked, Listing, LogLine, LogOptions, Options, Removed, StackLine, invoke, list, logs,
    remove, run,
};
pub use error::Error;
pub use record::{ApiRecord, Endpoint, FunctionRecord, Record, TableRecord};
