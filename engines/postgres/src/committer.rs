//! The committer: one task that merges what waits into a transaction of two round trips.
//!
//! First trip: begin, lock this server's own row, read (beside other servers: lock) what the batch declares. Then the transactions are
//! decided in memory, in arrival order. Second trip: all writes, this batch's number in the own row, commit. There is no
//! artificial delay: a batch is what arrived during the one before.
//!
//! When the connection ends before the commit was sent, nothing happened, and the batch is decided anew. When it ends
//! while the commit is under way, the number in the own row says what became of it: reading that row under a lock waits
//! for a transaction that is still going on. So callers hear of an unknown outcome only if the database stays away.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use squall_store::{Committed, Durability, Error, Record, Result, Txn, limits};
use squall_types::Millis;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Row;

use crate::conn::{Conn, Params, Step, Trouble, answered};
use crate::load::Load;
use crate::needs::Needs;
use crate::overlay::{Numbers, Overlay, Stop};
use crate::shared::Shared;
use crate::{dump, write};

/// Bytes that a batch may bring, transactions of it, and rows that it may declare.
const BATCH_BYTES: usize = 8 << 20;
const BATCH_JOBS: usize = 2_048;
const BATCH_NEEDS: usize = 8_192;
/// Rounds of loading before a batch is given up: each brings what the round before found missing.
const ROUNDS: usize = 64;
/// How often a batch that lost against another node is tried again.
const TRIES: u32 = 12;
/// Longest pause between two attempts to reach the database.
const PAUSE: Duration = Duration::from_millis(500);

const BEGIN: &str = "begin";
const COMMIT: &str = "commit";
const OWN: &str = "select epoch, batch from nodes where node = $1 for update";
const MARK: &str = "update nodes set batch = $2 where node = $1";
const LAZY: &str = "set local synchronous_commit = off";

/// Work for the committer.
pub(crate) enum Job {
    Commit(Waiting),
    Import(mpsc::Receiver<Result<Record>>, oneshot::Sender<Result<()>>),
}

/// A transaction and who waits for it.
pub(crate) struct Waiting {
    pub txn: Txn,
    pub reply: oneshot::Sender<Result<Committed>>,
    pub since: Instant,
}

pub(crate) struct Committer {
    pub shared: Arc<Shared>,
    pub jobs: mpsc::UnboundedReceiver<Job>,
    pub conn: Option<Conn>,
    /// The last number given out, and the last batch's.
    pub number: i64,
    pub batch: i64,
}

/// What became of an attempt.
enum Failed {
    Before(Trouble),
    /// While the commit was under way: the answers count if it turns out that it was done.
    During(Vec<Result<Committed>>, Trouble),
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Failed {
        Failed::Before(trouble)
    }
}

impl Committer {
    /// Works until the engine is dropped.
    pub async fn run(mut self) {
        let mut queue = VecDeque::new();
        loop {
            if queue.is_empty() {
                match self.jobs.recv().await {
                    Some(job) => queue.push_back(job),
                    None => return,
                }
            }
            while let Ok(job) = self.jobs.try_recv() {
                queue.push_back(job);
            }
            match queue.front() {
                Some(Job::Commit(_)) => {
                    let batch = take(&mut queue);
                    self.shared.took(batch.len());
                    self.batch(batch).await;
                }
                Some(Job::Import(..)) => {
                    if let Some(Job::Import(mut records, reply)) = queue.pop_front() {
                        self.shared.took(1);
                        drop(reply.send(self.import(&mut records).await));
                    }
                }
                None => {}
            }
        }
    }

