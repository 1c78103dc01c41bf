//! State engines side by side: PostgreSQL by pgbench, by its engine and through the server, with SQLite beside it.
//!
//! A private PostgreSQL that syncs, on the same disk as everything else. pgbench reads and writes single rows of 1 KiB as fast
//! as the database answers them one by one; the engine merges callers. Engines are measured in this process on a runtime of
//! their own with as many threads as cores, the server as a process of its own as in the other parts.

use crate::ddb;
use crate::floor::Interpreters;
use crate::functions::Cloud;
use crate::report::Report;
use crate::server::{Binary, Server};
use crate::stats::percentile;
use anyhow::{Context as _, Result, ensure};
use squall_engine_postgres::{Options, Postgres};
use squall_engine_sqlite::Sqlite;
use squall_store::{ClaimSpec, Key, Kind, Mutations, Queue, Settle, State, StateExt, Txn, envelope};
use squall_testkit::{Postgres as Database, PostgresOptions, postgres_bin};
use squall_types::{Millis, SystemClock};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const ROWS: u64 = 100_000;
const ROW: Kind = Kind::kv(0x7f, 1);
const VALUE_BYTES: usize = 1024;
const CALLERS: [usize; 3] = [1, 16, 64];
/// Messages that wait when claims are measured, and the bytes of each.
const MESSAGES: u64 = 150_000;
const MESSAGE_BYTES: usize = 200;
const SETUP: &str = "create table if not exists bench_kv(k bytea primary key, v bytea not null, ver bigint not null)
    with (fillfactor = 85);
  truncate bench_kv;
  insert into bench_kv select int8send(n), repeat('x', 1024)::bytea, n from generate_series(1, 100000) n;
  vacuum analyze bench_kv;";
const UPSERT: &str = "\\set n random(1, 100000)
insert into bench_kv(k, v, ver) values (int8send(:n), repeat('x', 1024)::bytea, 7) \
on conflict (k) do update set v = excluded.v, ver = bench_kv.ver + 1;
";
const SELECT: &str = "\\set n random(1, 100000)
select k, v, ver from bench_kv where k = int8send(:n);
";

/// Measures all of it once.
///
/// # Errors
/// PostgreSQL is not installed, or something failed.
pub async fn measure(report: &mut Report, binary: &Binary, host: &Interpreters, length: Duration) -> Result<()> {
    ensure!(postgres_bin().is_some(), "part `state` needs PostgreSQL 15 or newer: apt-get install postgresql");
    let database = Database::start_with(PostgresOptions { is_durable: true, ..PostgresOptions::default() });
    report.note(pg(&database, "postgres", &["--version"])?.trim().to_owned());
    pgbench(report, &database, length)?;
    let url = database.url("engine");
    engines(report, url, length)?;
    for (name, state) in [("sqlite", "sqlite".to_owned()), ("postgres", database.url("server"))] {
        let cloud = Server::start(binary, tempfile::tempdir().context("make a data directory")?, &state)?;
        ddb::measure(report, &cloud, &format!("state.server.{name}"), length).await?;
        let functions = Cloud::prepare(&cloud, host, false).await?;
        for language in functions.languages() {
            functions.warm(report, language, length, &format!("state.server.{name}.lambda"), &[1]).await?;
        }
    }
    Ok(())
}

/// Runs one of the package's client programs on the database: its output.
fn pg(database: &Database, program: &str, args: &[&str]) -> Result<String> {
    let path = postgres_bin().context("find PostgreSQL")?.join(program);
    let socket = database.socket();
    let done = Command::new(&path)
        .args(args)
        .env("PGHOST", socket.parent().context("the socket's folder")?)
        .env("PGUSER", "squall")
        .env("PGDATABASE", "postgres")
        .output()
        .with_context(|| format!("run {}", path.display()))?;
    ensure!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// The database by its own tool: single-row upserts and selects, a connection for each caller.
fn pgbench(report: &mut Report, database: &Database, length: Duration) -> Result<()> {
    let folder = tempfile::tempdir().context("make a folder")?;
    let script = |name: &str, text: &str| -> Result<String> {
        let path = folder.path().join(name);
        std::fs::write(&path, text).context("write a script")?;
        path.to_str().map(str::to_owned).context("a path in UTF-8")
    };
    for statement in SETUP.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        pg(database, "psql", &["-qc", statement])?;
    }
    let secs = length.as_secs_f64().ceil().max(1.0).to_string();
    for (name, text) in [("upsert", UPSERT), ("select", SELECT)] {
        let file = script(name, text)?;
        for callers in CALLERS {
            let (clients, threads) = (callers.to_string(), callers.min(2).to_string());
            let args = ["-n", "-M", "prepared", "-c", &clients, "-j", &threads, "-T", &secs, "-f", &file];
            let out = pg(database, "pgbench", &args)?;
            report.add(&format!("state.pgbench.{name}.c{callers}.per_s"), tps(&out).context("pgbench's answer")?);
        }
    }
    Ok(())
}

/// The rate in pgbench's output.
fn tps(text: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split(' ').next()?.parse().ok()
}

