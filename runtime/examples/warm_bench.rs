//! Measures warm and cold invocations of an echo function, without the HTTP server in front.
//!
//! `warm_bench [python3.11|nodejs20.x] [calls] [concurrency] [process|sandbox]`. Prints microseconds.

#[path = "../tests/common/mod.rs"]
mod common;

use common::World;
use squall_runtime::{Function, Launcher, ProcessLauncher};
use squall_sandbox::{Level, Sandbox};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|a| a == "spawner") {
        squall_sandbox::spawner_main();
    }
    let arg = |at: usize, default: &str| args.get(at).cloned().unwrap_or_else(|| default.into());
    let calls = arg(1, "5000").parse().expect("a number of calls");
    let concurrency = arg(2, "1").parse().expect("a concurrency");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(&arg(0, "python3.11"), calls, concurrency, &arg(3, "sandbox")));
}

async fn run(id: &str, calls: usize, concurrency: usize, launcher: &str) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let sandbox = if launcher == "sandbox" { Some(sandbox(dir.path()).await) } else { None };
    let start: Arc<dyn Launcher> = match &sandbox {
        Some(sandbox) => Arc::new(sandbox.clone()),
        None => Arc::new(ProcessLauncher),
    };
    let world = Arc::new(World::with(start, |_| ()));
    if !world.has(id).await {
        return;
    }
    let files: &[(&str, &str)] =
        &[("app.py", "def handler(e, c):\n    return e\n"), ("app.js", "exports.handler = async (e) => e;\n")];
    let cold = cold(&world, id, files).await;
    let f = Arc::new(world.function(id, "app.handler", files));
    let began = Instant::now();
    let each = calls / concurrency;
    let tasks: Vec<_> = (0..concurrency).map(|_| tokio::spawn(warm(world.clone(), f.clone(), each))).collect();
    let mut times = Vec::with_capacity(calls);
    for task in tasks {
        times.extend(task.await.expect("a task ends well"));
    }
    let seconds = began.elapsed().as_secs_f64();
    print(&format!("{id} {launcher} cold"), cold);
    print(&format!("{id} {launcher} warm x{concurrency}, {:.0}/s", (each * concurrency) as f64 / seconds), times);
    world.runtime.shutdown(Duration::from_secs(1)).await;
    if let Some(sandbox) = sandbox {
        sandbox.shutdown().await;
    }
}

async fn sandbox(dir: &std::path::Path) -> Sandbox {
    let options = squall_sandbox::Options {
        level: Level::Full,
        run_dir: dir.join("run"),
        pool: 8,
        spawner_exe: std::env::current_exe().expect("own path"),
        egress: squall_sandbox::Reach::Nothing,
        spawner_args: vec!["spawner".into()],
    };
    Sandbox::start(options).await.expect("the host gives the full level")
}

async fn cold(world: &World, id: &str, files: &[(&str, &str)]) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..20 {
        let f = Arc::new(world.function(id, "app.handler", files));
        let began = Instant::now();
        world.invoke(&f, "{}").await;
        times.push(began.elapsed());
        world.runtime.retire(&f.function_arn, None);
    }
    times
}

async fn warm(world: Arc<World>, f: Arc<Function>, calls: usize) -> Vec<Duration> {
    for _ in 0..100 {
        world.invoke_plain(&f).await;
    }
    let mut times = Vec::with_capacity(calls);
    for _ in 0..calls {
        let began = Instant::now();
        world.invoke_plain(&f).await;
        times.push(began.elapsed());
    }
    times
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_micros();
    println!("{what}: p50 {} p90 {} p99 {} us", at(0.5), at(0.9), at(0.99));
}
