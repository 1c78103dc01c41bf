//! The janitor processes: they take apart what is dead, which is too slow for the spawner's loop.
//!
//! Unmounting an image and releasing its loop device takes milliseconds of waiting inside the kernel, removing a cgroup
//! may have to wait too. When the spawner ends, for whatever reason, the janitors remove every cgroup that is left and
//! end too.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::prepare::NICE;
use crate::cgroup::{self, Hierarchy};
use crate::sys::process::{self, Side};
use crate::sys::{mount, socket};

/// `_IOR('X', 125, __u32)`: makes an ext4 stop all writing, so that unmounting it does not first write the dead
/// worker's data to the disk.
const EXT4_IOC_SHUTDOWN: u64 = 0x8004_587d;
/// Neither data nor journal is flushed.
const NO_FLUSH: u32 = 2;

/// Before the name of the group: whether anything is worth discarding in `/tmp`.
const CLEAN: char = '0';
const USED: char = '1';

/// Janitors at work: their waits overlap.
const HANDS: usize = 4;

/// The spawner's end.
pub(super) struct Janitor {
    hands: Vec<Hand>,
    /// Who is asked next.
    turn: usize,
    /// What the janitors could not take yet.
    backlog: VecDeque<Remains>,
}

struct Hand {
    to: OwnedFd,
    pid: i32,
}

/// What is left of a dead worker.
pub(super) struct Remains {
    /// Its cgroup, if it had one.
    pub group: Option<String>,
    /// Its `/tmp`, the last thing that keeps the image mounted.
    pub tmp: Option<OwnedFd>,
    /// Nothing was ever written there.
    pub is_clean: bool,
}

impl Janitor {
    /// `lock` is kept until the last janitor is done: a next server waits for that.
    pub(super) fn start(hierarchy: Option<Arc<dyn Hierarchy>>, lock: BorrowedFd<'_>) -> io::Result<Janitor> {
        let hands = (0..HANDS).map(|_| Hand::start(hierarchy.as_deref(), lock)).collect::<io::Result<_>>()?;
        Ok(Janitor { hands, turn: 0, backlog: VecDeque::new() })
    }

    pub(super) fn take(&mut self, remains: Remains) {
        self.backlog.push_back(remains);
        self.flush();
    }

    /// Hands over what fits; true if something is left for later.
    pub(super) fn flush(&mut self) -> bool {
        let mut busy = 0;
        while let Some(next) = self.backlog.front() {
            let Some(hand) = self.hands.get(self.turn) else { return false };
            self.turn = (self.turn + 1) % self.hands.len();
            let name = format!("{}{}", if next.is_clean { CLEAN } else { USED }, next.group.as_deref().unwrap_or("-"));
            let fds: Vec<BorrowedFd<'_>> = next.tmp.iter().map(AsFd::as_fd).collect();
            match socket::send(hand.to.as_fd(), name.as_bytes(), &fds) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    busy += 1;
                    if busy == self.hands.len() {
                        return true;
                    }
                }
                // A janitor that is gone cannot be helped; the next start sweeps.
                _ => drop(self.backlog.pop_front()),
            }
        }
        false
    }

    /// Waits until everything is taken apart.
    pub(super) fn finish(mut self) {
        while self.flush() {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let pids: Vec<i32> = self.hands.drain(..).map(|hand| hand.pid).collect();
        for pid in pids {
            let _ = process::wait(pid);
        }
    }
}

impl Hand {
    fn start(hierarchy: Option<&dyn Hierarchy>, lock: BorrowedFd<'_>) -> io::Result<Hand> {
        let (ours, theirs) = socket::pair()?;
        match process::clone(0)? {
            Side::Child => {
                // Among them the other janitors' sockets, whose end they would never see.
                process::close_all_but(&[theirs.as_fd(), lock]);
                std::mem::forget(ours);
                // What is over may wait for what is under way. Not allowed without root, and then not needed.
                let _ = process::set_nice(NICE);
                run(theirs.as_fd(), hierarchy);
                process::exit(0)
            }
            Side::Parent(pid, _) => {
                socket::set_nonblocking(ours.as_fd())?;
                Ok(Hand { to: ours, pid })
            }
        }
    }
}

fn run(from: BorrowedFd<'_>, hierarchy: Option<&dyn Hierarchy>) {
    let mut packet = Vec::new();
    while let Ok(Some(fds)) = socket::receive(from, &mut packet) {
        let Ok(said) = std::str::from_utf8(&packet) else { continue };
        for tmp in fds.iter().filter(|_| said.starts_with(USED)) {
            shut_down(tmp.as_fd());
        }
        drop(fds);
        let name = said.trim_start_matches([CLEAN, USED]);
        if let Some(h) = hierarchy.filter(|_| name != "-") {
            cgroup::end(&*h.group(name));
        }
    }
    if let Some(h) = hierarchy {
        cgroup::sweep(h);
        h.remove();
    }
}

fn shut_down(tmp: BorrowedFd<'_>) {
    let Ok(tmp) = mount::reopen(tmp) else { return };
    // SAFETY: the request reads one u32. A tmpfs does not know it, which is fine: it has nothing to flush.
    unsafe { libc::ioctl(tmp.as_raw_fd(), EXT4_IOC_SHUTDOWN as _, &NO_FLUSH) };
}
