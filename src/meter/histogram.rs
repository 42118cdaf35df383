//! A log-linear latency histogram: relative error at most 1/64, whose shards add up.
//!
//! Values are nanoseconds. Below 64 us the buckets are 1 us wide; above, each power of two is cut into 64 equal buckets, so
//! a bucket is at most 1/64 of its value wide. The last one ends at 2^42 ns (73 minutes) and takes everything longer. It is the
//! shape of HdrHistogram (Tene) with a coarser unit; it is ours because a shard has one writer and must be readable meanwhile.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

/// Buckets in each power of two.
const SUB_BUCKETS: u64 = 64;
const SUB_BITS: u32 = 6;
/// Nanoseconds in the finest bucket: 1,024, so that index arithmetic is shifts.
const UNIT_BITS: u32 = 10;
/// Powers of two above the linear part: 2^16 ns (65 us) to 2^42 ns (73 min).
const OCTAVES: usize = 26;
const BUCKETS: usize = (1 << SUB_BITS) * (OCTAVES + 1);

/// Counts with one writer.
pub struct Histogram {
    counts: Box<[AtomicU64]>,
    /// The end of the buckets that have counts: most times lie in a few octaves, and a look need not read the others.
    end: AtomicUsize,
    sum_nanos: AtomicU64,
}

/// A time at which a bucket begins: values from there on can be counted exactly.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Edge(usize);

/// Sums of shards at a moment.
#[derive(Clone, PartialEq, Eq)]
pub struct HistogramSnapshot {
    counts: Vec<u64>,
    sum_nanos: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        let counts = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { counts, end: AtomicUsize::new(0), sum_nanos: AtomicU64::new(0) }
    }
}

impl Default for HistogramSnapshot {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], sum_nanos: 0 }
    }
}

impl Histogram {
    /// Counts one value. Called by the shard's worker alone.
    pub fn record(&self, value: Duration) {
        let nanos = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        let index = index_of(nanos);
        let count = &self.counts[index];
        count.store(count.load(Relaxed) + 1, Relaxed);
        if index >= self.end.load(Relaxed) {
            self.end.store(index + 1, Relaxed);
        }
        self.sum_nanos.store(self.sum_nanos.load(Relaxed).wrapping_add(nanos), Relaxed);
    }

    /// Adds to each sum how many values reach its edge. The edges rise strictly, so that each bucket is read once.
    pub fn add_tails(&self, edges: &[Edge], sums: &mut [u64]) {
        let (mut end, mut tail) = (self.end.load(Relaxed), 0);
        for (edge, sum) in edges.iter().zip(sums).rev() {
            let from = edge.0.min(end);
            tail += self.counts[from..end].iter().map(|count| count.load(Relaxed)).sum::<u64>();
            *sum += tail;
            end = from;
        }
    }

    /// Adds these counts to a sum.
    pub fn add_to(&self, sum: &mut HistogramSnapshot) {
        let end = self.end.load(Relaxed);
        for (total, count) in sum.counts.iter_mut().zip(&self.counts[..end]) {
            *total += count.load(Relaxed);
        }
        sum.sum_nanos = sum.sum_nanos.wrapping_add(self.sum_nanos.load(Relaxed));
    }
}

impl Edge {
    /// The nearest edge that is not below a time; `None` beyond the last bucket's beginning, from where times cannot be told apart.
    pub fn at_or_above(time: Duration) -> Option<Self> {
        let nanos = u64::try_from(time.as_nanos()).ok()?;
        let bucket = index_of(nanos);
        let edge = if lower_edge(bucket) == nanos { bucket } else { bucket + 1 };
        (edge < BUCKETS && nanos <= lower_edge(BUCKETS - 1)).then_some(Self(edge))
    }

    /// The time.
    pub fn time(self) -> Duration {
        Duration::from_nanos(lower_edge(self.0))
    }
}

impl HistogramSnapshot {
    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many values reach an edge.
    pub fn tail(&self, edge: Edge) -> u64 {
        self.counts[edge.0..].iter().sum()
    }

    /// The sum of the values.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos)
    }

    /// What was counted since `earlier`, a snapshot of the same histogram.
    pub fn since(&self, earlier: &Self) -> Self {
        let counts =
            self.counts.iter().zip(&earlier.counts).map(|(now, then)| now.saturating_sub(*then)).collect();
        Self { counts, sum_nanos: self.sum_nanos.wrapping_sub(earlier.sum_nanos) }
    }

    /// The value below or at which a fraction `quantile` (0 to 1) of the values lie: the upper edge of its bucket, so at most
    /// 1/64 (or 1 us) too high. `None` when nothing was counted.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank of 2^53 or more requests would be off by one request"
        )]
        let rank = ((quantile.clamp(0.0, 1.0) * total as f64).ceil() as u64).clamp(1, total);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(Duration::from_nanos(upper_edge(index)));
            }
        }
        None
    }

    /// The non-empty buckets: (upper edge, count), in rising order.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let filled = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(index, count)| (Duration::from_nanos(upper_edge(index)), *count))
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut snapshot = HistogramSnapshot::default();
        self.add_to(&mut snapshot);
        snapshot.fmt(f)
    }
}

