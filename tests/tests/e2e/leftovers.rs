//! What a server may have left on the machine: processes, mounts and cgroups.

use squall_testkit::Server;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Processes besides the server that run in its folder or have its data mounted.
pub fn processes(server: &Server) -> Vec<String> {
    let folder = server.scratch().display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("read /proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        if pid == server.pid() || pid == std::process::id() || !squall_testkit::is_alive(pid) {
            continue;
        }
        let read = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let is_inside = fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&folder));
        if is_inside || read("mountinfo").contains(&folder) || read("cmdline").contains(&folder) {
            found.push(format!("{pid} {}", read("cmdline").replace('\0', " ")));
        }
    }
    found
}

/// Mounts of this machine below the server's folder.
pub fn mounts(server: &Server) -> Vec<String> {
    let folder = server.scratch().display().to_string();
    let all = fs::read_to_string("/proc/self/mountinfo").expect("read the mounts");
    all.lines().filter(|l| l.contains(&folder)).map(str::to_owned).collect()
}

/// The cgroups that the server's functions run in, as folders; asks a running one.
pub fn cgroups(server: &Server) -> Vec<PathBuf> {
    let mut names = BTreeSet::new();
    for line in processes(server) {
        let pid = line.split(' ').next().unwrap_or_default().to_owned();
        let text = fs::read_to_string(Path::new("/proc").join(pid).join("cgroup")).unwrap_or_default();
        names.extend(text.split(['/', '\n']).filter(|part| part.starts_with("squall-")).map(str::to_owned));
    }
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                if names.contains(&*entry.file_name().to_string_lossy()) {
                    found.push(entry.path());
                } else {
                    folders.push(entry.path());
                }
            }
        }
    }
    found
}

/// Disk images of the server's functions that loop devices still hold.
pub fn loops(server: &Server) -> usize {
    let folder = server.scratch().display().to_string();
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let file = |device: fs::DirEntry| fs::read_to_string(device.path().join("loop/backing_file"));
    devices.filter_map(|d| file(d).ok()).filter(|f| f.starts_with(&folder)).count()
}

/// Direct children of a process, with their command lines.
pub fn children(pid: u32) -> Vec<(u32, String)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|t| fs::read_to_string(t.path().join("children")).ok());
    let pids: Vec<u32> = lists.flat_map(|l| l.split(' ').filter_map(|p| p.parse().ok()).collect::<Vec<_>>()).collect();
    let line = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
    pids.into_iter().map(|pid| (pid, line(&pid))).collect()
}

/// The spawner of a running server.
pub fn spawner(server: &Server) -> Option<u32> {
    children(server.pid()).into_iter().find(|(_, line)| line.contains("__spawner")).map(|(pid, _)| pid)
}

/// The zygotes of a running server, with their command lines.
pub fn zygotes(server: &Server) -> Vec<(u32, String)> {
    let all = spawner(server).map(children).unwrap_or_default();
    all.into_iter().filter(|(_, line)| line.contains("zygote")).collect()
}

/// Open files and memory (KiB, its own) of a process.
pub fn weight(pid: u32) -> (usize, u64) {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:")).unwrap_or_default();
    (files, line.trim().trim_end_matches(" kB").parse().unwrap_or(0))
}
