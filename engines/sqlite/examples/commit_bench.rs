//! Measures the engine beside its floor: `cargo run --release --example commit_bench [DIR] [SECONDS] [ROWS] [ONLY]`.
//!
//! Rows of 1 KiB under random keys. The floor is a bare fdatasync, and bare SQLite: one thread that writes the same rows in
//! batches of 64 and commits each, without anybody to answer. Everything is measured in one run on one disk; `cpu` is the
//! whole process's (the bench's own tasks included) per operation. ONLY takes the lines whose name contains it.

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
/// Rows loaded before anything is measured, unless the command line says otherwise.
const LOADED: u64 = 200_000;

#[derive(Clone)]
struct Plan {
    rows: u64,
    time: Duration,
    only: String,
}

/// Processor time of this process so far, user and system, ended threads included (in ticks of 10 ms).
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split(' ');
    let ticks: u64 = fields.skip(12).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

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

fn report(name: &str, count: usize, took: Duration, cpu: Duration, mut times: Vec<Duration>) {
    let rate = count as f64 / took.as_secs_f64();
    let cpu = cpu.as_secs_f64() * 1e6 / count.max(1) as f64;
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|part| percentile(&mut times, part).as_secs_f64() * 1e3);
    println!("{name:<44} {rate:>9.0}/s   p50 {p50:.3} ms   p99 {p99:.3} ms   max {max:.1} ms   cpu {cpu:.1} µs");
}

