//! What the server and the program that runs WebAssembly functions say to each other: frames over one connection.
//!
//! A frame is its length (4 bytes, little-endian), a byte for its kind, and its fields in order: numbers little-endian, texts
//! and bytes behind their length. Both sides are of one build, so there are no versions; the server still trusts nothing that
//! the program says, since it has run code of functions: every length is checked, and what is too long ends the connection.
//!
//! This crate does not know WebAssembly: it is all that the runtime needs of it.

mod fields;
mod frames;
mod outbox;

pub use fields::Malformed;
pub use frames::{Ask, Outcome, Tell};
pub use outbox::Outbox;

use bytes::{Buf as _, Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// First argument that turns the server's program into this one.
pub const PROGRAM_ARG: &str = "__wasm";
/// Second argument: runs functions.
pub const RUN: &str = "run";
/// Second argument: compiles one module and ends.
pub const COMPILE: &str = "compile";
/// Variable with what the program says first, so that no other process can take its place.
pub const TOKEN: &str = "SQUALL_WASM_TOKEN";
/// Variable with the address to connect to.
pub const ADDRESS: &str = "AWS_LAMBDA_RUNTIME_API";
/// Variable with the folder of compiled modules.
pub const MODULES: &str = "SQUALL_WASM_MODULES";
/// Variable with the most calls at a time.
pub const CALLS: &str = "SQUALL_WASM_CALLS";
/// Variable with the bytes that all linear memories together may have.
pub const MEMORY: &str = "SQUALL_WASM_MEMORY";

/// Most bytes of a function's answer, as AWS counts: 6 MB and what its own envelope takes.
pub const ANSWER_BYTES_MAX: usize = 6 * 1024 * 1024 + 100;
/// Most bytes of a module. AWS's limit is on the package; this one bounds what compiling takes.
pub const MODULE_BYTES_MAX: usize = 64 << 20;
/// Most bytes of a compiled module.
pub const COMPILED_BYTES_MAX: usize = 512 << 20;

/// Reads frames from a connection.
pub struct Frames<R> {
    from: R,
    buffer: BytesMut,
    bytes_max: usize,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    /// Frames of at most `bytes_max` bytes.
    pub fn new(from: R, bytes_max: usize) -> Self {
        Self { from, buffer: BytesMut::with_capacity(64 << 10), bytes_max }
    }

    /// The next frame without its length; `None` at the end of the connection.
    ///
    /// # Errors
    /// The connection is broken, or a frame is too long.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(head) = self.buffer.first_chunk::<4>() {
                let length = u32::from_le_bytes(*head) as usize;
                if length > self.bytes_max {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
                }
                if self.buffer.len() >= 4 + length {
                    self.buffer.advance(4);
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
                self.buffer.reserve(4 + length - self.buffer.len());
            } else {
                self.buffer.reserve(16 << 10);
            }
            if self.from.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}
