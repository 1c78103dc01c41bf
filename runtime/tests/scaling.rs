//! Admission, bursts and updates with real processes.

mod common;

use common::World;
use squall_runtime::{Function, InvokeError, ProcessLauncher, ThrottleReason};
use std::sync::Arc;
use std::time::Duration;

const RUNTIME: &str = "python3.11";
const SLEEPS: &str = "import time, os\ndef handler(e, c):\n    time.sleep(e)\n    return os.getpid()\n";

async fn world(change: impl FnOnce(&mut squall_runtime::Options)) -> Option<Arc<World>> {
    let world = World::with(Arc::new(ProcessLauncher), change);
    world.has(RUNTIME).await.then(|| Arc::new(world))
}

fn spawn(world: &Arc<World>, f: &Arc<Function>, event: &str) -> tokio::task::JoinHandle<Result<String, InvokeError>> {
    let (world, f, event) = (world.clone(), f.clone(), event.to_owned());
    tokio::spawn(async move { world.try_invoke(&f, &event).await.map(|a| a.text()) })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_waits_for_instances_and_loses_none() {
    let Some(world) = world(|o| o.instances_max = 8).await else { return };
    let f = Arc::new(world.function(RUNTIME, "app.handler", &[("app.py", SLEEPS)]));
    let calls: Vec<_> = (0..100).map(|_| spawn(&world, &f, "0.01")).collect();
    let mut pids = std::collections::BTreeSet::new();
    for call in calls {
        pids.insert(call.await.expect("a task").expect("admitted"));
    }
    assert!((1..=8).contains(&pids.len()), "{} instances", pids.len());
    assert_eq!((world.runtime.stats().in_flight, world.runtime.stats().queued), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_concurrency_refuses_what_is_beyond() {
    let Some(world) = world(|_| ()).await else { return };
    let mut f = world.function(RUNTIME, "app.handler", &[("app.py", SLEEPS)]);
    f.reserved_concurrency = Some(1);
    let f = Arc::new(f);
    let first = spawn(&world, &f, "0.5");
    while world.runtime.stats().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    let refused = world.try_invoke(&f, "0").await;
    let reason = ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded;
    assert!(matches!(refused, Err(InvokeError::Throttled(r)) if r == reason));
    first.await.expect("a task").expect("admitted");
    // One after the other there is always room.
    for _ in 0..50 {
        world.try_invoke(&f, "0").await.expect("admitted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_drops_no_request_and_old_code_goes() {
    let Some(world) = world(|_| ()).await else { return };
    let old = world.function(RUNTIME, "app.handler", &[("app.py", "def handler(e, c): return 'old'")]);
    let next = world.function(RUNTIME, "app.handler", &[("app.py", "def handler(e, c): return 'new'")]);
    let guard = Arc::new(());
    let gone = Arc::downgrade(&guard);
    let new = Function { revision: 2, code_dir: next.code_dir.clone(), ..old.clone() };
    let (old, new) = (Arc::new(Function { keep: Some(guard), ..old }), Arc::new(new));
    let calls: Vec<_> = (0..40).map(|_| spawn(&world, &old, "0")).collect();
    let later: Vec<_> = (0..40).map(|_| spawn(&world, &new, "0")).collect();
    world.runtime.retire(&old.function_arn, Some(2));
    for call in calls {
        assert_eq!(call.await.expect("a task").expect("admitted"), "\"old\"");
    }
    for call in later {
        assert_eq!(call.await.expect("a task").expect("admitted"), "\"new\"");
    }
    drop(old);
    for _ in 0..2000 {
        if gone.upgrade().is_none() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(gone.upgrade().is_none(), "the old revision is still held");
    world.runtime.retire(&new.function_arn, None);
    world.runtime.shutdown(Duration::from_secs(5)).await;
    assert_eq!(world.runtime.stats(), squall_runtime::Stats::default());
    assert!(matches!(world.try_invoke(&new, "0").await, Err(InvokeError::Stopping)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_does_not_stop_what_runs() {
    let Some(world) = world(|_| ()).await else { return };
    let file = world.dir.path().join("done");
    let code = format!(
        "import time\ndef say(text):\n    with open({:?}, 'a') as f:\n        f.write(text)\n\
         def handler(e, c):\n    say('(')\n    time.sleep(e)\n    say(')')",
        file.display().to_string()
    );
    let f = Arc::new(world.function(RUNTIME, "app.handler", &[("app.py", &code)]));
    world.invoke(&f, "0").await;
    let call = spawn(&world, &f, "0.2");
    let said = || std::fs::read_to_string(&file).expect("written");
    // Before it runs, a caller that leaves takes its request along.
    while said() != "()(" {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    call.abort();
    while world.runtime.stats().in_flight > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(said(), "()()");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_runtime_is_told_with_what_to_do() {
    let world = World::with(Arc::new(ProcessLauncher), |o| {
        o.host = squall_runtime::Host::default();
        o.runtimes.clear();
    });
    let f = Arc::new(world.function("python3.10", "app.handler", &[("app.py", "")]));
    if world.runtime.find("python3.10").await.is_ok() {
        return eprintln!("skipped: this machine has python3.10 below /usr");
    }
    let Err(InvokeError::Runtime(text)) = world.try_invoke(&f, "0").await else { panic!("refused") };
    assert!(text.contains("uv python install 3.10"), "{text}");
}
