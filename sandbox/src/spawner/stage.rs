//! The last steps before the program: attach its code to the root, drop everything, execute.
//!
//! The spawner sends the mounts as detached trees: here, inside, no path of the host leads anywhere any more.

use std::ffi::{CString, OsString};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use super::prepare::{INSIDE_ID, Stage, fail};
use super::{Setting, fork, stem};
use crate::sys::mount::{self, NO_DEV, NO_SUID, READ_ONLY};
use crate::sys::{Context, cstring, landlock, process, seccomp, socket};
use crate::wire::Order;
use crate::{Level, Mount, Spec, Start};

/// Open files of a program, as on AWS.
const OPEN_FILES_MAX: u64 = 1024;
/// What a runtime maps writable besides the memory it was promised, where only an rlimit bounds it.
const DATA_SLACK_BYTES: u64 = 256 << 20;

/// Waits for the specification and becomes the program.
pub(super) fn run(setting: &Setting, stage: Stage) -> ! {
    let mut packet = Vec::new();
    let (spec, trees) = loop {
        match socket::receive(stage.ctl.as_fd(), &mut packet) {
            Ok(Some(fds)) => match Order::decode(&packet) {
                Ok(Order::Spawn { spec, .. }) => break (spec, fds),
                Ok(Order::Zygote { spec, .. }) => {
                    let done = match (spec.is_stem, &stage.root) {
                        (false, Some(root)) => attach_mounts(root.as_fd(), &spec.mounts, &fds),
                        _ => stem::plant(setting, &stage, &spec, fds),
                    };
                    if let Err(e) = done {
                        fail(&stage.ctl, &format!("prepare for a function: {e}"));
                    }
                }
                _ => fail(&stage.ctl, "the specification is malformed"),
            },
            // The spawner is gone or does not need this sandbox.
            _ => process::exit(0),
        }
    };
    let error = match become_program(setting, &stage, &spec, &trees) {
        Ok(never) => match never {},
        Err(e) => e,
    };
    fail(&stage.ctl, &error.to_string())
}

fn become_program(
    setting: &Setting,
    stage: &Stage,
    spec: &Spec,
    trees: &[OwnedFd],
) -> io::Result<std::convert::Infallible> {
    if let (Some(root), Some(mounted), Start::Fork(_)) = (&stage.root, &stage.mounted, spec.start) {
        attach_all(root.as_fd(), spec, trees)?;
        mount::set_attributes(root.as_fd(), READ_ONLY, false).context("make the root read-only")?;
        let mut fork = std::fs::File::from(mounted.try_clone()?);
        fork.write_all(&fork::payload(spec)?).context("tell that the mounts are made")?;
        // Init goes on with the zygote's fork, or the stem cell.
        process::exit(0);
    }
    let argv = strings(spec.argv.iter().cloned())?;
    let env = strings(spec.env.iter().map(pair))?;
    if let Some(root) = &stage.root {
        attach_all(root.as_fd(), spec, trees)?;
        mount::set_attributes(root.as_fd(), READ_ONLY, false).context("make the root read-only")?;
    }
    let directory = if stage.root.is_some() { Path::new("/var/task") } else { &spec.code };
    std::env::set_current_dir(directory).context(format_args!("enter {}", directory.display()))?;
    process::dup_to(process::open_null()?.as_fd(), 0)?;
    lower(stage, &rlimits(setting.level, spec.memory_bytes, spec.pids_max))?;
    enter_filter(setting, stage)?;
    process::allow_huge_pages(true);
    let program = spec.argv.first().map(|a| a.display().to_string()).unwrap_or_default();
    Err(process::exec(&argv, &env)).context(format_args!("execute {program}"))
}

/// Drops every privilege and takes the program's output; what is left to do is [`enter_filter`].
pub(super) fn lower(stage: &Stage, limits: &[(libc::__rlimit_resource_t, u64)]) -> io::Result<()> {
    if let Some(user) = &stage.user {
        process::setns(user.as_fd(), libc::CLONE_NEWUSER).context("enter the user namespace")?;
        process::become_user(INSIDE_ID, INSIDE_ID).context("become the unprivileged user")?;
        process::drop_capabilities().context("drop capabilities")?;
    }
    process::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).context("set no_new_privs")?;
    for (resource, value) in limits {
        process::limit(*resource, *value).context("set limits")?;
    }
    process::set_umask(0o022);
    process::dup_to(stage.output.as_fd(), 1)?;
    process::dup_to(stage.output.as_fd(), 2)?;
    if let Some(rules) = &stage.rules {
        landlock::restrict(rules).context("set landlock rules")?;
    }
    Ok(())
}

/// The last of the privileges: system calls.
pub(super) fn enter_filter(setting: &Setting, stage: &Stage) -> io::Result<()> {
    if stage.root.is_some() {
        seccomp::install(&setting.filter).context("install the seccomp filter")?;
    }
    Ok(())
}

