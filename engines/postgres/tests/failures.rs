//! The database restarts, is away, or is cut off within a commit: nothing acknowledged is lost, and the engine recovers
//! by itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use squall_engine_postgres::{OpenError, Options, Postgres};
use squall_store::{ClaimSpec, Error, Key, Kind, Queue, Settle, State, StateExt, Txn, envelope};
use squall_testkit::{Postgres as Server, PostgresOptions};
use squall_types::Millis;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

const ROW: Kind = Kind::kv(0x7f, 1);

fn key(writer: u64, n: u64) -> Key {
    Key::new(ROW, 1, 0).u64(writer).u64(n)
}

async fn open(url: &str) -> Postgres {
    Postgres::open(Options::parse(url).expect("url").patience(Duration::from_secs(20))).await.expect("open")
}

/// Counts by rule, and writes a row for each number, until told to stop: how many were acknowledged, and how many may
/// or may not have happened.
async fn write(state: Postgres, writer: u64, stop: Arc<AtomicBool>) -> (u64, u64) {
    let (mut acknowledged, mut unknown, mut n) = (0, 0, 0);
    while !stop.load(Ordering::Relaxed) {
        let txn = Txn::new().put(key(writer, n), envelope::seal(b"v")).rule([key(u64::MAX, writer)], |view, out| {
            let count = envelope::open_counter(view.value(0)).map_err(drop)?;
            squall_store::Mutations::put(out, view.key(0), envelope::seal_counter(count + 1));
            Ok::<(), ()>(())
        });
        match state.commit(txn).await {
            Ok(_) => acknowledged += 1,
            Err(Error::Unknown) => unknown += 1,
            Err(Error::Unavailable(_)) => {}
            Err(other) => panic!("{other}"),
        }
        n += 1;
    }
    (acknowledged, unknown)
}

/// What was acknowledged is there, once.
async fn check(state: &Postgres, writers: Vec<(u64, u64)>) {
    for (writer, (acknowledged, unknown)) in writers.into_iter().enumerate() {
        let writer = writer as u64;
        let row = state.get(key(u64::MAX, writer)).await.expect("read");
        let count = envelope::open_counter(row.as_ref().map(|row| &row.value[..])).expect("counter").unsigned_abs();
        let rows = state.all(Key::new(ROW, 1, 0).u64(writer), 1_000_000).await.expect("read").len() as u64;
        assert_eq!(rows, count, "the row and the count of a transaction come together");
        assert!((acknowledged..=acknowledged + unknown).contains(&count), "{acknowledged} + {unknown}: {count}");
        assert!(acknowledged > 0, "work was done");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_loses_nothing() {
    let mut server = Server::start_with(PostgresOptions { is_durable: true, ..PostgresOptions::default() });
    let state = open(&server.url("squall")).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8).map(|n| tokio::spawn(write(state.clone(), n, Arc::clone(&stop)))).collect();
    for signal in ["INT", "QUIT", "KILL"] {
        tokio::time::sleep(Duration::from_millis(600)).await;
        tokio::task::block_in_place(|| {
            server.stop(signal);
            server.launch();
        });
    }
    tokio::time::sleep(Duration::from_millis(600)).await;
    stop.store(true, Ordering::Relaxed);
    let mut done = Vec::new();
    for writer in writers {
        done.push(writer.await.expect("writer"));
    }
    check(&state, done).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_takeover_under_load_loses_nothing() {
    let server = Server::start();
    let first = open(&server.url("squall")).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8).map(|n| tokio::spawn(write(first.clone(), n, Arc::clone(&stop)))).collect();
    tokio::time::sleep(Duration::from_millis(400)).await;
    // The same server started anew, while its former process still runs.
    let second = open(&server.url("squall")).await;
    let rows = |state: Postgres| async move { state.all(Key::new(ROW, 1, 0), 1_000_000).await.expect("read").len() };
    let taken_over = rows(second.clone()).await;
    let more = tokio::spawn(write(second.clone(), 8, Arc::clone(&stop)));
    tokio::time::sleep(Duration::from_millis(400)).await;
    stop.store(true, Ordering::Relaxed);
    let mut done = Vec::new();
    for writer in writers {
        done.push(writer.await.expect("writer"));
    }
    let (acknowledged, unknown) = more.await.expect("writer");
    // One row and one count of the second process's writer, and no more of the first one's.
    let gained = (rows(second.clone()).await - taken_over) as u64;
    assert!(gained >= acknowledged && gained <= acknowledged + unknown + 1, "{gained}: {acknowledged} + {unknown}");
    done.push((acknowledged, unknown));
    check(&second, done).await;
}

/// A socket before the database's, which can be cut.
struct Proxy {
    folder: tempfile::TempDir,
    /// Cuts a connection right after a commit was passed on, so that its answer is lost.
    cuts: Arc<AtomicBool>,
    /// Passes nothing on.
    holds: Arc<AtomicBool>,
    /// Passes answers on so much later.
    delay_ms: Arc<AtomicU64>,
}

impl Proxy {
    fn start(server: PathBuf) -> Proxy {
        let folder = tempfile::Builder::new().prefix("squall-px-").tempdir_in("/tmp").expect("folder");
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).expect("socket");
        let (cuts, holds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let delay_ms = Arc::new(AtomicU64::new(0));
        let (cut, hold, delay) = (Arc::clone(&cuts), Arc::clone(&holds), Arc::clone(&delay_ms));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = UnixStream::connect(&server).await else { continue };
                tokio::spawn(pass(client, server, Arc::clone(&cut), Arc::clone(&hold), Arc::clone(&delay)));
            }
        });
        Proxy { folder, cuts, holds, delay_ms }
    }

    fn url(&self) -> String {
        format!("postgres:///postgres?host={}&user=squall&schema=squall", self.folder.path().display())
    }
}

