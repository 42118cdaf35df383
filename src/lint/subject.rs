//! What each alarm of a plan judges, and the test that forecasts it.

use std::time::Duration;

use super::{Situation, Traffic};
use crate::{
    alarm::{
        self, AlarmPlan, External, Guard, GuardBound, Measure, QUANTILES, Regression, RegressionBound,
        RegressionOutlook, Threshold, Tolerance,
    },
    meter::{Edge, HistogramSnapshot, Timing},
};

/// Of the quantiles that a latency regression compares together, the one that it is forecast at: p95 finds most kinds of slowness.
const FORECAST_QUANTILE: f64 = 0.95;

/// How many times the permitted rate the stated effect is. A green five times as bad as its bound is one that no operator wants to see in
/// the next step; one that is twice as bad takes ten times the requests, and most plans leave it to the last bake.
const EFFECT: f64 = 5.0;

/// And at least so much above it: against a blue that fails hardly ever, five times is still hardly ever.
const LEAST_EFFECT: f64 = 0.01;

/// One alarm.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// How many failures count as one.
    pub(super) burst: f64,
    /// Whether the plan says so itself.
    pub(super) states_burst: bool,
    /// The evidence in nats at which it is raised.
    pub(super) threshold: f64,
}

/// What an alarm judges.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Kind {
    /// Green's rate of failures against a bound.
    Failures { below: f64 },
    /// A quantile of green's times against a bound.
    Times { timing: Timing, permitted: f64, below: Duration },
    /// Green's rate of failures, or of answers that blame the client, against blue's.
    FailuresAgainstBlue { blue_rate: f64, tolerance: Tolerance },
    /// Green's times against one of blue's quantiles, which blue's answers exceed at this rate.
    TimesAgainstBlue { timing: Timing, blue_rate: f64, ratio: f64 },
    /// A threshold on periods of green, which can be raised after so long a time and promises no probabilities.
    Periods { shortest: Duration, period: Duration, topic: Topic },
    /// What somebody else watches and reports.
    Reported,
}

/// What an alarm is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Topic {
    /// Requests that fail.
    Failures,
    /// How long good answers take.
    Times,
    /// How many requests there are.
    Traffic,
    /// Whatever its reporter looks at.
    Foreign,
}

/// The alarms of a plan, in its order.
pub(super) fn subjects(plan: &AlarmPlan, situation: &Situation) -> Vec<Subject> {
    let AlarmPlan {
        guards,
        regressions,
        thresholds,
        externals,
        false_alarm: _,
        max_failures: _,
        warm_up: _,
        ramp: _,
    } = plan;
    let threshold = plan.threshold(0);
    let guard = |guard: &Guard| {
        let Guard { name, bound, burst } = guard;
        let of_times = |timing, below| Kind::Times { timing, permitted: bound.permitted(), below };
        let kind = match *bound {
            GuardBound::ErrorRate { below } => Kind::Failures { below },
            GuardBound::Latency { quantile: _, below } => of_times(Timing::Latency, below),
            GuardBound::FirstToken { quantile: _, below } => of_times(Timing::FirstToken, below),
            GuardBound::TokenGap { quantile: _, below } => of_times(Timing::TokenGap, below),
        };
        Subject {
            name: name.clone(),
            kind,
            burst: situation.dealing.burst(*burst),
            states_burst: burst.is_some(),
            threshold: plan.threshold_of_rate(guard, situation.dealing),
        }
    };
    let regression = |regression: &Regression| {
        let Regression { name, bound, burst } = regression;
        let traffic = &situation.traffic;
        let of_times = |timing, quantile: Option<f64>, ratio| {
            // The average of several tests needs as many times the evidence of one.
            let more = if quantile.is_some() { 0.0 } else { (QUANTILES.len() as f64).ln() };
            let blue_rate = 1.0 - quantile.unwrap_or(FORECAST_QUANTILE);
            (Kind::TimesAgainstBlue { timing, blue_rate, ratio }, more)
        };
        let (kind, more) = match *bound {
            RegressionBound::ErrorRate { tolerance } => {
                (Kind::FailuresAgainstBlue { blue_rate: traffic.error_rate(), tolerance }, 0.0)
            }
            RegressionBound::ClientErrorRate { tolerance } => {
                (Kind::FailuresAgainstBlue { blue_rate: traffic.client_error_rate(), tolerance }, 0.0)
            }
            RegressionBound::Latency { quantile, ratio } => of_times(Timing::Latency, quantile, ratio),
            RegressionBound::FirstToken { quantile, ratio } => of_times(Timing::FirstToken, quantile, ratio),
            RegressionBound::TokenGap { quantile, ratio } => of_times(Timing::TokenGap, quantile, ratio),
        };
        Subject {
            name: name.clone(),
            kind,
            burst: situation.dealing.burst(*burst),
            states_burst: burst.is_some(),
            threshold: threshold + more,
        }
    };
    let of_traffic = guards.iter().map(guard).chain(regressions.iter().map(regression));
    of_traffic.chain(thresholds.iter().map(periods)).chain(externals.iter().map(reported)).collect()
}

fn reported(external: &External) -> Subject {
    let External { name, lease: _, on_expiry: _, poll: _, ignore_raised: _ } = external;
    Subject { name: name.clone(), kind: Kind::Reported, burst: 1.0, states_burst: false, threshold: 0.0 }
}

