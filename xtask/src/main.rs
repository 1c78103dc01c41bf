//! Developer commands: `cargo xtask test`, `check`, `soak`, `codegen` and `new-room`.

mod codegen;
mod new_room;
mod run;
mod tools;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of this repository")]
struct Cli {
    #[command(subcommand)]
    command: Cmd,
}

#[derive(Subcommand)]
enum Cmd {
    /// Installs the clients that tests drive and runs all tests.
    Test(run::TestArgs),
    /// Formatting, generated code, lints, house rules and all tests: what must hold before a change lands.
    Check,
    /// The long forms of what tests do shortly: cold starts, kills, bursts, hostile functions, Node.js in forks.
    Soak(run::SoakArgs),
    /// Generates each room's API from models/.
    ///
    /// To serve one operation more: add its name to models/SERVICE/ops.toml, run `cargo xtask codegen`, and implement the
    /// new method of the room's `Api` trait. `no_constraints` and `optional` in ops.toml take `Operation.Member` or
    /// `Structure.Member` where a room checks a member by itself, because AWS words that error differently.
    Codegen(codegen::Args),
    /// Makes the skeleton of a new service and wires it in (docs/adding-a-service.md).
    NewRoom(new_room::Args),
}

fn main() -> Result<ExitCode> {
    let root = root()?;
    let is_good = match Cli::parse().command {
        Cmd::Test(args) => run::test(&root, &args)?,
        Cmd::Check => run::check(&root)?,
        Cmd::Soak(args) => run::soak(&root, &args)?,
        Cmd::Codegen(args) => codegen::run(&root, &args).map(|()| true)?,
        Cmd::NewRoom(args) => new_room::run(&root, &args).map(|()| true)?,
    };
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The repository's root: the folder above this crate.
fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().context("xtask lies in the repository")?.to_path_buf())
}
