//! Transactions: checks and mutations as data, one rule for conditions.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use squall_types::Millis;

use crate::key::Key;
use crate::queue::{Handle, Queue};
use crate::rule::{Closure, Reply, Rule, View};
use crate::stream::Part;

/// The version of a row or a lease. Unique and good for equality; says nothing about order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp(pub i64);

/// When a commit is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// After it is on the disk.
    #[default]
    Durable,
    /// After it is visible; it reaches the disk with the next durable commit, in order.
    Lazy,
}

/// Something that must hold for a transaction to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// The row exists.
    Exists(Key),
    /// The row does not exist.
    Absent(Key),
    /// The row exists in this version.
    Ver(Key, Stamp),
    /// The entry is still held under this lease.
    Lease(Handle),
}

/// One change of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Writes a row.
    Put {
        /// Its key.
        key: Key,
        /// Its value, in an envelope.
        value: Bytes,
        /// The row is gone from this time on.
        expires: Option<Millis>,
    },
    /// Removes a row; nothing happens if there is none.
    Delete(Key),
    /// Adds to a counter row (see `envelope::open_counter`); an absent one counts 0.
    /// Refused with `Error::Bounds` if the sum leaves `min..=max`.
    Add {
        /// The counter.
        key: Key,
        /// What to add.
        delta: i64,
        /// The least sum allowed.
        min: i64,
        /// The greatest sum allowed.
        max: i64,
    },
    /// Removes the first rows of `from..to`, up to `limit` (1 to 1000): bigger ranges are removed by a job that loops
    /// until `Committed::removed` is below the limit.
    DeleteRange {
        /// First key.
        from: Key,
        /// First key not to remove.
        to: Key,
        /// Rows at most.
        limit: u32,
    },
    /// Adds an entry. With a lane that exists already, the entry is replaced and a lease on it ends.
    Enqueue {
        /// The queue.
        queue: Queue,
        /// The lane.
        lane: Option<Bytes>,
        /// When it is due.
        due: Millis,
        /// Its value.
        value: Bytes,
    },
    /// Makes sure that a lane is claimed at `due` or earlier: creates it with an empty value, or lowers its due time.
    /// While it is leased, the engine remembers the call: whatever the holder settles it to, the lane stays and is due
    /// at `due` at the latest. So work that arrives while a lane is held never strands.
    Arm {
        /// The queue.
        queue: Queue,
        /// The lane.
        lane: Bytes,
        /// When it is due at the latest.
        due: Millis,
    },
    /// Ends or changes a lease. Refused with `Error::Stale` if the handle is no longer good.
    Settle {
        /// The entry.
        handle: Handle,
        /// What becomes of it.
        to: Settle,
    },
    /// Removes entries of a queue with an id up to `upto`, leased or not, up to `limit` (1 to 1000) of them.
    DropQueue {
        /// The queue.
        queue: Queue,
        /// The last id to remove; `u64::MAX` for all.
        upto: u64,
        /// Entries at most.
        limit: u32,
    },
    /// Appends to a stream part.
    Emit {
        /// The part.
        part: Part,
        /// What to append.
        body: Bytes,
    },
    /// Forgets a stream part's changes up to and with `upto`.
    Trim {
        /// The part.
        part: Part,
        /// The last number to forget.
        upto: u64,
    },
}

/// What becomes of a leased entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settle {
    /// It is done and removed.
    Ack,
    /// Its lease ends; it is due again, with a new value if one is given.
    Again {
        /// When.
        due: Millis,
        /// The new value.
        value: Option<Bytes>,
    },
    /// It stays leased under the same handle until `due`.
    Extend {
        /// When the lease ends.
        due: Millis,
    },
    /// It goes to another queue as if enqueued there (same lane and value, no tries).
    Move {
        /// Where.
        queue: Queue,
        /// When it is due there.
        due: Millis,
    },
}

/// A transaction, built by chaining. Order of events: guards, checks, rule, mutations, the rule's mutations.
#[derive(Clone, Default)]
pub struct Txn {
    /// Makes the outcome of a commit that ended in `Error::Unknown` askable: committing the same id again applies it
    /// at most once (within an hour), and the second answer carries the first one's stamp but no reply.
    pub id: Option<[u8; 16]>,
    /// Rows that must not have changed (cached definitions).
    pub guards: Vec<(Key, Stamp)>,
    /// What must hold.
    pub checks: Vec<Check>,
    /// What to change.
    pub muts: Vec<Mutation>,
    /// At most 256 declared keys and the rule over them.
    pub rule: Option<(Vec<Key>, Arc<dyn Rule>)>,
    /// When to answer.
    pub sync: Durability,
}

impl Txn {
    /// An empty, durable transaction.
    pub fn new() -> Txn {
        Txn::default()
    }

    /// Sets the id under which the outcome can be asked again.
    pub fn id(mut self, id: [u8; 16]) -> Txn {
        self.id = Some(id);
        self
    }

    /// Demands that a row read before is unchanged.
    pub fn guard(mut self, key: Key, ver: Stamp) -> Txn {
        self.guards.push((key, ver));
        self
    }

    /// Demands something.
    pub fn check(mut self, check: Check) -> Txn {
        self.checks.push(check);
        self
    }

    /// Demands that a row exists.
    pub fn exists(self, key: Key) -> Txn {
        self.check(Check::Exists(key))
    }

