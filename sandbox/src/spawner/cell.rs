//! One sandbox from its clone to its end, as the spawner sees it.

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::Setting;
use super::janitor::Remains;
use super::prepare::{self, Fresh, SAYS_ERROR, SAYS_READY};
use crate::cgroup::{Group, Limits};
use crate::sys::process::{self, Side};
use crate::sys::socket;
use crate::{Exit, Level, Spec};

/// Where a sandbox is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Preparing,
    Ready,
    /// It has its specification and has not executed the program yet; the number is the request's.
    Starting(u64),
    Running,
}

/// What the stage said.
pub(super) enum Said {
    Ready,
    Error(String),
    /// It executed the program (or died: the pidfd tells).
    Closed,
    Nothing,
}

pub(super) struct Cell {
    pub number: u64,
    pub phase: Phase,
    pub tmp_bytes: u64,
    pub pid: i32,
    pub pidfd: OwnedFd,
    /// To the stage, until it executes.
    pub ctl: Option<OwnedFd>,
    /// What the server gets: Runtime API, endpoint, output.
    pub gifts: Vec<OwnedFd>,
    /// Becomes readable when memory ran out (cgroup v1).
    pub oom_watch: Option<OwnedFd>,
    pub oom: bool,
    /// Level none: no init ends the program's children with it.
    is_plain: bool,
    status: OwnedFd,
    tmp: Option<OwnedFd>,
    group: Option<Box<dyn Group>>,
}

impl Cell {
    /// Clones a child that prepares itself.
    pub(super) fn start(setting: &Setting, number: u64, tmp_bytes: u64) -> io::Result<Cell> {
        let (ctl, child_ctl) = socket::pair()?;
        let (status, child_status) = socket::pipe()?;
        let namespaces = match setting.level {
            Level::None => 0,
            // The network and cgroup namespaces follow in the child: the one is slow, the other must come later.
            _ => libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS,
        };
        match process::clone(namespaces)? {
            Side::Child => {
                let fresh = Fresh { number, tmp_bytes, ctl: child_ctl, status: child_status };
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
                    gifts: Vec::new(),
                    oom_watch: None,
                    oom: false,
                    is_plain: setting.level == Level::None,
                    status,
                    tmp: None,
                    group,
                })
            }
        }
    }

    /// Takes the stage's next word, if there is one.
    pub(super) fn listen(&mut self, packet: &mut Vec<u8>) -> Said {
        let Some(ctl) = &self.ctl else { return Said::Nothing };
        match socket::receive(ctl.as_fd(), packet) {
            Ok(Some(mut fds)) => match packet.split_first() {
                Some((&SAYS_READY, _)) if fds.len() >= 3 => {
                    let rest = fds.split_off(3);
                    self.gifts = fds;
                    self.tmp = rest.into_iter().next();
                    match self.group.as_ref().map(|g| g.watch_oom()) {
                        Some(Ok(watch)) => self.oom_watch = watch,
                        Some(Err(e)) => return Said::Error(format!("watch for lack of memory: {e}")),
                        None => {}
                    }
                    Said::Ready
                }
                Some((&SAYS_ERROR, text)) => Said::Error(String::from_utf8_lossy(text).into_owned()),
                _ => Said::Error("the sandbox sent nonsense".into()),
            },
            Ok(None) => Said::Closed,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Said::Nothing,
            Err(e) => Said::Error(format!("read from the sandbox: {e}")),
        }
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
        (exit, peak, Remains { group, tmp: self.tmp })
    }
}
