//! What the rest of the cloud asks of the pool beyond invocations: instances ahead of need, and what all of it used.

use crate::engine::{Engine, Runtime};
use crate::pool::Provisioned;
use crate::{Function, keepalive};
use squall_meter::{Meter, Subject, Tally, Usage};
use squall_types::Millis;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often the host's memory is looked at and provisioned concurrency is counted.
const LOOK: Duration = Duration::from_secs(1);

impl Runtime {
    /// Counts everything from now on with that meter. Only the first one counts.
    pub fn meter(&self, meter: Meter) {
        let _ = self.engine().meter.set(meter);
    }

    /// Sets the provisioned concurrency of a published version; 0 ends it. Instances start at once and are replaced when they
    /// end.
    pub fn provision(&self, function: &Arc<Function>, wanted: u32) {
        self.engine().tell(|core, now| core.pool.provision(function, wanted, now));
    }

    /// Where the provisioned concurrency of a version stands; its ARN ends with the version.
    #[must_use]
    pub fn provisioned(&self, arn_of_version: &str) -> Provisioned {
        self.engine().tell(|core, _| core.pool.provisioned(arn_of_version))
    }

    /// Makes sure that `count` instances of a version are ready at a moment at which requests are known to come (a schedule):
    /// they are started as long before as starts of this version take, and kept for a minute after it. A moment that has
    /// passed means now. Nothing is ended to make room, and nothing is started for code that has changed until then.
    pub fn prewarm(&self, function: &Arc<Function>, at: Millis, count: u32) {
        let ahead = at.since(self.engine().clock.now());
        self.engine().tell(|core, now| core.pool.prewarm(function, now + ahead, count, now));
    }

    /// The keep-alive policy in force.
    #[must_use]
    pub fn keep_alive(&self) -> keepalive::KeepAlive {
        self.engine().options.keep_alive()
    }
}

impl Engine {
    /// What counts for a version.
    pub fn tally(&self, function: &Function) -> Option<Tally> {
        let subject = Subject {
            region: function.region.clone(),
            function: function.name.clone(),
            version: function.version.clone(),
            architecture: function.architecture.clone(),
        };
        Some(self.meter.get()?.tally(&subject))
    }

    /// Counts provisioned concurrency since `last` and looks at the host's memory, now and then. Says when it did.
    pub fn look_around(self: &Arc<Self>, last: Instant) -> Instant {
        let now = Instant::now();
        let passed = now.saturating_duration_since(last);
        if passed < LOOK {
            return last;
        }
        let least = self.options.host_memory_free_mb;
        if least > 0
            && let Some(free) = host_memory_free_mb()
        {
            self.tell(|core, _| core.pool.pressure(free < least));
        }
        for (function, ready) in self.tell(|core, _| core.pool.all_provisioned()) {
            let ms = u64::try_from(passed.as_millis()).unwrap_or(0);
            let provisioned_mb_ms = ms * u64::from(ready) * u64::from(function.memory_mb);
            if let Some(tally) = self.tally(&function).filter(|_| ready > 0) {
                tally.add(Usage { provisioned_mb_ms, ..Usage::default() });
            }
        }
        now
    }
}

/// What the kernel says can still be had without swapping.
fn host_memory_free_mb() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib / 1024)
}
