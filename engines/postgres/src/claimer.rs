//! The claimer: one task that merges the claims that wait into one transaction of one round trip.
//!
//! Due entries are locked with `skip locked`, so that nodes never wait for each other here. Waiting itself is done by
//! the callers, who are woken when something may have become due.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use squall_store::{Bytes, ClaimSpec, Claimed, Durability, Error, Handle, Queue, Result, Row, Stamp};
use squall_types::Millis;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Row as PgRow;

use crate::conn::{Conn, Params, Step, Trouble, answered};
use crate::load;
use crate::overlay::Numbers;
use crate::shared::Shared;

/// Claims of one round.
const ROUND: usize = 512;

const BEGIN: &str = "begin";
const COMMIT: &str = "commit";
const LAZY: &str = "set local synchronous_commit = off";
const CLAIM: &str = "with p as (select id, due from due where queue = $1 and due <= $2 order by due, id limit $3
    for update skip locked)
  update due d set due = $4, lease = $5, tries = d.tries + 1, armed = null from p where d.id = p.id
  returning d.id, d.lane, d.v, d.tries, p.due";
const NEXT: &str = "select due from due where queue = $1 order by due, id limit 1";
const RELEASE: &str = "update due d
  set due = least(u.due, coalesce(d.armed, u.due)), lease = 0, tries = greatest(d.tries - 1, 0), armed = null
  from unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[]) u(id, queue, lease, due)
  where d.id = u.id and d.queue = u.queue and d.lease = u.lease";
const RELEASE_ALL: &str = "update due
  set due = least($4, coalesce(armed, $4)), lease = 0, tries = greatest(tries - 1, 0), armed = null
  where queue = $1 and due = $2 and lease = $3";
const KV_ITEMS: &str = "select k, v, ver, exp from kv where k >= $1 and k < $2 and (exp is null or exp > $3) order by k
  limit $4";
const IX_ITEMS: &str = "select k, v, ver, exp from ix where k >= $1 and k < $2 and (exp is null or exp > $3) order by k
  limit $4";

/// Work for the claimer.
pub(crate) enum Ask {
    Claim(Wanted),
    /// Leases whose claimer went away.
    Release(Vec<Claimed>),
}

/// A claim and who waits for it.
pub(crate) struct Wanted {
    pub queue: Queue,
    pub spec: ClaimSpec,
    pub reply: oneshot::Sender<Result<Lease>>,
    pub since: Instant,
}

/// Claimed entries on their way to the claimer: dropped underway, they are given back. Empty: `next` says when the
/// queue's first entry is due.
pub(crate) struct Lease {
    claimed: Vec<Claimed>,
    pub next: Option<Millis>,
    back: mpsc::UnboundedSender<Ask>,
}

impl Lease {
    /// They have arrived.
    pub fn take(mut self) -> Vec<Claimed> {
        std::mem::take(&mut self.claimed)
    }

    pub fn is_empty(&self) -> bool {
        self.claimed.is_empty()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.claimed.is_empty() {
            // Without a claimer the leases end by themselves.
            drop(self.back.send(Ask::Release(std::mem::take(&mut self.claimed))));
        }
    }
}

pub(crate) struct Claimer {
    pub shared: Arc<Shared>,
    pub asks: mpsc::UnboundedReceiver<Ask>,
    /// Weak, so that the task ends with the engine.
    pub back: mpsc::WeakUnboundedSender<Ask>,
    pub conn: Option<Conn>,
    pub number: i64,
    /// Leases that a lost connection may have taken: queue, end, stamp.
    pub unsure: Vec<(Queue, Millis, Stamp)>,
}

/// Claims of the same queue and kind, served by one statement.
struct Group {
    queue: Queue,
    /// When the leases end.
    until: Millis,
    stamp: Stamp,
    wanted: Vec<Wanted>,
}

