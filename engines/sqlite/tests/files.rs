//! The files: locks, versions, damage, backup and restore, reopening, sweeping.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt;
use rusqlite::Connection;
use squall_engine_sqlite::{OpenError, Sqlite, restore};
use squall_store::{
    ClaimSpec, Durability, Key, Kind, Mutation, Part, Queue, Settle, Stamp, State, StateExt, Txn, envelope,
};
use squall_types::{ManualClock, Millis};

const ROW: Kind = Kind::kv(0x7f, 1);

fn key(n: u64) -> Key {
    Key::new(ROW, 1, 0).u64(n)
}

fn open(dir: &Path) -> Result<Sqlite, OpenError> {
    Sqlite::open(dir, Arc::new(ManualClock::new(Millis(1_700_000_000_000))))
}

fn refusal(dir: &Path) -> OpenError {
    open(dir).err().expect("refused")
}

async fn put(state: &Sqlite, n: u64) -> Stamp {
    state.commit(Txn::new().put(key(n), envelope::seal(b"v"))).await.expect("put").stamp
}

#[tokio::test]
async fn a_folder_serves_one_engine() {
    let dir = tempfile::tempdir().expect("folder");
    let first = open(dir.path()).expect("open");
    put(&first, 1).await;
    let error = refusal(dir.path());
    assert!(matches!(error, OpenError::Locked(_)), "{error}");
    assert!(error.to_string().contains("in use by another server"), "{error}");
    let error = restore(Path::new("none"), dir.path()).expect_err("in use");
    assert!(matches!(error, OpenError::Locked(_)), "{error}");
    drop(first);
    let again = open(dir.path()).expect("open");
    assert!(again.get(key(1)).await.expect("get").is_some());
}

#[tokio::test]
async fn stamps_and_leases_of_a_former_run_never_come_again() {
    let dir = tempfile::tempdir().expect("folder");
    let state = open(dir.path()).expect("open");
    let before = put(&state, 1).await;
    state.commit(Txn::new().enqueue(Queue(1), state.now(), "x")).await.expect("enqueue");
    let held = state.claim(Queue(1), ClaimSpec::new(1, Millis(60_000))).await.expect("claim").remove(0);
    drop(state);
    let state = open(dir.path()).expect("open");
    assert_ne!(put(&state, 1).await, before);
    state.commit(Txn::new().settle(held.handle, Settle::Ack)).await.expect("the lease outlives the process");
}

#[test]
fn files_of_others_are_refused() {
    let check = |make: &dyn Fn(&Path), expected: &str| {
        let dir = tempfile::tempdir().expect("folder");
        make(&dir.path().join("state.db"));
        let error = refusal(dir.path()).to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(&|file| fs::write(file, vec![b'x'; 8_192]).expect("write"), "not a readable Squall state");
    check(
        &|file| Connection::open(file).expect("open").execute_batch("create table t(x)").expect("make"),
        "another program",
    );
    let newer = |file: &Path| {
        drop(open(file.parent().expect("folder")).expect("open"));
        Connection::open(file).expect("open").execute_batch("pragma user_version = 2").expect("make");
    };
    check(&newer, "upgrade the program");
    let broken = |file: &Path| {
        drop(open(file.parent().expect("folder")).expect("open"));
        let mut bytes = fs::read(file).expect("read");
        bytes.iter_mut().skip(100).for_each(|byte| *byte = 0xa5);
        fs::write(file, bytes).expect("write");
    };
    check(&broken, "not a readable Squall state");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_state_is_backed_up_and_restored() {
    let dir = tempfile::tempdir().expect("folder");
    let state = open(&dir.path().join("live")).expect("open");
    for n in 0..200 {
        put(&state, n).await;
    }
    let copy = dir.path().join("copy.db");
    let writer = {
        let state = state.clone();
        tokio::spawn(async move {
            for n in 1_000..1_400 {
                put(&state, n).await;
            }
        })
    };
    state.backup(&copy).await.expect("backup");
    writer.await.expect("writer");
    assert!(matches!(state.backup(&copy).await, Err(OpenError::NotEmpty(_))));
    let target = dir.path().join("restored");
    restore(&copy, &target).expect("restore");
    assert!(matches!(restore(&copy, &target), Err(OpenError::NotEmpty(_))));
    let restored = open(&target).expect("open");
    let rows = restored.all(Key::new(ROW, 1, 0), 10_000).await.expect("rows");
    assert!(rows.len() >= 200, "{} rows", rows.len());
    // A consistent cut: of the rows written meanwhile, a beginning without gaps.
    for (n, row) in rows.iter().skip(200).enumerate() {
        assert_eq!(row.key, key(1_000 + n as u64));
    }
    put(&restored, 5).await;
    // Damage is found before it is put in place.
    let mut bytes = fs::read(&copy).expect("read");
    let middle = bytes.len() / 2;
    bytes.iter_mut().skip(middle).take(6_000).for_each(|byte| *byte = 0x5a);
    fs::write(&copy, bytes).expect("write");
    let other = dir.path().join("other");
    assert!(matches!(restore(&copy, &other), Err(OpenError::Damaged { .. })));
    assert!(!other.join("state.db").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_there_after_reopening() {
    let dir = tempfile::tempdir().expect("folder");
    let part = Part::sole(3);
    {
        let state = open(dir.path()).expect("open");
        let mut txn = Txn::new().put(key(1), envelope::seal(b"v")).emit(part, "a").emit(part, "b");
        txn.sync = Durability::Lazy;
        txn = txn.mutation(Mutation::Trim { part, upto: 1 }).enqueue(Queue(1), state.now(), "m").id([9; 16]);
        state.commit(txn.clone()).await.expect("fill");
    }
    let state = open(dir.path()).expect("open");
    assert!(state.get(key(1)).await.expect("get").is_some());
    assert_eq!(state.watch(part, 1).next().await.expect("change").expect("change").seq, 2);
    assert!(matches!(state.watch(part, 0).next().await, Some(Err(squall_store::Error::Trimmed))));
    assert_eq!(state.claim(Queue(1), ClaimSpec::new(9, Millis(1))).await.expect("claim").len(), 1);
    let known = state.commit(Txn::new().id([9; 16]).put(key(2), "x")).await.expect("known");
    assert!(known.reply.is_none() && state.get(key(2)).await.expect("get").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_does_not_grow_for_ever() {
    let dir = tempfile::tempdir().expect("folder");
    let state = open(dir.path()).expect("open");
    let value = envelope::seal(&vec![3; 200_000]);
    // Readers all the time: they must not keep the log from beginning anew.
    let reader = {
        let state = state.clone();
        tokio::spawn(async move {
            loop {
                state.get(key(1)).await.expect("get");
                tokio::task::yield_now().await;
            }
        })
    };
    for n in 0..2_000 {
        state.commit(Txn::new().put(key(n % 20), value.clone()).lazy()).await.expect("put");
    }
    reader.abort();
    let log = fs::metadata(dir.path().join("state.db-wal")).expect("log").len();
    assert!(log < 300 << 20, "the log has {} MiB after 400 MB of writes", log >> 20);
}
