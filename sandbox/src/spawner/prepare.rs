//! The child's side of making a sandbox, up to the point where only the worker's own code is missing.
//!
//! Two processes come of it. *Init* is process 1 of the sandbox: unprivileged, it reaps orphans, tells how the program
//! ended and, by ending itself, ends everything. The *stage* still has privilege; it waits for the specification,
//! attaches the code, drops everything and becomes the program.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

use super::{Setting, image, root, stage};
use crate::Level;
use crate::sys::process::{self, Side};
use crate::sys::{Context, landlock, mount, net, seccomp, socket};

/// User and group of the program inside, as on AWS.
pub(crate) const INSIDE_ID: u32 = 993;
/// First host user id given to workers (when the spawner is root): above what /etc/subuid hands out, each worker gets
/// one of its own so that even a hole in the namespaces meets no file or process of anybody else.
const HOST_ID_FIRST: u32 = 1_879_048_192;
const HOST_ID_COUNT: u32 = 1 << 27;
/// Of at most 1,000: a worker dies well before a server of the same size, yet does not invite it.
const OOM_SCORE: &str = "300";
/// The ports inside.
pub(crate) const RUNTIME_API_PORT: u16 = 9001;
pub(crate) const ENDPOINT_PORT: u16 = 4566;

/// First byte of what the stage says: ready (descriptors follow), or an error text.
pub(super) const SAYS_READY: u8 = b'R';
pub(super) const SAYS_ERROR: u8 = b'E';

/// What the spawner gives to the fresh child.
pub(super) struct Fresh {
    pub number: u64,
    pub tmp_bytes: u64,
    /// To the spawner; ends by the execution of the program.
    pub ctl: OwnedFd,
    /// Where init writes the program's wait status.
    pub status: OwnedFd,
}

/// Everything the stage holds when it waits.
pub(super) struct Stage {
    pub ctl: OwnedFd,
    /// The assembled root, writable until the mounts are made; `None` at level none.
    pub root: Option<OwnedFd>,
    /// The user namespace to enter.
    pub user: Option<OwnedFd>,
    /// Landlock's rules, where the kernel has it.
    pub rules: Option<OwnedFd>,
    pub output: OwnedFd,
}

/// Goes on in the child of the clone, and never comes back.
pub(super) fn run(setting: &Setting, fresh: Fresh) -> ! {
    process::close_all_but(&[fresh.ctl.as_fd(), fresh.status.as_fd()]);
    let Fresh { number, tmp_bytes, ctl, status } = fresh;
    // Ends with the spawner even while it prepares.
    let _ = process::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64, 0);
    process::setsid();
    process::reset_signals();
    let made = if setting.level == Level::None { plain() } else { isolated(setting, number, tmp_bytes) };
    let made = match made {
        Ok(made) => made,
        Err(e) => fail(&ctl, &e.to_string()),
    };
    let stage = Stage { ctl, root: made.root, user: made.user, rules: made.rules, output: made.output };
    let mut ready = vec![made.runtime_api.as_fd(), made.endpoint.as_fd(), made.output_read.as_fd()];
    ready.extend(made.tmp.iter().map(AsFd::as_fd));
    if setting.level == Level::None {
        // No init: the spawner waits for the program itself.
        if socket::send(stage.ctl.as_fd(), &[SAYS_READY], &ready).is_err() {
            process::exit(1);
        }
        stage::run(setting, stage)
    }
    match process::clone(0) {
        Err(e) => fail(&stage.ctl, &format!("fork the stage: {e}")),
        Ok(Side::Child) => {
            process::close_all_but(&stage_fds(&stage, &ready));
            process::setsid();
            if socket::send(stage.ctl.as_fd(), &[SAYS_READY], &ready).is_err() {
                process::exit(1);
            }
            drop((made.runtime_api, made.endpoint, made.output_read, made.tmp));
            stage::run(setting, stage)
        }
        Ok(Side::Parent(program, _)) => init(setting, program, status, stage.user),
    }
}

