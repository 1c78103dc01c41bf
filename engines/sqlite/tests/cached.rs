//! Rows that are kept in memory are the committed ones: readers never see an older row than they could have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use squall_engine_sqlite::Sqlite;
use squall_store::{Key, Kind, Mutation, Range, State, StateExt, Txn, envelope};
use squall_types::SystemClock;

const KEYS: u64 = 3;
const ROUNDS: u64 = 400;

fn key(n: u64) -> Key {
    Key::new(Kind::kv(0x7f, 1), 1, 0).u64(n)
}

fn number(value: &[u8]) -> u64 {
    let bytes = envelope::open(value).expect("sealed").try_into().expect("eight bytes");
    u64::from_be_bytes(bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_never_go_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = Sqlite::open(dir.path(), Arc::new(SystemClock)).expect("open");
    let acknowledged: Arc<Vec<AtomicU64>> = Arc::new((0..KEYS).map(|_| AtomicU64::new(0)).collect());
    let readers: Vec<_> = (0..4)
        .map(|reader| {
            let (state, acknowledged) = (state.clone(), acknowledged.clone());
            tokio::spawn(async move {
                let mut seen = [0; KEYS as usize];
                for turn in 0.. {
                    let n = turn % KEYS;
                    let least = acknowledged[n as usize].load(Ordering::SeqCst).max(seen[n as usize]);
                    // Points come from memory, ranges from the file: neither may be behind the other.
                    let row = if (turn / KEYS + reader).is_multiple_of(3) {
                        state.range(Range::prefix(&key(n))).await.expect("read").rows.pop()
                    } else {
                        state.get(key(n)).await.expect("read")
                    };
                    let found = row.map_or(0, |row| number(&row.value));
                    assert!(found >= least, "key {n}: {found} after {least}");
                    seen[n as usize] = found;
                    if found == ROUNDS {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for round in 1..=ROUNDS {
        for n in 0..KEYS {
            let value = envelope::seal(&round.to_be_bytes());
            let put = Mutation::Put { key: key(n), value, expires: None };
            state.commit(Txn::new().mutation(put)).await.expect("commit");
            acknowledged[n as usize].store(round, Ordering::SeqCst);
        }
    }
    for reader in readers {
        reader.await.expect("a reader");
    }
}

#[tokio::test]
async fn removed_ranges_and_rows_are_gone() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = Sqlite::open(dir.path(), Arc::new(SystemClock)).expect("open");
    let put = |n| Mutation::Put { key: key(n), value: envelope::seal(b"v"), expires: None };
    state.commit((0..10).fold(Txn::new(), |txn, n| txn.mutation(put(n)))).await.expect("commit");
    for n in 0..10 {
        assert!(state.get(key(n)).await.expect("read").is_some());
    }
    state.commit(Txn::new().mutation(Mutation::Delete(key(9)))).await.expect("commit");
    assert!(state.get(key(9)).await.expect("read").is_none());
    let slice = Mutation::DeleteRange { from: key(0), to: key(5), limit: 100 };
    state.commit(Txn::new().mutation(slice)).await.expect("commit");
    for n in 0..9 {
        assert_eq!(state.get(key(n)).await.expect("read").is_some(), n >= 5, "{n}");
    }
}

#[tokio::test]
async fn a_rule_may_write_its_rows_again_and_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let state = Sqlite::open(dir.path(), Arc::new(SystemClock)).expect("open");
    let put = |key: Key, n: u64| Mutation::Put { key, value: envelope::seal(&n.to_be_bytes()), expires: None };
    state.commit((0..4).fold(Txn::new(), |txn, n| txn.mutation(put(key(n), n)))).await.expect("commit");
    // The rule reads rows 0 to 4 (the last is absent), row 1 twice; row 3 is removed by the same transaction before it writes.
    let txn = Txn::new().mutation(Mutation::Delete(key(3))).rule(
        (0..5).chain([1]).map(key).collect::<Vec<_>>(),
        move |_, out: &mut Vec<Mutation>| {
            out.push(put(key(0), 10));
            out.push(put(key(0), 20));
            out.push(Mutation::Delete(key(1)));
            out.push(put(key(1), 11));
            out.push(Mutation::DeleteRange { from: key(2), to: key(3), limit: 10 });
            out.push(put(key(2), 12));
            out.push(put(key(3), 13));
            out.push(put(key(4), 14));
            Ok::<(), ()>(())
        },
    );
    state.commit(txn).await.expect("commit");
    for (n, expected) in [20, 11, 12, 13, 14].into_iter().enumerate() {
        let row = state.get(key(n as u64)).await.expect("read").expect("a row");
        assert_eq!(number(&row.value), expected, "row {n}");
    }
    assert_eq!(state.range(Range::prefix(&Key::new(Kind::kv(0x7f, 1), 1, 0))).await.expect("read").rows.len(), 5);
}
