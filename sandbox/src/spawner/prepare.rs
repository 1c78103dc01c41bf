//! The child's side of making a sandbox, up to the point where only the worker's own code is missing.
//!
//! Two processes come of it. *Init* is process 1 of the sandbox: unprivileged, it reaps orphans, tells how the program
//! ended and, by ending itself, ends everything. The *stage* still has privilege; it waits for the specification,
//! attaches the code, drops everything and becomes the program.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{Setting, image, outlet, root, stage};
use crate::Level;
use crate::sys::process::{self, Side};
use crate::sys::{Context, landlock, mount, net, seccomp, socket};

/// User and group of the program inside, as on AWS.
pub(crate) const INSIDE_ID: u32 = 993;
/// First host user id given to workers (when the spawner is root): above what /etc/subuid hands out, each worker gets
/// one of its own so that even a hole in the namespaces meets no file or process of anybody else.
const HOST_ID_FIRST: u32 = 1_879_048_192;
const HOST_ID_COUNT: u32 = 1 << 27;
/// How much less than others' work the preparation ahead of requests counts.
pub(super) const NICE: i32 = 10;
/// Of at most 1,000: a worker dies well before a server of the same size, yet does not invite it.
pub(super) const OOM_SCORE: &str = "300";
/// The ports inside.
pub(crate) const RUNTIME_API_PORT: u16 = 9001;
pub(crate) const ENDPOINT_PORT: u16 = 4566;

/// First byte of what the stage says: ready (descriptors follow), or an error text.
pub(super) const SAYS_READY: u8 = b'R';
pub(super) const SAYS_ERROR: u8 = b'E';
/// What a zygote's fork says: it is the program now, or which step failed.
pub(super) const SAYS_STARTED: u8 = b'S';
/// It has entered the sandbox and waits for its function.
pub(super) const SAYS_WAITING: u8 = b'W';
pub(super) const SAYS_FAILED: u8 = b'F';

/// What the spawner gives to the fresh child.
pub(super) struct Fresh {
    pub number: u64,
    pub tmp_bytes: u64,
    /// A `/tmp` that a sandbox before has not touched.
    pub tmp: Option<OwnedFd>,
    /// Nobody waits for it: it is made when there is nothing better to do.
    pub is_ahead: bool,
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
    /// Where it says that the mounts are made, if another process becomes the program.
    pub mounted: Option<OwnedFd>,
}

/// What a zygote's fork needs to become the program of this sandbox; the spawner holds it until it knows how the program
/// will come to run.
pub(super) struct Hand {
    /// The stage's end of its socket.
    pub report: OwnedFd,
    /// Tells init who the program is.
    pub adoption: OwnedFd,
    pub output: OwnedFd,
    pub user: OwnedFd,
    /// Gives the payload when the mounts are made.
    pub mounted: OwnedFd,
    /// See [`crate::cgroup::Group::doors`].
    pub doors: Vec<OwnedFd>,
    pub rules: Option<OwnedFd>,
}

/// Descriptors with [`SAYS_READY`]: first what the server gets (Runtime API, endpoint, output). In a sandbox `/tmp`, the
/// first five of [`Hand`], the doors, the rules and the sockets of the way out follow, the last three counted in the bytes
/// behind the word; the server gets those sockets as well.
pub(super) const GIFT_FDS: usize = 3;
pub(super) const HAND_FDS: usize = 5;
pub(super) const FIXED_FDS: usize = GIFT_FDS + 1 + HAND_FDS;