fn stage_fds<'a>(stage: &'a Stage, ready: &[std::os::fd::BorrowedFd<'a>]) -> Vec<std::os::fd::BorrowedFd<'a>> {
    let own = [Some(&stage.ctl), stage.root.as_ref(), stage.user.as_ref(), stage.rules.as_ref(), Some(&stage.output)];
    own.into_iter().flatten().map(AsFd::as_fd).chain(ready.iter().copied()).collect()
}

/// Says why and leaves.
pub(super) fn fail(ctl: &OwnedFd, text: &str) -> ! {
    let mut packet = vec![SAYS_ERROR];
    packet.extend(text.bytes().take(4096));
    let _ = socket::send(ctl.as_fd(), &packet, &[]);
    process::exit(127)
}

struct Made {
    root: Option<OwnedFd>,
    user: Option<OwnedFd>,
    rules: Option<OwnedFd>,
    tmp: Option<OwnedFd>,
    output: OwnedFd,
    output_read: OwnedFd,
    runtime_api: TcpListener,
    endpoint: TcpListener,
}

/// Level none: sockets and a pipe on the host itself.
fn plain() -> io::Result<Made> {
    let (output_read, output) = socket::pipe()?;
    let (runtime_api, endpoint) = (listen(0)?, listen(0)?);
    Ok(Made { root: None, user: None, rules: None, tmp: None, output, output_read, runtime_api, endpoint })
}

fn isolated(setting: &Setting, number: u64, tmp_bytes: u64) -> io::Result<Made> {
    // Without memory, the host should kill workers before the server.
    fs::write("/proc/self/oom_score_adj", OOM_SCORE).context("set the OOM score")?;
    process::set_hostname("localhost").context("set the host name")?;
    process::unshare(libc::CLONE_NEWNET).context("make a network namespace")?;
    net::loopback_up().context("set the loopback interface up")?;
    let runtime_api = listen(RUNTIME_API_PORT).context("listen for the Runtime API")?;
    let endpoint = listen(ENDPOINT_PORT).context("listen for the endpoint")?;

    let at = setting.run_dir.join("root");
    let new_root = root::build(&setting.run_dir.join("template"), &at)?;
    let tmp = if setting.images {
        image::mount(&setting.run_dir.join("images"), tmp_bytes, &at.join("tmp"))?
    } else {
        image::mount_tmpfs(tmp_bytes, &at.join("tmp"))?
    };

    let host_id = if setting.is_root { HOST_ID_FIRST + (number % u64::from(HOST_ID_COUNT)) as u32 } else { INSIDE_ID };
    let user = user_namespace(&at.join("proc"), host_id).context("make a user namespace")?;
    let rules = landlock::ruleset(&at).context("make landlock rules")?;
    let (output_read, output) = socket::pipe()?;
    if setting.is_root {
        // So that the program may open /dev/stdout, which is this pipe.
        process::chown(output.as_fd(), host_id, host_id).context("hand over the output pipe")?;
    }
    if let Some(h) = &setting.hierarchy {
        // Last, so that the preparation itself is not charged to the function.
        let group = h.group(&group_name(number));
        group.create()?;
        group.join()?;
        process::unshare(libc::CLONE_NEWCGROUP).context("make a cgroup namespace")?;
    }
    // The last use of a path of the host.
    mount::pivot_into(new_root.as_fd()).context("enter the root")?;
    Ok(Made {
        root: Some(new_root),
        user: Some(user),
        rules,
        tmp: Some(tmp),
        output,
        output_read,
        runtime_api,
        endpoint,
    })
}

/// Name of a worker's cgroup.
pub(crate) fn group_name(number: u64) -> String {
    format!("w{number}")
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A user namespace with only the program's user in it, held by the descriptor alone.
///
/// It is made by a short-lived child and entered last, so that all mounts belong to the outer namespace: inside, not
/// even a process with every capability of the user namespace could change them.
fn user_namespace(proc: &std::path::Path, host_id: u32) -> io::Result<OwnedFd> {
    let (gate, hold) = socket::pair()?;
    match process::clone(libc::CLONE_NEWUSER)? {
        Side::Child => {
            drop(gate);
            let _ = socket::receive(hold.as_fd(), &mut Vec::new());
            process::exit(0)
        }
        Side::Parent(pid, _) => {
            drop(hold);
            let dir = proc.join(pid.to_string());
            let line = format!("{INSIDE_ID} {host_id} 1");
            let result = fs::write(dir.join("uid_map"), &line)
                .and_then(|()| fs::write(dir.join("gid_map"), &line))
                .and_then(|()| fs::File::open(dir.join("ns/user")));
            drop(gate);
            process::wait(pid)?;
            Ok(result?.into())
        }
    }
}

/// Process 1: reaps, reports how the program ended, ends.
fn init(setting: &Setting, program: i32, status: OwnedFd, user: Option<OwnedFd>) -> ! {
    let lowered = lower_init(setting, user.as_ref());
    process::close_all_but(&[status.as_fd()]);
    if lowered.is_err() {
        process::exit(126);
    }
    loop {
        match process::wait(-1) {
            Ok((pid, ended)) if pid == program => {
                let _ = fs::File::from(status).write_all(&ended.to_le_bytes());
                process::exit(0)
            }
            Ok(_) => {}
            Err(_) => process::exit(125),
        }
    }
}

/// Takes everything from init that waiting does not need.
fn lower_init(setting: &Setting, user: Option<&OwnedFd>) -> io::Result<()> {
    let null = process::open_null()?;
    for number in 0..3 {
        process::dup_to(null.as_fd(), number)?;
    }
    if let Some(user) = user {
        process::setns(user.as_fd(), libc::CLONE_NEWUSER)?;
    }
    process::become_user(INSIDE_ID, INSIDE_ID)?;
    process::drop_capabilities()?;
    process::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)?;
    // Same user as the program, yet none of its business: no ptrace, no /proc/1/mem or environ.
    process::prctl(libc::PR_SET_DUMPABLE, 0, 0)?;
    // The change of user took it back.
    process::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64, 0)?;
    seccomp::install(&setting.filter)
}
