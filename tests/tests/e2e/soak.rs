//! Cold starts, bursts, kills and hostile functions, short in every run and long by `cargo xtask soak`.
//!
//! `SQUALL_SOAK_MINUTES` makes the forms long: each goes on for its part of that time or until its goal is reached, and says
//! how far it came.

use crate::leftovers;
use crate::load::{Customer, zip};
use serde_json::json;
use squall_testkit::{Server, is_alive, signal, until};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const PYTHON: &str = "
import os
FORK = 'zygote' in open('/proc/self/cmdline').read()
def handler(e, c):
    if e.get('exit'): os._exit(0)
    if 's' in e:
        import time
        time.sleep(e['s'])
    return {'n': e.get('n'), 'fork': FORK}
";
const NODE: &str = "
const fork = require('fs').readFileSync('/proc/self/cmdline', 'utf8').includes('zygote');
exports.handler = async (e) => {
  if (e.exit) process.exit(0);
  if (e.s) await new Promise((r) => setTimeout(r, e.s * 1000));
  return { n: e.n, fork };
};
";

/// How much a run does: a goal, and in the long form the share of the time for it.
fn plan(short: usize, long: usize, share: f64) -> (usize, Option<Instant>) {
    match std::env::var("SQUALL_SOAK_MINUTES").ok().and_then(|m| m.parse::<f64>().ok()) {
        Some(minutes) => (long, Some(Instant::now() + Duration::from_secs_f64(minutes * 60.0 * share))),
        None => (short, None),
    }
}

fn is_over(end: Option<Instant>) -> bool {
    end.is_some_and(|end| Instant::now() >= end)
}

/// A server with the functions `python` and `node`, whose instances are forks.
fn prepared() -> (Server, Customer) {
    let server = Server::start();
    let customer = Customer::of(&server);
    let role = customer.make_role("r");
    for (name, runtime, file, code) in
        [("python", "python3.11", "index.py", PYTHON), ("node", "nodejs20.x", "index.js", NODE)]
    {
        assert_eq!(customer.make_function(name, &role, runtime, &zip(file, code)), Some(201));
        customer.wait_active(name);
        until_forked(&customer, name);
    }
    (server, customer)
}

/// Calls with new instances until they are forks.
fn until_forked(customer: &Customer, name: &str) {
    until("instances are forks", || {
        let (status, text) = customer.invoke(name, "RequestResponse", &json!({ "n": 1 }))?;
        let told: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        if status == 200 && told["fork"] == true {
            return Some(());
        }
        customer.invoke(name, "RequestResponse", &json!({ "exit": true }));
        None
    });
}

/// What must not grow: processes, cgroups, disk images, open files of server and spawner.
fn counts(server: &Server) -> [usize; 5] {
    let spawner = leftovers::spawner(server).expect("a spawner");
    [
        leftovers::processes(server).len(),
        leftovers::cgroups(server).len(),
        leftovers::loops(server),
        leftovers::weight(server.pid()).0,
        leftovers::weight(spawner).0,
    ]
}

/// Disk images that nobody has touched are kept for 10 s for further sandboxes.
const KEPT_FOR: Duration = Duration::from_secs(11);

/// The counts once nothing changes any more.
fn settled(server: &Server) -> [usize; 5] {
    thread::sleep(KEPT_FOR);
    let mut last = ([0; 5], 0);
    until("the server comes to rest", || {
        let now = counts(server);
        last = (now, if now == last.0 { last.1 + 1 } else { 0 });
        thread::sleep(Duration::from_millis(50));
        (last.1 >= 10).then_some(now)
    })
}