    /// Decides and commits a batch, however often that takes, and answers everybody.
    async fn batch(&mut self, batch: Vec<Waiting>) {
        let patience = self.shared.link.options.patience;
        let begin = batch.iter().map(|waiting| waiting.since).min().unwrap_or_else(Instant::now);
        let (mut lost, mut tries) = (0, 0);
        let mut unknown = None;
        let mut last = String::from("the database is away");
        let outcome = loop {
            if tries > 0 && begin.elapsed() > patience {
                break Err(if unknown.is_some() { Error::Unknown } else { Error::Unavailable(last) });
            }
            tries += 1;
            let left = patience.saturating_sub(begin.elapsed());
            if let Err(trouble) = self.reach(left).await {
                break Err(if unknown.is_some() { Error::Unknown } else { trouble.unavailable() });
            }
            let Some(conn) = self.conn.take() else { continue };
            if let Some(answers) = unknown.take() {
                match self.was_committed(&conn).await {
                    Ok(true) => {
                        self.conn = Some(conn);
                        break Ok(answers);
                    }
                    Ok(false) => {}
                    Err(_) => {
                        unknown = Some(answers);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    }
                }
            }
            match self.attempt(&conn, &batch).await {
                Ok(answers) => {
                    self.conn = Some(conn);
                    break Ok(answers);
                }
                Err(Failed::During(answers, Trouble::Lost(why))) => {
                    tracing::warn!(why, "the connection ended within a commit; asking what became of it");
                    unknown = Some(answers);
                }
                Err(Failed::Before(Trouble::Lost(why))) => {
                    tracing::warn!(why, "the connection to the database ended; a batch is tried again");
                    last = why;
                }
                Err(Failed::Before(Trouble::Again(why)) | Failed::During(_, Trouble::Again(why))) => {
                    lost += 1;
                    tracing::debug!(why, lost, "a batch lost against another transaction");
                    if lost >= TRIES || begin.elapsed() > patience {
                        self.rolled_back(conn).await;
                        break Err(Error::Unavailable(format!("lost {lost} times against other transactions: {why}")));
                    }
                    self.rolled_back(conn).await;
                    tokio::time::sleep(Duration::from_millis(u64::from(lost * lost))).await;
                }
                Err(Failed::Before(Trouble::Refused(why)) | Failed::During(_, Trouble::Refused(why))) => {
                    tracing::error!(why, "the database refused a batch");
                    self.rolled_back(conn).await;
                    break Err(Error::Unavailable(why));
                }
            }
        };
        match outcome {
            Ok(answers) => {
                for (waiting, answer) in batch.into_iter().zip(answers) {
                    // A caller that went away loses its answer.
                    drop(waiting.reply.send(answer));
                }
            }
            Err(error) => batch.into_iter().for_each(|waiting| drop(waiting.reply.send(Err(again(&error))))),
        }
    }

