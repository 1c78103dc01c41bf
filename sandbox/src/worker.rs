//! A living worker as its owner holds it.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::cgroup::Group;
use crate::handle::Inner;
use crate::sys::process;
use crate::{Error, Exit};

/// A worker and what is connected to it. The parts may be moved out; when the last [`Control`] is dropped, every
/// process of the worker is killed and all that belongs to it is removed.
pub struct Worker {
    /// Host process id of the worker's first process: its init, or at level none the program itself.
    pub pid: i32,
    /// Listens, without blocking, where the program finds the Runtime API.
    pub runtime_api: TcpListener,
    /// Listens, without blocking, where the program finds the platform's own endpoint.
    pub endpoint: TcpListener,
    /// Address of `runtime_api` as the program sees it: 127.0.0.1:9001, at level none a free port of the host.
    pub runtime_api_addr: SocketAddr,
    /// Address of `endpoint` as the program sees it: 127.0.0.1:4566, at level none a free port of the host.
    pub endpoint_addr: SocketAddr,
    /// Read end of the pipe that is the program's standard output and standard error.
    pub output: OwnedFd,
    /// Where what it sends to the outside arrives; `None` where there is no way out.
    pub egress: Option<EgressSockets>,
    /// Waits for, stops and measures the worker.
    pub control: Control,
}

/// Sockets of a worker's network namespace, none of them blocking. Whoever holds them decides what becomes of what the worker
/// sends to addresses that [`crate::Egress`] opens, and to [`crate::NAME_SERVER`].
pub struct EgressSockets {
    /// Its TCP connections: the local address of an accepted one is the address that the worker meant.
    pub tcp: TcpListener,
    /// Its UDP packets; `IP_RECVORIGDSTADDR` tells the address that each was meant for.
    pub udp: UdpSocket,
    /// Sends IP packets with headers of their own into the namespace: answers to `udp` come from the address that was meant.
    pub raw: OwnedFd,
}

/// Waits for, stops and measures a worker; clones are the same worker.
#[derive(Clone)]
pub struct Control {
    alive: Arc<Alive>,
}

/// What the spawner tells about a worker over its life.
pub(crate) struct Life {
    pub exit: watch::Sender<Option<Exit>>,
    pub memory_peak_bytes: AtomicU64,
}

struct Alive {
    pid: i32,
    /// The program is the leader of a process group that must be killed as well: at level none there is no init.
    is_plain: bool,
    pidfd: OwnedFd,
    group: Option<Box<dyn Group>>,
    life: Arc<Life>,
    /// The spawner lives as long as its workers.
    _spawner: Arc<Inner>,
}

impl Control {
    pub(crate) fn new(
        pid: i32,
        pidfd: OwnedFd,
        group: Option<Box<dyn Group>>,
        is_plain: bool,
        life: Arc<Life>,
        spawner: Arc<Inner>,
    ) -> Control {
        Control { alive: Arc::new(Alive { pid, is_plain, pidfd, group, life, _spawner: spawner }) }
    }

    /// Waits for the end of the worker; answers at once when it has ended.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.alive.life.exit.subscribe();
        let ended = exit.wait_for(Option::is_some).await.ok().and_then(|e| *e);
        // The sender lives in `alive`: it cannot be gone.
        ended.unwrap_or_default()
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        *self.alive.life.exit.borrow()
    }

    /// Kills every process of the worker, frozen or not. Returns before they are gone: [`Control::wait`] tells.
    pub fn kill(&self) {
        self.alive.kill();
    }

    /// Stops every process of the worker from running.
    ///
    /// # Errors
    /// The worker is gone.
    pub fn freeze(&self) -> Result<(), Error> {
        self.alive.set_frozen(true).map_err(|source| Error::Io { action: "freeze the worker", source })
    }

    /// Lets it run again.
    ///
    /// # Errors
    /// The worker is gone.
    pub fn thaw(&self) -> Result<(), Error> {
        self.alive.set_frozen(false).map_err(|source| Error::Io { action: "thaw the worker", source })
    }

    /// Highest use of memory so far, in bytes; 0 where nothing measures it (below level full).
    pub fn memory_peak_bytes(&self) -> u64 {
        let told = self.alive.life.memory_peak_bytes.load(Ordering::Relaxed);
        if self.exit().is_some() {
            // Its cgroup may be another's by now, under the next spawner.
            return told;
        }
        let now = self.alive.group.as_ref().map_or(0, |g| g.memory_peak_bytes());
        told.max(now)
    }

    /// Whether it passed its memory limit.
    pub fn oom_killed(&self) -> bool {
        match self.exit() {
            Some(exit) => exit.oom,
            None => self.alive.group.as_ref().is_some_and(|g| g.oom_kills() > 0),
        }
    }
}

/// The same, for owners who keep the worker whole.
impl Worker {
    /// See [`Control::wait`].
    pub async fn wait(&self) -> Exit {
        self.control.wait().await
    }
    /// See [`Control::kill`].
    pub fn kill(&self) {
        self.control.kill();
    }
    /// See [`Control::freeze`].
    ///
    /// # Errors
    /// The worker is gone.
    pub fn freeze(&self) -> Result<(), Error> {
        self.control.freeze()
    }
    /// See [`Control::thaw`].
    ///
    /// # Errors
    /// The worker is gone.
    pub fn thaw(&self) -> Result<(), Error> {
        self.control.thaw()
    }
    /// See [`Control::memory_peak_bytes`].
    pub fn memory_peak_bytes(&self) -> u64 {
        self.control.memory_peak_bytes()
    }
    /// See [`Control::oom_killed`].
    pub fn oom_killed(&self) -> bool {
        self.control.oom_killed()
    }
}

impl Alive {
    fn kill(&self) {
        if self.life.exit.borrow().is_some() {
            return;
        }
        // That it is dead already is what we want.
        let _ = process::signal(self.pidfd.as_fd(), libc::SIGKILL);
        if self.is_plain {
            let _ = process::kill(-self.pid, libc::SIGKILL);
        }
        if let Some(group) = &self.group {
            // cgroup v1 delivers the signal only to what is not frozen.
            let _ = group.set_frozen(false);
        }
    }

    fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        match &self.group {
            Some(group) => group.set_frozen(frozen),
            None => signal_tree(self.pid, self.pidfd.as_fd(), frozen),
        }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Most rounds over a tree that changes while it is being stopped.
const ROUNDS_MAX: usize = 16;

/// Without a freezer: stops or continues a process and all its descendants, until no new one appears.
fn signal_tree(pid: i32, pidfd: std::os::fd::BorrowedFd<'_>, stop: bool) -> io::Result<()> {
    let signal = if stop { libc::SIGSTOP } else { libc::SIGCONT };
    // Init of a process namespace cannot be stopped by itself from inside, but from here it can.
    process::signal(pidfd, signal)?;
    let mut seen = vec![pid];
    for _ in 0..ROUNDS_MAX {
        let before = seen.len();
        let mut at = 0;
        while let Some(parent) = seen.get(at).copied() {
            at += 1;
            for child in children(parent) {
                if !seen.contains(&child) {
                    // It may have ended in between.
                    let _ = process::kill(child, signal);
                    seen.push(child);
                }
            }
        }
        if seen.len() == before {
            break;
        }
    }
    Ok(())
}

fn children(pid: i32) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|t| std::fs::read_to_string(t.path().join("children")).ok());
    lists.flat_map(|l| l.split_whitespace().filter_map(|p| p.parse().ok()).collect::<Vec<i32>>()).collect()
}