#[test]
fn cold_starts_leave_memory_and_descriptors_flat() {
    let (server, customer) = prepared();
    // The handler ends its process each time: every call is a cold start.
    let cold = |goal: usize, end: Option<Instant>| {
        let done = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let (c, done) = (customer.clone(), done.clone());
                thread::spawn(move || {
                    while done.fetch_add(1, Ordering::Relaxed) < goal && !is_over(end) {
                        let name = if n % 2 == 0 { "python" } else { "node" };
                        let (status, text) =
                            c.invoke(name, "RequestResponse", &json!({ "exit": true })).expect("an answer");
                        assert!(status == 200 && text.contains("exited without providing a reason"), "{status} {text}");
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().expect("a caller"));
        done.load(Ordering::Relaxed).min(goal)
    };
    let (goal, end) = plan(500, 72_000, 0.4);
    let started = Instant::now();
    // Each has a log stream of its own, of whose files a few hundred are kept open: these come first.
    let warm = cold(280, end);
    let before = (settled(&server), weights(&server));
    let made = warm + cold(goal - warm, end);
    let after = (settled(&server), weights(&server));
    println!(
        "{made} cold starts in {:.0?}; processes, cgroups, images, open files: {:?} → {:?}",
        started.elapsed(),
        before.0,
        after.0
    );
    println!("KiB of the server, the spawner and zygotes: {:?} → {:?}", before.1, after.1);
    // Connections of callers come and go: a few files either way.
    for (before, after) in before.0.iter().zip(after.0) {
        assert!(after <= before + 3, "{before} → {after}");
    }
    for (before, after) in before.1.iter().zip(&after.1) {
        assert!(*after <= before + 16 * 1024 + before / 4, "{before} KiB → {after} KiB");
    }
    until_forked(&customer, "python");
    until_forked(&customer, "node");
}

fn weights(server: &Server) -> Vec<u64> {
    let mut pids = vec![server.pid(), leftovers::spawner(server).expect("a spawner")];
    pids.extend(leftovers::zygotes(server).iter().map(|(pid, _)| pid));
    pids.into_iter().map(|pid| leftovers::weight(pid).1).collect()
}

/// Calls both functions from four threads until it is told to end; counts the answers.
struct Load {
    is_ending: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
    /// Good answers, and all others.
    told: Arc<Mutex<(usize, Vec<String>)>>,
}

impl Load {
    fn start(customer: &Customer) -> Load {
        let (is_ending, told) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::default()));
        let threads = (0..4).map(|n: usize| {
            let (c, is_ending, told) = (customer.clone(), is_ending.clone(), told.clone());
            thread::spawn(move || {
                let name = if n.is_multiple_of(2) { "python" } else { "node" };
                for i in 0.. {
                    let event = if i % 3 == 2 { json!({ "exit": true }) } else { json!({ "n": i }) };
                    let answer = c.invoke(name, "RequestResponse", &event);
                    let Some((status, text)) = answer else { break };
                    let mut told: std::sync::MutexGuard<'_, (usize, Vec<String>)> = told.lock().expect("not poisoned");
                    match status {
                        200 if text.contains("fork") || text.contains("Runtime exited") => told.0 += 1,
                        _ => told.1.push(format!("{status} {text}")),
                    }
                    if is_ending.load(Ordering::Relaxed) {
                        break;
                    }
                }
            })
        });
        Load { threads: threads.collect(), is_ending, told }
    }

    fn end(self) -> (usize, Vec<String>) {
        self.is_ending.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|t| t.join().expect("a caller"));
        std::mem::take(&mut *self.told.lock().expect("not poisoned"))
    }
}

#[test]
fn killed_spawners_and_zygotes_are_replaced_without_a_restart() {
    let (server, customer) = prepared();
    let (goal, end) = plan(4, 1_000, 0.1);
    let (mut kills, mut good, mut bad) = (0, 0, 0);
    while kills < goal && !is_over(end) {
        let load = Load::start(&customer);
        thread::sleep(Duration::from_millis(100 + 37 * (kills as u64 % 9)));
        let victims = match kills % 2 {
            0 => leftovers::spawner(&server).into_iter().collect(),
            _ => leftovers::zygotes(&server).into_iter().map(|(pid, _)| pid).collect::<Vec<_>>(),
        };
        assert!(!victims.is_empty(), "round {kills}: somebody to kill");
        victims.iter().for_each(|pid| signal(*pid, "KILL"));
        until("the killed are gone", || victims.iter().all(|pid| !is_alive(*pid)).then_some(()));
        // Under load all the while, and after it: forks again.
        until_forked(&customer, "python");
        until_forked(&customer, "node");
        let (answered, refused) = load.end();
        good += answered;
        bad += refused.len();
        let other = refused.iter().find(|r| !r.starts_with("500 ") && !r.starts_with("502 ") && !r.starts_with("503 "));
        assert!(other.is_none(), "{other:?}");
        kills += 1;
    }
    println!("{kills} kills; {good} requests answered meanwhile, {bad} with an error of the service");
    assert_eq!(server.health()["status"], "ok");
    let log = server.log();
    assert!(log.contains("the spawner has ended") && log.contains("the zygote has ended"), "the log says so");
}

