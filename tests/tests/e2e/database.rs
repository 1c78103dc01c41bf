//! The whole server on PostgreSQL while the database restarts, hangs, is away or cuts connections: what was acknowledged is
//! there, warm functions go on, and the server recovers by itself.

use crate::load::{Customer, zip};
use crate::moving::has_postgres;
use serde_json::json;
use squall_testkit::{Options, Postgres, PostgresOptions, Server, until};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long the database is away. Set `SQUALL_TEST_AWAY_S=30` for the long run.
fn away() -> Duration {
    let seconds = std::env::var("SQUALL_TEST_AWAY_S").ok().and_then(|s| s.parse().ok()).unwrap_or(4);
    Duration::from_secs(seconds)
}

/// What a caller saw.
#[derive(Debug, Default)]
struct Seen {
    acknowledged: Vec<String>,
    refused: usize,
    slowest: Duration,
}

/// Calls until told to end; every answer is a success or a 5xx.
struct Caller {
    is_ending: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

impl Caller {
    fn start(mut call: impl FnMut(usize) -> (Option<u16>, String) + Send + 'static) -> Self {
        let is_ending = Arc::new(AtomicBool::new(false));
        let ending = is_ending.clone();
        let thread = thread::spawn(move || {
            let mut seen = Seen::default();
            for n in 0.. {
                let start = Instant::now();
                match call(n) {
                    (Some(200..=299), id) => seen.acknowledged.push(id),
                    (Some(500..=599), _) => seen.refused += 1,
                    (status, id) => panic!("{id}: {status:?}"),
                }
                seen.slowest = seen.slowest.max(start.elapsed());
                if ending.load(Ordering::Relaxed) {
                    break;
                }
            }
            seen
        });
        Self { is_ending, thread }
    }

