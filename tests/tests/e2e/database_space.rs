//! The whole server on a PostgreSQL that is slow, or whose disk is full.

use crate::database::{durable, furnish, on, under_load};
use crate::disk::Disk;
use crate::load::Customer;
use crate::moving::has_postgres;
use serde_json::json;
use squall_testkit::{Postgres, PostgresOptions, until};
use std::os::unix::fs::chown;
use std::thread;
use std::time::Duration;

const BYTES: usize = 40_000;

/// Text that no database makes shorter, the same for the same id.
fn body(id: &str) -> String {
    let mut seed = id.bytes().fold(0x9e37_79b9_7f4a_7c15_u64, |seed, byte| (seed ^ u64::from(byte)).wrapping_mul(31));
    let mut text = String::with_capacity(BYTES + 16);
    while text.len() < BYTES {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        text.push_str(&format!("{seed:016x}"));
    }
    text
}

/// Puts an item: the status.
fn put(customer: &Customer, id: &str) -> u16 {
    let input = json!({ "TableName": "items", "Item": { "id": { "S": id }, "body": { "S": body(id) } } });
    customer.json("DynamoDB_20120810.PutItem", &input).expect("an answer").0
}

fn has(customer: &Customer, id: &str) -> bool {
    let input = json!({ "TableName": "items", "Key": { "id": { "S": id } }, "ConsistentRead": true });
    let (status, answer) = customer.json("DynamoDB_20120810.GetItem", &input).expect("an answer");
    assert_eq!(status, 200, "reads go on: {answer}");
    answer["Item"]["body"]["S"] == body(id)
}

fn invoke(customer: &Customer) -> Option<(u16, String)> {
    customer.invoke("warm", "RequestResponse", &json!({ "x": 1 }))
}

#[test]
fn the_database_is_slow() {
    if !has_postgres() {
        return;
    }
    // Every commit takes a tenth of a second.
    let settings = ["commit_delay=100000", "commit_siblings=0"].map(str::to_owned).to_vec();
    let mut slow = Postgres::start_with(PostgresOptions { is_durable: true, settings, ..PostgresOptions::default() });
    under_load(&mut slow, |_| thread::sleep(Duration::from_secs(6)));
}

#[test]
fn the_tables_have_no_space_for_a_while() {
    if !has_postgres() {
        return;
    }
    let disk = Disk::of(24);
    let folder = disk.path().join("tables");
    std::fs::create_dir(&folder).expect("a folder");
    // The test's server runs as `nobody` where the test runs as root, and mounting needs root.
    chown(&folder, Some(65_534), Some(65_534)).expect("give the folder away");
    let database = durable();
    database.sql(&format!("create tablespace small location '{}'", folder.display()));
    database.sql("alter role squall set default_tablespace = small");
    let server = on(&database);
    let customer = Customer::of(&server);
    furnish(&customer);
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for n in 0..3_000 {
        let id = format!("item-{n}");
        match put(&customer, &id) {
            200 => acknowledged.push(id),
            status => {
                assert!((500..=599).contains(&status), "an honest answer: {status}");
                refused += 1;
            }
        }
        if refused == 10 {
            break;
        }
    }
    println!("{} acknowledged before and while the disk was full", acknowledged.len());
    assert!(refused == 10 && acknowledged.len() > 20, "{refused} refused, {} acknowledged", acknowledged.len());
    assert!(acknowledged.iter().all(|id| has(&customer, id)), "nothing acknowledged is lost");
    assert_eq!(invoke(&customer), Some((200, r#"{"x": 1}"#.into())), "warm functions go on");
    disk.grow(128);
    until("writes go on by themselves", || (put(&customer, "after") == 200).then_some(()));
    assert!(acknowledged.iter().all(|id| has(&customer, id)), "nothing acknowledged is lost");
    assert_eq!(server.health()["status"], "ok");
    // The tables must not outlive their disk.
    drop((server, database));
}

#[test]
fn the_whole_database_has_no_space_for_a_while() {
    if !has_postgres() {
        return;
    }
    let disk = Disk::of(130);
    let settings = ["max_wal_size=48MB", "min_wal_size=32MB"].map(str::to_owned).to_vec();
    let data = Some(disk.path().join("data"));
    let options = PostgresOptions { is_durable: true, data, settings, ..PostgresOptions::default() };
    let mut database = Postgres::start_with(options);
    let server = on(&database);
    let customer = Customer::of(&server);
    furnish(&customer);
    let filler = disk.path().join("filler");
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for n in 0..3_000 {
        let id = format!("item-{n}");
        if n == 100 {
            // Somebody else's files take what is left: neither tables nor the log can grow.
            drop(std::fs::write(&filler, vec![7; 130 << 20]));
        }
        match put(&customer, &id) {
            200 => acknowledged.push(id),
            status => {
                assert!((500..=599).contains(&status), "an honest answer: {status}");
                refused += 1;
            }
        }
        if refused == 3 {
            break;
        }
    }
    println!("{} acknowledged before and while the disk was full", acknowledged.len());
    assert!(refused == 3 && acknowledged.len() > 50, "{refused} refused, {} acknowledged", acknowledged.len());
    assert_eq!(invoke(&customer), Some((200, r#"{"x": 1}"#.into())), "warm functions go on");
    std::fs::remove_file(&filler).expect("make space");
    until("writes go on", || {
        // What an operator does where the database ended itself.
        database.revive();
        (put(&customer, "after") == 200).then_some(())
    });
    assert!(acknowledged.iter().all(|id| has(&customer, id)), "nothing acknowledged is lost");
    drop((server, database));
}
