//! From records to what the runtime runs: resolving qualifiers, and the values kept ready for the hot path.

use crate::error::Error;
use crate::model::{Phase, Version};
use crate::names::{LATEST, Name, version_number};
use crate::registry::Entry;
use crate::room::Lambda;
use crate::view;
use parking_lot::RwLock;
use squall_runtime::{Function, JsonLog};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

type Key = (String, String, String);

/// Functions as the runtime takes them, by region, name and version. An entry of an older revision is replaced.
#[derive(Default)]
pub struct Ready(RwLock<HashMap<Key, Arc<Function>>>);

impl Ready {
    /// Forgets every version of a function.
    pub fn forget(&self, region: &str, name: &str) {
        self.0.write().retain(|(r, n, _), _| r != region || n != name);
    }
}

/// What a qualifier stands for.
pub struct Target {
    /// The version.
    pub version: Arc<Version>,
    /// The alias or `$LATEST` by which it was asked for: the function sees it in its ARN.
    pub asked_as: Option<String>,
}

impl Lambda {
    /// Resolves a qualifier. `roll` in `0.0..1.0` chooses between an alias's versions.
    pub(crate) fn resolve(&self, entry: &Entry, name: &Name, roll: f64) -> Option<Target> {
        let record = &entry.record;
        let latest = || Arc::new(record.latest.clone());
        let by_version = |text: &str| match version_number(text) {
            Some(n) => entry.versions.get(&n).cloned(),
            None => (text == LATEST).then(latest),
        };
        let qualifier = name.version();
        if let Some(version) = by_version(qualifier) {
            return Some(Target { version, asked_as: name.qualifier.clone().filter(|q| q == LATEST) });
        }
        let alias = record.aliases.get(qualifier)?;
        let mut share = roll;
        let mut chosen = alias.version.as_str();
        for (version, weight) in &alias.weights {
            if share < *weight {
                chosen = version;
                break;
            }
            share -= weight;
        }
        Some(Target { version: by_version(chosen)?, asked_as: Some(qualifier.to_owned()) })
    }

    /// The function as the runtime runs it, unpacking its package on first need.
    pub(crate) async fn runnable(&self, entry: &Entry, v: &Version) -> Result<Arc<Function>, Error> {
        let record = &entry.record;
        match &v.state {
            Phase::Done => {}
            // A version that was published with an update shows its state for a moment; its package is there already.
            Phase::Pending if v.version != LATEST && record.latest.state == Phase::Done && !v.snap_start => {}
            Phase::Pending => return Err(not_now("Pending")),
            Phase::Failed(..) => return Err(not_now("Failed")),
        }
        self.function(entry, v).await
    }

    /// The same, whatever its state.
    pub(crate) async fn function(&self, entry: &Entry, v: &Version) -> Result<Arc<Function>, Error> {
        let record = &entry.record;
        let key = (record.region.clone(), record.name.clone(), v.version.clone());
        // A published version never changes, so its instances live on when `$LATEST` changes; a namesake of a deleted one differs.
        let revision = if v.version == LATEST { record.revision } else { own_number(&v.revision_id) };
        if let Some(ready) = self.ready.0.read().get(&key)
            && ready.revision == revision
            && ready.reserved_concurrency == record.reserved
        {
            return Ok(ready.clone());
        }
        let code = self.code.open(&v.code_object).await?;
        let opt = self.code.open_layers(v.layers.iter().map(|l| l.object.as_str())).await?;
        let account = self.deps.account.as_str();
        let function = Arc::new(Function {
            function_arn: view::arn(account, record, None),
            name: record.name.clone(),
            version: v.version.clone(),
            revision,
            region: record.region.clone(),
            account: account.to_owned(),
            role_arn: v.role.clone(),
            handler: v.handler.clone(),
            runtime: v.runtime.clone(),
            architecture: v.architecture.clone(),
            memory_mb: v.memory_mb,
            timeout: Duration::from_secs(u64::from(v.timeout_s)),
            tmp_mb: v.tmp_mb,
            env: v.env.iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
            code_dir: code.path.clone(),
            opt_dir: opt.as_ref().map(|o| o.path.clone()),
            log_group: view::log_group(record, v),
            json_log: v
                .json_log
                .as_ref()
                .map(|j| JsonLog { application: j.application.clone(), system: j.system.clone() }),
            snap_start: v.snap_start && v.version != LATEST,
            reserved_concurrency: record.reserved,
            keep: Some(Arc::new((code, opt))),
        });
        self.ready.0.write().insert(key, function.clone());
        Ok(function)
    }
}

/// A number of the revision id, which is random.
fn own_number(revision_id: &str) -> u64 {
    let digits = revision_id.chars().filter_map(|c| c.to_digit(16)).take(16);
    digits.fold(0, |n, digit| n << 4 | u64::from(digit))
}

fn not_now(state: &str) -> Error {
    Error::Conflict(format!(
        "The operation cannot be performed at this time. The function is currently in the following state: {state}"
    ))
}
