//! The shared suite on the engine in memory, and concurrent histories.

use std::sync::Arc;

use squall_engine_memory::Memory;
use squall_store::State;
use squall_store::suite::{self, Fixture};
use squall_types::{ManualClock, Millis, SystemClock};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_passes_the_suite() {
    suite::run(|| {
        let clock = Arc::new(ManualClock::new(Millis(1_700_000_000_000)));
        Fixture::manual(Arc::new(Memory::new(clock.clone())), clock, ())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_in_memory_can_be_explained() {
    let nodes: [Arc<dyn State>; 1] = [Arc::new(Memory::new(Arc::new(SystemClock)))];
    for seed in suite::seeds(3) {
        suite::histories(&nodes, seed).await;
    }
}