impl std::fmt::Debug for HistogramSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.buckets()).finish()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the index is below BUCKETS")]
fn index_of(nanos: u64) -> usize {
    let units = nanos >> UNIT_BITS;
    if units < SUB_BUCKETS {
        return units as usize;
    }
    let octave = 63 - units.leading_zeros() - SUB_BITS;
    let within = (units >> octave) - SUB_BUCKETS;
    ((u64::from(octave + 1) * SUB_BUCKETS + within) as usize).min(BUCKETS - 1)
}

fn lower_edge(index: usize) -> u64 {
    index.checked_sub(1).map_or(0, upper_edge)
}

fn upper_edge(index: usize) -> u64 {
    let index = index as u64;
    let (octave, within) = (index / SUB_BUCKETS, index % SUB_BUCKETS);
    let units = if octave == 0 { within + 1 } else { (SUB_BUCKETS + within + 1) << (octave - 1) };
    units << UNIT_BITS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_value_lies_below_its_buckets_edge_by_at_most_a_64th(nanos in 65_536_u64..(1 << 42)) {
            let edge = upper_edge(index_of(nanos));
            prop_assert!(edge > nanos);
            prop_assert!(edge - nanos <= nanos / 64 + 1, "{nanos} {edge}");
        }

        #[test]
        fn values_that_reach_an_edge_are_counted_exactly(
            values in prop::collection::vec(0_u64..10_000_000_000, 1..100),
            mut times in prop::collection::vec(0_u64..10_000_000_000, 1..5),
        ) {
            let histogram = Histogram::default();
            values.iter().for_each(|nanos| histogram.record(Duration::from_nanos(*nanos)));
            times.sort_unstable();
            let mut edges: Vec<Edge> =
                times.iter().filter_map(|nanos| Edge::at_or_above(Duration::from_nanos(*nanos))).collect();
            prop_assert_eq!(edges.len(), times.len());
            for (edge, nanos) in edges.iter().zip(&times) {
                let found = edge.time().as_nanos();
                prop_assert!(found >= u128::from(*nanos) && found <= u128::from(nanos + nanos / 64 + 1_024));
            }
            edges.dedup();
            let mut tails = vec![0; edges.len()];
            histogram.add_tails(&edges, &mut tails);
            for (edge, tail) in edges.iter().zip(tails) {
                let reach = values.iter().filter(|nanos| u128::from(**nanos) >= edge.time().as_nanos()).count();
                prop_assert_eq!(tail, reach as u64);
                let mut snapshot = HistogramSnapshot::default();
                histogram.add_to(&mut snapshot);
                prop_assert_eq!(snapshot.tail(*edge), tail);
            }
        }

        #[test]
        fn shards_add_up_to_the_histogram_of_all_values(values in prop::collection::vec(0_u64..10_000_000_000, 1..200)) {
            let (all, left, right) = (Histogram::default(), Histogram::default(), Histogram::default());
            for (place, nanos) in values.iter().enumerate() {
                all.record(Duration::from_nanos(*nanos));
                if place % 2 == 0 { &left } else { &right }.record(Duration::from_nanos(*nanos));
            }
            let (mut whole, mut sum) = (HistogramSnapshot::default(), HistogramSnapshot::default());
            all.add_to(&mut whole);
            left.add_to(&mut sum);
            right.add_to(&mut sum);
            prop_assert_eq!(whole, sum);
        }
    }

    #[test]
    fn quantiles_of_a_known_set_are_found() {
        let histogram = Histogram::default();
        for millis in 1..=1000 {
            histogram.record(Duration::from_millis(millis));
        }
        let mut snapshot = HistogramSnapshot::default();
        histogram.add_to(&mut snapshot);
        for (quantile, millis) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = snapshot.quantile(quantile).unwrap().as_secs_f64() * 1000.0;
            assert!((millis..=millis * (1.0 + 1.0 / 64.0)).contains(&found), "{quantile} {found}");
        }
        assert_eq!(HistogramSnapshot::default().quantile(0.5), None);
    }

    #[test]
    fn times_beyond_the_last_buckets_beginning_have_no_edge() {
        let last = Duration::from_nanos(lower_edge(BUCKETS - 1));
        assert_eq!(Edge::at_or_above(last).map(Edge::time), Some(last));
        for beyond in [last + Duration::from_nanos(1), Duration::from_nanos(1 << 42), Duration::MAX] {
            assert_eq!(Edge::at_or_above(beyond), None);
        }
    }

    #[test]
    fn what_is_longer_than_the_range_lands_in_the_last_bucket() {
        assert_eq!(index_of(u64::MAX), BUCKETS - 1);
        assert_eq!(index_of(0), 0);
    }
}
