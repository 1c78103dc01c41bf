//! Processes: clone, wait, signals, credentials, limits, exec.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::check;

/// Which side of a clone this is.
pub(crate) enum Side {
    /// The parent, with the child's process id and pidfd.
    Parent(i32, OwnedFd),
    Child,
}

/// clone3 like fork, with more flags.
///
/// The spawner and its children have one thread, so their child may allocate and lock as usual. In a process with more
/// threads ([`crate::probe()`]) the child must do nothing but leave.
pub(crate) fn clone(namespaces: libc::c_int) -> io::Result<Side> {
    let mut pidfd: RawFd = -1;
    // SAFETY: clone_args is plain data for which zeroes are valid.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = namespaces as u64 | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM the child has its own copy of memory and the same stack pointer, as after fork; what the child may do is said above. The kernel writes one descriptor to `pidfd`.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) })?;
    if pid == 0 {
        return Ok(Side::Child);
    }
    // SAFETY: the descriptor was just made and nobody else owns it.
    Ok(Side::Parent(pid as i32, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// Leaves the process without running destructors or flushing.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: _exit does not return and touches no memory.
    unsafe { libc::_exit(code) }
}

/// The wait status of a child that has ended (blocks until it has); any child if `pid` is -1.
pub(crate) fn wait(pid: i32) -> io::Result<(i32, i32)> {
    let mut status = 0;
    loop {
        // SAFETY: the kernel writes one int.
        match check(unsafe { libc::waitpid(pid, &mut status, libc::__WALL) }) {
            Ok(pid) => return Ok((pid, status)),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Splits a wait status into (exit code, signal).
pub(crate) fn split_status(status: i32) -> (Option<i32>, Option<i32>) {
    if libc::WIFSIGNALED(status) {
        (None, Some(libc::WTERMSIG(status)))
    } else {
        (Some(libc::WEXITSTATUS(status)), None)
    }
}

/// Sends a signal through a pidfd: it cannot hit another process that got the same number.
pub(crate) fn signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) })?;
    Ok(())
}

/// kill(2): a process, or with a negative number a process group.
pub(crate) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill takes integers only.
    check(unsafe { libc::kill(pid, signal) })?;
    Ok(())
}

/// prctl with integers.
pub(crate) fn prctl(option: i32, a: u64, b: u64) -> io::Result<i32> {
    // SAFETY: the options used in this crate (PDEATHSIG, DUMPABLE, NO_NEW_PRIVS, CAPBSET_DROP, CAP_AMBIENT,
    // THP_DISABLE) take integers and write no memory.
    check(unsafe { libc::prctl(option, a, b, 0, 0) })
}

/// Whether this process, what it forks and what it executes may have transparent huge pages.
///
/// The spawner's children live for milliseconds and touch little: zeroing 2 MiB for each first touch of the heap was a third of
/// the work of preparing a sandbox.
pub(crate) fn allow_huge_pages(allowed: bool) {
    // A kernel without them refuses, which is as good.
    let _ = prctl(libc::PR_SET_THP_DISABLE, u64::from(!allowed), 0);
}

/// Starts this program again, with the same arguments and descriptors, without huge pages from the first instruction on: what
/// its allocator touches before `main` would otherwise be a huge page or two, copied page by page in every child (measured: 4 MiB
/// of 5.4 that a clone copied). Goes on where that is so already, or cannot be.
pub(crate) fn start_without_huge_pages() {
    let is_allowed = matches!(prctl(libc::PR_GET_THP_DISABLE, 0, 0), Ok(0));
    if !is_allowed || prctl(libc::PR_SET_THP_DISABLE, 1, 0).is_err() {
        return;
    }
    let argv: Result<Vec<CString>, _> = std::env::args_os().map(super::cstring).collect();
    let pairs = std::env::vars_os().map(|(name, value)| super::cstring([name, value].join("=".as_ref())));
    if let (Ok(argv), Ok(env)) = (argv, pairs.collect::<io::Result<Vec<CString>>>()) {
        // Not by its path, where another version may be by now.
        let _ = execute(c"/proc/self/exe", &argv, &env);
    }
}

pub(crate) fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: unshare takes an integer; it changes only the caller's namespaces.
    check(unsafe { libc::unshare(flags) })?;
    Ok(())
}

/// Writes all of a few bytes.
pub(crate) fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as the slice has.
    let written = check(unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) })?;
    if written as usize == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

pub(crate) fn setns(namespace: BorrowedFd<'_>, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::setns(namespace.as_raw_fd(), kind) })?;
    Ok(())
}

/// Sets the priority of this process: 0 as usual, 19 least. Only root may raise it again.
pub(crate) fn set_nice(nice: i32) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) })?;
    Ok(())
}

pub(crate) fn set_umask(mask: libc::mode_t) {
    // SAFETY: an integer; it cannot fail.
    unsafe { libc::umask(mask) };
}

pub(crate) fn setsid() {
    // SAFETY: no arguments. It fails only for a process that is a group leader already, which is as good.
    unsafe { libc::setsid() };
}

pub(crate) fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length of one string.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) })?;
    Ok(())
}

pub(crate) fn euid() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() }
}