    fn end(self) -> Seen {
        self.is_ending.store(true, Ordering::Relaxed);
        self.thread.join().expect("a caller's thread")
    }
}

pub fn durable() -> Postgres {
    Postgres::start_with(PostgresOptions { is_durable: true, ..PostgresOptions::default() })
}

pub fn on(database: &Postgres) -> Server {
    Server::start_with(Options { state: Some(database.url("squall")), ..Options::default() })
}

pub fn furnish(customer: &Customer) {
    customer.make_table("items");
    let role = customer.make_role("r");
    let code = zip("index.py", "def handler(e, c):\n    return e\n");
    assert_eq!(customer.make_function("warm", &role, "python3.11", &code), Some(201));
    customer.wait_active("warm");
    assert_eq!(customer.invoke("warm", "RequestResponse", &json!({})).expect("an answer").0, 200);
}

/// Runs writers and a caller of a warm function while `trouble` happens, then holds what the file's head says.
pub fn under_load(database: &mut Postgres, trouble: impl FnOnce(&mut Postgres)) {
    let server = on(database);
    let customer = Customer::of(&server);
    furnish(&customer);
    let writers: Vec<_> = (0..4)
        .map(|w| {
            let c = customer.clone();
            Caller::start(move |n| {
                let id = format!("item-{w}-{n}");
                (c.put("items", &id), id)
            })
        })
        .collect();
    let c = customer.clone();
    let warm = Caller::start(move |n| {
        let answer = c.invoke("warm", "RequestResponse", &json!({ "n": n })).expect("an answer");
        // Nothing but success will do, whatever the database does.
        assert_eq!(answer, (200, format!(r#"{{"n": {n}}}"#)));
        (Some(answer.0), n.to_string())
    });
    thread::sleep(Duration::from_millis(500));
    trouble(database);
    until("writes go on by themselves", || (customer.put("items", "afterwards") == Some(200)).then_some(()));
    thread::sleep(Duration::from_millis(500));
    let warm = warm.end();
    println!("warm invokes: {}, slowest {:?}", warm.acknowledged.len(), warm.slowest);
    assert!(warm.slowest < Duration::from_secs(3), "a warm invoke waited {:?}", warm.slowest);
    for writer in writers {
        let seen = writer.end();
        println!(
            "writes: {} acknowledged, {} refused, slowest {:?}",
            seen.acknowledged.len(),
            seen.refused,
            seen.slowest
        );
        assert!(seen.acknowledged.len() > 5, "work was done");
        let lost: Vec<_> = seen.acknowledged.iter().filter(|id| !customer.has("items", id)).collect();
        assert!(lost.is_empty(), "{} acknowledged, lost: {lost:?}", seen.acknowledged.len());
    }
    assert_eq!(server.health()["status"], "ok");
}

#[test]
fn the_database_restarts_under_load() {
    if !has_postgres() {
        return;
    }
    under_load(&mut durable(), |database| {
        for signal in ["INT", "QUIT", "KILL"] {
            database.stop(signal);
            database.launch();
            thread::sleep(Duration::from_millis(500));
        }
    });
}

#[test]
fn the_database_is_away_for_a_while() {
    if !has_postgres() {
        return;
    }
    under_load(&mut durable(), |database| {
        database.stop("INT");
        thread::sleep(away());
        database.launch();
    });
}

#[test]
fn the_database_hangs_for_a_while() {
    if !has_postgres() {
        return;
    }
    under_load(&mut durable(), |database| {
        database.pause();
        thread::sleep(away());
        database.resume();
    });
}

#[test]
fn the_database_cuts_connections() {
    if !has_postgres() {
        return;
    }
    under_load(&mut durable(), |database| {
        for _ in 0..20 {
            database.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'squall'");
            thread::sleep(Duration::from_millis(100));
        }
    });
}

#[test]
fn a_server_killed_again_and_again_loses_nothing_on_postgres() {
    if !has_postgres() {
        return;
    }
    let database = durable();
    let mut server = on(&database);
    furnish(&Customer::of(&server));
    let (mut acknowledged, mut events) = (Vec::new(), Vec::new());
    for round in 0..5 {
        let customer = Customer::of(&server);
        let writers: Vec<_> = (0..3)
            .map(|w| {
                let c = customer.clone();
                crate::load::Writer::start(0, move |n| {
                    let id = format!("item-{round}-{w}-{n}");
                    Some((c.put("items", &id)?, id))
                })
            })
            .collect();
        let c = customer.clone();
        let event = crate::load::Writer::start(0, move |n| {
            thread::sleep(Duration::from_millis(30));
            Some((c.invoke("warm", "Event", &json!({ "n": n }))?.0, format!("{round}-{n}")))
        });
        thread::sleep(Duration::from_millis(250 + 90 * round));
        server.kill9();
        acknowledged.extend(writers.into_iter().flat_map(crate::load::Writer::end));
        events.extend(event.end());
        server.restart();
    }
    println!("acknowledged: {} items, {} events", acknowledged.len(), events.len());
    assert!(acknowledged.len() > 50 && events.len() > 5, "the load reached the server");
    let customer = Customer::of(&server);
    let lost: Vec<_> = acknowledged.iter().filter(|id| !customer.has("items", id)).collect();
    assert!(lost.is_empty(), "{} acknowledged, lost: {lost:?}", acknowledged.len());
    assert_eq!(customer.invoke("warm", "RequestResponse", &json!({ "x": 1 })).expect("an answer").0, 200);
    until("events that were accepted have run", || {
        (database.sql("select count(*) from squall.due where queue = 512") == "0").then_some(())
    });
}

#[test]
fn databases_that_cannot_be_used_are_refused_with_what_to_do() {
    if !has_postgres() {
        return;
    }
    let database =
        Postgres::start_with(PostgresOptions { password: Some("right".into()), ..PostgresOptions::default() });
    let url = database.url("squall");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
    let (no_tls, only_tls) = (fake(no_tls), fake(only_tls));
    for (state, parts) in [
        (url.replace("password=right", "password=wrong"), &["refused the login", "password", "--state"][..]),
        (url.replace("&password=right", ""), &["password"]),
        (url.replace("/postgres?", "/nowhere?"), &["nowhere", "does not exist", "--state"]),
        (url.replace("user=squall", "user=nobody"), &["refused the login", "nobody"]),
        (format!("postgres://u:p4ss@{free}/d"), &["cannot reach PostgreSQL", "Is it running"]),
        ("postgres:///d?host=/nonexistent&user=u".into(), &["cannot reach PostgreSQL", "/nonexistent"]),
        (format!("postgres://u:p4ss@{no_tls}/d?sslmode=require"), &["TLS"]),
        (format!("postgres://u:p4ss@{only_tls}/d"), &["no encryption", "pg_hba.conf"]),
        ("postgres://u:p4ss@h/d?sslmode=maybe".into(), &["sslmode=maybe", "verify-full"]),
        ("postgres://u:p4ss@h/d?sslmode=require&sslrootcert=/nonexistent/ca.pem".into(), &["/nonexistent/ca.pem"]),
        ("postgres://u:p4ss@h/d?schema=No".into(), &["schema=No"]),
    ] {
        let refused = Server::refused(&Options { state: Some(state.clone()), ..Options::default() });
        println!("{state}\n  {refused}");
        assert!(parts.iter().all(|part| refused.contains(part)), "{state}: expected {parts:?} in {refused}");
        assert!(!refused.contains("p4ss") && !refused.contains("panicked"), "{refused}");
    }
}

/// A database that answers the first message of each connection so, and closes.
fn fake(answer: fn(&mut std::net::TcpStream)) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            if stream.read(&mut [0; 1024]).is_ok() {
                answer(&mut stream);
            }
        }
    });
    address
}

