//! What the samples of a span of time come to.
//!
//! Count, sum, least and greatest value are exact. The values themselves are kept to eight binary digits (an error of at most 1/512), and where
//! there are more than [`MOST_VALUES`] different ones, to so many fewer that they fit: percentiles and what is trimmed by them are as exact as
//! that. Somebody who puts a set of statistics says nothing of its values, so there are no percentiles of it, as with CloudWatch.

use serde::{Deserialize, Serialize};

use crate::alarm::Samples;

/// How many different values one has: with three digits, the latencies of a minute fit.
const MOST_VALUES: usize = 96;

/// Binary digits that a value is kept to at first: the leading one is not written.
const DIGITS: u32 = 7;
const MANTISSA_BITS: u32 = 23;

/// The samples of a span of time; never empty.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Distribution {
    count: f64,
    sum: f64,
    least: f64,
    greatest: f64,
    /// Value and count, in rising order; `None` where they are not known.
    values: Option<Vec<(f32, f32)>>,
}

/// What somebody else has made of samples.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct StatisticSet {
    /// How many.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
}

impl Distribution {
    /// Of values with their counts; `None` without a sample. What is no finite number is no sample.
    pub fn of(values: impl IntoIterator<Item = (f64, f64)>) -> Option<Self> {
        let mut kept: Vec<(f32, f32)> = Vec::new();
        let mut whole: Option<Self> = None;
        for (value, count) in values {
            if !(value.is_finite() && count.is_finite() && count > 0.0) {
                continue;
            }
            kept.push((rounded(value, DIGITS), narrow(count)));
            let one =
                Self { count, sum: value * count, least: value, greatest: value, values: Some(Vec::new()) };
            match &mut whole {
                Some(whole) => whole.add_totals(&one),
                None => whole = Some(one),
            }
        }
        let mut whole = whole?;
        kept.sort_by(|left, right| left.0.total_cmp(&right.0));
        whole.values = Some(fitted(joined(kept)));
        Some(whole)
    }

    /// Of a set whose values nobody knows, unless they are all the same.
    pub fn of_set(set: StatisticSet) -> Option<Self> {
        let StatisticSet { count, sum, least, greatest } = set;
        if least.total_cmp(&greatest).is_eq() {
            return Self::of([(least, count)]);
        }
        let is_sound = [count, sum, least, greatest].into_iter().all(f64::is_finite) && count > 0.0;
        is_sound.then_some(Self { count, sum, least, greatest, values: None })
    }

    /// The same with a sum that is known better than from the values.
    pub fn with_sum(mut self, sum: f64) -> Self {
        self.sum = sum;
        self
    }

    /// Adds the samples of another.
    pub fn add(&mut self, other: &Self) {
        self.add_totals(other);
        self.values = match (self.values.take(), &other.values) {
            (Some(mine), Some(theirs)) => {
                let mut all = mine;
                all.extend_from_slice(theirs);
                all.sort_by(|left, right| left.0.total_cmp(&right.0));
                Some(fitted(joined(all)))
            }
            (Some(_) | None, _) => None,
        };
    }

    /// Whether its values are known, as percentiles need.
    pub fn has_values(&self) -> bool {
        self.values.is_some()
    }

    /// How many pairs it keeps, as a measure of its size.
    pub(super) fn pairs(&self) -> usize {
        self.values.as_ref().map_or(0, Vec::len)
    }

    fn add_totals(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }
}

impl Samples for Distribution {
    fn count(&self) -> f64 {
        self.count
    }

    fn sum(&self) -> f64 {
        self.sum
    }

    fn least(&self) -> Option<f64> {
        Some(self.least)
    }

    fn greatest(&self) -> Option<f64> {
        Some(self.greatest)
    }

    fn quantile(&self, quantile: f64) -> Option<f64> {
        let rank = quantile.clamp(0.0, 1.0) * self.count;
        let mut seen = 0.0;
        for (value, count) in self.values() {
            seen += count;
            // A hair off, since counts are summed up in doubles.
            if seen >= rank - 1e-9 * self.count {
                return Some(value);
            }
        }
        self.has_values().then_some(self.greatest)
    }

    /// Rounding never leads beyond the least and the greatest.
    fn values(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let values = self.values.iter().flatten();
        values.map(|(value, count)| (f64::from(*value).clamp(self.least, self.greatest), f64::from(*count)))
    }
}

