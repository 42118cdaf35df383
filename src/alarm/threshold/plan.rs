//! Threshold alarms as a plan states them.

use std::time::Duration;

use super::{Comparison, LowSamples, MissingData, ThresholdRule};
use crate::{alarm::Statistic, name::VariantName};

/// A threshold alarm of a plan.
#[derive(Clone, PartialEq, Debug)]
pub struct Threshold {
    /// Unique among the shift's alarms.
    pub name: String,
    /// The one of green's variants that it looks at; `None` for all of them together.
    pub variant: Option<VariantName>,
    /// What of green is measured in each period.
    pub measure: Measure,
    /// On which side of the bound a period breaches.
    pub comparison: Comparison,
    /// The bound, of the kind that the measure has (checked by `config`).
    pub bound: Bound,
    /// How long a period is, from a second.
    pub period: Duration,
    /// N: how many datapoints are evaluated; at least 1.
    pub periods: usize,
    /// M: how many of them must breach; from 1 to N.
    pub datapoints: usize,
    /// What stands in for missing datapoints.
    pub missing: MissingData,
    /// What a percentile of few samples does.
    pub low_samples: LowSamples,
}

/// What of green is measured in a period.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Measure {
    /// The times of complete answers, from dispatch to the last byte.
    Latency(Statistic),
    /// The times from dispatch to the answer's head.
    FirstByte(Statistic),
    /// The times from dispatch to the first token of streams.
    FirstToken(Statistic),
    /// The times from one token of a stream to the next, every gap of every stream.
    TokenGap(Statistic),
    /// Failures per request that ended in a way that tells something.
    ErrorRate,
    /// Answers that blame the client, per such request.
    ClientErrorRate,
    /// Requests dealt.
    Requests,
    /// Failures.
    Failures,
}

/// A bound, and so the unit of what is compared with it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Bound {
    /// A time.
    Time(Duration),
    /// A fraction of requests, 0 to 1.
    Fraction(f64),
    /// A number of requests.
    Count(u64),
}

/// What kind of bound a measure has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// [`Bound::Time`].
    Time,
    /// [`Bound::Fraction`].
    Fraction,
    /// [`Bound::Count`].
    Count,
}

impl Threshold {
    /// The rule that its datapoints are evaluated by.
    pub fn rule(&self) -> ThresholdRule {
        ThresholdRule {
            statistic: match self.measure {
                Measure::Latency(statistic)
                | Measure::FirstByte(statistic)
                | Measure::FirstToken(statistic)
                | Measure::TokenGap(statistic) => statistic,
                Measure::ErrorRate | Measure::ClientErrorRate => Statistic::Average,
                Measure::Requests | Measure::Failures => Statistic::Sum,
            },
            comparison: self.comparison,
            bound: self.bound.value(),
            periods: self.periods,
            datapoints: self.datapoints,
            missing: self.missing,
            low_samples: self.low_samples,
        }
    }

    /// The shortest time in which it can be raised.
    pub fn shortest(&self) -> Duration {
        self.period.saturating_mul(u32::try_from(self.datapoints).unwrap_or(u32::MAX))
    }
}

impl Measure {
    /// What its values are.
    pub fn unit(self) -> Unit {
        match self {
            Self::Latency(statistic)
            | Self::FirstByte(statistic)
            | Self::FirstToken(statistic)
            | Self::TokenGap(statistic) => statistic.unit(),
            Self::ErrorRate | Self::ClientErrorRate => Unit::Fraction,
            Self::Requests | Self::Failures => Unit::Count,
        }
    }

    /// Whether its values come from streams that are read.
    pub fn is_of_tokens(self) -> bool {
        match self {
            Self::FirstToken(_) | Self::TokenGap(_) => true,
            Self::Latency(_)
            | Self::FirstByte(_)
            | Self::ErrorRate
            | Self::ClientErrorRate
            | Self::Requests
            | Self::Failures => false,
        }
    }
}

impl Bound {
    /// In seconds, as a fraction, or as a number of requests.
    pub fn value(self) -> f64 {
        match self {
            Self::Time(time) => time.as_secs_f64(),
            Self::Fraction(fraction) => fraction,
            Self::Count(count) => count as f64,
        }
    }
}

impl Comparison {
    /// `above`, `at_least`, `below` or `at_most`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Above => "above",
            Self::AtLeast => "at_least",
            Self::Below => "below",
            Self::AtMost => "at_most",
        }
    }

    /// How near a value is to breaching a bound: 0 to 1, and 1 only where it breaches. Of a bound of zero, and of values on its other side,
    /// there is no saying, which reads as 0.
    pub fn nearness(self, value: f64, bound: f64) -> f64 {
        let near = match self {
            Self::Above | Self::AtLeast => value / bound,
            Self::Below | Self::AtMost => bound / value,
        };
        if self.breaches(value, bound) {
            1.0
        } else if near.is_finite() {
            near.clamp(0.0, 0.99)
        } else {
            0.0
        }
    }
}

impl MissingData {
    /// `missing`, `ignore`, `breaching` or `not_breaching`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Ignore => "ignore",
            Self::Breaching => "breaching",
            Self::NotBreaching => "not_breaching",
        }
    }
}

impl LowSamples {
    /// `evaluate` or `ignore`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Evaluate => "evaluate",
            Self::Ignore => "ignore",
        }
    }
}
