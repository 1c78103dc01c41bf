//! The embedded engine on a disk that is full or damaged: honest answers, nothing acknowledged lost, nothing wrong served.

use crate::load::Customer;
use serde_json::json;
use squall_testkit::{Options, Server, until};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A small disk, gone with its value.
pub struct Disk(TempDir);

impl Disk {
    pub fn of(mebibytes: u32) -> Self {
        let disk = Disk(tempfile::Builder::new().prefix("squall-disk-").tempdir().expect("a folder"));
        disk.mount(&format!("size={mebibytes}m"));
        disk
    }

    fn mount(&self, options: &str) {
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(self.0.path()).status();
        assert!(done.is_ok_and(|status| status.success()), "mount a small disk (tests need root)");
    }

    pub fn grow(&self, mebibytes: u32) {
        self.mount(&format!("remount,size={mebibytes}m"));
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn on(data: &Path) -> Options {
    Options { data: Some(data.to_owned()), state: Some("sqlite".into()), ..Options::default() }
}

/// Puts an item of that size: the status.
fn put(customer: &Customer, id: &str, bytes: usize) -> u16 {
    let item = json!({ "id": { "S": id }, "body": { "S": id.chars().cycle().take(bytes).collect::<String>() } });
    let input = json!({ "TableName": "items", "Item": item });
    customer.json("DynamoDB_20120810.PutItem", &input).expect("an answer").0
}

/// Whether the item is there as it was put; `None` where the answer is a 5xx.
fn get(customer: &Customer, id: &str, bytes: usize) -> Option<bool> {
    let input = json!({ "TableName": "items", "Key": { "id": { "S": id } }, "ConsistentRead": true });
    let (status, answer) = customer.json("DynamoDB_20120810.GetItem", &input).expect("an answer");
    assert!(status == 200 || status >= 500, "{status} {answer}");
    (status == 200)
        .then(|| answer["Item"]["body"]["S"].as_str() == Some(&id.chars().cycle().take(bytes).collect::<String>()))
}

#[test]
fn a_full_disk_refuses_writes_loses_nothing_and_is_survived() {
    const BYTES: usize = 60_000;
    let disk = Disk::of(32);
    let mut server = Server::start_with(on(&disk.data()));
    let customer = Customer::of(&server);
    customer.make_table("items");
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for n in 0..2_000 {
        let id = format!("item-{n}-");
        match put(&customer, &id, BYTES) {
            200 => acknowledged.push(id),
            status => {
                assert!((500..=599).contains(&status), "an honest answer: {status}");
                refused += 1;
            }
        }
        if refused == 20 {
            break;
        }
    }
    println!("{} acknowledged before and while the disk was full", acknowledged.len());
    assert!(refused == 20 && acknowledged.len() > 50, "{refused} refused, {} acknowledged", acknowledged.len());
    assert!(acknowledged.iter().all(|id| get(&customer, id, BYTES) == Some(true)), "reads go on");
    // A crash while it is full.
    server.kill9();
    disk.grow(96);
    server.restart();
    let customer = Customer::of(&server);
    assert!(acknowledged.iter().all(|id| get(&customer, id, BYTES) == Some(true)), "nothing acknowledged is lost");
    assert_eq!(put(&customer, "after", BYTES), 200);
}

#[test]
fn writes_go_on_by_themselves_when_there_is_space_again() {
    const BYTES: usize = 60_000;
    let disk = Disk::of(32);
    let server = Server::start_with(on(&disk.data()));
    let customer = Customer::of(&server);
    customer.make_table("items");
    let mut n = 0;
    while put(&customer, &format!("item-{n}-"), BYTES) == 200 {
        n += 1;
        assert!(n < 2_000, "the disk does not fill");
    }
    disk.grow(96);
    until("writes go on", || (put(&customer, "after", BYTES) == 200).then_some(()));
    assert!((0..n).all(|n| get(&customer, &format!("item-{n}-"), BYTES) == Some(true)), "nothing acknowledged is lost");
}

#[test]
fn a_disk_without_space_at_the_start_is_named() {
    let disk = Disk::of(2);
    let filler = disk.0.path().join("filler");
    // Until nothing fits any more.
    let _ = fs::write(&filler, vec![0; 2 << 20]);
    let refused = Server::refused(&on(&disk.data()));
    println!("{refused}");
    assert!(refused.to_lowercase().contains("no space left") || refused.contains("full"), "{refused}");
    assert!(refused.contains(&disk.0.path().display().to_string()), "{refused}");
    fs::remove_file(filler).expect("make space");
    disk.grow(64);
    let server = Server::start_with(on(&disk.data()));
    assert_eq!(server.health()["status"], "ok", "half a start did no damage");
}

#[test]
fn damaged_pages_are_never_served() {
    const BYTES: usize = 900;
    let mut server = Server::start_with(Options { state: Some("sqlite".into()), ..Options::default() });
    let customer = Customer::of(&server);
    customer.make_table("items");
    for n in 0..600 {
        assert_eq!(put(&customer, &format!("item-{n}-"), BYTES), 200);
    }
    assert_eq!(server.stop(), Some(0));
    let state = server.data().join("state.db");
    // What lies in the log comes into the file.
    crate::backup::sqlite(&state, "pragma wal_checkpoint(truncate)");
    let whole = fs::read(&state).expect("the state");
    let mut bad = whole.clone();
    // Pages in the middle, which hold items.
    let middle = whole.len() / 2 / 4096 * 4096;
    bad[middle..middle + 8 * 4096].fill(0x5a);
    fs::write(&state, &bad).expect("damage it");
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| server.restart())) {
        Ok(()) => {
            let customer = Customer::of(&server);
            let (mut right, mut refused) = (0, 0);
            for n in 0..600 {
                match get(&customer, &format!("item-{n}-"), BYTES) {
                    Some(true) => right += 1,
                    Some(false) => panic!("item {n} is not served, and no error says why"),
                    None => refused += 1,
                }
            }
            println!("{right} items served, {refused} refused");
            assert!(refused > 0, "the damage was met");
            assert!(server.log().contains("malformed"), "the server's log names the cause: {}", server.log());
            assert_eq!(server.stop(), Some(0));
        }
        Err(_) => assert!(server.log().contains("state.db"), "a refusal names the file: {}", server.log()),
    }
    for name in ["state.db-wal", "state.db-shm"] {
        let _ = fs::remove_file(server.data().join(name));
    }
    fs::write(&state, &whole).expect("mend it");
    server.restart();
    let customer = Customer::of(&server);
    assert!((0..600).all(|n| get(&customer, &format!("item-{n}-"), BYTES) == Some(true)), "a whole file serves again");
}

#[test]
fn a_damaged_log_ends_where_the_damage_begins() {
    const BYTES: usize = 900;
    let mut server = Server::start_with(Options { state: Some("sqlite".into()), ..Options::default() });
    let customer = Customer::of(&server);
    customer.make_table("items");
    for n in 0..300 {
        assert_eq!(put(&customer, &format!("item-{n}-"), BYTES), 200);
    }
    server.kill9();
    let log = server.data().join("state.db-wal");
    let mut bytes = fs::read(&log).expect("the log");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&log, bytes).expect("damage it");
    server.restart();
    let customer = Customer::of(&server);
    let kept: Vec<bool> = (0..300).map(|n| get(&customer, &format!("item-{n}-"), BYTES) == Some(true)).collect();
    let first_missing = kept.iter().position(|k| !k).unwrap_or(kept.len());
    assert!(kept[first_missing..].iter().all(|k| !k), "what is there is one moment of the past");
    assert_eq!(put(&customer, "after", BYTES), 200);
}
