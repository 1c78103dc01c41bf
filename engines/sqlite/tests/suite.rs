//! The shared suite on SQLite, random programs compared with the engine in memory, and concurrent histories.

use std::sync::Arc;

use squall_engine_memory::Memory;
use squall_engine_sqlite::Sqlite;
use squall_store::State;
use squall_store::suite::{self, Fixture};
use squall_types::{ManualClock, Millis, SystemClock};

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Millis(1_700_000_000_000)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_passes_the_suite() {
    suite::run(|| {
        let (clock, dir) = (clock(), tempfile::tempdir().expect("folder"));
        let state = Sqlite::open(dir.path(), clock.clone()).expect("open");
        Fixture::manual(Arc::new(state), clock, dir)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_answers_as_memory_does() {
    for seed in suite::seeds(8) {
        let (clock, dir) = (clock(), tempfile::tempdir().expect("folder"));
        let sqlite = Sqlite::open(dir.path(), clock.clone()).expect("open");
        let memory = Memory::new(clock.clone());
        suite::compare(&memory, &sqlite, &clock, seed, 1_000).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_on_sqlite_can_be_explained() {
    let dir = tempfile::tempdir().expect("folder");
    let sqlite = Sqlite::open(dir.path(), Arc::new(SystemClock)).expect("open");
    let nodes: [Arc<dyn State>; 1] = [Arc::new(sqlite)];
    for seed in suite::seeds(3) {
        suite::histories(&nodes, seed).await;
    }
}
