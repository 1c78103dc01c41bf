//! Queues in SQL: entries, lanes and leases. A free entry has lease 0.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};
use squall_store::engine::is_live;
use squall_store::{ClaimSpec, Claimed, Error, Handle, Key, Queue, Row, Settle, Stamp};
use squall_types::Millis;

use crate::apply::{Outcome, Touched};

/// What an entry that a handle names is, as far as settling needs it.
pub(crate) struct Held {
    lane: Option<Vec<u8>>,
    armed: Option<i64>,
}

/// The entry that a handle names, if the handle is still good.
pub(crate) fn held(conn: &Connection, handle: &Handle) -> rusqlite::Result<Option<Held>> {
    conn.prepare_cached("select lane, armed from due where id = ?1 and queue = ?2 and lease = ?3")?
        .query_row(params![handle.id as i64, handle.queue.0 as i64, handle.lease.0], |row| {
            Ok(Held { lane: row.get(0)?, armed: row.get(1)? })
        })
        .optional()
}

pub(crate) fn enqueue(
    conn: &Connection,
    queue: Queue,
    lane: Option<&[u8]>,
    due: Millis,
    value: &[u8],
) -> rusqlite::Result<u64> {
    if let Some(lane) = lane {
        conn.prepare_cached("delete from due where queue = ?1 and lane = ?2")?
            .execute(params![queue.0 as i64, lane])?;
    }
    conn.prepare_cached("insert into due(queue, due, lease, tries, lane, v) values(?1, ?2, 0, 0, ?3, ?4)")?
        .insert(params![queue.0 as i64, due.0, lane, value])
        .map(|id| id as u64)
}

pub(crate) fn arm(conn: &Connection, queue: Queue, lane: &[u8], due: Millis) -> rusqlite::Result<()> {
    // An expired lease counts as held too: its holder may still settle, and must not take the call away.
    conn.prepare_cached(
        "insert into due(queue, due, lease, tries, lane, v) values(?1, ?2, 0, 0, ?3, x'')
         on conflict(queue, lane) where lane is not null do update set
           due = case lease when 0 then min(due, excluded.due) else due end,
           armed = case lease when 0 then null else min(coalesce(armed, excluded.due), excluded.due) end",
    )?
    .execute(params![queue.0 as i64, due.0, lane])?;
    Ok(())
}

pub(crate) fn settle(conn: &Connection, handle: &Handle, to: Settle, touched: &mut Touched) -> Outcome<()> {
    let Held { lane, armed } = held(conn, handle)?.ok_or(Error::Stale)?;
    let id = handle.id as i64;
    let earliest = |due: Millis| armed.map_or(due.0, |armed| armed.min(due.0));
    let free = "update due set due = ?2, lease = 0, armed = null where id = ?1";
    match (to, armed) {
        (Settle::Ack, None) => {
            conn.prepare_cached("delete from due where id = ?1")?.execute(params![id])?;
            return Ok(());
        }
        (Settle::Ack, Some(armed)) => {
            conn.prepare_cached("update due set due = ?2, lease = 0, tries = 0, armed = null where id = ?1")?
                .execute(params![id, armed])?;
        }
        (Settle::Again { due, value: None }, _) => {
            conn.prepare_cached(free)?.execute(params![id, earliest(due)])?;
        }
        (Settle::Again { due, value: Some(value) }, _) => {
            conn.prepare_cached("update due set due = ?2, lease = 0, armed = null, v = ?3 where id = ?1")?
                .execute(params![id, earliest(due), &value[..]])?;
        }
        (Settle::Extend { due }, _) => {
            conn.prepare_cached("update due set due = ?2 where id = ?1")?.execute(params![id, due.0])?;
        }
        (Settle::Move { queue, due }, _) => {
            let value: Vec<u8> = conn
                .prepare_cached("delete from due where id = ?1 returning v")?
                .query_row(params![id], |row| row.get(0))?;
            enqueue(conn, queue, lane.as_deref(), Millis(earliest(due)), &value)?;
            touched.queue(queue);
            return Ok(());
        }
    }
    touched.queue(handle.queue);
    Ok(())
}

