//! The keeper: one task that follows the clock, says that this server is there, looks for what other servers changed,
//! and sweeps.
//!
//! One statement per tick asks for the due times of all queues that somebody waits for, one for the heads of all
//! streams that somebody watches; nobody waiting, nothing is asked. This server's own commits wake their waiters
//! themselves.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use squall_store::engine::OUTCOME_KEPT;
use squall_store::{Part, Queue};

use crate::conn::{ANSWER, Conn, Trouble, answered};
use crate::schema::{CLOCK, LEASE, beat};
use crate::shared::Shared;

/// Time between two looks at what other servers did.
const TICK: Duration = Duration::from_millis(500);
/// The same where time is given from outside: due times follow a clock that a test moves by hand.
const TICK_GIVEN: Duration = Duration::from_millis(50);
/// Time between two signs of life.
const BEAT: Duration = Duration::from_secs(4);
/// Time between two sweeps.
const SWEEP: Duration = Duration::from_secs(10);
/// Rows that one statement of a sweep removes.
const SLICE: i64 = 1_000;

const DUE: &str = "select q, (select due from due where queue = q order by due, id limit 1)
  from unnest($1::int8[]) q";
const HEADS: &str = "select h.stream, h.part, h.seq from unnest($1::int8[], $2::int4[]) u(stream, part)
  join heads h on h.stream = u.stream and h.part = u.part";
const SWEEP_KV: &str = "delete from kv where k in (select k from kv where exp <= $1 limit $2 for update skip locked)";
const SWEEP_IX: &str = "delete from ix where k in (select k from ix where exp <= $1 limit $2 for update skip locked)";
const SWEEP_DONE: &str = "delete from done where id in (select id from done where at < $1 limit $2)";
const TRIMMED: &str = "select stream, part, low from heads where swept < low limit 32";
const SWEEP_CHANGES: &str = "delete from changes where stream = $1 and part = $2 and seq in (
  select seq from changes where stream = $1 and part = $2 and seq <= $3 order by seq limit $4)";
const SWEPT: &str = "update heads set swept = greatest(swept, $3) where stream = $1 and part = $2";

/// What callers of this server wait for: how many for each.
#[derive(Default)]
pub(crate) struct Waits {
    queues: Mutex<HashMap<Queue, usize>>,
    parts: Mutex<HashMap<Part, usize>>,
}

/// Somebody waits, as long as this lives.
pub(crate) struct Wait {
    waits: Arc<Waits>,
    what: What,
}

enum What {
    Queue(Queue),
    Part(Part),
}

impl Waits {
    pub fn queue(self: &Arc<Waits>, queue: Queue) -> Wait {
        *self.queues.lock().entry(queue).or_default() += 1;
        Wait { waits: Arc::clone(self), what: What::Queue(queue) }
    }

    pub fn part(self: &Arc<Waits>, part: Part) -> Wait {
        *self.parts.lock().entry(part).or_default() += 1;
        Wait { waits: Arc::clone(self), what: What::Part(part) }
    }
}

fn leave<K: std::hash::Hash + Eq>(map: &Mutex<HashMap<K, usize>>, name: &K) {
    let mut map = map.lock();
    if let Some(count) = map.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            map.remove(name);
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        match &self.what {
            What::Queue(queue) => leave(&self.waits.queues, queue),
            What::Part(part) => leave(&self.waits.parts, part),
        }
    }
}

