//! The tables, their versions, and which server uses them.
//!
//! Migrations only add, each in a transaction of its own under a lock on the version's row, so that a server of the
//! version before goes on meanwhile. A newer schema is refused. A server registers in `nodes`; the row's `epoch` makes
//! its numbers unique and fences off a former process of the same name, and every batch locks the row and writes its
//! own number there, which tells afterwards whether it was committed.

use std::time::Instant;

use tokio_postgres::error::SqlState;

use crate::clock::Time;
use crate::conn::{Conn, Link, describe};
use crate::options::OpenError;

/// A server that has not been heard of for so long is gone, in milliseconds.
pub(crate) const LEASE: i64 = 15_000;
/// Bits of a number below the epoch.
const NUMBER_BITS: u32 = 36;
/// 2020-01-01 in minutes, where epochs begin.
const EPOCH_BEGIN: i64 = 26_297_280;
const TRIES: usize = 10;

/// Steps from one version to the next; never changed once released.
const MIGRATIONS: &[&str] = &[
    // 1
    "create table kv(k bytea primary key, v bytea not null, ver bigint not null, exp bigint) with (fillfactor = 85);
     create index kv_e on kv(exp) where exp is not null;
     create table ix(k bytea primary key, v bytea not null, ver bigint not null, exp bigint);
     create index ix_e on ix(exp) where exp is not null;
     create table due(id bigint primary key, queue bigint not null, due bigint not null, lease bigint not null,
       tries integer not null, armed bigint, lane bytea, v bytea not null);
     create index due_i on due(queue, due, id);
     create unique index due_l on due(queue, lane) where lane is not null;
     create table heads(stream bigint not null, part integer not null, seq bigint not null, low bigint not null,
       swept bigint not null, primary key (stream, part)) with (fillfactor = 50);
     create table changes(stream bigint not null, part integer not null, seq bigint not null, at bigint not null,
       body bytea not null, primary key (stream, part, seq));
     create table done(id bytea primary key, at bigint not null, ver bigint not null);
     create index done_a on done(at);
     create table nodes(node text primary key, epoch bigint not null, batch bigint not null, until bigint not null)
       with (fillfactor = 50);
     insert into meta(k, v) values('epoch', 0);",
    // 2: queues and streams live on few pages that change all the time.
    "create index heads_s on heads(stream, part) where swept < low;
     alter table due set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
     alter table changes set (autovacuum_vacuum_scale_factor = 0.05);",
];

/// The schema that this program writes.
pub(crate) const VERSION: i64 = MIGRATIONS.len() as i64;

/// The database's clock, in milliseconds.
pub(crate) const CLOCK: &str = "select floor(extract(epoch from clock_timestamp()) * 1000)::int8";

type Failed = tokio_postgres::Error;

/// What a server owns after it registered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registered {
    pub epoch: i64,
    /// The first number that it may give out.
    pub first: i64,
}

