//! How long idle instances are kept and when new ones are started ahead of need: pure, shared by the pool and the replay.
//!
//! Per version of a function a [`Habit`] remembers how long it rested between requests, in a histogram of minutes (as Azure's
//! hybrid histogram policy does, "Serverless in the Wild", 2020). From it comes a [`Plan`]: a window of the rest during which
//! an instance is to be there. Before the window nothing is kept, at its beginning an instance is started ahead of the request,
//! at its end it goes.
//!
//! The `cost` policy chooses the window by what it is worth: a minute of it catches the requests that come in that minute, and
//! costs memory in every rest that is still going on. With a price for a cold start in GB·s the best window is the one with the
//! greatest sum of worth minus cost over neighbouring minutes, which one pass finds. `hybrid` takes the 5th and the 99th
//! percentile instead; `fixed` keeps everything equally long. `cargo xtask replay` compares them.
//!
//! Under memory pressure [`GreedyDual`] says who goes first.

use serde::Deserialize;
use std::time::Duration;

/// Width of a bin.
const BIN: Duration = Duration::from_secs(60);
/// Bins: rests of up to four hours; longer ones only count as such.
const BINS: usize = 240;
/// Rests that must have been seen before the histogram counts.
const SEEN_MIN: u32 = 3;
/// Past this many rests older ones lose half their weight: habits change.
const SEEN_MAX: u32 = 1024;
/// An instance that is to go before its window is not ended at once: bursts come.
const LINGER: Duration = Duration::from_secs(10);
/// A window that begins earlier than this after the last request begins at once.
const GAP_MIN: Duration = Duration::from_secs(120);
/// How fast the popularity that [`GreedyDual`] weighs with is forgotten.
const POPULAR_FOR: Duration = Duration::from_secs(600);

/// Which plan is made.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// The window that is worth most, by the price of a cold start.
    #[default]
    Cost,
    /// From the 5th to the 99th percentile of rests, with a tenth of margin; fixed where the rests show no pattern.
    Hybrid,
    /// Everything is kept equally long.
    Fixed,
}

/// Policy and its numbers.
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    /// The policy.
    pub policy: Policy,
    /// How long an instance is kept where nothing else is known, and by the fixed policy.
    pub fixed: Duration,
    /// How long instances beyond a function's first are kept.
    pub extra: Duration,
    /// What a cold start is worth, in GB·s of idle memory.
    pub cold_gb_s: f64,
}

impl KeepAlive {
    /// The fixed policy.
    #[must_use]
    pub fn fixed(keep: Duration) -> Self {
        Self { policy: Policy::Fixed, fixed: keep, extra: keep, cold_gb_s: 0.0 }
    }
}

/// When an instance is to be there, counted from the end of the last request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Plan {
    /// The instance that served goes after this time: the window's end, or soon where the window begins later.
    pub keep: Duration,
    /// A new one is started at the first of these times and goes at the second.
    pub prewarm: Option<(Duration, Duration)>,
}

/// What is known of one version of a function.
#[derive(Clone, Debug)]
pub struct Habit {
    bins: Box<[u16; BINS]>,
    seen: u32,
    beyond: u32,
    popularity: f64,
    popular_at: Duration,
    init: Duration,
}

impl Default for Habit {
    fn default() -> Self {
        Self {
            bins: Box::new([0; BINS]),
            seen: 0,
            beyond: 0,
            popularity: 0.0,
            popular_at: Duration::ZERO,
            init: Duration::from_millis(100),
        }
    }
}

impl Habit {
    /// A request came after the function had rested.
    pub fn rested(&mut self, rest: Duration) {
        let bin = usize::try_from(rest.as_secs() / BIN.as_secs()).unwrap_or(usize::MAX);
        match self.bins.get_mut(bin) {
            Some(count) => *count = count.saturating_add(1),
            None => self.beyond += 1,
        }
        self.seen += 1;
        if self.seen >= SEEN_MAX {
            self.bins.iter_mut().for_each(|count| *count /= 2);
            self.beyond /= 2;
            self.seen = self.bins.iter().map(|count| u32::from(*count)).sum::<u32>() + self.beyond;
        }
    }

