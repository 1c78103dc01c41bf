//! The files on disk: folder lock, schema, versions, and the connections to them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};
use squall_types::Millis;

/// Marks the file as Squall's state (`pragma application_id`).
const APPLICATION: i64 = 0x5351_4c53;
/// The schema that this program writes (`pragma user_version`); a newer one is refused.
pub(crate) const VERSION: i64 = 1;
/// Bits of a stamp below the epoch.
const STAMP_BITS: u32 = 36;
/// A log up to this length is written over from its beginning; a longer one is cut back. Growing a file costs the sync of a
/// batch twice the time (0.59 against 0.33 ms for 64 pages), so the length of every normal cycle is kept.
const LOG_KEPT: u64 = 256 << 20;
/// 2020-01-01, where epochs begin.
const EPOCH_BEGIN: i64 = 1_577_836_800_000;

const SCHEMA: &str = "
create table kv(k blob primary key, v blob not null, ver int not null, exp int);
create index kv_e on kv(exp) where exp is not null;
create table ix(k blob primary key, v blob not null, ver int not null, exp int) without rowid;
create index ix_e on ix(exp) where exp is not null;
create table due(id integer primary key autoincrement, queue int not null, due int not null, lease int not null,
  tries int not null, lane blob, v blob not null, armed int);
create index due_i on due(queue, due, id);
create unique index due_l on due(queue, lane) where lane is not null;
create table changes(id integer primary key, stream int not null, part int not null, seq int not null,
  at int not null, body blob not null);
create unique index ch_i on changes(stream, part, seq);
create table heads(stream int not null, part int not null, seq int not null, low int not null, swept int not null,
  primary key(stream, part)) without rowid;
create table done(id blob primary key, at int not null, ver int not null) without rowid;
create index done_a on done(at);
create table meta(k text primary key, v int not null) without rowid;
";

/// Why the state could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server has the folder.
    #[error("`{0}` is in use by another server")]
    Locked(PathBuf),
    /// Written by a newer program.
    #[error("the state in `{path}` has schema {found}, this program knows up to {VERSION}: upgrade the program")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
    },
    /// A file that is no Squall state, or a damaged one.
    #[error("`{path}` is not a readable Squall state: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A restore would overwrite a state.
    #[error("`{0}` already holds a state")]
    NotEmpty(PathBuf),
    /// The file system refused.
    #[error("{doing} `{path}`")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// SQLite refused.
    #[error("open `{path}`")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
}

impl OpenError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> OpenError {
        let path = path.to_owned();
        move |source| OpenError::Io { doing, path, source }
    }

    pub(crate) fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> OpenError {
        let path = path.to_owned();
        move |source| match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                OpenError::Damaged { path: path.clone(), why: source.to_string() }
            }
            _ => OpenError::Sqlite { path: path.clone(), source },
        }
    }
}

/// Where a folder keeps its state.
pub(crate) fn file(dir: &Path) -> PathBuf {
    dir.join("state.db")
}

/// Makes the folder and takes it for this process, until the connection is dropped.
///
/// The lock is an exclusive transaction on an empty database beside the state: SQLite's locks end with the process, and
/// work between two engines of one process too.
pub(crate) fn lock(dir: &Path) -> Result<Connection, OpenError> {
    fs::create_dir_all(dir).map_err(OpenError::io("create", dir))?;
    let path = dir.join("state.lock");
    let failed = OpenError::sqlite(&path);
    let lock = Connection::open(&path).map_err(&failed)?;
    lock.busy_timeout(Duration::ZERO).map_err(&failed)?;
    match lock.execute_batch("begin exclusive") {
        Ok(()) => Ok(lock),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
            Err(OpenError::Locked(dir.to_owned()))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Opens the file for writing; makes it if there is none.
pub(crate) fn writer(path: &Path) -> Result<Connection, OpenError> {
    let failed = OpenError::sqlite(path);
    let conn = Connection::open(path).map_err(&failed)?;
    check_version(&conn, path)?;
    let setup = || -> rusqlite::Result<()> {
        conn.busy_timeout(Duration::from_secs(5))?;
        conn.set_prepared_statement_cache_capacity(64);
        conn.execute_batch(&format!(
            "pragma journal_mode = wal; pragma synchronous = full; pragma wal_autocheckpoint = 0;
             pragma journal_size_limit = {LOG_KEPT}; pragma cache_size = -16384; pragma temp_store = memory;"
        ))?;
        if conn.query_row("pragma user_version", [], |row| row.get::<_, i64>(0))? == 0 {
            let pragmas = format!("pragma application_id = {APPLICATION}; pragma user_version = {VERSION};");
            conn.execute_batch(&format!("begin immediate; {SCHEMA} {pragmas} commit;"))?;
        }
        Ok(())
    };
    setup().map_err(&failed)?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))?;
    Ok(conn)
}

/// Refuses a file of somebody else, or of a newer program.
pub(crate) fn check_version(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    let failed = OpenError::sqlite(path);
    let number = |sql| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(&failed);
    let tables = number("select count(*) from sqlite_schema")?;
    if tables > 0 && number("pragma application_id")? != APPLICATION {
        return Err(OpenError::Damaged { path: path.to_owned(), why: "it is another program's database".into() });
    }
    match number("pragma user_version")? {
        found if found > VERSION => Err(OpenError::Newer { path: path.to_owned(), found }),
        0 if tables > 0 => Err(OpenError::Damaged { path: path.to_owned(), why: "its version is missing".into() }),
        _ => Ok(()),
    }
}

/// Opens the file for reading beside the writer.
pub(crate) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.set_prepared_statement_cache_capacity(64);
    conn.execute_batch("pragma cache_size = -8192; pragma temp_store = memory;")?;
    Ok(conn)
}

/// Begins an epoch of stamps: no stamp of an earlier run, even of one whose files were restored away, comes again.
///
/// A stamp is `epoch << 36 | counter`. An epoch is at least one above the last one, and at least the minutes since
/// 2020; a run would have to use 2^36 stamps a minute to catch up with the next.
pub(crate) fn first_stamp(conn: &Connection, now: Millis) -> rusqlite::Result<i64> {
    let last: Option<i64> = conn.query_row("select v from meta where k = 'epoch'", [], |row| row.get(0)).optional()?;
    let minutes = now.0.saturating_sub(EPOCH_BEGIN).max(0) / 60_000;
    let epoch = last.unwrap_or(0).saturating_add(1).max(minutes);
    conn.execute("insert into meta(k, v) values('epoch', ?1) on conflict(k) do update set v = ?1", params![epoch])?;
    Ok(epoch << STAMP_BITS)
}

/// Makes new names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), OpenError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(OpenError::io("sync", dir))
}

/// Puts a finished copy in its place: synced, then renamed, then its folder synced.
pub(crate) fn publish(made: &Path, dest: &Path) -> Result<(), OpenError> {
    File::open(made).and_then(|file| file.sync_all()).map_err(OpenError::io("sync", made))?;
    fs::rename(made, dest).map_err(OpenError::io("rename", made))?;
    sync_dir(dest.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// Copies a file.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), OpenError> {
    fs::copy(from, to).map(drop).map_err(OpenError::io("copy", from))
}
