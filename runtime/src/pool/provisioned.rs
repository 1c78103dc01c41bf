//! Provisioned concurrency: instances that are there before any request, replaced when they end.

use super::{InstanceId, Phase, Pool};
use crate::Function;
use std::sync::Arc;
use std::time::Duration;

/// Failed starts in a row after which a configuration counts as failed; it is tried further all the same.
const FAILURES_MAX: u32 = 3;
/// First and longest pause after a failed start.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// Provisioned concurrency of one version.
pub(super) struct Provision {
    function: Arc<Function>,
    pub wanted: u32,
    /// Failed starts in a row.
    failures: u32,
    retry_at: Duration,
}

/// Where provisioned concurrency of a version stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Provisioned {
    /// What was asked for.
    pub wanted: u32,
    /// Instances that are initialised, busy or not.
    pub ready: u32,
    /// The code does not load.
    pub has_failed: bool,
}

impl Pool {
    /// Sets a version's provisioned concurrency; 0 ends it.
    pub fn provision(&mut self, function: &Arc<Function>, wanted: u32, now: Duration) {
        let key = function.arn_of_version();
        let before = match self.provisions.remove(&key) {
            Some(p) if p.function.revision == function.revision => p,
            // Another function of the same name.
            Some(p) => {
                let wanted = p.wanted;
                self.let_go(&key, u32::MAX);
                Provision { function: function.clone(), wanted, failures: 0, retry_at: now }
            }
            None => Provision { function: function.clone(), wanted: 0, failures: 0, retry_at: now },
        };
        self.change_usage(&function.function_arn, |usage| {
            usage.provisioned = usage.provisioned + wanted - before.wanted
        });
        let surplus = before.wanted.saturating_sub(wanted);
        if wanted > 0 {
            let is_more = wanted > before.wanted;
            let failures = if is_more { 0 } else { before.failures };
            let retry_at = if is_more { now } else { before.retry_at };
            self.provisions.insert(key.clone(), Provision { wanted, failures, retry_at, ..before });
        }
        self.let_go(&key, surplus);
        self.fill_provisioned(now);
    }

    /// Ends provisioned concurrency of every version of a function.
    pub(super) fn unprovision_all(&mut self, function_arn: &str) {
        let of_function = self.provisions.iter().filter(|(_, p)| p.function.function_arn == function_arn);
        for key in of_function.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            if let Some(p) = self.provisions.remove(&key) {
                self.change_usage(function_arn, |usage| usage.provisioned -= p.wanted);
                self.let_go(&key, u32::MAX);
            }
        }
    }

    /// Where a version's provisioned concurrency stands.
    pub fn provisioned(&self, key: &str) -> Provisioned {
        let Some(p) = self.provisions.get(key) else { return Provisioned::default() };
        let ready = self.of_version(key).filter(|id| {
            let phase = self.instances.get(id).map(|i| i.phase);
            matches!(phase, Some(Phase::Idle { .. } | Phase::Busy))
        });
        let ready = u32::try_from(ready.count()).unwrap_or(u32::MAX).min(p.wanted);
        Provisioned { wanted: p.wanted, ready, has_failed: p.failures >= FAILURES_MAX && ready < p.wanted }
    }

    /// Every version with provisioned concurrency, and how many instances of it are ready.
    pub fn all_provisioned(&self) -> Vec<(Arc<Function>, u32)> {
        self.provisions.iter().map(|(key, p)| (p.function.clone(), self.provisioned(key).ready)).collect()
    }

    /// Provisioned instances of a version that are not about to end.
    fn of_version<'a>(&'a self, key: &'a str) -> impl Iterator<Item = InstanceId> + 'a {
        self.instances
            .iter()
            .filter(|(_, i)| i.is_provisioned && i.phase != Phase::Ending)
            .filter(move |(_, i)| self.groups.get(&i.group).is_some_and(|g| g.key == key))
            .map(|(id, _)| *id)
    }

    /// Turns provisioned instances that are too many into ordinary ones; those at rest end.
    fn let_go(&mut self, key: &str, surplus: u32) {
        let mut found: Vec<InstanceId> = self.of_version(key).collect();
        found.sort_by_key(|id| self.instances.get(id).is_some_and(|i| !matches!(i.phase, Phase::Idle { .. })));
        let mut resting = Vec::new();
        for id in found.into_iter().take(surplus as usize) {
            let Some(instance) = self.instances.get_mut(&id) else { continue };
            instance.is_provisioned = false;
            if matches!(instance.phase, Phase::Idle { .. }) {
                resting.push(id);
            }
        }
        self.end_idle(&resting);
    }

    /// Starts what is missing.
    pub(super) fn fill_provisioned(&mut self, now: Duration) {
        if self.provisions.is_empty() || self.is_stopping {
            return;
        }
        for key in self.provisions.keys().cloned().collect::<Vec<_>>() {
            let Some(p) = self.provisions.get(&key) else { continue };
            let (function, wanted, retry_at) = (p.function.clone(), p.wanted as usize, p.retry_at);
            let memory = u64::from(function.memory_mb);
            let mut live = self.of_version(&key).count();
            while live < wanted && now >= retry_at {
                if !self.has_room(memory) {
                    self.make_room(memory);
                    break;
                }
                let group = self.group_for(&function);
                self.start_one(group, true, now);
                live += 1;
            }
        }
    }

    pub(super) fn provision_failed(&mut self, instance: InstanceId, now: Duration) {
        let Some(entry) = self.instances.get(&instance).filter(|i| i.is_provisioned) else { return };
        let Some(key) = self.groups.get(&entry.group).map(|g| g.key.clone()) else { return };
        let Some(p) = self.provisions.get_mut(&key) else { return };
        p.retry_at = now + BACKOFF.0.saturating_mul(1 << p.failures.min(12)).min(BACKOFF.1);
        p.failures += 1;
    }

    pub(super) fn provision_works(&mut self, instance: InstanceId) {
        let Some(entry) = self.instances.get(&instance).filter(|i| i.is_provisioned) else { return };
        let key = self.groups.get(&entry.group).map(|g| g.key.as_str()).unwrap_or_default();
        if let Some(p) = self.provisions.get_mut(key) {
            p.failures = 0;
        }
    }
}
