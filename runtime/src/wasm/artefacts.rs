//! Compiled modules: made when a package comes, kept as files, made again where they are missing.
//!
//! Compiling is work on what a stranger has written, so it happens in a process of its own, in a sandbox, with limits of time and
//! memory. Files are named by the SHA-256 of the module and the engine's version. They are a cache: any of them may be deleted.

use super::{MODULE_BYTES_MAX, MODULES, RUNTIME, Wasm};
use crate::InvokeError;
use crate::Runtime;
use crate::driver::StartError;
use crate::engine::Engine;
use crate::logline::Failure;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use squall_wasm_wire::{Ask, COMPILE, COMPILED_BYTES_MAX, Tell};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::time::timeout;

/// How long a module may be compiled.
const COMPILE_TIME: Duration = Duration::from_secs(60);
/// What compiling it may take of memory.
const COMPILE_BYTES: u64 = 3 << 30;
/// Bytes of compiled modules that are kept; beyond, the oldest go.
const KEPT_BYTES_MAX: u64 = 4 << 30;
/// Packages whose module is remembered; beyond, the memory begins anew.
const KNOWN_MAX: usize = 20_000;

/// Why a module cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WasmRefused {
    /// Its author's fault.
    #[error("{0}")]
    Module(String),
    /// The host's or ours.
    #[error("{0}")]
    Host(String),
}

impl Runtime {
    /// Compiles a module, so that its first call need not, and says what is wrong with it.
    ///
    /// # Errors
    /// It is no module that can be run, or it could not be compiled here.
    pub async fn check_wasm(&self, module: Bytes) -> Result<(), WasmRefused> {
        let engine = self.engine();
        engine.wasm.compiled(engine, module).await.map(|_| ())
    }

    /// Finds the compiled module of an unpacked package, so that its first call need not read and digest the module. Where that
    /// fails the first call says why.
    pub async fn know_wasm(&self, code: &Path) {
        let engine = self.engine();
        let _ = engine.wasm.module_of(engine, code).await;
    }
}

impl Wasm {
    /// The compiled module of an unpacked package: its file's name.
    pub async fn module_of(&self, engine: &Engine, code: &Path) -> Result<String, StartError> {
        if let Some(file) = self.known.lock().get(code) {
            return Ok(file.clone());
        }
        let paths = MODULES.map(|name| code.join(name));
        let read = tokio::task::spawn_blocking(move || read_module(&paths)).await;
        let module = match read {
            Ok(Ok(module)) => module,
            Ok(Err(_)) => {
                let names = MODULES.map(|name| format!("/var/task/{name}")).join(" ");
                return Err(refused(format!("Couldn't find valid bootstrap(s): [{names}]")));
            }
            Err(e) => return Err(StartError::Platform(InvokeError::Start(format!("read a module: {e}")))),
        };
        let file = self.compiled(engine, module).await.map_err(|e| match e {
            WasmRefused::Module(text) => refused(text),
            WasmRefused::Host(text) => StartError::Platform(InvokeError::Start(text)),
        })?;
        let mut known = self.known.lock();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(code.to_owned(), file.clone());
        Ok(file)
    }

    /// Forgets what was compiled for a package, so that it is made anew.
    pub fn forget(&self, code: &Path) {
        if let Some(file) = self.known.lock().remove(code) {
            // Gone already is as good.
            let _ = fs::remove_file(self.folder.join(file));
        }
    }

    /// The file's name of a compiled module, compiled now where it is not there.
    pub async fn compiled(&self, engine: &Engine, module: Bytes) -> Result<String, WasmRefused> {
        if module.len() > MODULE_BYTES_MAX {
            return Err(WasmRefused::Module(format!("the module must be smaller than {MODULE_BYTES_MAX} bytes")));
        }
        let Some(program) = &self.program else {
            return Err(WasmRefused::Host(format!("this build does not serve the runtime {RUNTIME}")));
        };
        let host = |e: io::Error| WasmRefused::Host(format!("keep a compiled module: {e}"));
        let hex: String = Sha256::digest(&module).iter().map(|b| format!("{b:02x}")).collect();
        let file = format!("{hex}-{}.cwasm", program.version);
        if self.folder.join(&file).is_file() {
            return Ok(file);
        }
        let _turn = self.compiling.acquire().await.map_err(|e| WasmRefused::Host(e.to_string()))?;
        if self.folder.join(&file).is_file() {
            return Ok(file);
        }
        let compiled = self.compile(engine, module).await?;
        let (folder, name, staged) = (self.folder.clone(), file.clone(), engine.uuid());
        let kept = tokio::task::spawn_blocking(move || keep(&folder, &name, &staged, &compiled)).await;
        kept.map_err(|e| host(io::Error::other(e)))?.map_err(host)?;
        Ok(file)
    }

