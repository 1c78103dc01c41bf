//! Version 1: four hierarchies, one directory in each.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::{
    Found, Group, Hierarchy, Limits, door, make_dir, pids, read_key, read_number, remove_dir, sub_dirs, writable, write,
};
use crate::sys::check;

const CONTROLLERS: [&str; 4] = ["memory", "pids", "cpu", "freezer"];
/// Period of the CPU quota, the kernel's default.
const PERIOD_US: u64 = 100_000;

/// Base directories in the order of [`CONTROLLERS`].
pub(crate) struct V1 {
    pub(super) bases: [PathBuf; 4],
}

struct V1Group {
    dirs: [PathBuf; 4],
}

impl V1 {
    pub(super) fn open(name: &str) -> Result<V1, String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|e| e.to_string())?;
        let mut bases: [PathBuf; 4] = Default::default();
        for (base, controller) in bases.iter_mut().zip(CONTROLLERS) {
            let mounted = mount_point(&mounts, controller)
                .ok_or_else(|| format!("the {controller} controller is not mounted"))?;
            *base = mounted.join(name);
            make_dir(base).map_err(|e| e.to_string())?;
        }
        Ok(V1 { bases })
    }
}

/// Each controller that is needed, where it is mounted writable.
pub(super) fn survey() -> Vec<Found> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let find = |c| mount_point(&mounts, c).ok_or_else(|| "not mounted".to_owned()).and_then(writable);
    CONTROLLERS.iter().map(|c| (*c, find(c))).collect()
}

/// Where a controller is mounted, from mountinfo: field 5 is the place; after the dash come type, source and options.
fn mount_point(mountinfo: &str, controller: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let mut tail = tail.split(' ');
        let is_ours = tail.next()? == "cgroup" && tail.nth(1)?.split(',').any(|o| o == controller);
        is_ours.then(|| head.split(' ').nth(4).map(PathBuf::from))?
    })
}

impl Hierarchy for V1 {
    fn group(&self, name: &str) -> Box<dyn Group> {
        Box::new(V1Group { dirs: self.bases.each_ref().map(|b| b.join(name)) })
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.bases.iter().flat_map(|b| sub_dirs(b)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn remove(&self) {
        for base in &self.bases {
            // What is still in use is found by the next start.
            let _ = remove_dir(base);
        }
    }

    fn describe(&self) -> (u64, Vec<PathBuf>) {
        (1, self.bases.to_vec())
    }
}

impl V1Group {
    fn memory(&self) -> &Path {
        &self.dirs[0]
    }
    fn pids(&self) -> &Path {
        &self.dirs[1]
    }
    fn cpu(&self) -> &Path {
        &self.dirs[2]
    }
    fn freezer(&self) -> &Path {
        &self.dirs[3]
    }
}

impl Group for V1Group {
    fn create(&self) -> io::Result<()> {
        self.dirs.iter().try_for_each(|d| make_dir(d))
    }

    fn join(&self) -> io::Result<()> {
        self.dirs.iter().try_for_each(|d| write(&d.join("cgroup.procs"), 0))
    }

    fn doors(&self) -> io::Result<Vec<OwnedFd>> {
        self.dirs.iter().map(|d| door(d)).collect()
    }

    fn limit(&self, l: &Limits) -> io::Result<()> {
        write(&self.memory().join("memory.limit_in_bytes"), l.memory_bytes)?;
        let with_swap = self.memory().join("memory.memsw.limit_in_bytes");
        // Absent where the kernel does not account swap; then the second line still keeps the worker out of it.
        if with_swap.exists() {
            write(&with_swap, l.memory_bytes)?;
        } else {
            write(&self.memory().join("memory.swappiness"), 0)?;
        }
        write(&self.pids().join("pids.max"), l.pids_max)?;
        write(&self.cpu().join("cpu.shares"), l.cpu_shares.max(2))?;
        if let Some(percent) = l.cpu_quota_percent {
            write(&self.cpu().join("cpu.cfs_period_us"), PERIOD_US)?;
            write(&self.cpu().join("cpu.cfs_quota_us"), PERIOD_US * u64::from(percent) / 100)?;
        }
        Ok(())
    }

    fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        let state = if frozen { "FROZEN" } else { "THAWED" };
        write(&self.freezer().join("freezer.state"), state)
    }

    fn memory_peak_bytes(&self) -> u64 {
        read_number(&self.memory().join("memory.max_usage_in_bytes")).unwrap_or(0)
    }

    fn oom_kills(&self) -> u64 {
        read_key(&self.memory().join("memory.oom_control"), "oom_kill").unwrap_or(0)
    }

    fn watch_oom(&self) -> io::Result<Option<OwnedFd>> {
        // SAFETY: eventfd takes integers only.
        let event = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the descriptor was just made and nobody else owns it.
        let event = unsafe { OwnedFd::from_raw_fd(event) };
        let control = fs::File::open(self.memory().join("memory.oom_control"))?;
        let line = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
        write(&self.memory().join("cgroup.event_control"), line)?;
        Ok(Some(event))
    }

    fn processes(&self) -> Vec<i32> {
        let mut all: Vec<i32> = self.dirs.iter().flat_map(|d| pids(&d.join("cgroup.procs"))).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    fn remove(&self) -> io::Result<()> {
        let results = self.dirs.each_ref().map(|d| remove_dir(d));
        results.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_are_found_alone_or_mounted_together() {
        let text = "30 24 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                    31 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                    32 24 0:28 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";
        assert_eq!(mount_point(text, "cpu"), Some("/sys/fs/cgroup/cpu,cpuacct".into()));
        assert_eq!(mount_point(text, "memory"), Some("/sys/fs/cgroup/memory".into()));
        assert_eq!(mount_point(text, "pids"), None);
    }
}
