//! Statistics by the names that CloudWatch gives them
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html>).
//!
//! What is between two percentiles is made by [`Statistic`]; what is between two values, and the percentile rank, is made here.

use super::Distribution;
use crate::alarm::{Samples, Statistic, Trim};

/// A statistic.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Stat {
    /// One that alarms of plans have too.
    Of(Statistic),
    /// Of the samples above one value and up to another: `TM(100:200)`.
    Between(Kind, Bounds),
    /// Which part of the samples is between two values, in percent: `PR(:100)`.
    Rank(Bounds),
}

/// What is made of samples between two values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `TM`
    Mean,
    /// `TC`
    Count,
    /// `TS`
    Sum,
    /// `WM`: those outside count as if they were at the bounds.
    Winsorized,
}

/// Above the first and up to the second.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bounds {
    /// `-inf` where there is none.
    pub above: f64,
    /// `inf` where there is none.
    pub to: f64,
}

const PLAIN: [(&str, Statistic); 5] = [
    ("SampleCount", Statistic::SampleCount),
    ("Average", Statistic::Average),
    ("Sum", Statistic::Sum),
    ("Minimum", Statistic::Minimum),
    ("Maximum", Statistic::Maximum),
];

const KINDS: [(&str, Kind); 4] =
    [("TM", Kind::Mean), ("TC", Kind::Count), ("TS", Kind::Sum), ("WM", Kind::Winsorized)];

impl Stat {
    /// The statistic of this name.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some((_, statistic)) = PLAIN.iter().find(|(plain, _)| *plain == name) {
            return Some(Self::Of(*statistic));
        }
        if name.eq_ignore_ascii_case("IQM") {
            return Some(Self::Of(Statistic::TrimmedMean(Trim { from: 0.25, to: 0.75 })));
        }
        let (head, rest) = name.split_at_checked(2)?;
        if head.eq_ignore_ascii_case("PR") {
            return Bounds::parse(rest).map(Self::Rank);
        }
        if let Some((_, kind)) = KINDS.iter().find(|(word, _)| head.eq_ignore_ascii_case(word)) {
            return kind.parse(rest);
        }
        let percent = name.strip_prefix('p').and_then(percentage)?;
        Some(Self::Of(match percent {
            percent if percent <= 0.0 => Statistic::Minimum,
            percent if percent >= 1.0 => Statistic::Maximum,
            percent => Statistic::Percentile(percent),
        }))
    }

    /// Whether it is one of the five that alarms name in `Statistic`, not in `ExtendedStatistic`.
    pub fn is_plain(name: &str) -> bool {
        PLAIN.iter().any(|(plain, _)| *plain == name)
    }

    /// The value for these samples; `None` where it needs values that nobody knows, or there are none between the bounds.
    pub fn of(self, samples: &Distribution) -> Option<f64> {
        let needs_values = match self {
            Self::Of(Statistic::Average | Statistic::Sum | Statistic::Minimum)
            | Self::Of(Statistic::Maximum | Statistic::SampleCount) => false,
            Self::Of(
                Statistic::Percentile(_)
                | Statistic::TrimmedMean(_)
                | Statistic::WinsorizedMean(_)
                | Statistic::TrimmedCount(_)
                | Statistic::TrimmedSum(_),
            )
            | Self::Between(..)
            | Self::Rank(_) => true,
        };
        if needs_values && !samples.has_values() {
            return None;
        }
        match self {
            Self::Of(statistic) => statistic.of(samples),
            Self::Between(kind, bounds) => kind.of(samples, bounds),
            Self::Rank(bounds) => Some(100.0 * bounds.keep(samples).0 / samples.count()),
        }
    }

    /// The statistic that alarms' rules know it by: it says how many samples a percentile needs.
    pub fn in_rules(self) -> Statistic {
        match self {
            Self::Of(statistic) => statistic,
            Self::Between(..) | Self::Rank(_) => Statistic::Average,
        }
    }
}

