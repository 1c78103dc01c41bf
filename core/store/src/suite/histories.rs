//! Concurrent histories: many tasks use an engine at once, and what they saw must be explainable.
//!
//! Each property has a room of its own in the state (named by the seed), so that rounds may follow each other on one
//! engine. Engines given together share one state, as several servers on one database do.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::dice::Dice;
use super::{claims, lanes, lists, transfers, watches};
use crate::{Error, State};

/// Longest time that a property may take before it is called stuck.
const STUCK: Duration = Duration::from_secs(120);
/// Tasks of a property.
pub(super) const TASKS: usize = 12;

/// Engines that share one state, and the seed of a round on them.
#[derive(Clone)]
pub(super) struct Round {
    pub nodes: Vec<Arc<dyn State>>,
    pub seed: u64,
}

impl Round {
    /// The engine that a task uses.
    pub fn node(&self, task: usize) -> Arc<dyn State> {
        Arc::clone(&self.nodes[task % self.nodes.len()])
    }

    /// The resource, queue or stream of this round.
    pub fn room(&self, number: u64) -> u64 {
        1 << 20 | self.seed << 8 | number
    }

    pub fn dice(&self, task: usize) -> Dice {
        Dice::of(self.seed, task)
    }

    /// Runs tasks to their end; a panic of one is everybody's.
    pub async fn all<T: Send + 'static>(&self, tasks: Vec<BoxFuture<'static, T>>) -> Vec<T> {
        let running: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
        let mut done = Vec::with_capacity(running.len());
        for task in running {
            done.push(task.await.unwrap_or_else(|error| panic!("seed {}: {error}", self.seed)));
        }
        done
    }
}

/// What an engine may answer under contention although nothing is wrong: nothing happened then.
pub(super) fn is_excused(error: &Error) -> bool {
    matches!(error, Error::Unavailable(_))
}

/// Runs every property once: serialisable transactions and snapshots, conserved sums, claims that lose and double
/// nothing, lanes that never strand, watches that skip nothing. The engines follow clocks that run.
///
/// # Panics
/// When an engine breaks one, naming the seed.
pub async fn histories(nodes: &[Arc<dyn State>], seed: u64) {
    let round = Round { nodes: nodes.to_vec(), seed };
    let properties: [(&str, BoxFuture<'_, ()>); 5] = [
        ("lists", Box::pin(lists::run(&round))),
        ("transfers", Box::pin(transfers::run(&round))),
        ("claims", Box::pin(claims::run(&round))),
        ("lanes", Box::pin(lanes::run(&round))),
        ("watches", Box::pin(watches::run(&round))),
    ];
    for (name, property) in properties {
        let done = tokio::time::timeout(STUCK, property).await;
        assert!(done.is_ok(), "seed {seed}: the property of {name} is stuck");
    }
}