/// Brings the schema to this program's version.
pub(crate) async fn migrate(link: &Link, conn: &Conn, upto: i64) -> Result<(), OpenError> {
    let shown = || link.options.shown.clone();
    let failed = |error: Failed| OpenError::Database { shown: shown(), why: describe(&error) };
    let found: String = conn
        .query("show server_version_num", &[])
        .await
        .map_err(failed)?
        .first()
        .map_or_else(String::new, |r| r.get(0));
    if found.parse::<i64>().is_ok_and(|number| number < 150_000) {
        return Err(OpenError::Old { shown: shown(), found: found.chars().take(2).collect() });
    }
    for attempt in 1.. {
        match prepare(link, conn).await {
            Ok(()) => break,
            // Another server makes the same tables at this very moment.
            Err(error) if attempt < TRIES && is_race(&error) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    loop {
        match step(conn, upto).await.map_err(failed)? {
            Some(found) if found > VERSION => {
                return Err(OpenError::Newer { shown: shown(), found, known: VERSION });
            }
            Some(_) => return Ok(()),
            None => {}
        }
    }
}

fn is_race(error: &Failed) -> bool {
    [SqlState::UNIQUE_VIOLATION, SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_SCHEMA, SqlState::DUPLICATE_OBJECT]
        .iter()
        .any(|code| error.code() == Some(code))
}

async fn prepare(link: &Link, conn: &Conn) -> Result<(), Failed> {
    // Asks first: a user who may not create schemas may still use one that is there.
    let schema = &link.options.schema;
    let there = conn.query("select 1 from information_schema.schemata where schema_name = $1", &[schema]).await?;
    if there.is_empty() {
        conn.client.batch_execute(&format!("create schema if not exists \"{schema}\"")).await?;
    }
    conn.client
        .batch_execute(
            "create table if not exists meta(k text primary key, v bigint not null);
             insert into meta(k, v) values('schema', 0) on conflict do nothing",
        )
        .await
}

/// One step; `Some` with the version when nothing is left to do.
async fn step(conn: &Conn, upto: i64) -> Result<Option<i64>, Failed> {
    // A step may rewrite a table, which takes as long as it takes; it does not wait long for a lock.
    conn.client.batch_execute("begin; set local statement_timeout = 0").await?;
    let row = conn.client.query_one("select v from meta where k = 'schema' for update", &[]).await?;
    let found: i64 = row.get(0);
    let next = usize::try_from(found).ok().filter(|_| found < upto).and_then(|index| MIGRATIONS.get(index));
    match next {
        Some(sql) => {
            conn.client.batch_execute(sql).await?;
            conn.client.execute("update meta set v = v + 1 where k = 'schema'", &[]).await?;
            conn.client.batch_execute("commit").await?;
            tracing::info!(version = found + 1, "the state's schema was upgraded");
            Ok(None)
        }
        None => {
            conn.client.batch_execute("commit").await?;
            Ok(Some(found))
        }
    }
}

/// Registers this server as the one that uses the state.
pub(crate) async fn register(link: &Link, conn: &Conn, time: &Time) -> Result<Registered, OpenError> {
    let failed = |error: Failed| OpenError::Database { shown: link.options.shown.clone(), why: describe(&error) };
    let node = &link.options.node;
    conn.client.batch_execute("begin").await.map_err(failed)?;
    // This lock makes servers that start together wait for each other.
    let epoch = "update meta set v = greatest(v + 1, $1) where k = 'epoch' returning v";
    let asked = Instant::now();
    let now: i64 = conn.query(CLOCK, &[]).await.map_err(failed)?.first().map_or(0, |row| row.get(0));
    time.sample(now, asked);
    let minutes = (now / 60_000 - EPOCH_BEGIN).max(1);
    let epoch: i64 = conn.query(epoch, &[&minutes]).await.map_err(failed)?.first().map_or(0, |row| row.get(0));
    if link.options.is_sole {
        let others = "select node, until - $2 from nodes where node <> $1 and until > $2 limit 1";
        let others = conn.query(others, &[node, &now]).await.map_err(failed)?;
        if let Some(other) = others.first() {
            let (other, left): (String, i64) = (other.get(0), other.get(1));
            return Err(OpenError::InUse { shown: link.options.shown.clone(), node: other, seconds: left / 1_000 + 1 });
        }
        // Waits for what a server that lost its claim is just committing; it finds no row of its own afterwards.
        conn.execute("delete from nodes where node <> $1", &[node]).await.map_err(failed)?;
    }
    let mine = "insert into nodes(node, epoch, batch, until) values($1, $2, 0, $3)
      on conflict (node) do update set epoch = excluded.epoch, batch = 0, until = excluded.until";
    conn.execute(mine, &[node, &epoch, &(now + LEASE)]).await.map_err(failed)?;
    conn.client.batch_execute("commit").await.map_err(failed)?;
    Ok(Registered { epoch, first: epoch << NUMBER_BITS })
}

/// Says that this server is still there; `until` 0 says that it is gone.
pub(crate) async fn beat(conn: &Conn, node: &str, epoch: i64, until: i64) -> Result<bool, Failed> {
    let sql = "update nodes set until = $3 where node = $1 and epoch = $2";
    Ok(conn.execute(sql, &[&node, &epoch, &until]).await? == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    async fn connected(url: &str) -> (Link, Conn) {
        let link = Link::new(Options::parse(url).expect("a URL")).expect("a link");
        let conn = link.connect().await.expect("a connection");
        (link, conn)
    }

    async fn version(conn: &Conn) -> i64 {
        conn.query("select v from meta where k = 'schema'", &[]).await.expect("a version")[0].get(0)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_step_is_made_beside_a_server_of_the_version_before() {
        let url = tokio::task::block_in_place(squall_testkit::postgres_schema);
        let (link, conn) = connected(&url).await;
        migrate(&link, &conn, 1).await.expect("the first version");
        let (_, older) = connected(&url).await;
        let is_ending = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&is_ending);
        let server = tokio::spawn(async move {
            let mut written = 0_i64;
            while !ending.load(Ordering::Relaxed) || written < 10 {
                written += 1;
                let key = written.to_be_bytes().to_vec();
                let put = "insert into kv(k, v, ver) values($1, $1, $2)";
                older.execute(put, &[&key, &written]).await.expect("a row");
                let emit = "insert into heads(stream, part, seq, low, swept) values(1, 0, 1, 0, 0)
                  on conflict (stream, part) do update set seq = heads.seq + 1";
                older.execute(emit, &[]).await.expect("a number");
            }
            written
        });
        for upto in 2..=VERSION {
            tokio::time::sleep(Duration::from_millis(50)).await;
            migrate(&link, &conn, upto).await.expect("a step");
            assert_eq!(version(&conn).await, upto);
        }
        is_ending.store(true, Ordering::Relaxed);
        let written = server.await.expect("the older server goes on");
        let rows = conn.query("select (select count(*) from kv), (select seq from heads)", &[]).await.expect("rows");
        assert_eq!((rows[0].get::<_, i64>(0), rows[0].get::<_, i64>(1)), (written, written));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn servers_that_start_together_make_the_schema_once() {
        let url = tokio::task::block_in_place(squall_testkit::postgres_schema);
        let tasks: Vec<_> = (0..6)
            .map(|_| {
                let url = url.clone();
                tokio::spawn(async move {
                    let (link, conn) = connected(&url).await;
                    migrate(&link, &conn, VERSION).await.expect("migrated");
                    version(&conn).await
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.expect("a server"), VERSION);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_newer_schema_is_refused_and_left_alone() {
        let url = tokio::task::block_in_place(squall_testkit::postgres_schema);
        let (link, conn) = connected(&url).await;
        migrate(&link, &conn, VERSION).await.expect("migrated");
        conn.query("update meta set v = v + 7 where k = 'schema'", &[]).await.expect("a later version");
        let refused = migrate(&link, &conn, VERSION).await.expect_err("refused");
        assert!(matches!(refused, OpenError::Newer { found, known, .. } if found == VERSION + 7 && known == VERSION));
        assert!(refused.to_string().contains("upgrade the program"), "{refused}");
        assert_eq!(version(&conn).await, VERSION + 7);
    }
}
