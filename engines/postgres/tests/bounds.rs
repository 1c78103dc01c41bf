//! What the engine takes of a database is bounded: connections, waits for locks, and the kinds of statements.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use squall_engine_postgres::{Options, Postgres};
use squall_store::{ClaimSpec, Error, Key, Kind, Part, Queue, Settle, State, StateExt, Txn};
use squall_testkit::Postgres as Server;
use squall_types::Millis;

const ROW: Kind = Kind::kv(0x7f, 1);
/// As the documentation says: committer, claimer, keeper, two for points, six for other reads.
const CONNECTIONS: i64 = 11;

fn key(n: u64) -> Key {
    Key::new(ROW, 1, 0).u64(n)
}

async fn open(server: &Server, patience: Duration) -> Postgres {
    Postgres::open(Options::parse(&server.url("squall")).expect("url").patience(patience)).await.expect("open")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_server_uses_no_more_connections_than_it_says() {
    let server = Server::start();
    let state = open(&server, Duration::from_secs(60)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..96)
        .map(|n| {
            let (state, stop) = (state.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let part = Part::sole(n % 5);
                while !stop.load(Ordering::Relaxed) {
                    let txn = Txn::new().put(key(n), "v").emit(part, "x").enqueue(Queue(1), state.now(), "y");
                    state.commit(txn).await.expect("commit");
                    assert!(state.get(key(n)).await.expect("get").is_some());
                    assert!(!state.all(Key::new(ROW, 1, 0), 1_000).await.expect("range").is_empty());
                    assert!(state.watch(part, 0).next().await.expect("a change").is_ok());
                    for entry in state.claim(Queue(1), ClaimSpec::new(2, Millis(60_000))).await.expect("claim") {
                        state.commit(Txn::new().settle(entry.handle, Settle::Ack)).await.expect("settle");
                    }
                }
            })
        })
        .collect();
    let ask = "select count(*) from pg_stat_activity where application_name = 'squall'";
    let mut most = 0;
    for _ in 0..20 {
        let found = tokio::task::block_in_place(|| server.sql(ask)).parse::<i64>().expect("a number");
        most = most.max(found);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("task");
    }
    assert!((5..=CONNECTIONS).contains(&most), "{most} connections");
}

/// Holds a lock on all rows of a table for that many seconds; answers when it has it.
async fn lock(server: &Server, table: &'static str, seconds: u64) -> tokio::task::JoinHandle<()> {
    let (client, connection) =
        tokio_postgres::connect(&server.url("squall").replace("&schema=squall", ""), tokio_postgres::NoTls)
            .await
            .expect("connect");
    tokio::spawn(connection);
    client.batch_execute(&format!("begin; lock table squall.{table} in exclusive mode")).await.expect("lock");
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        client.batch_execute("rollback").await.expect("unlock");
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_of_somebody_else_is_waited_out() {
    let server = Server::start();
    let state = open(&server, Duration::from_secs(60)).await;
    // Longer than one statement waits for a lock: the batch is decided again.
    let held = lock(&server, "kv", 7).await;
    state.commit(Txn::new().put(key(1), "v")).await.expect("put");
    held.await.expect("unlock");
    assert!(state.get(key(1)).await.expect("get").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_lock_for_ever() {
    let server = Server::start();
    let state = open(&server, Duration::from_millis(500)).await;
    state.commit(Txn::new().put(key(1), "v")).await.expect("put");
    let held = lock(&server, "kv", 3_600).await;
    let begin = Instant::now();
    let refused = state.commit(Txn::new().put(key(2), "v")).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    assert!(begin.elapsed() < Duration::from_secs(120), "{:?}", begin.elapsed());
    assert!(state.get(key(1)).await.expect("reads go on").is_some());
    held.abort();
    let until = Instant::now() + Duration::from_secs(60);
    while state.commit(Txn::new().put(key(3), "v")).await.is_err() {
        assert!(Instant::now() < until, "writes go on by themselves");
    }
    assert!(state.get(key(2)).await.expect("get").is_none(), "what was refused did not happen");
}

#[test]
fn nothing_is_used_that_compatible_systems_lack() {
    const LACKING: [&str; 9] =
        ["listen ", "notify ", "pg_notify", "pg_advisory", "pg_try_advisory", "ctid", "xmin", "create extension", "$$"];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in std::fs::read_dir(folder).expect("sources") {
        let path = entry.expect("a file").path();
        let text = std::fs::read_to_string(&path).expect("a source");
        // Statements stand in literals; comments may name what is not used.
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let line = line.to_ascii_lowercase();
            let found: Vec<_> = LACKING.iter().filter(|word| line.contains(**word)).collect();
            assert!(found.is_empty(), "{}: {found:?} in {line}", path.display());
        }
    }
}
