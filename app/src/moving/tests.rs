use super::file::{self, Head};
use super::held::HeldObjects;
use super::source::{self, Source};
use super::target;
use bytes::Bytes;
use squall_engine_files::{FileObjects, MemoryObjects};
use squall_engine_memory::Memory;
use squall_engine_sqlite::Sqlite;
use squall_store::objects::Objects;
use squall_store::{Key, Kind, Mutation, Part, Queue, State, StateExt as _, Txn};
use squall_types::{Millis, SystemClock};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

const KV: Kind = Kind::kv(0x7f, 1);
const IX: Kind = Kind::ix(0x7f, 2);

fn key(kind: Kind, n: u64) -> Key {
    Key::new(kind, 1, 0).u64(n)
}

fn side(state: Arc<dyn State>, objects: Arc<dyn Objects>, folder: &TempDir) -> Source {
    let head = Head { account: "000000000000".into(), regions: vec!["us-east-1".into()], ..Head::default() };
    Source { state, objects: HeldObjects::new(objects), logs: folder.path().join("logs"), head }
}

fn in_memory(folder: &TempDir) -> Source {
    side(Arc::new(Memory::new(Arc::new(SystemClock))), Arc::new(MemoryObjects::default()), folder)
}

fn on_disk(folder: &TempDir) -> Source {
    let state = Sqlite::open(folder.path(), Arc::new(SystemClock)).expect("an empty folder");
    let objects = FileObjects::open(&folder.path().join("objects")).expect("an empty folder");
    side(Arc::new(state), Arc::new(objects), folder)
}

/// Something of every kind.
async fn furnish(side: &Source) {
    let now = side.state.now();
    for n in 0..2_000 {
        let value = Bytes::from(vec![b'v'; 1 + (n as usize * 37) % 900]);
        let mut txn = Txn::new().put(key(KV, n), value.clone()).put(key(IX, n), "short");
        if n % 10 == 0 {
            let expires = Some(Millis(now.0 + if n % 20 == 0 { 50 } else { 3_600_000 }));
            txn = txn.mutation(Mutation::Put { key: key(KV, 10_000 + n), value, expires });
            txn = txn.enqueue(Queue(7), Millis(now.0 + 60_000), "later");
            txn = txn.mutation(Mutation::Emit { part: Part { stream: 3, part: 1 }, body: "change".into() });
        }
        side.state.commit(txn).await.expect("written");
    }
    side.objects.put("lambda/a.zip", vec![1; 700_000].into()).await.expect("written");
    side.objects.put("lambda/empty", Bytes::new()).await.expect("written");
    fs::create_dir_all(side.logs.join("4")).expect("a folder");
    fs::write(side.logs.join("4/17"), "line\n".repeat(100_000)).expect("a log file");
}

async fn export(from: &Source, to: &Path) {
    let (mut chunks, mut all) = (source::stream(from.clone()), Vec::new());
    while let Some(chunk) = chunks.recv().await {
        all.extend_from_slice(&chunk.expect("a chunk"));
    }
    fs::write(to, all).expect("the file");
}

fn folders() -> (TempDir, TempDir, PathBuf) {
    let (a, b) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let file = a.path().join("x.export");
    (a, b, file)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_moves_there_and_back() {
    let (a, b, file) = folders();
    let (first, second) = (in_memory(&a), on_disk(&b));
    furnish(&first).await;
    export(&first, &file).await;
    let filled = target::fill(&second, &file, &mut |_| ()).await.expect("taken in");
    assert_eq!(filled.file, filled.target);
    assert_eq!(filled.target.0["objects"].count, 2);
    assert_eq!(filled.target.0["log files"].bytes, 500_000);
    let row = second.state.get(key(KV, 7)).await.expect("read").expect("there");
    assert_eq!(row.value.len(), 1 + 7 * 37);
    let again = target::fill(&second, &file, &mut |_| ()).await.expect_err("not empty");
    assert!(format!("{again:#}").contains("is not empty"), "{again:#}");
    let back = b.path().join("back.export");
    export(&second, &back).await;
    let third = tempfile::tempdir().expect("a folder");
    let third_side = in_memory(&third);
    let filled = target::fill(&third_side, &back, &mut |_| ()).await.expect("taken in");
    assert_eq!(filled.file, filled.target);
    second.state.commit(Txn::new().put(key(KV, 0), "changed")).await.expect("written");
    let compared = target::compare(&second, &back).await.expect("compared");
    assert_eq!(compared.file.differences(&compared.target), ["0x7f/1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_files_are_refused_and_change_nothing() {
    let (a, b, file) = folders();
    let (first, second) = (in_memory(&a), on_disk(&b));
    furnish(&first).await;
    export(&first, &file).await;
    let whole = fs::read(&file).expect("the file");
    let bad = a.path().join("bad");
    let mut cases: Vec<(String, Vec<u8>)> =
        [0, 1, 15, 16, 40, 1_000, 300_000, whole.len() / 2, whole.len() - 20, whole.len() - 1]
            .into_iter()
            .map(|cut| (format!("cut at {cut}"), whole[..cut].to_vec()))
            .collect();
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        cases.push((format!("a bit at {at}"), bytes));
    }
    let mut longer = whole.clone();
    longer.push(0);
    cases.push(("a byte more".into(), longer));
    cases.push(("another file".into(), b"PK\x03\x04 this is something else altogether".to_vec()));
    for (what, bytes) in cases {
        fs::write(&bad, bytes).expect("the file");
        let refused = target::fill(&second, &bad, &mut |_| ()).await.expect_err(&what);
        let text = format!("{refused:#}");
        assert!(["damaged", "not an export", "upgrade"].iter().any(|part| text.contains(part)), "{what}: {text}");
    }
    assert_eq!(second.objects.list("").await.expect("a list"), Vec::<String>::new());
    target::fill(&second, &file, &mut |_| ()).await.expect("the whole file is still taken in");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_accounts_and_other_bytes_are_refused() {
    let (a, b, file) = folders();
    let first = in_memory(&a);
    furnish(&first).await;
    export(&first, &file).await;
    let mut second = on_disk(&b);
    second.head.account = "123456789012".into();
    let refused = target::fill(&second, &file, &mut |_| ()).await.expect_err("another account");
    assert!(format!("{refused:#}").contains("--account 000000000000"), "{refused:#}");
    second.head.account = "000000000000".into();
    second.objects.put("lambda/a.zip", "other".into()).await.expect("written");
    let refused = target::fill(&second, &file, &mut |_| ()).await.expect_err("another object");
    assert!(format!("{refused:#}").contains("lambda/a.zip"), "{refused:#}");
    second.objects.delete("lambda/a.zip").await.expect("deleted");
    target::fill(&second, &file, &mut |_| ()).await.expect("taken in");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_during_an_export_is_in_it() {
    let (a, _b, file) = folders();
    let first = in_memory(&a);
    furnish(&first).await;
    let mut chunks = source::stream(first.clone());
    let mut all = chunks.recv().await.expect("a chunk").expect("a chunk").to_vec();
    first.objects.delete("lambda/a.zip").await.expect("deleted");
    assert!(first.objects.get("lambda/a.zip").await.expect("read").is_none(), "gone for everybody else");
    while let Some(chunk) = chunks.recv().await {
        all.extend_from_slice(&chunk.expect("a chunk"));
    }
    fs::write(&file, all).expect("the file");
    let (_, held, _) = file::check_file(&file, None).expect("whole");
    assert_eq!(held.0["objects"].count, 2);
    let hold = first.objects.hold();
    assert_eq!(hold.all().list("").await.expect("a list"), ["lambda/empty"], "removed at its end");
}