    /// A request came.
    pub fn requested(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.popular_at).as_secs_f64();
        if passed > 1.0 {
            self.popularity *= (-passed / POPULAR_FOR.as_secs_f64()).exp();
            self.popular_at = now;
        }
        self.popularity += 1.0;
    }

    /// An instance took that long to start.
    pub fn started(&mut self, took: Duration) {
        self.init = (self.init * 3 + took) / 4;
    }

    /// How long before its use an instance must be started to be ready.
    #[must_use]
    pub fn lead(&self) -> Duration {
        self.init * 2 + Duration::from_millis(250)
    }

    /// The plan for the rest that begins.
    #[must_use]
    pub fn plan(&self, k: &KeepAlive, memory_mb: u32) -> Plan {
        let fixed = Plan { keep: k.fixed, prewarm: None };
        if k.policy == Policy::Fixed || self.seen < SEEN_MIN {
            return fixed;
        }
        let window = match k.policy {
            Policy::Fixed => None,
            Policy::Hybrid => self.percentiles(),
            Policy::Cost => Some(self.worthwhile(k, memory_mb)),
        };
        let Some((from, to)) = window else { return fixed };
        if to.is_zero() {
            return Plan { keep: LINGER, prewarm: None };
        }
        if from < GAP_MIN {
            return Plan { keep: to, prewarm: None };
        }
        Plan { keep: LINGER, prewarm: Some((from.saturating_sub(self.lead()), to)) }
    }

    /// The neighbouring minutes whose worth minus cost is greatest; `(0, 0)` where none is worth it.
    fn worthwhile(&self, k: &KeepAlive, memory_mb: u32) -> (Duration, Duration) {
        let worth = k.cold_gb_s / (f64::from(memory_mb.max(1)) / 1024.0);
        let mut alive = f64::from(self.seen);
        let (mut sum, mut start) = (0.0, 0);
        let (mut best, mut window) = (0.0, (0, 0));
        for bin in 0..BINS {
            let here = self.smooth(bin);
            // Those that end in this minute cost half of it.
            sum += here * worth - (alive - here / 2.0).max(0.0) * BIN.as_secs_f64();
            alive = (alive - here).max(0.0);
            if sum <= 0.0 {
                (sum, start) = (0.0, bin + 1);
            } else if sum > best {
                (best, window) = (sum, (start, bin + 1));
            }
        }
        (BIN * u32::try_from(window.0).unwrap_or(0), BIN * u32::try_from(window.1).unwrap_or(0))
    }

    /// A bin's count with a part of its neighbours': a rest of 14:59 and one of 15:01 are the same habit.
    fn smooth(&self, bin: usize) -> f64 {
        let at = |i: Option<usize>| i.and_then(|i| self.bins.get(i)).map_or(0.0, |count| f64::from(*count));
        // The first minute gives nothing away: what comes at once comes at once.
        let before = at(bin.checked_sub(1).filter(|b| *b > 0)) * 0.15;
        let own = if bin == 0 { 1.0 } else { 0.7 };
        before + at(Some(bin)) * own + at(Some(bin + 1)) * 0.15
    }

    fn percentiles(&self) -> Option<(Duration, Duration)> {
        // The paper's conditions: most rests inside the range, and counts that vary between bins.
        if self.beyond * 2 > self.seen || self.variation() < 2.0 {
            return None;
        }
        let inside = self.seen - self.beyond;
        let at = |share: f64| {
            let mut left = f64::from(inside) * share;
            self.bins.iter().position(|count| {
                left -= f64::from(*count);
                left <= 0.0
            })
        };
        let (head, tail) = (at(0.05)?, at(0.99)? + 1);
        let edge = |bin: usize| BIN * u32::try_from(bin).unwrap_or(0);
        Some((edge(head).mul_f64(0.9), edge(tail).mul_f64(1.1)))
    }

    /// Coefficient of variation of the bins' counts.
    fn variation(&self) -> f64 {
        let n = BINS as f64;
        let mean = self.bins.iter().map(|count| f64::from(*count)).sum::<f64>() / n;
        if mean == 0.0 {
            return 0.0;
        }
        let squares: f64 = self.bins.iter().map(|count| (f64::from(*count) - mean).powi(2)).sum();
        (squares / n).sqrt() / mean
    }
}

/// Who goes first when memory is short: the instance whose worth, popularity × start time ÷ memory, has aged most
/// (greedy-dual-size-frequency, as FaasCache uses it).
#[derive(Clone, Copy, Debug, Default)]
pub struct GreedyDual {
    clock: f64,
}