/// Goes on in the child of the clone, and never comes back.
pub(super) fn run(setting: &Setting, fresh: Fresh) -> ! {
    let kept: Vec<BorrowedFd<'_>> =
        [&fresh.ctl, &fresh.status].into_iter().chain(&fresh.tmp).map(AsFd::as_fd).collect();
    process::close_all_but(&kept);
    let Fresh { number, tmp_bytes, tmp, is_ahead, ctl, status } = fresh;
    // Ends with the spawner even while it prepares.
    let _ = process::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64, 0);
    // Only real root may take it back.
    let is_behind = is_ahead && setting.is_root && process::set_nice(NICE).is_ok();
    process::reset_signals();
    let made = if setting.level == Level::None { plain() } else { isolated(setting, number, tmp_bytes, tmp) };
    if is_behind && let Err(e) = process::set_nice(0) {
        fail(&ctl, &format!("set the priority: {e}"));
    }
    // Not before: a session of its own is as much to the scheduler as the server's (autogroups).
    process::setsid();
    let made = match made {
        Ok(made) => made,
        Err(e) => fail(&ctl, &e.to_string()),
    };
    if setting.level == Level::None {
        // No init: the spawner waits for the program itself.
        let ready = [made.runtime_api.as_fd(), made.endpoint.as_fd(), made.output_read.as_fd()];
        if socket::send(ctl.as_fd(), &[SAYS_READY], &ready).is_err() {
            process::exit(1);
        }
        stage::run(setting, Stage { ctl, root: None, user: None, rules: None, output: made.output, mounted: None })
    }
    let (pipes, gate, hold) = match Pipes::new().and_then(|pipes| socket::pair().map(|(a, b)| (pipes, a, b))) {
        Ok(made) => made,
        Err(e) => fail(&ctl, &format!("make pipes: {e}")),
    };
    let host_id = host_id(setting, number);
    match process::clone(0) {
        Err(e) => fail(&ctl, &format!("fork the stage: {e}")),
        Ok(Side::Child) => {
            drop(hold);
            let user = match user_namespace(gate.as_fd(), host_id) {
                Ok(user) => user,
                Err(e) => fail(&ctl, &format!("make a user namespace: {e}")),
            };
            let gifts = gifts(&ctl, &made, &user, &pipes);
            let own = [Some(&pipes.mounted), made.root.as_ref()].into_iter().flatten().map(AsFd::as_fd);
            process::close_all_but(&gifts.iter().copied().chain(own).collect::<Vec<_>>());
            // Closed with everything else above; its number may be another's by now.
            std::mem::forget(gate);
            process::setsid();
            let word = [SAYS_READY, made.doors.len() as u8, u8::from(made.rules.is_some()), made.outlet.len() as u8];
            if socket::send(ctl.as_fd(), &word, &gifts).is_err() {
                process::exit(1);
            }
            let Made { root, rules, output, tmp, doors, outlet, runtime_api, endpoint, output_read } = made;
            drop((tmp, doors, outlet, runtime_api, endpoint, output_read, pipes.adoption, pipes.mounted_read));
            std::mem::forget(pipes.adoption_read);
            stage::run(setting, Stage { ctl, root, user: Some(user), rules, output, mounted: Some(pipes.mounted) })
        }
        Ok(Side::Parent(program, _)) => init(setting, program, status, pipes.adoption_read, hold),
    }
}

/// Between stage, init and a program that is a zygote's fork.
struct Pipes {
    mounted_read: OwnedFd,
    mounted: OwnedFd,
    adoption_read: OwnedFd,
    adoption: OwnedFd,
}

impl Pipes {
    fn new() -> io::Result<Pipes> {
        let (mounted_read, mounted) = socket::pipe()?;
        let (adoption_read, adoption) = socket::pipe()?;
        Ok(Pipes { mounted_read, mounted, adoption_read, adoption })
    }
}

/// What the spawner gets, in the order that [`Hand`] says.
fn gifts<'a>(ctl: &'a OwnedFd, made: &'a Made, user: &'a OwnedFd, pipes: &'a Pipes) -> Vec<BorrowedFd<'a>> {
    let first = [made.runtime_api.as_fd(), made.endpoint.as_fd(), made.output_read.as_fd()];
    let rest = [ctl, &pipes.adoption, &made.output, user, &pipes.mounted_read].into_iter();
    let rest = made.tmp.iter().chain(rest).chain(&made.doors).chain(&made.rules).chain(&made.outlet);
    first.into_iter().chain(rest.map(AsFd::as_fd)).collect()
}

/// Says why and leaves, when the spawner has let go: the end of the stage is the end of the sandbox, into which a zygote may be
/// forking at this moment.
pub(super) fn fail(ctl: &OwnedFd, text: &str) -> ! {
    let mut packet = vec![SAYS_ERROR];
    packet.extend(text.bytes().take(4096));
    let _ = socket::send(ctl.as_fd(), &packet, &[]);
    while let Ok(Some(_)) = socket::receive(ctl.as_fd(), &mut packet) {}
    process::exit(127)
}

struct Made {
    root: Option<OwnedFd>,
    rules: Option<OwnedFd>,
    tmp: Option<OwnedFd>,
    doors: Vec<OwnedFd>,
    /// The sockets of the way out, where there is one.
    outlet: Vec<OwnedFd>,
    output: OwnedFd,
    output_read: OwnedFd,
    runtime_api: TcpListener,
    endpoint: TcpListener,
}

/// Level none: sockets and a pipe on the host itself.
fn plain() -> io::Result<Made> {
    let (output_read, output) = socket::pipe()?;
    let (runtime_api, endpoint) = (listen(0)?, listen(0)?);
    Ok(Made {
        root: None,
        rules: None,
        tmp: None,
        doors: Vec::new(),
        outlet: Vec::new(),
        output,
        output_read,
        runtime_api,
        endpoint,
    })
}

