//! SnapStart: environments of a published version that are made of a snapshot of its initialised process.
//!
//! A snapshot is the memory of a process that has run the function's init code (decision 025). The process is an instance like
//! every other, a fork of a *bare zygote* (the interpreter with our client and nothing else) in a sandbox of its own; it sends its
//! memory over its Runtime API, and the server stores it without looking into it. A further instance is a fork of the same zygote
//! in a sandbox of its own that finds the file at `/var/snapshot` and becomes the process by itself. Nothing of it has privilege.
//!
//! A snapshot lives as long as its zygote and this server; a version whose snapshot is gone gets another with its next start, and
//! until then starts as functions without SnapStart do. So it does where a snapshot cannot be ([`Made::Refused`]).

pub mod api;
mod role;

pub use role::{Role, Take};

use crate::engine::{Engine, Runtime};
use crate::environment;
use crate::instance::Instance;
use crate::launch::Zygote;
use crate::runtimes::{Family, Found};
use crate::{Function, driver, zygotes};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

/// Snapshots that are made at a time: each runs the init code of a function.
const MAKING_MAX: usize = 4;
/// What starting, sending and storing may take beyond the init code.
const SLACK: Duration = Duration::from_secs(60);

/// How the making of a snapshot has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// The version's environments are made of it.
    Snapshot,
    /// It cannot be: the reason, which the function's log has too. The version starts as others do.
    Refused(String),
    /// The init code has failed: code and text of the version's state.
    Failed {
        /// `FunctionError` or what AWS has behind it.
        code: &'static str,
        /// What happened.
        reason: String,
    },
}

/// A snapshot of a version.
pub struct Snapshot {
    /// Where it can be restored.
    pub zygote: Arc<dyn Zygote>,
    /// Its file is `image` in there.
    pub folder: Folder,
    /// By which its environments get their credentials: it is in their memory.
    pub token: String,
}

/// A folder that goes when nobody needs it any more.
pub struct Folder(pub PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!(folder = %self.0.display(), "remove a snapshot: {e}");
        }
    }
}

enum Slot {
    Making,
    Ready(Arc<Snapshot>),
    /// There cannot be one.
    Off,
}

/// Version, by name and revision.
type Key = (String, u64);

fn key(function: &Function) -> Key {
    (function.arn(), function.revision)
}

/// The snapshots of a server.
pub struct Snapshots {
    slots: Mutex<HashMap<Key, Slot>>,
    /// Bare zygotes by runtime.
    zygotes: tokio::sync::Mutex<HashMap<String, Arc<dyn Zygote>>>,
    making: Semaphore,
    folder: PathBuf,
    /// Numbers of instances that make snapshots, which the pool does not know: downwards.
    next: AtomicU64,
}

impl Snapshots {
    /// Removes what an earlier server has left: nothing can be made of it any more.
    pub fn new(data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join("snapshots");
        match std::fs::remove_dir_all(&folder) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        Ok(Self {
            slots: Mutex::default(),
            zygotes: tokio::sync::Mutex::default(),
            making: Semaphore::new(MAKING_MAX),
            folder,
            next: AtomicU64::new(u64::MAX),
        })
    }

    /// Ends all of them.
    pub fn end(&self) {
        self.slots.lock().clear();
        if let Ok(mut zygotes) = self.zygotes.try_lock() {
            zygotes.clear();
        }
    }

    /// Has the instance made of its version's snapshot if there is one; sees to it that there will be otherwise.
    pub fn choose(&self, engine: &Arc<Engine>, instance: &Instance) {
        let function = &instance.function;
        if !function.snap_start || instance.snapshot.is_in_use() {
            return;
        }
        {
            let mut slots = self.slots.lock();
            match slots.get(&key(function)) {
                Some(Slot::Ready(snapshot)) if snapshot.zygote.is_alive() => {
                    return instance.snapshot.restores_from(snapshot.clone());
                }
                Some(Slot::Making | Slot::Off) => return,
                Some(Slot::Ready(_)) | None => slots.insert(key(function), Slot::Making),
            };
        }
        let (engine, function) = (engine.clone(), function.clone());
        tokio::spawn(async move { make(&engine, &function).await });
    }

    /// Takes a snapshot that is of no use out of use; the line is for the function's log.
    pub fn give_up(&self, function: &Function, reason: &str) -> String {
        self.slots.lock().insert(key(function), Slot::Off);
        is_off(reason)
    }

    /// Forgets the snapshots of a function, or of one version of it.
    fn forget(&self, function_arn: &str, version: Option<&str>) {
        let is_meant = |arn: &str| {
            let rest = arn.strip_prefix(function_arn);
            rest.is_some_and(|r| r.strip_prefix(':').is_some_and(|v| version.is_none_or(|wanted| v == wanted)))
        };
        let mut slots = self.slots.lock();
        slots.retain(|(arn, _), _| !is_meant(arn));
        let is_used = |zygote: &Arc<dyn Zygote>| {
            slots.values().any(|s| match s {
                Slot::Ready(snapshot) => snapshot.zygote.number() == zygote.number(),
                Slot::Making => true,
                Slot::Off => false,
            })
        };
        if let Ok(mut zygotes) = self.zygotes.try_lock() {
            zygotes.retain(|_, zygote| is_used(zygote));
        }
    }