/// Gives leases back whose claimer went away, as if they had never been taken.
pub(crate) fn release(conn: &Connection, claimed: &[Claimed], touched: &mut Touched) -> rusqlite::Result<()> {
    for Claimed { handle, due, .. } in claimed {
        conn.prepare_cached(
            "update due set due = min(?4, coalesce(armed, ?4)), lease = 0, tries = max(tries - 1, 0), armed = null
             where id = ?1 and queue = ?2 and lease = ?3",
        )?
        .execute(params![handle.id as i64, handle.queue.0 as i64, handle.lease.0, due.0])?;
        touched.queue(handle.queue);
    }
    Ok(())
}

pub(crate) fn drop(conn: &Connection, queue: Queue, upto: u64, limit: u32) -> rusqlite::Result<u64> {
    let upto = i64::try_from(upto).unwrap_or(i64::MAX);
    conn.prepare_cached(
        "delete from due where id in (select id from due where queue = ?1 and id <= ?2 order by due, id limit ?3)",
    )?
    .execute(params![queue.0 as i64, upto, limit])
    .map(|removed| removed as u64)
}

pub(crate) fn next_due(conn: &Connection, queue: Queue) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("select due from due where queue = ?1 order by due, id limit 1")?
        .query_row(params![queue.0 as i64], |row| row.get(0))
        .optional()
}

/// Ready, leased and delayed entries.
pub(crate) fn depth(conn: &Connection, queue: Queue, now: Millis) -> rusqlite::Result<(u64, u64, u64)> {
    let sql = "select count(*) filter (where due <= ?2), count(*) filter (where due > ?2 and lease <> 0),
      count(*) filter (where due > ?2 and lease = 0) from due where queue = ?1";
    conn.prepare_cached(sql)?.query_row(params![queue.0 as i64, now.0], |row| {
        let count = |index| row.get::<_, i64>(index).map(|n| n as u64);
        Ok((count(0)?, count(1)?, count(2)?))
    })
}

/// Leases due entries; nothing is written when there are none.
pub(crate) fn claim(
    conn: &Connection,
    queue: Queue,
    spec: &ClaimSpec,
    lease: Stamp,
    now: Millis,
) -> rusqlite::Result<Vec<Claimed>> {
    let mut claimed = Vec::new();
    let mut select = conn.prepare_cached(
        "select id, lane, due, tries, v from due where queue = ?1 and due <= ?2 order by due, id limit ?3",
    )?;
    let mut rows = select.query(params![queue.0 as i64, now.0, spec.lanes])?;
    while let Some(row) = rows.next()? {
        claimed.push(Claimed {
            handle: Handle { queue, id: row.get::<_, i64>(0)? as u64, lease },
            lane: row.get_ref(1)?.as_blob_or_null()?.map(Bytes::copy_from_slice),
            value: Bytes::copy_from_slice(row.get_ref(4)?.as_blob()?),
            tries: row.get::<_, u32>(3)?.saturating_add(1),
            due: Millis(row.get(2)?),
            items: Vec::new(),
        });
    }
    let until = now.0.saturating_add(spec.lease.0);
    for entry in &mut claimed {
        // The claimer sees all that the lane was armed for.
        conn.prepare_cached("update due set due = ?2, lease = ?3, tries = ?4, armed = null where id = ?1")?
            .execute(params![entry.handle.id as i64, until, lease.0, entry.tries])?;
        if let (Some((prefix, count)), Some(lane)) = (&spec.items, &entry.lane) {
            entry.items = items(conn, &prefix.clone().lane(lane), *count, now)?;
        }
    }
    Ok(claimed)
}

fn items(conn: &Connection, prefix: &Key, count: u32, now: Millis) -> rusqlite::Result<Vec<Row>> {
    let sql = if prefix.is_ix() {
        "select k, v, ver, exp from ix where k >= ?1 order by k"
    } else {
        "select k, v, ver, exp from kv where k >= ?1 order by k"
    };
    let mut select = conn.prepare_cached(sql)?;
    let mut rows = select.query(params![prefix.as_bytes()])?;
    let mut items = Vec::new();
    while items.len() < count as usize {
        let Some(row) = rows.next()? else { break };
        let key = row.get_ref(0)?.as_blob()?;
        if !key.starts_with(prefix.as_bytes()) {
            break;
        }
        if is_live(row.get::<_, Option<i64>>(3)?.map(Millis), now) {
            let key = Key::from_bytes(key.to_vec());
            let value = Bytes::copy_from_slice(row.get_ref(1)?.as_blob()?);
            items.push(Row { key, value, ver: Stamp(row.get(2)?) });
        }
    }
    Ok(items)
}