pub(crate) fn egid() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::getegid() }
}

/// Drops supplementary groups.
pub(crate) fn drop_groups() -> io::Result<()> {
    // SAFETY: an empty list needs no pointer.
    check(unsafe { libc::setgroups(0, std::ptr::null()) })?;
    Ok(())
}

/// Becomes `uid` and `gid` for good.
pub(crate) fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: integers only. The raw system calls would be the same: there is only this one thread.
    unsafe {
        check(libc::setresgid(gid, gid, gid))?;
        check(libc::setresuid(uid, uid, uid))?;
    }
    Ok(())
}

/// Drops every capability: bounding, ambient, inheritable, permitted, effective.
pub(crate) fn drop_capabilities() -> io::Result<()> {
    for capability in 0..64 {
        // Ends at the first number that this kernel does not know.
        if prctl(libc::PR_CAPBSET_DROP, capability, 0).is_err() {
            if capability < 38 {
                return Err(io::Error::last_os_error());
            }
            break;
        }
    }
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0)?;
    // _LINUX_CAPABILITY_VERSION_3 and "this process"; then three sets in two halves.
    let header: [u32; 2] = [0x2008_0522, 0];
    let none: [u32; 6] = [0; 6];
    // SAFETY: header and data have the layout and sizes of version 3.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) })?;
    Ok(())
}

/// Soft and hard limit at once.
pub(crate) fn limit(resource: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: reads one rlimit.
    check(unsafe { libc::setrlimit(resource, &limit) })?;
    Ok(())
}

/// Raises the soft limit of open files to the hard one: a worker costs server and spawner several descriptors each.
pub(crate) fn raise_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes, then reads, one rlimit.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// Makes this process ignore a signal.
pub(crate) fn ignore(signal: i32) {
    // SAFETY: SIG_IGN installs no code.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Every signal as a new program expects it: default action, not blocked.
pub(crate) fn reset_signals() {
    let default = [0u64; 4];
    // SAFETY: a zeroed kernel sigaction (at most 32 bytes) means SIG_DFL, which installs no code; the mask is
    // initialised by sigemptyset. The raw call, since libc refuses to touch 32 and 33, which it uses itself, and a
    // parent may have left them ignored. Errors for SIGKILL and SIGSTOP are of no interest.
    unsafe {
        for signal in 1..=64 {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null_mut::<u64>(), 8usize);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Puts a copy of `fd` at `number`, kept over exec.
pub(crate) fn dup_to(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: dup2 takes integers; callers use numbers 0 to 2 only, which nothing in this process owns.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number) })?;
    Ok(())
}

/// Puts a copy of `fd` at `number`, whatever is there, kept over exec; for a child that is about to execute.
pub(crate) fn place(fd: OwnedFd, number: RawFd) -> io::Result<()> {
    if fd.as_raw_fd() == number {
        // SAFETY: fcntl with integers; dup2 onto itself would leave close-on-exec set.
        check(unsafe { libc::fcntl(number, libc::F_SETFD, 0) })?;
    } else {
        // SAFETY: integers only; the caller is a fresh child whose other descriptors are nobody's.
        check(unsafe { libc::dup2(fd.as_raw_fd(), number) })?;
    }
    std::mem::forget(fd);
    Ok(())
}

/// The highest capability that this kernel knows.
pub(crate) fn last_capability() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap_or_default();
    text.trim().parse().unwrap_or(40)
}

/// Changes the owner of an open file.
pub(crate) fn chown(fd: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::fchown(fd.as_raw_fd(), uid, gid) })?;
    Ok(())
}

/// Closes every descriptor above 2 but those in `keep`.
///
/// JUSTIFICATION: the child of a clone holds copies of all of the spawner's descriptors, of which it owns none in
/// Rust's sense that it will use again; there is no safe way to close a range.
pub(crate) fn close_all_but(keep: &[BorrowedFd<'_>]) {
    let mut keep: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    keep.sort_unstable();
    let mut from = 3u32;
    for fd in keep.into_iter().chain([u32::MAX]) {
        if fd > from {
            let last = if fd == u32::MAX { u32::MAX } else { fd - 1 };
            // SAFETY: the caller is a fresh child that goes on only with what is kept, and leaves by exec or _exit, so
            // that no destructor closes a number that was used anew.
            unsafe { libc::syscall(libc::SYS_close_range, from, last, 0) };
        }
        from = fd.saturating_add(1);
    }
}

/// Executes a program in place of this process; returns only the error.
pub(crate) fn exec(argv: &[CString], env: &[CString]) -> io::Error {
    match argv.first() {
        Some(program) => execute(program, argv, env),
        None => io::Error::from_raw_os_error(libc::EINVAL),
    }
}

fn execute(program: &CStr, argv: &[CString], env: &[CString]) -> io::Error {
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: null-terminated arrays of terminated strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Opens a path for both exec-surviving and plain uses, read and write.
pub(crate) fn open_null() -> io::Result<OwnedFd> {
    let path: &CStr = c"/dev/null";
    // SAFETY: a terminated path.
    let fd = check(unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) })?;
    // SAFETY: the descriptor was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