    /// The bare zygote of a runtime.
    async fn zygote(&self, engine: &Engine, found: &Found) -> Result<Arc<dyn Zygote>, String> {
        let mut zygotes = self.zygotes.lock().await;
        if let Some(zygote) = zygotes.get(&found.id).filter(|z| z.is_alive()) {
            return Ok(zygote.clone());
        }
        let none = || format!("there are no snapshots for {}", found.id);
        let mut spec = zygotes::program(engine, found, 0).ok_or_else(none)?;
        make_bare(&mut spec.argv, found.family);
        spec.id = format!("{}-bare", found.id);
        let zygote: Arc<dyn Zygote> = engine.launcher.start_zygote(spec).await.map_err(|e| e.to_string())?.into();
        zygotes.insert(found.id.clone(), zygote.clone());
        Ok(zygote)
    }
}

/// The program of a zygote whose forks load the SDK themselves where they want it.
fn make_bare(argv: &mut Vec<OsString>, family: Family) {
    if matches!(family, Family::Node(_)) {
        let packages = argv.iter().position(|a| a == "--zygote").map_or(argv.len(), |at| at + 1);
        argv.truncate(packages);
        // Text on large pages is memory without a file: all of it would be in every image.
        argv.retain(|a| !a.to_string_lossy().starts_with("--use-largepages"));
    } else {
        argv.pop();
    }
    argv.push("--bare".into());
}

fn is_off(reason: &str) -> String {
    format!("SnapStart is off for this version: {reason}. Its environments start without a snapshot.")
}

impl Runtime {
    /// Makes the snapshot of a published version with `snap_start`: runs its init code, at most 130 seconds or the function's
    /// timeout.
    pub async fn snapshot(&self, function: &Arc<Function>) -> Made {
        let engine = self.engine();
        engine.snapshots.slots.lock().insert(key(function), Slot::Making);
        make(engine, function).await
    }

    /// Forgets the snapshots of a function, or of one version of it, that is deleted.
    pub fn forget_snapshots(&self, function_arn: &str, version: Option<&str>) {
        self.engine().snapshots.forget(function_arn, version);
    }
}

/// For a slot that says `Making`.
async fn make(engine: &Arc<Engine>, function: &Arc<Function>) -> Made {
    let snapshots = &engine.snapshots;
    let (slot, made) = match prepare(engine, function).await {
        Ok(snapshot) => match run(engine, function, &snapshot).await {
            Made::Snapshot => (Slot::Ready(Arc::new(snapshot)), Made::Snapshot),
            other => (Slot::Off, other),
        },
        Err(reason) => {
            engine.output(function).platform([is_off(&reason)]);
            (Slot::Off, Made::Refused(reason))
        }
    };
    if let Made::Refused(reason) = &made {
        tracing::info!(function = %function.arn(), reason, "no snapshot");
    }
    if let Some(old) = snapshots.slots.lock().get_mut(&key(function)) {
        if let Slot::Ready(snapshot) = &slot {
            snapshot.zygote.stock(engine.options.standby);
        }
        *old = slot;
    }
    made
}

/// Where the snapshot will be, if there can be one.
async fn prepare(engine: &Arc<Engine>, function: &Arc<Function>) -> Result<Snapshot, String> {
    let found = engine.runtimes.find(&function.runtime).await?;
    if !matches!(found.family, Family::Python(_) | Family::Node(_)) {
        return Err(format!("there are no snapshots for {}", found.id));
    }
    if zygotes::reaches_start(function, found.family) {
        return Err("its environment variables reach into the start of the interpreter".into());
    }
    if function.opt_dir.as_ref().is_some_and(|opt| opt.join("extensions").is_dir()) {
        return Err("it has extensions".into());
    }
    let zygote = engine.snapshots.zygote(engine, &found).await?;
    if zygotes::shadows(function, found.family, zygote.text()) {
        return Err("its package has a module by the name of one of the runtime's own".into());
    }
    let token = engine.uuid();
    let path = engine.snapshots.folder.join(&token);
    let made = environment::private_folder(&engine.snapshots.folder).and_then(|()| environment::open_folder(&path));
    made.map_err(|e| format!("the snapshot's folder: {e}"))?;
    Ok(Snapshot { zygote, folder: Folder(path), token: engine.uuid() })
}

async fn run(engine: &Arc<Engine>, function: &Arc<Function>, snapshot: &Snapshot) -> Made {
    let snapshots = &engine.snapshots;
    let Ok(_permit) = snapshots.making.acquire().await else { return Made::Refused("the server stops".into()) };
    let (tell, told) = oneshot::channel();
    let number = snapshots.next.fetch_sub(1, Ordering::Relaxed);
    let instance = Arc::new(Instance::new(number, function.clone(), engine.clone(), engine.output(function), false));
    instance.snapshot.makes_to(Take::new(snapshot, function.memory_mb, tell));
    let patience = instance.snapshot.init_time(function, 0) + SLACK;
    tokio::spawn(driver::run(engine.clone(), instance.clone()));
    match timeout(patience, told).await {
        Ok(Ok(made)) => made,
        Ok(Err(_)) => Made::Refused("the process that was to make it was lost".into()),
        Err(_) => {
            instance.kill();
            Made::Refused("it took too long".into())
        }
    }
}