impl Claimer {
    /// Works until the engine is dropped.
    pub async fn run(mut self) {
        let mut asks = Vec::new();
        while self.asks.recv_many(&mut asks, ROUND).await > 0 {
            let (mut wanted, mut given_back) = (Vec::new(), Vec::new());
            for ask in asks.drain(..) {
                match ask {
                    Ask::Claim(claim) if claim.reply.is_closed() => {}
                    Ask::Claim(claim) => wanted.push(claim),
                    Ask::Release(claimed) => given_back.extend(claimed),
                }
            }
            if !given_back.is_empty() {
                self.release(given_back).await;
            }
            if !wanted.is_empty() {
                self.round(wanted).await;
            }
        }
    }

    async fn connect(&mut self) -> std::result::Result<(), Trouble> {
        if self.conn.as_ref().is_none_or(Conn::is_closed) {
            let conn = self.shared.link.connect_soon(Duration::from_secs(3)).await.map_err(Trouble::Lost)?;
            // The claim's plan must stay an index walk, however many entries there are.
            answered(conn.client.batch_execute("set enable_hashjoin = off; set enable_mergejoin = off")).await?;
            let now = self.shared.time.now();
            for (queue, until, stamp) in &self.unsure {
                answered(conn.query(RELEASE_ALL, &[&queue.0.cast_signed(), &until.0, &stamp.0, &now.0])).await?;
            }
            self.unsure.clear();
            self.conn = Some(conn);
        }
        Ok(())
    }

    async fn release(&mut self, claimed: Vec<Claimed>) {
        let column = |of: fn(&Claimed) -> i64| claimed.iter().map(of).collect::<Vec<i64>>();
        let ids = column(|c| c.handle.id.cast_signed());
        let queues = column(|c| c.handle.queue.0.cast_signed());
        let (leases, dues) = (column(|c| c.handle.lease.0), column(|c| c.due.0));
        let done = match self.connect().await {
            Ok(()) => match &self.conn {
                Some(conn) => answered(conn.execute(RELEASE, &[&ids, &queues, &leases, &dues])).await,
                None => Err(Trouble::timed_out()),
            },
            Err(trouble) => Err(trouble),
        };
        if let Err(trouble) = done {
            // They come again when their lease ends.
            tracing::warn!(?trouble, entries = ids.len(), "leases were not given back");
            self.conn = None;
        }
        let names: Vec<Queue> = claimed.iter().map(|c| c.handle.queue).collect();
        self.shared.queues.notify(&names);
    }

    /// Serves claims; those that cannot be served because the database is away are answered so when their time is over.
    async fn round(&mut self, mut wanted: Vec<Wanted>) {
        let patience = self.shared.link.options.patience;
        loop {
            let groups = self.groups(wanted);
            let trouble = match self.connect().await {
                Ok(()) => match self.attempt(&groups).await {
                    Ok(rows) => {
                        self.answer(groups, rows).await;
                        return;
                    }
                    Err(trouble) => {
                        self.unsure.extend(groups.iter().map(|group| (group.queue, group.until, group.stamp)));
                        trouble
                    }
                },
                Err(trouble) => trouble,
            };
            self.conn = None;
            wanted = groups.into_iter().flat_map(|group| group.wanted).collect();
            let why = format!("{trouble:?}");
            let (over, rest): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|w| w.since.elapsed() > patience);
            over.into_iter().for_each(|w| drop(w.reply.send(Err(Error::Unavailable(why.clone())))));
            if rest.is_empty() {
                return;
            }
            wanted = rest;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn groups(&mut self, wanted: Vec<Wanted>) -> Vec<Group> {
        let mut groups: BTreeMap<(Queue, i64), Vec<Wanted>> = BTreeMap::new();
        for claim in wanted {
            groups.entry((claim.queue, claim.spec.lease.0)).or_default().push(claim);
        }
        let now = self.shared.time.now();
        let mut numbers = Numbers::new(now, self.number);
        let groups = groups.into_iter().map(|((queue, lease), wanted)| {
            let stamp = Stamp(numbers.next());
            Group { queue, until: Millis(now.0.saturating_add(lease)), stamp, wanted }
        });
        let groups = groups.collect();
        self.number = numbers.last();
        groups
    }

    async fn attempt(&self, groups: &[Group]) -> std::result::Result<Vec<Vec<PgRow>>, Trouble> {
        let Some(conn) = &self.conn else { return Err(Trouble::timed_out()) };
        let now = self.shared.time.now();
        let mut steps = vec![Step::new(BEGIN, Params::new())];
        if groups.iter().flat_map(|group| &group.wanted).all(|claim| claim.spec.sync == Durability::Lazy) {
            steps.push(Step::new(LAZY, Params::new()));
        }
        let skip = steps.len();
        for Group { queue, until, stamp, wanted } in groups {
            let count: i64 = wanted.iter().map(|claim| i64::from(claim.spec.lanes)).sum();
            let params: Params<'_> = vec![
                Box::new(queue.0.cast_signed()),
                Box::new(now.0),
                Box::new(count),
                Box::new(until.0),
                Box::new(stamp.0),
            ];
            steps.push(Step::new(CLAIM, params));
        }
        steps.push(Step::new(COMMIT, Params::new()));
        let mut answers = answered(conn.pipeline(&steps)).await?;
        answers.pop();
        answers.drain(..skip);
        Ok(answers)
    }