/// Works until the engine is dropped.
pub(crate) async fn run(shared: Weak<Shared>, waits: Weak<Waits>) {
    let mut conn = None;
    let mut heads = HashMap::new();
    let (mut beaten, mut swept) = (Instant::now(), Instant::now());
    loop {
        let Some(shared) = shared.upgrade() else { return };
        let tick = if shared.time.is_given() { TICK_GIVEN } else { TICK };
        let is_asked = tokio::time::timeout(tick, shared.sweep.notified()).await.is_ok();
        let (beats, sweeps) = (beaten.elapsed() >= BEAT, is_asked || swept.elapsed() >= SWEEP);
        let Some(waits) = waits.upgrade() else { return };
        let done = turn(&shared, &waits, &mut conn, &mut heads, beats, sweeps).await;
        match done {
            Ok(()) => {
                beaten = if beats { Instant::now() } else { beaten };
                swept = if sweeps { Instant::now() } else { swept };
            }
            Err(trouble) => {
                tracing::debug!(?trouble, "the keeper's turn failed");
                conn = None;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn turn(
    shared: &Shared,
    waits: &Waits,
    slot: &mut Option<Conn>,
    heads: &mut HashMap<Part, i64>,
    beats: bool,
    sweeps: bool,
) -> Result<(), Trouble> {
    if slot.as_ref().is_none_or(Conn::is_closed) {
        let limit = Duration::from_secs(3).min(ANSWER);
        *slot = Some(shared.link.connect_soon(limit).await.map_err(Trouble::Lost)?);
        // Whatever happened meanwhile is looked for by those who wait.
        let (queues, parts): (Vec<_>, Vec<_>) =
            (waits.queues.lock().keys().copied().collect(), waits.parts.lock().keys().copied().collect());
        shared.changed(&parts, &queues, false);
    }
    let Some(conn) = slot else { return Err(Trouble::timed_out()) };
    if beats {
        let asked = Instant::now();
        let rows = answered(conn.query(CLOCK, &[])).await?;
        if let Some(row) = rows.first() {
            let now: i64 = row.get(0);
            shared.time.sample(now, asked);
            if !answered(beat(conn, &shared.link.options.node, shared.epoch, now + LEASE)).await? {
                tracing::error!("another server has taken over the state; this one must be started anew");
            }
        }
    }
    look(shared, waits, conn, heads).await?;
    if sweeps {
        sweep(shared, conn).await?;
    }
    Ok(())
}

async fn look(shared: &Shared, waits: &Waits, conn: &Conn, heads: &mut HashMap<Part, i64>) -> Result<(), Trouble> {
    let queues: Vec<i64> = waits.queues.lock().keys().map(|queue| queue.0.cast_signed()).collect();
    if !queues.is_empty() {
        let now = shared.time.now();
        let rows = answered(conn.query(DUE, &[&queues])).await?;
        let due = rows.iter().filter(|row| row.get::<_, Option<i64>>(1).is_some_and(|due| due <= now.0));
        let due: Vec<Queue> = due.map(|row| Queue(row.get::<_, i64>(0).cast_unsigned())).collect();
        shared.queues.notify(&due);
    }
    let parts: Vec<Part> = waits.parts.lock().keys().copied().collect();
    heads.retain(|part, _| parts.contains(part));
    if !parts.is_empty() {
        let streams: Vec<i64> = parts.iter().map(|part| part.stream.cast_signed()).collect();
        let numbers: Vec<i32> = parts.iter().map(|part| part.part.into()).collect();
        let mut moved = Vec::new();
        for row in answered(conn.query(HEADS, &[&streams, &numbers])).await? {
            let part = u16::try_from(row.get::<_, i32>(1)).unwrap_or_default();
            let part = Part { stream: row.get::<_, i64>(0).cast_unsigned(), part };
            let seq: i64 = row.get(2);
            if heads.insert(part, seq) != Some(seq) {
                moved.push(part);
            }
        }
        shared.parts.notify(&moved);
    }
    Ok(())
}

/// Removes what has expired, was trimmed, or need not be remembered; the rest waits for the next sweep when it is much.
async fn sweep(shared: &Shared, conn: &Conn) -> Result<(), Trouble> {
    let now = shared.time.now().0;
    for (sql, before) in [(SWEEP_KV, now), (SWEEP_IX, now), (SWEEP_DONE, now.saturating_sub(OUTCOME_KEPT.0))] {
        for _ in 0..8 {
            if answered(conn.execute(sql, &[&before, &SLICE])).await? < SLICE.unsigned_abs() {
                break;
            }
        }
    }
    for row in answered(conn.query(TRIMMED, &[])).await? {
        let (stream, part, low): (i64, i32, i64) = (row.get(0), row.get(1), row.get(2));
        let removed = answered(conn.execute(SWEEP_CHANGES, &[&stream, &part, &low, &SLICE])).await?;
        if removed < SLICE.unsigned_abs() {
            answered(conn.execute(SWEPT, &[&stream, &part, &low])).await?;
        } else {
            shared.sweep.notify_one();
        }
    }
    Ok(())
}
