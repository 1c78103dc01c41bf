//! One sandbox from its clone to its end, as the spawner sees it.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Setting;
use super::fork;
use super::image::{self, Free};
use super::janitor::Remains;
use super::prepare::{
    self, FIXED_FDS, Fresh, GIFT_FDS, HAND_FDS, Hand, SAYS_ERROR, SAYS_FAILED, SAYS_READY, SAYS_STARTED, SAYS_WAITING,
};
use crate::cgroup::{Group, Limits};
use crate::sys::process::{self, Side};
use crate::sys::{Context, socket};
use crate::{Exit, Level, Spec};

/// Where a sandbox is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Preparing,
    Ready,
    /// It has its specification and has not executed the program yet; the number is the request's.
    Starting(u64),
    Running,
    /// Of no use any more, but its zygote is forking into it: killing what is between the two would leave the zygote with locks
    /// that nobody holds. It is killed when the fork is made.
    Doomed,
}

/// What the stage said.
pub(super) enum Said {
    Ready,
    Error(String),
    /// The zygote's fork waits for its function.
    Waiting,
    /// The zygote's fork is the program now.
    Started,
    /// It executed the program (or died: the pidfd tells).
    Closed,
    Nothing,
}

/// A fork that was asked of a zygote, or will be.
pub(super) struct Fork {
    pub zygote: u64,
    /// Until it is sent.
    pub packet: Vec<u8>,
    pub names: Vec<&'static str>,
    /// It is done with the zygote.
    pub is_waiting: bool,
}

/// What a sandbox is made of and for.
pub(super) struct Plan {
    pub tmp_bytes: u64,
    /// A `/tmp` of that size that a sandbox before has not touched.
    pub tmp: Option<OwnedFd>,
    /// No request waits for it.
    pub is_ahead: bool,
}

pub(super) struct Cell {
    pub number: u64,
    pub phase: Phase,
    pub tmp_bytes: u64,
    pub pid: i32,
    pub pidfd: OwnedFd,
    /// To the stage, until it executes.
    pub ctl: Option<OwnedFd>,
    /// What a zygote's fork would need, until it is known how the program starts.
    pub hand: Option<Hand>,
    /// The zygote that was asked to fork, until the program runs.
    pub fork: Option<Fork>,
    /// What the server gets: Runtime API, endpoint, output, and the sockets of the way out where there is one.
    pub gifts: Vec<OwnedFd>,
    /// Becomes readable when memory ran out (cgroup v1).
    pub oom_watch: Option<OwnedFd>,
    pub oom: bool,
    /// Level none: no init ends the program's children with it.
    is_plain: bool,
    /// `/tmp` is an image, which may serve again.
    is_tmp_kept: bool,
    status: OwnedFd,
    tmp: Option<OwnedFd>,
    /// What was free there when it was fresh; `None` where it is used once.
    tmp_free: Option<Free>,
    group: Option<Box<dyn Group>>,
}

impl Cell {
    /// Clones a child that prepares itself.
    pub(super) fn start(setting: &Setting, number: u64, plan: Plan) -> io::Result<Cell> {
        let Plan { tmp_bytes, tmp, is_ahead } = plan;
        let (ctl, child_ctl) = socket::pair()?;
        let (status, child_status) = socket::pipe()?;
        let namespaces = match setting.level {
            Level::None => 0,
            // The network and cgroup namespaces follow in the child: the one is slow, the other must come later.
            _ => libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS,
        };
        match process::clone(namespaces)? {
            Side::Child => {
                let fresh = Fresh { number, tmp_bytes, tmp, is_ahead, ctl: child_ctl, status: child_status };
                // The parent's ends are closed with everything else; they must not be closed a second time.
                std::mem::forget((ctl, status));
                prepare::run(setting, fresh)
            }
            Side::Parent(pid, pidfd) => {
                socket::set_nonblocking(ctl.as_fd())?;
                let group = setting.hierarchy.as_ref().map(|h| h.group(&prepare::group_name(number)));
                Ok(Cell {
                    number,
                    phase: Phase::Preparing,
                    tmp_bytes,
                    pid,
                    pidfd,
                    ctl: Some(ctl),
                    hand: None,
                    fork: None,
                    gifts: Vec::new(),
                    oom_watch: None,
                    oom: false,
                    is_plain: setting.level == Level::None,
                    is_tmp_kept: setting.images,
                    status,
                    tmp: None,
                    tmp_free: None,
                    group,
                })
            }
        }
    }

