//! The way to the committer: a list under a mutex, swapped out whole, and one parked thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use squall_store::{ClaimSpec, Claimed, Committed, Durability, Error, Mutation, Queue, Record, Result, Txn, limits};
use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait; more means that the disk does not keep up, and callers are told so.
const WAITING_MAX: usize = 100_000;

/// Work for the committer.
pub(crate) enum Job {
    Commit(Txn, oneshot::Sender<Result<Committed>>),
    Claim(Waiter),
    /// Leases whose claimer went away.
    Release(Vec<Claimed>),
    Import(mpsc::Receiver<Result<Record>>, oneshot::Sender<Result<()>>),
    /// Remove what has expired or was trimmed.
    Sweep,
    /// Finish a checkpoint, so that the write-ahead log begins anew.
    Restart,
}

/// A claim, perhaps waiting for its first entry.
pub(crate) struct Waiter {
    pub queue: Queue,
    pub spec: ClaimSpec,
    pub deadline: i64,
    pub reply: oneshot::Sender<Result<Lease>>,
}

impl Job {
    /// Bytes that it brings to a batch.
    pub fn bytes(&self) -> usize {
        match self {
            Job::Commit(txn, _) => txn.muts.iter().map(limits::bytes).sum(),
            _ => 64,
        }
    }

    pub fn is_lazy(&self) -> bool {
        match self {
            Job::Commit(txn, _) => txn.sync == Durability::Lazy,
            Job::Claim(waiter) => waiter.spec.sync == Durability::Lazy,
            Job::Release(_) | Job::Sweep | Job::Restart => true,
            Job::Import(..) => false,
        }
    }

    /// Must be alone in its batch.
    pub fn is_exclusive(&self) -> bool {
        matches!(self, Job::Import(..) | Job::Restart)
    }

    /// Answers without doing anything.
    pub fn refuse(self, error: impl Fn() -> Error) {
        match self {
            Job::Commit(_, reply) => drop(reply.send(Err(error()))),
            Job::Claim(waiter) => drop(waiter.reply.send(Err(error()))),
            Job::Import(_, reply) => drop(reply.send(Err(error()))),
            Job::Release(_) | Job::Sweep | Job::Restart => {}
        }
    }
}

/// Whether applying it may be refused after something was written.
pub(crate) fn is_fallible(mutation: &Mutation) -> bool {
    matches!(mutation, Mutation::Add { .. } | Mutation::Settle { .. })
}

#[derive(Default)]
struct Waiting {
    jobs: Vec<Job>,
    parked: bool,
    closed: bool,
}

/// The committer's inbox.
#[derive(Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

impl Inbox {
    /// Hands a job over, or gives it back with the reason.
    pub fn push(&self, job: Job) {
        let mut waiting = self.waiting.lock();
        if waiting.closed || waiting.jobs.len() >= WAITING_MAX {
            let why = if waiting.closed { "the engine is closed" } else { "too many commits are waiting" };
            drop(waiting);
            job.refuse(|| Error::Unavailable(why.into()));
            return;
        }
        waiting.jobs.push(job);
        // Only a parked committer needs a system call.
        if std::mem::take(&mut waiting.parked) {
            drop(waiting);
            self.wake.notify_one();
        }
    }

    /// Moves what waits behind `backlog`. Never blocks.
    pub fn drain(&self, backlog: &mut VecDeque<Job>) {
        backlog.extend(self.waiting.lock().jobs.drain(..));
    }

    /// Jobs that wait.
    pub fn len(&self) -> usize {
        self.waiting.lock().jobs.len()
    }

    /// As `drain`, but waits while there is nothing. `false`: closed, and nothing is left.
    pub fn wait(&self, backlog: &mut VecDeque<Job>, timeout: Option<Duration>) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.jobs.is_empty() && !waiting.closed {
            waiting.parked = true;
            match timeout {
                Some(timeout) => drop(self.wake.wait_for(&mut waiting, timeout)),
                None => self.wake.wait(&mut waiting),
            }
            waiting.parked = false;
        }
        let open = !waiting.closed || !waiting.jobs.is_empty();
        backlog.extend(waiting.jobs.drain(..));
        open
    }

    /// Takes no more jobs; those that wait are still done.
    pub fn close(&self) {
        self.waiting.lock().closed = true;
        self.wake.notify_one();
    }
}

/// Claimed entries on their way to the claimer: dropped underway, they are given back.
pub(crate) struct Lease {
    claimed: Vec<Claimed>,
    inbox: Arc<Inbox>,
}

impl Lease {
    pub fn new(claimed: Vec<Claimed>, inbox: &Arc<Inbox>) -> Lease {
        Lease { claimed, inbox: Arc::clone(inbox) }
    }

    /// They have arrived.
    pub fn take(mut self) -> Vec<Claimed> {
        std::mem::take(&mut self.claimed)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.claimed.is_empty() {
            self.inbox.push(Job::Release(std::mem::take(&mut self.claimed)));
        }
    }
}
