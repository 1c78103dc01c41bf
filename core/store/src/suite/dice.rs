//! Randomness of the property tests, and which seeds they run.

use std::time::{Duration, Instant};

/// Names one seed to run alone, as a failed test printed it.
pub const SEED_ENV: &str = "SQUALL_PROPERTY_SEED";
/// Lengthens every property to this many seconds.
pub const SECS_ENV: &str = "SQUALL_PROPERTY_SECS";

/// A small generator (xorshift*): the same seed gives the same program.
pub(super) struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A generator for one task of several.
    pub fn of(seed: u64, task: usize) -> Dice {
        let mut dice = Dice::new(seed ^ (task as u64 + 1) << 32);
        dice.below(2);
        dice
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The seeds that a property runs with: `least` of them in any case, and more while the time of [`SECS_ENV`] lasts;
/// only the one of [`SEED_ENV`] if it is set.
///
/// # Panics
/// If a variable is not a number.
pub fn seeds(least: u64) -> impl Iterator<Item = u64> {
    let number = |name: &str| {
        let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name}={text}: expected a number")))
    };
    let (only, secs) = (number(SEED_ENV), Duration::from_secs(number(SECS_ENV).unwrap_or(0)));
    let begin = Instant::now();
    let first = only.unwrap_or(1);
    (first..).take_while(move |seed| match only {
        Some(only) => *seed == only,
        None => *seed <= least || begin.elapsed() < secs,
    })
}
