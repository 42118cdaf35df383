//! The buckets in which latencies are exported.

use std::time::Duration;

use crate::meter::HistogramSnapshot;

/// Upper bounds in seconds: 1 ms to 600 s, the range from a small model's answer to the longest non-streaming one.
///
/// Six in each power of ten, no more than 1.67 times the one before, so a quantile read from them (interpolated inside a bucket)
/// is off by a fifth or so at most; and the round numbers that objectives are written in (250 ms, 500 ms, 2.5 s, 5 s) are bounds,
/// where nothing is interpolated. 36 bounds make 39 series for each histogram, fleet and endpoint; fewer than four in a power of ten
/// would leave p99 to a factor of two, and a hundred endpoints with ten in each would be the largest thing a small Prometheus scrapes.
pub(super) const BOUNDS: [f64; 36] = [
    0.001, 0.0015, 0.0025, 0.0035, 0.005, 0.007, 0.01, 0.015, 0.025, 0.035, 0.05, 0.07, 0.1, 0.15, 0.25,
    0.35, 0.5, 0.7, 1.0, 1.5, 2.5, 3.5, 5.0, 7.0, 10.0, 15.0, 25.0, 35.0, 50.0, 70.0, 100.0, 150.0, 250.0,
    350.0, 500.0, 600.0,
];

/// Latencies counted by [`BOUNDS`]. The meters' own buckets are far finer; one that straddles a bound goes above it, so a
/// bound is off by 1/64 at most.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Buckets {
    counts: [u64; BOUNDS.len() + 1],
    sum: Duration,
}

impl Default for Buckets {
    fn default() -> Self {
        Self { counts: [0; BOUNDS.len() + 1], sum: Duration::ZERO }
    }
}

impl Buckets {
    /// Adds what was counted in a snapshot, or in the difference of two.
    pub(super) fn add(&mut self, counted: &HistogramSnapshot) {
        let mut place = 0;
        for (edge, count) in counted.buckets() {
            while BOUNDS.get(place).is_some_and(|bound| edge.as_secs_f64() > *bound) {
                place += 1;
            }
            self.counts[place] += count;
        }
        self.sum = self.sum.saturating_add(counted.sum());
    }

    /// For each bound, how many latencies lie at or below it.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = u64> + '_ {
        self.counts.iter().take(BOUNDS.len()).scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        })
    }

    /// All latencies.
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum.
    pub(super) fn sum(&self) -> Duration {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::meter::Histogram;

    fn snapshot(nanos: &[u64]) -> HistogramSnapshot {
        let (histogram, mut snapshot) = (Histogram::default(), HistogramSnapshot::default());
        for value in nanos {
            histogram.record(Duration::from_nanos(*value));
        }
        histogram.add_to(&mut snapshot);
        snapshot
    }

    #[test]
    fn bounds_rise_by_at_most_two_thirds_and_are_four_or_more_in_a_power_of_ten() {
        assert!(BOUNDS.windows(2).all(|pair| pair[0] < pair[1] && pair[1] <= pair[0] * 1.67));
        for start in [0.001, 0.01, 0.1, 1.0, 10.0] {
            assert!(BOUNDS.iter().filter(|bound| (start..start * 10.0).contains(*bound)).count() >= 4);
        }
    }

    proptest! {
        #[test]
        fn a_value_lands_at_its_bound_or_one_64th_late(nanos in prop::collection::vec(0_u64..800_000_000_000, 1..100)) {
            let mut buckets = Buckets::default();
            buckets.add(&snapshot(&nanos));
            for (bound, found) in BOUNDS.iter().zip(buckets.cumulative()) {
                let below = |limit: f64| nanos.iter().filter(|value| **value as f64 / 1e9 <= limit).count() as u64;
                prop_assert!(found <= below(*bound), "{bound}: {found}");
                prop_assert!(found >= below(*bound * (1.0 - 1.0 / 32.0) - 2e-6), "{bound}: {found}");
            }
            prop_assert_eq!(buckets.count(), nanos.len() as u64);
        }
    }
}
