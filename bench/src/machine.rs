//! What the figures were taken on: commit, date, machine.

use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Commit, date and machine; `data` is the folder below which the servers keep their data.
#[must_use]
pub fn describe(data: &Path) -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, |n| n.get());
    json!({
        "commit": commit(),
        "date": OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
        "cores": cores,
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "memory_mib": kib_of(&read("/proc/meminfo"), "MemTotal").map(|kib| kib / 1024),
        "data_filesystem": filesystem(&read("/proc/self/mounts"), &data.display().to_string()),
    })
}

/// The sources' commit, `-dirty` where files differ from it.
fn commit() -> Option<String> {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty", "--abbrev=12"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let out = git.output().ok().filter(|out| out.status.success())?;
    Some(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// The kibibytes of a line such as `VmRSS:    1234 kB`.
#[must_use]
pub fn kib_of(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    rest.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The kind of the file system that holds a path: of the longest mount point above it. On `tmpfs` an fdatasync costs nothing.
fn filesystem(mounts: &str, path: &str) -> Option<String> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let above = mounts.filter(|(point, _)| Path::new(path).starts_with(point));
    above.max_by_key(|(point, _)| point.len()).map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_proc_lines() {
        let status = "VmHWM:\t  99 kB\nVmRSS:\t   2048 kB\nRssAnon:\t 1 kB\n";
        assert_eq!(kib_of(status, "VmRSS"), Some(2048));
        assert_eq!(kib_of(status, "Vm"), None);
        assert_eq!(kib_of("VmRSS: many kB", "VmRSS"), None);
    }

    #[test]
    fn the_longest_mount_point_wins() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\nnone /t xfs rw 0 0\n";
        assert_eq!(filesystem(mounts, "/tmp/a").as_deref(), Some("tmpfs"));
        assert_eq!(filesystem(mounts, "/tmpfolder").as_deref(), Some("ext4"));
        assert_eq!(filesystem("", "/tmp"), None);
    }
}