    /// Makes sure that there is a connection, for as long as a caller would wait.
    async fn reach(&mut self, patience: Duration) -> std::result::Result<(), Trouble> {
        if self.conn.as_ref().is_some_and(|conn| !conn.is_closed()) {
            return Ok(());
        }
        let begin = Instant::now();
        let mut pause = Duration::from_millis(20);
        loop {
            // One attempt is made in any case, so that a database that is back is found.
            let left = patience.saturating_sub(begin.elapsed()).max(Duration::from_secs(1));
            match self.shared.link.connect_soon(left).await {
                Ok(conn) => {
                    self.conn = Some(conn);
                    return Ok(());
                }
                Err(why) if begin.elapsed() >= patience => return Err(Trouble::Lost(why)),
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(PAUSE);
        }
    }

    async fn rolled_back(&mut self, conn: Conn) {
        if answered(conn.query("rollback", &[])).await.is_ok() {
            self.conn = Some(conn);
        }
    }

    /// Whether the last batch's commit was done. Waits for a transaction that is still under way.
    async fn was_committed(&self, conn: &Conn) -> std::result::Result<bool, Trouble> {
        let rows = answered(conn.query(OWN, &[&self.shared.link.options.node])).await?;
        Ok(rows
            .first()
            .is_some_and(|row| row.get::<_, i64>(0) == self.shared.epoch && row.get::<_, i64>(1) == self.batch))
    }

    async fn attempt(&mut self, conn: &Conn, batch: &[Waiting]) -> std::result::Result<Vec<Result<Committed>>, Failed> {
        let now = self.shared.time.now();
        let mut needs = Needs::default();
        batch.iter().for_each(|waiting| needs.of(&waiting.txn));
        let mut over = Overlay::new(!self.shared.link.options.is_sole);
        self.load(conn, &mut over, needs, now, true).await?;
        let mut numbers = Numbers::new(now, self.number);
        let decided = self.decide(conn, batch, &mut over, &mut numbers).await;
        self.number = numbers.last();
        let answers = decided?;
        let writes = write::plan(&over, now);
        if writes.steps.is_empty() {
            answered(conn.query("rollback", &[])).await?;
            return Ok(answers);
        }
        let is_lazy = batch.iter().all(|waiting| waiting.txn.sync == Durability::Lazy);
        self.batch += 1;
        let node = &self.shared.link.options.node;
        let mut steps = Vec::with_capacity(writes.steps.len() + 3);
        if is_lazy {
            steps.push(Step::new(LAZY, Params::new()));
        }
        steps.extend(writes.steps);
        steps.push(Step::new(MARK, vec![Box::new(node.as_str()), Box::new(self.batch)]));
        steps.push(Step::new(COMMIT, Params::new()));
        let done = answered(conn.pipeline(&steps)).await;
        drop(steps);
        match done {
            Ok(_) => {
                self.shared.changed(&writes.parts, &over.touched, writes.trimmed);
                Ok(answers)
            }
            Err(trouble) => {
                // Whoever waits looks again, whatever became of it.
                self.shared.changed(&writes.parts, &over.touched, writes.trimmed);
                Err(Failed::During(answers, trouble))
            }
        }
    }

    /// One round trip of locks and reads.
    async fn load(
        &self,
        conn: &Conn,
        over: &mut Overlay,
        needs: Needs,
        now: Millis,
        is_first: bool,
    ) -> std::result::Result<(), Failed> {
        let (load, steps) = Load::plan(needs, now, over.has_others);
        let mut all = Vec::with_capacity(steps.len() + 2);
        if is_first {
            let node = self.shared.link.options.node.as_str();
            all.push(Step::new(BEGIN, Params::new()));
            all.push(Step::new(OWN, vec![Box::new(node)]));
        }
        all.extend(steps);
        let mut answers = answered(conn.pipeline(&all)).await?;
        if is_first {
            let own = answers.drain(..2).nth(1).unwrap_or_default();
            self.is_mine(&own)?;
        }
        load.fill(over, &answers).map_err(|error| Failed::Before(error.into()))
    }

    /// Whether this server still has the state, by its own row, which stays locked until the transaction ends.
    fn is_mine(&self, own: &[Row]) -> std::result::Result<(), Trouble> {
        if own.first().map(|row| row.get::<_, i64>(0)) == Some(self.shared.epoch) {
            return Ok(());
        }
        Err(Trouble::Refused("another server has taken over the state; this one must be started anew".into()))
    }

    /// Runs the transactions in order; what is missing is loaded for all that are left at once.
    async fn decide(
        &self,
        conn: &Conn,
        batch: &[Waiting],
        over: &mut Overlay,
        numbers: &mut Numbers,
    ) -> std::result::Result<Vec<Result<Committed>>, Failed> {
        let mut answers = Vec::with_capacity(batch.len());
        for _ in 0..ROUNDS {
            while let Some(waiting) = batch.get(answers.len()) {
                match over.txn(&waiting.txn, numbers) {
                    Ok(done) => answers.push(Ok(done)),
                    Err(Stop::Refused(error)) => answers.push(Err(error)),
                    Err(Stop::Missing) => break,
                }
            }
            if answers.len() == batch.len() {
                return Ok(answers);
            }
            for waiting in batch.iter().skip(answers.len() + 1) {
                if over.missing.len() > BATCH_NEEDS {
                    break;
                }
                over.probe(&waiting.txn, numbers);
            }
            let missing = std::mem::take(&mut over.missing);
            self.load(conn, over, missing, numbers.now, false).await?;
        }
        Err(Trouble::Refused("a batch needed too many rounds".into()).into())
    }

    async fn begin(&self, conn: &Conn) -> std::result::Result<(), Trouble> {
        answered(conn.query(BEGIN, &[])).await?;
        self.is_mine(&answered(conn.query(OWN, &[&self.shared.link.options.node])).await?)
    }

    async fn import(&mut self, records: &mut mpsc::Receiver<Result<Record>>) -> Result<()> {
        self.reach(self.shared.link.options.patience).await.map_err(Trouble::unavailable)?;
        let Some(conn) = self.conn.take() else { return Err(Error::Unavailable("no connection".into())) };
        let mut numbers = Numbers::new(self.shared.time.now(), self.number);
        let done = match self.begin(&conn).await {
            Ok(()) => dump::import(&conn, records, &mut numbers).await,
            Err(trouble) => Err(trouble.unavailable()),
        };
        self.number = numbers.last();
        match done {
            Ok(()) => {
                let ended = answered(conn.query(COMMIT, &[])).await;
                self.conn = ended.is_ok().then_some(conn);
                ended.map(drop).map_err(|_| Error::Unknown)
            }
            Err(error) => {
                self.rolled_back(conn).await;
                Err(error)
            }
        }
    }
}

/// The next transactions that fit into a batch; at least one.
fn take(queue: &mut VecDeque<Job>) -> Vec<Waiting> {
    let mut batch = Vec::new();
    let (mut bytes, mut needs) = (0, 0);
    while let Some(Job::Commit(waiting)) = queue.front() {
        let txn = &waiting.txn;
        bytes += txn.muts.iter().map(limits::bytes).sum::<usize>();
        needs +=
            txn.guards.len() + txn.checks.len() + txn.muts.len() + txn.rule.as_ref().map_or(0, |(keys, _)| keys.len());
        let is_full = batch.len() >= BATCH_JOBS || bytes > BATCH_BYTES || needs > BATCH_NEEDS;
        if is_full && !batch.is_empty() {
            break;
        }
        if let Some(Job::Commit(waiting)) = queue.pop_front() {
            batch.push(waiting);
        }
    }
    batch
}

/// The same answer for another caller.
fn again(error: &Error) -> Error {
    match error {
        Error::Unavailable(why) => Error::Unavailable(why.clone()),
        _ => Error::Unknown,
    }
}