    /// Takes the stage's next word, if there is one.
    pub(super) fn listen(&mut self, packet: &mut Vec<u8>) -> Said {
        let Some(ctl) = &self.ctl else { return Said::Nothing };
        match socket::receive(ctl.as_fd(), packet) {
            Ok(Some(fds)) => match packet.split_first() {
                Some((&SAYS_READY, counts)) => match self.take(fds, counts) {
                    Ok(()) => Said::Ready,
                    Err(e) => Said::Error(e.to_string()),
                },
                Some((&SAYS_STARTED, _)) if self.fork.is_some() => Said::Started,
                Some((&SAYS_WAITING, _)) if self.fork.is_some() => Said::Waiting,
                Some((&SAYS_FAILED, told)) => {
                    let names = self.fork.as_ref().map(|f| f.names.as_slice()).unwrap_or_default();
                    Said::Error(fork::describe(names, told))
                }
                Some((&SAYS_ERROR, text)) => Said::Error(String::from_utf8_lossy(text).into_owned()),
                _ => Said::Error("the sandbox sent nonsense".into()),
            },
            Ok(None) => Said::Closed,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Said::Nothing,
            Err(e) => Said::Error(format!("read from the sandbox: {e}")),
        }
    }

    /// What comes with the stage's first word.
    fn take(&mut self, mut fds: Vec<OwnedFd>, counts: &[u8]) -> io::Result<()> {
        let nonsense = || io::Error::new(io::ErrorKind::InvalidData, "the sandbox sent nonsense");
        let mut outlet = Vec::new();
        if let [doors, has_rules, sockets] = *counts {
            let (doors, sockets) = (usize::from(doors), usize::from(sockets));
            if fds.len() != FIXED_FDS + doors + usize::from(has_rules) + sockets {
                return Err(nonsense());
            }
            outlet = fds.split_off(fds.len() - sockets);
            let rules = if has_rules == 1 { fds.pop() } else { None };
            let behind = fds.split_off(FIXED_FDS);
            let hand = fds.split_off(GIFT_FDS + 1);
            let [report, adoption, output, user, mounted] =
                <[OwnedFd; HAND_FDS]>::try_from(hand).map_err(|_| nonsense())?;
            self.hand = Some(Hand { report, adoption, output, user, mounted, doors: behind, rules });
            self.tmp = fds.pop();
        }
        if fds.len() != GIFT_FDS {
            return Err(nonsense());
        }
        fds.append(&mut outlet);
        self.gifts = fds;
        if let Some(tmp) = self.tmp.as_ref().filter(|_| self.is_tmp_kept) {
            self.tmp_free = Some(Free::of(tmp.as_fd()).context("look at /tmp")?);
        }
        if let Some(group) = &self.group {
            self.oom_watch = group.watch_oom().context("watch for lack of memory")?;
        }
        Ok(())
    }

    /// Sets the limits and sends the specification (the server's own packet) and its mounts to the stage.
    pub(super) fn give(&mut self, seq: u64, spec: &Spec, packet: &[u8], trees: &[OwnedFd]) -> io::Result<()> {
        if let Some(group) = &self.group {
            group.limit(&Limits::from(spec))?;
        }
        let ctl = self.ctl.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        let trees: Vec<BorrowedFd<'_>> = trees.iter().map(AsFd::as_fd).collect();
        socket::send(ctl.as_fd(), packet, &trees)?;
        self.phase = Phase::Starting(seq);
        Ok(())
    }

    /// Ends every process of the sandbox, frozen or not.
    pub(super) fn kill(&self) {
        // That it is dead already is what we want.
        let _ = process::signal(self.pidfd.as_fd(), libc::SIGKILL);
        if let Some(group) = &self.group {
            let _ = group.set_frozen(false);
        }
    }

    /// Reaps the dead init; how the program ended, its memory peak, and what is left to take apart.
    pub(super) fn bury(self) -> (Exit, u64, Remains) {
        if self.is_plain {
            // Before it is reaped, so that the number is still its own.
            let _ = process::kill(-self.pid, libc::SIGKILL);
        }
        let own = process::wait(self.pid).map_or(libc::SIGKILL, |(_, status)| status);
        let mut told = [0; 4];
        // Without init (level none) the status is our own child's; otherwise init told it, unless it was killed.
        let status = match fs::File::from(self.status).read_exact(&mut told) {
            Ok(()) => i32::from_le_bytes(told),
            Err(_) => own,
        };
        let (code, signal) = process::split_status(status);
        let kills = self.group.as_ref().map_or(0, |g| g.oom_kills());
        let oom = self.oom || (signal == Some(libc::SIGKILL) && kills > 0);
        let exit = if oom { Exit { code: None, signal: Some(libc::SIGKILL), oom } } else { Exit { code, signal, oom } };
        let peak = self.group.as_ref().map_or(0, |g| g.memory_peak_bytes());
        let group = self.group.is_some().then(|| prepare::group_name(self.number));
        let is_untouched = |tmp: &OwnedFd| self.tmp_free.is_some_and(|free| image::is_untouched(tmp.as_fd(), free));
        let is_clean = self.tmp.as_ref().is_some_and(is_untouched);
        (exit, peak, Remains { group, tmp: self.tmp, is_clean })
    }
}
