//! How many jobs a batch takes: enough to make its sync cheap, and not everybody's.
//!
//! Whose job is in a batch waits for it. When a batch takes all callers, nobody is left who could prepare the next request
//! meanwhile: the committer works alone, then everybody else does. So a batch ends when its work takes about as long as its
//! sync, and the rest goes with the next one, beside those who were just answered (PutItem at 64 callers on two processors: 1.7
//! of them in use with batches of 24, 1.49 without a limit). On a slow disk no batch is that long.
//!
//! When far more wait at its end than it took, there are many callers: then batches grow, up to about a quarter of them.

use std::time::Duration;

/// A batch takes so many jobs in any case.
const JOBS_MIN: usize = 16;
/// Batches grow to so many jobs.
const GROWN_MAX: f64 = 4_096.0;
/// Batches with fewer jobs say little.
const NOTED_MIN: usize = 8;

/// What a job costs the committer beside applying it, in times of that: its pages are written and summed, it is answered.
const WRITING: f64 = 2.0;
/// The part of it that lies in the commit.
const COMMITTING: f64 = 1.5;

/// What batches took lately, in microseconds.
#[derive(Default)]
pub(crate) struct Pace {
    apply_each: f64,
    sync: f64,
    /// Jobs to which batches have grown, when there were many callers.
    grown: f64,
}

impl Pace {
    /// Jobs that the next batch takes at most.
    pub fn jobs_max(&self, most: usize) -> usize {
        if self.apply_each <= 0.0 {
            return most;
        }
        (self.deserved().max(self.grown) as usize).clamp(JOBS_MIN, most)
    }

    /// Jobs whose work takes as long as a sync.
    fn deserved(&self) -> f64 {
        self.sync / ((1.0 + WRITING) * self.apply_each)
    }

    /// A batch was applied and committed with a sync, each in this time; so many jobs wait now.
    pub fn note(&mut self, jobs: usize, applied: Duration, committed: Duration, waiting: usize) {
        if jobs < NOTED_MIN {
            return;
        }
        let (applied, committed) = (applied.as_secs_f64() * 1e6, committed.as_secs_f64() * 1e6);
        settle(&mut self.apply_each, applied / jobs as f64);
        settle(&mut self.sync, (committed - COMMITTING * applied).max(committed / 4.0));
        self.grown = if waiting * 2 > jobs * 5 {
            (self.grown.max(jobs as f64) * 1.5).min(GROWN_MAX)
        } else {
            self.grown * (15.0 / 16.0)
        };
    }
}

/// Follows the lower times: the others had waited for a processor.
fn settle(kept: &mut f64, seen: f64) {
    let weight = if *kept <= 0.0 {
        1.0
    } else if seen < *kept {
        0.25
    } else {
        1.0 / 32.0
    };
    *kept += (seen - *kept) * weight;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(pace: &mut Pace, jobs: usize, applied_us: u64, committed_us: u64, waiting: usize) -> usize {
        for _ in 0..200 {
            pace.note(jobs, Duration::from_micros(applied_us), Duration::from_micros(committed_us), waiting);
        }
        pace.jobs_max(4_096)
    }

    #[test]
    fn a_batch_is_as_long_as_its_sync_deserves() {
        let fresh = Pace::default;
        assert_eq!(noted(&mut fresh(), 64, 320, 800, 0), 21, "a fast disk");
        assert_eq!(noted(&mut fresh(), 64, 320, 8_480, 0), 533, "a slow one");
        assert_eq!(noted(&mut fresh(), 64, 1_000, 1_000, 0), JOBS_MIN, "syncs that cost nothing");
        assert_eq!(noted(&mut fresh(), 1, 5, 200, 0), 4_096, "nothing is known");
    }

    #[test]
    fn batches_grow_with_the_number_of_callers() {
        let mut pace = Pace::default();
        assert_eq!(noted(&mut pace, 24, 120, 480, 40), 20);
        assert_eq!(noted(&mut pace, 24, 120, 480, 80), 4_096);
        assert_eq!(noted(&mut pace, 64, 320, 800, 0), 21, "and shrink again");
    }
}