fn isolated(setting: &Setting, number: u64, tmp_bytes: u64, kept_tmp: Option<OwnedFd>) -> io::Result<Made> {
    // Without memory, the host should kill workers before the server.
    fs::write("/proc/self/oom_score_adj", OOM_SCORE).context("set the OOM score")?;
    process::set_hostname("localhost").context("set the host name")?;
    process::unshare(libc::CLONE_NEWNET).context("make a network namespace")?;
    net::loopback_up().context("set the loopback interface up")?;
    let runtime_api = listen(RUNTIME_API_PORT).context("listen for the Runtime API")?;
    let endpoint = listen(ENDPOINT_PORT).context("listen for the endpoint")?;
    let outlet = match &setting.egress {
        Some(egress) => outlet::open(egress).context("make the way out")?.into(),
        None => Vec::new(),
    };

    let at = setting.run_dir.join("root");
    let new_root = root::build(&setting.run_dir.join("template"), &at)?;
    let tmp = match kept_tmp {
        Some(kept) => image::mount_again(kept, &at.join("tmp"))?,
        None if setting.images => image::mount(&setting.run_dir.join("images"), tmp_bytes, &at.join("tmp"))?,
        None => image::mount_tmpfs(tmp_bytes, &at.join("tmp"))?,
    };
    let rules = landlock::ruleset(&at).context("make landlock rules")?;
    let (output_read, output) = socket::pipe()?;
    if setting.is_root {
        // So that the program may open /dev/stdout, which is this pipe.
        let host_id = host_id(setting, number);
        process::chown(output.as_fd(), host_id, host_id).context("hand over the output pipe")?;
    }
    let mut doors = Vec::new();
    if let Some(h) = &setting.hierarchy {
        // Last, so that the preparation itself is not charged to the function.
        let group = h.group(&group_name(number));
        group.create()?;
        group.join()?;
        doors = group.doors()?;
        process::unshare(libc::CLONE_NEWCGROUP).context("make a cgroup namespace")?;
    }
    // The last use of a path of the host.
    mount::pivot_into(new_root.as_fd()).context("enter the root")?;
    Ok(Made { root: Some(new_root), rules, tmp: Some(tmp), doors, outlet, output, output_read, runtime_api, endpoint })
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

/// The host user of a worker.
fn host_id(setting: &Setting, number: u64) -> u32 {
    if setting.is_root { HOST_ID_FIRST + (number % u64::from(HOST_ID_COUNT)) as u32 } else { INSIDE_ID }
}

/// The user namespace with only the program's user in it, which init has made for itself and waits for.
///
/// It is made late and entered last, so that all mounts belong to the outer namespace: inside, not even a process with every
/// capability of the user namespace could change them. Init makes it because a process of its own for that would cost more than
/// the namespace.
fn user_namespace(gate: BorrowedFd<'_>, host_id: u32) -> io::Result<OwnedFd> {
    let mut said = Vec::new();
    if socket::receive(gate, &mut said)?.is_none() {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    let line = format!("{INSIDE_ID} {host_id} 1");
    fs::write("/proc/1/uid_map", &line)?;
    fs::write("/proc/1/gid_map", &line)?;
    let user = fs::File::open("/proc/1/ns/user")?;
    socket::send(gate, b"m", &[])?;
    Ok(user.into())
}

/// Process 1: reaps, reports how the program ended, ends. The program is the stage itself, or whom it leaves the place to.
fn init(setting: &Setting, stage: i32, status: OwnedFd, adoption: OwnedFd, hold: OwnedFd) -> ! {
    process::close_all_but(&[status.as_fd(), adoption.as_fd(), hold.as_fd()]);
    let lowered = lower_init(setting, &hold);
    drop(hold);
    if lowered.is_err() {
        process::exit(126);
    }
    let mut adoption = Some(fs::File::from(adoption));
    let mut program = stage;
    // A program that ended before the stage did.
    let mut early = Vec::new();
    loop {
        let Ok((pid, mut ended)) = process::wait(-1) else { process::exit(125) };
        if pid != program {
            if adoption.is_some() {
                early.push((pid, ended));
            }
            continue;
        }
        // To the end of the pipe: only then has the middle, whose child the program was, ended.
        let mut adopted = Vec::new();
        if ended == 0
            && let Some(mut adoption) = adoption.take()
            && adoption.read_to_end(&mut adopted).is_ok()
            && let Ok(number) = adopted.as_slice().try_into()
        {
            program = i32::from_le_bytes(number);
            match early.drain(..).find(|(pid, _)| *pid == program) {
                Some((_, status)) => ended = status,
                None => continue,
            }
        }
        let _ = fs::File::from(status).write_all(&ended.to_le_bytes());
        process::exit(0)
    }
}

/// Takes everything from init that waiting does not need.
fn lower_init(setting: &Setting, hold: &OwnedFd) -> io::Result<()> {
    let null = process::open_null()?;
    for number in 0..3 {
        process::dup_to(null.as_fd(), number)?;
    }
    process::unshare(libc::CLONE_NEWUSER)?;
    socket::send(hold.as_fd(), b"u", &[])?;
    // The stage writes who is who in it.
    if socket::receive(hold.as_fd(), &mut Vec::new())?.is_none() {
        return Err(io::ErrorKind::BrokenPipe.into());
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