    /// Hands the entries out, oldest first, in the order in which they were asked for.
    async fn answer(&mut self, groups: Vec<Group>, answers: Vec<Vec<PgRow>>) {
        let Some(back) = self.back.upgrade() else { return };
        let now = self.shared.time.now();
        for (group, rows) in groups.into_iter().zip(answers) {
            let mut entries: Vec<Claimed> = rows.iter().filter_map(|row| entry(&group, row)).collect();
            entries.sort_by_key(|entry| (entry.due, entry.handle.id));
            let mut entries = entries.into_iter();
            let mut next = None;
            for claim in group.wanted {
                let claimed: Vec<Claimed> = entries.by_ref().take(claim.spec.lanes as usize).collect();
                let mut lease = Lease { claimed, next: None, back: back.clone() };
                let done = if lease.is_empty() {
                    if next.is_none() && claim.spec.wait.0 > 0 {
                        next = Some(self.next_due(group.queue).await);
                    }
                    lease.next = next.flatten();
                    Ok(())
                } else {
                    self.items(&claim.spec, &mut lease.claimed, now).await
                };
                let done = done.map(|()| lease).map_err(Trouble::unavailable);
                // Whoever is gone drops the lease, and so gives it back.
                drop(claim.reply.send(done));
            }
        }
    }

    async fn next_due(&self, queue: Queue) -> Option<Millis> {
        let rows = answered(self.conn.as_ref()?.query(NEXT, &[&queue.0.cast_signed()])).await.ok()?;
        rows.first().map(|row| Millis(row.get(0)))
    }

    async fn items(&self, spec: &ClaimSpec, claimed: &mut [Claimed], now: Millis) -> std::result::Result<(), Trouble> {
        let (Some((prefix, count)), Some(conn)) = (&spec.items, &self.conn) else { return Ok(()) };
        let sql = if prefix.is_ix() { IX_ITEMS } else { KV_ITEMS };
        for entry in claimed {
            let Some(lane) = &entry.lane else { continue };
            let from = prefix.clone().lane(lane);
            let to = match from.prefix_end() {
                std::ops::Bound::Excluded(to) => to,
                _ => continue,
            };
            let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
                [&from.as_bytes(), &to.as_bytes(), &now.0, &i64::from(*count)];
            for row in answered(conn.query(sql, &params)).await? {
                let (key, record) = load::record(&row).map_err(Trouble::from)?;
                entry.items.push(Row { key, value: record.value, ver: record.ver });
            }
        }
        Ok(())
    }
}

fn entry(group: &Group, row: &PgRow) -> Option<Claimed> {
    let id = row.try_get::<_, i64>(0).ok()?.cast_unsigned();
    Some(Claimed {
        handle: Handle { queue: group.queue, id, lease: group.stamp },
        lane: row.try_get::<_, Option<&[u8]>>(1).ok()?.map(Bytes::copy_from_slice),
        value: Bytes::copy_from_slice(row.try_get(2).ok()?),
        tries: u32::try_from(row.try_get::<_, i32>(3).ok()?).unwrap_or(u32::MAX),
        due: Millis(row.try_get(4).ok()?),
        items: Vec::new(),
    })
}
