//! CloudWatch's statistics, made of a histogram or of whatever else keeps samples in order.
//!
//! Values of a histogram are exact where it keeps them exactly (counts and sums); all others come from the buckets' upper edges and are at
//! most 1/64, or 1 us, too high. Percentile rank is absent: what it tells, the fraction of values beyond a bound, is what a guard on a
//! quantile judges, exactly.

use super::Unit;
use crate::meter::HistogramSnapshot;

/// What is made of a period's samples.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Statistic {
    /// Sum over count.
    Average,
    /// The sum.
    Sum,
    /// The least value.
    Minimum,
    /// The greatest value.
    Maximum,
    /// How many samples there were.
    SampleCount,
    /// The value at this quantile, above 0 and below 1: `p99`.
    Percentile(f64),
    /// The average of the samples between two quantiles: `tm90` is from 0 to 0.9, the interquartile mean from 0.25 to 0.75.
    TrimmedMean(Trim),
    /// The average, with the samples outside two quantiles moved to them: `wm98`.
    WinsorizedMean(Trim),
    /// How many samples are between two quantiles: `tc90`.
    TrimmedCount(Trim),
    /// The sum of the samples between two quantiles: `ts90`.
    TrimmedSum(Trim),
}

/// Samples that a statistic is made of. Times are in seconds.
pub trait Samples {
    /// How many there are.
    fn count(&self) -> f64;

    /// Their sum.
    fn sum(&self) -> f64;

    /// The least of them; `None` when there are none, as of the next two.
    fn least(&self) -> Option<f64>;

    /// The greatest of them.
    fn greatest(&self) -> Option<f64>;

    /// The value below or at which a fraction of them lie.
    fn quantile(&self, quantile: f64) -> Option<f64>;

    /// Values and how many samples have each, in rising order.
    fn values(&self) -> impl Iterator<Item = (f64, f64)> + '_;
}

/// Two quantiles, the lower from 0, the higher up to 1.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Trim {
    /// Samples below this are cut off.
    pub from: f64,
    /// Samples above this are cut off.
    pub to: f64,
}

impl Statistic {
    /// The value for these samples: in their own unit, or a number of samples; `None` when there are none.
    pub fn of(self, samples: &impl Samples) -> Option<f64> {
        let all = samples.count();
        if all <= 0.0 {
            return None;
        }
        match self {
            Self::Average => Some(samples.sum() / all),
            Self::Sum => Some(samples.sum()),
            Self::Minimum => samples.least(),
            Self::Maximum => samples.greatest(),
            Self::SampleCount => Some(all),
            Self::Percentile(quantile) => samples.quantile(quantile),
            Self::TrimmedMean(trim) => {
                let (kept, sum) = trim.keep(samples);
                (kept > 0.0).then(|| sum / kept)
            }
            Self::TrimmedCount(trim) => Some(trim.keep(samples).0),
            Self::TrimmedSum(trim) => Some(trim.keep(samples).1),
            Self::WinsorizedMean(trim) => {
                let (_, sum) = trim.keep(samples);
                let (low, high) = (samples.quantile(trim.from)?, samples.quantile(trim.to)?);
                Some(sum / all + trim.from * low + (1.0 - trim.to) * high)
            }
        }
    }

    /// What its value is, made of times.
    pub fn unit(self) -> Unit {
        match self {
            Self::SampleCount | Self::TrimmedCount(_) => Unit::Count,
            Self::Average
            | Self::Sum
            | Self::Minimum
            | Self::Maximum
            | Self::Percentile(_)
            | Self::TrimmedMean(_)
            | Self::WinsorizedMean(_)
            | Self::TrimmedSum(_) => Unit::Time,
        }
    }

    /// For a percentile, the number of samples below which it says little: ten of them should lie beyond it.
    pub fn telling_samples(self) -> Option<f64> {
        match self {
            // A hair off, since 10 / (1 - 0.99) is 999.999... in doubles.
            Self::Percentile(quantile) => Some((10.0 / quantile.min(1.0 - quantile) - 1e-6).ceil()),
            Self::Average
            | Self::Sum
            | Self::Minimum
            | Self::Maximum
            | Self::SampleCount
            | Self::TrimmedMean(_)
            | Self::WinsorizedMean(_)
            | Self::TrimmedCount(_)
            | Self::TrimmedSum(_) => None,
        }
    }
}

impl Trim {
    /// How many samples lie between the quantiles, and their sum. A bucket that a quantile cuts is kept in part.
    fn keep(self, samples: &impl Samples) -> (f64, f64) {
        let all = samples.count();
        let (from, to) = (self.from * all, self.to * all);
        let (mut seen, mut kept, mut sum) = (0.0_f64, 0.0, 0.0);
        for (value, count) in samples.values() {
            let next = seen + count;
            let part = (next.min(to) - seen.max(from)).max(0.0);
            kept += part;
            sum += part * value;
            seen = next;
        }
        (kept, sum)
    }
}

impl Samples for HistogramSnapshot {
    fn count(&self) -> f64 {
        self.count() as f64
    }

    fn sum(&self) -> f64 {
        self.sum().as_secs_f64()
    }

    fn least(&self) -> Option<f64> {
        self.buckets().next().map(|(edge, _)| edge.as_secs_f64())
    }

    fn greatest(&self) -> Option<f64> {
        Samples::quantile(self, 1.0)
    }

    fn quantile(&self, quantile: f64) -> Option<f64> {
        self.quantile(quantile).map(|span| span.as_secs_f64())
    }

    fn values(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.buckets().map(|(edge, count)| (edge.as_secs_f64(), count as f64))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::meter::Histogram;

    fn millis(values: impl IntoIterator<Item = u64>) -> HistogramSnapshot {
        let (histogram, mut snapshot) = (Histogram::default(), HistogramSnapshot::default());
        values.into_iter().for_each(|value| histogram.record(Duration::from_millis(value)));
        histogram.add_to(&mut snapshot);
        snapshot
    }

    #[test]
    fn every_statistic_of_a_known_set_is_right_to_a_64th() {
        let samples = millis(1..=100);
        let trim = |from, to| Trim { from, to };
        for (statistic, expected) in [
            (Statistic::Average, 0.0505),
            (Statistic::Sum, 5.05),
            (Statistic::Minimum, 0.001),
            (Statistic::Maximum, 0.1),
            (Statistic::SampleCount, 100.0),
            (Statistic::Percentile(0.9), 0.09),
            (Statistic::TrimmedMean(trim(0.0, 0.9)), 0.0455),
            (Statistic::TrimmedMean(trim(0.25, 0.75)), 0.0505),
            (Statistic::TrimmedCount(trim(0.1, 0.9)), 80.0),
            (Statistic::TrimmedSum(trim(0.0, 0.1)), 0.055),
            (Statistic::WinsorizedMean(trim(0.0, 0.9)), 0.04995),
        ] {
            let found = statistic.of(&samples).unwrap();
            assert!(
                (expected - 1e-12..=expected * (1.0 + 1.0 / 64.0) + 1e-12).contains(&found),
                "{statistic:?}: {found}"
            );
        }
    }

    #[test]
    fn without_samples_no_statistic_has_a_value() {
        for statistic in [Statistic::Average, Statistic::SampleCount, Statistic::Percentile(0.5)] {
            assert_eq!(statistic.of(&millis([])), None);
        }
    }
}
