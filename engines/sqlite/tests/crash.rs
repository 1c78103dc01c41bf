//! Kills a writing process at random moments: what it acknowledged must be there afterwards.
//!
//! The child is this test binary again, told by a variable what to be. It prints a line for every acknowledged commit.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use squall_engine_sqlite::Sqlite;
use squall_store::{
    Bytes, ClaimSpec, Consistency, Key, Kind, Part, Queue, ReadOp, ReadOut, Settle, State, StateExt, Txn, envelope,
};
use squall_types::{Millis, SystemClock};

const CHILD: &str = "SQUALL_CRASH_TEST_DIR";
const ROW: Kind = Kind::kv(0x7f, 1);
const PART: Part = Part::sole(1);
const QUEUE: Queue = Queue(1);
const TASKS: u64 = 16;

fn row(n: u64) -> Key {
    Key::new(ROW, 1, (n % 7) as u16).u64(n)
}

fn total() -> Key {
    Key::new(ROW, 2, 0)
}

fn open(dir: &Path) -> Sqlite {
    Sqlite::open(dir, Arc::new(SystemClock)).expect("open")
}

/// Writes for ever: each transaction has a row, a change, a message and a counter, and is acknowledged on stdout.
async fn write(dir: &Path) {
    let state = open(dir);
    let start: u64 = std::env::var("SQUALL_CRASH_TEST_START").expect("start").parse().expect("number");
    let next = Arc::new(AtomicU64::new(start));
    let tasks = (0..TASKS).map(|task| {
        let (state, next) = (state.clone(), Arc::clone(&next));
        tokio::spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let body: Bytes = envelope::seal(&vec![n as u8; 200 + (n % 900) as usize]);
                let txn = Txn::new().put(row(n), body).emit(PART, n.to_be_bytes().to_vec()).add(total(), 1);
                let handle = state.commit(txn.enqueue(QUEUE, state.now(), n.to_be_bytes().to_vec())).await;
                handle.expect("commit");
                // One write, so that lines of several tasks do not mix.
                if std::io::stdout().write_all(format!("put {n}\n").as_bytes()).is_err() {
                    // The parent is gone: nobody would kill this process.
                    return;
                }
                if task % 4 == 0 {
                    let spec = ClaimSpec::new(1, Millis(1 << 40)).lazy();
                    for entry in state.claim(QUEUE, spec).await.expect("claim") {
                        let n = u64::from_be_bytes(entry.value[..].try_into().expect("number"));
                        state.commit(Txn::new().settle(entry.handle, Settle::Ack)).await.expect("ack");
                        std::io::stdout().write_all(format!("ack {n}\n").as_bytes()).expect("stdout");
                    }
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("task");
    }
}

/// Runs the writer and kills it after some acknowledgements; gives its lines.
fn run_and_kill(dir: &Path, start: u64, lines: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "acknowledged_writes_survive_kills", "--nocapture", "--test-threads=1"])
        .env(CHILD, dir)
        .env("SQUALL_CRASH_TEST_START", start.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("child");
    let mut out = BufReader::new(child.stdout.take().expect("stdout"));
    let mut acknowledged = Vec::new();
    let mut line = String::new();
    while acknowledged.len() < lines && out.read_line(&mut line).expect("read") > 0 {
        acknowledged.push(std::mem::take(&mut line));
    }
    child.kill().expect("SIGKILL");
    child.wait().expect("wait");
    // What it managed to print before it died was acknowledged too, but for a last line that is cut off.
    while out.read_line(&mut line).expect("read") > 0 {
        if line.ends_with('\n') {
            acknowledged.push(std::mem::take(&mut line));
        }
        line.clear();
    }
    acknowledged
}

#[derive(Default)]
struct Promised {
    put: Vec<u64>,
    done: Vec<u64>,
}

async fn check(dir: &Path, promised: &Promised) {
    let state = open(dir);
    for chunk in promised.put.chunks(500) {
        let rows = state.get_many(chunk.iter().map(|n| row(*n)).collect(), Consistency::Strong).await.expect("read");
        for (n, found) in chunk.iter().zip(rows) {
            let value = found.unwrap_or_else(|| panic!("row {n} was acknowledged and is gone")).value;
            assert_eq!(envelope::open(&value).expect("body"), vec![*n as u8; 200 + (*n % 900) as usize]);
        }
    }
    // Rows, counter, changes and messages came in one transaction each: they agree to the last one.
    let mut rows = 0;
    for slot in 0..7 {
        rows += state.all(Key::new(ROW, 1, slot), usize::MAX).await.expect("rows").len() as u64;
    }
    let counter = state.get(total()).await.expect("get").map(|row| row.value);
    assert_eq!(envelope::open_counter(counter.as_deref()).expect("counter") as u64, rows);
    assert_eq!(state.head(PART).await.expect("head"), rows);
    let depth = state.read(vec![ReadOp::Depth(QUEUE)], Consistency::Strong).await.expect("read").pop();
    let Some(ReadOut::Depth { ready, leased, delayed }) = depth else { panic!("{depth:?}") };
    let left = ready + leased + delayed;
    let acked = rows - left;
    assert!(acked >= promised.done.len() as u64, "{} acknowledged, {acked} gone", promised.done.len());
}

#[test]
fn acknowledged_writes_survive_kills() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    if let Some(dir) = std::env::var_os(CHILD) {
        runtime.block_on(write(Path::new(&dir)));
        return;
    }
    let temp = tempfile::tempdir().expect("folder");
    let mut promised = Promised::default();
    let mut random = std::process::id() as usize;
    for round in 0..10u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let lines = run_and_kill(temp.path(), round * 10_000_000, 1 + (random >> 33) % 1_500);
        assert!(lines.iter().any(|line| line.starts_with("put ")), "round {round} wrote nothing");
        for line in lines {
            match line.trim().split_once(' ') {
                Some(("put", n)) => promised.put.extend(n.parse::<u64>()),
                Some(("ack", n)) => promised.done.extend(n.parse::<u64>()),
                // The harness of the child has lines of its own.
                _ => {}
            }
        }
        // Opening right after the death must wait for nobody.
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(60), check(temp.path(), &promised)).await.expect("in time");
        });
    }
    assert!(promised.put.len() > 100);
}
