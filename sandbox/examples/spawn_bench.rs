//! Time from the request to the first byte of a static binary's output, next to bare fork and exec.
//!
//! `cargo run --release -p squall-sandbox --example spawn_bench [ROUNDS]` (as root; needs a C compiler).
//! The example executes itself as the spawner.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use squall_sandbox::{Level, Options, Sandbox, Spec};
use tokio::io::AsyncReadExt;

const SPAWNER: &str = "--as-spawner";
const PROGRAM: &str = "int main(void){return write(1,\"x\",1)!=1;}\n";

fn main() {
    if std::env::args().nth(1).as_deref() == Some(SPAWNER) {
        squall_sandbox::spawner_main();
    }
    let rounds = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(500);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    runtime.block_on(bench(rounds));
}

async fn bench(rounds: usize) {
    let dir = tempfile::tempdir().expect("directory");
    let code = dir.path().join("code");
    std::fs::create_dir(&code).expect("directory");
    let program = compile(&code);
    let internet = squall_sandbox::Egress::new(true, &[]).expect("no networks");
    for reach in [squall_sandbox::Reach::Nothing, squall_sandbox::Reach::IfPossible(internet)] {
        filling(reach, rounds.min(400)).await;
    }
    report("fork and exec", (0..rounds).map(|_| bare(&program)).collect());
    for (level, pool) in [(Level::None, 8), (Level::Namespaces, 8), (Level::Full, 8), (Level::Full, 0)] {
        let sandbox = Sandbox::start(Options {
            level,
            run_dir: dir.path().join(format!("run-{level}-{pool}")),
            pool,
            spawner_exe: std::env::current_exe().expect("this program"),
            egress: squall_sandbox::Reach::Nothing,
            spawner_args: vec![SPAWNER.into()],
        })
        .await
        .expect("sandbox");
        let mut times = Vec::new();
        for _ in 0..rounds {
            while sandbox.stats().ready < pool {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            times.push(first_byte(&sandbox, &code).await);
        }
        report(&format!("level {level}, pool of {pool}"), times);
        if level == Level::Full && pool > 0 {
            burst(&sandbox, &code, 200).await;
        }
        sandbox.shutdown().await;
    }
}

fn compile(code: &Path) -> PathBuf {
    let (source, program) = (code.join("x.c"), code.join("x"));
    std::fs::write(&source, PROGRAM).expect("source");
    let flags = ["-static", "-O1", "-w", "-o"];
    let status = Command::new("cc").args(flags).arg(&program).arg(&source).status().expect("a C compiler");
    assert!(status.success(), "compile");
    program
}

fn bare(program: &Path) -> Duration {
    let start = Instant::now();
    let mut child = Command::new(program).env_clear().stdout(Stdio::piped()).spawn().expect("spawn");
    let mut byte = [0];
    child.stdout.take().expect("output").read_exact(&mut byte).expect("first byte");
    let time = start.elapsed();
    child.wait().expect("wait");
    time
}

fn spec(code: &Path) -> Spec {
    Spec {
        id: "bench".into(),
        argv: vec!["./x".into()],
        env: vec![("PATH".into(), "/usr/bin".into())],
        code: code.to_owned(),
        opt: None,
        mounts: Vec::new(),
        memory_bytes: 128 << 20,
        tmp_bytes: 512 << 20,
        pids_max: 64,
        cpu_shares: 1024,
        cpu_quota_percent: None,
        start: squall_sandbox::Start::Execute,
    }
}

async fn first_byte(sandbox: &Sandbox, code: &Path) -> Duration {
    let start = Instant::now();
    let worker = sandbox.spawn(spec(code)).await.expect("spawn");
    let mut output = tokio::net::unix::pipe::Receiver::from_owned_fd(worker.output).expect("pipe");
    output.read_exact(&mut [0]).await.expect("first byte");
    let time = start.elapsed();
    worker.control.wait().await;
    time
}

/// CPU time of the whole machine, in ms: what the kernel does behind a request is nobody's in particular.
fn busy_ms() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").expect("/proc/stat");
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    // user nice system (idle iowait) irq softirq
    [0, 1, 2, 5, 6].iter().filter_map(|at| ticks.get(*at)).sum::<u64>() * 10
}

/// What a prepared sandbox costs to make and to take apart, in time and CPU of the machine (which should be quiet).
async fn filling(egress: squall_sandbox::Reach, count: usize) {
    let dir = tempfile::tempdir().expect("directory");
    let what = if egress == squall_sandbox::Reach::Nothing { "" } else { " with a way out" };
    let sandbox = Sandbox::start(Options {
        level: Level::Full,
        run_dir: dir.path().join("run"),
        pool: 1,
        spawner_exe: std::env::current_exe().expect("this program"),
        egress,
        spawner_args: vec![SPAWNER.into()],
    })
    .await
    .expect("sandbox");
    let ready = async |wanted: usize| {
        while sandbox.stats().ready != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    ready(1).await;
    let (start, busy) = (Instant::now(), busy_ms());
    sandbox.aim(count + 1);
    ready(count + 1).await;
    let each = |ms: f64| ms / count as f64;
    println!(
        "prepare {count}{what}: each {:.2} ms, {:.2} ms of CPU",
        each(start.elapsed().as_secs_f64() * 1e3),
        each((busy_ms() - busy) as f64)
    );
    let (start, busy) = (Instant::now(), busy_ms());
    sandbox.shutdown().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    println!(
        "take {count} apart: each {:.2} ms, {:.2} ms of CPU",
        each(start.elapsed().as_secs_f64() * 1e3),
        each((busy_ms() - busy) as f64)
    );
}

async fn burst(sandbox: &Sandbox, code: &Path, count: usize) {
    let start = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..count {
        let (sandbox, code) = (sandbox.clone(), code.to_owned());
        tasks.push(tokio::spawn(async move { first_byte(&sandbox, &code).await }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.push(task.await.expect("task"));
    }
    let total = start.elapsed();
    report(&format!("{count} at once"), times);
    println!("{:<28} {:.0} per second", "", count as f64 / total.as_secs_f64());
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: f64| times.get(((times.len() - 1) as f64 * part) as usize).copied().unwrap_or_default();
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    println!("{what:<28} p50 {:.2} ms  p99 {:.2} ms  max {:.2} ms", ms(at(0.5)), ms(at(0.99)), ms(at(1.0)));
}
