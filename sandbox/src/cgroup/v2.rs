//! Version 2: one unified directory per worker. Written to the kernel's documentation; not run on such a host yet.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::{
    Found, Group, Hierarchy, Limits, door, make_dir, pids, read_key, read_number, remove_dir, sub_dirs, writable, write,
};

const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];
/// Period of the CPU quota, the kernel's default.
const PERIOD_US: u64 = 100_000;
/// Where the server's own processes go: a group with controllers for its children must have no processes itself.
const OWN_LEAF: &str = "squall-server";

pub(crate) struct V2 {
    pub(super) base: PathBuf,
}

struct V2Group {
    dir: PathBuf,
}

impl V2 {
    pub(super) fn open(name: &str) -> Result<V2, String> {
        let own = own_dir()?;
        let offered = fs::read_to_string(own.join("cgroup.controllers")).map_err(|e| e.to_string())?;
        let missing: Vec<&str> =
            CONTROLLERS.into_iter().filter(|c| !offered.split_whitespace().any(|o| o == *c)).collect();
        if !missing.is_empty() {
            return Err(format!(
                "{} offers no {} controller (with systemd: Delegate=yes)",
                own.display(),
                missing.join(", ")
            ));
        }
        let base = own.join(name);
        make_dir(&base).map_err(|e| format!("{e} (with systemd: Delegate=yes)"))?;
        pass_on(&own).or_else(|_| {
            move_own_processes(&own)?;
            pass_on(&own)
        })?;
        pass_on(&base)?;
        Ok(V2 { base })
    }
}

/// Each controller that is needed, where our own group offers it.
pub(super) fn survey() -> Vec<Found> {
    let own = own_dir().and_then(writable);
    let offered = own.as_ref().map(|o| fs::read_to_string(o.join("cgroup.controllers")).unwrap_or_default());
    let find = |c: &&str| {
        let (own, offered) = (own.clone()?, offered.clone().map_err(Clone::clone)?);
        let has = offered.split_whitespace().any(|o| o == *c);
        has.then_some(own).ok_or_else(|| "not offered to our group".to_owned())
    };
    CONTROLLERS.iter().map(|c| (*c, find(c))).collect()
}

/// This process's group; the parent of [`OWN_LEAF`] if an earlier start moved it there.
fn own_dir() -> Result<PathBuf, String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|e| e.to_string())?;
    let mount = mounts
        .lines()
        .find_map(|l| {
            let (head, tail) = l.split_once(" - ")?;
            tail.starts_with("cgroup2 ").then(|| head.split(' ').nth(4).map(PathBuf::from))?
        })
        .ok_or("not mounted")?;
    let groups = fs::read_to_string("/proc/self/cgroup").map_err(|e| e.to_string())?;
    let own = groups.lines().find_map(|l| l.strip_prefix("0::/")).ok_or("no group of our own")?;
    let own = own.strip_suffix(OWN_LEAF).unwrap_or(own);
    Ok(mount.join(own.trim_end_matches('/')))
}

/// Enables the controllers for the children of a group.
fn pass_on(dir: &Path) -> Result<(), String> {
    write(&dir.join("cgroup.subtree_control"), "+memory +pids +cpu").map_err(|e| e.to_string())
}

fn move_own_processes(own: &Path) -> Result<(), String> {
    let leaf = own.join(OWN_LEAF);
    make_dir(&leaf).map_err(|e| e.to_string())?;
    for pid in pids(&own.join("cgroup.procs")) {
        write(&leaf.join("cgroup.procs"), pid).map_err(|e| e.to_string())?;
    }
    Ok(())
}

impl Hierarchy for V2 {
    fn group(&self, name: &str) -> Box<dyn Group> {
        Box::new(V2Group { dir: self.base.join(name) })
    }

    fn names(&self) -> Vec<String> {
        sub_dirs(&self.base)
    }

    fn remove(&self) {
        // What is still in use is found by the next start.
        let _ = remove_dir(&self.base);
    }

    fn describe(&self) -> (u64, Vec<PathBuf>) {
        (2, vec![self.base.clone()])
    }
}

/// cgroup v1 shares (2 to 262,144, normal 1,024) as v2 weight (1 to 10,000), the mapping that container runtimes use.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

impl Group for V2Group {
    fn create(&self) -> io::Result<()> {
        make_dir(&self.dir)?;
        write(&self.dir.join("memory.oom.group"), 1)
    }

    fn join(&self) -> io::Result<()> {
        write(&self.dir.join("cgroup.procs"), 0)
    }

    fn doors(&self) -> io::Result<Vec<OwnedFd>> {
        Ok(vec![door(&self.dir)?])
    }

    fn limit(&self, l: &Limits) -> io::Result<()> {
        write(&self.dir.join("memory.max"), l.memory_bytes)?;
        let swap = self.dir.join("memory.swap.max");
        // Absent on a kernel without swap.
        if swap.exists() {
            write(&swap, 0)?;
        }
        write(&self.dir.join("pids.max"), l.pids_max)?;
        write(&self.dir.join("cpu.weight"), weight(l.cpu_shares))?;
        if let Some(percent) = l.cpu_quota_percent {
            let quota = PERIOD_US * u64::from(percent) / 100;
            write(&self.dir.join("cpu.max"), format!("{quota} {PERIOD_US}"))?;
        }
        Ok(())
    }

    fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        write(&self.dir.join("cgroup.freeze"), u8::from(frozen))
    }

    fn memory_peak_bytes(&self) -> u64 {
        let peak = read_number(&self.dir.join("memory.peak"));
        // memory.peak came with Linux 5.19.
        peak.or_else(|| read_number(&self.dir.join("memory.current"))).unwrap_or(0)
    }

    fn oom_kills(&self) -> u64 {
        read_key(&self.dir.join("memory.events"), "oom_kill").unwrap_or(0)
    }

    fn watch_oom(&self) -> io::Result<Option<OwnedFd>> {
        Ok(None) // memory.oom.group: the kernel kills all of it.
    }

    fn processes(&self) -> Vec<i32> {
        pids(&self.dir.join("cgroup.procs"))
    }

    fn remove(&self) -> io::Result<()> {
        remove_dir(&self.dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_map_to_weights() {
        assert_eq!([weight(0), weight(2), weight(1024), weight(262_144)], [1, 1, 39, 10_000]);
    }

    /// The files that a worker's limits end in, on a plain directory: what a v2 host would be told.
    #[test]
    fn limits_are_written_as_documented() {
        let dir = tempfile::tempdir().expect("temporary directory");
        fs::write(dir.path().join("memory.swap.max"), "max").expect("swap file");
        let group = V2Group { dir: dir.path().to_owned() };
        let limits = Limits { memory_bytes: 1 << 27, pids_max: 65, cpu_shares: 1024, cpu_quota_percent: Some(150) };
        group.limit(&limits).expect("limit");
        for (file, value) in [
            ("memory.max", "134217728"),
            ("memory.swap.max", "0"),
            ("pids.max", "65"),
            ("cpu.weight", "39"),
            ("cpu.max", "150000 100000"),
        ] {
            assert_eq!(fs::read_to_string(dir.path().join(file)).ok().as_deref(), Some(value), "{file}");
        }
    }
}
