//! Mounts: the classic call for new file systems, the descriptor-based calls (Linux 5.12) for binds.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use super::{check, cstring};

/// Attributes of bind mounts; they are only ever added.
pub(crate) const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;
pub(crate) const NO_SUID: u64 = libc::MOUNT_ATTR_NOSUID;
pub(crate) const NO_DEV: u64 = libc::MOUNT_ATTR_NODEV;
pub(crate) const NO_EXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

/// Mounts a new file system.
pub(crate) fn mount(source: &Path, target: &Path, kind: &CStr, flags: u64, data: &str) -> io::Result<()> {
    let (source, target, data) = (cstring(source)?, cstring(target)?, cstring(data)?);
    // SAFETY: all pointers are terminated strings that outlive the call.
    check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags as _, data.as_ptr().cast()) })?;
    Ok(())
}

/// Stops mounts of this namespace from reaching others; those of the host still arrive.
pub(crate) fn make_slave() -> io::Result<()> {
    // SAFETY: strings are terminated literals; a null data pointer is allowed.
    check(unsafe {
        libc::mount(c"none".as_ptr(), c"/".as_ptr(), std::ptr::null(), libc::MS_REC | libc::MS_SLAVE, std::ptr::null())
    })?;
    Ok(())
}

/// A detached copy of the mounts at `path`, with `attributes` added to each.
pub(crate) fn clone_tree(path: &Path, attributes: u64) -> io::Result<OwnedFd> {
    let name = cstring(path)?;
    let flags = libc::OPEN_TREE_CLONE as libc::c_int | libc::OPEN_TREE_CLOEXEC as libc::c_int | libc::AT_RECURSIVE;
    // SAFETY: `name` is a terminated string; the other arguments are integers.
    let fd = check(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, name.as_ptr(), flags) })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    let tree = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    set_attributes(tree.as_fd(), attributes, true)?;
    Ok(tree)
}

/// Adds attributes to the mount at `fd`, or to all below it too.
pub(crate) fn set_attributes(fd: BorrowedFd<'_>, attributes: u64, recursive: bool) -> io::Result<()> {
    let attr = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: an empty terminated path with AT_EMPTY_PATH, and a mount_attr of the size given.
    check(unsafe {
        libc::syscall(libc::SYS_mount_setattr, fd.as_raw_fd(), c"".as_ptr(), flags, &attr, size_of_val(&attr))
    })?;
    Ok(())
}

/// Whether the kernel has `mount_setattr` (Linux 5.12), and so all the other calls used here.
pub(crate) fn has_set_attributes() -> bool {
    let attr = libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: a terminated path and a mount_attr of the size given; a descriptor of -1 makes it fail in any case.
    unsafe { libc::syscall(libc::SYS_mount_setattr, -1, c"".as_ptr(), 0, &attr, size_of_val(&attr)) };
    std::io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS)
}

/// Attaches a detached tree at the place that `target` (opened with O_PATH) stands for.
pub(crate) fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: empty terminated paths with the flags that make the kernel use the descriptors themselves.
    check(unsafe {
        libc::syscall(libc::SYS_move_mount, tree.as_raw_fd(), c"".as_ptr(), target.as_raw_fd(), c"".as_ptr(), flags)
    })?;
    Ok(())
}

/// Opens `path` below `root` with O_PATH; links and `..` cannot lead out of `root`.
pub(crate) fn open_in_root(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let name = cstring(path)?;
    // SAFETY: open_how is plain data for which zeroes are valid.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT;
    // SAFETY: a terminated path and an open_how of the size given.
    let fd =
        check(unsafe { libc::syscall(libc::SYS_openat2, root.as_raw_fd(), name.as_ptr(), &how, size_of_val(&how)) })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Detaches what is mounted at `target`.
pub(crate) fn unmount(target: &Path) -> io::Result<()> {
    let target = cstring(target)?;
    // SAFETY: a terminated path.
    check(unsafe { libc::umount2(target.as_ptr(), 0) })?;
    Ok(())
}

/// When the content of what `fd` (O_PATH will do) stands for was last changed, since 1970.
pub(crate) fn changed_at(fd: BorrowedFd<'_>) -> io::Result<Duration> {
    // SAFETY: stat is plain data for which zeroes are valid.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one stat.
    check(unsafe { libc::fstat(fd.as_raw_fd(), &mut stat) })?;
    Ok(Duration::new(stat.st_mtime.try_into().unwrap_or(0), stat.st_mtime_nsec.try_into().unwrap_or(0)))
}

/// Free blocks and inodes of the file system at `fd` (O_PATH will do).
pub(crate) fn free(fd: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    // SAFETY: statfs is plain data for which zeroes are valid.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one statfs.
    check(unsafe { libc::fstatfs(fd.as_raw_fd(), &mut stat) })?;
    Ok((stat.f_bfree, stat.f_ffree))
}

/// A descriptor for reading the directory that `fd` (O_PATH) stands for.
pub(crate) fn reopen(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: a terminated literal.
    let fd = check(unsafe { libc::openat(fd.as_raw_fd(), c".".as_ptr(), flags) })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes a directory in `parent`; one that is there already is fine.
pub(crate) fn make_dir(parent: BorrowedFd<'_>, name: &Path) -> io::Result<()> {
    let name = cstring(name)?;
    // SAFETY: a terminated path.
    match check(unsafe { libc::mkdirat(parent.as_raw_fd(), name.as_ptr(), 0o755) }) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

/// Makes an empty file in `parent` to mount another file on.
pub(crate) fn make_file(parent: BorrowedFd<'_>, name: &Path) -> io::Result<()> {
    let name = cstring(name)?;
    let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    // SAFETY: a terminated path.
    let fd = check(unsafe { libc::openat(parent.as_raw_fd(), name.as_ptr(), flags, 0o644) })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(())
}

/// Makes `root` the root of this mount namespace and drops everything else.
pub(crate) fn pivot_into(root: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: calls with terminated literals and an open descriptor. `pivot_root(".", ".")` puts the old root on top of
    // the new one, from where it is detached.
    unsafe {
        check(libc::fchdir(root.as_raw_fd()))?;
        check(libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()))?;
        check(libc::umount2(c".".as_ptr(), libc::MNT_DETACH))?;
        check(libc::chdir(c"/".as_ptr()))?;
    }
    Ok(())
}
