//! Percentiles of one load, and the spread over runs.

/// The value below which `share` (0 to 1) of the sorted values lie, by nearest rank; 0 of none.
#[must_use]
pub fn percentile(sorted: &[u64], share: f64) -> u64 {
    let last = sorted.len().saturating_sub(1);
    let rank = (last as f64 * share.clamp(0.0, 1.0)).round() as usize;
    sorted.get(rank).copied().unwrap_or(0)
}

/// Least, middle and greatest of some runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Least.
    pub min: f64,
    /// Middle; the mean of the two middle ones of an even number.
    pub median: f64,
    /// Greatest.
    pub max: f64,
}

impl Spread {
    /// The spread of these values, if there are any.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let (low, high) = (*sorted.get((sorted.len() - 1) / 2)?, *sorted.get(sorted.len() / 2)?);
        Some(Self { min, median: f64::midpoint(low, high), max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let values: Vec<u64> = (1..=101).collect();
        for (share, expected) in [(0.0, 1), (0.5, 51), (0.99, 100), (1.0, 101), (7.0, 101)] {
            assert_eq!(percentile(&values, share), expected, "{share}");
        }
        assert_eq!(percentile(&[], 0.5), 0);
        assert_eq!(percentile(&[7], 0.99), 7);
    }

    #[test]
    fn spread_takes_runs_in_any_order() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(Spread::of(&[4.0, 1.0]), Some(Spread { min: 1.0, median: 2.5, max: 4.0 }));
    }
}
