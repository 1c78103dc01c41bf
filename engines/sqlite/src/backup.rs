//! Backup of a live system, and restore.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::schema::{self, OpenError};

/// Writes a compact copy of one moment to `dest`, which must not exist. `VACUUM INTO`, because the backup API begins
/// again whenever another connection writes.
pub(crate) fn backup(state: &Path, dest: &Path) -> Result<(), OpenError> {
    if dest.exists() {
        return Err(OpenError::NotEmpty(dest.to_owned()));
    }
    let made = beside(dest);
    discard(&made);
    let failed = OpenError::sqlite(state);
    let conn = Connection::open_with_flags(state, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(&failed)?;
    // The file appears under its name only when it is whole.
    let target = made.to_string_lossy().into_owned();
    conn.execute("vacuum into ?1", [target]).map_err(&failed)?;
    schema::publish(&made, dest)
}

/// Puts a backup into a folder that has no state.
///
/// # Errors
/// `Locked` if a server has the folder, `NotEmpty` if it holds a state, `Damaged` or `Newer` if the backup is unusable.
pub fn restore(backup: &Path, dir: &Path) -> Result<(), OpenError> {
    let lock = schema::lock(dir)?;
    let dest = schema::file(dir);
    if dest.exists() {
        return Err(OpenError::NotEmpty(dir.to_owned()));
    }
    check(backup)?;
    let made = beside(&dest);
    discard(&made);
    schema::copy(backup, &made)?;
    schema::publish(&made, &dest)?;
    drop(lock);
    Ok(())
}

fn check(backup: &Path) -> Result<(), OpenError> {
    let failed = OpenError::sqlite(backup);
    let conn = Connection::open_with_flags(backup, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(&failed)?;
    schema::check_version(&conn, backup)?;
    let damaged = |why: String| OpenError::Damaged { path: backup.to_owned(), why };
    let tables: i64 = conn.query_row("select count(*) from sqlite_schema", [], |row| row.get(0)).map_err(&failed)?;
    if tables == 0 {
        return Err(damaged("it is empty".into()));
    }
    match conn.query_row("pragma quick_check(1)", [], |row| row.get::<_, String>(0)).map_err(&failed)? {
        verdict if verdict == "ok" => Ok(()),
        verdict => Err(damaged(verdict)),
    }
}

fn beside(dest: &Path) -> std::path::PathBuf {
    let mut name = dest.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

/// Removes what an interrupted run left; if it cannot be removed, writing it will say so.
fn discard(path: &Path) {
    drop(fs::remove_file(path));
}
