//! Both stores pass the shared suite; files survive what a crash leaves.

use squall_engine_files::{FileObjects, MemoryObjects};
use squall_store::Bytes;
use squall_store::objects::{ObjectError, Objects};
use squall_store::suite::objects as suite;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const CHILD: &str = "SQUALL_FILES_TEST_DIR";

#[tokio::test]
async fn files_pass_the_suite() {
    let dir = tempfile::tempdir().unwrap();
    suite::run(&FileObjects::open(dir.path()).unwrap()).await;
    let left: Vec<_> = fs::read_dir(dir.path().join(".tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn memory_passes_the_suite() {
    suite::run(&MemoryObjects::default()).await;
}

#[tokio::test]
async fn leftovers_of_a_crash_are_removed_and_never_listed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join(".tmp")).unwrap();
    fs::write(dir.path().join(".tmp/7"), b"half a body").unwrap();
    let objects = FileObjects::open(dir.path()).unwrap();
    objects.put("a", Bytes::from_static(b"whole")).await.unwrap();
    assert_eq!(objects.list("").await.unwrap(), ["a"]);
    assert_eq!(fs::read_dir(dir.path().join(".tmp")).unwrap().count(), 0);
}

/// The body of a version: its length and bytes tell which one it is.
fn body(n: u64) -> Bytes {
    vec![n as u8; 1_000 + (n as usize % 97) * 4_001].into()
}

async fn write_for_ever(dir: &Path) {
    let objects = FileObjects::open(dir).unwrap();
    for n in 0u64.. {
        objects.put(&format!("d{}/object", n % 3), body(n)).await.unwrap();
        println!("put {n}");
    }
}

#[test]
fn acknowledged_objects_survive_kills_whole() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if let Some(dir) = std::env::var_os(CHILD) {
        runtime.block_on(write_for_ever(Path::new(&dir)));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "acknowledged_objects_survive_kills_whole", "--nocapture", "--test-threads=1"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let puts = lines.filter_map(|line| line.strip_prefix("put ")?.parse::<u64>().ok());
        let last = puts.take(20 + round * 31).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let objects = FileObjects::open(dir.path()).unwrap();
        runtime.block_on(async {
            for slot in 0..3 {
                let found = objects.get(&format!("d{slot}/object")).await.unwrap().unwrap();
                // The acknowledged version or a later one, and no mixture.
                let newest = last - (last + 3 - slot) % 3;
                let whole = (newest..newest + 20_000).step_by(3).any(|n| found == body(n));
                assert!(whole, "round {round}, slot {slot}: {} bytes are no version from {newest} on", found.len());
            }
        });
    }
}

#[tokio::test]
async fn a_full_or_forbidden_folder_is_an_error_that_names_the_object() {
    let dir = tempfile::tempdir().unwrap();
    let objects = FileObjects::open(dir.path()).unwrap();
    objects.put("a", Bytes::from_static(b"file")).await.unwrap();
    // A name below a file cannot be.
    let error = objects.put("a/b", Bytes::new()).await.unwrap_err();
    assert!(matches!(&error, ObjectError::Io { name, .. } if name == "a/b"), "{error}");
    assert_eq!(objects.get("a/b").await.unwrap(), None);
    assert_eq!(objects.get("a").await.unwrap().as_deref(), Some(&b"file"[..]));
    assert_eq!(fs::read_dir(dir.path().join(".tmp")).unwrap().count(), 0);
}
