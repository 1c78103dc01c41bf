//! The spawner process: clones, mounts, limits and buries workers on behalf of the server.
//!
//! It has one thread and one loop over its descriptors. Anything slow (network namespaces, images, mounts) is done in
//! the cloned child, anything slower (taking images and cgroups apart) in a janitor process, so that the loop answers a
//! spawn at once. All mounts live in the spawner's own mount namespace and go away with it, whatever ends it.

mod cell;
mod fork;
mod image;
mod janitor;
mod outlet;
mod pool;
mod prepare;
mod root;
mod stage;
mod stem;
mod zygote;
mod zygotes;

pub(crate) use image::available as images_available;
pub(crate) use prepare::group_name;

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cgroup::{self, Hierarchy};
use crate::sys::{Context, check, mount, process, seccomp, socket};
use crate::wire::{News, Order};
use crate::{Egress, Level, Reach};
use janitor::Janitor;
use pool::Pool;

/// How long a start waits for the spawner of an earlier server on the same directory to finish cleaning up.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// What every worker of this spawner has in common.
pub(super) struct Setting {
    pub level: Level,
    pub run_dir: std::path::PathBuf,
    pub hierarchy: Option<Arc<dyn Hierarchy>>,
    /// Real root: may use loop devices and give each worker a host user of its own.
    pub is_root: bool,
    pub images: bool,
    /// What workers reach; `None`: nothing.
    pub egress: Option<Egress>,
    /// The highest capability that the kernel knows.
    pub last_capability: u64,
    /// The seccomp filter.
    pub filter: Vec<libc::sock_filter>,
}

/// Runs the spawner; call it at the very top of `main`, before any thread exists. The server is at standard input.
pub fn spawner_main() -> ! {
    process::start_without_huge_pages();
    // For who looks at processes; of no other use.
    let _ = fs::write("/proc/self/comm", "squall-spawner");
    // The server's Ctrl-C is not ours: only the end of the socket ends the spawner.
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE, libc::SIGQUIT] {
        process::ignore(signal);
    }
    match run() {
        Ok(()) => process::exit(0),
        Err(e) => {
            eprintln!("squall spawner: {e}");
            process::exit(1)
        }
    }
}

fn run() -> io::Result<()> {
    let server = take_stdin()?;
    let mut packet = Vec::new();
    let Some(_) = socket::receive(server.as_fd(), &mut packet)? else { return Ok(()) };
    let Ok(Order::Configure { level, run_dir, pool, egress }) = Order::decode(&packet) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the first message is not a configuration"));
    };
    let prepared = open(level, &run_dir, egress).and_then(|(setting, lock, note)| {
        let janitor = Janitor::start(setting.hierarchy.clone(), lock.as_fd()).map_err(|e| e.to_string())?;
        Ok((setting, lock, note, janitor))
    });
    match prepared {
        Err(missing) => {
            socket::send(server.as_fd(), &News::Refused { missing }.encode(), &[])?;
            Ok(())
        }
        Ok((setting, lock, note, janitor)) => {
            let cgroups = setting.hierarchy.as_deref().map(cgroup::encode).unwrap_or_default();
            socket::send(server.as_fd(), &News::Ready { cgroups, note }.encode(), &[])?;
            let result = Pool::new(setting, server, janitor, pool)?.run();
            drop(lock);
            result
        }
    }
}

