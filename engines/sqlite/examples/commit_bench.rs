//! Measures the engine beside its floor, a bare fdatasync: `cargo run --release --example commit_bench [DIR] [SECONDS]`.
//!
//! Rows of 1 KiB under random keys, as the design's table has them. Everything is measured in one run on one disk.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use squall_engine_sqlite::Sqlite;
use squall_store::{Bytes, ClaimSpec, Key, Kind, Mutation, Queue, Range, Settle, State, StateExt, Txn, envelope};
use squall_types::{Millis, SystemClock};

const ITEM: Kind = Kind::kv(0x7f, 1);
const LOADED: u64 = 200_000;

fn key(n: u64) -> Key {
    // Spread like hashes.
    let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Key::new(ITEM, 1, (spread >> 48) as u16).u64(spread).u64(n)
}

fn value() -> Bytes {
    envelope::seal(&[7; 1024])
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn percentile(times: &mut [Duration], part: f64) -> Duration {
    times.sort_unstable();
    let index = ((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1));
    times.get(index).copied().unwrap_or_default()
}

fn report(name: &str, count: usize, took: Duration, mut times: Vec<Duration>) {
    let rate = count as f64 / took.as_secs_f64();
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|part| percentile(&mut times, part).as_secs_f64() * 1e3);
    println!("{name:<44} {rate:>9.0}/s   p50 {p50:.3} ms   p99 {p99:.3} ms   max {max:.1} ms");
}

/// Runs `tasks` loops of `work` for the time.
async fn load<F, W>(name: &str, tasks: u64, time: Duration, work: W)
where
    W: Fn(u64, u64) -> F,
    F: Future<Output = ()> + Send + 'static,
    W: Clone + Send + Sync + 'static,
{
    let begun = Instant::now();
    let loops: Vec<_> = (0..tasks)
        .map(|task| {
            let work = work.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                let mut random = Random(task + 88_172_645_463_325_252);
                while begun.elapsed() < time {
                    let from = Instant::now();
                    work(task, random.next()).await;
                    times.push(from.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for one in loops {
        times.extend(one.await.expect("task"));
    }
    report(name, times.len(), begun.elapsed(), times);
}

fn floor(dir: &Path, time: Duration) {
    let mut file = File::create(dir.join("floor")).expect("file");
    let mut times = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < time {
        let from = Instant::now();
        file.write_all(&[7; 4096]).expect("write");
        file.sync_data().expect("sync");
        times.push(from.elapsed());
    }
    report("floor: append 4 KiB + fdatasync, 1 thread", times.len(), begun.elapsed(), times);
}

async fn fill(state: &Sqlite) {
    let begun = Instant::now();
    for batch in 0..LOADED / 1_000 {
        let txn = (batch * 1_000..(batch + 1) * 1_000).fold(Txn::new(), |txn, n| txn.put(key(n), value()));
        state.commit(txn.lazy()).await.expect("fill");
    }
    println!("fill: {:.0} rows/s", LOADED as f64 / begun.elapsed().as_secs_f64());
}

async fn writes(state: &Sqlite, time: Duration) {
    for tasks in [1, 16, 64] {
        let s = state.clone();
        load(&format!("durable put of 1 KiB, {tasks} tasks"), tasks, time, move |_, random| {
            let s = s.clone();
            async move {
                s.commit(Txn::new().put(key(random % LOADED), value())).await.expect("commit");
            }
        })
        .await;
    }
    let s = state.clone();
    load("durable put of 1 KiB by a rule, 64 tasks", 64, time, move |_, random| {
        let s = s.clone();
        async move {
            let txn = Txn::new().rule([key(random % LOADED)], |view, out: &mut Vec<Mutation>| {
                out.push(Mutation::Put { key: view.key(0), value: value(), expires: None });
                Ok::<bool, ()>(view.row(0).is_some())
            });
            s.commit(txn).await.expect("commit");
        }
    })
    .await;
}

async fn reads(state: &Sqlite, time: Duration) {
    for tasks in [1, 64] {
        let s = state.clone();
        load(&format!("get of 1 KiB, {tasks} tasks"), tasks, time, move |_, random| {
            let s = s.clone();
            async move {
                s.get(key(random % LOADED)).await.expect("get").expect("row");
            }
        })
        .await;
    }
    let s = state.clone();
    load("range of 100 rows, 16 tasks", 16, time, move |_, random| {
        let s = s.clone();
        async move {
            let range = Range::prefix(&Key::new(ITEM, 1, (random >> 48) as u16)).limit(100);
            s.range(range).await.expect("range");
        }
    })
    .await;
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (s, until, counted) = (state.clone(), Arc::clone(&stop), Arc::clone(&count));
    let reader = tokio::spawn(async move {
        let mut random = Random(7);
        while !until.load(Ordering::Relaxed) {
            s.get(key(random.next() % LOADED)).await.expect("get");
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let s = state.clone();
    load("durable put beside a reader, 64 tasks", 64, time, move |_, random| {
        let s = s.clone();
        async move {
            s.commit(Txn::new().put(key(random % LOADED), value())).await.expect("commit");
        }
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    reader.await.expect("reader");
    println!("  the reader beside it: {:.0}/s", count.load(Ordering::Relaxed) as f64 / time.as_secs_f64());
}

async fn queues(state: &Sqlite, time: Duration) {
    let s = state.clone();
    load("enqueue + claim + ack of 1 KiB, 64 tasks", 64, time, move |_, _| {
        let s = s.clone();
        async move {
            let queue = Queue(1);
            s.commit(Txn::new().enqueue(queue, s.now(), value())).await.expect("enqueue");
            let spec = ClaimSpec::new(1, Millis(60_000)).wait(Millis(1_000)).lazy();
            for claimed in s.claim(queue, spec).await.expect("claim") {
                s.commit(Txn::new().settle(claimed.handle, Settle::Ack)).await.expect("ack");
            }
        }
    })
    .await;
}

#[tokio::main(flavor = "multi_thread")]
async fn main() {
    let mut args = std::env::args().skip(1);
    let temp = tempfile::tempdir().expect("folder");
    let dir = args.next().map_or_else(|| temp.path().to_owned(), Into::into);
    let time = Duration::from_secs(args.next().and_then(|text| text.parse().ok()).unwrap_or(5));
    std::fs::create_dir_all(&dir).expect("folder");
    floor(&dir, Duration::from_secs(1));
    let begun = Instant::now();
    let state = Sqlite::open(&dir, Arc::new(SystemClock)).expect("open");
    println!("open: {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    fill(&state).await;
    writes(&state, time).await;
    reads(&state, time).await;
    queues(&state, time).await;
    for name in ["state.db", "state.db-wal"] {
        let bytes = std::fs::metadata(dir.join(name)).map_or(0, |meta| meta.len());
        println!("{name}: {} MiB", bytes >> 20);
    }
    floor(&dir, Duration::from_secs(1));
}
