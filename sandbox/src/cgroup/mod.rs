//! Limits on memory, processes and CPU, and the freezer, over both generations of cgroups.
//!
//! One [`Group`] is one worker. Groups live below a base directory whose name is stable for a run directory, so that a
//! restart finds what a crash left. Version 1 with its separate hierarchies is what the reference machine has; version
//! 2 is written to the kernel's documentation and was not run on such a host yet.

mod v1;
mod v2;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Spec;
use crate::wire::{Malformed, Reader, Writer};

/// What is limited for one worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub memory_bytes: u64,
    pub pids_max: u64,
    pub cpu_shares: u64,
    pub cpu_quota_percent: Option<u32>,
}

impl From<&Spec> for Limits {
    fn from(s: &Spec) -> Limits {
        Limits {
            memory_bytes: s.memory_bytes,
            // The worker's init is no concern of the function.
            pids_max: u64::from(s.pids_max) + 1,
            cpu_shares: s.cpu_shares,
            cpu_quota_percent: s.cpu_quota_percent,
        }
    }
}

/// The cgroup of one worker.
pub(crate) trait Group: Send + Sync {
    fn create(&self) -> io::Result<()>;
    /// Moves the calling process in.
    fn join(&self) -> io::Result<()>;
    /// Files into which a process that can see no path of the host writes "0" to move in.
    fn doors(&self) -> io::Result<Vec<OwnedFd>>;
    fn limit(&self, limits: &Limits) -> io::Result<()>;
    fn set_frozen(&self, frozen: bool) -> io::Result<()>;
    fn memory_peak_bytes(&self) -> u64;
    /// How many processes the kernel killed for memory.
    fn oom_kills(&self) -> u64;
    /// A descriptor that becomes readable when memory ran out; `None` where the kernel itself kills the whole group.
    fn watch_oom(&self) -> io::Result<Option<OwnedFd>>;
    fn processes(&self) -> Vec<i32>;
    fn remove(&self) -> io::Result<()>;
}

/// The place where groups are made.
pub(crate) trait Hierarchy: Send + Sync {
    fn group(&self, name: &str) -> Box<dyn Group>;
    /// Names of the groups that exist.
    fn names(&self) -> Vec<String>;
    /// Removes the base directory; groups must be gone.
    fn remove(&self);
    /// Version and base directories, for the other process.
    fn describe(&self) -> (u64, Vec<PathBuf>);
}

/// Finds a hierarchy with write access to all that is needed, and makes the base directory `name` in it.
///
/// # Errors
/// A text that says what is missing, for the operator.
pub(crate) fn open(name: &str) -> Result<Arc<dyn Hierarchy>, String> {
    match v1::V1::open(name) {
        Ok(found) => Ok(Arc::new(found)),
        Err(first) => match v2::V2::open(name) {
            Ok(found) => Ok(Arc::new(found)),
            Err(second) => Err(format!("cgroup v1: {first}; cgroup v2: {second}")),
        },
    }
}

/// A controller, and where it is writable or why it is not usable.
pub(crate) type Found = (&'static str, Result<PathBuf, String>);

/// What each generation offers, without changing anything.
pub(crate) fn survey() -> [(&'static str, Vec<Found>); 2] {
    [("v1", v1::survey()), ("v2", v2::survey())]
}

/// The directory if this process may make groups in it.
fn writable(dir: PathBuf) -> Result<PathBuf, String> {
    let name = crate::sys::cstring(&dir).map_err(|e| e.to_string())?;
    // SAFETY: a terminated path.
    match crate::sys::check(unsafe { libc::access(name.as_ptr(), libc::W_OK) }) {
        Ok(_) => Ok(dir),
        Err(e) => Err(format!("write to {}: {e}", dir.display())),
    }
}

pub(crate) fn encode(hierarchy: &dyn Hierarchy) -> Vec<u8> {
    let (version, paths) = hierarchy.describe();
    let mut w = Writer::default();
    w.number(version).number(paths.len() as u64);
    for p in paths {
        w.text(p);
    }
    w.0
}

/// The same hierarchy as seen by another process; an empty description is none.
pub(crate) fn decode(description: &[u8]) -> Result<Option<Arc<dyn Hierarchy>>, Malformed> {
    if description.is_empty() {
        return Ok(None);
    }
    let mut r = Reader(description);
    let version = r.number()?;
    let paths = (0..r.number()?).map(|_| r.path()).collect::<Result<Vec<_>, _>>()?;
    match (version, <[PathBuf; 4]>::try_from(paths)) {
        (1, Ok(bases)) => Ok(Some(Arc::new(v1::V1 { bases }))),
        (2, Err(paths)) => {
            let base = paths.into_iter().next().ok_or(Malformed)?;
            Ok(Some(Arc::new(v2::V2 { base })))
        }
        _ => Err(Malformed),
    }
}

/// Ends and removes every group below the base: what a crash left.
pub(crate) fn sweep(hierarchy: &dyn Hierarchy) {
    for name in hierarchy.names() {
        end(&*hierarchy.group(&name));
    }
}

/// Kills what is left in a group and removes it, waiting a little for the kernel to let go.
pub(crate) fn end(group: &dyn Group) {
    for wait_ms in [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000] {
        std::thread::sleep(std::time::Duration::from_millis(wait_ms));
        if group.remove().is_ok() {
            return;
        }
        for pid in group.processes() {
            // A process that is gone already is what we want.
            let _ = crate::sys::process::kill(pid, libc::SIGKILL);
        }
        // A frozen process of version 1 does not die before it thaws.
        let _ = group.set_frozen(false);
    }
}

fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The number behind a key in a file of `key number` lines.
fn read_key(path: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn write(path: &Path, value: impl std::fmt::Display) -> io::Result<()> {
    fs::write(path, value.to_string())
        .map_err(|e| io::Error::new(e.kind(), format!("write {value} to {}: {e}", path.display())))
}

fn door(dir: &Path) -> io::Result<OwnedFd> {
    let path = dir.join("cgroup.procs");
    let opened = fs::OpenOptions::new().write(true).open(&path);
    opened.map(OwnedFd::from).map_err(|e| io::Error::new(e.kind(), format!("open {}: {e}", path.display())))
}

fn make_dir(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            Err(io::Error::new(e.kind(), format!("create {}: {e}", path.display())))
        }
        _ => Ok(()),
    }
}

fn remove_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn sub_dirs(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let dirs = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
    dirs.filter_map(|e| e.file_name().into_string().ok()).collect()
}

fn pids(path: &Path) -> Vec<i32> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|l| l.parse().ok()).collect()
}