pub(super) fn strings(list: impl Iterator<Item = OsString>) -> io::Result<Vec<CString>> {
    list.map(cstring).collect::<io::Result<_>>().context("an argument or variable")
}

/// A variable as the kernel has it.
pub(super) fn pair((name, value): &(OsString, OsString)) -> OsString {
    let mut pair = name.clone();
    pair.push("=");
    pair.push(value);
    pair
}

/// Everything that is bound into the root, as (host path, path inside): what the trees stand for, in their order.
pub(super) fn binds(spec: &Spec) -> impl Iterator<Item = (&Path, &Path)> {
    let fixed = [(Some(spec.code.as_path()), "/var/task"), (spec.opt.as_deref(), "/opt")];
    let fixed = fixed.into_iter().filter_map(|(host, inside)| Some((host?, Path::new(inside))));
    fixed.chain(spec.mounts.iter().map(|m| (m.host.as_path(), m.inside.as_path())))
}

/// Detached read-only copies of what is bound; made by the spawner, which still sees the host.
pub(super) fn detach_all(spec: &Spec) -> io::Result<Vec<OwnedFd>> {
    let tree = |host: &Path| mount::clone_tree(host, READ_ONLY | NO_SUID | NO_DEV);
    binds(spec).map(|(host, _)| tree(host).context(format_args!("bind {}", host.display()))).collect()
}

/// The same for mounts alone, made and attached by one who sees the host and the root at once.
pub(super) fn bind_all(root: BorrowedFd<'_>, mounts: &[Mount]) -> io::Result<()> {
    for m in mounts {
        let tree = mount::clone_tree(&m.host, READ_ONLY | NO_SUID | NO_DEV)
            .context(format_args!("bind {}", m.host.display()))?;
        attach(root, &m.inside, &tree)?;
    }
    Ok(())
}

fn attach_all(root: BorrowedFd<'_>, spec: &Spec, trees: &[OwnedFd]) -> io::Result<()> {
    binds(spec).zip(trees).try_for_each(|((_, inside), tree)| attach(root, inside, tree))
}

/// The same for mounts alone.
pub(super) fn attach_mounts(root: BorrowedFd<'_>, mounts: &[Mount], trees: &[OwnedFd]) -> io::Result<()> {
    mounts.iter().zip(trees).try_for_each(|(m, tree)| attach(root, &m.inside, tree))
}

fn attach(root: BorrowedFd<'_>, inside: &Path, tree: &OwnedFd) -> io::Result<()> {
    let is_dir = std::fs::File::from(tree.try_clone()?).metadata()?.is_dir();
    let place = mount_point(root, inside, is_dir).context(format_args!("make the mount point {}", inside.display()))?;
    mount::attach(tree.as_fd(), place.as_fd()).context(format_args!("bind on {}", inside.display()))
}

/// Opens the mount point, making it and its parents where the root is ours. Below read-only mounts it must exist.
fn mount_point(root: BorrowedFd<'_>, inside: &Path, is_dir: bool) -> io::Result<OwnedFd> {
    if let Ok(there) = mount::open_in_root(root, inside) {
        return Ok(there);
    }
    let mut parent = mount::open_in_root(root, Path::new("/"))?;
    let mut path = PathBuf::from("/");
    let mut names = inside.components().filter(|c| matches!(c, Component::Normal(_))).peekable();
    while let Some(name) = names.next() {
        let name = Path::new(name.as_os_str());
        path.push(name);
        parent = match mount::open_in_root(root, &path) {
            Ok(there) => there,
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            Err(_) => {
                if names.peek().is_some() || is_dir {
                    mount::make_dir(parent.as_fd(), name)?;
                } else {
                    mount::make_file(parent.as_fd(), name)?;
                }
                mount::open_in_root(root, &path)?
            }
        };
    }
    Ok(parent)
}

/// Limits of a program besides its cgroup's.
pub(super) fn rlimits(level: Level, memory_bytes: u64, pids_max: u32) -> Vec<(libc::__rlimit_resource_t, u64)> {
    // Not 0: a core_pattern with a pipe would still start its handler, as the host's root, on what a tenant made. At 1
    // the kernel refuses both the pipe and the file.
    let mut limits = vec![(libc::RLIMIT_NOFILE, OPEN_FILES_MAX), (libc::RLIMIT_CORE, 1)];
    if level != Level::Full {
        limits.push((libc::RLIMIT_DATA, memory_bytes + DATA_SLACK_BYTES));
    }
    if level == Level::Namespaces {
        // Counts per user and user namespace, which are this worker's own.
        limits.push((libc::RLIMIT_NPROC, u64::from(pids_max) + 1));
    }
    limits
}