/// Both engines in this process, on threads of their own.
fn engines(report: &mut Report, url: String, length: Duration) -> Result<()> {
    let work = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async move {
            let mut report = Report::default();
            let folder = tempfile::tempdir().context("make a folder")?;
            let sqlite = Sqlite::open(folder.path(), Arc::new(SystemClock)).context("open SQLite")?;
            engine(&mut report, "sqlite", Arc::new(sqlite), length).await?;
            let postgres = Postgres::open(Options::parse(&url)?).await?;
            engine(&mut report, "postgres", Arc::new(postgres.clone()), length).await?;
            postgres.close().await;
            anyhow::Ok(report)
        })
    });
    let done = work.join().map_err(|_| anyhow::anyhow!("an engine's load panicked"))??;
    report.append(done);
    Ok(())
}

fn key(n: u64) -> Key {
    Key::new(ROW, 1, 0).u64(scatter(n) % ROWS)
}

fn scatter(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

async fn engine(report: &mut Report, name: &str, state: Arc<dyn State>, length: Duration) -> Result<()> {
    let value = envelope::seal(&[7; VALUE_BYTES]);
    for first in (0..ROWS).step_by(1000) {
        let rows = (first..first + 1000).map(|n| Key::new(ROW, 1, 0).u64(n));
        let txn = rows.fold(Txn::new(), |txn, key| txn.put(key, value.clone()));
        state.commit(txn.lazy()).await?;
    }
    for callers in CALLERS {
        let (s, v) = (Arc::clone(&state), value.clone());
        let put = load(callers, length, move |n| {
            let (state, value) = (Arc::clone(&s), v.clone());
            async move {
                // A rule over the old row, as a PutItem is.
                let txn = Txn::new().rule([key(n)], move |view, out| {
                    out.put(view.key(0), value.clone());
                    Ok::<bool, ()>(view.row(0).is_some())
                });
                state.commit(txn).await.map(|_| 1)
            }
        });
        put.await?.report(report, &format!("state.{name}.put.c{callers}"));
    }
    for callers in CALLERS {
        let s = Arc::clone(&state);
        let get = load(callers, length, move |n| {
            let state = Arc::clone(&s);
            async move { state.get(key(n)).await.map(|row| u64::from(row.is_some())) }
        });
        get.await?.report(report, &format!("state.{name}.get.c{callers}"));
    }
    claims(report, name, state, length).await
}

/// Claims by tens with one settling transaction each, by 64 callers: messages that were claimed and settled.
async fn claims(report: &mut Report, name: &str, state: Arc<dyn State>, length: Duration) -> Result<()> {
    let queue = Queue(1);
    for _ in 0..MESSAGES / 500 {
        let now = state.now();
        let txn = (0..500).fold(Txn::new(), |txn, _| txn.enqueue(queue, now, vec![7; MESSAGE_BYTES]));
        state.commit(txn.lazy()).await?;
    }
    let claim = load(64, length, move |_| {
        let state = Arc::clone(&state);
        async move {
            let claimed = state.claim(queue, ClaimSpec::new(10, Millis(60_000))).await?;
            let count = claimed.len() as u64;
            if count > 0 {
                let txn = claimed.iter().fold(Txn::new(), |txn, c| txn.settle(c.handle, Settle::Ack));
                state.commit(txn).await?;
            }
            squall_store::Result::Ok(count)
        }
    });
    claim.await?.report(report, &format!("state.{name}.claim_10.c64"));
    Ok(())
}

/// What a load of an engine saw.
struct Seen {
    per_s: f64,
    p50_us: f64,
    p99_us: f64,
}

impl Seen {
    fn report(&self, report: &mut Report, name: &str) {
        report.add(&format!("{name}.p50_us"), self.p50_us);
        report.add(&format!("{name}.p99_us"), self.p99_us);
        report.add(&format!("{name}.per_s"), self.per_s);
    }
}

/// Runs `one` in as many closed loops; it says how much it did. A load that finds nothing more to do ends early.
async fn load<F>(callers: usize, length: Duration, one: impl Fn(u64) -> F + Send + Sync + 'static) -> Result<Seen>
where
    F: Future<Output = squall_store::Result<u64>> + Send + 'static,
{
    let (one, over) = (Arc::new(one), Arc::new(AtomicBool::new(false)));
    let begin = Instant::now();
    let tasks: Vec<_> = (0..callers as u64)
        .map(|task| {
            let (one, over) = (Arc::clone(&one), Arc::clone(&over));
            tokio::spawn(async move {
                let (mut done, mut times, mut n) = (0, Vec::new(), task << 32);
                while begin.elapsed() < length && !over.load(Ordering::Relaxed) {
                    let sent = Instant::now();
                    match one(n).await? {
                        0 => over.store(true, Ordering::Relaxed),
                        count => done += count,
                    }
                    times.push(u64::try_from(sent.elapsed().as_nanos()).unwrap_or(u64::MAX));
                    n += 1;
                }
                squall_store::Result::Ok((done, times))
            })
        })
        .collect();
    let (mut done, mut times) = (0, Vec::new());
    for task in tasks {
        let (some, took) = task.await.context("a caller")??;
        done += some;
        times.extend(took);
    }
    let per_s = done as f64 / begin.elapsed().as_secs_f64();
    times.sort_unstable();
    let us = |share| percentile(&times, share) as f64 / 1000.0;
    Ok(Seen { per_s, p50_us: us(0.5), p99_us: us(0.99) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_from_pgbench() {
        let text = "latency average = 0.1 ms\ntps = 6543.210987 (without initial connection time)\n";
        assert_eq!(tps(text), Some(6543.210987));
        assert_eq!(tps("tps: 4"), None);
    }
}
