//! What a caller says about a sandbox and a worker.

use std::ffi::OsString;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use crate::{Egress, Error};

/// How much a worker is isolated. A level is never lowered silently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A plain process of the server's own user. Not safe for code that is not trusted; only by explicit choice.
    None,
    /// Namespaces, read-only root, seccomp, no capabilities; memory only by a per-process rlimit, no cgroups.
    Namespaces,
    /// Everything: namespaces and cgroup limits on memory, processes and CPU.
    Full,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::None => "none",
            Level::Namespaces => "namespaces",
            Level::Full => "full",
        })
    }
}

/// How a [`crate::Sandbox`] is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The level of every worker.
    pub level: Level,
    /// A private directory of this server; one server at a time. Made (mode 0700) if it is not there.
    pub run_dir: PathBuf,
    /// Prepared sandboxes kept ready.
    pub pool: usize,
    /// What workers reach beyond their own loopback interface; not at [`Level::None`], where they are on the host's network.
    pub egress: Reach,
    /// The program that is executed as the spawner: it must call [`crate::spawner_main`] first of all.
    pub spawner_exe: PathBuf,
    /// Its arguments.
    pub spawner_args: Vec<OsString>,
}

/// What workers are to reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Nothing.
    #[default]
    Nothing,
    /// This, where the host allows it, otherwise nothing: [`crate::Sandbox::note`] says so.
    IfPossible(Egress),
    /// This, or the start fails.
    Required(Egress),
}

/// A read-only bind mount (nosuid, nodev) of a host path into the worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// File or directory of the host.
    pub host: PathBuf,
    /// Absolute path inside the worker; parents are made.
    pub inside: PathBuf,
}

/// How the program of a worker comes to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// `argv` is executed.
    #[default]
    Execute,
    /// The zygote of this number forks, and the fork gets `argv` and the environment. See [`crate::Zygote`]. Of stem cells
    /// ([`ZygoteSpec::is_stem`]) one that waits gets them; if none does, `argv` is executed.
    Fork(u64),
}

/// A zygote: a trusted program that workers are forked from, once it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZygoteSpec {
    /// Name for messages; not interpreted.
    pub id: String,
    /// Program (an absolute path) and arguments. It must speak as `zygote/README.md` says.
    pub argv: Vec<OsString>,
    /// The whole environment, exactly.
    pub env: Vec<(OsString, OsString)>,
    /// Read-only mounts, at most 32: those that its workers have too, so that what it loads later is the same.
    pub mounts: Vec<Mount>,
    /// Forks keep the interpreter's own descriptors, whose replacement is the interpreter's affair.
    pub keeps_descriptors: bool,
    /// It is not forked from: it is executed in sandboxes ahead of functions, as unprivileged as a worker, and each takes one.
    pub is_stem: bool,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Name for messages; not interpreted.
    pub id: String,
    /// Program (an absolute path, or relative to `/var/task`) and arguments.
    pub argv: Vec<OsString>,
    /// The whole environment, exactly.
    pub env: Vec<(OsString, OsString)>,
    /// Host directory seen as `/var/task`, which is the working directory (with [`Level::None`]: the directory itself).
    pub code: PathBuf,
    /// Host directory seen as `/opt`.
    pub opt: Option<PathBuf>,
    /// More read-only mounts, at most 32.
    pub mounts: Vec<Mount>,
    /// Memory limit in bytes, without swap; passing it kills the whole worker.
    pub memory_bytes: u64,
    /// Size of `/tmp` in bytes.
    pub tmp_bytes: u64,
    /// Most processes and threads at a time.
    pub pids_max: u32,
    /// Relative CPU weight in cgroup v1's unit: 1024 is one normal share.
    pub cpu_shares: u64,
    /// Hard limit in percent of one CPU.
    pub cpu_quota_percent: Option<u32>,
    /// How the program comes to run. Not at [`Level::None`], where only [`Start::Execute`] is.
    pub start: Start,
}

/// Least memory a worker is given: a smaller limit could not even execute the program.
const MEMORY_BYTES_MIN: u64 = 4 << 20;
/// Smallest `/tmp` for which an ext4 image makes sense.
const TMP_BYTES_MIN: u64 = 1 << 20;
/// Largest `/tmp`: far above what AWS offers (10 GiB), far below what a sparse image cannot be.
const TMP_BYTES_MAX: u64 = 1 << 40;

/// Mounts besides code and layers; their descriptors go in one packet.
const MOUNTS_MAX: usize = 32;

impl Spec {
    /// Refuses what could not work, before anything is started.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |text: String| Err(Error::Invalid(text));
        if self.argv.first().is_none_or(|a| a.is_empty()) {
            return wrong("argv is empty".into());
        }
        if self.memory_bytes < MEMORY_BYTES_MIN {
            return wrong(format!("memory_bytes must be at least {MEMORY_BYTES_MIN}"));
        }
        if !(TMP_BYTES_MIN..=TMP_BYTES_MAX).contains(&self.tmp_bytes) {
            return wrong(format!("tmp_bytes must be between {TMP_BYTES_MIN} and {TMP_BYTES_MAX}"));
        }
        if self.pids_max == 0 {
            return wrong("pids_max must be at least 1".into());
        }
        if self.cpu_quota_percent == Some(0) {
            return wrong("cpu_quota_percent must be at least 1".into());
        }
        if !self.code.is_absolute() || self.opt.as_ref().is_some_and(|p| !p.is_absolute()) {
            return wrong("code and opt must be absolute paths".into());
        }
        check_mounts(&self.mounts)
    }
}

impl ZygoteSpec {
    /// Refuses what could not work, before anything is started.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.argv.first().is_none_or(|a| !Path::new(a).is_absolute()) {
            return Err(Error::Invalid("argv must begin with an absolute path".into()));
        }
        check_mounts(&self.mounts)
    }
}

fn check_mounts(mounts: &[Mount]) -> Result<(), Error> {
    let wrong = |text: String| Err(Error::Invalid(text));
    if mounts.len() > MOUNTS_MAX {
        return wrong(format!("there are more than {MOUNTS_MAX} mounts"));
    }
    for m in mounts {
        if !m.host.is_absolute() || !is_plain_absolute(&m.inside) {
            return wrong(format!("mount {} must have absolute paths without `..`", m.inside.display()));
        }
        let reserved = ["/proc", "/dev", "/tmp", "/etc/passwd", "/etc/group"];
        if m.inside == Path::new("/") || reserved.iter().any(|r| m.inside.starts_with(r)) {
            return wrong(format!("mount on {} is not allowed", m.inside.display()));
        }
    }
    Ok(())
}

fn is_plain_absolute(path: &Path) -> bool {
    path.is_absolute() && path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)))
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Exit status of the program, if it ended by itself.
    pub code: Option<i32>,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// It was killed because it passed its memory limit.
    pub oom: bool,
}

/// Counts of the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PoolStats {
    /// Prepared sandboxes that wait for a worker.
    pub ready: usize,
    /// Sandboxes being prepared.
    pub preparing: usize,
    /// Living workers.
    pub live: usize,
    /// Prepared sandboxes that the pool aims at.
    pub target: usize,
}