async fn pass(
    client: UnixStream,
    server: UnixStream,
    cuts: Arc<AtomicBool>,
    holds: Arc<AtomicBool>,
    delay_ms: Arc<AtomicU64>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let held = Arc::clone(&holds);
    let back = tokio::spawn(async move {
        let mut buffer = vec![0; 65_536];
        while let Ok(len @ 1..) = from_server.read(&mut buffer).await {
            while held.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            match delay_ms.load(Ordering::Relaxed) {
                0 => {}
                delay => tokio::time::sleep(Duration::from_millis(delay)).await,
            }
            if to_client.write_all(&buffer[..len]).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 65_536];
    // The batch's own mark is the statement before the commit, and carries the server's name.
    while let Ok(len @ 1..) = from_client.read(&mut buffer).await {
        while holds.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let writes = buffer[..len].windows(4).any(|bytes| bytes == b"node");
        if writes && cuts.swap(false, Ordering::Relaxed) {
            // Half of these cuts let the commit through, half of them stop it.
            let through = if len % 2 == 0 { len } else { len / 2 };
            drop(to_server.write_all(&buffer[..through]).await);
            break;
        }
        if to_server.write_all(&buffer[..len]).await.is_err() {
            break;
        }
    }
    back.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_within_commits_lose_and_double_nothing() {
    let server = Server::start();
    let proxy = Proxy::start(server.socket());
    let state = open(&proxy.url()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8).map(|n| tokio::spawn(write(state.clone(), n, Arc::clone(&stop)))).collect();
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(40)).await;
        proxy.cuts.store(true, Ordering::Relaxed);
    }
    stop.store(true, Ordering::Relaxed);
    let mut done = Vec::new();
    for writer in writers {
        let (acknowledged, unknown) = writer.await.expect("writer");
        assert_eq!(unknown, 0, "the outcome of every commit was found out");
        done.push((acknowledged, unknown));
    }
    check(&state, done).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_does_not_answer_is_waited_for_and_then_said_so() {
    let mut server = Server::start();
    let url = server.url("squall");
    let options = Options::parse(&url).expect("url").patience(Duration::from_millis(500));
    let state = Postgres::open(options).await.expect("open");
    state.commit(Txn::new().put(key(0, 0), "v").enqueue(Queue(1), state.now(), "x")).await.expect("put");
    tokio::task::block_in_place(|| server.stop("QUIT"));
    let begin = Instant::now();
    assert!(matches!(state.commit(Txn::new().put(key(0, 1), "v")).await, Err(Error::Unavailable(_))));
    assert!(state.get(key(0, 0)).await.is_err());
    assert!(begin.elapsed() < Duration::from_secs(10), "an answer in time: {:?}", begin.elapsed());
    tokio::task::block_in_place(|| server.launch());
    let until = Instant::now() + Duration::from_secs(20);
    while state.commit(Txn::new().put(key(0, 2), "v")).await.is_err() {
        assert!(Instant::now() < until, "the engine recovers by itself");
    }
    assert!(state.get(key(0, 0)).await.expect("read").is_some());
    let held = state.claim(Queue(1), ClaimSpec::new(1, Millis(1_000)).wait(Millis(5_000))).await.expect("claim");
    state.commit(Txn::new().settle(held[0].handle, Settle::Ack)).await.expect("settle");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_silence_is_waited_out() {
    let server = Server::start();
    let proxy = Proxy::start(server.socket());
    let state = open(&proxy.url()).await;
    proxy.holds.store(true, Ordering::Relaxed);
    let commit = tokio::spawn({
        let state = state.clone();
        async move { state.commit(Txn::new().put(key(0, 0), "v")).await.map(drop) }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!commit.is_finished());
    proxy.holds.store(false, Ordering::Relaxed);
    commit.await.expect("task").expect("commit");
}

async fn refusal(url: &str, node: &str) -> OpenError {
    match Postgres::open(Options::parse(url).expect("url").node(node)).await {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_used_is_refused_with_what_to_do() {
    let server = Server::start_with(PostgresOptions { password: Some("right".into()), ..PostgresOptions::default() });
    let url = server.url("squall");
    let wrong = refusal(&url.replace("password=right", "password=wrong"), "a").await;
    assert!(matches!(wrong, OpenError::Login { .. }), "{wrong}");
    let nobody = refusal("postgres:///postgres?host=/nonexistent&user=squall", "a").await;
    assert!(matches!(nobody, OpenError::Unreachable { .. }), "{nobody}");
    let first = Postgres::open(Options::parse(&url).expect("url").node("a")).await.expect("open");
    let second = refusal(&url, "b").await;
    assert!(matches!(&second, OpenError::InUse { node, .. } if node == "a"), "{second}");
    // The same server started anew takes over, and the former process may not write any more.
    let again = Postgres::open(Options::parse(&url).expect("url").node("a")).await.expect("open");
    again.commit(Txn::new().put(key(0, 0), "v")).await.expect("put");
    assert!(matches!(first.commit(Txn::new().put(key(0, 1), "v")).await, Err(Error::Unavailable(_))));
    again.close().await;
    let other = Postgres::open(Options::parse(&url).expect("url").node("b")).await.expect("free");
    assert!(other.get(key(0, 0)).await.expect("read").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_do_not_wait_for_each_other_when_the_database_hangs() {
    let server = Server::start();
    let proxy = Proxy::start(server.socket());
    let options = Options::parse(&proxy.url()).expect("url").patience(Duration::from_millis(500));
    let state = Postgres::open(options).await.expect("open");
    state.commit(Txn::new().put(key(0, 0), "v")).await.expect("put");
    let read = |state: Postgres| tokio::spawn(async move { state.all(Key::new(ROW, 1, 0), 10).await });
    read(state.clone()).await.expect("task").expect("read");
    proxy.holds.store(true, Ordering::Relaxed);
    // Some have a connection, on which nothing comes for 20 s; the others must not wait for them.
    let reads: Vec<_> = (0..46).map(|_| read(state.clone())).collect();
    let finished = || reads.iter().filter(|one| one.is_finished()).count();
    while finished() < 40 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(finished() < reads.len(), "those that wait are answered before those that hang");
    proxy.holds.store(false, Ordering::Relaxed);
    for one in reads {
        match one.await.expect("task") {
            Ok(rows) => assert_eq!(rows.len(), 1),
            Err(error) => assert!(matches!(error, Error::Unavailable(_)), "{error}"),
        }
    }
    let until = Instant::now() + Duration::from_secs(60);
    while state.all(Key::new(ROW, 1, 0), 10).await.is_err() {
        assert!(Instant::now() < until, "reads go on by themselves");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_way_to_the_database_costs_time_and_nothing_else() {
    let server = Server::start();
    let proxy = Proxy::start(server.socket());
    let state = open(&proxy.url()).await;
    proxy.delay_ms.store(60, Ordering::Relaxed);
    let writers = (0..64).map(|n| {
        let state = state.clone();
        tokio::spawn(async move {
            for round in 0..5 {
                state.commit(Txn::new().put(key(n, round), "v")).await.expect("put");
                assert!(state.get(key(n, round)).await.expect("read").is_some(), "a strong read sees it");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("writer");
    }
    assert_eq!(state.all(Key::new(ROW, 1, 0), 1_000).await.expect("read").len(), 64 * 5);
}