fn periods(threshold: &Threshold) -> Subject {
    let topic = match threshold.measure {
        Measure::Latency(_) | Measure::FirstByte(_) | Measure::FirstToken(_) | Measure::TokenGap(_) => {
            Topic::Times
        }
        Measure::ErrorRate | Measure::ClientErrorRate | Measure::Failures => Topic::Failures,
        Measure::Requests => Topic::Traffic,
    };
    Subject {
        name: threshold.name.clone(),
        kind: Kind::Periods { shortest: threshold.shortest(), period: threshold.period, topic },
        burst: 1.0,
        states_burst: false,
        threshold: 0.0,
    }
}

impl Subject {
    /// `guard slow`, `regression latency_regression`
    pub(super) fn place(&self) -> String {
        match self.kind {
            Kind::Failures { .. } | Kind::Times { .. } => format!("guard {}", self.name),
            Kind::FailuresAgainstBlue { .. } | Kind::TimesAgainstBlue { .. } => {
                format!("regression {}", self.name)
            }
            Kind::Periods { .. } => format!("threshold {}", self.name),
            Kind::Reported => format!("external {}", self.name),
        }
    }

    /// The time that it judges, if it is one.
    pub(super) fn timing(&self) -> Option<Timing> {
        match self.kind {
            Kind::Times { timing, .. } | Kind::TimesAgainstBlue { timing, .. } => Some(timing),
            Kind::Failures { .. }
            | Kind::FailuresAgainstBlue { .. }
            | Kind::Periods { .. }
            | Kind::Reported => None,
        }
    }

    /// What it is about.
    pub(super) fn topic(&self) -> Topic {
        match self.kind {
            Kind::Failures { .. } | Kind::FailuresAgainstBlue { .. } => Topic::Failures,
            Kind::Times { .. } | Kind::TimesAgainstBlue { .. } => Topic::Times,
            Kind::Periods { shortest: _, period: _, topic } => topic,
            Kind::Reported => Topic::Foreign,
        }
    }

    /// The forecast of its test where green has this share; `None` where it rests, and of those that test nothing: thresholds and
    /// external alarms.
    pub(super) fn test(&self, share: f64, bakes: usize) -> Option<alarm::Forecast> {
        let against = |blue_rate, tolerance| {
            let outlook = RegressionOutlook { share, blue_rate, tolerance };
            (share < 1.0).then(|| alarm::Forecast::of_regression(outlook, self.threshold, bakes))
        };
        let test = match self.kind {
            Kind::Failures { below } => Some(alarm::Forecast::of_guard(below, self.threshold, bakes)),
            Kind::Times { timing: _, permitted, below: _ } => {
                Some(alarm::Forecast::of_guard(permitted, self.threshold, bakes))
            }
            Kind::FailuresAgainstBlue { blue_rate, tolerance } => against(blue_rate, tolerance),
            // The tolerance is in the time that counts as slow.
            Kind::TimesAgainstBlue { timing: _, blue_rate, ratio: _ } => {
                against(blue_rate, Tolerance::Ratio(1.0))
            }
            Kind::Periods { .. } | Kind::Reported => None,
        };
        test.map(|test| test.with_burst(self.burst))
    }

    /// The rate at which a green is plainly worse than a permitted rate.
    pub(super) fn effect(permitted: f64) -> f64 {
        let worse = (EFFECT * permitted).max(permitted + LEAST_EFFECT);
        if worse < 0.95 { worse } else { f64::midpoint(permitted, 1.0) }
    }

    /// How many times as slow as blue a green is of whose answers this fraction counts as slow; `None` for an alarm on failures, and as
    /// long as blue's times are not known.
    pub(super) fn slowdown(&self, rate: f64, traffic: &Traffic) -> Option<f64> {
        let (timing, slow) = match self.kind {
            Kind::Failures { .. }
            | Kind::FailuresAgainstBlue { .. }
            | Kind::Periods { .. }
            // What this one counts are gaps, and what is known of blue are streams.
            | Kind::Times { timing: Timing::TokenGap, .. }
            | Kind::Reported => return None,
            Kind::Times { timing, permitted: _, below } => (timing, below.as_secs_f64()),
            Kind::TimesAgainstBlue { timing, blue_rate, ratio } => {
                let blue = known(traffic.times(timing))?.quantile(1.0 - blue_rate)?;
                (timing, ratio * blue.as_secs_f64())
            }
        };
        let blue = known(traffic.times(timing))?.quantile(1.0 - rate)?.as_secs_f64();
        (blue > 0.0).then_some(slow / blue).filter(|times| *times > 1.0)
    }

    /// Of blue's requests, those that a guard counts, and of them those that it counts as bad; `None` for other alarms, and for a bound
    /// that blue's histogram cannot resolve.
    pub(super) fn of_blue(&self, traffic: &Traffic) -> Option<(u64, u64)> {
        match self.kind {
            Kind::Failures { .. } => Some((traffic.settled, traffic.failed)),
            Kind::Times { timing: timing @ (Timing::Latency | Timing::FirstToken), permitted: _, below } => {
                let (edge, times) = (Edge::at_or_above(below)?, traffic.times(timing));
                Some((times.count(), times.tail(edge)))
            }
            Kind::Times { timing: Timing::TokenGap, .. }
            | Kind::FailuresAgainstBlue { .. }
            | Kind::TimesAgainstBlue { .. }
            | Kind::Periods { .. }
            | Kind::Reported => None,
        }
    }
}

/// Enough answers for a regression to take blue's quantiles from.
fn known(latency: &HistogramSnapshot) -> Option<&HistogramSnapshot> {
    (latency.count() >= alarm::LEAST_ANSWERS).then_some(latency)
}