impl Kind {
    fn parse(self, rest: &str) -> Option<Stat> {
        let trim = |from, to| {
            let trim = Trim { from, to };
            Stat::Of(match self {
                Self::Mean => Statistic::TrimmedMean(trim),
                Self::Count => Statistic::TrimmedCount(trim),
                Self::Sum => Statistic::TrimmedSum(trim),
                Self::Winsorized => Statistic::WinsorizedMean(trim),
            })
        };
        if let Some(to) = percentage(rest) {
            return (to > 0.0).then(|| trim(0.0, to));
        }
        if !rest.contains('%') {
            return Bounds::parse(rest).map(|bounds| Stat::Between(self, bounds));
        }
        let (from, to) = within(rest)?;
        let part = |text: &str, open: f64| match text {
            "" => Some(open),
            text => text.strip_suffix('%').and_then(percentage),
        };
        let (from, to) = (part(from, 0.0)?, part(to, 1.0)?);
        (from < to).then(|| trim(from, to))
    }

    fn of(self, samples: &Distribution, bounds: Bounds) -> Option<f64> {
        let (kept, sum) = bounds.keep(samples);
        match self {
            Self::Mean => (kept > 0.0).then(|| sum / kept),
            Self::Count => Some(kept),
            Self::Sum => Some(sum),
            Self::Winsorized => {
                let moved = samples.values().map(|(value, count)| {
                    count * value.clamp(bounds.above.max(f64::MIN), bounds.to.min(f64::MAX))
                });
                Some(moved.sum::<f64>() / samples.count())
            }
        }
    }
}

impl Bounds {
    /// `(100:200)`, `(100:)` or `(:200)`.
    fn parse(text: &str) -> Option<Self> {
        let (above, to) = within(text)?;
        if above.is_empty() && to.is_empty() {
            return None;
        }
        let part = |text: &str, open| match text {
            "" => Some(open),
            text => number(text),
        };
        let bounds = Self { above: part(above, f64::NEG_INFINITY)?, to: part(to, f64::INFINITY)? };
        (bounds.above < bounds.to).then_some(bounds)
    }

    fn keep(self, samples: &Distribution) -> (f64, f64) {
        let inside = samples.values().filter(|(value, _)| *value > self.above && *value <= self.to);
        inside.fold((0.0, 0.0), |(kept, sum), (value, count)| (kept + count, sum + value * count))
    }
}

fn within(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('(')?.strip_suffix(')')?.split_once(':')
}

/// `99.9` as a fraction.
fn percentage(text: &str) -> Option<f64> {
    number(text).filter(|percent| (0.0..=100.0).contains(percent)).map(|percent| percent / 100.0)
}

/// Digits and a point: what else Rust reads as a number, such as `inf`, is none here.
fn number(text: &str) -> Option<f64> {
    let is_plain = text.len() <= 24 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    is_plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_guide_is_read_and_others_are_not() {
        let samples = Distribution::of((1..=100).map(|value| (f64::from(value), 1.0))).unwrap();
        for (name, expected) in [
            ("Average", 50.5),
            ("Sum", 5_050.0),
            ("SampleCount", 100.0),
            ("p0", 1.0),
            ("p50", 50.0),
            ("p99.9", 100.0),
            ("p100", 100.0),
            ("tm90", 45.5),
            ("TM(10%:90%)", 50.5),
            ("TM(:50%)", 25.5),
            ("TM(10:20)", 15.5),
            ("tc90", 90.0),
            ("TC(10:20)", 10.0),
            ("ts10", 55.0),
            ("TS(:10)", 55.0),
            ("IQM", 50.5),
            ("PR(:20)", 20.0),
            ("PR(20:30)", 10.0),
            ("PR(90:)", 10.0),
            ("WM(:50)", 37.75),
        ] {
            let found = Stat::parse(name).unwrap().of(&samples).unwrap();
            assert!((found - expected).abs() < 1.0, "{name}: {found}, not {expected}");
        }
        let winsorized = Stat::parse("wm98").unwrap().of(&samples).unwrap();
        assert!((winsorized - 50.47).abs() < 0.2, "{winsorized}");
        for bad in [
            "",
            "p",
            "p101",
            "pinf",
            "p-1",
            "tm",
            "tm0",
            "TM()",
            "TM(:)",
            "TM(90%:10%)",
            "TM(10%:20)",
            "PR(5:5)",
            "PR(a:b)",
            "average",
            "xx",
        ] {
            assert_eq!(Stat::parse(bad), None, "{bad}");
        }
    }
}