/// To the nearest number of so many binary digits.
fn rounded(value: f64, digits: u32) -> f32 {
    let bits = narrow(value).to_bits();
    let dropped = MANTISSA_BITS - digits;
    let half = 1_u32 << (dropped - 1);
    let rounded = f32::from_bits(bits.saturating_add(half) >> dropped << dropped);
    if rounded.is_finite() { rounded } else { f32::from_bits(bits >> dropped << dropped) }
}

/// What is beyond the range of a `f32` ends at its end.
fn narrow(value: f64) -> f32 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "digits are lost on purpose, and the range is bounded"
    )]
    let narrow = value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
    narrow
}

/// Pairs of the same value as one.
fn joined(sorted: Vec<(f32, f32)>) -> Vec<(f32, f32)> {
    let mut joined: Vec<(f32, f32)> = Vec::with_capacity(sorted.len().min(MOST_VALUES));
    for (value, count) in sorted {
        match joined.last_mut() {
            Some((last, sum)) if last.total_cmp(&value).is_eq() => *sum += count,
            Some(_) | None => joined.push((value, count)),
        }
    }
    joined
}

/// With as many digits as leave few enough different values. Numbers of no digit at all are the powers of two: some five hundred, of which
/// the greatest magnitudes stay apart last.
fn fitted(mut values: Vec<(f32, f32)>) -> Vec<(f32, f32)> {
    for digits in (1..DIGITS).rev() {
        if values.len() <= MOST_VALUES {
            return values;
        }
        for (value, _) in &mut values {
            *value = rounded(f64::from(*value), digits);
        }
        values = joined(values);
    }
    while values.len() > MOST_VALUES {
        let pairs = values.chunks(2).map(|pair| match *pair {
            [(_, one), (value, two)] => (value, one + two),
            [single] => single,
            _ => (0.0, 0.0),
        });
        values = pairs.collect();
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarm::Statistic;

    #[test]
    fn totals_are_exact_and_percentiles_as_exact_as_eight_digits() {
        let many = Distribution::of((1..=10_000).map(|value| (f64::from(value) * 0.37, 1.0))).unwrap();
        assert!(many.pairs() <= MOST_VALUES);
        assert_eq!((many.count(), many.least(), many.greatest()), (10_000.0, Some(0.37), Some(3_700.0)));
        let p99 = Statistic::Percentile(0.99).of(&many).unwrap();
        assert!((p99 / 3_663.0 - 1.0).abs() < 0.04, "{p99}");
        let few = Distribution::of([(12_345.0, 3.0), (1.0, 1.0)]).unwrap();
        assert_eq!(Statistic::Percentile(0.5).of(&few), Some(12_345.0), "never beyond the greatest");
        assert_eq!(Statistic::Average.of(&few), Some((3.0 * 12_345.0 + 1.0) / 4.0));
    }

    #[test]
    fn a_sum_of_distributions_is_the_distribution_of_all() {
        let mut one = Distribution::of([(0.0, 9.0), (1.0, 1.0)]).unwrap();
        one.add(&Distribution::of([(1.0, 10.0)]).unwrap());
        assert_eq!(one, Distribution::of([(0.0, 9.0), (1.0, 11.0)]).unwrap());
        let set = StatisticSet { count: 2.0, sum: 3.0, least: 1.0, greatest: 2.0 };
        one.add(&Distribution::of_set(set).unwrap());
        assert_eq!((one.count(), one.has_values(), Statistic::Percentile(0.5).of(&one)), (22.0, false, None));
        let same = StatisticSet { count: 2.0, sum: 4.0, least: 2.0, greatest: 2.0 };
        assert!(Distribution::of_set(same).unwrap().has_values());
    }

    #[test]
    fn what_is_no_number_is_no_sample_and_extremes_stay_finite() {
        assert_eq!(Distribution::of([(f64::NAN, 1.0), (1.0, 0.0), (2.0, -1.0), (f64::INFINITY, 1.0)]), None);
        let wide = Distribution::of((0..600).map(|power| (2_f64.powi(power - 300), 1.0))).unwrap();
        assert!(wide.pairs() <= MOST_VALUES);
        let negative = Distribution::of([(-1e300, 1.0), (-5.0, 1.0), (1e300, 1.0)]).unwrap();
        assert!(negative.values().all(|(value, _)| value.is_finite()));
        assert_eq!((negative.least(), negative.quantile(0.4)), (Some(-1e300), Some(-5.0)));
    }
}