/// Moves the socket away from descriptor 0, which every child would take for its input.
fn take_stdin() -> io::Result<OwnedFd> {
    // SAFETY: fcntl with integers.
    let fd = check(unsafe { libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    let server = unsafe { OwnedFd::from_raw_fd(fd) };
    let null = process::open_null()?;
    process::dup_to(null.as_fd(), 0)?;
    process::dup_to(null.as_fd(), 1)?;
    Ok(server)
}

/// Puts the level in force, or says what is missing.
fn open(level: Level, run_dir: &Path, reach: Reach) -> Result<(Setting, OwnedFd, String), String> {
    process::raise_open_files();
    let lock = lock(run_dir).map_err(|e| format!("the run directory {}: {e}", run_dir.display()))?;
    let is_root = process::euid() == 0;
    let mut setting = Setting {
        level,
        run_dir: run_dir.to_owned(),
        hierarchy: None,
        is_root,
        images: false,
        egress: None,
        last_capability: process::last_capability(),
        filter: seccomp::program(),
    };
    if level == Level::None {
        return Ok((setting, lock, "workers are plain processes: no isolation".into()));
    }
    enter_namespaces(is_root).map_err(|e| format!("{e}; run as root, or allow unprivileged user namespaces"))?;
    let (egress, mut note) = outlet(reach)?;
    setting.egress = egress;
    root::template(&run_dir.join("template"), setting.egress.is_some()).map_err(|e| e.to_string())?;
    if level == Level::Full {
        let name = format!("squall-{}", stable_id(run_dir));
        let hierarchy = cgroup::open(&name).map_err(|e| {
            format!("no write access to cgroups ({e}); run as root, delegate a cgroup, or choose level `namespaces`")
        })?;
        cgroup::sweep(&*hierarchy);
        setting.hierarchy = Some(hierarchy);
    }
    match image::available(is_root) {
        Ok(()) => {
            image::forget_old(&run_dir.join("images"));
            setting.images = true;
        }
        Err(missing) => {
            let between = if note.is_empty() { "" } else { "; " };
            note = format!("{note}{between}/tmp is a tmpfs and counts as memory: {missing}");
        }
    }
    Ok((setting, lock, note))
}

/// What workers will reach, and what is to be said of it.
fn outlet(reach: Reach) -> Result<(Option<Egress>, String), String> {
    let advice = "the kernel needs nf_tables with tproxy (modules nft_tproxy, nf_tproxy_ipv4)";
    match reach {
        Reach::Nothing => Ok((None, String::new())),
        Reach::IfPossible(egress) => match outlet::try_out(&egress) {
            Ok(()) => Ok((Some(egress), String::new())),
            Err(e) => Ok((None, format!("functions do not reach the internet: {e}; {advice}"))),
        },
        Reach::Required(egress) => match outlet::try_out(&egress) {
            Ok(()) => Ok((Some(egress), String::new())),
            Err(e) => {
                Err(format!("a way out for functions: {e}; {advice}, or switch it off: [runtime] egress = \"off\""))
            }
        },
    }
}

fn lock(run_dir: &Path) -> io::Result<OwnedFd> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(run_dir)?;
    fs::set_permissions(run_dir, fs::Permissions::from_mode(0o700))?;
    for dir in ["root", "template", "images"] {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(run_dir.join(dir))?;
    }
    let file = OwnedFd::from(fs::File::create(run_dir.join("lock"))?);
    let until = Instant::now() + LOCK_WAIT;
    loop {
        // SAFETY: integers only.
        match check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }) {
            Ok(_) => return Ok(file),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::new(e.kind(), "is in use by another server"));
            }
            Err(e) => return Err(e),
        }
    }
}

/// A mount namespace of our own; without privilege inside a user namespace of our own.
fn enter_namespaces(is_root: bool) -> io::Result<()> {
    if is_root {
        process::drop_groups().context("drop supplementary groups")?;
        process::unshare(libc::CLONE_NEWNS).context("make a mount namespace")?;
    } else {
        let (uid, gid) = (process::euid(), process::egid());
        process::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS).context("make a user namespace")?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{0} {uid} 1", prepare::INSIDE_ID))?;
        fs::write("/proc/self/gid_map", format!("{0} {gid} 1", prepare::INSIDE_ID))?;
    }
    mount::make_slave().context("make mounts private")
}

/// Sixteen hex digits that are the same for the same directory on every start (FNV-1a).
fn stable_id(run_dir: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let path = fs::canonicalize(run_dir).unwrap_or_else(|_| run_dir.to_owned());
    let hash = path
        .as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}