    async fn compile(&self, engine: &Engine, module: Bytes) -> Result<Bytes, WasmRefused> {
        let started = self.start(engine, COMPILE, COMPILE_BYTES, Vec::new(), COMPILED_BYTES_MAX).await;
        let mut program = started.map_err(WasmRefused::Host)?;
        program.outbox.push(|out| Ask::Compile { module }.write(out));
        let answer = timeout(COMPILE_TIME, program.frames.next()).await;
        program.worker.kill();
        match answer {
            Ok(Ok(Some(frame))) => match Tell::read(frame) {
                Ok(Tell::Compiled(Ok(compiled))) => Ok(compiled),
                Ok(Tell::Compiled(Err(text))) => Err(WasmRefused::Module(text)),
                _ => Err(WasmRefused::Host("the compiler of WebAssembly answered something else".into())),
            },
            // It has ended: most likely by its limit of memory, or by a flaw that this module met.
            Ok(_) => Err(WasmRefused::Module("the module could not be compiled: the compiler has ended on it".into())),
            Err(_) => {
                let secs = COMPILE_TIME.as_secs();
                Err(WasmRefused::Module(format!("the module could not be compiled in {secs} seconds")))
            }
        }
    }

    /// The folder of compiled modules: made where it is not there, and nobody else's to write.
    pub fn make_folder(&self) -> io::Result<()> {
        // Read by the sandbox's user through a mount; the data directory around it is closed to others.
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&self.folder)?;
        let (meta, own) = (fs::symlink_metadata(&self.folder)?, fs::metadata("/proc/self")?);
        if !meta.is_dir() || meta.uid() != own.uid() || meta.mode() & 0o022 != 0 {
            return Err(io::Error::other("it must belong to the server's user, and nobody else may write it"));
        }
        // Whatever the server's umask is.
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o755))
    }
}

fn refused(message: String) -> StartError {
    let failure = Failure { kind: "Runtime.InvalidEntrypoint".into(), message };
    StartError::Function { kind: failure.kind.clone(), payload: failure.payload().into() }
}

fn read_module(paths: &[PathBuf]) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    // A link of the package must not lead to a file of the host.
    let is_file = |path: &&PathBuf| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
    let path = paths.iter().find(is_file).ok_or(io::ErrorKind::NotFound)?;
    fs::File::open(path)?.take(MODULE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// Writes the file whole or not at all, first by a name of nobody else's, and makes room for it.
fn keep(folder: &Path, name: &str, staged: &str, compiled: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    make_room(folder, KEPT_BYTES_MAX.saturating_sub(compiled.len() as u64))?;
    let staged = folder.join(format!("{staged}.tmp"));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&staged)?;
    file.write_all(compiled)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    drop(file);
    fs::rename(staged, folder.join(name))
}

/// Deletes the oldest files until no more than `bytes` are left.
fn make_room(folder: &Path, bytes: u64) -> io::Result<()> {
    let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        files.push((meta.modified()?, meta.len(), entry.path()));
    }
    files.sort();
    let mut held: u64 = files.iter().map(|(_, size, _)| size).sum();
    for (_, size, path) in files {
        if held <= bytes {
            break;
        }
        fs::remove_file(path)?;
        held -= size;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (name, secs) in [("b", 20), ("a", 30), ("c", 10)] {
            fs::write(dir.path().join(name), [0; 10]).expect("write");
            let file = fs::File::options().write(true).open(dir.path().join(name)).expect("open");
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(secs)).expect("date");
        }
        make_room(dir.path(), 15).expect("room");
        let left: Vec<_> = fs::read_dir(dir.path()).expect("list").flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["a"]);
        keep(dir.path(), "d", "own", b"new").expect("kept");
        assert_eq!(fs::read(dir.path().join("d")).expect("read"), b"new");
    }
}