impl GreedyDual {
    /// The priority of an instance that becomes idle now; the least goes first.
    #[must_use]
    pub fn priority(&self, habit: &Habit, memory_mb: u32) -> f64 {
        self.clock + habit.popularity * habit.init.as_secs_f64() * 1000.0 / f64::from(memory_mb.max(1))
    }

    /// An instance of that priority had to go: those that rest on age by it.
    pub fn evicted(&mut self, priority: f64) {
        self.clock = self.clock.max(priority);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn keep(policy: Policy) -> KeepAlive {
        KeepAlive { policy, fixed: MINUTE * 10, extra: MINUTE * 10, cold_gb_s: 60.0 }
    }

    fn habit(rests: impl IntoIterator<Item = u64>) -> Habit {
        let mut habit = Habit::default();
        for secs in rests {
            habit.rested(Duration::from_secs(secs));
        }
        habit
    }

    #[test]
    fn nothing_known_means_the_fixed_time() {
        for policy in [Policy::Cost, Policy::Hybrid, Policy::Fixed] {
            let plan = habit([900, 900]).plan(&keep(policy), 128);
            assert_eq!(plan, Plan { keep: MINUTE * 10, prewarm: None });
        }
    }

    #[test]
    fn an_hourly_function_rests_without_instances_and_finds_one_on_time() {
        let habit = habit(std::iter::repeat_n(3599, 20));
        for policy in [Policy::Cost, Policy::Hybrid] {
            let plan = habit.plan(&keep(policy), 128);
            let (from, to) = plan.prewarm.expect("a window");
            assert!(plan.keep <= MINUTE, "{policy:?} {plan:?}");
            assert!(from < MINUTE * 59 && to >= MINUTE * 60, "{policy:?} {plan:?}");
        }
        let (from, to) = habit.plan(&keep(Policy::Cost), 128).prewarm.expect("a window");
        assert!(to - from <= MINUTE * 4, "no more than the minutes around it");
    }

    #[test]
    fn a_busy_function_is_kept_and_a_rare_one_is_not() {
        let busy = habit((0..200).map(|i| i % 90));
        let plan = busy.plan(&keep(Policy::Cost), 128);
        assert!(plan.prewarm.is_none() && plan.keep <= MINUTE * 5 && plan.keep >= MINUTE, "{plan:?}");
        // Rests of anything between one and 200 minutes: no minute is worth waiting for at that price.
        let rare = habit((1..200).map(|i| i * 60));
        let plan = rare.plan(&KeepAlive { cold_gb_s: 1.0, ..keep(Policy::Cost) }, 1024);
        assert_eq!(plan, Plan { keep: LINGER, prewarm: None });
    }

    #[test]
    fn rests_beyond_the_range_count_against_keeping() {
        let plan = habit(std::iter::repeat_n(100_000, 50)).plan(&keep(Policy::Cost), 128);
        assert_eq!(plan, Plan { keep: LINGER, prewarm: None });
        assert_eq!(habit(std::iter::repeat_n(100_000, 50)).plan(&keep(Policy::Hybrid), 128).keep, MINUTE * 10);
    }

    #[test]
    fn habits_are_forgotten_slowly() {
        let mut habit = habit(std::iter::repeat_n(3599, 2000));
        assert!(habit.seen < SEEN_MAX);
        for _ in 0..6000 {
            habit.rested(Duration::from_secs(300));
        }
        let plan = habit.plan(&keep(Policy::Cost), 128);
        let (from, to) = plan.prewarm.expect("a window");
        assert!(from <= MINUTE * 5 && to > MINUTE * 5 && to < MINUTE * 10, "{plan:?}");
    }

    #[test]
    fn popular_slow_small_ones_stay_longest() {
        let mut popular = Habit::default();
        (0..100).for_each(|_| popular.requested(Duration::from_secs(1)));
        let rare = Habit::default();
        let mut dual = GreedyDual::default();
        assert!(dual.priority(&popular, 128) > dual.priority(&rare, 128));
        assert!(dual.priority(&popular, 128) > dual.priority(&popular, 1024));
        let old = dual.priority(&popular, 128);
        dual.evicted(old + 1.0);
        assert!(dual.priority(&rare, 128) > old, "what comes now outlives what has aged");
    }
}
