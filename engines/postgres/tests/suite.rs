//! The shared suite on PostgreSQL, random programs compared with the engine in memory, and concurrent histories.

use std::sync::Arc;

use squall_engine_memory::Memory;
use squall_engine_postgres::{Options, Postgres};
use squall_store::State;
use squall_store::suite::{self, Fixture};
use squall_testkit::postgres_schema;
use squall_types::{ManualClock, Millis};

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Millis(1_700_000_000_000)))
}

fn open(clock: Arc<ManualClock>) -> Postgres {
    let options = Options::parse(&postgres_schema()).expect("url").clock(clock);
    let open = Postgres::open(options);
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(open)).expect("open")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_passes_the_suite() {
    suite::run(|| {
        let clock = clock();
        Fixture::manual(Arc::new(open(clock.clone())), clock, ())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_answers_as_memory_does() {
    for seed in suite::seeds(4) {
        let clock = clock();
        let postgres = open(clock.clone());
        let memory = Memory::new(clock.clone());
        suite::compare(&memory, &postgres, &clock, seed, 600).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_on_postgres_can_be_explained() {
    let postgres = Postgres::open(Options::parse(&postgres_schema()).expect("url")).await.expect("open");
    let nodes: [Arc<dyn State>; 1] = [Arc::new(postgres)];
    for seed in suite::seeds(2) {
        suite::histories(&nodes, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_of_two_servers_on_one_database_can_be_explained() {
    let url = postgres_schema();
    let mut nodes: Vec<Arc<dyn State>> = Vec::new();
    for name in ["a", "b"] {
        let options = Options::parse(&url).expect("url").node(name).beside_others();
        nodes.push(Arc::new(Postgres::open(options).await.expect("open")));
    }
    for seed in suite::seeds(2) {
        suite::histories(&nodes, seed).await;
    }
}