/// PostgreSQL without TLS answers a wish for it with one letter.
fn no_tls(stream: &mut std::net::TcpStream) {
    let _ = stream.write_all(b"N");
}

/// PostgreSQL whose pg_hba.conf has only `hostssl` lines says this to a connection without TLS.
fn only_tls(stream: &mut std::net::TcpStream) {
    let text = "SFATAL\0VFATAL\0C28000\0Mno pg_hba.conf entry for host \"127.0.0.1\", user \"u\", database \"d\", no \
                encryption\0\0";
    let mut message = vec![b'E'];
    message.extend((text.len() as u32 + 4).to_be_bytes());
    message.extend(text.as_bytes());
    let _ = stream.write_all(&message);
}

#[test]
fn a_schema_of_another_time_and_a_second_server_are_refused() {
    if !has_postgres() {
        return;
    }
    let database = Postgres::start();
    let options = Options { state: Some(database.url("squall")), ..Options::default() };
    let mut server = Server::start_with(options.clone());
    let customer = Customer::of(&server);
    customer.make_table("items");
    // Another data directory: another server.
    let refused = Server::refused(&options);
    assert!(refused.contains("in use by another server") && refused.contains("?schema=NAME"), "{refused}");
    assert_eq!(customer.put("items", "a"), Some(200), "the first one goes on");
    // A schema of its own is a cloud of its own.
    let other = Server::start_with(Options { state: Some(database.url("two")), ..Options::default() });
    assert_ne!(other.credentials().secret_access_key, server.credentials().secret_access_key);
    drop(other);
    assert_eq!(server.stop(), Some(0));
    let own = Options { data: Some(server.data()), ..options };
    // The folder's packages and logs are not those of an empty state.
    let refused = Server::refused(&Options { state: Some(database.url("three")), ..own.clone() });
    assert!(refused.contains("another cloud") && refused.contains("--data"), "{refused}");
    let version = database.sql("select v from squall.meta where k = 'schema'");
    database.sql("update squall.meta set v = 99 where k = 'schema'");
    let refused = Server::refused(&own);
    assert!(refused.contains("schema 99") && refused.contains("upgrade the program"), "{refused}");
    database.sql(&format!("update squall.meta set v = {version} where k = 'schema'"));
    server.restart();
    assert!(Customer::of(&server).has("items", "a"));
}
