//! What is left when workers, spawners or servers end, by request or by SIGKILL: nothing.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Lab, finish};
use squall_sandbox::{Level, Sandbox};

const ROLE: &str = "SQUALL_TEST_SERVER_DIR";
const PATIENCE: Duration = Duration::from_secs(30);

/// What exists on the host because of the sandbox whose run directory is given.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    processes: Vec<i32>,
    cgroups: usize,
    loops: usize,
    files: Vec<String>,
}

impl Traces {
    fn of(run_dir: &Path) -> Traces {
        let run = run_dir.to_string_lossy().into_owned();
        // Every process of ours has the spawner's lock or is below one that has; workers are found by their cgroup.
        let spawners = holders(&run_dir.join("lock"));
        let mut processes: Vec<i32> = spawners.iter().flat_map(|p| descendants(*p)).collect();
        let groups = groups(run_dir);
        processes.extend(groups.iter().flat_map(|g| numbers(&g.join("cgroup.procs"))));
        processes.sort_unstable();
        processes.dedup();
        let loops = fs::read_dir("/sys/block")
            .into_iter()
            .flatten()
            .flatten()
            .filter(|d| fs::read_to_string(d.path().join("loop/backing_file")).is_ok_and(|f| f.starts_with(&run)));
        let files = fs::read_dir(run_dir.join("images")).into_iter().flatten().flatten();
        Traces {
            processes,
            cgroups: groups.len(),
            loops: loops.count(),
            files: files.map(|f| f.file_name().to_string_lossy().into_owned()).collect(),
        }
    }

    fn is_clean(&self) -> bool {
        self.processes.is_empty() && self.cgroups == 0 && self.loops == 0 && self.files.len() <= 1
    }
}

fn numbers(path: &Path) -> Vec<i32> {
    fs::read_to_string(path).unwrap_or_default().lines().filter_map(|l| l.parse().ok()).collect()
}

fn pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

/// Processes that have a file open.
fn holders(path: &Path) -> Vec<i32> {
    let has = |pid: &i32| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        fds.into_iter().any(|fd| fs::read_link(fd.path()).is_ok_and(|t| t == path))
    };
    pids().into_iter().filter(has).collect()
}

fn descendants(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children: Vec<String> = tasks.filter_map(|t| fs::read_to_string(t.path().join("children")).ok()).collect();
    let below = children.iter().flat_map(|c| c.split_whitespace()).filter_map(|c| c.parse().ok()).flat_map(descendants);
    std::iter::once(pid).chain(below).collect()
}

/// The workers' cgroup directories: the base has a name that comes from the run directory (FNV-1a).
fn groups(run_dir: &Path) -> BTreeSet<PathBuf> {
    let hash = run_dir
        .to_string_lossy()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
    let mut found = BTreeSet::new();
    let mut look = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = look.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten().filter(|e| e.path().is_dir()) {
            let ours = entry.file_name().to_string_lossy() == format!("squall-{hash:016x}");
            if ours {
                let below = fs::read_dir(entry.path()).into_iter().flatten().flatten();
                found.extend(below.map(|e| e.path()).filter(|p| p.is_dir()));
                found.insert(entry.path());
            } else {
                look.push(entry.path());
            }
        }
    }
    found
}

