//! Measures the engine on a private PostgreSQL that syncs: durable puts, claims by tens, point reads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use squall_engine_postgres::{Options, Postgres};
use squall_store::{ClaimSpec, Key, Kind, Queue, Settle, State, StateExt, Txn, envelope};
use squall_testkit::{Postgres as Server, PostgresOptions};
use squall_types::Millis;

const TASKS: u64 = 64;
const TIME: Duration = Duration::from_secs(4);
const ROW: Kind = Kind::kv(0x7f, 1);

fn key(n: u64) -> Key {
    Key::new(ROW, 1, 0).u64(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 100_000)
}

async fn rate<F: Future<Output = u64> + Send>(what: &str, one: impl Fn(u64, u64) -> F + Send + Sync + 'static) {
    let one = Arc::new(one);
    let begin = Instant::now();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let one = Arc::clone(&one);
            tokio::spawn(async move {
                let (mut done, mut n) = (0, 0);
                while begin.elapsed() < TIME {
                    done += one(task, n).await;
                    n += 1;
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        done += task.await.expect("task");
    }
    println!("{what}: {:.0}/s", done as f64 / begin.elapsed().as_secs_f64());
}

#[tokio::main]
async fn main() {
    let server = Server::start_with(PostgresOptions { is_durable: true, ..PostgresOptions::default() });
    let state = Postgres::open(Options::parse(&server.url("bench")).expect("url")).await.expect("open");
    let value = envelope::seal(&[7; 1_024]);
    let s = state.clone();
    rate("durable puts of 1 KiB by rule at 64", move |task, n| {
        let (state, value) = (s.clone(), value.clone());
        async move {
            let txn = Txn::new().rule([key(task << 32 | n)], move |view, out| {
                squall_store::Mutations::put(out, view.key(0), value.clone());
                Ok::<bool, ()>(view.row(0).is_some())
            });
            state.commit(txn).await.expect("put");
            1
        }
    })
    .await;
    let s = state.clone();
    rate("point reads at 64", move |task, n| {
        let state = s.clone();
        async move {
            state.get(key(task << 32 | n)).await.expect("get");
            1
        }
    })
    .await;
    let s = state.clone();
    rate("enqueues at 64", move |_, _| {
        let state = s.clone();
        async move {
            let txn = (0..10).fold(Txn::new(), |txn, _| txn.enqueue(Queue(1), state.now(), vec![1; 200]));
            state.commit(txn).await.expect("enqueue");
            10
        }
    })
    .await;
    rate("claims by tens and settles at 64", move |_, _| {
        let state = state.clone();
        async move {
            let claimed = state.claim(Queue(1), ClaimSpec::new(10, Millis(60_000))).await.expect("claim");
            let count = claimed.len() as u64;
            if count == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                return 0;
            }
            let txn = claimed.iter().fold(Txn::new(), |txn, c| txn.settle(c.handle, Settle::Ack));
            state.commit(txn).await.expect("settle");
            count
        }
    })
    .await;
}