#[test]
fn a_kill_at_any_moment_leaves_nothing() {
    let (mut server, customer) = prepared();
    let (goal, end) = plan(6, 1_000, 0.15);
    let mut cgroups = Vec::new();
    let mut round = 0;
    while round < goal && !is_over(end) {
        let load = Load::start(&customer);
        // From the first moments, when zygotes load and sandboxes are made, to the middle of the load.
        thread::sleep(Duration::from_millis((round as u64 * 97) % 700));
        cgroups.extend(leftovers::cgroups(&server));
        server.kill9();
        load.end();
        until("all processes have ended", || leftovers::processes(&server).is_empty().then_some(()));
        until("no image is left", || (leftovers::loops(&server) == 0).then_some(()));
        assert_eq!(leftovers::mounts(&server), Vec::<String>::new(), "round {round}");
        server.restart();
        round += 1;
    }
    until_forked(&customer, "python");
    until_forked(&customer, "node");
    assert_eq!(server.stop(), Some(0));
    println!("{round} kills of the server");
    assert_eq!(leftovers::processes(&server), Vec::<String>::new());
    assert_eq!((leftovers::loops(&server), leftovers::mounts(&server)), (0, Vec::new()));
    cgroups.retain(|folder| folder.exists());
    assert!(cgroups.is_empty(), "cgroups left: {cgroups:?}");
    let images = std::fs::read_dir(server.data().join("run/images")).map_or(0, Iterator::count);
    assert!(images <= 1, "{images} images left");
}

#[test]
fn a_burst_from_zero_loses_none() {
    let (_server, customer) = prepared();
    let (width, _) = plan(100, 1_000, 0.0);
    for name in ["python", "node"] {
        let started = Instant::now();
        let calls: Vec<_> = (0..width)
            .map(|n| {
                let c = customer.clone();
                let call = move || c.invoke(name, "RequestResponse", &json!({ "n": n, "s": 1 }));
                (n, thread::Builder::new().stack_size(512 << 10).spawn(call).expect("a thread"))
            })
            .collect();
        for (n, call) in calls {
            let (status, text) = call.join().expect("a caller").expect("an answer");
            let told: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            assert_eq!((status, &told["n"]), (200, &json!(n)), "{name}: {text}");
        }
        println!("{name}: {width} at once, each of 1 s: {:.2?}", started.elapsed());
    }
}

#[test]
fn hostile_functions_harm_only_themselves() {
    let server = Server::start();
    println!("{}", server.python("hostile_functions.py", &[]).ok());
    assert_eq!(server.health()["status"], "ok");
}

#[test]
fn snapshots_are_of_the_initialised_process() {
    println!("{}", Server::start().python("snap_start.py", &[]).ok());
}

#[test]
fn snapshots_of_node_are_of_the_initialised_process() {
    let Some(mut server) = Server::start_durable() else { return };
    println!("{}", server.python("snap_start_node.py", &[]).ok());
    assert_eq!(server.stop(), Some(0));
    server.restart();
    println!("{}", server.python("snap_start_node.py", &["again"]).ok());
}

#[test]
fn forks_are_what_executed_programs_are() {
    println!("{}", Server::start().python("forked_functions.py", &[]).ok());
}

/// A command that runs this script on the program node, our client's folder for it, and the AWS SDK.
fn on_node(server: &Server, script: &str) -> Command {
    let client = until("the runtime clients are written", || {
        let versions = std::fs::read_dir(server.data().join("runtime")).ok()?;
        versions.flatten().map(|v| v.path().join("node")).find(|p| p.join("zygote.node").exists())
    });
    let paths = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect::<Vec<PathBuf>>();
    let node = paths.iter().map(|p| p.join("node")).find(|p| p.is_file()).expect("a node");
    let mut command = Command::new(squall_testkit::python());
    command
        .arg("-B")
        .arg(squall_testkit::clients().join(script))
        .arg(node)
        .arg(client)
        .arg(squall_testkit::node_modules());
    command
}

/// Runs such a command so many times as the plan says, each with some invocations.
fn run_on_node(mut command: Command, (goal, end): (usize, Option<Instant>), invocations: [&str; 2]) {
    command.arg(goal.to_string());
    if let Some(end) = end {
        command
            .arg(invocations[1])
            .env("SOAK_SECONDS", end.saturating_duration_since(Instant::now()).as_secs().to_string());
        // Its progress is printed as it comes; it may take hours.
        assert!(command.status().expect("start the soak").success());
    } else {
        println!("{}", squall_testkit::run(command.arg(invocations[0])).ok());
    }
}

/// Everything that node offers, in forks of a zygote without a sandbox around them.
#[test]
fn node_works_in_forks() {
    let server = Server::start();
    run_on_node(on_node(&server, "node_fork_soak.py"), plan(6, 4_000, 0.25), ["6", "250"]);
}

/// The same in what is made of snapshots.
#[test]
fn node_works_in_restored_processes() {
    let server = Server::start();
    run_on_node(on_node(&server, "node_snap_soak.py"), plan(6, 20_000, 0.1), ["3", "6"]);
}