fn eventually_clean(run_dir: &Path) {
    let until = Instant::now() + PATIENCE;
    loop {
        let traces = Traces::of(run_dir);
        if traces.is_clean() {
            break;
        }
        assert!(Instant::now() < until, "left: {traces:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    assert!(!mounts.contains(&*run_dir.to_string_lossy()), "a mount reached the host");
}

fn spawner_fds(run_dir: &Path) -> usize {
    // The janitor holds the lock too, and has fewer descriptors.
    let counts = holders(&run_dir.join("lock")).into_iter();
    counts.map(|p| fs::read_dir(format!("/proc/{p}/fd")).map_or(0, Iterator::count)).max().unwrap_or(0)
}

async fn settle(lab: &Lab, pool: usize) {
    let until = Instant::now() + PATIENCE;
    loop {
        let stats = lab.sandbox.stats();
        let traces = Traces::of(&lab.dir.path().join("run"));
        if (stats.ready, stats.preparing, stats.live, traces.loops) == (pool, 0, 0, pool) {
            break;
        }
        assert!(Instant::now() < until, "{stats:?} {traces:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn two_hundred_workers_leave_nothing() {
    let lab = Lab::start(Level::Full, 4).await;
    let run_dir = lab.dir.path().join("run");
    settle(&lab, 4).await;
    let (before, fds_before) = (Traces::of(&run_dir), spawner_fds(&run_dir));
    for n in 0..200 {
        let worker =
            lab.sandbox.spawn(lab.shell("echo x > /tmp/x; echo up; sleep 1000 & sleep 1000")).await.expect("spawn");
        match n % 4 {
            0 => drop(worker),
            1 => {
                worker.kill();
                worker.wait().await;
            }
            2 => {
                worker.freeze().expect("freeze");
                drop(worker);
            }
            _ => {
                drop(worker);
                let (text, _) = lab.run(lab.shell("echo done")).await;
                assert_eq!(text, "done\n");
            }
        }
    }
    settle(&lab, 4).await;
    let after = Traces::of(&run_dir);
    assert_eq!((before.loops, before.processes.len()), (after.loops, after.processes.len()), "{before:?} {after:?}");
    assert_eq!(fds_before, spawner_fds(&run_dir), "the spawner leaks descriptors");
    let kept = lab.sandbox.spawn(lab.shell("sleep 1000")).await.expect("spawn");
    lab.sandbox.shutdown().await;
    assert_eq!(kept.wait().await.signal, Some(libc::SIGKILL));
    eventually_clean(&run_dir);
}

#[tokio::test]
async fn dropping_the_last_handle_ends_everything() {
    let lab = Lab::start(Level::Full, 2).await;
    let run_dir = lab.dir.path().join("run");
    let worker = lab.sandbox.spawn(lab.shell("echo up; exec sleep 1000")).await.expect("spawn");
    let Lab { sandbox, dir } = lab;
    drop(sandbox);
    assert!(worker.control.exit().is_none(), "a worker keeps its spawner alive");
    drop(worker);
    eventually_clean(&run_dir);
    drop(dir);
}

/// Not a test of its own: the server of the tests below, which run this program again.
#[tokio::test]
async fn role_of_the_server() {
    let Some(dir) = std::env::var_os(ROLE) else { return };
    let o = Lab::options(PathBuf::from(&dir).join("run"), Level::Full, 2);
    let sandbox = Sandbox::start(o).await.expect("start");
    let lab = Lab { sandbox, dir: tempfile::tempdir_in(&dir).expect("directory") };
    let mut workers = Vec::new();
    for _ in 0..3 {
        let script = "for i in 1 2 3; do (setsid sleep 1000 &); done; dd if=/dev/zero of=/tmp/x bs=1M count=20 2>/dev/null; exec sleep 1000";
        workers.push(lab.sandbox.spawn(lab.shell(script)).await.expect("spawn"));
    }
    workers[2].freeze().expect("freeze");
    println!("SERVING");
    std::future::pending::<()>().await;
}

/// That server, as another process; killed and reaped at the latest when this is dropped.
struct Server(std::process::Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn server(dir: &Path) -> Server {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "role_of_the_server", "--nocapture"])
        .env(ROLE, dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("server");
    let lines = BufReader::new(child.stdout.take().expect("output")).lines();
    let up = lines.map_while(Result::ok).any(|l| l.contains("SERVING"));
    assert!(up, "the server did not come up");
    Server(child)
}

/// No process and no disk image outlives the death of server or spawner; empty cgroups may (the janitor gives up on those
/// that the kernel still holds), and the next start removes them.
async fn dead_and_swept_at_the_next_start(dir: tempfile::TempDir) {
    let run_dir = dir.path().join("run");
    let until = Instant::now() + PATIENCE;
    loop {
        let traces = Traces::of(&run_dir);
        if traces.processes.is_empty() && traces.loops == 0 {
            break;
        }
        assert!(Instant::now() < until, "left: {traces:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let lab = Lab { sandbox: Sandbox::start(Lab::options(run_dir.clone(), Level::Full, 1)).await.expect("start"), dir };
    lab.sandbox.shutdown().await;
    eventually_clean(&run_dir);
}

#[tokio::test]
async fn sigkill_of_the_server_ends_its_workers() {
    let dir = tempfile::tempdir().expect("directory");
    let run_dir = dir.path().join("run");
    let server = server(dir.path());
    assert!(Traces::of(&run_dir).processes.len() > 10);
    drop(server);
    dead_and_swept_at_the_next_start(dir).await;
}

#[tokio::test]
async fn sigkill_of_the_spawner_ends_its_workers() {
    let dir = tempfile::tempdir().expect("directory");
    let server = server(dir.path());
    let children = descendants(server.0.id() as i32);
    let spawner = children.get(1).copied().expect("the server has a child");
    // SAFETY: integers; the process is a child of ours that lives.
    assert_eq!(unsafe { libc::kill(spawner, libc::SIGKILL) }, 0);
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(server);
    dead_and_swept_at_the_next_start(dir).await;
}

/// The spawner of a sandbox in this very process.
fn own_spawner(run_dir: &Path) -> i32 {
    let own = format!("PPid:\t{}\n", std::process::id());
    let is_child = |p: &i32| fs::read_to_string(format!("/proc/{p}/status")).is_ok_and(|s| s.contains(&own));
    holders(&run_dir.join("lock")).into_iter().find(is_child).expect("a spawner")
}

#[tokio::test]
async fn a_killed_spawner_is_followed_by_another() {
    let lab = Lab::start(Level::Full, 2).await;
    let run_dir = lab.dir.path().join("run");
    let mut zygotes = BTreeSet::new();
    for round in 0..4 {
        let zygote = common::zygote(&lab).await;
        assert!(zygotes.insert(zygote.number()), "numbers go on");
        let executed = lab.sandbox.spawn(lab.shell("exec sleep 1000")).await.expect("spawn");
        let spec = common::forked(&lab, &zygote, "import time; time.sleep(1000)");
        let forked = lab.sandbox.spawn(spec.clone()).await.expect("fork");
        let killed = own_spawner(&run_dir);
        // In every other round while more are on their way.
        let under_way: Vec<_> = (0..if round % 2 == 0 { 0 } else { 10 })
            .map(|n| {
                let (sandbox, spec) = (lab.sandbox.clone(), lab.shell(&format!("echo {n}")));
                tokio::spawn(async move { finish(sandbox.spawn(spec).await.expect("spawn")).await })
            })
            .collect();
        tokio::task::yield_now().await;
        // SAFETY: integers; the process is a child of ours that lives.
        assert_eq!(unsafe { libc::kill(killed, libc::SIGKILL) }, 0);
        assert_eq!(executed.wait().await.signal, Some(libc::SIGKILL));
        assert_eq!(forked.wait().await.signal, Some(libc::SIGKILL));
        zygote.gone().await;
        assert!(!zygote.is_alive());
        // Without a word to the sandbox: what is asked for waits for the next spawner.
        assert_eq!(lab.run(lab.shell("echo again")).await.0, "again\n");
        assert_ne!(own_spawner(&run_dir), killed);
        let refused = lab.sandbox.spawn(spec).await.err().expect("its zygote is gone").to_string();
        assert!(refused.contains("the zygote is not there"), "{refused}");
        for (n, task) in under_way.into_iter().enumerate() {
            // Those that ran already have ended with their spawner.
            let (text, exit) = task.await.expect("task");
            assert!(text == format!("{n}\n") || exit.signal == Some(libc::SIGKILL), "{text} {exit:?}");
        }
    }
    settle(&lab, 2).await;
    lab.sandbox.shutdown().await;
    assert!(matches!(lab.sandbox.spawn(lab.shell("echo no")).await, Err(squall_sandbox::Error::Gone)));
    eventually_clean(&run_dir);
}

#[tokio::test]
async fn restart_removes_what_the_death_of_everything_left() {
    let dir = tempfile::tempdir().expect("directory");
    let run_dir = dir.path().join("run");
    let server = server(dir.path());
    // The janitor too, before it can clean: what a crash of the machine's user session does.
    let mut doomed = holders(&run_dir.join("lock"));
    doomed.push(server.0.id() as i32);
    for pid in doomed {
        // SAFETY: integers; all are processes of this test.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    drop(server);
    assert!(!groups(&run_dir).is_empty(), "there should be something to clean");
    let lab = Lab { sandbox: Sandbox::start(Lab::options(run_dir.clone(), Level::Full, 1)).await.expect("start"), dir };
    let worker = lab.sandbox.spawn(lab.shell("echo again")).await.expect("spawn");
    assert_eq!(finish(worker).await.0, "again\n");
    lab.sandbox.shutdown().await;
    eventually_clean(&run_dir);
}

/// What a worker leaves in `/tmp`, whatever it did there, is seen by none after it; those that did nothing there hand theirs on.
#[tokio::test]
async fn tmp_is_as_new_whoever_had_it_before() {
    let lab = Lab::start(Level::Full, 1).await;
    let look = "stat -c '%Y %h %s %a %u' /tmp; ls -A /tmp; df --output=used,iused,avail /tmp; awk '$5==\"/tmp\"{print $3}' /proc/self/mountinfo";
    let mut devices = BTreeSet::new();
    let mut first: Option<String> = None;
    let deeds = [
        "true",
        "echo x > /tmp/x; rm /tmp/x",
        "true",
        "mkdir /tmp/d; touch /tmp/d/x",
        "touch /tmp 2>/dev/null; touch -d @1000000000.000000007 /tmp 2>/dev/null",
        "python3 -c \"import os; f=os.open('/tmp',os.O_TMPFILE|os.O_RDWR); os.write(f,b'x'*9999999)\"",
        "python3 -c \"import os; f=os.open('/tmp',os.O_TMPFILE|os.O_RDWR); os.link('/proc/self/fd/%d'%f,'/tmp/l')\"",
        "touch /tmp/a; mv /tmp/a /tmp/b; rm /tmp/b; kill -9 $$",
        "true",
        "true",
    ];
    for deed in deeds {
        let (text, _) = lab.run(lab.shell(&format!("{look}; ({deed}) 2>/dev/null"))).await;
        let (seen, device) = text.trim_end().rsplit_once('\n').expect("lines");
        devices.insert(device.to_owned());
        assert_eq!(*first.get_or_insert_with(|| seen.to_owned()), seen, "before: {deed}");
    }
    assert!(devices.len() < deeds.len(), "none was handed on");
}
