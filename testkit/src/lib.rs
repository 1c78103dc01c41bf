//! Starts servers for tests and drives them: with real clients (boto3, the AWS CLI, the AWS SDK for JavaScript, `squall`
//! itself) and with raw HTTP.
//!
//! Each [`Server`] is a process of its own on a free port with its own data directory. It ends with its value. What it wrote
//! to stderr is printed when the test fails. Everything here blocks and panics on failure: it is for tests.

mod bucket;
mod http;
mod postgres;
mod process;
mod server;
mod tools;

pub use bucket::Bucket;
pub use http::{Response, send, signed};
pub use postgres::{Postgres, PostgresOptions, SHARED_ENV, postgres_bin, postgres_schema};
pub use process::{Finished, is_alive, run, signal, until};
pub use server::{Credentials, Options, Server};
pub use tools::{clients, node_modules, python, repository, sdk_dir, squall};
