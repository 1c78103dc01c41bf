//! Failures and sweeps, batch by batch.

use std::path::Path;

use squall_store::{Error, Key, Kind, Mutation, Txn};
use squall_types::ManualClock;

use super::*;

const NOW: Millis = Millis(1_700_000_000_000);

fn key(n: u64) -> Key {
    Key::new(Kind::kv(0x7f, 1), 1, 0).u64(n)
}

fn committer(dir: &Path, conn: Connection) -> Committer {
    Committer {
        changes: crate::cache::Changes::new(std::sync::Arc::default()),
        path: schema::file(dir),
        conn: Some(conn),
        inbox: Arc::default(),
        parts: Arc::default(),
        keeper: Arc::default(),
        room: Arc::default(),
        pace: Pace::default(),
        clock: Arc::new(ManualClock::new(NOW)),
        stamp: 1 << 40,
        synchronous: true,
        parked: Parked::default(),
        backlog: VecDeque::new(),
    }
}

/// Commits these as one batch.
fn batch(committer: &mut Committer, txns: Vec<Txn>) -> Vec<Result<Committed>> {
    let mut answers = Vec::new();
    for txn in txns {
        let (reply, answer) = oneshot::channel();
        committer.backlog.push_back(Job::Commit(txn, reply));
        answers.push(answer);
    }
    committer.turn(Vec::new(), NOW);
    answers.into_iter().map(|mut answer| answer.try_recv().expect("answered")).collect()
}

fn count(dir: &Path, table: &str) -> i64 {
    let conn = schema::reader(&schema::file(dir)).expect("reader");
    conn.query_row(&format!("select count(*) from {table}"), [], |row| row.get(0)).expect("count")
}

#[test]
fn a_full_disk_loses_the_batch_and_nothing_else() {
    let dir = tempfile::tempdir().expect("folder");
    let conn = schema::writer(&schema::file(dir.path())).expect("open");
    let mut committer = committer(dir.path(), conn);
    assert!(batch(&mut committer, vec![Txn::new().put(key(1), "kept")]).remove(0).is_ok());
    let limit = "pragma max_page_count = 40";
    committer.conn.as_ref().expect("conn").query_row(limit, [], |_| Ok(())).expect("limit");
    let big = vec![Txn::new().put(key(2), "small"), Txn::new().put(key(3), vec![1; 500_000])];
    for answer in batch(&mut committer, big) {
        assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
    }
    assert!(batch(&mut committer, vec![Txn::new().put(key(4), "small again")]).remove(0).is_ok());
    assert_eq!(count(dir.path(), "kv"), 2);
}

#[test]
fn a_failed_connection_is_replaced() {
    let dir = tempfile::tempdir().expect("folder");
    drop(schema::writer(&schema::file(dir.path())).expect("make"));
    let broken = schema::reader(&schema::file(dir.path())).expect("a connection that cannot write");
    let mut committer = committer(dir.path(), broken);
    let answer = batch(&mut committer, vec![Txn::new().put(key(1), "x")]).remove(0);
    assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
    assert!(batch(&mut committer, vec![Txn::new().put(key(1), "x")]).remove(0).is_ok());
}

#[test]
fn sweeping_removes_what_is_over() {
    let dir = tempfile::tempdir().expect("folder");
    let conn = schema::writer(&schema::file(dir.path())).expect("open");
    let mut committer = committer(dir.path(), conn);
    let part = Part::sole(1);
    let mut txn = Txn::new().put(key(0), "stays").put_until(key(1), "later", Millis(NOW.0 + 1)).id([1; 16]);
    txn = (2..1_200).fold(txn, |txn, n| txn.put_until(key(n), "over", NOW));
    txn = (0..1_200).fold(txn, |txn, _| txn.emit(part, "x"));
    let txn = txn.mutation(Mutation::Trim { part, upto: 1_199 });
    assert!(batch(&mut committer, vec![txn]).remove(0).is_ok());
    while sweep(committer.conn.as_ref().expect("conn"), NOW).expect("sweep") {}
    assert_eq!((count(dir.path(), "kv"), count(dir.path(), "changes"), count(dir.path(), "done")), (2, 1, 1));
    let later = Millis(NOW.0 + OUTCOME_KEPT.0 + 1);
    while sweep(committer.conn.as_ref().expect("conn"), later).expect("sweep") {}
    assert_eq!((count(dir.path(), "kv"), count(dir.path(), "changes"), count(dir.path(), "done")), (1, 1, 0));
}
