//! Change streams in SQL: a head row per part gives dense numbers.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use squall_store::{Change, Part};
use squall_types::Millis;

/// Changes removed with the trim itself; the sweeper does the rest.
const TRIM_NOW: u32 = 500;
/// Changes and bytes of one page of a watch.
const PAGE: usize = 256;
const PAGE_BYTES: usize = 4 << 20;

pub(crate) fn emit(conn: &Connection, part: Part, at: Millis, body: &[u8]) -> rusqlite::Result<()> {
    let seq: i64 = conn
        .prepare_cached(
            "insert into heads(stream, part, seq, low, swept) values(?1, ?2, 1, 0, 0)
             on conflict do update set seq = seq + 1 returning seq",
        )?
        .query_row(params![part.stream as i64, part.part], |row| row.get(0))?;
    conn.prepare_cached("insert into changes(stream, part, seq, at, body) values(?1, ?2, ?3, ?4, ?5)")?
        .execute(params![part.stream as i64, part.part, seq, at.0, body])?;
    Ok(())
}

/// Moves the part's low mark; removes a first slice of what lies below.
pub(crate) fn trim(conn: &Connection, part: Part, upto: u64) -> rusqlite::Result<()> {
    let upto = i64::try_from(upto).unwrap_or(i64::MAX);
    conn.prepare_cached("update heads set low = max(low, min(?3, seq)) where stream = ?1 and part = ?2")?
        .execute(params![part.stream as i64, part.part, upto])?;
    sweep_part(conn, part.stream as i64, part.part, TRIM_NOW).map(drop)
}

/// Removes a slice of trimmed changes. `true`: there may be more.
pub(crate) fn sweep(conn: &Connection, limit: u32) -> rusqlite::Result<bool> {
    let part = conn
        .prepare_cached("select stream, part from heads where swept < low limit 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match part {
        Some((stream, part)) => sweep_part(conn, stream, part, limit).map(|_| true),
        None => Ok(false),
    }
}

fn sweep_part(conn: &Connection, stream: i64, part: u16, limit: u32) -> rusqlite::Result<usize> {
    let removed = conn
        .prepare_cached(
            "delete from changes where id in (select c.id from changes c, heads h
             where h.stream = ?1 and h.part = ?2 and c.stream = ?1 and c.part = ?2 and c.seq <= h.low
             order by c.seq limit ?3)",
        )?
        .execute(params![stream, part, limit])?;
    if removed < limit as usize {
        conn.prepare_cached("update heads set swept = low where stream = ?1 and part = ?2 and swept < low")?
            .execute(params![stream, part])?;
    }
    Ok(removed)
}

/// A part's last number and its low mark.
pub(crate) fn head(conn: &Connection, part: Part) -> rusqlite::Result<(u64, u64)> {
    let head = conn
        .prepare_cached("select seq, low from heads where stream = ?1 and part = ?2")?
        .query_row(params![part.stream as i64, part.part], |row| {
            Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64))
        })
        .optional()?;
    Ok(head.unwrap_or((0, 0)))
}

/// A page of changes behind `after`; `None` if some of them are trimmed. Call it inside a snapshot.
pub(crate) fn changes_after(conn: &Connection, part: Part, after: u64) -> rusqlite::Result<Option<Vec<Change>>> {
    let (seq, low) = head(conn, part)?;
    if after < low {
        return Ok(None);
    }
    let mut page = Vec::new();
    if after >= seq {
        return Ok(Some(page));
    }
    let mut select = conn.prepare_cached(
        "select seq, at, body from changes where stream = ?1 and part = ?2 and seq > ?3 order by seq",
    )?;
    let mut rows = select.query(params![part.stream as i64, part.part, after as i64])?;
    let mut bytes = 0;
    while page.len() < PAGE && bytes < PAGE_BYTES {
        let Some(row) = rows.next()? else { break };
        let body = Bytes::copy_from_slice(row.get_ref(2)?.as_blob()?);
        bytes += body.len();
        page.push(Change { seq: row.get::<_, i64>(0)? as u64, at: Millis(row.get(1)?), body });
    }
    Ok(Some(page))
}
