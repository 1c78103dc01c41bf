//! WebAssembly functions: a package with a `bootstrap.wasm` (or `bootstrap.wat`), run by a program of its own in a sandbox (decision 022).
//!
//! The pool sees environments as of any runtime: they start, wait, are frozen (which costs them nothing) and end. An environment
//! here is no process but a compiled module that the program holds ready; each call on it has a new instance.
//! [`artefacts`] compiles modules and keeps the results, [`program`] is the connection to the program, [`environment`] the life
//! of one environment.

mod artefacts;
mod environment;
mod program;

pub use artefacts::WasmRefused;
pub use environment::run;
pub use squall_wasm_wire::MODULE_BYTES_MAX;

use parking_lot::Mutex;
use program::Link;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Identifier of the runtime. AWS has none for WebAssembly: an extension.
pub const RUNTIME: &str = "wasm";
/// The module in a package: the first of these names, binary before text; what it is its content says.
pub const MODULES: [&str; 2] = ["bootstrap.wasm", "bootstrap.wat"];
/// Modules that are compiled at a time.
const COMPILING_MAX: usize = 2;

/// The program that runs WebAssembly functions.
#[derive(Clone, Debug)]
pub struct WasmProgram {
    /// Its file; it is told by its first argument what it is.
    pub exe: PathBuf,
    /// Version of its engine.
    pub version: String,
}

/// What the server knows of modules, and the program that runs them.
pub struct Wasm {
    program: Option<WasmProgram>,
    /// Folder of compiled modules.
    folder: PathBuf,
    /// Most bytes that linear memories together may have.
    memory_bytes: u64,
    /// Most calls at a time.
    calls_max: u32,
    compiling: Semaphore,
    /// The file of the compiled module, by folder of the package.
    known: Mutex<HashMap<PathBuf, String>>,
    link: tokio::sync::Mutex<Option<Arc<Link>>>,
}

/// Most calls at a time, whatever the account may run: each takes 16 GiB of address space.
const CALLS_MAX: u32 = 2000;

impl Wasm {
    pub fn new(options: &crate::Options) -> Self {
        Self {
            program: options.wasm.clone(),
            folder: options.data_dir.join("cache/wasm"),
            memory_bytes: options.wasm_memory_mb << 20,
            calls_max: options.concurrency.clamp(1, CALLS_MAX),
            compiling: Semaphore::new(COMPILING_MAX),
            known: Mutex::default(),
            link: tokio::sync::Mutex::default(),
        }
    }

    /// Ends the program.
    pub async fn end(&self) {
        self.link.lock().await.take();
    }
}
