//! One zygote as the spawner sees it: its start in a root like its workers', its words, its end.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use super::prepare::{OOM_SCORE, SAYS_ERROR, SAYS_READY};
use super::stage::{bind_all, pair, strings};
use super::{Setting, root};
use crate::ZygoteSpec;
use crate::sys::mount::{self, READ_ONLY};
use crate::sys::process::{self, Side};
use crate::sys::{Context, socket};

/// The descriptor at which the zygote finds its control socket.
const CONTROL: i32 = 3;
/// Space for requests that are under way: [`IN_FLIGHT_MAX`] of the largest.
const CONTROL_BYTES: i32 = 2 << 20;
/// Forks asked for at a time: enough that the zygote never waits for the spawner, few enough to fit the socket.
const IN_FLIGHT_MAX: usize = 8;
/// Stem cells that start at a time: each takes all of a processor for a while.
const STARTING_MAX: usize = 1;
/// How long a fork may take that takes milliseconds: beyond, the zygote is of no use.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same for the start of a stem cell, which takes hundreds of them.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Folders that are looked for libraries. They exist in workers or not; a C library that has once found them missing
/// would not look again after the fork.
const LIBRARY_DIRS: [&str; 4] = ["var/task/lib", "opt/lib", "opt/bin", "var/lang/lib"];

/// Where instances come from.
pub(super) enum Origin {
    /// A process that forks.
    Process { control: OwnedFd, pid: i32, pidfd: OwnedFd },
    /// It is executed in sandboxes ahead of functions.
    Stem,
}

pub(super) struct Zygote {
    pub origin: Origin,
    pub spec: ZygoteSpec,
    pub is_ready: bool,
    pub in_flight: usize,
    /// Forks that are to wait in prepared sandboxes.
    pub stock: usize,
    /// When it was last heard of while forks are in flight.
    pub heard: Instant,
    /// Cells whose requests wait.
    pub backlog: VecDeque<u64>,
}

/// What a zygote said.
pub(super) enum Word {
    Ready(String),
    /// It is of no use, or gone: why.
    Gone(String),
    Nothing,
}

impl Zygote {
    pub(super) fn start(setting: &Setting, spec: &ZygoteSpec) -> io::Result<Zygote> {
        let (control, theirs) = socket::pair()?;
        match process::clone(libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS)? {
            Side::Child => {
                process::close_all_but(&[theirs.as_fd()]);
                // Closed with everything else.
                std::mem::forget(control);
                let error = match become_zygote(setting, spec, &theirs) {
                    Ok(never) => match never {},
                    Err(e) => e,
                };
                let mut packet = vec![SAYS_ERROR];
                packet.extend(error.to_string().bytes().take(4096));
                let _ = socket::send(theirs.as_fd(), &packet, &[]);
                process::exit(127)
            }
            Side::Parent(pid, pidfd) => {
                socket::set_nonblocking(control.as_fd())?;
                socket::widen(control.as_fd(), CONTROL_BYTES);
                Ok(Zygote::new(Origin::Process { control, pid, pidfd }, spec))
            }
        }
    }

    /// What stem cells are made of: there is no process until a sandbox is there.
    pub(super) fn stem(spec: &ZygoteSpec) -> Zygote {
        Zygote { is_ready: true, ..Zygote::new(Origin::Stem, spec) }
    }

    fn new(origin: Origin, spec: &ZygoteSpec) -> Zygote {
        let (spec, heard, backlog) = (spec.clone(), Instant::now(), VecDeque::new());
        Zygote { origin, spec, is_ready: false, in_flight: 0, stock: 0, heard, backlog }
    }

    /// The socket of the process, if there is one.
    pub(super) fn control(&self) -> Option<BorrowedFd<'_>> {
        match &self.origin {
            Origin::Process { control, .. } => Some(control.as_fd()),
            Origin::Stem => None,
        }
    }

    pub(super) fn is_stem(&self) -> bool {
        matches!(self.origin, Origin::Stem)
    }

    /// How many may be in flight.
    pub(super) fn in_flight_max(&self) -> usize {
        if self.is_stem() { STARTING_MAX } else { IN_FLIGHT_MAX }
    }

    /// Forks are in flight and nothing came of them for too long: it hangs, or was stopped.
    pub(super) fn is_stuck(&self) -> bool {
        let patience = if self.is_stem() { START_PATIENCE } else { PATIENCE };
        self.in_flight > 0 && self.heard.elapsed() > patience
    }

    pub(super) fn listen(&self, packet: &mut Vec<u8>) -> Word {
        let Some(control) = self.control() else { return Word::Nothing };
        match socket::receive(control, packet) {
            Ok(Some(_)) => match packet.split_first() {
                Some((&SAYS_READY, text)) => Word::Ready(String::from_utf8_lossy(text).into_owned()),
                Some((&SAYS_ERROR, text)) => Word::Gone(String::from_utf8_lossy(text).into_owned()),
                _ => Word::Gone("it sent nonsense".into()),
            },
            Ok(None) => Word::Gone("it ended".into()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Word::Nothing,
            Err(e) => Word::Gone(e.to_string()),
        }
    }

    /// Ends it; its workers live on.
    pub(super) fn end(self) {
        if let Origin::Process { pid, pidfd, .. } = self.origin {
            // That it is dead already is what we want.
            let _ = process::signal(pidfd.as_fd(), libc::SIGKILL);
            let _ = process::wait(pid);
        }
    }
}

/// In the clone: a root like a worker's with nothing of a function in it, and the interpreter in it, with privilege: it
/// must reach the namespaces of its forks.
fn become_zygote(setting: &Setting, spec: &ZygoteSpec, control: &OwnedFd) -> io::Result<Infallible> {
    process::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64, 0)?;
    process::setsid();
    process::reset_signals();
    let argv = strings(spec.argv.iter().cloned())?;
    let env = strings(spec.env.iter().map(pair))?;
    // Workers inherit it, as they do from their sandbox.
    fs::write("/proc/self/oom_score_adj", OOM_SCORE).context("set the OOM score")?;
    process::set_hostname("localhost").context("set the host name")?;
    process::unshare(libc::CLONE_NEWNET).context("make a network namespace")?;
    let at = setting.run_dir.join("root");
    let new_root = root::build(&setting.run_dir.join("template"), &at)?;
    for dir in LIBRARY_DIRS {
        fs::create_dir_all(at.join(dir)).context(dir)?;
    }
    bind_all(new_root.as_fd(), &spec.mounts)?;
    mount::set_attributes(new_root.as_fd(), READ_ONLY, false).context("make the root read-only")?;
    mount::pivot_into(new_root.as_fd()).context("enter the root")?;
    std::env::set_current_dir(Path::new("/"))?;
    process::set_umask(0o022);
    let null = process::open_null()?;
    process::dup_to(null.as_fd(), 0)?;
    process::dup_to(null.as_fd(), 1)?;
    // A copy above what is about to be overwritten.
    process::place(control.try_clone()?, CONTROL)?;
    process::allow_huge_pages(true);
    let program = spec.argv.first().map(|a| a.display().to_string()).unwrap_or_default();
    Err(process::exec(&argv, &env)).context(format_args!("execute {program}"))
}