/// Runs `tasks` loops of `work` for the time.
async fn load<F, W>(plan: &Plan, name: &str, tasks: u64, work: W)
where
    W: Fn(u64) -> F,
    F: Future<Output = ()> + Send + 'static,
    W: Clone + Send + Sync + 'static,
{
    if !name.contains(&plan.only) {
        return;
    }
    let (begun, cpu_before, time) = (Instant::now(), cpu(), plan.time);
    let loops: Vec<_> = (0..tasks)
        .map(|task| {
            let work = work.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                let mut random = Random((task + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                while begun.elapsed() < time {
                    let from = Instant::now();
                    work(random.next()).await;
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
    report(name, times.len(), begun.elapsed(), cpu() - cpu_before, times);
}

fn floor(dir: &Path) {
    let mut file = File::create(dir.join("floor")).expect("file");
    let mut times = Vec::new();
    let (begun, before) = (Instant::now(), cpu());
    while begun.elapsed() < Duration::from_secs(1) {
        let from = Instant::now();
        file.write_all(&[7; 4096]).expect("write");
        file.sync_data().expect("sync");
        times.push(from.elapsed());
    }
    report("floor: append 4 KiB + fdatasync, 1 thread", times.len(), begun.elapsed(), cpu() - before, times);
}

/// SQLite alone, in one thread, as fast as it goes: what no engine on it can beat.
fn bare(dir: &Path, plan: &Plan) {
    let name = "floor: bare SQLite, batches of 64 puts";
    if !name.contains(&plan.only) {
        return;
    }
    let conn = rusqlite::Connection::open(dir.join("bare.db")).expect("open");
    conn.execute_batch(
        "pragma journal_mode = wal; pragma synchronous = full; pragma cache_size = -16384;
         create table kv(k blob primary key, v blob not null, ver int not null, exp int);",
    )
    .expect("schema");
    let put = "insert into kv(k, v, ver, exp) values(?1, ?2, ?3, null)
               on conflict(k) do update set v = excluded.v, ver = excluded.ver";
    // A row that does not change would cost SQLite nothing.
    let ver = std::cell::Cell::new(0i64);
    let batch = |numbers: &mut dyn Iterator<Item = u64>| {
        conn.execute_batch("begin immediate").expect("begin");
        for n in numbers {
            let mut put = conn.prepare_cached(put).expect("prepare");
            ver.set(ver.get() + 1);
            put.execute(rusqlite::params![key(n).as_bytes(), &value()[..], ver.get()]).expect("put");
        }
        conn.execute_batch("commit").expect("commit");
    };
    batch(&mut (0..plan.rows));
    let (mut random, mut times) = (Random(7), Vec::new());
    let (begun, before) = (Instant::now(), cpu());
    while begun.elapsed() < plan.time {
        let from = Instant::now();
        batch(&mut (0..64).map(|_| random.next() % plan.rows));
        times.extend([from.elapsed(); 64]);
    }
    report(name, times.len(), begun.elapsed(), cpu() - before, times);
    drop(conn);
    for end in ["", "-wal", "-shm"] {
        drop(std::fs::remove_file(dir.join(format!("bare.db{end}"))));
    }
}

async fn fill(state: &Sqlite, rows: u64) {
    let begun = Instant::now();
    for batch in 0..rows / 1_000 {
        let txn = (batch * 1_000..(batch + 1) * 1_000).fold(Txn::new(), |txn, n| txn.put(key(n), value()));
        state.commit(txn.lazy()).await.expect("fill");
    }
    println!("fill: {:.0} rows/s", rows as f64 / begun.elapsed().as_secs_f64());
}

async fn put(state: Sqlite, n: u64) {
    state.commit(Txn::new().put(key(n), value())).await.expect("commit");
}

async fn writes(state: &Sqlite, plan: &Plan) {
    let rows = plan.rows;
    for tasks in [1, 16, 64] {
        let s = state.clone();
        load(plan, &format!("durable put of 1 KiB, {tasks} tasks"), tasks, move |random| put(s.clone(), random % rows))
            .await;
    }
    let s = state.clone();
    load(plan, "durable put of 1 KiB by a rule, 64 tasks", 64, move |random| {
        let s = s.clone();
        async move {
            let txn = Txn::new().rule([key(random % rows)], |view, out: &mut Vec<Mutation>| {
                out.push(Mutation::Put { key: view.key(0), value: value(), expires: None });
                Ok::<bool, ()>(view.row(0).is_some())
            });
            s.commit(txn).await.expect("commit");
        }
    })
    .await;
}

async fn reads(state: &Sqlite, plan: &Plan) {
    let rows = plan.rows;
    for tasks in [1, 64] {
        let s = state.clone();
        load(plan, &format!("get of 1 KiB, {tasks} tasks"), tasks, move |random| {
            let s = s.clone();
            async move {
                s.get(key(random % rows)).await.expect("get").expect("row");
            }
        })
        .await;
    }
    let s = state.clone();
    load(plan, "range of 100 rows, 16 tasks", 16, move |random| {
        let s = s.clone();
        async move {
            let range = Range::prefix(&Key::new(ITEM, 1, (random >> 48) as u16)).limit(100);
            s.range(range).await.expect("range");
        }
    })
    .await;
    let name = "durable put beside a reader, 64 tasks";
    if !name.contains(&plan.only) {
        return;
    }
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (s, until, counted) = (state.clone(), Arc::clone(&stop), Arc::clone(&count));
    let reader = tokio::spawn(async move {
        let mut random = Random(7);
        while !until.load(Ordering::Relaxed) {
            s.get(key(random.next() % rows)).await.expect("get");
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    let s = state.clone();
    load(plan, name, 64, move |random| put(s.clone(), random % rows)).await;
    stop.store(true, Ordering::Relaxed);
    reader.await.expect("reader");
    println!("  the reader beside it: {:.0}/s", count.load(Ordering::Relaxed) as f64 / plan.time.as_secs_f64());
}

async fn queues(state: &Sqlite, plan: &Plan) {
    let s = state.clone();
    load(plan, "enqueue + claim + ack of 1 KiB, 64 tasks", 64, move |_| {
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
    let mut number = |default| args.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (time, rows) = (Duration::from_secs(number(5)), number(LOADED).max(1_000));
    let plan = Plan { rows, time, only: args.next().unwrap_or_default() };
    std::fs::create_dir_all(&dir).expect("folder");
    floor(&dir);
    bare(&dir, &plan);
    let begun = Instant::now();
    let state = Sqlite::open(&dir, Arc::new(SystemClock)).expect("open");
    println!("open: {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    if state.get(key(plan.rows - 1)).await.expect("get").is_none() {
        fill(&state, plan.rows).await;
    }
    writes(&state, &plan).await;
    reads(&state, &plan).await;
    queues(&state, &plan).await;
    for name in ["state.db", "state.db-wal"] {
        let bytes = std::fs::metadata(dir.join(name)).map_or(0, |meta| meta.len());
        println!("{name}: {} MiB", bytes >> 20);
    }
    floor(&dir);
}
