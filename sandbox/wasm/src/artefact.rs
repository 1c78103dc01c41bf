//! Compiled modules as files.
//!
//! A file is a SHA-256 of the rest, a byte that tells modules (0) from components (1), and what the engine made. The folder is
//! the server's alone to write, which the server checks before it starts this program, and is seen read-only here; the digest is
//! against files that are cut or rotten. The engine itself refuses what another version or another processor has made.

use crate::call::Store;
use crate::engine::Machine;
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::Path;
use wasmtime::InstancePre;
use wasmtime_wasi::p2::bindings::CommandPre;

const DIGEST_BYTES: usize = 32;

/// A module whose imports are resolved: an instance is made from it for each call.
pub enum Loaded {
    /// A core module with preview 1's imports.
    Core(InstancePre<Store>),
    /// A component of the world `wasi:cli/command`.
    Component(CommandPre<Store>),
}

/// The bytes of the file for what the engine compiled.
#[must_use]
pub fn seal(is_core: bool, compiled: &[u8]) -> Vec<u8> {
    let kind = u8::from(!is_core);
    let digest = Sha256::new().chain_update([kind]).chain_update(compiled).finalize();
    [digest.as_slice(), &[kind], compiled].concat()
}

/// Loads a file.
///
/// # Errors
/// It is not there, damaged, or of another engine: it is to be made anew.
pub fn load(machine: &Machine, path: &Path) -> io::Result<Loaded> {
    let file = std::fs::read(path)?;
    let (digest, rest) = file.split_at_checked(DIGEST_BYTES).ok_or(io::ErrorKind::UnexpectedEof)?;
    if Sha256::digest(rest).as_slice() != digest {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the compiled module is damaged"));
    }
    let (kind, compiled) = rest.split_first().ok_or(io::ErrorKind::UnexpectedEof)?;
    // SAFETY: the file's folder is written by the server alone, from what `Machine::compile` returned in this program's other
    // form; the digest has shown that it is whole.
    let loaded = unsafe { machine.load(compiled, *kind == 0) };
    loaded.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("{e:#}")))
}
