//! The `squall` binary: reads settings once, opens the engine, builds the rooms, serves, shuts down. No logic of its own.

mod backup;
mod cli;
mod client;
mod config;
mod cost;
mod credentials;
mod demo;
mod doctor;
mod engine;
mod floors;
mod internal;
mod moving;
mod rooms;
mod up;

use clap::Parser as _;
use cli::{Cli, Command};
use std::process::ExitCode;

/// Requests make many small, short-lived allocations on several threads, which glibc's allocator serves slowly: see
/// `docs/decisions/004-allocator.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The spawner clones processes, so it must be this program before any thread exists.
    if std::env::args_os().nth(1).is_some_and(|a| a == rooms::SPAWNER_ARG) {
        squall_sandbox::spawner_main();
    }
    #[cfg(feature = "wasm")]
    if std::env::args_os().nth(1).is_some_and(|a| a == squall_wasm::PROGRAM_ARG) {
        return squall_wasm::main(&std::env::args().nth(2).unwrap_or_default());
    }
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("squall: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    // Engines work on several threads.
    let server = matches!(command, Command::Up(_) | Command::Demo(_) | Command::Export(_) | Command::Import(_));
    let mut builder = if server {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = builder.enable_all().build()?;
    let done = runtime.block_on(async {
        match command {
            Command::Up(args) => up::run(args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Doctor(args) => doctor::run(args).await,
            Command::Env(args) => client::env(&args),
            Command::Deploy(args) => client::deploy(args).await,
            Command::Invoke(args) => client::invoke(args).await,
            Command::Logs(args) => client::logs(args).await,
            Command::Ls(args) => client::ls(args).await,
            Command::Cost(args) => cost::run(args).await,
            Command::Rm(args) => client::rm(args).await,
            Command::Backup(args) => client::backup(args).await,
            Command::Restore(args) => client::restore(args),
            Command::Export(args) => moving::command::export(args).await,
            Command::Import(args) => moving::command::import(args).await,
        }
    });
    // Blocking work that nobody waits for any more must not hold the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    done
}