    /// Demands that a row does not exist.
    pub fn absent(self, key: Key) -> Txn {
        self.check(Check::Absent(key))
    }

    /// Adds a mutation.
    pub fn mutation(mut self, mutation: Mutation) -> Txn {
        self.muts.push(mutation);
        self
    }

    /// Writes a row.
    pub fn put(mut self, key: Key, value: impl Into<Bytes>) -> Txn {
        self.muts.put(key, value);
        self
    }

    /// Writes a row that is gone from `expires` on.
    pub fn put_until(mut self, key: Key, value: impl Into<Bytes>, expires: Millis) -> Txn {
        self.muts.put_until(key, value, expires);
        self
    }

    /// Removes a row.
    pub fn delete(mut self, key: Key) -> Txn {
        self.muts.delete(key);
        self
    }

    /// Adds to a counter without bounds.
    pub fn add(mut self, key: Key, delta: i64) -> Txn {
        self.muts.add(key, delta, i64::MIN, i64::MAX);
        self
    }

    /// Adds an entry without a lane.
    pub fn enqueue(mut self, queue: Queue, due: Millis, value: impl Into<Bytes>) -> Txn {
        self.muts.enqueue(queue, due, value);
        self
    }

    /// Settles an entry.
    pub fn settle(mut self, handle: Handle, to: Settle) -> Txn {
        self.muts.settle(handle, to);
        self
    }

    /// Appends to a stream.
    pub fn emit(mut self, part: Part, body: impl Into<Bytes>) -> Txn {
        self.muts.emit(part, body);
        self
    }

    /// Sets the rule: a closure that sees the declared rows and answers in the room's own types.
    /// See [`crate::StateExt::run`] for getting them back.
    pub fn rule<F, T, E>(self, keys: impl Into<Vec<Key>>, rule: F) -> Txn
    where
        F: Fn(&View<'_>, &mut Vec<Mutation>) -> Result<T, E> + Send + Sync + 'static,
        T: Any + Send + Sync,
        E: Any + Send + Sync,
    {
        self.rule_dyn(keys, Arc::new(Closure(rule)))
    }

    /// Sets a rule of one's own type.
    pub fn rule_dyn(mut self, keys: impl Into<Vec<Key>>, rule: Arc<dyn Rule>) -> Txn {
        self.rule = Some((keys.into(), rule));
        self
    }

    /// Answers before the disk has it.
    pub fn lazy(mut self) -> Txn {
        self.sync = Durability::Lazy;
        self
    }
}

impl fmt::Debug for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Txn")
            .field("id", &self.id)
            .field("guards", &self.guards)
            .field("checks", &self.checks)
            .field("muts", &self.muts)
            .field("rule", &self.rule.as_ref().map(|(keys, _)| keys))
            .field("sync", &self.sync)
            .finish()
    }
}

/// Short forms for lists of mutations: what a rule writes into its `out`.
pub trait Mutations {
    /// Adds a mutation.
    fn mutate(&mut self, mutation: Mutation);

    /// Writes a row.
    fn put(&mut self, key: Key, value: impl Into<Bytes>) {
        self.mutate(Mutation::Put { key, value: value.into(), expires: None });
    }

    /// Writes a row that is gone from `expires` on.
    fn put_until(&mut self, key: Key, value: impl Into<Bytes>, expires: Millis) {
        self.mutate(Mutation::Put { key, value: value.into(), expires: Some(expires) });
    }

    /// Removes a row.
    fn delete(&mut self, key: Key) {
        self.mutate(Mutation::Delete(key));
    }

    /// Adds to a counter within bounds.
    fn add(&mut self, key: Key, delta: i64, min: i64, max: i64) {
        self.mutate(Mutation::Add { key, delta, min, max });
    }

    /// Adds an entry without a lane.
    fn enqueue(&mut self, queue: Queue, due: Millis, value: impl Into<Bytes>) {
        self.mutate(Mutation::Enqueue { queue, lane: None, due, value: value.into() });
    }

    /// Makes sure that a lane is claimed at `due` or earlier.
    fn arm(&mut self, queue: Queue, lane: impl Into<Bytes>, due: Millis) {
        self.mutate(Mutation::Arm { queue, lane: lane.into(), due });
    }

    /// Settles an entry.
    fn settle(&mut self, handle: Handle, to: Settle) {
        self.mutate(Mutation::Settle { handle, to });
    }

    /// Appends to a stream.
    fn emit(&mut self, part: Part, body: impl Into<Bytes>) {
        self.mutate(Mutation::Emit { part, body: body.into() });
    }
}

impl Mutations for Vec<Mutation> {
    fn mutate(&mut self, mutation: Mutation) {
        self.push(mutation);
    }
}

/// The outcome of a commit.
#[derive(Debug)]
pub struct Committed {
    /// The version that every row written by it has.
    pub stamp: Stamp,
    /// What the rule answered.
    pub reply: Option<Reply>,
    /// One handle for each `Enqueue`, in order.
    pub handles: Vec<Handle>,
    /// Rows and entries that `DeleteRange` and `DropQueue` removed, in total.
    pub removed: u64,
}

impl Committed {
    /// What the rule answered, if it is of this type.
    pub fn reply<T: Any>(self) -> Option<T> {
        self.reply?.downcast().ok().map(|reply| *reply)
    }
}
