//! How many prepared sandboxes, and forks in them, wait for functions: a pure rule over what was deployed and started of late.
//!
//! Nothing of a function is in what waits, so any function of the runtime may take it. A few wait always; a deployment is mostly
//! followed by first calls, so each function that was deployed and has not run yet adds one for a while.

use std::collections::BTreeMap;
use std::time::Duration;

/// How long after a deployment its first call is expected.
const EXPECTED_FOR: Duration = Duration::from_secs(10);

/// What is expected of one runtime.
#[derive(Clone, Copy, Debug, Default)]
struct Demand {
    /// Functions deployed and not started since.
    fresh: usize,
    until: Duration,
}

/// What waits.
#[derive(Debug)]
pub struct Standby {
    base: usize,
    max: usize,
    demands: BTreeMap<String, Demand>,
}

impl Standby {
    pub fn new(base: usize, max: usize) -> Self {
        Self { base, max: max.max(base), demands: BTreeMap::new() }
    }

    /// A function of this runtime was made ready.
    pub fn deployed(&mut self, runtime: &str, now: Duration) {
        let demand = self.demands.entry(runtime.to_owned()).or_default();
        if now >= demand.until {
            demand.fresh = 0;
        }
        demand.fresh = (demand.fresh + 1).min(self.max);
        demand.until = now + EXPECTED_FOR;
    }

    /// An instance of it is about to start.
    pub fn started(&mut self, runtime: &str) {
        if let Some(demand) = self.demands.get_mut(runtime) {
            demand.fresh = demand.fresh.saturating_sub(1);
        }
    }

    /// How many are to wait for functions of a runtime where each is dear: one, and one for each that is expected.
    pub fn expected(&self, runtime: &str, now: Duration) -> usize {
        let fresh = self.demands.get(runtime).filter(|d| now < d.until).map_or(0, |d| d.fresh);
        (1 + fresh).min(self.base)
    }

    /// How many are to wait for functions of these runtimes.
    pub fn target<'a>(&self, runtimes: impl IntoIterator<Item = &'a str>, now: Duration) -> usize {
        let expected = |d: &Demand| if now < d.until { d.fresh } else { 0 };
        let fresh: usize = runtimes.into_iter().filter_map(|r| self.demands.get(r)).map(expected).sum();
        (self.base + fresh).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deployments_are_expected_to_be_called_for_a_while() {
        let (mut standby, at) = (Standby::new(4, 10), Duration::from_secs);
        assert_eq!(standby.target(["a"], at(0)), 4);
        (0..3).for_each(|_| standby.deployed("a", at(1)));
        standby.started("a");
        standby.started("b");
        assert_eq!((standby.target(["a"], at(2)), standby.target(["b"], at(2))), (6, 4));
        assert_eq!(
            (standby.expected("a", at(2)), standby.expected("b", at(2)), standby.expected("a", at(61))),
            (3, 1, 1)
        );
        assert_eq!(standby.target(["a", "b"], at(2)), 6);
        assert_eq!(standby.target(["a"], at(61)), 4, "nobody came");
        standby.deployed("a", at(70));
        assert_eq!(standby.target(["a"], at(71)), 5, "what is past does not count again");
        (0..100).for_each(|_| standby.deployed("a", at(72)));
        assert_eq!(standby.target(["a"], at(73)), 10);
    }
}
