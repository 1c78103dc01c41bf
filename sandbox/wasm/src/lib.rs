//! The program that runs WebAssembly functions: a process inside a sandbox, one instance per call.
//!
//! The server starts itself again as this program, in a sandbox without a way out, and speaks with it over one connection
//! (`squall-wasm-wire`). It has two forms: one runs the calls of all functions, another compiles a single module and ends.
//! Neither sees the server's state, another package, or a role's credentials: a flaw of the engine gives what a function of any
//! runtime could have had, the inside of a sandbox, and the memory of calls that run beside it.
//!
//! Invariants:
//! - every call has an instance of its own, made from the compiled module and dropped after it: nothing is left for the next;
//! - linear memory is bounded per call and over all calls, answers and logs by length, time by the caller's deadline;
//! - what spins gives way every millisecond, so that a deadline is met and neighbours go on;
//! - only compiled code that this crate has written is loaded ([`artefact`]).
//!
//! What a function sees: its event on stdin, variables, clocks and randomness. No files, no network.
#![allow(unsafe_code, reason = "compiled code is loaded by a function that must trust it")]

mod artefact;
mod call;
mod engine;
mod pulse;
mod serve;
mod streams;
#[cfg(test)]
mod tests;

pub use squall_wasm_wire::PROGRAM_ARG;
use squall_wasm_wire::{COMPILE, RUN};
use std::process::ExitCode;

/// The engine's version: names what it has compiled.
pub const ENGINE_VERSION: &str = "48.0.8";

/// The program; `form` is [`RUN`] or [`COMPILE`]. Its settings are variables, its messages go to stderr.
#[must_use]
pub fn main(form: &str) -> ExitCode {
    let done = match form {
        RUN => serve::run(),
        COMPILE => serve::compile(),
        _ => Err(std::io::Error::other(format!("no such form: {form}"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}
