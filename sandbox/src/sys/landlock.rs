//! Landlock: a second, independent wall around the file system, where the kernel has it.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use super::check;

// Numbers above 424 are the same on every architecture.
const CREATE_RULESET: libc::c_long = 444;
const ADD_RULE: libc::c_long = 445;
const RESTRICT_SELF: libc::c_long = 446;
const ASK_VERSION: u32 = 1;
const PATH_BENEATH: u32 = 1;

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEVICE: u64 = 1 << 15;
/// Abstract Unix sockets and signals stay among the restricted processes.
const SCOPES: u64 = 3;

#[repr(C)]
struct Ruleset {
    file_system: u64,
    network: u64,
    scoped: u64,
}

#[repr(C, packed)]
struct Beneath {
    access: u64,
    parent: i32,
}

/// Version of the kernel's interface; `None` if it has none.
pub(crate) fn version() -> Option<i64> {
    // SAFETY: a null attribute of size 0 with this flag asks for the version.
    check(unsafe { libc::syscall(CREATE_RULESET, std::ptr::null::<Ruleset>(), 0, ASK_VERSION) }).ok()
}

/// All file accesses that a version knows.
fn known(version: i64) -> u64 {
    match version {
        1 => (1 << 13) - 1,
        2 => (1 << 14) - 1,
        3 | 4 => (1 << 15) - 1,
        _ => (1 << 16) - 1,
    }
}

/// The rules of a worker whose root is at `root`: reading and executing everywhere, writing in `/tmp` and `/dev/shm`,
/// to the devices and to its own processes' files in `/proc`. `None` where the kernel has no landlock.
pub(crate) fn ruleset(root: &Path) -> io::Result<Option<OwnedFd>> {
    let Some(version) = version() else { return Ok(None) };
    let all = known(version);
    let (scoped, size) = if version >= 6 { (SCOPES, size_of::<Ruleset>()) } else { (0, size_of::<u64>()) };
    let attributes = Ruleset { file_system: all, network: 0, scoped };
    // SAFETY: the kernel reads `size` bytes, at most the whole structure.
    let fd = check(unsafe { libc::syscall(CREATE_RULESET, &attributes, size, 0) })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    let ruleset = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let rules = [
        (root.to_owned(), EXECUTE | READ_FILE | READ_DIR),
        (root.join("tmp"), all),
        (root.join("dev/shm"), all),
        (root.join("dev"), READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | IOCTL_DEVICE),
        (root.join("proc"), READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE),
    ];
    for (path, access) in rules {
        let place = fs::File::open(path)?;
        let rule = Beneath { access: access & all, parent: place.as_raw_fd() };
        // SAFETY: the kernel reads one rule.
        check(unsafe { libc::syscall(ADD_RULE, ruleset.as_raw_fd(), PATH_BENEATH, &rule, 0) })?;
    }
    Ok(Some(ruleset))
}

/// Puts the rules in force for this thread and all it becomes; needs no_new_privs.
pub(crate) fn restrict(ruleset: &OwnedFd) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::syscall(RESTRICT_SELF, ruleset.as_raw_fd(), 0) })?;
    Ok(())
}
