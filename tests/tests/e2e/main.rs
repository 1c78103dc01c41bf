//! End-to-end tests: every test starts a server of its own and is one of its customers.

mod aws_cli;
mod backup;
mod bucket;
mod cli;
mod clients;
mod crash;
mod crash_streams;
mod database;
mod database_space;
mod deploy;
mod disk;
mod fuzz;
mod hostile;
mod leftovers;
mod load;
mod models;
mod moving;
mod server;
mod soak;
mod wasm;
